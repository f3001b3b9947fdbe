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
    /// A text that is longer than the positions that the model has learnt or is to learn.
    #[error("a text of {found} tokens where the model has {limit} positions: make `sequence` smaller")]
    Positions {
        /// Tokens in the text.
        found: usize,
        /// Positions that there are.
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
    /// A file of texts is broken.
    #[error("{}, line {line}: {problem}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: DataProblem,
    },
    /// Not a single row became an example.
    #[error("no row of the data can be learnt from; the first, {}, line {line}: {reason}", file.display())]
    NoExamples {
        /// The file of the first row.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Why it cannot.
        reason: String,
    },
    /// The texts do not fill a single sequence.
    #[error("{tokens} tokens of text do not fill one sequence of {sequence}: add texts or make sequences shorter")]
    TooLittleData {
        /// Tokens that there are.
        tokens: usize,
        /// Tokens of a sequence.
        sequence: usize,
    },
    /// A recipe cannot be followed.
    #[error("{}: {problem}", path.display())]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The loss or a gradient is not a number any more.
    #[error(
        "step {step}: {what} is not finite; begin a new run with a lower learning rate, a longer warm-up or more clipping"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The loss, or the parameter whose gradient it is.
        what: String,
    },
    /// The machine has less memory than the run takes.
    #[error("the run takes {needed} bytes, and {available} are free")]
    Memory {
        /// Bytes of the plan.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// What would fit, and its bytes.
        fits: Option<(crate::machine::Choice, u64)>,
    },
    /// A folder is no run whose loss could be taken.
    #[error("{}: {problem}", path.display())]
    Scaling {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A law cannot be fitted to so few runs.
    #[error("{found} runs of different sizes, and a law needs {needed}")]
    TooFewRuns {
        /// Runs with operations of their own.
        found: usize,
        /// How many there should be.
        needed: usize,
    },
    /// A checkpoint is not what its manifest says, or belongs to another run.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// What is wrong with a line of texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataProblem {
    /// Its bytes are not text.
    #[error("not UTF-8")]
    NotUtf8,
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// It has no text under the name asked for.
    #[error("no string {0:?}")]
    NoField(String),
    /// It is too long.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// It is a row of a table without an end.
    #[error("a row that does not end within {limit} bytes: a quote (\") in it is not closed")]
    OpenQuote {
        /// The most that is read.
        limit: usize,
    },
    /// It is JSON, but no object.
    #[error("not an object")]
    NotAnObject,
    /// A row of a table has more or fewer columns than its header.
    #[error("{found} columns where the header has {expected}")]
    Columns {
        /// Columns of the row.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// It has no such column.
    #[error("no column {column:?}; there are: {}", columns.join(", "))]
    NoColumn {
        /// The column that is asked for.
        column: String,
        /// Those that it has.
        columns: Vec<String>,
    },
    /// A column has nothing in it.
    #[error("column {0:?} is empty")]
    Empty(String),
    /// A label that the recipe does not name.
    #[error("the label {0:?} is not one of those of the recipe")]
    Label(String),
    /// An example has more tokens than the recipe allows.
    #[error("{found} tokens where `sequence` is {limit}")]
    TooManyTokens {
        /// Its tokens.
        found: usize,
        /// The most that are allowed.
        limit: usize,
    },
    /// Of two answers neither is better.
    #[error("both answers are the same")]
    SameAnswers,
    /// The messages of a conversation cannot be written as the model's template has it.
    #[error("no conversation: {0}")]
    Conversation(String),
}
