//! The two register-blocked loops over a tile for a single row: scores of a few keys, and weighted values.

// Iterators over arrays of registers are not always inlined in functions as large as these, and then put the registers
// into memory.
#![allow(clippy::needless_range_loop, reason = "see above")]

use super::BLOCK_TOKENS;
use super::format::Format;
use crate::simd::Simd;

/// Positions between two looks at the running maximum.
pub(super) const TILE: usize = 4 * BLOCK_TOKENS;

/// Keys whose scores are computed together.
pub(super) const KEYS: usize = 4;

/// The dot products of `KEYS` keys, from `slot` on, with `G` queries, to `[G, TILE]`; gives `G`.
///
/// # Safety
/// The tile must be open, `slot + KEYS` within it; `queries` must hold `[G, width]`, and `to` have room.
#[inline(always)]
pub(super) unsafe fn dots<S: Simd, F: Format, const G: usize>(
    simd: S,
    tile: F,
    slot: usize,
    queries: *const f32,
    width: usize,
    to: *mut f32,
) -> usize {
    let mut sums = [[simd.zero(); KEYS]; G];
    let mut at = 0;
    while at < width {
        let mut keys = [simd.zero(); KEYS];
        for key in 0..KEYS {
            // SAFETY: `KEYS` rows of the tile from `slot` on.
            keys[key] = unsafe { tile.load(simd, slot + key, at) };
        }
        for head in 0..G {
            // SAFETY: `G` rows of queries.
            let query = unsafe { simd.load(queries.add(head * width + at)) };
            for key in 0..KEYS {
                sums[head][key] = simd.fma(query, keys[key], sums[head][key]);
            }
        }
        at += S::LANES;
    }
    for head in 0..G {
        // SAFETY: `G` rows of scores, with room for `KEYS` here.
        unsafe { to.add(head * TILE).cast::<[f32; KEYS]>().write(simd.reduce_sum4(sums[head])) };
    }
    G
}

/// `out[g, at..] += sum of weights[g, t] * values[t, at..]` for `G` heads and `V` vectors; gives the elements done.
///
/// # Safety
/// The tile must be open and `slots` (first and number) within it; `weights` must hold `[G, TILE]`, `out` `[G, width]`
/// with `V` vectors from `at` on.
#[inline(always)]
pub(super) unsafe fn weighted_sum<S: Simd, F: Format, const G: usize, const V: usize>(
    simd: S,
    tile: F,
    slots: (usize, usize),
    weights: *const f32,
    out: *mut f32,
    width: usize,
    at: usize,
) -> usize {
    let mut sums = [[simd.zero(); V]; G];
    for head in 0..G {
        for vector in 0..V {
            // SAFETY: `G` rows of outputs, `V` vectors from `at` on.
            sums[head][vector] = unsafe { simd.load(out.add(head * width + at + vector * S::LANES)) };
        }
    }
    for slot in 0..slots.1 {
        let mut values = [simd.zero(); V];
        for vector in 0..V {
            // SAFETY: row of the tile, `V` vectors from `at` on.
            values[vector] = unsafe { tile.load(simd, slots.0 + slot, at + vector * S::LANES) };
        }
        for head in 0..G {
            // SAFETY: `G` rows of weights.
            let weight = simd.splat(unsafe { *weights.add(head * TILE + slot) });
            for vector in 0..V {
                sums[head][vector] = simd.fma(weight, values[vector], sums[head][vector]);
            }
        }
    }
    for head in 0..G {
        for vector in 0..V {
            // SAFETY: as above.
            unsafe { simd.store(sums[head][vector], out.add(head * width + at + vector * S::LANES)) };
        }
    }
    V * S::LANES
}
