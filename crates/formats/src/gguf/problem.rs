//! What can be wrong inside a GGUF file.

use saem_kernels::DataType;

use super::ValueType;
use crate::Lookalike;

/// A place where a file breaks the GGUF format, or uses a part of it that Saem does not read.
///
/// Names are escaped and cut to a line's length, since they come from the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file does not start with `GGUF`.
    #[error(
        "the file does not start with \"GGUF\"{}",
        lookalike.map(|kind| format!("; it looks like {kind}")).unwrap_or_default()
    )]
    BadMagic {
        /// What the first bytes suggest.
        lookalike: Option<Lookalike>,
    },
    /// The file was written for a big-endian machine.
    #[error("the file is big-endian; convert it to little-endian (gguf-py: gguf_convert_endian.py)")]
    BigEndian,
    /// A version other than 2 and 3.
    #[error("GGUF version {version} is not supported (2 and 3 are); convert the model again")]
    UnsupportedVersion {
        /// The version that the file states.
        version: u32,
    },
    /// The file ends too early: it was cut off, or a length in it is wrong.
    #[error("the file ends within {what}: {needed} bytes are needed, {available} are left; download it again")]
    Truncated {
        /// The part that is not whole.
        what: &'static str,
        /// Bytes that the part takes.
        needed: u64,
        /// Bytes between here and the end of the file.
        available: u64,
    },
    /// A count that cannot be true, because so many items do not fit into the rest of the file or any real model.
    #[error("{count} {what} are stated, where at most {limit} can follow")]
    CountTooLarge {
        /// What is counted.
        what: &'static str,
        /// The count that the file states.
        count: u64,
        /// The largest count that is possible here.
        limit: u64,
    },
    /// A metadata key or tensor name that is empty, too long or not UTF-8.
    #[error("{what} \"{name}\" is empty, longer than {limit} bytes or not UTF-8")]
    BadName {
        /// Which kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// The longest name that is accepted, in bytes.
        limit: usize,
    },
    /// A metadata key occurs twice.
    #[error("metadata key \"{key}\" occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A tensor name occurs twice, perhaps in two parts of a split model.
    #[error("tensor \"{name}\" occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// A metadata value of a type that GGUF does not define.
    #[error("metadata value type {id} does not exist")]
    UnknownValueType {
        /// The type's number in the file.
        id: u32,
    },
    /// Arrays within arrays, deeper than any model has them.
    #[error("arrays are nested deeper than {limit} levels")]
    NestedTooDeep {
        /// The deepest nesting that is read.
        limit: usize,
    },
    /// A truth value other than 0 and 1.
    #[error("a truth value is {value} (0 and 1 are allowed)")]
    BadBool {
        /// The byte in the file.
        value: u8,
    },
    /// `general.alignment` has an impossible type or value.
    #[error("general.alignment is {value} ({value_type}); it must be a power of two as u32")]
    BadAlignment {
        /// The type that it has.
        value_type: ValueType,
        /// The value as text.
        value: String,
    },
    /// A tensor with more dimensions than GGML has.
    #[error("tensor \"{name}\" has {dimensions} dimensions (at most 4 are allowed)")]
    TooManyDimensions {
        /// The tensor.
        name: String,
        /// Dimensions that the file states.
        dimensions: u32,
    },
    /// A tensor without elements.
    #[error("tensor \"{name}\" has no elements: dimension {dimension} is 0")]
    EmptyDimension {
        /// The tensor.
        name: String,
        /// Which dimension, from 0.
        dimension: usize,
    },
    /// A tensor with more elements than memory can address.
    #[error("tensor \"{name}\" is too large: its dimensions multiply to more than memory can hold")]
    ShapeOverflow {
        /// The tensor.
        name: String,
    },
    /// A row that does not fill whole blocks of its type.
    #[error(
        "tensor \"{name}\" has rows of {columns} elements, not a multiple of the {block} in a block of {data_type}"
    )]
    PartialBlock {
        /// The tensor.
        name: String,
        /// Its type.
        data_type: DataType,
        /// Elements in a row.
        columns: usize,
        /// Elements in a block.
        block: usize,
    },
    /// A tensor type that GGML has and Saem does not read.
    #[error("tensor \"{name}\" is stored as {type_name}, which is not supported; use a file of type {instead}")]
    UnsupportedType {
        /// The tensor.
        name: String,
        /// GGML's name of the type.
        type_name: &'static str,
        /// A type of similar size that is supported, or several.
        instead: &'static str,
    },
    /// A tensor type that GGML does not define, or did not when this was written.
    #[error("tensor \"{name}\" has the unknown type {id}; use a file of type Q4_K_M or Q8_0")]
    UnknownType {
        /// The tensor.
        name: String,
        /// The type's number in the file.
        id: u32,
    },
    /// A tensor that does not start at a multiple of the alignment.
    #[error("tensor \"{name}\" starts at offset {offset} of the data, not a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset from the start of the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor whose bytes do not lie within the file.
    #[error(
        "tensor \"{name}\" takes {bytes} bytes from offset {offset} of the data, which has only {available}; \
         the download may have been cut off"
    )]
    OutsideFile {
        /// The tensor.
        name: String,
        /// Its offset from the start of the data section.
        offset: u64,
        /// Bytes that its shape and type ask for.
        bytes: u64,
        /// Bytes in the data section.
        available: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors \"{first}\" and \"{second}\" overlap")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts before the first one ends.
        second: String,
    },
    /// A part of a split model whose file name does not follow `name-00001-of-00003.gguf`.
    #[error("the file is part {number} of {count}, but its name does not end in \"{expected}\"")]
    SplitName {
        /// Number of the part, from 1.
        number: u64,
        /// Number of parts.
        count: u64,
        /// How the name must end.
        expected: String,
    },
    /// A part of a split model that does not belong to the others.
    #[error("{key} is {found}, where the other parts ask for {expected}")]
    SplitMismatch {
        /// The metadata key.
        key: &'static str,
        /// What the file states, as text.
        found: String,
        /// What it must be.
        expected: u64,
    },
}

/// A problem and where in the file it is; the path is added at the border of the crate.
#[derive(Debug)]
pub(super) struct Fault {
    /// Byte offset in the file.
    pub(super) offset: usize,
    /// What is wrong there.
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, problem }
    }

    pub(super) fn in_file(self, path: &std::path::Path) -> crate::FormatError {
        crate::FormatError::Gguf { path: path.to_owned(), offset: self.offset as u64, problem: Box::new(self.problem) }
    }
}
