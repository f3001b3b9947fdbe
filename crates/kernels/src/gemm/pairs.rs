//! Products of panels of bf16 numbers by vectors (x86-64 with AVX-512 BF16).

use std::arch::x86_64::*;

use super::Place;
use super::bf16::{SIDE, STEP, TILE_BYTES, TILE_LINES};

/// Lines of `a` at a time: with two vectors of each, sums enough to hide the latency of an instruction.
const ROWS: usize = 8;
/// Pairs of elements in a step of depth.
const PAIRS: usize = STEP / 2;
/// Pairs of a tile.
const TILE: usize = TILE_BYTES / size_of::<f32>();

/// Writes the product of two panels of some steps to the output, or adds it: `rows` by `columns` of 32 by 32.
///
/// # Safety
/// The processor must have AVX-512 BF16, the panels the steps, and `out` be valid for the rows and columns.
pub(super) unsafe fn panels(steps: usize, a: &[f32], b: &[f32], out: Place, rows: usize, columns: usize, add: bool) {
    debug_assert!(a.len().min(b.len()) >= steps * 2 * TILE && rows <= SIDE && columns <= SIDE);
    for row in (0..rows).step_by(ROWS) {
        let first = row / TILE_LINES * TILE + row % TILE_LINES * PAIRS;
        let left = ROWS.min(rows - row);
        // SAFETY: the caller's promise; these lines are within a tile.
        unsafe {
            let (a, b, out) = (a.as_ptr().add(first), b.as_ptr(), out.from(row, 0));
            if columns > TILE_LINES {
                lines::<2>(steps, a, b, out, left, columns, add);
            } else {
                lines::<1>(steps, a, b, out, left, columns, add);
            }
        }
    }
}

/// # Safety
/// As [`panels`], for lines of one tile.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn lines<const VECTORS: usize>(
    steps: usize,
    a: *const f32,
    b: *const f32,
    out: Place,
    rows: usize,
    columns: usize,
    add: bool,
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for step in 0..steps {
        for pair in 0..PAIRS {
            // SAFETY: within the panels: the caller's promise.
            unsafe {
                let b = b.add(step * 2 * TILE + pair * TILE_LINES);
                let mut right = [as_pairs(_mm512_setzero_ps()); VECTORS];
                for (half, right) in right.iter_mut().enumerate() {
                    *right = as_pairs(_mm512_loadu_ps(b.add(half * TILE)));
                }
                let a = a.add(step * 2 * TILE + pair);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = as_pairs(_mm512_set1_ps(*a.add(row * PAIRS)));
                    for (sum, b) in sums.iter_mut().zip(right) {
                        *sum = _mm512_dpbf16_ps(*sum, a, b);
                    }
                }
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate().take(rows) {
        for (half, sum) in sums.into_iter().enumerate() {
            let count = columns.saturating_sub(half * TILE_LINES).min(TILE_LINES);
            let mask = ((1_u32 << count) - 1) as __mmask16;
            let to = out.start.wrapping_add(row * out.stride + half * TILE_LINES);
            // SAFETY: the mask keeps to the columns: the caller's promise.
            unsafe {
                let sum = if add { _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum) } else { sum };
                _mm512_mask_storeu_ps(to, mask, sum);
            }
        }
    }
}

/// The same bits.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn as_pairs(bits: __m512) -> __m512bh {
    // SAFETY: any bits are pairs of bf16 numbers.
    unsafe { std::mem::transmute(bits) }
}
