//! The forward pass, in the pieces that threads take.
//!
//! 1. [`Network::first_layers`], for tokens that the cache lacks: embedding, projection, normalisation, and what the
//!    token contributes to the first convolution of each branch.
//! 2. [`Network::sum`], for some segments of texts: both convolutions, the normalisation of each token's features, and
//!    their sum over the segment.
//! 3. [`Network::head`], for the sums of many texts: mean, dense layers, unit length.
//!
//! The first convolution is the sum of what the tokens in its window contribute, each by a product of its own, which the
//! cache has; the second takes four neighbours at a time (`convolution`).

use saem_kernels::ThreadPool;
use saem_kernels::ops::{add_bias, add_scaled, layer_norm};
use saem_kernels::simd::Isa;

use crate::cache::{self, Cache};
use crate::convolution::{self, TILE, Tile};
use crate::functions::{add_standardized, gather, product, relu, tanh};
use crate::segments::Segment;
use crate::weights::{BRANCH, BRANCHES, FEATURES, NARROW, REACH, WIDTH, Weights, Window};

/// The model, ready to compute.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weights: Weights,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// `[tokens, WIDTH]`.
    embedded: Vec<f32>,
    /// `[tokens, BRANCHES]`, before and after normalisation.
    projected: Vec<f32>,
    normal: Vec<f32>,
    /// `[tokens, BRANCH]`: one branch, after its first convolution.
    hidden: Vec<f32>,
    /// `[tokens, size * BRANCH]`, of the first convolution.
    contributions: Vec<f32>,
    second: convolution::Workspace,
    /// `[tokens, BRANCHES]`, after the second.
    features: Vec<f32>,
}

impl Network {
    /// Fills the rows of tokens for the cache.
    pub(crate) fn first_layers(&self, pool: &ThreadPool, tokens: &mut [(u32, Vec<f32>)], space: &mut Workspace) {
        let weights = &self.weights;
        let rows = tokens.len();
        sized(&mut space.embedded, rows * WIDTH);
        for ((token, _), out) in tokens.iter().zip(space.embedded.chunks_exact_mut(WIDTH)) {
            weights.embed(*token, out);
        }
        sized(&mut space.projected, rows * BRANCHES);
        sized(&mut space.normal, rows * BRANCHES);
        product(pool, &space.embedded, WIDTH, &weights.projection, &mut space.projected, BRANCHES);
        add_bias(pool, &mut space.projected, &weights.projection_bias);
        let norm = &weights.projection_norm;
        let epsilon = weights.epsilon;
        layer_norm(pool, &space.projected, &norm.weight, Some(&norm.bias), epsilon, &mut space.normal);
        let values = space.embedded.chunks_exact(WIDTH).zip(space.normal.chunks_exact(BRANCHES));
        for ((_, row), (embedded, normal)) in tokens.iter_mut().zip(values) {
            copy(embedded, row.get_mut(..WIDTH));
            copy(normal, row.get_mut(WIDTH..WIDTH + BRANCHES));
        }
        for (index, branch) in weights.branches.iter().enumerate() {
            let width = branch.window.size * BRANCH;
            sized(&mut space.hidden, rows * BRANCH);
            for (normal, hidden) in space.normal.chunks_exact(BRANCHES).zip(space.hidden.chunks_exact_mut(BRANCH)) {
                copy(normal.get(index * BRANCH..(index + 1) * BRANCH).unwrap_or_default(), Some(hidden));
            }
            sized(&mut space.contributions, rows * width);
            product(pool, &space.hidden, BRANCH, &branch.first.matrix, &mut space.contributions, width);
            let start = cache::contributions_start(index);
            for ((_, row), from) in tokens.iter_mut().zip(space.contributions.chunks_exact(width)) {
                copy(from, row.get_mut(start..start + width));
            }
        }
    }

    /// The sum of features over each segment, `[segments, FEATURES]`. The cache has the rows of all tokens that the
    /// segments' [reaches](Segment::with_reach) have.
    pub(crate) fn sum(
        &self,
        pool: &ThreadPool,
        segments: &[Segment],
        tokens: &[u32],
        cache: &Cache,
        space: &mut Workspace,
        out: &mut Vec<f32>,
    ) {
        let isa = Isa::detect();
        let weights = &self.weights;
        let count: usize = segments.iter().map(|segment| segment.tokens.len()).sum();
        // The second convolution looks at tokens beside the segment, too.
        let reached: usize = segments.iter().map(|segment| segment.with_reach(REACH).len()).sum();
        sized(&mut space.features, count * BRANCHES);
        for (index, branch) in weights.branches.iter().enumerate() {
            let window = branch.window;
            sized(&mut space.hidden, reached * BRANCH);
            let mut hidden = space.hidden.chunks_exact_mut(BRANCH);
            for segment in segments {
                let start = cache::contributions_start(index);
                for (at, out) in segment.with_reach(REACH).zip(hidden.by_ref()) {
                    let row = |at: usize| cache.row(tokens.get(at).copied().unwrap_or_default());
                    let contribution = |at: usize, position: usize| {
                        row(at).get(start + position * BRANCH..start + (position + 1) * BRANCH).unwrap_or_default()
                    };
                    let residual = cache::projection(row(at), index);
                    convolve(isa, window, segment, at, contribution, &branch.first.bias, residual, out);
                }
            }
            let mut tiles = Vec::with_capacity(count.div_ceil(TILE) + segments.len());
            let (mut first, mut result) = (0, 0);
            for segment in segments {
                let reach = segment.with_reach(REACH);
                let before = segment.tokens.start - reach.start;
                for start in (0..segment.tokens.len()).step_by(TILE) {
                    let row = |place: isize| {
                        let at = (before + start).checked_add_signed(place).filter(|at| *at < reach.len())?;
                        Some(first + at)
                    };
                    let count = TILE.min(segment.tokens.len() - start);
                    tiles.push(Tile::new(window, result + start, count, row));
                }
                first += reach.len();
                result += segment.tokens.len();
            }
            let place = |result: usize| {
                let start = result * BRANCHES + index * BRANCH;
                start..start + BRANCH
            };
            let (hidden, features) = (&space.hidden, &mut space.features);
            branch.second.apply(pool, hidden, &tiles, &mut space.second, place, features);
        }
        out.clear();
        out.resize(segments.len() * FEATURES, 0.0);
        let mut features = space.features.chunks_exact(BRANCHES);
        for (segment, sum) in segments.iter().zip(out.chunks_exact_mut(FEATURES)) {
            let ids = tokens.get(segment.tokens.clone()).unwrap_or_default();
            for (&token, features) in ids.iter().zip(features.by_ref()) {
                add_standardized(isa, [cache::embedding(cache.row(token)), features], weights.epsilon, sum);
            }
            // Weight and bias are the same for each token.
            let count = ids.len() as f32;
            for ((sum, weight), bias) in sum.iter_mut().zip(&weights.norm.weight).zip(&weights.norm.bias) {
                *sum = *sum * weight + count * bias;
            }
        }
    }

    /// The embeddings of texts, from the sums of their features `[texts, FEATURES]` and their numbers of tokens.
    pub(crate) fn head(&self, pool: &ThreadPool, sums: &mut Vec<f32>, lengths: &[usize]) -> Vec<[f32; WIDTH]> {
        let head = &self.weights.head;
        let rows = lengths.len();
        sums.truncate(rows * FEATURES);
        let buffer = |width: usize| vec![0.0; rows * width];
        let mut mean = buffer(WIDTH);
        product(pool, sums, FEATURES, &head.mean, &mut mean, WIDTH);
        // The mean of the products is the product of the mean, but for a factor: sums are divided by the root of the
        // length, which lets long texts weigh more before the dense layers.
        for (mean, &length) in mean.chunks_exact_mut(WIDTH).zip(lengths) {
            let length = length as f32;
            let factor = length.sqrt().recip();
            mean.iter_mut().zip(&head.mean_bias).for_each(|(mean, bias)| *mean = (*mean + length * bias) * factor);
        }
        let (mut first, mut second, mut residual) = (buffer(NARROW), buffer(NARROW), buffer(NARROW));
        product(pool, &mean, WIDTH, &head.first, &mut first, NARROW);
        product(pool, &mean, WIDTH, &head.first_residual, &mut residual, NARROW);
        relu(&mut first);
        product(pool, &first, NARROW, &head.second, &mut second, NARROW);
        add_scaled(pool, &mut second, &residual, 1.0);
        relu(&mut second);
        let (mut third, mut residual, mut last) = (buffer(WIDTH), buffer(WIDTH), buffer(WIDTH));
        product(pool, &second, NARROW, &head.third, &mut third, WIDTH);
        product(pool, &second, NARROW, &head.third_residual, &mut residual, WIDTH);
        relu(&mut third);
        product(pool, &third, WIDTH, &head.last, &mut last, WIDTH);
        add_scaled(pool, &mut last, &residual, 1.0);
        tanh(Isa::detect(), &mut last);
        last.as_chunks::<WIDTH>().0.iter().take(lengths.len()).map(|vector| self.unit(vector)).collect()
    }

    /// The vector at length one.
    fn unit(&self, vector: &[f32; WIDTH]) -> [f32; WIDTH] {
        let square: f32 = vector.iter().map(|x| x * x).sum();
        let factor = square.max(self.weights.epsilon).sqrt().recip();
        vector.map(|x| x * factor)
    }
}

/// One token's result of a convolution: what the tokens in its window contribute; beyond the text there is nothing.
#[inline(always)]
fn convolve<'a>(
    isa: Isa,
    window: Window,
    segment: &Segment,
    at: usize,
    contribution: impl Fn(usize, usize) -> &'a [f32],
    bias: &[f32],
    residual: &[f32],
    out: &mut [f32],
) {
    let mut terms: [(f32, &[f32]); 2 * REACH + 1] = [(1.0, &[]); 2 * REACH + 1];
    let mut count = 0;
    for position in 0..window.size {
        let neighbour = (at + position).checked_sub(window.left).filter(|at| segment.text.contains(at));
        if let (Some(neighbour), Some((_, row))) = (neighbour, terms.get_mut(count)) {
            *row = contribution(neighbour, position);
            count += 1;
        }
    }
    gather(isa, terms.get(..count).unwrap_or_default(), bias, residual, out);
}

/// Makes a buffer this long. Old numbers stay: all are overwritten.
fn sized(buffer: &mut Vec<f32>, length: usize) {
    buffer.resize(length, 0.0);
}

fn copy(from: &[f32], to: Option<&mut [f32]>) {
    if let Some(to) = to
        && to.len() == from.len()
    {
        to.copy_from_slice(from);
    }
}
