//! Backward passes of what is done to each element, and of picking and adding rows.

use crate::ThreadPool;
use crate::ops::Activation;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd, math};

/// Elements in the unit that work is shared out by.
const UNIT: usize = 64;

/// `1 / sqrt(2 pi)` and the constants of GELU's tanh form.
const DENSITY: f32 = 0.398_942_3;
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;

/// The activation's value and slope at `x`.
#[inline(always)]
fn value_and_slope<S: Simd>(simd: S, activation: Activation, x: S::F32) -> (S::F32, S::F32) {
    let one = simd.splat(1.0);
    match activation {
        Activation::Silu => {
            let share = math::sigmoid(simd, x);
            let value = simd.mul(x, share);
            // s + x s (1 - s)
            (value, simd.fma(value, simd.sub(one, share), share))
        }
        Activation::GeluTanh => {
            let square = simd.mul(x, x);
            let inner = simd.mul(simd.mul(x, simd.splat(TANH_SCALE)), simd.fma(square, simd.splat(TANH_CUBE), one));
            let tanh = math::tanh(simd, inner);
            let half = simd.fma(tanh, simd.splat(0.5), simd.splat(0.5));
            let slope = simd.mul(simd.splat(TANH_SCALE), simd.fma(square, simd.splat(3.0 * TANH_CUBE), one));
            let bend = simd.mul(simd.mul(simd.mul(x, simd.splat(0.5)), simd.neg_fma(tanh, tanh, one)), slope);
            (simd.mul(x, half), simd.add(half, bend))
        }
        Activation::GeluErf => {
            let share = math::normal_cdf(simd, x);
            let density = math::exp(simd, simd.mul(simd.mul(x, x), simd.splat(-0.5)));
            (simd.mul(x, share), simd.fma(simd.mul(x, density), simd.splat(DENSITY), share))
        }
        Activation::Relu => {
            let is_on = simd.less(simd.zero(), x);
            (math::relu(simd, x), simd.select(is_on, one, simd.zero()))
        }
    }
}

/// Calls `job(range)` for parts of `0..len`.
fn parts(pool: &ThreadPool, len: usize, job: impl Fn(std::ops::Range<usize>) + Sync) {
    pool.split(len, UNIT, job);
}

/// Gradients of `y = activation(gate) up`. Takes that of `y` and the gate and the up projections; leaves in `gate` and
/// `up` their own gradients, and in `dy` the value of `y`, which the gradient of the next weight needs.
///
/// # Panics
/// If the lengths do not agree.
pub fn gated_backward(pool: &ThreadPool, activation: Activation, gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    assert!(gate.len() == dy.len() && up.len() == dy.len(), "buffers of the same length");
    let isa = Isa::detect();
    let len = dy.len();
    let (gate, up, dy) = (SharedSlice::new(gate), SharedSlice::new(up), SharedSlice::new(dy));
    parts(pool, len, |range| {
        // SAFETY: the ranges of a split are disjoint.
        let (gate, up, dy) = unsafe { (gate.range(range.clone()), up.range(range.clone()), dy.range(range)) };
        isa.dispatch(Gated { activation, gate, up, dy });
    });
}

struct Gated<'a> {
    activation: Activation,
    gate: &'a mut [f32],
    up: &'a mut [f32],
    dy: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let values = self.gate.chunks_mut(S::LANES).zip(self.up.chunks_mut(S::LANES));
        for ((gate, up), dy) in values.zip(self.dy.chunks_mut(S::LANES)) {
            let (u, d) = (simd.load_slice(up), simd.load_slice(dy));
            let (value, slope) = value_and_slope(simd, self.activation, simd.load_slice(gate));
            simd.store_slice(simd.mul(simd.mul(d, u), slope), gate);
            simd.store_slice(simd.mul(d, value), up);
            simd.store_slice(simd.mul(value, u), dy);
        }
    }
}

/// Gradients of `y = activation(x)`. Takes that of `y`; leaves in `x` its own gradient and in `dy` the value of `y`.
///
/// # Panics
/// If the lengths do not agree.
pub fn activate_backward(pool: &ThreadPool, activation: Activation, x: &mut [f32], dy: &mut [f32]) {
    assert_eq!(x.len(), dy.len(), "buffers of the same length");
    let isa = Isa::detect();
    let len = dy.len();
    let (x, dy) = (SharedSlice::new(x), SharedSlice::new(dy));
    parts(pool, len, |range| {
        // SAFETY: the ranges of a split are disjoint.
        let (x, dy) = unsafe { (x.range(range.clone()), dy.range(range)) };
        isa.dispatch(Activate { activation, x, dy });
    });
}

struct Activate<'a> {
    activation: Activation,
    x: &'a mut [f32],
    dy: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (x, dy) in self.x.chunks_mut(S::LANES).zip(self.dy.chunks_mut(S::LANES)) {
            let (value, slope) = value_and_slope(simd, self.activation, simd.load_slice(x));
            simd.store_slice(simd.mul(simd.load_slice(dy), slope), x);
            simd.store_slice(value, dy);
        }
    }
}

/// Gradients of `y = cap tanh(x / cap)`, from `y`: `dy` becomes that of `x`.
///
/// # Panics
/// If the lengths do not agree.
pub fn soft_cap_backward(pool: &ThreadPool, y: &[f32], dy: &mut [f32], cap: f32) {
    assert_eq!(y.len(), dy.len(), "buffers of the same length");
    let len = dy.len();
    let dy = SharedSlice::new(dy);
    parts(pool, len, |range| {
        // SAFETY: the ranges of a split are disjoint.
        let part = unsafe { dy.range(range.clone()) };
        for (dy, y) in part.iter_mut().zip(&y[range]) {
            let share = y / cap;
            *dy *= 1.0 - share * share;
        }
    });
}

/// `sums[column] += sum over rows of x[row, column]`: the gradient of a bias.
///
/// # Panics
/// If `x` is not whole rows.
pub fn add_columns(pool: &ThreadPool, x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    assert!(x.len().is_multiple_of(width.max(1)), "whole rows");
    let sums = SharedSlice::new(sums);
    pool.split(width, UNIT, |columns| {
        // SAFETY: the ranges of a split are disjoint.
        let part = unsafe { sums.range(columns.clone()) };
        for row in x.chunks_exact(width) {
            part.iter_mut().zip(&row[columns.clone()]).for_each(|(sum, x)| *sum += x);
        }
    });
}

/// `table[index of row, :] += factor rows[row, :]`: the gradient of picking rows, as an embedding does.
///
/// # Panics
/// If an index is beyond the table, or the lengths do not agree.
pub fn scatter_rows(pool: &ThreadPool, rows: &[f32], width: usize, indices: &[u32], factor: f32, table: &mut [f32]) {
    assert_eq!(rows.len(), indices.len() * width, "one row for each index");
    let len = table.len();
    assert!(indices.iter().all(|index| (*index as usize + 1) * width <= len), "an index is beyond the table");
    let table = SharedSlice::new(table);
    // A row may be picked more than once, so threads share out columns.
    pool.split(width, UNIT, |columns| {
        for (index, row) in indices.iter().zip(rows.chunks_exact(width)) {
            let start = *index as usize * width;
            // SAFETY: the ranges of a split are disjoint, and so are these columns of each row.
            let to = unsafe { table.range(start + columns.start..start + columns.end) };
            to.iter_mut().zip(&row[columns.clone()]).for_each(|(to, x)| *to += factor * x);
        }
    });
}
