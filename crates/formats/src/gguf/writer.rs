//! Writes GGUF files: the keys and the table first, then the tensors' bytes as they come.

use std::collections::HashSet;
use std::io::Write;

use saem_kernels::DataType;

use super::encode::{Number, put_string, put_value};
use super::file::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};
use super::metadata::{LONGEST_KEY, Metadata};
use super::split;
use super::tensor::MOST_DIMENSIONS;
use super::types::type_id;
use super::{Value, ValueType};
use crate::WriteError;
use crate::tensor_writer::{Segment, TensorWriter, write_zeros};

/// GGML keeps names in 64 bytes with a zero at the end; llama.cpp refuses files with longer ones.
const LONGEST_NAME: usize = 63;
const LARGEST_ALIGNMENT: u32 = 65_536;
/// File systems count bytes in signed numbers.
const LARGEST_FILE: u64 = i64::MAX as u64;

/// Collects the metadata and the tensor table of a new file.
///
/// The example in the [module's documentation](super) shows the order of calls.
#[derive(Clone, Debug)]
pub struct Writer {
    version: u32,
    alignment: u32,
    keys: HashSet<String>,
    /// Keys and values as they are written.
    metadata: Vec<u8>,
    names: HashSet<String>,
    tensors: Vec<Announced>,
    /// Bytes of all tensors, with the most padding that there can be.
    data_bytes: u64,
}

#[derive(Clone, Debug)]
struct Announced {
    name: String,
    shape: Vec<usize>,
    data_type: DataType,
    bytes: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A version 3 file with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            version: 3,
            alignment: DEFAULT_ALIGNMENT,
            keys: HashSet::new(),
            metadata: Vec::new(),
            names: HashSet::new(),
            tensors: Vec::new(),
            data_bytes: 0,
        }
    }

    /// A file of another version.
    ///
    /// # Errors
    /// Where `version` is neither 2 nor 3.
    pub fn with_version(version: u32) -> Result<Self, WriteError> {
        match version {
            2 | 3 => Ok(Self { version, ..Self::new() }),
            _ => Err(WriteError::BadVersion { version }),
        }
    }

    /// Adds a key. `general.alignment` also sets the alignment of the tensors.
    ///
    /// # Errors
    /// Where the key is there already, is empty or too long, or is an alignment that is not a power of two.
    pub fn add_metadata(&mut self, key: &str, value: Value<'_>) -> Result<(), WriteError> {
        if key == ALIGNMENT_KEY {
            let alignment = value.as_u32().unwrap_or_default();
            if !matches!(value, Value::U32(_)) || !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
                return Err(WriteError::BadAlignment { alignment });
            }
            self.begin_entry(key, value.value_type())?;
            self.alignment = alignment;
        } else {
            self.begin_entry(key, value.value_type())?;
        }
        put_value(&mut self.metadata, value);
        Ok(())
    }

    /// Adds an array of strings, such as a vocabulary. The strings should be UTF-8.
    ///
    /// # Errors
    /// Where the key is there already, is empty or too long.
    pub fn add_strings<S: AsRef<[u8]>>(
        &mut self,
        key: &str,
        strings: impl IntoIterator<Item = S>,
    ) -> Result<(), WriteError> {
        self.begin_entry(key, ValueType::Array)?;
        self.metadata.extend(ValueType::String.id().to_le_bytes());
        let at_count = self.metadata.len();
        self.metadata.extend([0; 8]);
        let mut count = 0_u64;
        for string in strings {
            put_string(&mut self.metadata, string.as_ref());
            count += 1;
        }
        if let Some(place) = self.metadata.get_mut(at_count..at_count + 8) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        Ok(())
    }

    /// Adds an array of numbers or truth values.
    ///
    /// # Errors
    /// Where the key is there already, is empty or too long.
    pub fn add_array<N: Number>(&mut self, key: &str, numbers: &[N]) -> Result<(), WriteError> {
        self.begin_entry(key, ValueType::Array)?;
        self.metadata.extend(N::TYPE.id().to_le_bytes());
        self.metadata.extend((numbers.len() as u64).to_le_bytes());
        for number in numbers {
            number.put(&mut self.metadata);
        }
        Ok(())
    }

    /// Adds every key of another model whose key is not there yet, except those that tell how it was split.
    ///
    /// # Errors
    /// Where the other model has an alignment that cannot be written.
    pub fn copy_metadata(&mut self, from: &Metadata) -> Result<(), WriteError> {
        for (key, value) in from.iter() {
            if !self.keys.contains(key) && !is_split_key(key) {
                self.add_metadata(key, value)?;
            }
        }
        Ok(())
    }

    /// Announces a tensor. Its bytes are written later, in the order of the announcements.
    ///
    /// `shape` is in GGML's order: `shape[0]` is the length of a row.
    ///
    /// # Errors
    /// Where the name is there already or longer than 63 bytes, or the shape does not fit the format or the type.
    pub fn add_tensor(&mut self, name: &str, shape: &[usize], data_type: DataType) -> Result<(), WriteError> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(WriteError::BadName { name: name.to_owned(), limit: LONGEST_NAME });
        }
        let fits = shape.len() <= MOST_DIMENSIONS
            && shape.first().copied().unwrap_or(1).is_multiple_of(data_type.block_len())
            && !shape.contains(&0);
        let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let sizes = elements.filter(|_| fits).and_then(|elements| {
            let bytes = u64::try_from(data_type.bytes_for(elements)?).ok()?;
            let after = self.data_bytes.checked_add(bytes)?.checked_add(LARGEST_ALIGNMENT.into())?;
            (after <= LARGEST_FILE).then_some((bytes, after))
        });
        let Some((bytes, data_bytes)) = sizes else {
            return Err(WriteError::BadShape { name: name.to_owned(), shape: shape.to_vec(), data_type });
        };
        if !self.names.insert(name.to_owned()) {
            return Err(WriteError::DuplicateTensor { name: name.to_owned() });
        }
        self.data_bytes = data_bytes;
        self.tensors.push(Announced { name: name.to_owned(), shape: shape.to_vec(), data_type, bytes });
        Ok(())
    }

    /// Bytes of the whole file, for checking that the disk has room.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        let table: usize =
            self.tensors.iter().map(|tensor| 8 + tensor.name.len() + 4 + 8 * tensor.shape.len() + 12).sum();
        let header = (HEADER_BYTES + self.metadata.len() + table) as u64;
        self.tensors.iter().fold(self.padded(header), |end, tensor| self.padded(end + tensor.bytes))
    }

    /// Divides the model into files of about `most_bytes` of tensors each (never less than one tensor), named by
    /// [`part_name`](super::part_name). The first one carries the metadata. A model that fits is returned as it is.
    ///
    /// # Errors
    /// Where the keys tell of an earlier split, and where there would be more than 65,535 files.
    pub fn into_parts(mut self, most_bytes: u64) -> Result<Vec<Self>, WriteError> {
        let mut groups: Vec<Vec<Announced>> = Vec::new();
        let mut bytes = 0_u64;
        for tensor in std::mem::take(&mut self.tensors) {
            let after = bytes.saturating_add(tensor.bytes);
            match groups.last_mut() {
                Some(group) if after <= most_bytes => {
                    bytes = after;
                    group.push(tensor);
                }
                _ => {
                    bytes = tensor.bytes;
                    groups.push(vec![tensor]);
                }
            }
        }
        if groups.len() < 2 {
            self.tensors = groups.pop().unwrap_or_default();
            return Ok(vec![self]);
        }
        let parts = groups.len();
        let count = u16::try_from(parts).map_err(|_| WriteError::TooManyParts { parts, limit: u16::MAX.into() })?;
        let tensors: i32 = groups.iter().map(Vec::len).sum::<usize>().try_into().unwrap_or(i32::MAX);
        let (version, alignment) = (self.version, self.alignment);
        let mut first = Some(self);
        let mut parts = Vec::with_capacity(parts);
        for (number, group) in (0_u16..).zip(groups) {
            let mut part = first.take().map_or_else(|| Self::with_version(version), Ok)?;
            part.add_metadata(split::NUMBER_KEY, Value::U16(number))?;
            part.add_metadata(split::COUNT_KEY, Value::U16(count))?;
            part.add_metadata(split::TENSORS_KEY, Value::I32(tensors))?;
            if alignment != part.alignment {
                part.add_metadata(ALIGNMENT_KEY, Value::U32(alignment))?;
            }
            part.names = group.iter().map(|tensor| tensor.name.clone()).collect();
            part.tensors = group;
            parts.push(part);
        }
        Ok(parts)
    }

    /// Writes everything before the tensors' bytes; the result takes these.
    ///
    /// # Errors
    /// Where the output fails.
    pub fn start<W: Write>(self, mut out: W) -> Result<TensorWriter<W>, WriteError> {
        let (table, segments) = self.table();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend(MAGIC);
        header.extend(self.version.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.keys.len() as u64).to_le_bytes());
        let len = (header.len() + self.metadata.len() + table.len()) as u64;
        out.write_all(&header)?;
        out.write_all(&self.metadata)?;
        out.write_all(&table)?;
        write_zeros(&mut out, self.padded(len) - len)?;
        Ok(TensorWriter::new(out, segments))
    }

    /// The tensor table as it is written, and the tensors' places in the data section.
    fn table(&self) -> (Vec<u8>, Vec<Segment>) {
        let mut table = Vec::new();
        let mut segments = Vec::with_capacity(self.tensors.len());
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            put_string(&mut table, tensor.name.as_bytes());
            table.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|size| table.extend((*size as u64).to_le_bytes()));
            table.extend(type_id(tensor.data_type).to_le_bytes());
            table.extend(offset.to_le_bytes());
            let end = offset + tensor.bytes;
            let padding = self.padded(end) - end;
            segments.push(Segment { name: tensor.name.clone(), len: tensor.bytes, padding });
            offset = end + padding;
        }
        (table, segments)
    }

    fn padded(&self, offset: u64) -> u64 {
        offset.next_multiple_of(self.alignment.into())
    }

    fn begin_entry(&mut self, key: &str, value_type: ValueType) -> Result<(), WriteError> {
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(WriteError::BadName { name: key.to_owned(), limit: LONGEST_KEY });
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(WriteError::DuplicateKey { key: key.to_owned() });
        }
        put_string(&mut self.metadata, key.as_bytes());
        self.metadata.extend(value_type.id().to_le_bytes());
        Ok(())
    }
}

/// Magic, version and two counts.
const HEADER_BYTES: usize = 4 + 4 + 8 + 8;

fn is_split_key(key: &str) -> bool {
    [split::NUMBER_KEY, split::COUNT_KEY, split::TENSORS_KEY].contains(&key)
}
