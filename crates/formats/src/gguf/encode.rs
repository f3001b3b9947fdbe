//! Values as they are written in a file.

use super::{Value, ValueType};

/// Appends a string: its length as u64, then its bytes.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// Appends a value of any type.
pub(super) fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::U8(value) => value.put(out),
        Value::I8(value) => value.put(out),
        Value::U16(value) => value.put(out),
        Value::I16(value) => value.put(out),
        Value::U32(value) => value.put(out),
        Value::I32(value) => value.put(out),
        Value::U64(value) => value.put(out),
        Value::I64(value) => value.put(out),
        Value::F32(value) => value.put(out),
        Value::F64(value) => value.put(out),
        Value::Bool(value) => value.put(out),
        Value::String(bytes) => put_string(out, bytes),
        Value::Array(array) => {
            out.extend(array.element_type().id().to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            out.extend(array.wire_bytes());
        }
    }
}

/// A number or truth value that arrays in a GGUF file can hold.
pub trait Number: Copy + sealed::Sealed {
    /// The type in the file.
    const TYPE: ValueType;

    /// Appends the value as it is written.
    fn put(self, out: &mut Vec<u8>);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($number:ty => $value_type:ident),*) => {$(
        impl sealed::Sealed for $number {}
        impl Number for $number {
            const TYPE: ValueType = ValueType::$value_type;

            fn put(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
        }
    )*};
}

numbers!(
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32, f64 => F64
);

impl sealed::Sealed for bool {}

impl Number for bool {
    const TYPE: ValueType = ValueType::Bool;

    fn put(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
}
