//! What is done to a panel: the queries of [`VECTORS`] vectors, one in each lane, with their scores below each other.

// Iterators over arrays of registers are not always inlined in functions as large as these, and then put the registers
// into memory.
#![allow(clippy::needless_range_loop, reason = "see above")]

use crate::simd::{Simd, math};

/// Vectors of queries that a register-blocked loop works on.
pub(super) const VECTORS: usize = 3;

/// Queries that are worked on together.
pub(super) const fn panel<S: Simd>() -> usize {
    VECTORS * S::LANES
}

/// `acc[i][j] += sum over k < count of a[i, k] * b[k, j]`, with elements of `a` broadcast and `NV` vectors of `b`.
///
/// `a[i, k]` is at `a + i * steps.0 + k * steps.1`, and `b[k, j]` at `b + k * b_step + j * LANES`.
///
/// # Safety
/// All of these must be readable.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    acc: &mut [[S::F32; NV]; MR],
    a: *const f32,
    steps: (usize, usize),
    b: *const f32,
    b_step: usize,
    count: usize,
) {
    // A local copy stays in registers.
    let mut sums = *acc;
    let (mut a, mut b) = (a, b);
    for _ in 0..count {
        // SAFETY: the caller's matrices have `MR` rows and `count` columns, and `count` rows of `NV` vectors.
        unsafe {
            let mut columns = [simd.zero(); NV];
            for vector in 0..NV {
                columns[vector] = simd.load(b.add(vector * S::LANES));
            }
            for row in 0..MR {
                let factor = simd.splat(*a.add(row * steps.0));
                for vector in 0..NV {
                    sums[row][vector] = simd.fma(factor, columns[vector], sums[row][vector]);
                }
            }
        }
        (a, b) = (a.wrapping_add(steps.1), b.wrapping_add(b_step));
    }
    *acc = sums;
}

/// `score = cap * tanh(score)`.
///
/// # Safety
/// `scores` must hold `count` rows of a panel.
#[inline(always)]
pub(super) unsafe fn soft_cap<S: Simd, const NV: usize>(simd: S, scores: *mut f32, count: usize, cap: f32) {
    for row in 0..count {
        for vector in 0..NV {
            // SAFETY: `count` rows of a panel.
            unsafe {
                let at = scores.add(row * panel::<S>() + vector * S::LANES);
                simd.store(simd.mul(math::tanh(simd, simd.load(at)), simd.splat(cap)), at);
            }
        }
    }
}

/// Sets the scores of keys that a query does not see, those after its `last` and up to its `hidden` position, to minus
/// infinity.
///
/// # Safety
/// `scores` must hold `count` rows of a panel, `last` and `hidden` `NV` vectors.
#[inline(always)]
pub(super) unsafe fn mask<S: Simd, const NV: usize>(
    simd: S,
    scores: *mut f32,
    count: usize,
    first_key: i32,
    last: *const i32,
    hidden: *const i32,
) {
    let never = simd.splat(f32::NEG_INFINITY);
    for vector in 0..NV {
        // SAFETY: `NV` vectors of positions, and `count` rows of a panel.
        unsafe {
            let last = simd.load_i32(last.add(vector * S::LANES));
            let hidden = simd.load_i32(hidden.add(vector * S::LANES));
            for row in 0..count {
                let key = simd.splat_i32(first_key + row as i32);
                let at = scores.add(row * panel::<S>() + vector * S::LANES);
                let score = simd.select(simd.less_i32(last, key), never, simd.load(at));
                simd.store(simd.select(simd.less_i32(hidden, key), score, never), at);
            }
        }
    }
}

/// Turns scores into weights relative to the running maxima; gives the factors for what was summed before.
///
/// # Safety
/// `scores` must hold `count` rows of a panel, `maxima` and `sums` `NV` vectors.
#[inline(always)]
pub(super) unsafe fn weigh<S: Simd, const NV: usize>(
    simd: S,
    scores: *mut f32,
    count: usize,
    maxima: *mut f32,
    sums: *mut f32,
) -> [S::F32; NV] {
    let mut corrections = [simd.zero(); NV];
    let (mut largest, mut totals) = (corrections, corrections);
    // SAFETY: `NV` vectors of maxima and sums, and `count` rows of a panel.
    unsafe {
        for vector in 0..NV {
            largest[vector] = simd.load(maxima.add(vector * S::LANES));
        }
        let before = largest;
        for row in 0..count {
            for vector in 0..NV {
                let score = simd.load(scores.add(row * panel::<S>() + vector * S::LANES));
                largest[vector] = simd.max(score, largest[vector]);
            }
        }
        for vector in 0..NV {
            simd.store(largest[vector], maxima.add(vector * S::LANES));
            corrections[vector] = math::exp2_non_positive(simd, simd.sub(before[vector], largest[vector]));
            totals[vector] = simd.mul(simd.load(sums.add(vector * S::LANES)), corrections[vector]);
        }
        for row in 0..count {
            for vector in 0..NV {
                let at = scores.add(row * panel::<S>() + vector * S::LANES);
                let weight = math::exp2_non_positive(simd, simd.sub(simd.load(at), largest[vector]));
                totals[vector] = simd.add(totals[vector], weight);
                simd.store(weight, at);
            }
        }
        for vector in 0..NV {
            simd.store(totals[vector], sums.add(vector * S::LANES));
        }
    }
    corrections
}
