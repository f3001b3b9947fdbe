//! What can go wrong, and where.

use std::ops::Range;
use std::path::PathBuf;

use saem_formats::{FormatError, WriteError};
use saem_kernels::KernelError;
use saem_model::ModelError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The decoder cannot be trained, or its checkpoint cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of weights cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The threads cannot be started.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file of weights cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file being written.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// A file or folder cannot be read, written or renamed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A batch is longer than the buffers.
    #[error("a batch of {found} tokens where the plan has room for {limit}")]
    TooManyTokens {
        /// Tokens in the batch.
        found: usize,
        /// Tokens that fit.
        limit: usize,
    },
    /// A token that the model does not know.
    #[error("token {token} is beyond the vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Tokens that there are.
        vocabulary: usize,
    },
    /// The texts of a batch do not cover its tokens one after the other.
    #[error("texts must lie one after the other: found {found:?}, expected one at {expected}")]
    Documents {
        /// The text.
        found: Range<usize>,
        /// Where the next one should begin.
        expected: usize,
    },
}
