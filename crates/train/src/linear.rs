//! Products with a matrix, forward and backward: of floats that are trained, of stored weights that stay, and of the thin
//! matrices beside them.
//!
//! A thin product is computed anew in the backward pass: at a rank of 16 that is a hundredth of the work, and nothing of
//! it has to be kept.

use saem_kernels::gemm::{Factor, Output, Size, gemm, gemm_packed};
use saem_kernels::gradient::add_columns;
use saem_kernels::{Block, ops};

use crate::forward::Pass;
use crate::frozen::Side;
use crate::layout::{Linear, Place, Thin};
use crate::magnitude::Lengths;

/// Working memory of products.
#[derive(Debug)]
pub(crate) struct Room {
    /// Packed factors.
    pub(crate) shared: Block<f32>,
    /// What is between two thin matrices, `[tokens, rank]`.
    pub(crate) inner: Block<f32>,
    pub(crate) lengths: Lengths,
}

impl Pass<'_> {
    /// `y = x wᵀ + bias`, and what a LoRA makes of it.
    pub(crate) fn linear(&self, linear: &Linear, x: &[f32], y: &mut [f32], room: &mut Room) {
        self.product(linear, x, y, room);
        let thin = linear.thin.as_ref().filter(|_| self.is_adapted);
        if let Some(magnitude) = thin.and_then(|thin| thin.magnitude.as_ref()) {
            room.lengths.scale(magnitude, y);
        }
        if let Some(bias) = &linear.bias {
            ops::add_bias(self.pool, y, self.weights.vector(bias));
        }
    }

    /// `y = x wᵀ`, and what a LoRA adds.
    pub(crate) fn product(&self, linear: &Linear, x: &[f32], y: &mut [f32], room: &mut Room) {
        let Linear { inputs, outputs, .. } = *linear;
        let m = x.len() / inputs;
        self.by_weight(&linear.weight, Side::Rows, [outputs, inputs], x, y, Output::Replace, &mut room.shared);
        if let Some(thin) = linear.thin.as_ref().filter(|_| self.is_adapted) {
            let inner = self.down(thin, linear, x, room);
            let size = Size { m, n: outputs, k: thin.rank };
            let b = Factor::lines(self.weights.trained.floats(&thin.b), thin.rank);
            let (inner, shared) = (Factor::lines(&room.inner[..inner], thin.rank), &mut room.shared);
            self.multiply(size, inner, b, y, outputs, Output::Add, shared);
        }
    }

    /// `dx = dy w`, or added.
    pub(crate) fn input_backward(&self, linear: &Linear, dy: &[f32], dx: &mut [f32], output: Output, room: &mut Room) {
        let Some(magnitude) = linear.thin.as_ref().and_then(|thin| thin.magnitude.as_ref()) else {
            return self.product_backward(linear, dy, dx, output, room);
        };
        let mut product = std::mem::take(&mut room.lengths.product);
        let scaled = &mut product[..dy.len()];
        scaled.copy_from_slice(dy);
        room.lengths.scale(magnitude, scaled);
        self.product_backward(linear, scaled, dx, output, room);
        room.lengths.product = product;
    }

    /// As [`Pass::input_backward`], without magnitudes.
    fn product_backward(&self, linear: &Linear, dy: &[f32], dx: &mut [f32], output: Output, room: &mut Room) {
        let Linear { inputs, outputs, .. } = *linear;
        let m = dy.len() / outputs;
        self.by_weight(&linear.weight, Side::Columns, [outputs, inputs], dy, dx, output, &mut room.shared);
        if let Some(thin) = &linear.thin {
            let inner = self.down_backward(thin, linear, dy, room);
            let size = Size { m, n: inputs, k: thin.rank };
            let a = Factor::across(self.weights.trained.floats(&thin.a), inputs);
            let (inner, shared) = (Factor::lines(&room.inner[..inner], thin.rank), &mut room.shared);
            self.multiply(size, inner, a, dx, inputs, Output::Add, shared);
        }
    }

    /// `dw += dyᵀ x`, and the bias; or the same of the thin matrices.
    pub(crate) fn weight_backward(
        &self,
        linear: &Linear,
        x: &[f32],
        dy: &[f32],
        gradients: &mut [f32],
        room: &mut Room,
    ) {
        let Linear { inputs, outputs, .. } = *linear;
        let k = x.len() / inputs;
        if let Some(slot) = linear.weight.slot() {
            let size = Size { m: outputs, n: inputs, k };
            let factors = (Factor::across(dy, outputs), Factor::across(x, inputs));
            self.multiply(size, factors.0, factors.1, &mut gradients[slot], inputs, Output::Add, &mut room.shared);
        }
        if let Some(slot) = linear.bias.as_ref().and_then(|bias| bias.slot()) {
            add_columns(self.pool, dy, &mut gradients[slot]);
        }
        let Some(thin) = &linear.thin else { return };
        let Some(magnitude) = &thin.magnitude else { return self.thin_backward(thin, linear, x, dy, gradients, room) };
        // What the lengths were a factor on is computed anew: a product more, and nothing of its size is kept.
        let mut product = std::mem::take(&mut room.lengths.product);
        let scaled = &mut product[..dy.len()];
        self.product(linear, x, scaled, room);
        room.lengths.backward(magnitude, dy, scaled, &mut gradients[magnitude.slot.clone()]);
        scaled.copy_from_slice(dy);
        room.lengths.scale(magnitude, scaled);
        self.thin_backward(thin, linear, x, scaled, gradients, room);
        room.lengths.product = product;
    }

    fn thin_backward(
        &self,
        thin: &Thin,
        linear: &Linear,
        x: &[f32],
        dy: &[f32],
        gradients: &mut [f32],
        room: &mut Room,
    ) {
        let Linear { inputs, outputs, .. } = *linear;
        let (rank, k) = (thin.rank, x.len() / inputs);
        let inner = self.down(thin, linear, x, room);
        let size = Size { m: outputs, n: rank, k };
        let factors = (Factor::across(dy, outputs), Factor::across(&room.inner[..inner], rank));
        let db = &mut gradients[thin.b.clone()];
        self.multiply(size, factors.0, factors.1, db, rank, Output::Add, &mut room.shared);
        let inner = self.down_backward(thin, linear, dy, room);
        let size = Size { m: rank, n: inputs, k };
        let factors = (Factor::across(&room.inner[..inner], rank), Factor::across(x, inputs));
        let da = &mut gradients[thin.a.clone()];
        self.multiply(size, factors.0, factors.1, da, inputs, Output::Add, &mut room.shared);
    }

    /// `inner = scale x Aᵀ`; returns how many numbers these are.
    fn down(&self, thin: &Thin, linear: &Linear, x: &[f32], room: &mut Room) -> usize {
        let size = Size { m: x.len() / linear.inputs, n: thin.rank, k: linear.inputs };
        let a = Factor::lines(self.weights.trained.floats(&thin.a), linear.inputs);
        self.scaled(thin, size, Factor::lines(x, linear.inputs), a, room)
    }

    /// `inner = scale dy B`, its gradient.
    fn down_backward(&self, thin: &Thin, linear: &Linear, dy: &[f32], room: &mut Room) -> usize {
        let size = Size { m: dy.len() / linear.outputs, n: thin.rank, k: linear.outputs };
        let b = Factor::across(self.weights.trained.floats(&thin.b), thin.rank);
        self.scaled(thin, size, Factor::lines(dy, linear.outputs), b, room)
    }

    /// Products of `x` with one side of a weight matrix of this shape.
    pub(crate) fn by_weight(
        &self,
        weight: &Place,
        side: Side,
        shape: [usize; 2],
        x: &[f32],
        y: &mut [f32],
        output: Output,
        shared: &mut [f32],
    ) {
        let [n, k] = side.of(shape);
        let (m, x) = (x.len() / k, Factor::lines(x, k));
        if let Some(packed) = self.weights.packed(self.pool, self.precision, weight, side, shape) {
            return gemm_packed(self.pool, m, x, packed, y, n, output);
        }
        let weight = self.weights.factor(weight, side, shape[1]);
        self.multiply(Size { m, n, k }, x, weight, y, n, output, shared);
    }

    pub(crate) fn multiply(
        &self,
        size: Size,
        a: Factor<'_>,
        b: Factor<'_>,
        c: &mut [f32],
        stride: usize,
        output: Output,
        shared: &mut [f32],
    ) {
        gemm(self.pool, self.precision, size, a, b, c, stride, output, shared);
    }

    fn scaled(&self, thin: &Thin, size: Size, a: Factor<'_>, b: Factor<'_>, room: &mut Room) -> usize {
        let Room { inner, shared, .. } = room;
        let len = size.m * thin.rank;
        self.multiply(size, a, b, &mut inner[..len], thin.rank, Output::Replace, shared);
        if thin.scale != 1.0 {
            ops::scale(self.pool, &mut inner[..len], thin.scale);
        }
        len
    }
}
