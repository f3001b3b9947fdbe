//! How fast this machine is, measured in a few seconds, and what that makes of a plan.

use std::hint::black_box;
use std::time::Duration;

use saem_kernels::gemm::{Factor, Output, Packed, Precision, Size, gemm, shared_len};
use saem_kernels::measure;
use saem_kernels::{DataType, ThreadPool, blocks};
use serde::Serialize;

use crate::plan::Plan;

/// How long products are measured, and how long the expansion of quantised weights.
const PRODUCTS: Duration = Duration::from_secs(3);
const EXPANSION: Duration = Duration::from_millis(500);
/// The format that is expanded, which most models are in.
const QUANTISED: DataType = DataType::Q4K;
/// The product: what a layer of some width does with a batch.
const SIZE: Size = Size { m: 1024, n: 2048, k: 1024 };
/// Bytes of weights, gradients and means that a step of AdamW reads and writes for each parameter.
const ADAMW_BYTES: f64 = 28.0;
/// How fast passes are beside what was measured, where they have not been run: the rest of their time goes to norms,
/// attention's softmax, and products that are smaller.
const SHARE: f64 = 0.8;

/// What the machine was measured to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Operations a second in products.
    pub operations: f64,
    /// Bytes a second from memory.
    pub bandwidth: f64,
    /// Weights that stay which are made ready for products a second, from the format that they are stored in.
    pub expanded: f64,
    /// How fast passes are beside products and expansion alone.
    pub share: f64,
}

impl Machine {
    /// Measures products, memory and expansion with all threads of the pool, for about five seconds.
    #[must_use]
    pub fn measure(pool: &ThreadPool, precision: Precision) -> Self {
        let numbers = |len: usize| (0..len).map(|index| (index % 61) as f32 / 61.0 - 0.5).collect::<Vec<_>>();
        let (a, b) = (numbers(SIZE.m * SIZE.k), numbers(SIZE.n * SIZE.k));
        let (mut c, mut shared) = (vec![0.0; SIZE.m * SIZE.n], vec![0.0; shared_len(SIZE)]);
        let factors = (Factor::lines(&a, SIZE.k), Factor::lines(&b, SIZE.k));
        let seconds = measure::fastest(PRODUCTS, || {
            gemm(pool, precision, SIZE, factors.0, factors.1, &mut c, SIZE.n, Output::Replace, &mut shared);
        });
        let operations = 2.0 * (SIZE.m * SIZE.n * SIZE.k) as f64 / seconds;
        let mut stored = Vec::new();
        // The numbers are finite and make whole blocks.
        let is_stored = blocks::quantize(QUANTISED, &b, &mut stored).is_ok();
        let expanded = if is_stored {
            let stored = Factor::stored_lines(QUANTISED, &stored, SIZE.k);
            let pack = || drop(black_box(Packed::new(pool, precision, stored, SIZE.n, SIZE.k)));
            b.len() as f64 / measure::fastest(EXPANSION, pack)
        } else {
            f64::INFINITY
        };
        Self { operations, bandwidth: measure::limits(pool).read_bytes, expanded, share: SHARE }
    }

    /// Seconds of a step of so many passes, over so many tokens in all, and of so many of them the logits.
    #[must_use]
    pub fn seconds(&self, plan: &Plan, passes: usize, tokens: [usize; 2]) -> f64 {
        self.least(plan, passes, tokens) / self.share + plan.parameters as f64 * ADAMW_BYTES / self.bandwidth
    }

    /// The same machine, on which these passes took so long.
    #[must_use]
    pub(super) fn with_share_of(self, plan: &Plan, passes: usize, tokens: [usize; 2], seconds: f64) -> Self {
        let share = self.least(plan, passes, tokens) / seconds;
        if share.is_finite() && share > 0.0 { Self { share, ..self } } else { self }
    }

    /// Seconds of products and expansion alone.
    fn least(&self, plan: &Plan, passes: usize, [tokens, logits]: [usize; 2]) -> f64 {
        let of_others = plan.operations_per_token - plan.operations_of_logits;
        let operations = of_others * tokens as f64 + plan.operations_of_logits * logits as f64;
        operations / self.operations + passes as f64 * plan.expanded as f64 / self.expanded
    }
}
