//! Why a model cannot be loaded, run or converted.

use std::path::PathBuf;

use saem_formats::{FormatError, WriteError};
use saem_kernels::KernelError;
use saem_tokenizer::TokenizerError;

/// What is wrong with a checkpoint or with a batch. Every variant names the field or tensor and its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file itself cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An adapter cannot be merged.
    #[error(transparent)]
    Adapter(Box<crate::AdapterError>),
    /// A converted file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file being written.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// A file or directory cannot be created, renamed or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A tensor's data do not fit its shape and type.
    #[error("tensor {tensor}: {source}")]
    Kernel {
        /// Name of the tensor in the file.
        tensor: String,
        /// What does not fit.
        source: KernelError,
    },
    /// The tokenizer in the file is not usable.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// The file has weights but no tokenizer.
    #[error("the model has no tokenizer ({missing} is missing)")]
    NoTokenizer {
        /// The file or metadata key looked for.
        missing: &'static str,
    },
    /// No family goes by this name.
    #[error("architecture {name:?} is not supported; supported are {}", known.join(", "))]
    UnknownArchitecture {
        /// `general.architecture` or `model_type` of the file.
        name: String,
        /// The names that would be.
        known: Vec<&'static str>,
    },
    /// The metadata lack a number that cannot be guessed.
    #[error("the model's metadata lack {field}")]
    MissingField {
        /// Name of the field, as the file would spell it.
        field: String,
    },
    /// A field of the metadata has a value of the wrong kind or out of all proportion.
    #[error("the model's metadata have {field} = {value}: {reason}")]
    InvalidField {
        /// Name of the field.
        field: String,
        /// Its value, shortened.
        value: String,
        /// What it should be.
        reason: String,
    },
    /// A switch of the architecture that is not implemented.
    #[error("{what} {value:?} is not supported")]
    Unsupported {
        /// Which switch.
        what: &'static str,
        /// Its value in the file.
        value: String,
    },
    /// A tensor that the configuration asks for is not in the file.
    #[error("tensor {name} is missing")]
    MissingTensor {
        /// Its name in this format.
        name: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("tensor {tensor} has shape {found:?} (expected {expected:?})")]
    Shape {
        /// Its name in the file.
        tensor: String,
        /// Shape by the configuration, outermost dimension first.
        expected: Vec<usize>,
        /// Shape in the file, outermost dimension first.
        found: Vec<usize>,
    },
    /// The tokenizer has tokens that the embedding matrix has no row for.
    #[error("the tokenizer has {tokens} tokens, but the embedding matrix has {rows} rows")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Rows of the embedding matrix.
        rows: usize,
    },
    /// A batch that the workspace, the cache or the vocabulary cannot take.
    #[error("batch: {0}")]
    Batch(#[from] BatchError),
    /// A conversion between these formats is not possible.
    #[error("cannot convert: {0}")]
    Conversion(String),
}

/// What is wrong with a [`Batch`](crate::Batch).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// More rows than the workspace was made for, or more positions than were learnt.
    #[error("{what} {found} exceed {limit}")]
    TooManyRows {
        /// `rows`, `logit rows` or `positions`.
        what: &'static str,
        /// Rows in the batch.
        found: usize,
        /// Rows in the workspace.
        limit: usize,
    },
    /// A token that is not in the vocabulary.
    #[error("row {row} holds token {token}, but the vocabulary has {vocabulary}")]
    Token {
        /// Row of the batch.
        row: usize,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The spans do not cover the rows one after the other.
    #[error("span {span} starts at row {found} (expected {expected}, so that spans cover all {rows} rows in order)")]
    Spans {
        /// Index of the span.
        span: usize,
        /// Its first row.
        found: usize,
        /// Where the one before it ended.
        expected: usize,
        /// Rows in the batch.
        rows: usize,
    },
    /// A span has fewer blocks than its last position needs.
    #[error("span {span} needs {needed} cache blocks for {positions} positions and has {found}")]
    Blocks {
        /// Index of the span.
        span: usize,
        /// Positions up to the span's end.
        positions: usize,
        /// Blocks that takes.
        needed: usize,
        /// Blocks it has.
        found: usize,
    },
    /// A span names a block beyond the cache.
    #[error("span {span} names cache block {block}, but the cache has {blocks}")]
    BlockNumber {
        /// Index of the span.
        span: usize,
        /// The block.
        block: u32,
        /// Blocks in the cache.
        blocks: usize,
    },
    /// There are adapters for some spans and not for others; those without one need a `None`.
    #[error("{found} adapters for {expected} spans")]
    Adapters {
        /// Adapters in the batch.
        found: usize,
        /// Spans in the batch.
        expected: usize,
    },
    /// An adapter that was loaded for a model of another shape.
    #[error("the adapter of span {span} belongs to another model")]
    OtherModel {
        /// Index of the span.
        span: usize,
    },
    /// An adapter of a higher rank than the workspace has room for.
    #[error("the adapter of span {span} has rank {found}, and the workspace has room for {limit}")]
    AdapterRank {
        /// Index of the span.
        span: usize,
        /// Its adapter's rank.
        found: usize,
        /// The workspace's.
        limit: usize,
    },
    /// Logit rows must be ascending rows of the batch.
    #[error("logit row {found} at index {index} is not above the one before it and below {rows}")]
    LogitRow {
        /// Index in `logit_rows`.
        index: usize,
        /// The row.
        found: usize,
        /// Rows in the batch.
        rows: usize,
    },
}

/// A field whose value is refused; long values are shortened.
pub(crate) fn invalid(field: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> ModelError {
    let mut value = value.to_string();
    if let Some((end, _)) = value.char_indices().nth(60) {
        value.truncate(end);
        value.push('…');
    }
    ModelError::InvalidField { field: field.into(), value, reason: reason.into() }
}

/// Names the tensor in an error of a kernel.
pub(crate) fn in_tensor(tensor: &str) -> impl FnOnce(KernelError) -> ModelError + '_ {
    move |source| ModelError::Kernel { tensor: tensor.to_owned(), source }
}

impl From<crate::AdapterError> for ModelError {
    fn from(error: crate::AdapterError) -> Self {
        Self::Adapter(Box::new(error))
    }
}
