//! Rotary position embedding (<https://arxiv.org/abs/2104.09864>).

use super::{RopeStyle, for_rows};
use crate::ThreadPool;
use crate::simd::{Isa, Kernel, Simd};

/// Pairs whose angles are spread out at a time; a head of 128 elements has 64.
const PAIRS: usize = 64;

/// Whole rows `[rows, heads * head_dim]` and their angles `[rows, pairs]`.
struct Rope<'a> {
    x: &'a mut [f32],
    heads: usize,
    head_dim: usize,
    pairs: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    style: RopeStyle,
}

impl Kernel for Rope<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.x.chunks_exact_mut(self.heads * self.head_dim);
        let angles = self.cos.chunks_exact(self.pairs).zip(self.sin.chunks_exact(self.pairs));
        for (row, (cos, sin)) in rows.zip(angles) {
            match self.style {
                RopeStyle::Half => {
                    for head in row.chunks_exact_mut(self.head_dim) {
                        let (a, b) = head[..2 * self.pairs].split_at_mut(self.pairs);
                        rotate_halves(simd, a, b, cos, sin);
                    }
                }
                RopeStyle::Interleaved => rotate_interleaved(simd, row, self.head_dim, cos, sin),
            }
        }
    }
}

#[inline(always)]
fn rotate_halves<S: Simd>(simd: S, a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]) {
    let mut at = 0;
    while at < a.len() {
        let end = if at + S::LANES <= a.len() { at + S::LANES } else { a.len() };
        let (c, s) = (simd.load_slice(&cos[at..end]), simd.load_slice(&sin[at..end]));
        let (p, q) = (simd.load_slice(&a[at..end]), simd.load_slice(&b[at..end]));
        simd.store_slice(simd.neg_fma(q, s, simd.mul(p, c)), &mut a[at..end]);
        simd.store_slice(simd.fma(p, s, simd.mul(q, c)), &mut b[at..end]);
        at = end;
    }
}

/// With the pairs side by side, `out = x * (c, c) + swapped x * (-s, s)`; the spread-out angles serve all heads.
#[inline(always)]
fn rotate_interleaved<S: Simd>(simd: S, row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    for first in (0..cos.len()).step_by(PAIRS) {
        let pairs = PAIRS.min(cos.len() - first);
        let (mut factors, mut crossed) = ([[0.0; 2]; PAIRS], [[0.0; 2]; PAIRS]);
        for (to, &cos) in factors.iter_mut().zip(&cos[first..]) {
            *to = [cos, cos];
        }
        for (to, &sin) in crossed.iter_mut().zip(&sin[first..]) {
            *to = [-sin, sin];
        }
        let (factors, crossed) = (factors.as_flattened(), crossed.as_flattened());
        for head in row.chunks_exact_mut(head_dim) {
            let rotated = &mut head[2 * first..2 * (first + pairs)];
            let mut at = 0;
            while at < rotated.len() {
                let end = if at + S::LANES <= rotated.len() { at + S::LANES } else { rotated.len() };
                let value = simd.load_slice(&rotated[at..end]);
                let straight = simd.mul(value, simd.load_slice(&factors[at..end]));
                let crossing = simd.load_slice(&crossed[at..end]);
                simd.store_slice(simd.fma(simd.swap_pairs(value), crossing, straight), &mut rotated[at..end]);
                at = end;
            }
        }
    }
}

/// Rotates the first `2 * cos_width` elements of every head of every row by its position's angles.
///
/// `x` is `[rows, heads, head_dim]`; `cos` and `sin` are `[rows, cos_width]`.
///
/// # Panics
/// If the lengths do not agree or `cos_width` is more than half of `head_dim`.
pub fn rope(
    pool: &ThreadPool,
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    style: RopeStyle,
) {
    let width = heads * head_dim;
    if x.is_empty() || cos.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(width), "{} elements are not whole rows of {width}", x.len());
    let rows = x.len() / width;
    assert!(cos.len() == sin.len() && cos.len().is_multiple_of(rows), "each row needs its angles");
    let pairs = cos.len() / rows;
    assert!(2 * pairs <= head_dim, "{pairs} pairs do not fit in a head of {head_dim}");
    let isa = Isa::detect();
    for_rows(pool, x, width, |range, x| {
        let angles = range.start / width * pairs..range.end / width * pairs;
        let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
        isa.dispatch(Rope { x, heads, head_dim, pairs, cos, sin, style });
    });
}
