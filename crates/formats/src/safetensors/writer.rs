//! Writes safetensors files: the header first, then the tensors' bytes as they come.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use saem_kernels::DataType;
use serde_json::{Map, Value, json};

use super::entry::MOST_DIMENSIONS;
use super::header::{LENGTH_BYTES, METADATA_KEY};
use crate::WriteError;
use crate::tensor_writer::{Segment, TensorWriter};

/// Longer names make no sense, and the header has a limit.
const LONGEST_NAME: usize = 65_535;
const LARGEST_FILE: u64 = i64::MAX as u64;

/// Collects the header of a new file.
///
/// The example in the [module's documentation](super) shows the order of calls.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    metadata: BTreeMap<String, String>,
    names: HashSet<String>,
    tensors: Vec<Announced>,
    data_bytes: u64,
}

#[derive(Clone, Debug)]
struct Announced {
    name: String,
    shape: Vec<usize>,
    type_name: &'static str,
    bytes: u64,
}

impl Writer {
    /// A file with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text. `transformers` asks for `format` = `pt`.
    ///
    /// # Errors
    /// Where the key is there already.
    pub fn add_metadata(&mut self, key: &str, value: &str) -> Result<(), WriteError> {
        if self.metadata.contains_key(key) {
            return Err(WriteError::DuplicateKey { key: key.to_owned() });
        }
        self.metadata.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Announces a tensor. Its bytes are written later, in the order of the announcements.
    ///
    /// `shape` is in PyTorch's order: the last dimension is the length of a row.
    ///
    /// # Errors
    /// Where the name is there already or reserved, the shape is too large, or the type is quantised.
    pub fn add_tensor(&mut self, name: &str, shape: &[usize], data_type: DataType) -> Result<(), WriteError> {
        let type_name = match data_type {
            DataType::F32 => "F32",
            DataType::F16 => "F16",
            DataType::Bf16 => "BF16",
            _ => return Err(WriteError::UnsupportedType { name: name.to_owned(), data_type }),
        };
        if name.is_empty() || name == METADATA_KEY || name.len() > LONGEST_NAME {
            return Err(WriteError::BadName { name: name.to_owned(), limit: LONGEST_NAME });
        }
        let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let sizes = elements.filter(|_| shape.len() <= MOST_DIMENSIONS).and_then(|elements| {
            let bytes = u64::try_from(data_type.bytes_for(elements)?).ok()?;
            let after = self.data_bytes.checked_add(bytes)?;
            (after <= LARGEST_FILE).then_some((bytes, after))
        });
        let Some((bytes, data_bytes)) = sizes else {
            return Err(WriteError::BadShape { name: name.to_owned(), shape: shape.to_vec(), data_type });
        };
        if !self.names.insert(name.to_owned()) {
            return Err(WriteError::DuplicateTensor { name: name.to_owned() });
        }
        self.data_bytes = data_bytes;
        self.tensors.push(Announced { name: name.to_owned(), shape: shape.to_vec(), type_name, bytes });
        Ok(())
    }

    /// Bytes of the whole file, for checking that the disk has room.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        (LENGTH_BYTES + self.header().len()) as u64 + self.data_bytes
    }

    /// Writes everything before the tensors' bytes; the result takes these.
    ///
    /// # Errors
    /// Where the output fails.
    pub fn start<W: Write>(self, mut out: W) -> Result<TensorWriter<W>, WriteError> {
        let header = self.header();
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let segment = |tensor: Announced| Segment { name: tensor.name, len: tensor.bytes, padding: 0 };
        Ok(TensorWriter::new(out, self.tensors.into_iter().map(segment).collect()))
    }

    /// The JSON header, filled up with spaces so that the data starts at a multiple of eight.
    fn header(&self) -> String {
        let mut map = Map::new();
        if !self.metadata.is_empty() {
            map.insert(METADATA_KEY.to_owned(), json!(self.metadata));
        }
        let mut begin = 0_u64;
        for tensor in &self.tensors {
            let end = begin + tensor.bytes;
            let entry = json!({ "dtype": tensor.type_name, "shape": tensor.shape, "data_offsets": [begin, end] });
            map.insert(tensor.name.clone(), entry);
            begin = end;
        }
        let mut text = Value::Object(map).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(LENGTH_BYTES) - text.len()));
        text
    }
}
