//! Arrays of metadata values, in the file's own bytes.

use std::fmt;

use super::cursor::Cursor;
use super::{Value, ValueType};

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
