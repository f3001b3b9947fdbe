//! Causal attention within documents, forward and backward, without a matrix of all scores.
//!
//! Queries are taken in blocks. A block's scores are a product of floats like any other, turned into weights row by row;
//! what is kept for the backward pass is one number for each query and head, the logarithm of its sum, from which the
//! weights come again (Dao 2023, arXiv 2307.08691). Memory is a block's scores for each thread. Documents lie one after
//! the other in the same buffers and do not see each other.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ThreadPool;
use crate::attention::AttentionShape;
use crate::gemm::{Factor, Output, Place, Precision, Size, gemm_alone_at};
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd, math};

/// Queries in a block.
const BLOCK: usize = 128;

/// Queries `[tokens, heads * head_dim]`, keys and values `[tokens, kv_heads * head_dim]`, or their gradients.
#[derive(Debug)]
pub struct Projections<T> {
    /// Of the queries.
    pub query: T,
    /// Of the keys.
    pub key: T,
    /// Of the values.
    pub value: T,
}

thread_local! {
    /// A block's weights, and their gradients.
    static SCORES: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// A block of queries of one head, and the keys that they see.
struct Block {
    head: usize,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// The blocks of a document, for one head.
    fn of(document: &Range<usize>, head: usize, window: Option<usize>) -> impl Iterator<Item = Self> {
        let document = document.clone();
        document.clone().step_by(BLOCK).map(move |start| {
            let queries = start..document.end.min(start + BLOCK);
            let first = window.map_or(document.start, |window| (start + 1).saturating_sub(window).max(document.start));
            Self { head, keys: first..queries.end, queries }
        })
    }

    /// Of the row's scores, those that the query sees.
    fn seen(&self, row: usize, window: Option<usize>) -> Range<usize> {
        let query = self.queries.start + row;
        let first = window.map_or(self.keys.start, |window| (query + 1).saturating_sub(window).max(self.keys.start));
        first - self.keys.start..query + 1 - self.keys.start
    }

    fn len(&self) -> usize {
        self.queries.len() * self.keys.len()
    }

    /// The rows of this block's head in `[tokens, heads * head_dim]`, and where they begin.
    fn queries_of<'a>(&self, values: &'a [f32], shape: &AttentionShape) -> Lines<'a> {
        let stride = shape.heads * shape.head_dim;
        Lines { values: &values[self.queries.start * stride + self.head * shape.head_dim..], stride }
    }

    /// The rows of the head's keys or values in `[tokens, kv_heads * head_dim]`.
    fn keys_of<'a>(&self, values: &'a [f32], shape: &AttentionShape) -> Lines<'a> {
        let stride = shape.kv_heads * shape.head_dim;
        let head = self.head / (shape.heads / shape.kv_heads);
        Lines { values: &values[self.keys.start * stride + head * shape.head_dim..], stride }
    }
}

/// Rows of one head.
#[derive(Clone, Copy)]
struct Lines<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Lines<'a> {
    fn lines(self) -> Factor<'a> {
        Factor::lines(self.values, self.stride)
    }

    fn across(self) -> Factor<'a> {
        Factor::across(self.values, self.stride)
    }
}

fn check(shape: &AttentionShape, documents: &[Range<usize>], tokens: usize, inputs: &Projections<&[f32]>) {
    let (wide, narrow) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    assert!(shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads), "whole groups of heads");
    assert!(inputs.query.len() == tokens * wide, "queries of all tokens");
    assert!(inputs.key.len() == tokens * narrow && inputs.value.len() == tokens * narrow, "keys and values of all");
    let mut end = 0;
    for document in documents {
        assert!(document.start >= end && document.end <= tokens, "documents in order, within the tokens");
        end = document.end;
    }
}

/// Attention of the tokens of each document to those before them and themselves, `[tokens, heads * head_dim]`. Writes
/// the logarithm of each sum of weights to `log_sums`, `[tokens, heads]`, for the backward pass. What lies between
/// documents is not touched.
///
/// # Panics
/// If the lengths do not agree.
pub fn attention(
    pool: &ThreadPool,
    shape: &AttentionShape,
    documents: &[Range<usize>],
    inputs: &Projections<&[f32]>,
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let tokens = log_sums.len() / shape.heads;
    check(shape, documents, tokens, inputs);
    let width = shape.heads * shape.head_dim;
    assert!(out.len() == tokens * width, "a result for each query");
    let isa = Isa::detect();
    let blocks: Vec<Block> = documents
        .iter()
        .flat_map(|document| (0..shape.heads).flat_map(move |head| Block::of(document, head, shape.window)))
        .collect();
    let (out, log_sums) = (SharedSlice::new(out), SharedSlice::new(log_sums));
    share(pool, &blocks, |block| {
        SCORES.with_borrow_mut(|(scores, _)| {
            weights(
                isa,
                shape,
                block,
                inputs,
                scores,
                |row, log_sum| {
                    let at = (block.queries.start + row) * shape.heads + block.head;
                    // SAFETY: each query and head is in one block.
                    unsafe { log_sums.range(at..at + 1) }.fill(log_sum);
                },
                None,
            );
            let size = Size { m: block.queries.len(), n: shape.head_dim, k: block.keys.len() };
            let values = block.keys_of(inputs.value, shape);
            // SAFETY: within the buffer, whose length was checked; each query and head is in one block.
            unsafe {
                let start = out.start().add(block.queries.start * width + block.head * shape.head_dim);
                let place = Place { start, stride: width };
                gemm_alone_at(
                    Precision::F32,
                    size,
                    Factor::lines(scores, block.keys.len()),
                    values.across(),
                    place,
                    Output::Replace,
                );
            }
        });
    });
}

/// Gradients of [`attention`] from that of its result: writes those of queries, keys and values.
///
/// # Panics
/// If the lengths do not agree.
pub fn attention_backward(
    pool: &ThreadPool,
    shape: &AttentionShape,
    documents: &[Range<usize>],
    inputs: &Projections<&[f32]>,
    (out, log_sums): (&[f32], &[f32]),
    dout: &[f32],
    gradients: Projections<&mut [f32]>,
) {
    let tokens = log_sums.len() / shape.heads;
    check(shape, documents, tokens, inputs);
    let (width, narrow, depth) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.head_dim);
    assert!(out.len() == tokens * width && dout.len() == out.len(), "a result and its gradient for each query");
    let Projections { query, key, value } = gradients;
    assert!(query.len() == out.len() && key.len() == tokens * narrow && value.len() == key.len(), "gradients of all");
    let isa = Isa::detect();
    let group = shape.heads / shape.kv_heads;
    // A key's gradient is a sum over queries and heads, so a thread takes all heads of a group.
    let jobs: Vec<(&Range<usize>, usize)> =
        documents.iter().flat_map(|document| (0..shape.kv_heads).map(move |head| (document, head))).collect();
    let (query, key, value) = (SharedSlice::new(query), SharedSlice::new(key), SharedSlice::new(value));
    share(pool, &jobs, |&(document, kv_head)| {
        for token in document.clone() {
            let at = token * narrow + kv_head * depth;
            // SAFETY: each document and key head is one job's.
            unsafe {
                key.range(at..at + depth).fill(0.0);
                value.range(at..at + depth).fill(0.0);
            }
        }
        for head in kv_head * group..(kv_head + 1) * group {
            for block in Block::of(document, head, shape.window) {
                SCORES.with_borrow_mut(|(scores, slopes)| {
                    let (rows, keys) = (block.queries.len(), block.keys.len());
                    let log_sum = |row: usize| log_sums[(block.queries.start + row) * shape.heads + head];
                    slopes.resize(slopes.len().max(block.len()), 0.0);
                    let (dout, out) = (block.queries_of(dout, shape), block.queries_of(out, shape));
                    // SAFETY: the gradients were checked, and these rows are this job's; slopes are this thread's.
                    unsafe {
                        let place = Place { start: slopes.as_mut_ptr(), stride: keys };
                        let size = Size { m: rows, n: keys, k: depth };
                        let values = block.keys_of(inputs.value, shape);
                        gemm_alone_at(Precision::F32, size, dout.lines(), values.lines(), place, Output::Replace);
                        let along = |row: usize| {
                            let at = row * width;
                            super::sum2(&dout.values[at..at + depth], &out.values[at..at + depth], |a, b| a * b)
                        };
                        weights(isa, shape, &block, inputs, scores, |_, _| {}, Some((&log_sum, &along, slopes)));
                        let at = |narrow_start: *mut f32| Place {
                            start: narrow_start.add(block.keys.start * narrow + kv_head * depth),
                            stride: narrow,
                        };
                        let size = Size { m: keys, n: depth, k: rows };
                        let (weights, slopes) = (&scores[..], &slopes[..]);
                        let across = |values| Factor::across(values, keys);
                        gemm_alone_at(
                            Precision::F32,
                            size,
                            across(weights),
                            dout.across(),
                            at(value.start()),
                            Output::Add,
                        );
                        let queries = block.queries_of(inputs.query, shape);
                        gemm_alone_at(
                            Precision::F32,
                            size,
                            across(slopes),
                            queries.across(),
                            at(key.start()),
                            Output::Add,
                        );
                        let start = query.start().add(block.queries.start * width + head * depth);
                        let size = Size { m: rows, n: depth, k: keys };
                        let keys_lines = block.keys_of(inputs.key, shape).across();
                        let place = Place { start, stride: width };
                        gemm_alone_at(
                            Precision::F32,
                            size,
                            Factor::lines(slopes, keys),
                            keys_lines,
                            place,
                            Output::Replace,
                        );
                    }
                });
            }
        }
    });
}

/// Calls `work` for every job; a thread takes the next one when it is done with the last.
fn share<T: Sync>(pool: &ThreadPool, jobs: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    pool.run(|_| {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(job);
        }
    });
}

/// The logarithm of each row's sum, the sum of gradient times result, and the gradients of weights, which become those
/// of scores.
type Known<'a> = (&'a dyn Fn(usize) -> f32, &'a dyn Fn(usize) -> f32, &'a mut [f32]);

/// Writes a block's weights to `scores`, zeros where a key is not seen. Where sums are known already, also turns the
/// gradients of weights into those of products of queries and keys.
fn weights(
    isa: Isa,
    shape: &AttentionShape,
    block: &Block,
    inputs: &Projections<&[f32]>,
    scores: &mut Vec<f32>,
    mut put: impl FnMut(usize, f32),
    known: Option<Known<'_>>,
) {
    let keys = block.keys.len();
    scores.resize(scores.len().max(block.len()), 0.0);
    let size = Size { m: block.queries.len(), n: keys, k: shape.head_dim };
    let (queries, lines) = (block.queries_of(inputs.query, shape), block.keys_of(inputs.key, shape));
    let place = Place { start: scores.as_mut_ptr(), stride: keys };
    // SAFETY: as long as the block, and this thread's.
    unsafe { gemm_alone_at(Precision::F32, size, queries.lines(), lines.lines(), place, Output::Replace) };
    let (scale, cap) = (shape.scale, shape.soft_cap);
    let mut known = known;
    for (row, scores) in scores.chunks_exact_mut(keys).take(size.m).enumerate() {
        let seen = block.seen(row, shape.window);
        scores[..seen.start].fill(0.0);
        scores[seen.end..].fill(0.0);
        let part = &mut scores[seen.clone()];
        match &mut known {
            None => put(row, isa.dispatch(Forward { scores: part, scale, cap })),
            Some((log_sum, along, slopes)) => {
                let slopes = &mut slopes[row * keys..(row + 1) * keys];
                slopes[..seen.start].fill(0.0);
                slopes[seen.end..].fill(0.0);
                let slopes = &mut slopes[seen];
                isa.dispatch(Backward { scores: part, slopes, scale, cap, log_sum: log_sum(row), along: along(row) });
            }
        }
    }
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, x: S::F32, scale: f32, cap: Option<f32>) -> S::F32 {
    let x = simd.mul(x, simd.splat(scale));
    match cap {
        Some(cap) => simd.mul(math::tanh(simd, simd.mul(x, simd.splat(1.0 / cap))), simd.splat(cap)),
        None => x,
    }
}

/// Scores to weights; gives the logarithm of the sum.
struct Forward<'a> {
    scores: &'a mut [f32],
    scale: f32,
    cap: Option<f32>,
}

impl Kernel for Forward<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Self { scores, scale, cap } = self;
        let mut largest = f32::NEG_INFINITY;
        let mut most = simd.splat(f32::NEG_INFINITY);
        for chunk in scores.chunks_mut(S::LANES) {
            let x = scaled(simd, simd.load_slice(chunk), scale, cap);
            simd.store_slice(x, chunk);
            if chunk.len() == S::LANES {
                most = simd.max(most, x);
            } else {
                largest = chunk.iter().copied().fold(largest, f32::max);
            }
        }
        let largest = largest.max(simd.reduce_max(most));
        let shift = simd.splat(largest);
        let (mut sums, mut rest) = (simd.zero(), 0.0);
        for chunk in scores.chunks_mut(S::LANES) {
            let weight = math::exp_non_positive(simd, simd.sub(simd.load_slice(chunk), shift));
            simd.store_slice(weight, chunk);
            if chunk.len() == S::LANES {
                sums = simd.add(sums, weight);
            } else {
                rest = chunk.iter().sum();
            }
        }
        let sum = simd.reduce_sum(sums) + rest;
        let factor = simd.splat(1.0 / sum);
        for chunk in scores.chunks_mut(S::LANES) {
            simd.store_slice(simd.mul(simd.load_slice(chunk), factor), chunk);
        }
        largest + sum.ln()
    }
}

/// Scores to weights, and gradients of weights to those of products of queries and keys.
struct Backward<'a> {
    scores: &'a mut [f32],
    slopes: &'a mut [f32],
    scale: f32,
    cap: Option<f32>,
    log_sum: f32,
    along: f32,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (shift, along, factor) = (simd.splat(self.log_sum), simd.splat(self.along), simd.splat(self.scale));
        for (scores, slopes) in self.scores.chunks_mut(S::LANES).zip(self.slopes.chunks_mut(S::LANES)) {
            let x = scaled(simd, simd.load_slice(scores), self.scale, self.cap);
            let weight = math::exp(simd, simd.sub(x, shift));
            let mut slope = simd.mul(simd.mul(weight, simd.sub(simd.load_slice(slopes), along)), factor);
            if let Some(cap) = self.cap {
                let share = simd.mul(x, simd.splat(1.0 / cap));
                slope = simd.mul(slope, simd.neg_fma(share, share, simd.splat(1.0)));
            }
            simd.store_slice(weight, scores);
            simd.store_slice(slope, slopes);
        }
    }
}
