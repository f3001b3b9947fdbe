//! Reads little-endian fields from untrusted bytes: nothing is read beyond the end, nothing is allocated.

use super::problem::{Fault, Problem};
use super::{Array, Value, ValueType};

/// How deep arrays may lie within arrays. No known model nests them at all.
pub(super) const DEEPEST_ARRAY: usize = 4;

/// A position in the bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes between here and the end.
    pub(super) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], Fault> {
        let range = usize::try_from(len).ok().and_then(|len| {
            let end = self.position.checked_add(len)?;
            Some((self.bytes.get(self.position..end)?, end))
        });
        match range {
            Some((taken, end)) => {
                self.position = end;
                Ok(taken)
            }
            None => Err(self.truncated(len, what)),
        }
    }

    #[cold]
    fn truncated(&self, needed: u64, what: &'static str) -> Fault {
        Fault::new(self.position, Problem::Truncated { what, needed, available: self.remaining() as u64 })
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        match self.bytes.get(self.position..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N as u64, what)),
        }
    }

    /// A 32-bit number.
    #[inline]
    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    /// A 64-bit number.
    #[inline]
    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    /// A string: its length as u64, then its bytes.
    #[inline]
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        let len = self.u64(what)?;
        self.take(len, what)
    }

    /// A string that must be UTF-8 and have between 1 and `limit` bytes.
    pub(super) fn name(&mut self, what: &'static str, limit: usize) -> Result<&'a str, Fault> {
        let start = self.position;
        let bytes = self.string(what)?;
        let bad = || Fault::new(start, Problem::BadName { what, name: crate::error::shown(bytes), limit });
        if bytes.is_empty() || bytes.len() > limit {
            return Err(bad());
        }
        std::str::from_utf8(bytes).map_err(|_| bad())
    }

    /// A count of items that take at least `item_bytes` each, so that a wrong one is found before memory is reserved.
    pub(super) fn count(&mut self, what: &'static str, item_bytes: usize, most: usize) -> Result<usize, Fault> {
        let start = self.position;
        let count = self.u64(what)?;
        let limit = (self.remaining() / item_bytes.max(1)).min(most);
        match usize::try_from(count) {
            Ok(fitting) if fitting <= limit => Ok(fitting),
            _ => Err(Fault::new(start, Problem::CountTooLarge { what, count, limit: limit as u64 })),
        }
    }

    /// The number of a metadata value type.
    pub(super) fn value_type(&mut self) -> Result<ValueType, Fault> {
        let start = self.position;
        let id = self.u32("a metadata value type")?;
        ValueType::from_id(id).ok_or(Fault::new(start, Problem::UnknownValueType { id }))
    }

    /// A metadata value. Arrays are walked, so that their length is known to be true, and not copied.
    pub(super) fn value(&mut self, value_type: ValueType, depth: usize) -> Result<Value<'a>, Fault> {
        const WHAT: &str = "a metadata value";
        Ok(match value_type {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.fixed(WHAT)?)),
            ValueType::Bool => match self.fixed(WHAT)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [value] => return Err(Fault::new(self.position.saturating_sub(1), Problem::BadBool { value })),
            },
            ValueType::String => Value::String(self.string("a string")?),
            ValueType::Array => Value::Array(self.array(depth)?),
        })
    }

    /// An array at nesting level `depth`.
    fn array(&mut self, depth: usize) -> Result<Array<'a>, Fault> {
        if depth >= DEEPEST_ARRAY {
            return Err(Fault::new(self.position, Problem::NestedTooDeep { limit: DEEPEST_ARRAY }));
        }
        let element = self.value_type()?;
        let len = self.count("array elements", element.least_bytes(), usize::MAX)?;
        let start = self.position;
        match element {
            ValueType::String => {
                for _ in 0..len {
                    self.string("a string of an array")?;
                }
            }
            ValueType::Array => {
                for _ in 0..len {
                    self.array(depth + 1)?;
                }
            }
            _ => {
                let bytes = self.take(len.saturating_mul(element.least_bytes()) as u64, "an array")?;
                if element == ValueType::Bool
                    && let Some(index) = bytes.iter().position(|byte| *byte > 1)
                {
                    let value = bytes.get(index).copied().unwrap_or_default();
                    return Err(Fault::new(start + index, Problem::BadBool { value }));
                }
            }
        }
        let bytes = self.bytes.get(start..self.position).unwrap_or_default();
        Ok(Array::from_wire(element, len, bytes))
    }
}
