//! A convolution over a few neighbours, with fewer multiplications than its definition has.
//!
//! Four neighbouring results of a window of `r` share their inputs: as values of a product of polynomials they follow
//! from `r + 3` products instead of `4 r` (Toom and Cook; Winograd, "Arithmetic Complexity of Computations", 1980). The
//! polynomials are evaluated at small numbers and at infinity: inputs are mixed before the products, and results after
//! them, by constants. For windows of two, three and five that makes 19 products of 40.

use std::ops::Range;

use saem_kernels::ThreadPool;
use saem_kernels::gemm::Packed;
use saem_kernels::simd::Isa;

use crate::functions::{gather, mix, product};
use crate::weights::{BRANCH, Window, packed};

/// Results that are computed together.
pub(crate) const TILE: usize = 4;
/// Inputs and products of a tile at most.
const SPAN: usize = 8;
/// Where polynomials are evaluated, the best first; infinity is always there, too. Small numbers keep the rounding small.
const POINTS: [f64; SPAN - 1] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

/// The weights of a convolution, arranged for tiles.
#[derive(Debug)]
pub(crate) struct Convolution {
    pub(crate) window: Window,
    points: Vec<Point>,
    bias: Vec<f32>,
}

/// One product of a tile.
#[derive(Debug)]
struct Point {
    /// `[BRANCH, BRANCH]`: the weights of all positions of the window, evaluated here.
    matrix: Packed,
    /// What each input of a tile counts for.
    inputs: [f32; SPAN],
    /// What the product counts for in each result of the tile.
    results: [f32; TILE],
}

/// Four neighbouring results (fewer at an end), as rows of the inputs and of the results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// Row of the input at each place that the windows reach; none beyond the text.
    inputs: [Option<usize>; SPAN],
    /// First row of the results, and how many.
    start: usize,
    count: usize,
}

impl Tile {
    /// The tile of `count` results from `start` on. `row` finds the input at a place relative to the first result's own.
    pub(crate) fn new(window: Window, start: usize, count: usize, row: impl Fn(isize) -> Option<usize>) -> Self {
        let place = |index: usize| index as isize - window.left as isize;
        let inputs = std::array::from_fn(|index| (index < window.size + TILE - 1).then(|| row(place(index))).flatten());
        Self { inputs, start, count }
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// `[tiles, BRANCH]`.
    mixed: Vec<f32>,
    /// `[points, tiles, BRANCH]`.
    products: Vec<f32>,
}

impl Convolution {
    /// From the weights of each position of the window, `[outputs, inputs]` one after the other.
    pub(crate) fn new(pool: &ThreadPool, window: Window, weights: &[f32], bias: Vec<f32>) -> Self {
        let points = evaluations(window.size).into_iter().map(|point| {
            let evaluate = |at: usize| {
                let positions = weights.iter().skip(at).step_by(BRANCH * BRANCH);
                let value: f64 =
                    positions.zip(&point.weights).map(|(weight, factor)| f64::from(*weight) * factor).sum();
                value as f32
            };
            let values: Vec<f32> = (0..BRANCH * BRANCH).map(evaluate).collect();
            let matrix = packed(pool, BRANCH, BRANCH, &values);
            let narrow = |values: &[f64], index: usize| values.get(index).map_or(0.0, |value| *value as f32);
            let inputs = std::array::from_fn(|index| narrow(&point.inputs, index));
            Point { matrix, inputs, results: std::array::from_fn(|index| narrow(&point.results, index)) }
        });
        Self { window, points: points.collect(), bias }
    }

    /// Bytes of memory that the weights hold.
    pub(crate) fn byte_len(&self) -> usize {
        self.points.iter().map(|point| point.matrix.byte_len()).sum()
    }

    /// Writes `max(0, bias + convolution) + input` for each result of the tiles to its `place` in `out`. The inputs are
    /// `[rows, BRANCH]`.
    pub(crate) fn apply(
        &self,
        pool: &ThreadPool,
        inputs: &[f32],
        tiles: &[Tile],
        space: &mut Workspace,
        place: impl Fn(usize) -> Range<usize>,
        out: &mut [f32],
    ) {
        let isa = Isa::detect();
        let rows = tiles.len();
        // Old numbers stay: all are overwritten.
        space.mixed.resize(rows * BRANCH, 0.0);
        space.products.resize(self.points.len() * rows * BRANCH, 0.0);
        let input =
            |row: Option<usize>| row.and_then(|row| inputs.get(row * BRANCH..(row + 1) * BRANCH)).unwrap_or_default();
        for (point, products) in self.points.iter().zip(space.products.chunks_exact_mut(rows * BRANCH)) {
            for (tile, mixed) in tiles.iter().zip(space.mixed.chunks_exact_mut(BRANCH)) {
                let mut terms: [(f32, &[f32]); SPAN] = [(0.0, &[]); SPAN];
                let mut count = 0;
                for (row, factor) in tile.inputs.iter().zip(point.inputs) {
                    if let (Some(_), true, Some(term)) = (row, factor != 0.0, terms.get_mut(count)) {
                        *term = (factor, input(*row));
                        count += 1;
                    }
                }
                mix(isa, terms.get(..count).unwrap_or_default(), mixed);
            }
            product(pool, &space.mixed, BRANCH, &point.matrix, products, BRANCH);
        }
        for (index, tile) in tiles.iter().enumerate() {
            for result in 0..tile.count {
                let mut terms: [(f32, &[f32]); SPAN] = [(0.0, &[]); SPAN];
                let products = space.products.chunks_exact(rows * BRANCH);
                for ((term, point), products) in terms.iter_mut().zip(&self.points).zip(products) {
                    let factor = point.results.get(result).copied().unwrap_or_default();
                    *term = (factor, products.get(index * BRANCH..(index + 1) * BRANCH).unwrap_or_default());
                }
                let terms = terms.get(..self.points.len()).unwrap_or_default();
                let residual = input(tile.inputs.get(self.window.left + result).copied().flatten());
                let out = out.get_mut(place(tile.start + result)).unwrap_or_default();
                gather(isa, terms, &self.bias, residual, out);
            }
        }
    }
}

/// The constants of one product.
struct Evaluation {
    /// For each position of the window.
    weights: Vec<f64>,
    /// For each input of a tile.
    inputs: Vec<f64>,
    /// For each result of a tile.
    results: Vec<f64>,
}

/// The constants of all products of a tile, for a window of this size.
///
/// With `p_i` the product of `(x - a_j)` over all other points: weights and results are powers of the point `a_i`,
/// inputs the coefficients of `p_i`, and the weights are divided by `p_i(a_i)`.
fn evaluations(size: usize) -> Vec<Evaluation> {
    let finite = POINTS.get(..size + TILE - 2).unwrap_or(&POINTS);
    let powers = |x: f64, count: usize| (0..count).map(|power| x.powi(power as i32)).collect::<Vec<_>>();
    let last = |count: usize| (0..count).map(|index| if index + 1 == count { 1.0 } else { 0.0 }).collect::<Vec<_>>();
    let polynomial = |roots: &mut dyn Iterator<Item = f64>| {
        let mut coefficients = vec![1.0];
        for root in roots {
            coefficients.insert(0, 0.0);
            for power in 1..coefficients.len() {
                let higher = coefficients.get(power).copied().unwrap_or_default();
                if let Some(lower) = coefficients.get_mut(power - 1) {
                    *lower -= root * higher;
                }
            }
        }
        coefficients
    };
    let mut found: Vec<Evaluation> = Vec::new();
    for &point in finite {
        let inputs = polynomial(&mut finite.iter().copied().filter(|other| *other != point));
        let scale: f64 = inputs.iter().zip(powers(point, inputs.len())).map(|(factor, power)| factor * power).sum();
        let weights = powers(point, size).iter().map(|power| power / scale).collect();
        found.push(Evaluation { weights, inputs, results: powers(point, TILE) });
    }
    let inputs = polynomial(&mut finite.iter().copied());
    found.push(Evaluation { weights: last(size), inputs, results: last(TILE) });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_convolutions() {
        for size in [2, 3, 5] {
            let points = evaluations(size);
            assert_eq!(points.len(), size + TILE - 1);
            let weights: Vec<f64> = (0..size).map(|index| (index as f64 * 1.7).sin()).collect();
            let inputs: Vec<f64> = (0..size + TILE - 1).map(|index| (index as f64 * 0.9).cos()).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let products: Vec<f64> =
                points.iter().map(|point| dot(&point.weights, &weights) * dot(&point.inputs, &inputs)).collect();
            for result in 0..TILE {
                let found: f64 = points.iter().zip(&products).map(|(point, x)| point.results[result] * x).sum();
                let expected = dot(&weights, &inputs[result..result + size]);
                assert!((found - expected).abs() < 1e-12, "{size}, {result}: {found} {expected}");
            }
        }
    }
}
