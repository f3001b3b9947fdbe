//! Normalisation of rows by their mean square, or by mean and variance.

use super::{PARALLEL_ELEMENTS, for_rows};
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// The sum of `f(element)` over a row, in four running vectors: the order depends on the instruction set and the width
/// alone.
trait Term: Copy {
    fn add<S: Simd>(self, simd: S, x: S::F32, sum: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Value;

impl Term for Value {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, x: S::F32, sum: S::F32) -> S::F32 {
        simd.add(sum, x)
    }
}

#[derive(Clone, Copy)]
struct Square;

impl Term for Square {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, x: S::F32, sum: S::F32) -> S::F32 {
        simd.fma(x, x, sum)
    }
}

/// The square of the distance from a mean.
#[derive(Clone, Copy)]
struct Deviation(f32);

impl Term for Deviation {
    #[inline(always)]
    fn add<S: Simd>(self, simd: S, x: S::F32, sum: S::F32) -> S::F32 {
        let distance = simd.sub(x, simd.splat(self.0));
        simd.fma(distance, distance, sum)
    }
}

#[inline(always)]
fn sum<S: Simd>(simd: S, row: &[f32], term: impl Term) -> f32 {
    let [mut a, mut b, mut c, mut d] = [simd.zero(); 4];
    let mut at = 0;
    while at + 4 * S::LANES <= row.len() {
        let block = &row[at..at + 4 * S::LANES];
        a = term.add(simd, simd.load_slice(block), a);
        b = term.add(simd, simd.load_slice(&block[S::LANES..]), b);
        c = term.add(simd, simd.load_slice(&block[2 * S::LANES..]), c);
        d = term.add(simd, simd.load_slice(&block[3 * S::LANES..]), d);
        at += 4 * S::LANES;
    }
    while at + S::LANES <= row.len() {
        a = term.add(simd, simd.load_slice(&row[at..at + S::LANES]), a);
        at += S::LANES;
    }
    let mut total = simd.reduce_sum(simd.add(simd.add(a, b), simd.add(c, d)));
    // The last few one by one: a padding zero would count as a deviation.
    for &x in &row[at..] {
        total += simd.reduce_max(term.add(simd, simd.splat(x), simd.zero()));
    }
    total
}

/// `to = from * factor * weight`; the same row where `from` is absent.
#[inline(always)]
fn weighted<S: Simd>(simd: S, from: Option<&[f32]>, to: &mut [f32], factor: f32, weight: &[f32]) {
    let factor = simd.splat(factor);
    let width = to.len();
    let weight = &weight[..width];
    let mut at = 0;
    while at < width {
        let end = if at + S::LANES <= width { at + S::LANES } else { width };
        let x = match from {
            Some(from) => simd.load_slice(&from[at..end]),
            None => simd.load_slice(&to[at..end]),
        };
        let y = simd.mul(simd.mul(x, factor), simd.load_slice(&weight[at..end]));
        simd.store_slice(y, &mut to[at..end]);
        at = end;
    }
}

#[inline(always)]
fn inverse_rms(sum_of_squares: f32, width: usize, epsilon: f32) -> f32 {
    1.0 / (sum_of_squares / width as f32 + epsilon).sqrt()
}

struct RmsNorm<'a> {
    /// Absent: in place.
    x: Option<&'a [f32]>,
    out: &'a mut [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (index, out) in self.out.chunks_exact_mut(width).enumerate() {
            let x = self.x.map(|x| &x[index * width..(index + 1) * width]);
            let squares = sum(simd, x.unwrap_or(out), Square);
            weighted(simd, x, out, inverse_rms(squares, width, self.epsilon), self.weight);
        }
    }
}

struct AddRmsNorm<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
    scale: f32,
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for AddRmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        let scale = simd.splat(self.scale);
        let rows = self.x.chunks_exact_mut(width).zip(self.y.chunks_exact(width));
        for ((x, y), out) in rows.zip(self.out.chunks_exact_mut(width)) {
            let mut at = 0;
            while at < width {
                let end = if at + S::LANES <= width { at + S::LANES } else { width };
                let total = simd.fma(simd.load_slice(&y[at..end]), scale, simd.load_slice(&x[at..end]));
                simd.store_slice(total, &mut x[at..end]);
                at = end;
            }
            let squares = sum(simd, x, Square);
            weighted(simd, Some(x), out, inverse_rms(squares, width, self.epsilon), self.weight);
        }
    }
}

struct LayerNorm<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let mean = sum(simd, x, Value) / width as f32;
            let variance = sum(simd, x, Deviation(mean)) / width as f32;
            let factor = simd.splat(1.0 / (variance + self.epsilon).sqrt());
            let mean = simd.splat(mean);
            let mut at = 0;
            while at < width {
                let end = if at + S::LANES <= width { at + S::LANES } else { width };
                let centred = simd.mul(simd.sub(simd.load_slice(&x[at..end]), mean), factor);
                let bias = match self.bias {
                    Some(bias) => simd.load_slice(&bias[at..end]),
                    None => simd.zero(),
                };
                let y = simd.fma(centred, simd.load_slice(&self.weight[at..end]), bias);
                simd.store_slice(y, &mut out[at..end]);
                at = end;
            }
        }
    }
}

/// Asserts that a buffer of `len` elements holds whole rows, and that `others` are as long.
fn check(len: usize, width: usize, others: &[usize]) {
    assert!(width > 0 && len.is_multiple_of(width), "{len} elements are not whole rows of {width}");
    assert!(others.iter().all(|&other| other == len), "buffers of {others:?} elements beside one of {len}");
}

/// `out = x / rms(x) * weight`, row by row; a row is `weight.len()` wide.
///
/// # Panics
/// If the lengths do not agree.
pub fn rms_norm(pool: &ThreadPool, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    check(x.len(), weight.len(), &[out.len()]);
    let isa = Isa::detect();
    for_rows(pool, out, weight.len(), |range, out| {
        isa.dispatch(RmsNorm { x: Some(&x[range]), out, weight, epsilon });
    });
}

/// [`rms_norm`] in place; with rows of one head it is the QK-norm.
///
/// # Panics
/// If the lengths do not agree.
pub fn rms_norm_in_place(pool: &ThreadPool, x: &mut [f32], weight: &[f32], epsilon: f32) {
    check(x.len(), weight.len(), &[]);
    let isa = Isa::detect();
    for_rows(pool, x, weight.len(), |_, out| isa.dispatch(RmsNorm { x: None, out, weight, epsilon }));
}

/// `x += scale * y`, then `out = rms_norm(x)`: the residual sum and the next layer's norm in one pass.
///
/// # Panics
/// If the lengths do not agree.
pub fn add_rms_norm(
    pool: &ThreadPool,
    x: &mut [f32],
    y: &[f32],
    scale: f32,
    weight: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    let (len, width) = (x.len(), weight.len());
    check(len, width, &[y.len(), out.len()]);
    let isa = Isa::detect();
    if len < PARALLEL_ELEMENTS {
        return isa.dispatch(AddRmsNorm { x, y, scale, weight, epsilon, out });
    }
    let (x, out) = (SharedSlice::new(x), SharedSlice::new(out));
    pool.split(len, width, |range| {
        // SAFETY: the ranges of a split are disjoint.
        let (x, out) = unsafe { (x.range(range.clone()), out.range(range.clone())) };
        isa.dispatch(AddRmsNorm { x, y: &y[range], scale, weight, epsilon, out });
    });
}

/// Layer normalisation with mean and variance; `bias` may be absent.
///
/// # Panics
/// If the lengths do not agree.
pub fn layer_norm(pool: &ThreadPool, x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    check(x.len(), weight.len(), &[out.len()]);
    assert!(bias.is_none_or(|bias| bias.len() == weight.len()), "weight and bias must have the same length");
    let isa = Isa::detect();
    for_rows(pool, out, weight.len(), |range, out| {
        isa.dispatch(LayerNorm { x: &x[range], out, weight, bias, epsilon });
    });
}
