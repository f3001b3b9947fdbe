//! Metadata values, which borrow their text and arrays from the file.

use std::fmt;

use super::cursor::Cursor;

/// Type of a metadata value, numbered as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    /// Every type, in the order of the numbers in the file.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type's number in a file.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The type with this number.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Bytes of a value in a file; for strings and arrays, the bytes of an empty one.
    pub(super) const fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A metadata value. Copying one is cheap: strings and arrays point into the file.
#[derive(Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// The format asks for UTF-8; some vocabularies break the rule, hence bytes.
    String(&'a [u8]),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// The value's type.
    #[must_use]
    pub const fn value_type(self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// Any integer that is not negative. Converters disagree on widths, so every width is accepted.
    #[must_use]
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Self::U8(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::U64(value) => Some(value),
            Self::I8(value) => value.try_into().ok(),
            Self::I16(value) => value.try_into().ok(),
            Self::I32(value) => value.try_into().ok(),
            Self::I64(value) => value.try_into().ok(),
            _ => None,
        }
    }

    /// Any integer that fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::I8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            other => other.as_u64()?.try_into().ok(),
        }
    }

    /// Any integer that fits a token or layer number.
    #[must_use]
    pub fn as_u32(self) -> Option<u32> {
        self.as_u64()?.try_into().ok()
    }

    /// Any integer that fits a size in memory.
    #[must_use]
    pub fn as_usize(self) -> Option<usize> {
        self.as_u64()?.try_into().ok()
    }

    /// A float of either width.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }

    /// A float of either width, rounded to f32.
    #[must_use]
    pub fn as_f32(self) -> Option<f32> {
        self.as_f64().map(|value| value as f32)
    }

    /// A truth value.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// A string's bytes.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An array.
    #[must_use]
    pub fn as_array(self) -> Option<Array<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text.as_bytes())
    }
}

/// One line: numbers as they are, text in quotes, the first elements of an array.
impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(value) => value.fmt(formatter),
            Self::I8(value) => value.fmt(formatter),
            Self::U16(value) => value.fmt(formatter),
            Self::I16(value) => value.fmt(formatter),
            Self::U32(value) => value.fmt(formatter),
            Self::I32(value) => value.fmt(formatter),
            Self::U64(value) => value.fmt(formatter),
            Self::I64(value) => value.fmt(formatter),
            Self::F32(value) => value.fmt(formatter),
            Self::F64(value) => value.fmt(formatter),
            Self::Bool(value) => value.fmt(formatter),
            Self::String(bytes) => write!(formatter, "\"{}\"", crate::error::shown(bytes)),
            Self::Array(array) => {
                const SHOWN: usize = 4;
                write!(formatter, "{} × {} [", array.len(), array.element_type())?;
                for (index, value) in array.iter().take(SHOWN).enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(formatter, "{separator}{value}")?;
                }
                formatter.write_str(if array.len() > SHOWN { ", …]" } else { "]" })
            }
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({self})", self.value_type())
    }
}

/// An array of metadata values of one type, in the file's own bytes.
///
/// A vocabulary of 150,000 strings costs nothing until it is iterated.
#[derive(Clone, Copy, PartialEq)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// An array whose `len` elements were found to lie in `bytes`.
    pub(super) fn from_wire(element: ValueType, len: usize, bytes: &'a [u8]) -> Self {
        Self { element, len, bytes }
    }

    /// Type of the elements.
    #[must_use]
    pub fn element_type(self) -> ValueType {
        self.element
    }

    /// Number of elements.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The elements as they are written in a file.
    pub(super) fn wire_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The elements one after the other.
    #[must_use]
    pub fn iter(self) -> Elements<'a> {
        Elements { element: self.element, left: self.len, cursor: Cursor::new(self.bytes) }
    }

    /// The strings of an array of strings, without copying them.
    #[must_use]
    pub fn strings(self) -> Option<Strings<'a>> {
        (self.element == ValueType::String).then(|| Strings { left: self.len, cursor: Cursor::new(self.bytes) })
    }

    /// The elements as f32, where they are floats.
    #[must_use]
    pub fn f32s(self) -> Option<Vec<f32>> {
        self.collect(Value::as_f32)
    }

    /// The elements as i32, where they are integers that fit.
    #[must_use]
    pub fn i32s(self) -> Option<Vec<i32>> {
        self.collect(|value| value.as_i64()?.try_into().ok())
    }

    /// The elements as u32, where they are integers that fit.
    #[must_use]
    pub fn u32s(self) -> Option<Vec<u32>> {
        self.collect(Value::as_u32)
    }

    /// The elements as u64, where they are integers that fit.
    #[must_use]
    pub fn u64s(self) -> Option<Vec<u64>> {
        self.collect(Value::as_u64)
    }

    /// The elements as truth values.
    #[must_use]
    pub fn bools(self) -> Option<Vec<bool>> {
        self.collect(Value::as_bool)
    }

    /// The bytes of an array of u8 or i8 (a precompiled character map, say).
    #[must_use]
    pub fn raw_bytes(self) -> Option<&'a [u8]> {
        matches!(self.element, ValueType::U8 | ValueType::I8).then_some(self.bytes)
    }

    fn collect<T>(self, convert: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let values: Vec<T> = self.iter().map(convert).collect::<Option<_>>()?;
        (values.len() == self.len).then_some(values)
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Value::Array(*self), formatter)
    }
}

/// The elements of an [`Array`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    element: ValueType,
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The bytes were walked when the file was opened; where they changed since, the array ends early.
        self.cursor.value(self.element, 1).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// The strings of an [`Array`].
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.cursor.string("a string of an array").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
