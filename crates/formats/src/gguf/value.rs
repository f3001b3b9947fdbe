//! Metadata values, which borrow their text and arrays from the file.

use std::fmt;

use super::{Array, ValueType};

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
