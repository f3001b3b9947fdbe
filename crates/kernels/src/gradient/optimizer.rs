//! AdamW and the norm of gradients.

use super::sum2;
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Elements whose squares are summed by one thread at a time: a fixed cut, so that sums do not depend on the threads.
const PART: usize = 1 << 14;

/// The sum of squares, in f64 over parts that are summed in f32.
#[must_use]
pub fn square_sum(pool: &ThreadPool, x: &[f32]) -> f64 {
    let isa = Isa::detect();
    let mut sums = vec![0.0_f64; x.len().div_ceil(PART)];
    let parts = SharedSlice::new(&mut sums);
    pool.split(x.len().div_ceil(PART), 1, |range| {
        for part in range {
            // SAFETY: the ranges of a split are disjoint.
            let sum = unsafe { parts.range(part..part + 1) };
            sum[0] = f64::from(isa.dispatch(Squares(&x[part * PART..x.len().min((part + 1) * PART)])));
        }
    });
    sums.iter().sum()
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f32 {
        sum2(self.0, self.0, |a, b| a * b)
    }
}

/// One step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), as PyTorch's `torch.optim.AdamW` does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub rate: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root.
    pub epsilon: f32,
    /// Share of a weight that a step takes away, times the rate.
    pub weight_decay: f32,
    /// Which step this is, from 1.
    pub step: u64,
    /// Factor on the gradients: what clipping leaves of them.
    pub gradient_scale: f32,
}

impl AdamW {
    /// Changes `weights` by `gradients`, and both means with them.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn step(
        &self,
        pool: &ThreadPool,
        weights: &mut [f32],
        gradients: &[f32],
        mean: &mut [f32],
        square: &mut [f32],
    ) {
        let len = weights.len();
        assert!(gradients.len() == len && mean.len() == len && square.len() == len, "buffers of the same length");
        let isa = Isa::detect();
        let (weights, mean, square) = (SharedSlice::new(weights), SharedSlice::new(mean), SharedSlice::new(square));
        pool.split(len, 64, |range| {
            // SAFETY: the ranges of a split are disjoint.
            let (weights, mean, square) =
                unsafe { (weights.range(range.clone()), mean.range(range.clone()), square.range(range.clone())) };
            isa.dispatch(Step { adam: *self, weights, gradients: &gradients[range], mean, square });
        });
    }
}

impl AdamW {
    /// The step on a part of the buffers.
    pub(super) fn on<'a>(
        &self,
        weights: &'a mut [f32],
        gradients: &'a [f32],
        mean: &'a mut [f32],
        square: &'a mut [f32],
    ) -> Step<'a> {
        Step { adam: *self, weights, gradients, mean, square }
    }
}

pub(super) struct Step<'a> {
    adam: AdamW,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let AdamW { rate, beta1, beta2, epsilon, weight_decay, step, gradient_scale } = self.adam;
        let power = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let rate_by_correction = (f64::from(rate) / power(beta1)) as f32;
        let root_correction = power(beta2).sqrt().recip() as f32;
        let keep = 1.0 - rate * weight_decay;
        let state = self.mean.iter_mut().zip(self.square.iter_mut());
        for ((weight, gradient), (mean, square)) in self.weights.iter_mut().zip(self.gradients).zip(state) {
            let gradient = gradient * gradient_scale;
            *mean = beta1 * *mean + (1.0 - beta1) * gradient;
            *square = beta2 * *square + (1.0 - beta2) * (gradient * gradient);
            *weight = keep * *weight - rate_by_correction * *mean / (square.sqrt() * root_correction + epsilon);
        }
    }
}
