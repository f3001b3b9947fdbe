//! Rows with lengths of their own (DoRA, Liu et al. 2024, arXiv 2402.09353): with `g = m / |W + scale B A|`, row by row, a
//! changed projection is `g (W x + scale B (A x)) + bias`. `g` depends on nothing but weights, so it is computed once, when
//! the adapter is loaded, and a served row costs one multiplication more for each output.

use saem_kernels::ThreadPool;
use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm, most_shared_len};

use crate::weights::Linear;

/// Rows whose changes are computed together.
const ROWS: usize = 64;

/// The factors on the rows of one changed projection.
#[derive(Debug)]
pub(crate) struct Gains {
    /// `g`, `[outputs]`.
    factors: Vec<f32>,
    /// What has to be added for `g` not to apply to the projection's bias: `(1 - g) bias`, `[outputs]`; empty without.
    offsets: Vec<f32>,
}

impl Gains {
    /// Those of a projection of `columns` inputs with `a`, `[rank, inputs]`, and `b`, `[outputs, rank]`, beside it, whose
    /// rows are to be as long as `lengths` say. All rows are in the order of the model.
    pub(super) fn new(
        pool: &ThreadPool,
        linear: &Linear,
        columns: usize,
        a: &[f32],
        b: &[f32],
        scale: f32,
        lengths: &[f32],
    ) -> Self {
        let rank = a.len() / columns;
        let mut factors = Vec::with_capacity(lengths.len());
        let (mut change, mut row) = (vec![0.0; ROWS * columns], vec![0.0; columns]);
        let mut shared = vec![0.0; most_shared_len(columns, rank)];
        for (block, b) in b.chunks(ROWS * rank).enumerate() {
            let size = Size { m: b.len() / rank, n: columns, k: rank };
            let (b, a) = (Factor::lines(b, rank), Factor::across(a, columns));
            gemm(pool, Precision::F32, size, b, a, &mut change, columns, Output::Replace, &mut shared);
            for (change, length) in change.chunks_exact(columns).zip(lengths.iter().skip(block * ROWS).take(ROWS)) {
                linear.matrix.row(factors.len(), &mut row);
                let square: f64 =
                    row.iter().zip(change).map(|(weight, change)| f64::from(weight + scale * change).powi(2)).sum();
                let norm = square.sqrt().max(f64::from(f32::MIN_POSITIVE));
                factors.push((f64::from(*length) / norm) as f32);
            }
        }
        let bias = linear.bias.as_deref().unwrap_or_default();
        let offsets = bias.iter().zip(&factors).map(|(bias, factor)| (1.0 - factor) * bias).collect();
        Self { factors, offsets }
    }

    pub(super) fn byte_len(&self) -> usize {
        size_of_val(self.factors.as_slice()) + size_of_val(self.offsets.as_slice())
    }

    /// Applies them to rows of outputs, `[rows, outputs]`, to which bias and thin products have been added.
    pub(super) fn apply(&self, y: &mut [f32]) {
        for y in y.chunks_exact_mut(self.factors.len()) {
            y.iter_mut().zip(&self.factors).for_each(|(y, factor)| *y *= factor);
            y.iter_mut().zip(&self.offsets).for_each(|(y, offset)| *y += offset);
        }
    }
}
