//! Mixture-of-experts feed-forward layers: the products of each expert's rows.
//!
//! A token's contributions are added in the order of expert numbers, whatever else is in the batch, so its sum is always
//! the same.

use saem_kernels::ops::Activation;
use saem_kernels::{Input, ThreadPool, matmul, matmul_gated};

use crate::config::Moe;
use crate::routing::Routing;
use crate::weights::Sparse;

/// Buffers of the sparse layers.
#[derive(Debug)]
pub(crate) struct MoeWorkspace {
    routing: Routing,
    /// One expert's input rows, `[rows, hidden]`.
    gathered: Vec<f32>,
    /// One expert's output rows, `[rows, hidden]`.
    output: Vec<f32>,
}

impl MoeWorkspace {
    pub(crate) fn new(moe: &Moe, rows: usize, hidden: usize) -> Self {
        Self { routing: Routing::new(moe, rows), gathered: vec![0.0; rows * hidden], output: vec![0.0; rows * hidden] }
    }

    pub(crate) fn byte_len(moe: &Moe, rows: usize, hidden: usize) -> usize {
        Routing::byte_len(moe, rows) + 2 * rows * hidden * size_of::<f32>()
    }
}

impl MoeWorkspace {
    /// A free buffer of `len` values for the shared expert's output.
    pub(crate) fn shared_output(&mut self, len: usize) -> &mut [f32] {
        &mut self.output[..len]
    }
}

/// `output = sum of the chosen experts' outputs, weighted`, for `rows` rows of `x` (`[rows, hidden]`). The shared
/// expert is the caller's. `inner` holds an expert's inside.
pub(crate) fn sparse_feed_forward(
    pool: &ThreadPool,
    moe: &Moe,
    activation: Activation,
    weights: &Sparse,
    x: &[f32],
    output: &mut [f32],
    workspace: &mut MoeWorkspace,
    input: &mut Input,
    inner: &mut [f32],
) {
    let hidden = weights.router.columns();
    let rows = x.len() / hidden;
    input.set(pool, x, hidden, &[&weights.router]);
    matmul(pool, input, &mut [(&weights.router, workspace.routing.scores_mut(moe, rows))]);
    workspace.routing.choose(moe, weights.correction.as_deref(), rows);

    output.fill(0.0);
    for (number, expert) in weights.experts.iter().enumerate() {
        let (assigned, _) = workspace.routing.of_expert(number);
        let rows = assigned.len();
        if rows == 0 {
            continue;
        }
        let gathered = if let [(row, _)] = assigned {
            &x[row * hidden..][..hidden]
        } else {
            for ((row, _), gathered) in assigned.iter().zip(workspace.gathered.chunks_exact_mut(hidden)) {
                gathered.copy_from_slice(&x[row * hidden..][..hidden]);
            }
            &workspace.gathered[..rows * hidden]
        };
        input.set(pool, gathered, hidden, &[&expert.gate, &expert.up]);
        let inner = &mut inner[..rows * moe.intermediate];
        matmul_gated(pool, input, &expert.gate, &expert.up, activation, inner);
        input.set(pool, inner, moe.intermediate, &[&expert.down]);
        let products = &mut workspace.output[..rows * hidden];
        matmul(pool, input, &mut [(&expert.down, &mut *products)]);
        for ((row, weight), product) in assigned.iter().zip(products.chunks_exact(hidden)) {
            for (sum, value) in output[row * hidden..][..hidden].iter_mut().zip(product) {
                *sum += weight * value;
            }
        }
    }
}
