//! What can go wrong while a file is written.

use std::io;

use saem_kernels::DataType;

/// What a writer was told that does not fit together, or what the operating system refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused the bytes.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// A metadata key was added twice.
    #[error("metadata key {key:?} is added twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A tensor was added twice.
    #[error("tensor {name:?} is added twice")]
    DuplicateTensor {
        /// The tensor's name.
        name: String,
    },
    /// A metadata key or tensor name that readers of the format refuse.
    #[error("the name {name:?} is empty, reserved or longer than {limit} bytes")]
    BadName {
        /// The name.
        name: String,
        /// The longest name in bytes that the format takes.
        limit: usize,
    },
    /// A shape that the format cannot hold: too many dimensions, an empty one, or too many elements.
    #[error("tensor {name:?} of shape {shape:?} cannot be stored as {data_type}")]
    BadShape {
        /// The tensor's name.
        name: String,
        /// Its shape in the format's order.
        shape: Vec<usize>,
        /// Its type.
        data_type: DataType,
    },
    /// safetensors files hold floats only.
    #[error("safetensors files cannot hold {data_type} (tensor {name:?})")]
    UnsupportedType {
        /// The tensor's name.
        name: String,
        /// Its type.
        data_type: DataType,
    },
    /// An alignment that is not a power of two, or too large.
    #[error("alignment {alignment} is not a power of two up to 65536 (as u32)")]
    BadAlignment {
        /// The alignment in bytes.
        alignment: u32,
    },
    /// A value that GGUF cannot hold, such as a version other than 2 and 3.
    #[error("GGUF version {version} cannot be written (2 or 3 can)")]
    BadVersion {
        /// The version asked for.
        version: u32,
    },
    /// A model that would be split into more files than its names can count.
    #[error("the model would be split into {parts} files (at most {limit} can be); choose larger files")]
    TooManyParts {
        /// Files that the split asks for.
        parts: usize,
        /// The most files that there can be.
        limit: usize,
    },
    /// The bytes of a tensor do not have the size that was announced.
    #[error("tensor {name:?} has {actual} bytes (announced: {expected})")]
    WrongLength {
        /// The tensor's name.
        name: String,
        /// Bytes that its shape and type ask for.
        expected: u64,
        /// Bytes that were given.
        actual: u64,
    },
    /// More tensor bytes than were announced.
    #[error("{extra} bytes follow after the last tensor")]
    TooMuchData {
        /// Bytes beyond the end.
        extra: u64,
    },
    /// `finish` was called before every tensor was written.
    #[error("the file ends in tensor {name:?}: {missing} bytes of data are missing")]
    Incomplete {
        /// The first tensor that is not whole.
        name: String,
        /// Bytes of data that are still to come.
        missing: u64,
    },
}
