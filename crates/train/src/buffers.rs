//! Every buffer of a pass, sized once.

use saem_kernels::gemm::most_shared_len;
use saem_kernels::{Arena, Block, KernelError};
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
    pub(crate) query: Block<f32>,
    pub(crate) key: Block<f32>,
    pub(crate) value: Block<f32>,
    /// Before the norm of each head.
    pub(crate) raw_query: Block<f32>,
    pub(crate) raw_key: Block<f32>,
    pub(crate) attended: Block<f32>,
    /// `[tokens, heads]`.
    pub(crate) log_sums: Block<f32>,
    /// Before the norm after the sub-layer.
    pub(crate) attention_output: Block<f32>,
    /// The stream between the sub-layers.
    pub(crate) middle: Block<f32>,
    pub(crate) feed_forward_output: Block<f32>,
}

impl Saved {
    fn new(arena: &mut Arena, config: &Config, tokens: usize) -> Self {
        let mut buffer = |wanted: bool, width: usize| arena.take(if wanted { tokens * width } else { 0 });
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
}

/// What a feed-forward layer's forward pass leaves for its backward pass.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Before the activation, `[tokens, inner]`; with experts `[tokens * used, inner]`, expert by expert, and then those of
    /// the one that every token passes.
    pub(crate) gate: Block<f32>,
    pub(crate) up: Block<f32>,
    /// Where tokens went.
    pub(crate) routing: Option<Routing>,
}

impl Inside {
    /// For the layers of these kinds.
    fn new(arena: &mut Arena, config: &Config, tokens: usize, layers: &[LayerConfig]) -> Self {
        let len = tokens * Self::width(config, layers);
        let moe = Self::sparse(config, layers).filter(|_| !arena.is_counting());
        Self {
            gate: arena.take(if config.gated { len } else { 0 }),
            up: arena.take(len),
            routing: moe.map(|moe| Routing::new(moe, tokens)),
        }
    }

    /// Bytes that are not in the arena.
    fn routing_bytes(config: &Config, tokens: usize, layers: &[LayerConfig]) -> usize {
        Self::sparse(config, layers).map_or(0, |moe| Routing::byte_len(moe, tokens))
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
    pub(crate) x: Block<f32>,
    /// One expert's output rows, or their gradients, `[tokens, hidden]`.
    pub(crate) y: Block<f32>,
    /// One expert's activations, `[tokens, inner]`.
    pub(crate) activated: Block<f32>,
    /// Gradients of scores, `[tokens, experts]`.
    pub(crate) scores: Block<f32>,
}

impl ExpertRoom {
    fn new(arena: &mut Arena, config: &Config, tokens: usize) -> Self {
        let Some(moe) = &config.moe else { return Self::default() };
        Self {
            x: arena.take(tokens * config.hidden),
            y: arena.take(tokens * config.hidden),
            activated: arena.take(tokens * moe.intermediate),
            scores: arena.take(tokens * moe.experts),
        }
    }
}

/// Working memory that layers share.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// `[tokens, hidden]` each.
    pub(crate) normed: Block<f32>,
    pub(crate) output: Block<f32>,
    pub(crate) gradient: Block<f32>,
    /// `[tokens, widest]`: the inner width, or queries, keys and values.
    pub(crate) wide: Block<f32>,
    /// `[tokens, heads * head_dim]`: the gradient of what attention gives, or one of a projection before its norm.
    pub(crate) attended: Block<f32>,
    /// Two for each row of a norm.
    pub(crate) statistics: Block<f32>,
    /// A norm's weight as it counts.
    pub(crate) norm_weight: Block<f32>,
    pub(crate) room: Room,
    pub(crate) logits: Block<f32>,
    /// A second copy, where logits are capped.
    pub(crate) capped: Block<f32>,
    pub(crate) losses: Block<f32>,
    /// The likeliest token, where it was asked for.
    pub(crate) likeliest: u32,
    /// The rows of the stream whose logits are wanted, and their gradients.
    pub(crate) picked: Block<f32>,
    pub(crate) encoded: Encoded,
    pub(crate) experts: ExpertRoom,
    /// For each rotation, the angles and the opposite sines.
    pub(crate) angles: Vec<(Angles, Block<f32>)>,
}

impl Scratch {
    fn new(arena: &mut Arena, decoder: &Decoder, tokens: usize) -> Self {
        let Decoder { config, layout, .. } = decoder;
        let (rows, hidden) = (logit_rows(layout, tokens), config.hidden);
        let wide = config.widest_intermediate().max(config.query_width() + 2 * config.kv_width());
        let norm_rows = if config.qk_norm { config.heads } else { 1 };
        let most = hidden.max(config.widest_intermediate()).max(config.vocabulary).max(tokens);
        // The tables of angles are beside the arena.
        let table = if arena.is_counting() { 0 } else { tokens };
        let mut logits = |wanted: bool| arena.take(if wanted { rows * layout.outputs } else { 0 });
        Self {
            logits: logits(true),
            capped: logits(config.logit_soft_cap.is_some()),
            losses: arena.take(rows),
            likeliest: 0,
            picked: arena.take(2 * rows * hidden),
            normed: arena.take(tokens * hidden),
            output: arena.take(tokens * hidden),
            gradient: arena.take(tokens * hidden),
            wide: arena.take(tokens * wide),
            attended: arena.take(tokens * config.query_width()),
            statistics: arena.take(2 * tokens * norm_rows),
            norm_weight: arena.take(hidden.max(config.head_dim)),
            room: Room {
                shared: arena.take(most_shared_len(most, most)),
                inner: arena.take(tokens * layout.rank()),
                lengths: Lengths::new(arena, decoder, tokens),
            },
            encoded: Encoded::new(arena, layout),
            experts: ExpertRoom::new(arena, config, tokens),
            angles: config
                .ropes
                .iter()
                .map(|rope| (Angles::new(rope, table), arena.take(tokens * rope.rotary / 2)))
                .collect(),
        }
    }
}

/// All buffers of passes over up to `tokens` tokens.
#[derive(Debug)]
pub struct Buffers {
    pub(crate) tokens: usize,
    /// The stream before each layer, and after the last: `[tokens, hidden]`.
    pub(crate) streams: Vec<Block<f32>>,
    /// For each layer that the gradient goes through, or one for all.
    pub(crate) saved: Vec<Saved>,
    /// The same.
    pub(crate) insides: Vec<Inside>,
    pub(crate) scratch: Scratch,
}

impl Buffers {
    /// Buffers for passes over up to `tokens` tokens, in an arena of their own.
    ///
    /// # Errors
    /// Where the system has no such memory.
    pub fn new(decoder: &Decoder, tokens: usize, recompute: Recompute) -> Result<Self, KernelError> {
        Arena::fitting(|arena| Self::within(arena, decoder, tokens, recompute))
    }

    /// Buffers for passes over up to `tokens` tokens. Tables of the rotations' angles and of the experts' tokens are beside
    /// the arena.
    pub(crate) fn within(arena: &mut Arena, decoder: &Decoder, tokens: usize, recompute: Recompute) -> Self {
        let Decoder { config, layout, .. } = decoder;
        Self {
            tokens,
            streams: (0..=config.layers.len()).map(|_| arena.take(tokens * config.hidden)).collect(),
            saved: (0..Self::kept(layout, recompute)).map(|_| Saved::new(arena, config, tokens)).collect(),
            insides: Self::inside(decoder, recompute)
                .map(|layers| Inside::new(arena, config, tokens, layers))
                .collect(),
            scratch: Scratch::new(arena, decoder, tokens),
        }
    }

    /// Bytes that the buffers of a pass take: activations, logits, working memory.
    #[must_use]
    pub fn bytes(decoder: &Decoder, tokens: usize, recompute: Recompute) -> [u64; 3] {
        let Decoder { config, layout, .. } = decoder;
        let all = Arena::count(|arena| Self::within(arena, decoder, tokens, recompute));
        let scratch = Arena::count(|arena| Scratch::new(arena, decoder, tokens));
        let copies = if config.logit_soft_cap.is_some() { 2 } else { 1 };
        let logits = size_of::<f32>() * copies * logit_rows(layout, tokens) * layout.outputs;
        let routing = |layers| Inside::routing_bytes(config, tokens, layers);
        let routing: usize = Self::inside(decoder, recompute).map(routing).sum();
        let angles: usize = config.ropes.iter().map(|rope| Angles::byte_len(rope, tokens)).sum();
        [all - scratch + routing, logits, scratch - logits + angles].map(|bytes| bytes as u64)
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
}
