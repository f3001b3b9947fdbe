//! An open GGUF model: one file, or all the files of a split one.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cursor::Cursor;
use super::metadata::Metadata;
use super::problem::{Fault, Problem};
use super::split::{self, Split};
use super::tensor::{self, TensorInfo};
use crate::error::shown;
use crate::{FormatError, Lookalike, MappedFile};

/// The first four bytes of every GGUF file.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";
/// The key that changes where tensors may start.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
/// Tensors start at multiples of this where the file does not say otherwise.
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;

/// A GGUF model with its metadata and tensors, mapped into memory.
#[derive(Debug)]
pub struct Gguf {
    version: u32,
    alignment: u32,
    files: Vec<Arc<MappedFile>>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Tensor numbers in the order of their names.
    by_name: Vec<u32>,
}

impl Gguf {
    /// Opens the model at `path`. Any part of a split model will do: the others are found by their names.
    ///
    /// Only the header is read; the weights stay on disk until they are used.
    ///
    /// # Errors
    /// Where a file cannot be mapped, breaks the format, or uses a tensor type that Saem does not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let first = Header::read(&MappedFile::open(path)?).map_err(|fault| fault.in_file(path))?;
        match Split::of(&first.metadata).map_err(|fault| fault.in_file(path))? {
            None => Self::assemble(vec![first]),
            Some(split) => Self::open_parts(path, split, first),
        }
    }

    /// Reads a model from memory. A part of a split model is read by itself.
    ///
    /// # Errors
    /// Where the bytes break the format; the error names the file `<memory>`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let file = MappedFile::from_bytes(bytes);
        let header = Header::read(&file).map_err(|fault| fault.in_file(file.path()))?;
        Self::assemble(vec![header])
    }

    fn open_parts(path: &Path, split: Split, given: Header) -> Result<Self, FormatError> {
        let mut given = Some(given);
        let mut parts = Vec::new();
        for number in 0..split.count {
            let header = match given.take_if(|_| number == split.number) {
                Some(header) => header,
                None => {
                    let part_path = split.path_of(path, number).map_err(|fault| fault.in_file(path))?;
                    let file = MappedFile::open(&part_path).map_err(FormatError::in_directory)?;
                    Header::read(&file).map_err(|fault| fault.in_file(&part_path))?
                }
            };
            check_part(&header.metadata, split, number).map_err(|fault| fault.in_file(header.file.path()))?;
            parts.push(header);
        }
        let found: usize = parts.iter().map(|part| part.tensors.len()).sum();
        if let Some(expected) = split.tensors.filter(|expected| *expected != found as u64) {
            let problem = Problem::SplitMismatch { key: split::TENSORS_KEY, found: found.to_string(), expected };
            return Err(Fault::new(0, problem).in_file(path));
        }
        Self::assemble(parts)
    }

    /// Joins the headers of all parts; the first one carries the model's metadata.
    fn assemble(parts: Vec<Header>) -> Result<Self, FormatError> {
        let mut files = Vec::with_capacity(parts.len());
        let mut tensors = Vec::new();
        let mut first = None;
        for (part, header) in parts.into_iter().enumerate() {
            tensors.extend(header.tensors.into_iter().map(|tensor| TensorInfo { part, ..tensor }));
            files.push(header.file);
            first.get_or_insert((header.version, header.alignment, header.metadata));
        }
        let Some((version, alignment, metadata)) = first else {
            return Err(FormatError::UnknownFormat { path: "<memory>".into(), lookalike: Some(Lookalike::Empty) });
        };
        let by_name = sort_names(&tensors).map_err(|(part, fault)| {
            fault.in_file(files.get(part).map_or_else(|| Path::new("<memory>"), |file| file.path()))
        })?;
        Ok(Self { version, alignment, files, metadata, tensors, by_name })
    }

    /// The format's version: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Tensors start at multiples of this many bytes.
    #[must_use]
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// Keys and values; those of the first file where the model is split.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Every tensor, in the order of the files.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor with this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let name_of = |index: u32| self.tensors.get(index as usize).map_or("", |tensor| tensor.name.as_str());
        let found = self.by_name.binary_search_by(|index| name_of(*index).cmp(name)).ok()?;
        self.tensors.get(*self.by_name.get(found)? as usize)
    }

    /// The bytes of a tensor of this model, in the map: `tensor.byte_len()` of them.
    ///
    /// A tensor of another model may give other or no bytes.
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

    /// The files of the model, in order.
    #[must_use]
    pub fn files(&self) -> &[Arc<MappedFile>] {
        &self.files
    }

    /// The first file of the model.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or_else(|| Path::new("<memory>"), |file| file.path())
    }

    /// Bytes of all tensors together.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.byte_len() as u64).sum()
    }
}

/// Everything before the data section of one file.
#[derive(Debug)]
struct Header {
    file: Arc<MappedFile>,
    version: u32,
    alignment: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
}

impl Header {
    fn read(file: &Arc<MappedFile>) -> Result<Self, Fault> {
        let bytes = file.bytes();
        let mut cursor = Cursor::new(bytes);
        let version = read_version(&mut cursor, bytes)?;
        let tensor_count = tensor::count(&mut cursor)?;
        let entry_count = Metadata::count(&mut cursor)?;
        let metadata = Metadata::read(file, &mut cursor, entry_count)?;
        let alignment = alignment_of(&metadata)?;
        let mut tensors = tensor::read(&mut cursor, tensor_count)?;
        let align = alignment as usize;
        let data_start = cursor.position().checked_next_multiple_of(align).unwrap_or(usize::MAX);
        tensor::place(&mut tensors, data_start, bytes.len(), align)?;
        Ok(Self { file: Arc::clone(file), version, alignment, metadata, tensors })
    }
}

fn read_version(cursor: &mut Cursor<'_>, bytes: &[u8]) -> Result<u32, Fault> {
    let magic = bytes.first_chunk::<4>();
    if magic == Some(b"FUGG") {
        return Err(Fault::new(0, Problem::BigEndian));
    }
    if magic != Some(&MAGIC) {
        return Err(Fault::new(0, Problem::BadMagic { lookalike: Lookalike::of(bytes) }));
    }
    cursor.take(MAGIC.len() as u64, "the magic number")?;
    let at = cursor.position();
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => Ok(version),
        // The magic is four bytes in this order on every machine; the version shows the byte order.
        _ if matches!(version.swap_bytes(), 1..=0xffff) => Err(Fault::new(at, Problem::BigEndian)),
        _ => Err(Fault::new(at, Problem::UnsupportedVersion { version })),
    }
}

fn alignment_of(metadata: &Metadata) -> Result<u32, Fault> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    match value {
        super::Value::U32(alignment) if alignment.is_power_of_two() => Ok(alignment),
        _ => {
            let problem = Problem::BadAlignment { value_type: value.value_type(), value: value.to_string() };
            Err(Fault::new(metadata.offset_of(ALIGNMENT_KEY), problem))
        }
    }
}

/// Sorts tensor numbers by name; on a repeated name, returns the part and the fault.
fn sort_names(tensors: &[TensorInfo]) -> Result<Vec<u32>, (usize, Fault)> {
    let name_of = |index: u32| tensors.get(index as usize).map_or("", |tensor| tensor.name.as_str());
    let mut by_name: Vec<u32> = (0..).take(tensors.len()).collect();
    by_name.sort_unstable_by_key(|index| (name_of(*index), *index));
    for pair in by_name.windows(2) {
        if let [first, second] = *pair
            && name_of(first) == name_of(second)
            && let Some(tensor) = tensors.get(second as usize)
        {
            let problem = Problem::DuplicateTensor { name: shown(tensor.name.as_bytes()) };
            return Err((tensor.part, Fault::new(tensor.range.start, problem)));
        }
    }
    Ok(by_name)
}

/// A part must call itself what its file name says.
fn check_part(metadata: &Metadata, split: Split, number: u64) -> Result<(), Fault> {
    for (key, expected) in [(split::NUMBER_KEY, number), (split::COUNT_KEY, split.count)] {
        let found = metadata.u64(key);
        if found != Some(expected) {
            let found = found.map_or_else(|| "missing".to_owned(), |found| found.to_string());
            return Err(Fault::new(metadata.offset_of(key), Problem::SplitMismatch { key, found, expected }));
        }
    }
    Ok(())
}
