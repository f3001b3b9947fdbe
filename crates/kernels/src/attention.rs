//! Attention over a paged key-value cache.
//!
//! Keys and values of one layer live in [`KvPages`]: fixed blocks of [`BLOCK_TOKENS`] positions, which sequences own
//! by number. A sequence's position `p` is in block `blocks[p / BLOCK_TOKENS]`, slot `p % BLOCK_TOKENS`.

use crate::ThreadPool;

/// Positions in one block of the cache.
pub const BLOCK_TOKENS: usize = 32;

/// How cached keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// 4 bytes; for tests against references.
    F32,
    /// 2 bytes; the default.
    F16,
    /// 8-bit integers with one f16 scale for each 32 elements: 34 bytes for 32.
    Q8_0,
}

/// The keys and values of one layer: `blocks x [kv_heads, BLOCK_TOKENS, head_dim]`, keys and values apart.
#[derive(Debug)]
pub struct KvPages {
    kv_type: KvType,
    kv_heads: usize,
    head_dim: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvPages {
    /// Room for `blocks` blocks.
    #[must_use]
    pub fn new(kv_type: KvType, blocks: usize, kv_heads: usize, head_dim: usize) -> Self {
        let len = blocks * kv_heads * BLOCK_TOKENS * head_dim;
        Self { kv_type, kv_heads, head_dim, keys: vec![0.0; len], values: vec![0.0; len] }
    }

    /// Bytes that one block takes in one layer, keys and values together.
    #[must_use]
    pub fn block_bytes(kv_type: KvType, kv_heads: usize, head_dim: usize) -> usize {
        let elements = 2 * kv_heads * BLOCK_TOKENS * head_dim;
        match kv_type {
            KvType::F32 => elements * 4,
            KvType::F16 => elements * 2,
            KvType::Q8_0 => elements.div_ceil(32) * 34,
        }
    }

    /// How the elements are stored.
    #[must_use]
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Copies the contents of block `from` to block `to`.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        let len = self.kv_heads * BLOCK_TOKENS * self.head_dim;
        self.keys.copy_within(from as usize * len..(from as usize + 1) * len, to as usize * len);
        self.values.copy_within(from as usize * len..(from as usize + 1) * len, to as usize * len);
    }

    fn offset(&self, blocks: &[u32], position: usize, kv_head: usize) -> usize {
        let block = blocks[position / BLOCK_TOKENS] as usize;
        ((block * self.kv_heads + kv_head) * BLOCK_TOKENS + position % BLOCK_TOKENS) * self.head_dim
    }
}

/// The consecutive rows of a batch that belong to one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// First row of the batch.
    pub first_row: usize,
    /// Rows (tokens).
    pub rows: usize,
    /// Position of the first row in its sequence.
    pub first_position: usize,
    /// The sequence's blocks, enough for its last position.
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

/// Writes keys and values (`[rows, kv_heads, head_dim]`) of a batch into the cache.
pub fn store_kv(pool: &ThreadPool, pages: &mut KvPages, keys: &[f32], values: &[f32], spans: &[Span<'_>]) {
    let _ = pool;
    let (kv_heads, head_dim) = (pages.kv_heads, pages.head_dim);
    for span in spans {
        for row in 0..span.rows {
            for kv_head in 0..kv_heads {
                let to = pages.offset(span.blocks, span.first_position + row, kv_head);
                let from = ((span.first_row + row) * kv_heads + kv_head) * head_dim;
                pages.keys[to..to + head_dim].copy_from_slice(&keys[from..from + head_dim]);
                pages.values[to..to + head_dim].copy_from_slice(&values[from..from + head_dim]);
            }
        }
    }
}

/// Causal attention of `queries` (`[rows, heads, head_dim]`) over the cache, which already holds the batch's own keys
/// and values; `out` has the shape of `queries`.
pub fn attention(
    pool: &ThreadPool,
    shape: &AttentionShape,
    pages: &KvPages,
    queries: &[f32],
    spans: &[Span<'_>],
    out: &mut [f32],
) {
    let _ = pool;
    let group = shape.heads / shape.kv_heads;
    for span in spans {
        for row in 0..span.rows {
            let position = span.first_position + row;
            let start = shape.window.map_or(0, |window| (position + 1).saturating_sub(window));
            for head in 0..shape.heads {
                let at = ((span.first_row + row) * shape.heads + head) * shape.head_dim;
                let query = &queries[at..at + shape.head_dim];
                let mut scores: Vec<f32> = (start..=position)
                    .map(|p| {
                        let key = &pages.keys[pages.offset(span.blocks, p, head / group)..][..shape.head_dim];
                        let score = shape.scale * query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>();
                        shape.soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
                    })
                    .collect();
                let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                scores.iter_mut().for_each(|s| *s = (*s - max).exp());
                let sum: f32 = scores.iter().sum();
                let out = &mut out[at..at + shape.head_dim];
                out.fill(0.0);
                for (score, p) in scores.iter().zip(start..) {
                    let value = &pages.values[pages.offset(span.blocks, p, head / group)..][..shape.head_dim];
                    for (out, value) in out.iter_mut().zip(value) {
                        *out += score / sum * value;
                    }
                }
            }
        }
    }
}
