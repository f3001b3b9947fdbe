//! Causal attention within documents, forward and backward, without a matrix of all scores.
//!
//! Queries are taken in blocks, those of all heads that share keys together. A block's scores are a product of floats like
//! any other, turned into weights row by row;
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

/// Lines in a block: queries times heads that share keys.
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

/// What a thread works in.
#[derive(Default)]
struct Room {
    /// A block's weights, and their gradients.
    scores: Vec<f32>,
    slopes: Vec<f32>,
    /// Its lines of queries and of the result's gradient, and what is computed of them, where heads lie apart.
    query: Vec<f32>,
    dout: Vec<f32>,
    result: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
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
    /// Each document's rows, and the position of the first one.
    pub fn positions(&self) -> impl Iterator<Item = (&Range<usize>, usize)> {
        let shared = self.shared().len();
        self.rows.iter().enumerate().map(move |(index, rows)| (rows, if index == 0 { 0 } else { shared }))
    }

    /// Rows that stand before all documents but the first.
    fn shared(&self) -> Range<usize> {
        self.rows.first().filter(|_| self.first_is_shared).map_or(0..0, Range::clone)
    }

    /// Each document, and what stands before it.
    fn texts(&self) -> impl Iterator<Item = Text> {
        let start = self.shared().start;
        self.positions().map(move |(rows, first)| Text { shared: start..start + first, rows: rows.clone() })
    }
}

/// A document with what stands before it. Its positions are first those of the shared rows and then those of its own.
#[derive(Clone, Debug)]
struct Text {
    shared: Range<usize>,
    rows: Range<usize>,
}

/// A block of queries of the heads that share keys, and the keys that they see. A line of it is a query of one head: all
/// heads of the first query, then those of the next.
struct Block<'a> {
    kv_head: usize,
    /// What the queries are of: more than one text only where all keys are shared ones.
    texts: &'a [Text],
    /// Rows.
    queries: Range<usize>,
    /// Positions.
    keys: Range<usize>,
}

impl<'a> Block<'a> {
    /// The blocks of texts that lie one after the other.
    fn of(texts: &'a [Text], kv_head: usize, shape: &AttentionShape) -> impl Iterator<Item = Self> {
        let rows = texts.first().map_or(0, |text| text.rows.start)..texts.last().map_or(0, |text| text.rows.end);
        let (step, window) = ((BLOCK / group(shape)).max(1), shape.window);
        rows.clone().step_by(step).map(move |start| {
            let queries = start..rows.end.min(start + step);
            let mut block = Self { kv_head, texts, queries: queries.clone(), keys: 0..0 };
            let positions = || queries.clone().map(|row| block.position(row));
            let first = positions().map(|position| first_seen(position, window)).min().unwrap_or(0);
            block.keys = first..positions().max().map_or(0, |position| position + 1);
            block
        })
    }

    /// Where a row stands in its text.
    fn position(&self, row: usize) -> usize {
        let text = &self.texts[self.texts.partition_point(|text| text.rows.end <= row)];
        text.shared.len() + row - text.rows.start
    }

    /// Of the scores of a query, those of keys that it sees.
    fn seen(&self, row: usize, window: Option<usize>) -> Range<usize> {
        let position = self.position(row);
        let keys = first_seen(position, window).max(self.keys.start)..(position + 1).min(self.keys.end);
        keys.start.min(keys.end) - self.keys.start..keys.end - self.keys.start
    }

    /// The keys by where they lie: columns of the scores, and rows; first those of the shared ones.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let Self { texts, keys, .. } = self;
        let Text { shared, rows } = &texts[0];
        let split = shared.len();
        debug_assert!(texts.len() == 1 || keys.end <= split, "keys of one text");
        let both =
            [(true, keys.start.min(split)..keys.end.min(split)), (false, keys.start.max(split)..keys.end.max(split))];
        both.into_iter().filter(|(_, positions)| !positions.is_empty()).map(move |(is_shared, positions)| {
            let row = |position: usize| if is_shared { shared.start + position } else { rows.start + position - split };
            let columns = positions.start - keys.start..positions.end - keys.start;
            Part { columns, rows: row(positions.start)..row(positions.end), is_shared }
        })
    }

    /// The rows of the head's keys or values in `[tokens, kv_heads * head_dim]`.
    fn keys_of<'b>(&self, part: &Part, values: &'b [f32], shape: &AttentionShape) -> Lines<'b> {
        let stride = shape.kv_heads * shape.head_dim;
        Lines { values: &values[part.rows.start * stride + self.kv_head * shape.head_dim..], stride }
    }
}

/// Heads that share keys.
fn group(shape: &AttentionShape) -> usize {
    shape.heads / shape.kv_heads
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

/// Vectors of `head_dim` numbers.
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
    let blocks: Vec<Block<'_>> = texts
        .chunks(1)
        .flat_map(|text| (0..shape.kv_heads).flat_map(move |kv_head| Block::of(text, kv_head, shape)))
        .collect();
    let (out, log_sums) = (SharedSlice::new(out), SharedSlice::new(log_sums));
    share(pool, &blocks, |block| {
        ROOM.with_borrow_mut(|Room { scores, query, result, .. }| {
            let put = |row, head, log_sum| {
                let at = row * shape.heads + head;
                // SAFETY: each query and head is in one block.
                unsafe { log_sums.range(at..at + 1) }.fill(log_sum);
            };
            let query = pass.lines_of(block, inputs.query, query);
            pass.weights(block, query, scores, put, None);
            // SAFETY: the buffer's length was checked; each query and head is in one block.
            unsafe { pass.along_keys(block, scores, inputs.value, out.start(), result) };
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
    let (query, key, value) = (SharedSlice::new(query), SharedSlice::new(key), SharedSlice::new(value));
    // A key's gradient is a sum over queries, so a thread takes all of them.
    let texts: Vec<Text> = documents.texts().collect();
    let jobs: Vec<(&[Text], usize)> =
        texts.chunks(1).flat_map(|text| (0..shape.kv_heads).map(move |head| (text, head))).collect();
    share(pool, &jobs, |&(text, kv_head)| {
        for token in text[0].rows.clone() {
            let at = token * narrow + kv_head * depth;
            // SAFETY: each document and key head is one job's.
            unsafe {
                key.range(at..at + depth).fill(0.0);
                value.range(at..at + depth).fill(0.0);
            }
        }
        for block in Block::of(text, kv_head, shape) {
            // SAFETY: the gradients were checked; these queries are this job's, and so are keys that are not shared.
            unsafe {
                pass.backward(&block, &known, |lines, scores, slopes, result| {
                    for part in block.parts().filter(|part| !part.is_shared) {
                        pass.along_queries(&block, &part, scores, lines.dout, value.start());
                        pass.along_queries(&block, &part, slopes, lines.query, key.start());
                    }
                    pass.along_keys(&block, slopes, inputs.key, query.start(), result);
                });
            }
        }
    });
    let shared = documents.shared();
    if shared.is_empty() {
        return;
    }
    // Every query of the other texts, as many at a time as lie one after the other.
    let runs = || texts[1..].chunk_by(|text, next| text.rows.end == next.rows.start);
    let jobs: Vec<(Range<usize>, usize)> = (0..shared.len())
        .step_by(SHARED_KEYS)
        .flat_map(|start| (0..shape.kv_heads).map(move |head| (start, head)))
        .map(|(start, head)| (start..shared.len().min(start + SHARED_KEYS), head))
        .collect();
    share(pool, &jobs, |(keys, kv_head)| {
        for block in runs().flat_map(|texts| Block::of(texts, *kv_head, shape)) {
            let keys = keys.start.max(block.keys.start)..keys.end.min(block.keys.end);
            if keys.is_empty() {
                continue;
            }
            let block = Block { keys, ..block };
            // SAFETY: the gradients were checked; these keys of the head are this job's.
            unsafe {
                pass.backward(&block, &known, |lines, scores, slopes, _| {
                    for part in block.parts() {
                        pass.along_queries(&block, &part, scores, lines.dout, value.start());
                        pass.along_queries(&block, &part, slopes, lines.query, key.start());
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

/// For a row and a head the logarithm of the sum, and the sum of gradient times result; and the gradients of weights, which
/// become those of scores.
type Backwards<'a> = (&'a dyn Fn(usize, usize) -> (f32, f32), &'a mut [f32]);

/// A block's lines of queries, and of the gradient of the result.
struct BlockLines<'a> {
    query: Lines<'a>,
    dout: Lines<'a>,
}

impl Pass<'_> {
    /// From one line of a block to the next in `[tokens, heads * head_dim]`, if that is always the same.
    fn line_stride(&self) -> Option<usize> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        match (group(self.shape), kv_heads) {
            (1, _) => Some(heads * head_dim),
            (_, 1) => Some(head_dim),
            _ => None,
        }
    }

    /// Where a query's lines begin in `[tokens, heads * head_dim]`, and how many numbers they are.
    fn line(&self, block: &Block<'_>, row: usize) -> Range<usize> {
        let AttentionShape { heads, head_dim, .. } = *self.shape;
        let len = group(self.shape) * head_dim;
        let start = row * heads * head_dim + block.kv_head * len;
        start..start + len
    }

    /// A block's lines of `[tokens, heads * head_dim]`, one after the other in `room` where they lie apart.
    fn lines_of<'a>(&self, block: &Block<'_>, values: &'a [f32], room: &'a mut Vec<f32>) -> Lines<'a> {
        if let Some(stride) = self.line_stride() {
            return Lines { values: &values[self.line(block, block.queries.start).start..], stride };
        }
        room.clear();
        block.queries.clone().for_each(|row| room.extend_from_slice(&values[self.line(block, row)]));
        Lines { values: room, stride: self.shape.head_dim }
    }

    /// Lines of a block.
    fn lines(&self, block: &Block<'_>) -> usize {
        block.queries.len() * group(self.shape)
    }

    /// Writes a block's weights to `scores`, zeros where a key is not seen. Where sums are known already, also turns the
    /// gradients of weights into those of products of queries and keys.
    fn weights(
        &self,
        block: &Block<'_>,
        query: Lines<'_>,
        scores: &mut Vec<f32>,
        mut put: impl FnMut(usize, usize, f32),
        mut known: Option<Backwards<'_>>,
    ) {
        let Self { isa, shape, inputs, .. } = *self;
        let (scale, cap, keys, group) = (shape.scale, shape.soft_cap, block.keys.len(), group(shape));
        scores.resize(scores.len().max(self.lines(block) * keys), 0.0);
        // SAFETY: as long as the block, and this thread's.
        unsafe { self.across_keys(block, query, inputs.key, scores.as_mut_ptr()) };
        for (row, scores) in block.queries.clone().zip(scores.chunks_mut(group * keys)) {
            let seen = block.seen(row, shape.window);
            for (head, scores) in scores.chunks_exact_mut(keys).enumerate() {
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                let part = &mut scores[seen.clone()];
                let of_all = block.kv_head * group + head;
                match &mut known {
                    None => put(row, of_all, isa.dispatch(Forward { scores: part, scale, cap })),
                    Some((known, slopes)) => {
                        let line = (row - block.queries.start) * group + head;
                        let slopes = &mut slopes[line * keys..(line + 1) * keys];
                        slopes[..seen.start].fill(0.0);
                        slopes[seen.end..].fill(0.0);
                        let slopes = &mut slopes[seen.clone()];
                        let (log_sum, along) = known(row, of_all);
                        isa.dispatch(Backward { scores: part, slopes, scale, cap, log_sum, along });
                    }
                }
            }
        }
    }

    /// Gives `then` a block's lines, its weights and the gradients of its scores, and room for a result.
    fn backward(
        &self,
        block: &Block<'_>,
        known: &Known<'_>,
        then: impl FnOnce(BlockLines<'_>, &[f32], &[f32], &mut Vec<f32>),
    ) {
        let AttentionShape { heads, head_dim, .. } = *self.shape;
        ROOM.with_borrow_mut(|Room { scores, slopes, query, dout, result }| {
            let query = self.lines_of(block, self.inputs.query, query);
            let dout = self.lines_of(block, known.dout, dout);
            slopes.resize(slopes.len().max(self.lines(block) * block.keys.len()), 0.0);
            // SAFETY: as long as the block, and this thread's.
            unsafe { self.across_keys(block, dout, self.inputs.value, slopes.as_mut_ptr()) };
            let of_row = |row: usize, head: usize| {
                let at = (row * heads + head) * head_dim..(row * heads + head + 1) * head_dim;
                let along = super::sum2(&known.dout[at.clone()], &known.out[at], |a, b| a * b);
                (known.log_sums[row * heads + head], along)
            };
            self.weights(block, query, scores, |_, _, _| {}, Some((&of_row, slopes)));
            then(BlockLines { query, dout }, scores, slopes, result);
        });
    }

    /// Products of a block's lines with its keys: `[lines, keys]`.
    ///
    /// # Safety
    /// `to` must be valid for them.
    unsafe fn across_keys(&self, block: &Block<'_>, lines: Lines<'_>, keys: &[f32], to: *mut f32) {
        let stride = block.keys.len();
        for part in block.parts() {
            let size = Size { m: self.lines(block), n: part.columns.len(), k: self.shape.head_dim };
            let keys = block.keys_of(&part, keys, self.shape).lines();
            // SAFETY: the part's columns are within a row.
            unsafe {
                let place = Place { start: to.add(part.columns.start), stride };
                gemm_alone_at(self.precision, size, lines.lines(), keys, place, Output::Replace);
            }
        }
    }

    /// Writes sums over the block's keys to its lines of `to`, `[tokens, heads * head_dim]`: `numbers`, `[lines, keys]`, times
    /// rows of keys.
    ///
    /// # Safety
    /// `to` must be valid for all tokens, and nobody else may touch these lines.
    unsafe fn along_keys(&self, block: &Block<'_>, numbers: &[f32], keys: &[f32], to: *mut f32, room: &mut Vec<f32>) {
        let (lines, depth) = (self.lines(block), self.shape.head_dim);
        let place = if let Some(stride) = self.line_stride() {
            // SAFETY: the caller's promise.
            Place { start: unsafe { to.add(self.line(block, block.queries.start).start) }, stride }
        } else {
            room.resize(room.len().max(lines * depth), 0.0);
            Place { start: room.as_mut_ptr(), stride: depth }
        };
        let mut output = Output::Replace;
        for part in block.parts() {
            let size = Size { m: lines, n: depth, k: part.columns.len() };
            let numbers = Factor::lines(&numbers[part.columns.start..], block.keys.len());
            let keys = block.keys_of(&part, keys, self.shape).across();
            // SAFETY: the place is valid for the lines.
            unsafe { gemm_alone_at(self.precision, size, numbers, keys, place, output) };
            output = Output::Add;
        }
        if self.line_stride().is_none() {
            for (row, from) in block.queries.clone().zip(room.chunks_exact(group(self.shape) * depth)) {
                // SAFETY: the caller's promise; the room is this thread's.
                unsafe { to.add(self.line(block, row).start).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
            }
        }
    }

    /// Adds sums over the block's lines to the rows of a part's keys in `to`: `numbers`, `[lines, keys]`, times those lines.
    ///
    /// # Safety
    /// `to` must be valid for all tokens, and nobody else may touch these rows of the head.
    unsafe fn along_queries(&self, block: &Block<'_>, part: &Part, numbers: &[f32], lines: Lines<'_>, to: *mut f32) {
        let shape = self.shape;
        let narrow = shape.kv_heads * shape.head_dim;
        let size = Size { m: part.columns.len(), n: shape.head_dim, k: self.lines(block) };
        let numbers = Factor::across(&numbers[part.columns.start..], block.keys.len());
        // SAFETY: the caller's promise.
        unsafe {
            let place =
                Place { start: to.add(part.rows.start * narrow + block.kv_head * shape.head_dim), stride: narrow };
            gemm_alone_at(self.precision, size, numbers, lines.across(), place, Output::Add);
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
