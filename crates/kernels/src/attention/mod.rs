//! Attention over a paged key-value cache.
//!
//! Keys and values of one layer live in [`KvPages`]: fixed blocks of [`BLOCK_TOKENS`] positions, which sequences own
//! by number. A sequence's position `p` is in block `blocks[p / BLOCK_TOKENS]`, slot `p % BLOCK_TOKENS`.
//!
//! A batch is a list of [`Span`]s: the prompt of one sequence, the next piece of another's, one row of a third that is
//! decoding. [`attention`] takes each by the better of two ways: `tiles` for many rows, bound by arithmetic, and `rows`
//! for few, bound by reading the cache. Neither stores scores for a whole context, so memory does not grow with it;
//! accumulation is in f32 whatever the cache holds; and a row's result depends neither on the number of threads nor on
//! what else is in the batch. The slow twin is in [`mod@reference`].
//!
//! ```
//! use saem_kernels::ThreadPool;
//! use saem_kernels::attention::{AttentionShape, KvPages, KvType, Span, attention, store_kv};
//!
//! let pool = ThreadPool::new(1).unwrap();
//! let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 4, scale: 0.5, window: None, soft_cap: None };
//! let mut pages = KvPages::new(KvType::F16, 1, shape.kv_heads, shape.head_dim);
//! // Two tokens of one sequence: the first sees itself, the second both.
//! let (keys, values) = ([0.0; 8], [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]);
//! let spans = [Span { first_row: 0, rows: 2, first_position: 0, blocks: &[0] }];
//! store_kv(&pool, &mut pages, &keys, &values, &spans);
//! let mut out = [0.0; 16];
//! attention(&pool, &shape, &pages, &[0.0; 16], &spans, &mut out);
//! assert_eq!(out, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
//! ```

mod chunks;
mod dots;
mod format;
mod pages;
mod panel;
pub mod reference;
mod rows;
mod schedule;
mod scratch;
mod store;
mod tiles;

pub use pages::{KvPages, KvType};
pub use store::store_kv;

use crate::ThreadPool;
use crate::simd::Isa;

/// Positions in one block of the cache.
pub const BLOCK_TOKENS: usize = 32;

/// The consecutive rows of a batch that belong to one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// First row of the batch.
    pub first_row: usize,
    /// Rows (tokens).
    pub rows: usize,
    /// Position of the first row in its sequence.
    pub first_position: usize,
    /// The sequence's blocks, enough for its last position. Those that lie wholly before every row's window are not
    /// looked at.
    pub blocks: &'a [u32],
}

/// Shape and variations of attention in one layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; `heads` is a multiple.
    pub kv_heads: usize,
    /// Elements in a head.
    pub head_dim: usize,
    /// Factor on `q . k`.
    pub scale: f32,
    /// A query at position `p` sees positions above `p - window` (so `window` of them, itself included).
    pub window: Option<usize>,
    /// `cap * tanh(score / cap)` before the softmax.
    pub soft_cap: Option<f32>,
}

impl AttentionShape {
    /// Query heads that share a key-value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The first position that a query at `position` sees; it sees itself in any case.
    fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window.max(1)))
    }
}

/// Causal attention of `queries` (`[rows, heads, head_dim]`) over the cache, which already holds the batch's own keys
/// and values; `out` has the shape of `queries`. Rows of the batch that no span covers are left as they are.
///
/// # Panics
/// If the shapes do not agree, or a span reaches beyond the batch, its blocks or the cache.
pub fn attention(
    pool: &ThreadPool,
    shape: &AttentionShape,
    pages: &KvPages,
    queries: &[f32],
    spans: &[Span<'_>],
    out: &mut [f32],
) {
    let layout = pages.layout();
    assert!(
        layout.kv_heads == shape.kv_heads && layout.head_dim == shape.head_dim,
        "{} heads of {} over a cache of {} heads of {}",
        shape.kv_heads,
        shape.head_dim,
        layout.kv_heads,
        layout.head_dim,
    );
    let width = shape.heads * shape.head_dim;
    assert!(width > 0 && shape.heads.is_multiple_of(shape.kv_heads), "key-value heads must divide the query heads");
    assert!(queries.len() == out.len() && queries.len().is_multiple_of(width), "queries and output must be whole rows");
    for span in spans {
        check_span(span, queries.len() / width, pages, shape.first_visible(span.first_position));
    }
    // Spans in ascending order share no rows and can be worked on together.
    for spans in spans.chunk_by(|a, b| a.first_row + a.rows <= b.first_row) {
        schedule::run(pool, Isa::detect(), shape, pages, queries, spans, out);
    }
}

/// Asserts that a span lies within a batch of `rows`, and its positions from `first_position` on within the cache.
fn check_span(span: &Span<'_>, rows: usize, pages: &KvPages, first_position: usize) {
    let end = span.first_position.saturating_add(span.rows);
    assert!(span.first_row.saturating_add(span.rows) <= rows, "{span:?} reaches beyond a batch of {rows} rows");
    assert!(end <= span.blocks.len().saturating_mul(BLOCK_TOKENS), "{span:?} reaches beyond its blocks");
    assert!(end < i32::MAX as usize, "{span:?} has positions that are too large");
    let used =
        &span.blocks[(first_position / BLOCK_TOKENS).min(end.div_ceil(BLOCK_TOKENS))..end.div_ceil(BLOCK_TOKENS)];
    assert!(used.iter().all(|&block| (block as usize) < pages.blocks()), "{span:?} names a block that does not exist");
}
