//! The key-value part of a GGUF file.

use std::ops::Range;
use std::sync::Arc;

use super::cursor::Cursor;
use super::problem::{Fault, Problem};
use super::{Array, Value, ValueType};
use crate::MappedFile;
use crate::error::shown;

/// The longest key of the format.
pub(super) const LONGEST_KEY: usize = 65_535;
/// Far more entries than any model has (about 40).
const MOST_ENTRIES: usize = 65_536;
/// A key of one byte with a one-byte value.
const LEAST_ENTRY_BYTES: usize = 8 + 1 + 4 + 1;

/// Where an entry lies in the file.
#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    value_type: ValueType,
    value: Range<usize>,
}

/// Keys and values of a model: its architecture, sizes, vocabulary, chat template.
///
/// The values stay in the mapped file; looking one up is a binary search over the keys.
#[derive(Clone, Debug)]
pub struct Metadata {
    file: Arc<MappedFile>,
    entries: Vec<Entry>,
    /// Entry numbers in the order of their keys.
    by_key: Vec<u32>,
}

impl Metadata {
    /// Reads `count` entries at the cursor, which walks over the bytes of `file`.
    pub(super) fn read(file: &Arc<MappedFile>, cursor: &mut Cursor<'_>, count: usize) -> Result<Self, Fault> {
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let start = cursor.position();
            let key_len = cursor.name("a metadata key", LONGEST_KEY)?.len();
            let key_end = cursor.position();
            let value_type = cursor.value_type()?;
            let value_start = cursor.position();
            cursor.value(value_type, 0)?;
            debug_assert!(start + 8 + key_len == key_end);
            entries.push(Entry { key: start + 8..key_end, value_type, value: value_start..cursor.position() });
        }
        let mut metadata = Self { file: Arc::clone(file), entries, by_key: (0..).take(count).collect() };
        metadata.sort()?;
        Ok(metadata)
    }

    /// Bounds of the entry count at the cursor.
    pub(super) fn count(cursor: &mut Cursor<'_>) -> Result<usize, Fault> {
        cursor.count("metadata entries", LEAST_ENTRY_BYTES, MOST_ENTRIES)
    }

    fn sort(&mut self) -> Result<(), Fault> {
        let mut by_key = std::mem::take(&mut self.by_key);
        by_key.sort_unstable_by_key(|index| (self.key_at(*index), *index));
        for pair in by_key.windows(2) {
            if let [first, second] = *pair
                && self.key_at(first) == self.key_at(second)
            {
                let offset = self.entry(second).map_or(0, |entry| entry.key.start);
                let key = shown(self.key_at(second).as_bytes());
                return Err(Fault::new(offset, Problem::DuplicateKey { key }));
            }
        }
        self.by_key = by_key;
        Ok(())
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn key_at(&self, index: u32) -> &str {
        self.entry(index).map_or("", |entry| self.key_of(entry))
    }

    fn key_of(&self, entry: &Entry) -> &str {
        let bytes = self.file.bytes().get(entry.key.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn value_of(&self, entry: &Entry) -> Option<Value<'_>> {
        let mut cursor = Cursor::new(self.file.bytes().get(entry.value.clone())?);
        if entry.value_type == ValueType::Array {
            // Only the head is read again: the elements were walked when the file was opened.
            let element = cursor.value_type().ok()?;
            let len = usize::try_from(cursor.u64("array elements").ok()?).ok()?;
            let bytes = cursor.take(cursor.remaining() as u64, "an array").ok()?;
            return Some(Value::Array(Array::from_wire(element, len, bytes)));
        }
        cursor.value(entry.value_type, 0).ok()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let found = self.by_key.binary_search_by(|index| self.key_at(*index).cmp(key)).ok()?;
        self.value_of(self.entry(*self.by_key.get(found)?)?)
    }

    /// Whether `key` has a value.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where the value of `key` lies in the file (0 where there is none).
    pub(super) fn offset_of(&self, key: &str) -> usize {
        self.entries.iter().find(|entry| self.key_of(entry) == key).map_or(0, |entry| entry.value.start)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every key and value, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.entries.iter().filter_map(|entry| Some((self.key_of(entry), self.value_of(entry)?)))
    }

    /// The value of `key` where it is a string in UTF-8.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The value of `key` where it is an integer that is not negative.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The value of `key` where it is an integer that fits a token number.
    #[must_use]
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.get(key)?.as_u32()
    }

    /// The value of `key` where it is an integer that fits a size in memory.
    #[must_use]
    pub fn usize(&self, key: &str) -> Option<usize> {
        self.get(key)?.as_usize()
    }

    /// The value of `key` where it is a float.
    #[must_use]
    pub fn f32(&self, key: &str) -> Option<f32> {
        self.get(key)?.as_f32()
    }

    /// The value of `key` where it is a truth value.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The value of `key` where it is an array.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<Array<'_>> {
        self.get(key)?.as_array()
    }
}
