//! What a single row sees, cut into chunks, and the partial results of the chunks merged.

use super::scratch::padded;
use super::{AttentionShape, BLOCK_TOKENS};
use crate::simd::{Kernel, Simd};

/// Positions of a chunk at least: the work of a few microseconds.
const MIN_CHUNK: usize = 4 * BLOCK_TOKENS;

/// Chunks of a row at most.
const MAX_CHUNKS: usize = 16;

/// The positions that a query sees, in chunks that begin at block borders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    start: usize,
    end: usize,
    size: usize,
}

impl Chunks {
    /// No positions.
    pub(super) const NONE: Self = Self { start: 0, end: 0, size: MIN_CHUNK };

    pub(super) fn new(shape: &AttentionShape, position: usize) -> Self {
        let (start, end) = (shape.first_visible(position), position + 1);
        let base = start / BLOCK_TOKENS * BLOCK_TOKENS;
        let size = (end - base).div_ceil(MAX_CHUNKS).next_multiple_of(BLOCK_TOKENS).max(MIN_CHUNK);
        Self { start, end, size }
    }

    fn base(&self) -> usize {
        self.start / BLOCK_TOKENS * BLOCK_TOKENS
    }

    pub(super) fn count(&self) -> usize {
        (self.end - self.base()).div_ceil(self.size)
    }

    pub(super) fn range(&self, chunk: usize) -> (usize, usize) {
        let first = self.base() + chunk * self.size;
        (first.max(self.start), self.end.min(first + self.size))
    }
}

/// Elements of a partial result: weighted values, their sum of weights, their largest score.
pub(super) fn partial_len(width: usize) -> usize {
    padded(width + 2)
}

/// Merges the chunks of one row and one key-value head, `[chunks, group, partial_len]`, into `[group, head_dim]`.
pub(super) struct Merge<'a> {
    pub(super) partial: &'a [f32],
    pub(super) width: usize,
    pub(super) head_dim: usize,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (width, len) = (self.width, partial_len(self.width));
        let group = self.out.len() / self.head_dim;
        for (head, out) in self.out.chunks_exact_mut(self.head_dim).enumerate() {
            let mut largest = f32::NEG_INFINITY;
            let mut at = head * len;
            while at < self.partial.len() {
                largest = largest.max(self.partial[at + width + 1]);
                at += group * len;
            }
            out.fill(0.0);
            let mut total = 0.0;
            let mut at = head * len;
            while at < self.partial.len() {
                let chunk = &self.partial[at..at + len];
                let factor = (chunk[width + 1] - largest).exp2();
                total += factor * chunk[width];
                add_scaled(simd, out, chunk, factor);
                at += group * len;
            }
            multiply(simd, out, 1.0 / total);
        }
    }
}

/// `out += factor * from`.
#[inline(always)]
fn add_scaled<S: Simd>(simd: S, out: &mut [f32], from: &[f32], factor: f32) {
    let mut at = 0;
    while at < out.len() {
        let end = if at + S::LANES <= out.len() { at + S::LANES } else { out.len() };
        let sum = simd.fma(simd.load_slice(&from[at..end]), simd.splat(factor), simd.load_slice(&out[at..end]));
        simd.store_slice(sum, &mut out[at..end]);
        at = end;
    }
}

/// `out *= factor`.
#[inline(always)]
fn multiply<S: Simd>(simd: S, out: &mut [f32], factor: f32) {
    let mut at = 0;
    while at < out.len() {
        let end = if at + S::LANES <= out.len() { at + S::LANES } else { out.len() };
        let product = simd.mul(simd.load_slice(&out[at..end]), simd.splat(factor));
        simd.store_slice(product, &mut out[at..end]);
        at = end;
    }
}
