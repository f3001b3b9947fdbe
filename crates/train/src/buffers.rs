//! Every buffer of a pass, sized once.

use saem_kernels::gemm::{Size, shared_len};
use saem_kernels::zeros;
use saem_model::config::{LayerConfig, Moe};
use saem_model::{Angles, Config, Routing};

use crate::layout::Layout;
use crate::linear::Room;
use crate::magnitude::Lengths;
use crate::pass::Decoder;
use crate::soft::Encoded;

/// Logits that are in memory at a time, about. The output matrix is packed anew for each piece, so a piece should have
/// some hundred rows.
const LOGITS: usize = 32 << 20;
/// Rows of logits in a piece, at the least and at the most.
const LOGIT_ROWS: std::ops::RangeInclusive<usize> = 128..=1024;

/// Rows of logits that are in memory at a time.
pub(crate) fn logit_rows(layout: &Layout, tokens: usize) -> usize {
    let rows = LOGITS / layout.outputs / 32 * 32;
    rows.clamp(*LOGIT_ROWS.start(), *LOGIT_ROWS.end()).min(tokens)
}

/// Which activations are kept for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// All.
    #[default]
    None,
    /// All but the insides of feed-forward layers, which are the widest and take two of their three products to compute
    /// again.
    Selective,
    /// The input of each layer; the rest is computed again (Chen et al. 2016, arXiv 1604.06174).
    Full,
}

impl Recompute {
    /// As recipes name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Selective => "selective",
            Self::Full => "full",
        }
    }
}

/// What a layer's forward pass leaves for its backward pass. A buffer that the architecture does not need is empty.
#[derive(Debug)]
pub(crate) struct Saved {
    /// After the rotation, `[tokens, heads * head_dim]` and so on.
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    /// Before the norm of each head.
    pub(crate) raw_query: Vec<f32>,
    pub(crate) raw_key: Vec<f32>,
    pub(crate) attended: Vec<f32>,
    /// `[tokens, heads]`.
    pub(crate) log_sums: Vec<f32>,
    /// Before the norm after the sub-layer.
    pub(crate) attention_output: Vec<f32>,
    /// The stream between the sub-layers.
    pub(crate) middle: Vec<f32>,
    pub(crate) feed_forward_output: Vec<f32>,
}

impl Saved {
    fn new(config: &Config, tokens: usize) -> Self {
        let buffer = |wanted: bool, width: usize| zeros(if wanted { tokens * width } else { 0 });
        let (hidden, query, kv) = (config.hidden, config.query_width(), config.kv_width());
        let after = config.norm_position.after();
        Self {
            query: buffer(true, query),
            key: buffer(true, kv),
            value: buffer(true, kv),
            raw_query: buffer(config.qk_norm, query),
            raw_key: buffer(config.qk_norm, kv),
            attended: buffer(true, query),
            log_sums: buffer(true, config.heads),
            attention_output: buffer(after, hidden),
            middle: buffer(true, hidden),
            feed_forward_output: buffer(after, hidden),
        }
    }

    fn floats(config: &Config, tokens: usize) -> usize {
        let (hidden, query, kv) = (config.hidden, config.query_width(), config.kv_width());
        let raw = if config.qk_norm { query + kv } else { 0 };
        let outputs = if config.norm_position.after() { 2 * hidden } else { 0 };
        tokens * (2 * query + 2 * kv + raw + config.heads + outputs + hidden)
    }
}

/// What a feed-forward layer's forward pass leaves for its backward pass.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Before the activation, `[tokens, inner]`; with experts `[tokens * used, inner]`, expert by expert, and then those of
    /// the one that every token passes.
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// Where tokens went.
    pub(crate) routing: Option<Routing>,
}

impl Inside {
    /// For the layers of these kinds.
    fn new(config: &Config, tokens: usize, layers: &[LayerConfig]) -> Self {
        let len = tokens * Self::width(config, layers);
        let moe = Self::sparse(config, layers);
        Self {
            gate: zeros(if config.gated { len } else { 0 }),
            up: zeros(len),
            routing: moe.map(|moe| Routing::new(moe, tokens)),
        }
    }

    fn bytes(config: &Config, tokens: usize, layers: &[LayerConfig]) -> usize {
        let buffers = if config.gated { 2 } else { 1 };
        let routing = Self::sparse(config, layers).map_or(0, |moe| Routing::byte_len(moe, tokens));
        4 * buffers * tokens * Self::width(config, layers) + routing
    }

    fn sparse<'a>(config: &'a Config, layers: &[LayerConfig]) -> Option<&'a Moe> {
        config.moe.as_ref().filter(|_| layers.iter().any(|layer| layer.sparse))
    }

    fn width(config: &Config, layers: &[LayerConfig]) -> usize {
        let width = |layer: &LayerConfig| match Self::sparse(config, &[*layer]) {
            Some(moe) => moe.used * moe.intermediate + moe.shared_intermediate,
            None => config.intermediate,
        };
        layers.iter().map(width).max().unwrap_or(0)
    }
}

/// Working memory of layers with experts, empty where there are none.
#[derive(Debug, Default)]
pub(crate) struct ExpertRoom {
    /// One expert's input rows, `[tokens, hidden]`.
    pub(crate) x: Vec<f32>,
    /// One expert's output rows, or their gradients, `[tokens, hidden]`.
    pub(crate) y: Vec<f32>,
    /// One expert's activations, `[tokens, inner]`.
    pub(crate) activated: Vec<f32>,
    /// Gradients of scores, `[tokens, experts]`.
    pub(crate) scores: Vec<f32>,
}

impl ExpertRoom {
    fn new(config: &Config, tokens: usize) -> Self {
        let Some(moe) = &config.moe else { return Self::default() };
        Self {
            x: vec![0.0; tokens * config.hidden],
            y: vec![0.0; tokens * config.hidden],
            activated: vec![0.0; tokens * moe.intermediate],
            scores: vec![0.0; tokens * moe.experts],
        }
    }

    fn floats(config: &Config, tokens: usize) -> usize {
        config.moe.as_ref().map_or(0, |moe| tokens * (2 * config.hidden + moe.intermediate + moe.experts))
    }
}

/// Working memory that layers share.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// `[tokens, hidden]` each.
    pub(crate) normed: Vec<f32>,
    pub(crate) output: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
    /// `[tokens, widest]`: the inner width, or queries, keys and values.
    pub(crate) wide: Vec<f32>,
    /// `[tokens, heads * head_dim]`: the gradient of what attention gives, or one of a projection before its norm.
    pub(crate) attended: Vec<f32>,
    /// Two for each row of a norm.
    pub(crate) statistics: Vec<f32>,
    /// A norm's weight as it counts.
    pub(crate) norm_weight: Vec<f32>,
    pub(crate) room: Room,
    pub(crate) logits: Vec<f32>,
    /// A second copy, where logits are capped.
    pub(crate) capped: Vec<f32>,
    pub(crate) losses: Vec<f32>,
    /// The likeliest token, where it was asked for.
    pub(crate) likeliest: u32,
    /// The rows of the stream whose logits are wanted, and their gradients.
    pub(crate) picked: Vec<f32>,
    pub(crate) encoded: Encoded,
    pub(crate) experts: ExpertRoom,
    /// For each rotation, the angles and the opposite sines.
    pub(crate) angles: Vec<(Angles, Vec<f32>)>,
}

/// All buffers of passes over up to `tokens` tokens.
#[derive(Debug)]
pub struct Buffers {
    pub(crate) tokens: usize,
    /// The stream before each layer, and after the last: `[tokens, hidden]`.
    pub(crate) streams: Vec<Vec<f32>>,
    /// For each layer that the gradient goes through, or one for all.
    pub(crate) saved: Vec<Saved>,
    /// The same.
    pub(crate) insides: Vec<Inside>,
    pub(crate) scratch: Scratch,
}

impl Buffers {
    /// Buffers for passes over up to `tokens` tokens.
    #[must_use]
    pub fn new(decoder: &Decoder, tokens: usize, recompute: Recompute) -> Self {
        let Decoder { config, layout, .. } = decoder;
        let rows = logit_rows(layout, tokens);
        let layers = config.layers.len();
        let wide = Self::wide(config);
        let angles = config.ropes.iter().map(|rope| {
            let pairs = rope.rotary / 2;
            (Angles::new(rope, tokens), vec![0.0; tokens * pairs])
        });
        Self {
            tokens,
            streams: (0..=layers).map(|_| zeros(tokens * config.hidden)).collect(),
            saved: (0..Self::kept(layout, recompute)).map(|_| Saved::new(config, tokens)).collect(),
            insides: Self::inside(decoder, recompute).map(|layers| Inside::new(config, tokens, layers)).collect(),
            scratch: Scratch {
                normed: zeros(tokens * config.hidden),
                output: zeros(tokens * config.hidden),
                gradient: zeros(tokens * config.hidden),
                wide: zeros(tokens * wide),
                attended: zeros(tokens * config.query_width()),
                statistics: vec![0.0; 2 * tokens * Self::norm_rows(config)],
                norm_weight: vec![0.0; config.hidden.max(config.head_dim)],
                room: Room {
                    shared: zeros(Self::shared(config, tokens)),
                    inner: vec![0.0; tokens * layout.rank()],
                    lengths: Lengths::new(decoder, tokens),
                },
                logits: zeros(rows * layout.outputs),
                capped: zeros(if config.logit_soft_cap.is_some() { rows * layout.outputs } else { 0 }),
                losses: vec![0.0; rows],
                likeliest: 0,
                picked: vec![0.0; 2 * rows * config.hidden],
                encoded: Encoded::new(layout),
                experts: ExpertRoom::new(config, tokens),
                angles: angles.collect(),
            },
        }
    }

    /// Bytes that [`Buffers::new`] takes: activations, logits, working memory.
    #[must_use]
    pub fn bytes(decoder: &Decoder, tokens: usize, recompute: Recompute) -> [u64; 3] {
        let Decoder { config, layout, .. } = decoder;
        let rows = logit_rows(layout, tokens);
        let layers = config.layers.len();
        let activations =
            (layers + 1) * tokens * config.hidden + Self::kept(layout, recompute) * Saved::floats(config, tokens);
        let insides: usize = Self::inside(decoder, recompute).map(|layers| Inside::bytes(config, tokens, layers)).sum();
        let logits = rows * (layout.outputs * if config.logit_soft_cap.is_some() { 2 } else { 1 } + 1);
        let angles: usize = config.ropes.iter().map(|rope| tokens * rope.rotary / 2 * 3).sum();
        let working = tokens * (3 * config.hidden + Self::wide(config) + config.query_width())
            + 2 * tokens * Self::norm_rows(config)
            + config.hidden.max(config.head_dim)
            + Self::shared(config, tokens)
            + tokens * layout.rank()
            + Lengths::floats(layout, tokens)
            + 2 * rows * config.hidden
            + Encoded::floats(layout)
            + ExpertRoom::floats(config, tokens)
            + angles;
        [4 * activations + insides, 4 * logits, 4 * working].map(|bytes| bytes as u64)
    }

    fn kept(layout: &Layout, recompute: Recompute) -> usize {
        match recompute {
            Recompute::None | Recompute::Selective => (layout.layers.len() - layout.first_layer()).max(1),
            Recompute::Full => 1,
        }
    }

    /// The layers that share an [`Inside`]: those that no gradient goes through share that of the first one that it does.
    fn inside(Decoder { config, layout, .. }: &Decoder, recompute: Recompute) -> impl Iterator<Item = &[LayerConfig]> {
        let first = if recompute == Recompute::None { layout.first_layer() + 1 } else { config.layers.len() };
        let (together, own) = config.layers.split_at(first.min(config.layers.len()));
        std::iter::once(together).chain(own.chunks(1))
    }

    fn wide(config: &Config) -> usize {
        config.widest_intermediate().max(config.query_width() + 2 * config.kv_width())
    }

    /// Rows of a norm for each token.
    fn norm_rows(config: &Config) -> usize {
        if config.qk_norm { config.heads } else { 1 }
    }

    fn shared(config: &Config, tokens: usize) -> usize {
        let most = config.hidden.max(config.widest_intermediate()).max(config.vocabulary).max(tokens);
        shared_len(Size { m: 1, n: most, k: most })
    }
}
