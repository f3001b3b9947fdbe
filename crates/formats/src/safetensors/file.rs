//! Open safetensors checkpoints: one file, or several under an index.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use saem_kernels::DataType;

use super::entry::Stored;
use super::header::Header;
use super::index::{self, INDEX_FILE, MODEL_FILE};
use super::problem::{Fault, Problem};
use crate::error::shown;
use crate::{FormatError, MappedFile};

/// A tensor of a safetensors checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Dimensions in PyTorch's order: the last one is the length of a row, whose elements lie side by side.
    pub shape: Vec<usize>,
    /// How elements are stored: F32, F16 or BF16.
    pub data_type: DataType,
    part: usize,
    range: Range<usize>,
}

impl TensorInfo {
    /// Elements in a row (inputs of a weight matrix): the last dimension.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows (outputs of a weight matrix): the product of the other dimensions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that the tensor takes in the file.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }

    /// Number of the file within a sharded checkpoint, and where the bytes lie in it.
    #[must_use]
    pub fn location(&self) -> (usize, Range<usize>) {
        (self.part, self.range.clone())
    }
}

/// A tensor of a type that Saem does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The tensor's name.
    pub name: String,
    /// The name of its type in the file, such as `I64`.
    pub type_name: &'static str,
    part: usize,
    offset: usize,
}

/// A safetensors checkpoint, mapped into memory.
#[derive(Debug)]
pub struct SafeTensors {
    files: Vec<Arc<MappedFile>>,
    metadata: BTreeMap<String, String>,
    /// In the order of the files and their bytes.
    tensors: Vec<TensorInfo>,
    /// Tensor numbers in the order of their names.
    by_name: Vec<u32>,
    unsupported: Vec<Unsupported>,
}

impl SafeTensors {
    /// Opens a `.safetensors` file, an index (`*.index.json`) with its files, or a folder that holds either.
    ///
    /// # Errors
    /// Where a file is missing, cannot be mapped or breaks the format, and where the index names a file outside its folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        if path.is_dir() {
            return Self::open_directory(path);
        }
        if path.extension().is_some_and(|extension| extension == "json") {
            return Self::open_index(path);
        }
        let mut checkpoint = Self::empty();
        checkpoint.add_file(MappedFile::open(path)?, None)?;
        checkpoint.sorted(path)
    }

    /// Reads a single file from memory.
    ///
    /// # Errors
    /// Where the bytes break the format; the error names the file `<memory>`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let file = MappedFile::from_bytes(bytes);
        let mut checkpoint = Self::empty();
        checkpoint.add_file(Arc::clone(&file), None)?;
        checkpoint.sorted(file.path())
    }

    fn open_directory(directory: &Path) -> Result<Self, FormatError> {
        let index = directory.join(INDEX_FILE);
        if index.is_file() {
            return Self::open_index(&index);
        }
        let mut checkpoint = Self::empty();
        let path = directory.join(MODEL_FILE);
        checkpoint.add_file(MappedFile::open(&path).map_err(FormatError::in_directory)?, None)?;
        checkpoint.sorted(&path)
    }

    fn open_index(path: &Path) -> Result<Self, FormatError> {
        let mut checkpoint = Self::empty();
        for (file, names) in index::read(path)? {
            let shard = path.with_file_name(&file);
            let mapped = MappedFile::open(&shard).map_err(FormatError::in_directory)?;
            checkpoint.add_file(mapped, Some((path, &file, &names)))?;
        }
        checkpoint.sorted(path)
    }

    fn empty() -> Self {
        Self {
            files: Vec::new(),
            metadata: BTreeMap::new(),
            tensors: Vec::new(),
            by_name: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    /// Adds the tensors of a file; of a shard, only those that the index (its path, the shard's name, and the sorted names
    /// of the shard's tensors) places there.
    fn add_file(&mut self, file: Arc<MappedFile>, shard: Option<(&Path, &str, &[String])>) -> Result<(), FormatError> {
        let header = Header::read(file.bytes()).map_err(|fault| fault.in_file(file.path()))?;
        let part = self.files.len();
        let mut found = vec![false; shard.map_or(0, |(_, _, names)| names.len())];
        for entry in header.entries {
            if let Some((_, _, names)) = shard {
                match names.binary_search(&entry.name).ok().and_then(|index| found.get_mut(index)) {
                    Some(place) => *place = true,
                    None => continue,
                }
            }
            match entry.data_type {
                Stored::Supported(data_type) => {
                    let (name, shape, range) = (entry.name, entry.shape, entry.range);
                    self.tensors.push(TensorInfo { name, shape, data_type, part, range });
                }
                Stored::Unsupported(type_name) => {
                    let (name, offset) = (entry.name, entry.range.start);
                    self.unsupported.push(Unsupported { name, type_name, part, offset });
                }
            }
        }
        if let Some((index, file_name, names)) = shard
            && let Some(name) = names.iter().zip(&found).find_map(|(name, found)| (!found).then_some(name))
        {
            let problem = Problem::NotInShard { name: shown(name.as_bytes()), file: shown(file_name.as_bytes()) };
            return Err(Fault::new(0, problem).in_file(index));
        }
        for (key, value) in header.metadata {
            self.metadata.entry(key).or_insert(value);
        }
        self.files.push(file);
        Ok(())
    }

    /// Makes the tensors searchable.
    fn sorted(mut self, path: &Path) -> Result<Self, FormatError> {
        let name_of = |index: u32| self.tensors.get(index as usize).map_or("", |tensor| tensor.name.as_str());
        let mut by_name: Vec<u32> = (0..).take(self.tensors.len()).collect();
        by_name.sort_unstable_by_key(|index| name_of(*index));
        for pair in by_name.windows(2) {
            if let [first, second] = *pair
                && name_of(first) == name_of(second)
            {
                let problem = Problem::DuplicateTensor { name: shown(name_of(first).as_bytes()) };
                return Err(Fault::new(0, problem).in_file(path));
            }
        }
        self.by_name = by_name;
        Ok(self)
    }

    /// Text that the checkpoint's author added (`__metadata__`).
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Every tensor of a supported type, in the order of the files.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Tensors of types that Saem does not read.
    #[must_use]
    pub fn unsupported(&self) -> &[Unsupported] {
        &self.unsupported
    }

    /// The tensor with this name, where it is there and of a supported type.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let name_of = |index: u32| self.tensors.get(index as usize).map_or("", |tensor| tensor.name.as_str());
        let found = self.by_name.binary_search_by(|index| name_of(*index).cmp(name)).ok()?;
        self.tensors.get(*self.by_name.get(found)? as usize)
    }

    /// The tensor with this name, which must be there.
    ///
    /// # Errors
    /// Where the tensor is in no file, or of a type that Saem does not read.
    pub fn required(&self, name: &str) -> Result<&TensorInfo, FormatError> {
        if let Some(tensor) = self.tensor(name) {
            return Ok(tensor);
        }
        let shown_name = shown(name.as_bytes());
        Err(match self.unsupported.iter().find(|tensor| tensor.name == name) {
            Some(tensor) => {
                let problem = Problem::UnsupportedType { name: shown_name, type_name: tensor.type_name.to_owned() };
                let path = self.files.get(tensor.part).map_or(self.path(), |file| file.path());
                Fault::new(tensor.offset, problem).in_file(path)
            }
            None => Fault::new(0, Problem::MissingTensor { name: shown_name }).in_file(self.path()),
        })
    }

    /// The bytes of a tensor of this checkpoint, in the map: `tensor.byte_len()` of them.
    ///
    /// A tensor of another checkpoint may give other or no bytes.
    #[must_use]
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> &[u8] {
        let file = self.files.get(tensor.part);
        file.and_then(|file| file.bytes().get(tensor.range.clone())).unwrap_or_default()
    }

    /// Tells the operating system that a tensor is not needed for now, once it has been repacked.
    pub fn release(&self, tensor: &TensorInfo) {
        if let Some(file) = self.files.get(tensor.part) {
            file.release(tensor.range.clone());
        }
    }

    /// [`Self::release`] for a part of the tensor's bytes.
    pub fn release_part(&self, tensor: &TensorInfo, part: Range<usize>) {
        if let Some(file) = self.files.get(tensor.part) {
            let start = tensor.range.start.saturating_add(part.start);
            file.release(start..tensor.range.end.min(tensor.range.start.saturating_add(part.end)));
        }
    }

    /// Tells the operating system that a tensor will be read soon.
    pub fn prefetch(&self, tensor: &TensorInfo) {
        if let Some(file) = self.files.get(tensor.part) {
            file.prefetch(tensor.range.clone());
        }
    }

    /// The files of the checkpoint, in order.
    #[must_use]
    pub fn files(&self) -> &[Arc<MappedFile>] {
        &self.files
    }

    /// The first file of the checkpoint.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or_else(|| Path::new("<memory>"), |file| file.path())
    }

    /// Bytes of all supported tensors together.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.byte_len() as u64).sum()
    }
}
