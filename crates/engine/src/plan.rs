//! How much memory an engine takes, known before it is taken.

use saem_kernels::DataType;
use saem_kernels::attention::KvType;
use saem_model::{Config, Description, KvCache, Workspace};

use crate::blocks::blocks_for;
use crate::request::Limits;
use crate::speculate::SAME_BITS_ROWS;
use crate::{AdapterRoom, EngineError};

/// The context where nothing else is said and the model allows more.
pub const DEFAULT_CONTEXT: usize = 4096;

/// What an engine is to be set up for. [`Default`] suits one conversation at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineOptions {
    /// Threads that compute; 0 for as many as the machine has processors.
    pub threads: usize,
    /// Positions of one sequence, prompt and output together. Where absent: [`DEFAULT_CONTEXT`] or what the model was
    /// made for, whichever is less.
    pub context: Option<usize>,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Compress the weights to this type while loading.
    pub quantize: Option<DataType>,
    /// Rows of one pass: prompts are computed in chunks of so many tokens.
    pub batch_rows: usize,
    /// Rows of prompts in a pass in which others decode; more than `batch_rows` is as many.
    pub prompt_rows: usize,
    /// Guessed tokens in one pass, of sequences that allow it (see [`Request::speculate`](crate::Request::speculate)).
    pub draft_rows: usize,
    /// Sequences (candidates) at work at once.
    pub max_sequences: usize,
    /// Requests that may wait for a place.
    pub max_waiting: usize,
    /// Blocks of the key-value cache. Where absent: enough for `max_sequences` sequences of full context.
    pub kv_blocks: Option<usize>,
    /// What is set aside for adapters, whether any are loaded or not.
    pub adapters: AdapterRoom,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            context: None,
            kv_type: KvType::F16,
            quantize: None,
            batch_rows: 512,
            prompt_rows: 128,
            draft_rows: SAME_BITS_ROWS - 1,
            max_sequences: 1,
            max_waiting: usize::MAX,
            kv_blocks: None,
            adapters: AdapterRoom::default(),
        }
    }
}

/// The memory of an engine. The cache is reserved whole but backed by memory only as far as it was used.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Sizes that bound every request.
    pub limits: Limits,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Blocks of the key-value cache.
    pub kv_blocks: usize,
    /// Bytes of the weights, an estimate until the model is loaded, and what is set aside for adapters.
    pub weight_bytes: u64,
    /// Bytes of the key-value cache when all of it is in use.
    pub kv_bytes: u64,
    /// Bytes of the buffers of a pass.
    pub workspace_bytes: u64,
}

impl Plan {
    /// Resolves `options` for a model.
    ///
    /// # Errors
    /// [`EngineError::Parameter`] where an option is 0 or larger than the model allows.
    pub fn new(description: &Description, options: &EngineOptions) -> Result<Self, EngineError> {
        let stored = description.weight_bytes;
        let weight_bytes = options
            .quantize
            .map_or(stored, |data_type| (description.parameters as f64 * data_type.bits_per_weight() / 8.0) as u64);
        Self::resolve(&description.config, weight_bytes, options)
    }

    pub(crate) fn resolve(config: &Config, weight_bytes: u64, options: &EngineOptions) -> Result<Self, EngineError> {
        let within = |parameter, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(value);
            }
            Err(EngineError::Parameter { parameter, value: value.to_string(), expected: format!("1 to {most}") })
        };
        let model_context = config.context.max(1);
        let context = options.context.unwrap_or(DEFAULT_CONTEXT.min(model_context));
        let context = within("context", context, model_context)?;
        let batch_rows = within("batch_rows", options.batch_rows, 1 << 16)?;
        let max_sequences = within("max_sequences", options.max_sequences, batch_rows)?;
        let prompt_rows = within("prompt_rows", options.prompt_rows, usize::MAX)?;
        let kv_blocks = options.kv_blocks.unwrap_or(max_sequences.saturating_mul(blocks_for(context)));
        let kv_blocks = within("kv_blocks", kv_blocks, u32::MAX as usize)?;
        // A pass can never have more rows than there are positions to fill.
        let batch_rows = batch_rows.min(max_sequences.saturating_mul(context)).max(max_sequences);
        let prompt_rows = prompt_rows.min(batch_rows);
        let draft_rows = options.draft_rows.min(SAME_BITS_ROWS - 1).min(batch_rows - max_sequences);
        let max_waiting = options.max_waiting;
        let limits = Limits { context, model_context, batch_rows, prompt_rows, draft_rows, max_sequences, max_waiting };
        let AdapterRoom { bytes: adapter_bytes, rank } = options.adapters.within(config);
        let kv_bytes = kv_blocks as u64 * KvCache::block_bytes(config, options.kv_type) as u64;
        Ok(Self {
            limits,
            kv_type: options.kv_type,
            kv_blocks,
            weight_bytes: weight_bytes.saturating_add(adapter_bytes),
            kv_bytes,
            workspace_bytes: Workspace::byte_len(config, batch_rows, limits.logit_rows()) as u64
                + Workspace::adapter_byte_len(config, batch_rows, rank) as u64,
        })
    }

    /// All of it.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.weight_bytes + self.kv_bytes + self.workspace_bytes
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            formatter,
            "{:.0} MiB: weights {:.0}, keys and values up to {:.0} ({} x {} tokens), buffers {:.0}",
            mib(self.total_bytes()),
            mib(self.weight_bytes),
            mib(self.kv_bytes),
            self.limits.max_sequences,
            self.limits.context,
            mib(self.workspace_bytes),
        )
    }
}
