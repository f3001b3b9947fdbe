//! Which items of work a batch makes, and who does them.
//!
//! Threads take items from a common counter, the costly ones first, since causal tiles have unequal cost. What an item
//! computes does not depend on who takes it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::chunks::{Chunks, Merge, partial_len};
use super::rows::{self, RowItem, Target};
use super::scratch::{with_partial, with_work};
use super::tiles::{self, TileItem};
use super::{AttentionShape, KvPages, Span};
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, MAX_LANES};

/// Multiply-adds below which the caller works alone: a few microseconds.
const PARALLEL_WORK: usize = 128 * 1024;

/// Rows that are worked on together at most.
const PLANNED_ROWS: usize = 64;

/// Elements of partial results at most, where a single row does not ask for more: half a mebibyte.
const PARTIAL_ELEMENTS: usize = 128 * 1024;

/// Whether a span is better done row by row: a tile costs the same for one query as for a vector of them.
fn by_rows(shape: &AttentionShape, span: &Span<'_>) -> bool {
    span.rows == 1 || span.rows * shape.group() < MAX_LANES / 2
}

/// [`super::attention`] on checked operands, with spans that share no rows.
pub(super) fn run(
    pool: &ThreadPool,
    isa: Isa,
    shape: &AttentionShape,
    pages: &KvPages,
    queries: &[f32],
    spans: &[Span<'_>],
    out: &mut [f32],
) {
    let pass = Pass { pool, isa, shape, pages, queries, out: &SharedSlice::new(out) };
    pass.tiles(spans);
    pass.rows(spans);
}

/// What all items of a call have in common.
struct Pass<'a> {
    pool: &'a ThreadPool,
    isa: Isa,
    shape: &'a AttentionShape,
    pages: &'a KvPages,
    queries: &'a [f32],
    out: &'a SharedSlice<'a, f32>,
}

impl Pass<'_> {
    /// Runs `item` on `0..items`, on all threads where `work` (multiply-adds) is worth it.
    fn each(&self, items: usize, work: usize, item: impl Fn(usize) + Sync) {
        if items < 2 || work < PARALLEL_WORK {
            return (0..items).for_each(item);
        }
        let next = AtomicUsize::new(0);
        self.pool.run(|_| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= items {
                    break;
                }
                item(index);
            }
        });
    }

    /// Multiply-adds of a span, roughly.
    fn work(&self, span: &Span<'_>) -> usize {
        let seen = span.first_position + span.rows - self.shape.first_visible(span.first_position);
        2 * span.rows * seen * self.shape.heads * self.shape.head_dim
    }

    /// The spans of many rows.
    fn tiles(&self, spans: &[Span<'_>]) {
        let spans = || spans.iter().filter(|span| !by_rows(self.shape, span));
        let items = spans().map(|span| tiles::items(self.shape, span)).sum::<usize>() * self.shape.kv_heads;
        let work = spans().map(|span| self.work(span)).sum();
        self.each(items, work, |item| {
            let (mut index, kv_head) = (item / self.shape.kv_heads, item % self.shape.kv_heads);
            for span in spans() {
                let tiles = tiles::items(self.shape, span);
                if index < tiles {
                    // The last rows see the most.
                    let tile = tiles - 1 - index;
                    let Self { shape, pages, queries, out, .. } = *self;
                    return with_work(tiles::work_len(pages), |work| {
                        self.isa.dispatch(TileItem { shape, pages, queries, out, span: *span, kv_head, tile, work });
                    });
                }
                index -= tiles;
            }
        });
    }

    /// The spans of few rows, as many at a time as the plan and the partial results have room for.
    fn rows(&self, spans: &[Span<'_>]) {
        let few = spans.iter().filter(|span| by_rows(self.shape, span));
        let mut rows = few.flat_map(|span| (0..span.rows).map(move |row| (span, row))).peekable();
        while rows.peek().is_some() {
            let mut plan = Plan::default();
            while let Some((span, row)) = rows.next_if(|(span, row)| plan.has_room(self, span, *row)) {
                plan.push(self, span, row);
            }
            with_partial(plan.partial, |partial| self.planned_rows(&plan, partial));
        }
    }

    fn planned_rows(&self, plan: &Plan<'_>, partial: &mut [f32]) {
        let kv_heads = self.shape.kv_heads;
        let shared = SharedSlice::new(partial);
        self.each(plan.items, plan.work, |item| {
            let Some((row, index)) = plan.find(item, kv_heads) else { return };
            let to = match row.chunks.count() {
                1 => Target::Out(self.out),
                _ => Target::Partial(&shared, row.partial),
            };
            let Self { shape, pages, queries, .. } = *self;
            let (kv_head, chunk) = (index % kv_heads, index / kv_heads);
            let (chunks, blocks, row) = (row.chunks, row.blocks, row.row);
            with_work(rows::work_len(shape, pages), |work| {
                self.isa.dispatch(RowItem { shape, pages, queries, row, blocks, kv_head, chunks, chunk, to, work });
            });
        });

        let partial = &*partial;
        self.each(plan.len * kv_heads, plan.partial, |index| {
            let (row, kv_head) = (&plan.rows[index / kv_heads], index % kv_heads);
            if row.chunks.count() > 1 {
                let (group, head_dim, width) = (self.shape.group(), self.shape.head_dim, self.pages.layout().width);
                let len = row.chunks.count() * group * partial_len(width);
                let partial = &partial[row.partial + kv_head * len..][..len];
                let first = (row.row * kv_heads + kv_head) * group * head_dim;
                // SAFETY: these heads of this row belong to this item.
                let out = unsafe { self.out.range(first..first + group * head_dim) };
                self.isa.dispatch(Merge { partial, width, head_dim, out });
            }
        });
    }
}

/// Rows that are worked on together.
struct Plan<'a> {
    rows: [PlannedRow<'a>; PLANNED_ROWS],
    len: usize,
    /// Items of all rows.
    items: usize,
    /// Elements of partial results of all rows.
    partial: usize,
    /// Multiply-adds of all rows, roughly.
    work: usize,
}

#[derive(Clone, Copy)]
struct PlannedRow<'a> {
    /// Row of the batch.
    row: usize,
    blocks: &'a [u32],
    chunks: Chunks,
    /// Where its partial results begin.
    partial: usize,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        let none = PlannedRow { row: 0, blocks: &[], chunks: Chunks::NONE, partial: 0 };
        Self { rows: [none; PLANNED_ROWS], len: 0, items: 0, partial: 0, work: 0 }
    }
}

impl<'a> Plan<'a> {
    fn partial_len(pass: &Pass<'_>, chunks: &Chunks) -> usize {
        match chunks.count() {
            1 => 0,
            count => pass.shape.heads * count * partial_len(pass.pages.layout().width),
        }
    }

    fn has_room(&self, pass: &Pass<'_>, span: &Span<'_>, row: usize) -> bool {
        let chunks = Chunks::new(pass.shape, span.first_position + row);
        let partial = self.partial + Self::partial_len(pass, &chunks);
        self.len < PLANNED_ROWS && (self.len == 0 || partial <= PARTIAL_ELEMENTS)
    }

    fn push(&mut self, pass: &Pass<'_>, span: &Span<'a>, row: usize) {
        let chunks = Chunks::new(pass.shape, span.first_position + row);
        let (blocks, partial) = (span.blocks, self.partial);
        self.rows[self.len] = PlannedRow { row: span.first_row + row, blocks, chunks, partial };
        self.len += 1;
        self.items += chunks.count() * pass.shape.kv_heads;
        self.partial += Self::partial_len(pass, &chunks);
        self.work += pass.work(span) / span.rows;
    }

    /// The row that an item belongs to, and the item's place in it.
    fn find(&self, mut item: usize, kv_heads: usize) -> Option<(&PlannedRow<'a>, usize)> {
        for row in &self.rows[..self.len] {
            let items = row.chunks.count() * kv_heads;
            if item < items {
                return Some((row, item));
            }
            item -= items;
        }
        None
    }
}
