//! What can be wrong with a sentence encoder on disk.

use std::io;
use std::path::PathBuf;

use saem_kernels::KernelError;
use saem_tokenizer::TokenizerError;

/// Why a sentence encoder could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The operating system refused to open or read a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file that is read whole is larger than such a file may be.
    #[error("{} has {bytes} bytes; at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is accepted.
        limit: u64,
    },
    /// The file of weights is no archive, or an array of it cannot be unpacked.
    #[error("{}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The archive lacks an array.
    #[error("{}: the array `{array}` is missing", path.display())]
    MissingArray {
        /// The file.
        path: PathBuf,
        /// Name of the array.
        array: String,
    },
    /// An array has another type or shape than the architecture asks for.
    #[error("{}: the array `{array}` is {actual}; {expected} is expected", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// What it must be, such as `<f4 [512, 256]`.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The bytes of an array are damaged: its header is not one of `npy`, it ends too early, or a value is not a finite
    /// number.
    #[error("{}: the array `{array}`, offset {offset}: {reason}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Where in the unpacked array.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The SentencePiece model is damaged or of another kind.
    #[error("{}: {source}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenizerError,
    },
    /// The tokenizer lacks a token that the encoder puts around texts or in the place of nothing.
    #[error("{}: there is no {what} token among the {tokens} tokens", path.display())]
    MissingToken {
        /// The file.
        path: PathBuf,
        /// Which token.
        what: &'static str,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// Threads or memory could not be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
