//! What can be wrong inside a safetensors file or its index.

/// A place where a file breaks the safetensors format.
///
/// Names are escaped and cut to a line's length, since they come from the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is shorter than the length of its header.
    #[error("the file has only {bytes} bytes, too few for a header; download it again")]
    TooShort {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The header does not fit into the file, or is larger than any model's.
    #[error(
        "the header is said to take {stated} bytes, where at most {limit} are possible; the file is cut off or no safetensors file"
    )]
    HeaderTooLarge {
        /// The length that the file states.
        stated: u64,
        /// The largest length that is possible here.
        limit: u64,
    },
    /// The header is no JSON, or JSON of another shape.
    #[error("the header cannot be read: {message}")]
    Json {
        /// The parser's words.
        message: String,
    },
    /// A tensor occurs twice.
    #[error("tensor \"{name}\" occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// A metadata key occurs twice.
    #[error("metadata key \"{key}\" occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// More metadata entries or tensors than any model has.
    #[error("there are more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The largest count that is accepted.
        limit: usize,
    },
    /// A tensor with more dimensions than any model has.
    #[error("tensor \"{name}\" has more than {limit} dimensions")]
    TooManyDimensions {
        /// The tensor.
        name: String,
        /// The most dimensions that are accepted.
        limit: usize,
    },
    /// A tensor with more elements than memory can address.
    #[error("tensor \"{name}\" is too large: its dimensions multiply to more than memory can hold")]
    ShapeOverflow {
        /// The tensor.
        name: String,
    },
    /// A tensor type that the format does not define, or did not when this was written.
    #[error("tensor \"{name}\" has the unknown type {type_name}")]
    UnknownType {
        /// The tensor.
        name: String,
        /// The type's name in the file.
        type_name: String,
    },
    /// A tensor that is needed has a type that Saem does not read.
    #[error("tensor \"{name}\" is stored as {type_name}, which is not supported (F32, F16 and BF16 are)")]
    UnsupportedType {
        /// The tensor.
        name: String,
        /// The type's name in the file.
        type_name: String,
    },
    /// A tensor whose bytes do not lie within the file.
    #[error(
        "tensor \"{name}\" lies at bytes {begin}..{end} of the data, which has {available}; the file may be cut off"
    )]
    OutsideFile {
        /// The tensor.
        name: String,
        /// Its first byte, from the start of the data section.
        begin: u64,
        /// The byte after its last one.
        end: u64,
        /// Bytes in the data section.
        available: u64,
    },
    /// A tensor's place has another size than its shape and type.
    #[error("tensor \"{name}\" takes {stated} bytes in the file, where its shape and type ask for {expected}")]
    WrongSize {
        /// The tensor.
        name: String,
        /// Bytes between its offsets.
        stated: u64,
        /// Bytes that its shape and type ask for.
        expected: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors \"{first}\" and \"{second}\" overlap")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts before the first one ends.
        second: String,
    },
    /// The index names a file outside the model's folder, or no file at all.
    #[error("the index names the file \"{file}\", which is not a plain file name of the model's folder")]
    BadShardName {
        /// The name in the index.
        file: String,
    },
    /// The index promises a tensor that the file does not hold.
    #[error("tensor \"{name}\" is not in {file}, where the index says it is")]
    NotInShard {
        /// The tensor.
        name: String,
        /// The file that the index names.
        file: String,
    },
    /// A tensor that is needed is in no file.
    #[error("tensor \"{name}\" is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
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
        crate::FormatError::SafeTensors {
            path: path.to_owned(),
            offset: self.offset as u64,
            problem: Box::new(self.problem),
        }
    }
}
