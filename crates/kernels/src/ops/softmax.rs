//! Rows of scores: softmax and the place of the largest.

use crate::simd::{Isa, Kernel, Simd, math};

/// `row = exp(row - max) / sum`, on the calling thread. Scores of minus infinity get 0; a row of nothing else, or an
/// empty one, stays as it is.
pub fn softmax_in_place(row: &mut [f32]) {
    Isa::detect().dispatch(Softmax(row));
}

struct Softmax<'a>(&'a mut [f32]);

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let largest = largest(simd, self.0);
        if largest == f32::NEG_INFINITY {
            return;
        }
        let shift = simd.splat(largest);
        let mut sums = simd.zero();
        let mut chunks = self.0.chunks_exact_mut(S::LANES);
        for chunk in chunks.by_ref() {
            let weight = math::exp_non_positive(simd, simd.sub(simd.load_slice(chunk), shift));
            sums = simd.add(sums, weight);
            simd.store_slice(weight, chunk);
        }
        let rest = chunks.into_remainder();
        let mut sum = simd.reduce_sum(sums);
        if !rest.is_empty() {
            let weight = math::exp_non_positive(simd, simd.sub(simd.load_slice(rest), shift));
            simd.store_slice(weight, rest);
            sum += rest.iter().sum::<f32>();
        }
        let factor = simd.splat(1.0 / sum);
        for chunk in self.0.chunks_mut(S::LANES) {
            simd.store_slice(simd.mul(simd.load_slice(chunk), factor), chunk);
        }
    }
}

/// The index of the largest element, the first of equals; elements that are not numbers do not count. 0 where there
/// is none.
#[must_use]
pub fn argmax(row: &[f32]) -> usize {
    Isa::detect().dispatch(ArgMax(row))
}

/// Elements that are searched together.
const SEARCH_BLOCK: usize = 256;

struct ArgMax<'a>(&'a [f32]);

impl Kernel for ArgMax<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let largest = largest(simd, self.0);
        for (index, block) in self.0.chunks(SEARCH_BLOCK).enumerate() {
            // Without an early end the compiler compares whole vectors.
            if block.iter().fold(false, |found, &x| found | (x == largest)) {
                let within = block.iter().position(|&x| x == largest);
                return index * SEARCH_BLOCK + within.unwrap_or(0);
            }
        }
        // Only with elements that are not numbers.
        let numbers = self.0.iter().enumerate().filter(|(_, x)| !x.is_nan());
        numbers.fold((0, f32::NEG_INFINITY), |best, (index, &x)| if x > best.1 { (index, x) } else { best }).0
    }
}

/// The largest element; minus infinity where there is none.
#[inline(always)]
fn largest<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut best = [simd.splat(f32::NEG_INFINITY); 2];
    let mut chunks = row.chunks_exact(2 * S::LANES);
    for chunk in chunks.by_ref() {
        let (a, b) = chunk.split_at(S::LANES);
        best[0] = simd.max(simd.load_slice(a), best[0]);
        best[1] = simd.max(simd.load_slice(b), best[1]);
    }
    let best = simd.reduce_max(simd.max(best[0], best[1]));
    chunks.remainder().iter().fold(best, |best, &x| if x > best { x } else { best })
}
