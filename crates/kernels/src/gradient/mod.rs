//! What training needs beside forward passes: backward passes of a decoder's operations, its loss, and its optimizer.
//!
//! Buffers are f32, `[rows, width]`. A name ends in `_backward` where an operation turns the gradient of its output into
//! those of its inputs; gradients of weights are added to what is there, so that batches can be taken in pieces. As with
//! [`ops`](crate::ops), every operation gives the same bits for any number of threads: sums over rows are shared out by
//! columns. The rotation has no backward of its own: it is the rotation by the opposite angle.

mod attention;
mod elementwise;
mod halves;
mod loss;
mod muon;
mod norm;
mod optimizer;
mod quantised;
mod rounding;

pub use attention::{Documents, Projections, attention, attention_backward};
pub use elementwise::{activate_backward, add_columns, gated_backward, scatter_rows, soft_cap_backward};
pub use halves::{from_halves, into_halves};
pub use loss::cross_entropy;
pub use muon::{Muon, MuonRoom};
pub use norm::{NormKind, norm_backward};
pub use optimizer::{AdamW, square_sum};
pub use quantised::{BLOCK, Quantised, code_values};
pub use rounding::round_by_chance;

/// Elements that a plain loop sums side by side, for any instruction set in the same order.
const SIDE_BY_SIDE: usize = 16;

/// The sum of `term(a, b)` over two slices of the same length.
#[inline(always)]
fn sum2(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; SIDE_BY_SIDE];
    let (a, a_rest) = a.as_chunks::<SIDE_BY_SIDE>();
    let (b, b_rest) = b.as_chunks::<SIDE_BY_SIDE>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..SIDE_BY_SIDE {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| term(*a, *b)).sum();
    sums.iter().sum::<f32>() + rest
}
