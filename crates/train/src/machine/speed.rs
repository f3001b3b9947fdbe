//! How fast this machine is, measured in a few seconds, and what that makes of a plan.

use std::time::{Duration, Instant};

use saem_kernels::ThreadPool;
use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm};
use saem_kernels::measure;
use serde::Serialize;

use crate::plan::Plan;

/// How long products are measured.
const PRODUCTS: Duration = Duration::from_secs(3);
/// The product: what a layer of some width does with a batch.
const SIZE: Size = Size { m: 1024, n: 2048, k: 1024 };
/// Bytes of weights, gradients and means that a step of AdamW reads and writes for each parameter.
const ADAMW_BYTES: f64 = 28.0;
/// Share of its time that a step spends in products as fast as measured; the rest are norms, attention's softmax, and
/// products that are smaller.
const SHARE: f64 = 0.8;

/// What the machine was measured to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Operations a second in products.
    pub operations: f64,
    /// Bytes a second from memory.
    pub bandwidth: f64,
}

impl Machine {
    /// Measures products and memory with all threads of the pool, for about four seconds.
    #[must_use]
    pub fn measure(pool: &ThreadPool, precision: Precision) -> Self {
        let numbers = |len: usize| (0..len).map(|index| (index % 61) as f32 / 61.0 - 0.5).collect::<Vec<_>>();
        let (a, b) = (numbers(SIZE.m * SIZE.k), numbers(SIZE.n * SIZE.k));
        let (mut c, mut shared) = (vec![0.0; SIZE.m * SIZE.n], Vec::new());
        let mut fastest = f64::INFINITY;
        let begun = Instant::now();
        while begun.elapsed() < PRODUCTS {
            let one = Instant::now();
            let factors = (Factor::lines(&a, SIZE.k), Factor::lines(&b, SIZE.k));
            gemm(pool, precision, SIZE, factors.0, factors.1, &mut c, SIZE.n, Output::Replace, &mut shared);
            fastest = fastest.min(one.elapsed().as_secs_f64());
        }
        let operations = 2.0 * (SIZE.m * SIZE.n * SIZE.k) as f64 / fastest;
        Self { operations, bandwidth: measure::limits(pool).read_bytes }
    }

    /// Seconds of a step of so many tokens.
    #[must_use]
    pub fn seconds(&self, plan: &Plan, tokens: f64) -> f64 {
        let computing = plan.operations_per_token * tokens / (self.operations * SHARE);
        computing + plan.parameters as f64 * ADAMW_BYTES / self.bandwidth
    }
}
