//! The JSON header of a safetensors file, read entry by entry so that a repeated name is seen.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::entry::{EntrySeed, MOST_DIMENSIONS, RawEntry, Stored};
use super::problem::{Fault, Problem};
use crate::error::shown;

/// The reference implementation's limit for the header.
const LARGEST_HEADER: u64 = 100_000_000;
/// Bytes of the header's length.
pub(super) const LENGTH_BYTES: usize = 8;
/// The key that holds text in place of a tensor.
pub(super) const METADATA_KEY: &str = "__metadata__";
/// Far more than any checkpoint has.
const MOST_METADATA: usize = 4096;
const MOST_TENSORS: usize = 1 << 20;

/// One entry of the header. The range is in the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) data_type: Stored,
    pub(super) range: Range<usize>,
}

/// Everything before the tensors' bytes.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    /// In the order of their bytes.
    pub(super) entries: Vec<Entry>,
}

impl Header {
    /// Reads the header at the start of `bytes`, a whole file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
            return Err(Fault::new(0, Problem::TooShort { bytes: bytes.len() as u64 }));
        };
        let stated = u64::from_le_bytes(*length);
        let limit = ((bytes.len() - LENGTH_BYTES) as u64).min(LARGEST_HEADER);
        let data_start = usize::try_from(stated).ok().filter(|_| stated <= limit).map(|len| len + LENGTH_BYTES);
        let Some((data_start, json)) =
            data_start.and_then(|data_start| Some((data_start, bytes.get(LENGTH_BYTES..data_start)?)))
        else {
            return Err(Fault::new(0, Problem::HeaderTooLarge { stated, limit }));
        };

        let mut found = None;
        let mut header = Self::default();
        let mut parser = serde_json::Deserializer::from_slice(json);
        let visitor = HeaderVisitor { header: &mut header, data_start, file_len: bytes.len(), found: &mut found };
        let read = parser.deserialize_map(visitor).and_then(|()| parser.end());
        if let Some(fault) = found {
            return Err(fault);
        }
        read.map_err(|error| {
            let message = message_of(&error);
            Fault::new(LENGTH_BYTES + offset_of(json, &error), Problem::Json { message })
        })?;
        header.entries.sort_unstable_by_key(|entry| (entry.range.start, entry.range.end));
        header.check_overlap()?;
        Ok(header)
    }

    fn check_overlap(&self) -> Result<(), Fault> {
        for pair in self.entries.windows(2) {
            if let [first, second] = pair
                && second.range.start < first.range.end
            {
                let (first_name, second_name) = (shown(first.name.as_bytes()), shown(second.name.as_bytes()));
                let problem = Problem::Overlap { first: first_name, second: second_name };
                return Err(Fault::new(second.range.start, problem));
            }
        }
        Ok(())
    }
}

/// The parser's message without its position, which is told as an offset.
fn message_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    shown(message.as_bytes())
}

/// Byte offset of the parser's line and column.
fn offset_of(json: &[u8], error: &serde_json::Error) -> usize {
    let before = json.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)
}

/// Reads the header's map. What is wrong beyond the JSON goes to `found`, since the parser's errors are only text.
struct HeaderVisitor<'h> {
    header: &'h mut Header,
    data_start: usize,
    file_len: usize,
    found: &'h mut Option<Fault>,
}

impl HeaderVisitor<'_> {
    fn fail<E: Error>(&mut self, problem: Problem) -> E {
        let offset = match &problem {
            Problem::OutsideFile { begin, .. } => self.data_start.saturating_add(usize::try_from(*begin).unwrap_or(0)),
            _ => LENGTH_BYTES,
        };
        *self.found = Some(Fault::new(offset, problem));
        E::custom("refused")
    }

    fn entry(&self, name: String, raw: RawEntry) -> Result<Entry, Problem> {
        let shown_name = || shown(name.as_bytes());
        let (data_type, bits) =
            raw.data_type.map_err(|type_name| Problem::UnknownType { name: shown_name(), type_name })?;
        let shape =
            raw.shape.ok_or_else(|| Problem::TooManyDimensions { name: shown_name(), limit: MOST_DIMENSIONS })?;
        let [begin, end] = raw.offsets;
        let available = self.file_len.saturating_sub(self.data_start) as u64;
        let range = (begin <= end && end <= available)
            .then(|| Some(usize::try_from(begin).ok()?..usize::try_from(end).ok()?))
            .flatten()
            .and_then(|range| Some(range.start.checked_add(self.data_start)?..range.end.checked_add(self.data_start)?))
            .ok_or_else(|| Problem::OutsideFile { name: shown_name(), begin, end, available })?;
        // An empty dimension must not hide that the others overflow when they are multiplied in another order.
        let overflow = || Problem::ShapeOverflow { name: shown_name() };
        let product =
            |values: &[usize]| values.iter().try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)));
        let elements = if shape.contains(&0) { product(&shape).map(|_| 0) } else { product(&shape) };
        let elements =
            elements.filter(|count| count.checked_mul(8).is_some_and(|bytes| isize::try_from(bytes).is_ok()));
        let total_bits = elements.and_then(|count| count.checked_mul(bits)).ok_or_else(overflow)?;
        let expected = total_bits.div_ceil(8) as u64;
        if expected != end - begin {
            return Err(Problem::WrongSize { name: shown_name(), stated: end - begin, expected });
        }
        Ok(Entry { name, shape, data_type, range })
    }
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(self.fail(Problem::DuplicateKey { key: name }));
                }
                match map.next_value_seed(MetadataSeed(&mut self.header.metadata))? {
                    Ok(()) => {}
                    Err(problem) => return Err(self.fail(problem)),
                }
                continue;
            }
            if self.header.entries.len() >= MOST_TENSORS {
                return Err(self.fail(Problem::TooMany { what: "tensors", limit: MOST_TENSORS }));
            }
            let raw = map.next_value_seed(EntrySeed)?;
            match self.entry(name, raw) {
                Ok(entry) => self.header.entries.push(entry),
                Err(problem) => return Err(self.fail(problem)),
            }
        }
        let mut names: Vec<&str> = self.header.entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [first, second] if first == second => Some(shown(first.as_bytes())),
            _ => None,
        });
        match twice {
            Some(name) => Err(self.fail(Problem::DuplicateTensor { name })),
            None => Ok(()),
        }
    }
}

/// A map of text to text.
struct MetadataSeed<'h>(&'h mut BTreeMap<String, String>);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = Result<(), Problem>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = Result<(), Problem>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if self.0.len() >= MOST_METADATA {
                return Ok(Err(Problem::TooMany { what: "metadata entries", limit: MOST_METADATA }));
            }
            let name = shown(key.as_bytes());
            if self.0.insert(key, value).is_some() {
                return Ok(Err(Problem::DuplicateKey { key: name }));
            }
        }
        Ok(Ok(()))
    }
}
