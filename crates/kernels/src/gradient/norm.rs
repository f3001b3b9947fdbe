//! The backward pass of RMS and layer normalisation.

use super::sum2;
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Columns whose sums over all rows a thread takes at a time.
const COLUMNS: usize = 64;

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// By the root of the mean square.
    Rms,
    /// By mean and variance.
    Layer,
}

/// Gradients of `y = norm(x) weight (+ bias)`, row by row: writes that of `x` to `dx`, and adds those of the weight and
/// of the bias (where there is one) to theirs. `statistics` is working memory of two floats a row.
///
/// # Panics
/// If the lengths do not agree.
pub fn norm_backward(
    pool: &ThreadPool,
    kind: NormKind,
    epsilon: f32,
    (x, weight): (&[f32], &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    dweight: Option<&mut [f32]>,
    dbias: Option<&mut [f32]>,
    statistics: &mut [f32],
) {
    let width = weight.len();
    let rows = x.len() / width.max(1);
    assert!(x.len() == rows * width && dy.len() == x.len() && dx.len() == x.len(), "buffers of the same rows");
    let statistics = &mut statistics[..2 * rows];
    let isa = Isa::detect();
    {
        let (dx, statistics) = (SharedSlice::new(dx), SharedSlice::new(statistics));
        pool.split(rows, 8, |rows| {
            // SAFETY: the ranges of a split are disjoint.
            let (dx, statistics) = unsafe {
                (dx.range(rows.start * width..rows.end * width), statistics.range(2 * rows.start..2 * rows.end))
            };
            let (x, dy) = (&x[rows.start * width..rows.end * width], &dy[rows.start * width..rows.end * width]);
            isa.dispatch(Rows { kind, epsilon, x, weight, dy, dx, statistics });
        });
    }
    for (target, is_weight) in [(dweight, true), (dbias, false)] {
        let Some(target) = target else { continue };
        assert_eq!(target.len(), width, "one gradient for each column");
        let target = SharedSlice::new(target);
        pool.split(width, COLUMNS, |columns| {
            // SAFETY: as above.
            let target = unsafe { target.range(columns.clone()) };
            isa.dispatch(Columns { x, dy, width, first: columns.start, statistics, target, is_weight });
        });
    }
}

struct Rows<'a> {
    kind: NormKind,
    epsilon: f32,
    x: &'a [f32],
    weight: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    statistics: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.weight.len();
        let count = width as f32;
        let rows = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
        for (((x, dy), dx), statistics) in
            rows.zip(self.dx.chunks_exact_mut(width)).zip(self.statistics.as_chunks_mut::<2>().0)
        {
            let mean = if self.kind == NormKind::Layer { sum2(x, x, |x, _| x) / count } else { 0.0 };
            let variance = sum2(x, x, |x, _| (x - mean) * (x - mean)) / count;
            let scale = 1.0 / (variance + self.epsilon).sqrt();
            *statistics = [mean, scale];
            // With g = dy weight and the normalised n: dx = scale (g - mean(g) - n mean(g n)), without mean(g) for RMS.
            for ((dx, dy), weight) in dx.iter_mut().zip(dy).zip(self.weight) {
                *dx = dy * weight;
            }
            let along = sum2(dx, x, |g, x| g * (x - mean)) * scale / count;
            let level = if self.kind == NormKind::Layer { sum2(dx, dx, |g, _| g) / count } else { 0.0 };
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = scale * (*dx - level - (x - mean) * scale * along);
            }
        }
    }
}

struct Columns<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    width: usize,
    first: usize,
    statistics: &'a [f32],
    target: &'a mut [f32],
    is_weight: bool,
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let columns = self.first..self.first + self.target.len();
        let rows = self.x.chunks_exact(self.width).zip(self.dy.chunks_exact(self.width));
        for ((x, dy), [mean, scale]) in rows.zip(self.statistics.as_chunks::<2>().0) {
            let (x, dy) = (&x[columns.clone()], &dy[columns.clone()]);
            for ((target, x), dy) in self.target.iter_mut().zip(x).zip(dy) {
                *target += if self.is_weight { dy * ((x - mean) * scale) } else { *dy };
            }
        }
    }
}
