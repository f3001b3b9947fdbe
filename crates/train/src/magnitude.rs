//! Magnitudes (DoRA, Liu et al. 2024, arXiv 2402.09353): a changed weight is taken apart into the directions of its rows
//! and their lengths, and the lengths are trained by themselves: `y = g (W + scale B A) x` with `g = m / |W + scale B A|`,
//! row by row.
//!
//! As in `peft`, and in the paper's section 4.3, the lengths that rows would have are constants of the backward pass. They
//! change with every step. A row's is `|w|² + 2 scale b (A w) + scale² b (A Aᵀ) b`, `b` its row of B: products of as many
//! rows as the rank, and the lengths of the frozen rows, which are computed once. So a pass costs what a rank of tokens
//! more would, and no changed weight is ever in memory.

use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm};
use saem_kernels::{Arena, Block};

use crate::forward::Pass;
use crate::frozen::{Side, Weights};
use crate::layout::{Layout, Linear, Magnitude};
use crate::linear::Room;
use crate::master::Values;
use crate::pass::Decoder;

/// Lengths of rows, those of all weights with magnitudes one after the other. Without magnitudes, all is empty.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    /// Squared, of the frozen weights.
    squares: Block<f32>,
    /// Of the changed weights.
    norms: Block<f32>,
    /// The magnitudes by these.
    gains: Block<f32>,
    /// A product before its magnitudes, or its gradient.
    pub(crate) product: Block<f32>,
}

impl Lengths {
    pub(crate) fn new(arena: &mut Arena, decoder: &Decoder, tokens: usize) -> Self {
        let layout = &decoder.layout;
        let rows = layout.magnitude_rows();
        let mut of_rows = || arena.take(rows);
        let mut lengths = Self { squares: of_rows(), norms: of_rows(), gains: of_rows(), product: Block::default() };
        lengths.product = arena.take(layout.magnitude_room(tokens));
        if !arena.is_counting() {
            let weights = Weights { trained: Values::NONE, frozen: &decoder.frozen };
            for linear in &layout.magnitudes {
                if let Some(magnitude) = linear.thin.as_ref().and_then(|thin| thin.magnitude.as_ref()) {
                    squares(weights, linear, &mut lengths.squares[magnitude.norms.clone()]);
                }
            }
        }
        lengths
    }

    /// `y *= g`, in every row of `[tokens, outputs]`.
    pub(crate) fn scale(&self, magnitude: &Magnitude, y: &mut [f32]) {
        let gains = &self.gains[magnitude.norms.clone()];
        for row in y.chunks_exact_mut(gains.len()) {
            row.iter_mut().zip(gains).for_each(|(y, gain)| *y *= gain);
        }
    }

    /// Adds the gradient of the magnitudes; `product` is what they were a factor on.
    pub(crate) fn backward(&self, magnitude: &Magnitude, dy: &[f32], product: &[f32], gradient: &mut [f32]) {
        let norms = &self.norms[magnitude.norms.clone()];
        for (dy, product) in dy.chunks_exact(norms.len()).zip(product.chunks_exact(norms.len())) {
            let factors = dy.iter().zip(product).zip(norms);
            gradient.iter_mut().zip(factors).for_each(|(sum, ((dy, product), norm))| *sum += dy * product / norm);
        }
    }
}

/// The squared length of every row of a frozen weight.
fn squares(weights: Weights<'_>, linear: &Linear, out: &mut [f32]) {
    let mut row = vec![0.0; linear.inputs];
    for (index, out) in out.iter_mut().enumerate() {
        weights.row(&linear.weight, index, &mut row);
        *out = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() as f32;
    }
}

/// The lengths of a frozen weight's rows, which its magnitudes begin as.
pub(crate) fn first_magnitudes(weights: Weights<'_>, linear: &Linear, out: &mut [f32]) {
    squares(weights, linear, out);
    out.iter_mut().for_each(|square| *square = square.sqrt());
}

impl Pass<'_> {
    /// The lengths of all changed weights' rows, for this pass.
    pub(crate) fn lengths(&self, layout: &Layout, room: &mut Room) {
        let Room { shared, lengths, .. } = room;
        let Lengths { squares, norms, gains, product } = lengths;
        for linear in &layout.magnitudes {
            let Some(thin) = &linear.thin else { continue };
            let Some(Magnitude { slot, norms: place }) = &thin.magnitude else { continue };
            let Linear { outputs, inputs, .. } = *linear;
            let (rank, scale) = (thin.rank, f64::from(thin.scale));
            let (a, b) = (self.weights.trained.floats(&thin.a), self.weights.trained.floats(&thin.b));
            let (seen, rest) = product.split_at_mut(rank * outputs);
            let among = &mut rest[..rank * rank];
            let weight = self.weights.factor(&linear.weight, Side::Rows, inputs);
            let mut multiply = |n: usize, other: Factor<'_>, out: &mut [f32]| {
                let size = Size { m: rank, n, k: inputs };
                // A difference of lengths is small beside them: bf16 would round it away.
                let exactly = Precision::F32;
                gemm(self.pool, exactly, size, Factor::lines(a, inputs), other, out, n, Output::Replace, shared);
            };
            multiply(outputs, weight, &mut *seen);
            multiply(rank, Factor::lines(a, inputs), &mut *among);
            let magnitudes = self.weights.trained.floats(slot);
            for (row, b) in b.chunks_exact(rank).enumerate() {
                let number = |value: &f32| f64::from(*value);
                let across: f64 =
                    b.iter().zip(seen[row..].iter().step_by(outputs)).map(|(b, s)| number(b) * number(s)).sum();
                let inner = |among: &[f32]| b.iter().zip(among).map(|(b, a)| number(b) * number(a)).sum::<f64>();
                let own: f64 = b.iter().zip(among.chunks_exact(rank)).map(|(b, among)| number(b) * inner(among)).sum();
                let square = number(&squares[place.start + row]) + 2.0 * scale * across + scale * scale * own;
                let norm = square.max(f64::from(f32::MIN_POSITIVE)).sqrt();
                norms[place.start + row] = norm as f32;
                gains[place.start + row] = (number(&magnitudes[row]) / norm) as f32;
            }
        }
    }
}
