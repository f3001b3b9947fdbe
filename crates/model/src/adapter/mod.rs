//! Adapters: small changes to a model, of which each sequence of a batch may have its own.
//!
//! Three kinds are known. A *LoRA* (Hu et al. 2021, arXiv 2106.09685) adds to projections of the layers a product of two
//! thin matrices, `y += scale * B (A x)`; with magnitudes (DoRA, `gains.rs`) the rows of the sum have lengths of their own. A *soft prompt* (Lester et al. 2021, arXiv 2104.08691; Liu et al. 2021,
//! arXiv 2103.10385) puts rows of its own in front of a text where otherwise rows of the embedding matrix would be. A
//! *prefix* (Li and Liang 2021, arXiv 2101.00190) gives keys and values of its own for every layer in front of a text.
//! They are read from the folders that Hugging Face's `peft` writes, LoRA also from llama.cpp's GGUF files. A LoRA may
//! have a *head* (`head.rs`) and then tells labels apart where others write.
//!
//! The **key decision** is that weights of the base are never touched: the thin products are computed beside them, for
//! the rows that want them (`apply.rs`). So one copy of a model serves any number of adapters at once, and what has no
//! adapter is computed as if there were none.
//!
//! Files are untrusted. Shapes are compared with the model's before anything of their size is read, every tensor must
//! belong to something, and values must be finite.

mod apply;
mod error;
mod gains;
mod gguf;
mod head;
mod lora;
mod peft;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use saem_formats::MappedFile;
use saem_kernels::DataType;
use saem_kernels::ops::RopeStyle;

pub(crate) use apply::{AdapterBuffers, buffer_bytes};
pub use error::AdapterError;
use head::Head;
pub(crate) use lora::FloatPair;
use lora::LayerAdapter;
pub(crate) use lora::Target;
pub use write::{LoraPair, write_lora, write_lora_gguf, write_prefix, write_prompt};

use crate::config::Config;
use crate::weights::{Model, Weights};

/// How to load an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterOptions {
    /// Keep the matrices of a LoRA in this type: F32, F16 or BF16. Where absent, as they are stored; quantised ones are
    /// expanded to F32.
    pub data_type: Option<DataType>,
    /// The largest rank of a LoRA; more than the model's width is never allowed.
    pub max_rank: usize,
    /// The most memory that the adapter may take, in bytes.
    pub max_bytes: usize,
}

impl Default for AdapterOptions {
    /// Matrices as they are stored, of any rank and size that fits the model.
    fn default() -> Self {
        Self { data_type: None, max_rank: usize::MAX, max_bytes: usize::MAX }
    }
}

/// A LoRA, a soft prompt or a prefix for models of one shape. Name it for a span of a [`Batch`](crate::Batch) to use it.
pub struct Adapter {
    id: u64,
    shape: Shape,
    /// The LoRA; empty for the others.
    layers: Vec<LayerAdapter>,
    /// The soft prompt, `[virtual tokens, hidden]`; empty for the others.
    prompt: Vec<f32>,
    /// The prefix, `[virtual tokens, layers, key and value, kv width]`, keys as they lie in the cache; empty for the
    /// others.
    prefix: Vec<f32>,
    /// Of one that tells labels apart.
    head: Option<Head>,
    /// The largest rank of the LoRA's products.
    rank: usize,
    bytes: usize,
}

impl Adapter {
    /// Loads the adapter at `path` for models of this configuration:
    ///
    /// - a folder with `adapter_config.json` and `adapter_model.safetensors` as `peft` writes it (LoRA, prompt tuning,
    ///   p-tuning, prefix tuning), or one of these two files;
    /// - a LoRA in llama.cpp's GGUF format.
    ///
    /// Either kind fits a model from either format: rows of query and key matrices are put in the model's order.
    ///
    /// A LoRA with magnitudes (DoRA) needs the weights: [`Model::adapter`] loads all of these.
    ///
    /// # Errors
    /// Where the files are missing or broken, ask for something that is not supported, or do not fit the model or the
    /// options.
    pub fn load(path: impl AsRef<Path>, config: &Config, options: &AdapterOptions) -> Result<Self, AdapterError> {
        Self::read(path.as_ref(), config, None, options)
    }

    fn read(
        path: &Path,
        config: &Config,
        weights: Option<&Weights>,
        options: &AdapterOptions,
    ) -> Result<Self, AdapterError> {
        if let Some(data_type) = options.data_type.filter(|data_type| data_type.is_quantized()) {
            let (path, value) = (path.to_owned(), data_type.name().to_owned());
            return Err(AdapterError::Unsupported { path, field: "data_type", value });
        }
        match Stands::at(path)? {
            Stands::Peft(folder) => peft::load(folder, config, weights, options),
            Stands::Gguf => gguf::load(path, config, options),
        }
    }

    fn new(config: &Config, layers: Vec<LayerAdapter>, head: Option<Head>, prompt: Vec<f32>, prefix: Vec<f32>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let pairs = || layers.iter().flat_map(LayerAdapter::pairs);
        let bytes = pairs().map(lora::Pair::byte_len).sum::<usize>()
            + head.as_ref().map_or(0, Head::byte_len)
            + size_of_val(prompt.as_slice())
            + size_of_val(prefix.as_slice());
        let rank = pairs().map(lora::Pair::rank).max().unwrap_or(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, shape: Shape::of(config), layers, head, prompt, prefix, rank, bytes }
    }

    /// A number that no other adapter of this process has or had, not even one from the same file; never 0.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The largest rank of the LoRA's products; 0 for the others.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Rows of the soft prompt or the prefix; 0 for a LoRA.
    ///
    /// Row `i` stands in a batch as the token `vocabulary + i` ([`Config::vocabulary`]). All of them come before a text's
    /// first token, take positions and cache as tokens do, and have no meaning elsewhere. The logits of a prefix's rows
    /// have none at all: they are keys and values alone.
    #[must_use]
    pub fn virtual_tokens(&self) -> usize {
        let rows = |numbers: &[f32], width: usize| numbers.len().checked_div(width).unwrap_or(0);
        rows(&self.prompt, self.shape.hidden) + rows(&self.prefix, self.shape.prefix_width())
    }

    /// The labels that the adapter tells apart, in the order of their scores; none for one that writes.
    ///
    /// A row of logits that is asked for with such an adapter holds their scores at the beginning and nothing behind them
    /// ([`f32::NEG_INFINITY`]). They have a meaning after a text's last token.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.head.as_ref().map_or(&[], Head::labels)
    }

    /// Puts the scores of the labels in a row of logits, for a row after the last norm, if the adapter has some.
    pub(crate) fn scores(&self, normed: &[f32], logits: &mut [f32]) {
        if let Some(head) = &self.head {
            head.scores(normed, logits);
        }
    }

    /// Bytes of memory that the adapter takes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// Whether the adapter was loaded for a model of this shape.
    #[must_use]
    pub fn fits(&self, config: &Config) -> bool {
        self.shape == Shape::of(config)
    }

    /// Row `index` of the soft prompt.
    pub(crate) fn prompt_row(&self, index: usize) -> Option<&[f32]> {
        let start = index.checked_mul(self.shape.hidden)?;
        self.prompt.get(start..)?.get(..self.shape.hidden)
    }

    /// The key and the value of row `index` of the prefix in a layer.
    pub(crate) fn prefix_row(&self, layer: usize, index: usize) -> Option<(&[f32], &[f32])> {
        let width = self.shape.kv_heads * self.shape.head_dim;
        let start = index.checked_mul(self.shape.prefix_width())?.checked_add(2 * layer * width)?;
        Some(self.prefix.get(start..)?.get(..2 * width)?.split_at(width))
    }

    pub(crate) fn is_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    pub(crate) fn is_lora(&self) -> bool {
        !self.layers.is_empty()
    }

    pub(crate) fn layer(&self, index: usize) -> Option<&LayerAdapter> {
        self.layers.get(index)
    }
}

impl Model {
    /// Loads an adapter for this model: whatever [`Adapter::load`] does, and a LoRA with magnitudes, too. Its factors are
    /// computed here, on one thread, from the weights as the model holds them.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn adapter(&self, path: impl AsRef<Path>, options: &AdapterOptions) -> Result<Adapter, AdapterError> {
        Adapter::read(path.as_ref(), &self.config, Some(&self.weights), options)
    }
}

/// The LoRA at a path, in floats.
pub(crate) fn floats(path: &Path, config: &Config) -> Result<Vec<FloatPair>, AdapterError> {
    match Stands::at(path)? {
        Stands::Peft(folder) => peft::floats(folder, config),
        Stands::Gguf => gguf::read(path, config, |collector, style, scaling| collector.floats(style, scaling)),
    }
}

/// What stands at the path of an adapter.
enum Stands<'a> {
    /// The folder that `peft` wrote.
    Peft(&'a Path),
    Gguf,
}

impl<'a> Stands<'a> {
    fn at(path: &'a Path) -> Result<Self, AdapterError> {
        if path.is_dir() {
            return Ok(Self::Peft(path));
        }
        if MappedFile::open(path)?.bytes().starts_with(b"GGUF") {
            return Ok(Self::Gguf);
        }
        match path.parent() {
            Some(folder) if path.file_name().is_some_and(|name| name == peft::CONFIG || name == peft::WEIGHTS) => {
                Ok(Self::Peft(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }))
            }
            _ => Err(AdapterError::NotAnAdapter {
                path: path.to_owned(),
                reason: "neither a folder with adapter_config.json nor a GGUF file",
            }),
        }
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Adapter")
            .field("id", &self.id)
            .field("rank", &self.rank)
            .field("virtual_tokens", &self.virtual_tokens())
            .field("labels", &self.labels())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What model and adapter must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    /// The order of query and key rows.
    rope_style: RopeStyle,
}

impl Shape {
    /// Floats of a prefix's row: a key and a value in every layer.
    fn prefix_width(self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim
    }

    fn of(config: &Config) -> Self {
        Self {
            layers: config.layers.len(),
            hidden: config.hidden,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            intermediate: config.intermediate,
            rope_style: config.rope_style,
        }
    }
}
