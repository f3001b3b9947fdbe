//! Rows that stand before every text, and the encoder that makes them (p-tuning's: three matrices with rectifiers
//! between them, as `peft` has it).
//!
//! A row stands in a batch as a token beyond the vocabulary, as it does in [`saem_model`].

use saem_kernels::gemm::Output;
use saem_kernels::{Arena, Block, ops};

use crate::forward::Pass;
use crate::layout::{Layout, Soft};
use crate::linear::Room;

/// What the encoder leaves for its backward pass. Without an encoder, or without rows, all is empty.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// The rows as the first layer gets them (but for a multiplier), `[rows, hidden]`.
    pub(crate) rows: Block<f32>,
    /// Their gradient.
    pub(crate) gradient: Block<f32>,
    /// After each rectifier, `[rows, inner]`.
    inner: [Block<f32>; 2],
    /// Their gradient, or that of the encoder's input.
    inner_gradient: Block<f32>,
}

impl Encoded {
    pub(crate) fn new(arena: &mut Arena, layout: &Layout) -> Self {
        let Some(soft) = &layout.soft else { return Self::default() };
        let rows = soft.table.len();
        let inner = soft.encoder.as_ref().map_or(0, |[first, ..]| soft.rows * first.outputs);
        Self {
            rows: arena.take(rows),
            gradient: arena.take(rows),
            inner: [arena.take(inner), arena.take(inner)],
            inner_gradient: arena.take(if inner > 0 { 2 * inner.max(rows) } else { 0 }),
        }
    }
}

impl Pass<'_> {
    /// The rows, to `encoded.rows`.
    pub(crate) fn encode(&self, soft: &Soft, encoded: &mut Encoded, room: &mut Room) {
        let table = self.weights.trained.floats(&soft.table);
        let Some([first, second, third]) = &soft.encoder else { return encoded.rows.copy_from_slice(table) };
        let [one, two] = &mut encoded.inner;
        self.linear(first, table, one, room);
        rectify(one);
        self.linear(second, one, two, room);
        rectify(two);
        self.linear(third, two, &mut encoded.rows, room);
    }

    /// From the gradient of the rows, `encoded.gradient`, to those of the table and the encoder.
    pub(crate) fn encode_backward(&self, soft: &Soft, encoded: &mut Encoded, gradients: &mut [f32], room: &mut Room) {
        let Encoded { gradient: drows, inner: [one, two], inner_gradient, .. } = encoded;
        let Some([first, second, third]) = &soft.encoder else {
            return ops::add_scaled(self.pool, &mut gradients[soft.table.clone()], drows, 1.0);
        };
        let half = inner_gradient.len() / 2;
        let (a, b) = inner_gradient.split_at_mut(half);
        let inner = one.len();
        self.weight_backward(third, two, drows, gradients, room);
        self.input_backward(third, drows, &mut a[..inner], Output::Replace, room);
        rectify_backward(two, &mut a[..inner]);
        self.weight_backward(second, one, &a[..inner], gradients, room);
        self.input_backward(second, &a[..inner], &mut b[..inner], Output::Replace, room);
        rectify_backward(one, &mut b[..inner]);
        let table = self.weights.trained.floats(&soft.table);
        self.weight_backward(first, table, &b[..inner], gradients, room);
        let dtable = &mut a[..table.len()];
        self.input_backward(first, &b[..inner], dtable, Output::Replace, room);
        ops::add_scaled(self.pool, &mut gradients[soft.table.clone()], dtable, 1.0);
    }
}

fn rectify(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// `y` is what a rectifier gave.
fn rectify_backward(y: &[f32], dy: &mut [f32]) {
    y.iter().zip(dy).for_each(|(y, dy)| *dy *= f32::from(u8::from(*y > 0.0)));
}
