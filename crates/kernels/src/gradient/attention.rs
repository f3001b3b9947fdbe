//! Causal attention within documents, forward and backward, without a matrix of all scores.
//!
//! Queries are taken in blocks. A block's scores are a product of floats like any other, turned into weights row by row;
//! what is kept for the backward pass is one number for each query and head, the logarithm of its sum, from which the
//! weights come again (Dao 2023, arXiv 2307.08691). Memory is a block's scores for each thread. Documents lie one after
//! the other in the same buffers and do not see each other.
//!
//! Where all documents begin alike, that beginning is a document of its own, the first, and stands before each of the
//! others: a block then has keys in two places. The gradients of the beginning's keys and values are sums over all
//! documents, so they are found in a round of their own, in which a thread takes some of these keys and every query.

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
/// Keys of a shared beginning that a thread takes at a time.
const SHARED_KEYS: usize = 32;

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

/// Texts that lie one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    /// Their rows, in order.
    pub rows: &'a [Range<usize>],
    /// Whether the first one stands before each of the others, as if they began with it.
    pub first_is_shared: bool,
}

impl Documents<'_> {
    /// Rows that stand before all documents but the first.
    fn shared(&self) -> Range<usize> {
        self.rows.first().filter(|_| self.first_is_shared).map_or(0..0, Range::clone)
    }

    /// Each document, and what stands before it.
    fn texts(&self) -> impl Iterator<Item = Text> {
        let shared = self.shared();
        let before = move |index| if index == 0 { 0..0 } else { shared.clone() };
        self.rows.iter().enumerate().map(move |(index, rows)| Text { shared: before(index), rows: rows.clone() })
    }
}

/// A document with what stands before it. Its positions are first those of the shared rows and then those of its own.
#[derive(Clone, Debug)]
struct Text {
    shared: Range<usize>,
    rows: Range<usize>,
}

/// A block of queries of one head, and the keys that they see.
struct Block {
    head: usize,
    text: Text,
    /// Rows.
    queries: Range<usize>,
    /// Positions.
    keys: Range<usize>,
}

impl Block {
    /// The blocks of a document, for one head.
    fn of(text: &Text, head: usize, window: Option<usize>) -> impl Iterator<Item = Self> {
        let text = text.clone();
        text.rows.clone().step_by(BLOCK).map(move |start| {
            let queries = start..text.rows.end.min(start + BLOCK);
            let position = |row: usize| text.shared.len() + row - text.rows.start;
            let keys = first_seen(position(start), window)..position(queries.end);
            Self { head, text: text.clone(), queries, keys }
        })
    }

    /// Of the row's scores, those that the query sees.
    fn seen(&self, row: usize, window: Option<usize>) -> Range<usize> {
        let position = self.text.shared.len() + self.queries.start + row - self.text.rows.start;
        let keys = first_seen(position, window).max(self.keys.start)..(position + 1).min(self.keys.end);
        keys.start.min(keys.end) - self.keys.start..keys.end - self.keys.start
    }

    fn len(&self) -> usize {
        self.queries.len() * self.keys.len()
    }

    /// The keys by where they lie: columns of the scores, and rows; first those of the shared ones.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let Self { text: Text { shared, rows }, keys, .. } = self;
        let split = shared.len();
        let both =
            [(true, keys.start.min(split)..keys.end.min(split)), (false, keys.start.max(split)..keys.end.max(split))];
        both.into_iter().filter(|(_, positions)| !positions.is_empty()).map(move |(is_shared, positions)| {
            let row = |position: usize| if is_shared { shared.start + position } else { rows.start + position - split };
            let columns = positions.start - keys.start..positions.end - keys.start;
            Part { columns, rows: row(positions.start)..row(positions.end), is_shared }
        })
    }

    /// The rows of this block's head in `[tokens, heads * head_dim]`, and where they begin.
    fn queries_of<'a>(&self, values: &'a [f32], shape: &AttentionShape) -> Lines<'a> {
        let stride = shape.heads * shape.head_dim;
        Lines { values: &values[self.queries.start * stride + self.head * shape.head_dim..], stride }
    }

    /// The rows of the head's keys or values in `[tokens, kv_heads * head_dim]`.
    fn keys_of<'a>(&self, part: &Part, values: &'a [f32], shape: &AttentionShape) -> Lines<'a> {
        let stride = shape.kv_heads * shape.head_dim;
        let head = self.head / (shape.heads / shape.kv_heads);
        Lines { values: &values[part.rows.start * stride + head * shape.head_dim..], stride }
    }
}

/// Keys of a block that lie one after the other.
struct Part {
    columns: Range<usize>,
    rows: Range<usize>,
    is_shared: bool,
}

/// The first position that a query sees.
fn first_seen(position: usize, window: Option<usize>) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window))
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

fn check(shape: &AttentionShape, documents: &Documents<'_>, tokens: usize, inputs: &Projections<&[f32]>) {
    let (wide, narrow) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    assert!(shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads), "whole groups of heads");
    assert!(inputs.query.len() == tokens * wide, "queries of all tokens");
    assert!(inputs.key.len() == tokens * narrow && inputs.value.len() == tokens * narrow, "keys and values of all");
    let mut end = 0;
    for document in documents.rows {
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
    precision: Precision,
    shape: &AttentionShape,
    documents: &Documents<'_>,
    inputs: &Projections<&[f32]>,
    out: &mut [f32],
    log_sums: &mut [f32],
) {
    let tokens = log_sums.len() / shape.heads;
    check(shape, documents, tokens, inputs);
    let width = shape.heads * shape.head_dim;
    assert!(out.len() == tokens * width, "a result for each query");
    let pass = Pass { isa: Isa::detect(), precision, shape, inputs };
    let texts: Vec<Text> = documents.texts().collect();
    let blocks: Vec<Block> = texts
        .iter()
        .flat_map(|text| (0..shape.heads).flat_map(move |head| Block::of(text, head, shape.window)))
        .collect();
    let (out, log_sums) = (SharedSlice::new(out), SharedSlice::new(log_sums));
    share(pool, &blocks, |block| {
        SCORES.with_borrow_mut(|(scores, _)| {
            let put = |row, log_sum| {
                let at = (block.queries.start + row) * shape.heads + block.head;
                // SAFETY: each query and head is in one block.
                unsafe { log_sums.range(at..at + 1) }.fill(log_sum);
            };
            pass.weights(block, scores, put, None);
            // SAFETY: within the buffer, whose length was checked; each query and head is in one block.
            unsafe {
                let start = out.start().add(block.queries.start * width + block.head * shape.head_dim);
                pass.along_keys(block, scores, inputs.value, Place { start, stride: width });
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
    precision: Precision,
    shape: &AttentionShape,
    documents: &Documents<'_>,
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
    let pass = Pass { isa: Isa::detect(), precision, shape, inputs };
    let known = Known { out, log_sums, dout };
    let group = shape.heads / shape.kv_heads;
    let heads = |kv_head: usize| kv_head * group..(kv_head + 1) * group;
    let (query, key, value) = (SharedSlice::new(query), SharedSlice::new(key), SharedSlice::new(value));
    // A key's gradient is a sum over queries and heads, so a thread takes all heads of a group.
    let texts: Vec<Text> = documents.texts().collect();
    let jobs: Vec<(&Text, usize)> =
        texts.iter().flat_map(|text| (0..shape.kv_heads).map(move |head| (text, head))).collect();
    share(pool, &jobs, |&(text, kv_head)| {
        for token in text.rows.clone() {
            let at = token * narrow + kv_head * depth;
            // SAFETY: each document and key head is one job's.
            unsafe {
                key.range(at..at + depth).fill(0.0);
                value.range(at..at + depth).fill(0.0);
            }
        }
        for block in heads(kv_head).flat_map(|head| Block::of(text, head, shape.window)) {
            // SAFETY: the gradients were checked; these queries are this job's, and so are keys that are not shared.
            unsafe {
                let start = query.start().add(block.queries.start * width + block.head * depth);
                pass.backward(&block, &known, |scores, slopes| {
                    for part in block.parts().filter(|part| !part.is_shared) {
                        pass.along_queries(&block, &part, scores, dout, value.start());
                        pass.along_queries(&block, &part, slopes, inputs.query, key.start());
                    }
                    pass.along_keys(&block, slopes, inputs.key, Place { start, stride: width });
                });
            }
        }
    });
    let shared = documents.shared();
    if shared.is_empty() {
        return;
    }
    let later = &texts[1..];
    let jobs: Vec<(Range<usize>, usize)> = (0..shared.len())
        .step_by(SHARED_KEYS)
        .flat_map(|start| (0..shape.kv_heads).map(move |head| (start, head)))
        .map(|(start, head)| (start..shared.len().min(start + SHARED_KEYS), head))
        .collect();
    share(pool, &jobs, |(keys, kv_head)| {
        for block in
            heads(*kv_head).flat_map(|head| later.iter().flat_map(move |text| Block::of(text, head, shape.window)))
        {
            let keys = keys.start.max(block.keys.start)..keys.end.min(block.keys.end);
            if keys.is_empty() {
                continue;
            }
            let block = Block { keys, ..block };
            // SAFETY: the gradients were checked; these keys of the head are this job's.
            unsafe {
                pass.backward(&block, &known, |scores, slopes| {
                    for part in block.parts() {
                        pass.along_queries(&block, &part, scores, dout, value.start());
                        pass.along_queries(&block, &part, slopes, inputs.query, key.start());
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

/// What all blocks have in common.
struct Pass<'a> {
    isa: Isa,
    precision: Precision,
    shape: &'a AttentionShape,
    inputs: &'a Projections<&'a [f32]>,
}

/// What the forward pass found, and the gradient of its result.
struct Known<'a> {
    out: &'a [f32],
    log_sums: &'a [f32],
    dout: &'a [f32],
}

/// For each row the logarithm of its sum, and the sum of gradient times result; and the gradients of weights, which become
/// those of scores.
type Backwards<'a> = (&'a dyn Fn(usize) -> (f32, f32), &'a mut [f32]);

impl Pass<'_> {
    /// Writes a block's weights to `scores`, zeros where a key is not seen. Where sums are known already, also turns the
    /// gradients of weights into those of products of queries and keys.
    fn weights(
        &self,
        block: &Block,
        scores: &mut Vec<f32>,
        mut put: impl FnMut(usize, f32),
        mut known: Option<Backwards<'_>>,
    ) {
        let Self { isa, shape, inputs, .. } = *self;
        scores.resize(scores.len().max(block.len()), 0.0);
        // SAFETY: as long as the block, and this thread's.
        unsafe { self.across_keys(block, inputs.query, inputs.key, scores.as_mut_ptr()) };
        let (scale, cap, keys) = (shape.scale, shape.soft_cap, block.keys.len());
        for (row, scores) in scores.chunks_exact_mut(keys).take(block.queries.len()).enumerate() {
            let seen = block.seen(row, shape.window);
            scores[..seen.start].fill(0.0);
            scores[seen.end..].fill(0.0);
            let part = &mut scores[seen.clone()];
            match &mut known {
                None => put(row, isa.dispatch(Forward { scores: part, scale, cap })),
                Some((of_row, slopes)) => {
                    let slopes = &mut slopes[row * keys..(row + 1) * keys];
                    slopes[..seen.start].fill(0.0);
                    slopes[seen.end..].fill(0.0);
                    let slopes = &mut slopes[seen];
                    let (log_sum, along) = of_row(row);
                    isa.dispatch(Backward { scores: part, slopes, scale, cap, log_sum, along });
                }
            }
        }
    }

    /// Gives `then` a block's weights and the gradients of its scores.
    fn backward(&self, block: &Block, known: &Known<'_>, then: impl FnOnce(&[f32], &[f32])) {
        let shape = self.shape;
        let (width, depth) = (shape.heads * shape.head_dim, shape.head_dim);
        SCORES.with_borrow_mut(|(scores, slopes)| {
            slopes.resize(slopes.len().max(block.len()), 0.0);
            // SAFETY: as long as the block, and this thread's.
            unsafe { self.across_keys(block, known.dout, self.inputs.value, slopes.as_mut_ptr()) };
            let (dout, out) = (block.queries_of(known.dout, shape), block.queries_of(known.out, shape));
            let of_row = |row: usize| {
                let log_sum = known.log_sums[(block.queries.start + row) * shape.heads + block.head];
                let at = row * width..row * width + depth;
                (log_sum, super::sum2(&dout.values[at.clone()], &out.values[at], |a, b| a * b))
            };
            self.weights(block, scores, |_, _| {}, Some((&of_row, slopes)));
            then(scores, slopes);
        });
    }

    /// Products of rows of the block's queries with its keys: `[queries, keys]`.
    ///
    /// # Safety
    /// `to` must be valid for them.
    unsafe fn across_keys(&self, block: &Block, queries: &[f32], keys: &[f32], to: *mut f32) {
        let stride = block.keys.len();
        let lines = block.queries_of(queries, self.shape).lines();
        for part in block.parts() {
            let size = Size { m: block.queries.len(), n: part.columns.len(), k: self.shape.head_dim };
            let keys = block.keys_of(&part, keys, self.shape).lines();
            // SAFETY: the part's columns are within a row.
            unsafe {
                let place = Place { start: to.add(part.columns.start), stride };
                gemm_alone_at(self.precision, size, lines, keys, place, Output::Replace);
            }
        }
    }

    /// Sums over the block's keys: `numbers`, `[queries, keys]`, times rows of keys.
    ///
    /// # Safety
    /// `place` must be valid for `head_dim` elements of each query.
    unsafe fn along_keys(&self, block: &Block, numbers: &[f32], keys: &[f32], place: Place) {
        let mut output = Output::Replace;
        for part in block.parts() {
            let size = Size { m: block.queries.len(), n: self.shape.head_dim, k: part.columns.len() };
            let numbers = Factor::lines(&numbers[part.columns.start..], block.keys.len());
            let keys = block.keys_of(&part, keys, self.shape).across();
            // SAFETY: the caller's promise.
            unsafe { gemm_alone_at(self.precision, size, numbers, keys, place, output) };
            output = Output::Add;
        }
    }

    /// Adds sums over the block's queries to the rows of a part's keys in `to`: `numbers`, `[queries, keys]`, times rows of
    /// queries.
    ///
    /// # Safety
    /// `to` must be valid for all tokens, and nobody else may touch these rows of the head.
    unsafe fn along_queries(&self, block: &Block, part: &Part, numbers: &[f32], queries: &[f32], to: *mut f32) {
        let shape = self.shape;
        let (narrow, kv_head) = (shape.kv_heads * shape.head_dim, block.head / (shape.heads / shape.kv_heads));
        let size = Size { m: part.columns.len(), n: shape.head_dim, k: block.queries.len() };
        let numbers = Factor::across(&numbers[part.columns.start..], block.keys.len());
        let queries = block.queries_of(queries, shape).across();
        // SAFETY: the caller's promise.
        unsafe {
            let place = Place { start: to.add(part.rows.start * narrow + kv_head * shape.head_dim), stride: narrow };
            gemm_alone_at(self.precision, size, numbers, queries, place, Output::Add);
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
