//! Cross-entropy of rows of logits, and its gradient in their place.

use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd, math};

/// For each row of `logits` (`[rows, vocabulary]`) the loss of its target, `log sum exp - logit`, to `losses`; the logits
/// become `factor` times the gradient. Rows without a target count nothing. With `z` above zero, `z (log sum exp)²` is
/// added to the loss, which keeps the logits from drifting (Chowdhery et al. 2022, arXiv 2204.02311, section 5).
///
/// # Panics
/// If the lengths do not agree, or a target is beyond the vocabulary.
pub fn cross_entropy(
    pool: &ThreadPool,
    logits: &mut [f32],
    targets: &[Option<u32>],
    z: f32,
    factor: f32,
    losses: &mut [f32],
) {
    let rows = targets.len();
    if rows == 0 {
        return;
    }
    let vocabulary = logits.len() / rows;
    assert!(logits.len() == rows * vocabulary && losses.len() == rows, "a row and a loss for each target");
    assert!(
        targets.iter().flatten().all(|target| (*target as usize) < vocabulary),
        "a target is beyond the vocabulary"
    );
    let isa = Isa::detect();
    let (logits, losses) = (SharedSlice::new(logits), SharedSlice::new(losses));
    pool.split(rows, 1, |rows| {
        for row in rows {
            // SAFETY: the ranges of a split are disjoint.
            let (logits, loss) =
                unsafe { (logits.range(row * vocabulary..(row + 1) * vocabulary), &mut losses.range(row..row + 1)[0]) };
            match targets[row] {
                Some(target) => *loss = isa.dispatch(Row { logits, target: target as usize, z, factor }),
                None => {
                    logits.fill(0.0);
                    *loss = 0.0;
                }
            }
        }
    });
}

struct Row<'a> {
    logits: &'a mut [f32],
    target: usize,
    z: f32,
    factor: f32,
}

impl Kernel for Row<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Self { logits, target, z, factor } = self;
        let mut largest = simd.splat(f32::NEG_INFINITY);
        let whole = logits.len() / S::LANES * S::LANES;
        for x in logits[..whole].chunks_exact(S::LANES) {
            largest = simd.max(largest, simd.load_slice(x));
        }
        let largest = logits[whole..].iter().copied().fold(simd.reduce_max(largest), f32::max);
        let of_target = logits[target];
        let shift = simd.splat(largest);
        let mut sums = simd.zero();
        for x in logits[..whole].chunks_exact_mut(S::LANES) {
            let weight = math::exp_non_positive(simd, simd.sub(simd.load_slice(x), shift));
            sums = simd.add(sums, weight);
            simd.store_slice(weight, x);
        }
        let mut sum = simd.reduce_sum(sums);
        for x in &mut logits[whole..] {
            *x = (*x - largest).exp();
            sum += *x;
        }
        let log_sum = largest + sum.ln();
        // d loss / d logit = p (1 + 2 z log_sum) - [target]
        let share = simd.splat(factor * (1.0 + 2.0 * z * log_sum) / sum);
        for x in logits.chunks_mut(S::LANES) {
            simd.store_slice(simd.mul(simd.load_slice(x), share), x);
        }
        logits[target] -= factor;
        log_sum - of_target + z * log_sum * log_sum
    }
}
