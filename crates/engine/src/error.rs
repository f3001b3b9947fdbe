//! What can go wrong between a request and its text.

use saem_model::AdapterError;

use crate::chat::TemplateError;
use crate::constraint::ConstraintError;

/// A request that cannot be served, or a model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A field of a request outside its range.
    #[error("{parameter} is {value} (allowed: {expected})")]
    Parameter {
        /// Name of the field.
        parameter: &'static str,
        /// What it was given.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A prompt without a single token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A prompt that leaves no room for an answer.
    #[error(
        "the prompt has {prompt} tokens, but the context holds {context}, the answer included; \
         shorten the prompt or raise the context (the model allows {model_context})"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context, prompt and answer together.
        context: usize,
        /// The longest context that the model was made for.
        model_context: usize,
    },
    /// A request whose keys and values can never be held at once.
    #[error(
        "the request needs {needed} blocks of key-value cache, but the cache has {blocks}; \
         ask for fewer tokens or candidates, or raise the context or the number of sequences"
    )]
    CacheTooSmall {
        /// Blocks that the request needs at worst.
        needed: usize,
        /// Blocks of the whole cache.
        blocks: usize,
    },
    /// The queue is full: try again later.
    #[error("{waiting} requests are waiting already; try again later")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
    },
    /// Too many requests of the same line wait, though the queue has room for others: try again later.
    #[error("{waiting} of your requests are waiting already; try again later")]
    LineFull {
        /// Requests of the line that wait.
        waiting: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("token {token} at position {position} is outside the model's vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        token: u32,
        /// Where in the prompt.
        position: usize,
        /// Ids that exist.
        vocabulary: usize,
    },
    /// The model's output is not a set of numbers: a damaged file, or weights beyond the range of their type.
    #[error("the model computed logits that are not numbers (position {position}); its file may be damaged")]
    NotANumber {
        /// Position of the token whose logits these are.
        position: usize,
    },
    /// A pass that the model refused; a defect of the engine.
    #[error("the model refused a pass: {reason}")]
    Pass {
        /// The model's words.
        reason: String,
    },
    /// An adapter for a model that was loaded without room for any.
    #[error("no memory was set aside for adapters of this model")]
    NoAdapters,
    /// The memory that the plan asks for does not exist.
    #[error("{bytes} bytes of memory are needed and not available; choose a smaller context or fewer sequences")]
    OutOfMemory {
        /// Key-value cache and working buffers together.
        bytes: u64,
    },
    /// A text that is too short for what is to be measured on it.
    #[error("the text has {tokens} tokens; at least {needed} are needed")]
    TextTooShort {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens that are needed.
        needed: usize,
    },
    /// The measurement was called off.
    #[error("cancelled")]
    Cancelled,
    /// The requests share one cache, so the engine must be idle for this.
    #[error("the engine is busy with {sequences} sequences")]
    Busy {
        /// Sequences at work or waiting.
        sequences: usize,
    },
    /// A constraint that is not supported, impossible or too complex.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// A chat template that is wrong, refuses its messages, or uses too much.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The model's files cannot be opened.
    #[error(transparent)]
    Format(#[from] saem_formats::FormatError),
    /// An adapter cannot be loaded.
    #[error(transparent)]
    Adapter(#[from] saem_model::AdapterError),
    /// The model cannot be built from its files.
    #[error(transparent)]
    Model(#[from] saem_model::ModelError),
    /// The threads cannot be started.
    #[error(transparent)]
    Kernel(#[from] saem_kernels::KernelError),
}

impl EngineError {
    /// Whether too little memory was set aside for an adapter.
    #[must_use]
    pub fn is_want_of_adapter_room(&self) -> bool {
        matches!(self, Self::NoAdapters | Self::Adapter(AdapterError::TooLarge { .. }))
    }
}
