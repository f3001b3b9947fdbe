//! Element-wise and row-wise operations of a decoder layer, on f32 buffers `[rows, width]`.
//!
//! Every operation gives the same bits for any number of threads: rows are never split, and what is done to an element
//! does not depend on where a thread's share begins. Small buffers (a row or two, as in decoding) are done by the
//! caller alone, since waking the pool would cost more than the work. The slow twin of each is in [`mod@reference`].

mod elementwise;
mod normalize;
pub mod reference;
mod rope;
mod softmax;

use std::ops::Range;

pub use elementwise::{activate, add_bias, add_scaled, gated, scale, sigmoid, soft_cap};
pub use normalize::{add_rms_norm, layer_norm, rms_norm, rms_norm_in_place};
pub use rope::rope;
pub use softmax::{argmax, softmax_in_place};

use crate::ThreadPool;
use crate::pool::SharedSlice;

/// The non-linearity of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
    /// `max(x, 0)`.
    Relu,
}

/// Which two elements of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// `(i, i + rotary / 2)`: Hugging Face checkpoints and GGUF's "NeoX" families.
    Half,
    /// `(2 i, 2 i + 1)`: GGUF's Llama family.
    Interleaved,
}

/// Buffers below this many elements (64 KiB) are not worth waking the pool for: from the cache they take a
/// microsecond or two.
const PARALLEL_ELEMENTS: usize = 16 * 1024;

/// Runs `job` on parts of `x`, each a range of whole rows of `width` elements, given with its place in `x`.
fn for_rows(pool: &ThreadPool, x: &mut [f32], width: usize, job: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    if x.len() < PARALLEL_ELEMENTS || width == 0 {
        return job(0..x.len(), x);
    }
    let len = x.len();
    let shared = SharedSlice::new(x);
    pool.split(len, width, |range| {
        // SAFETY: the ranges of a split are disjoint.
        job(range.clone(), unsafe { shared.range(range) });
    });
}
