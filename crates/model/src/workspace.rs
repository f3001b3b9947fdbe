//! Every buffer of a forward pass, allocated once.

use saem_kernels::Input;

use crate::adapter::{AdapterBuffers, buffer_bytes};
use crate::config::Config;
use crate::moe::MoeWorkspace;
use crate::rope::Angles;

/// The buffers of a pass over at most a given number of rows. Contents do not survive a pass, except the logits until
/// the next.
#[derive(Debug)]
pub struct Workspace {
    /// Most rows of a batch.
    pub(crate) rows: usize,
    /// Most rows with logits.
    pub(crate) logit_rows: usize,
    /// One for each of the model's rotations.
    pub(crate) angles: Vec<Angles>,
    /// The residual stream, `[rows, hidden]`.
    pub(crate) stream: Vec<f32>,
    /// A sub-layer's input, `[rows, hidden]`.
    pub(crate) normed: Vec<f32>,
    /// A sub-layer's output, `[rows, hidden]`.
    pub(crate) output: Vec<f32>,
    /// Inside of a sub-layer: [`Heads`], and later, when those are no longer wanted, the inside of the feed-forward
    /// layer, `[rows, widest intermediate]`.
    pub(crate) inner: Vec<f32>,
    /// The second product of a gated layer with biases or adapters, which cannot be fused; else empty.
    pub(crate) inner_up: Vec<f32>,
    /// The input of products at hand.
    pub(crate) input: Input,
    pub(crate) moe: Option<MoeWorkspace>,
    pub(crate) adapters: AdapterBuffers,
    /// `[logit rows, vocabulary]`.
    pub(crate) logits: Vec<f32>,
}

impl Workspace {
    /// Buffers for batches of up to `max_rows` rows, `max_logit_rows` of them with logits.
    #[must_use]
    pub fn new(config: &Config, max_rows: usize, max_logit_rows: usize) -> Self {
        let room = |width: usize| vec![0.0; max_rows * width];
        Self {
            rows: max_rows,
            logit_rows: max_logit_rows,
            angles: config.ropes.iter().map(|rope| Angles::new(rope, max_rows)).collect(),
            stream: room(config.hidden),
            normed: room(config.hidden),
            output: room(config.hidden),
            inner: room(inner_width(config)),
            inner_up: room(inner_up_width(config)),
            input: Input::with_capacity(max_rows, widest_input(config)),
            moe: config.moe.as_ref().map(|moe| MoeWorkspace::new(moe, max_rows, config.hidden)),
            adapters: AdapterBuffers::default(),
            logits: vec![0.0; max_logit_rows * config.vocabulary],
        }
    }

    /// Bytes that [`Workspace::new`] takes.
    #[must_use]
    pub fn byte_len(config: &Config, max_rows: usize, max_logit_rows: usize) -> usize {
        let row = 3 * config.hidden + inner_width(config) + inner_up_width(config);
        let angles: usize = config.ropes.iter().map(|rope| Angles::byte_len(rope, max_rows)).sum();
        let moe = config.moe.as_ref().map_or(0, |moe| MoeWorkspace::byte_len(moe, max_rows, config.hidden));
        (max_rows * row + max_logit_rows * config.vocabulary) * size_of::<f32>()
            + Input::byte_len(max_rows, widest_input(config))
            + angles
            + moe
    }

    /// Makes room for batches with LoRA of up to this rank. Without it, batches may have soft prompts only.
    pub fn reserve_adapters(&mut self, config: &Config, rank: usize) {
        if rank > self.adapters.rank() {
            self.inner_up.resize(self.rows * adapted_up_width(config), 0.0);
            self.adapters = AdapterBuffers::new(config, self.rows, rank);
        }
    }

    /// Bytes that [`Workspace::reserve_adapters`] takes beside those of [`Workspace::new`].
    #[must_use]
    pub fn adapter_byte_len(config: &Config, max_rows: usize, rank: usize) -> usize {
        if rank == 0 {
            return 0;
        }
        let up = adapted_up_width(config).saturating_sub(inner_up_width(config));
        max_rows * up * size_of::<f32>() + buffer_bytes(config, max_rows, rank)
    }

    /// The largest rank of LoRA that batches may have.
    #[must_use]
    pub fn max_adapter_rank(&self) -> usize {
        self.adapters.rank()
    }

    /// Most rows of a batch.
    #[must_use]
    pub fn max_rows(&self) -> usize {
        self.rows
    }

    /// Most rows of a batch that may ask for logits.
    #[must_use]
    pub fn max_logit_rows(&self) -> usize {
        self.logit_rows
    }
}

/// Inside of an attention layer.
pub(crate) struct Heads<'a> {
    /// `[rows, heads, head_dim]`.
    pub(crate) query: &'a mut [f32],
    /// `[rows, kv_heads, head_dim]`.
    pub(crate) key: &'a mut [f32],
    /// `[rows, kv_heads, head_dim]`.
    pub(crate) value: &'a mut [f32],
    /// `[rows, heads, head_dim]`.
    pub(crate) attended: &'a mut [f32],
}

impl<'a> Heads<'a> {
    /// The parts of [`Workspace::inner`] for passes of `rows` rows.
    pub(crate) fn of(inner: &'a mut [f32], config: &Config, rows: usize) -> Self {
        let (query, rest) = inner.split_at_mut(rows * config.query_width());
        let (key, rest) = rest.split_at_mut(rows * config.kv_width());
        let (value, rest) = rest.split_at_mut(rows * config.kv_width());
        Self { query, key, value, attended: &mut rest[..rows * config.query_width()] }
    }
}

fn inner_width(config: &Config) -> usize {
    config.widest_intermediate().max(2 * config.query_width() + 2 * config.kv_width())
}

fn widest_input(config: &Config) -> usize {
    config.hidden.max(config.query_width()).max(config.widest_intermediate())
}

fn inner_up_width(config: &Config) -> usize {
    if config.gated && config.feed_forward_bias { config.intermediate } else { 0 }
}

fn adapted_up_width(config: &Config) -> usize {
    if config.gated && config.layers.iter().any(|layer| !layer.sparse) {
        config.intermediate
    } else {
        inner_up_width(config)
    }
}
