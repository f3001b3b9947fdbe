//! One query row over the cache: decoding.
//!
//! Bound by reading the cache, so the elements are widened in registers on their way to the multiply-adds, and all
//! query heads that share a key-value head use each element together. Vector lanes are elements of a head. To keep
//! many threads busy with one sequence, its positions are cut into chunks, whose partial results are merged at the
//! end. The cut depends on the position alone (not on threads or on other sequences), so results do not change with
//! them, and there are at most `MAX_CHUNKS`, so the memory for partial results does not grow with the context.

use super::chunks::{Chunks, partial_len};
use super::dots::{KEYS, TILE, dots, weighted_sum};
use super::format::{F16Tile, F32Tile, Format, Q8Tile};
use super::pages::KvPages;
use super::scratch::{padded, take};
use super::{AttentionShape, BLOCK_TOKENS, KvType};
use crate::pool::SharedSlice;
use crate::simd::{Kernel, Simd, math};

const CACHE_LINE: usize = 64;

/// One item of work: a chunk of what one row sees, for the query heads that share one key-value head.
pub(super) struct RowItem<'a> {
    pub(super) shape: &'a AttentionShape,
    pub(super) pages: &'a KvPages,
    pub(super) queries: &'a [f32],
    pub(super) row: usize,
    pub(super) blocks: &'a [u32],
    pub(super) kv_head: usize,
    pub(super) chunks: Chunks,
    pub(super) chunk: usize,
    pub(super) to: Target<'a>,
    /// [`work_len`] elements.
    pub(super) work: &'a mut [f32],
}

/// Elements of the buffers of [`Scratch`].
fn sizes(shape: &AttentionShape, pages: &KvPages) -> [usize; 6] {
    let (group, layout) = (shape.group(), pages.layout());
    let (width, groups) = (layout.width, layout.groups());
    [group * width, group * width, group * TILE, BLOCK_TOKENS * groups, group, group].map(padded)
}

/// Elements of working memory that an item needs.
pub(super) fn work_len(shape: &AttentionShape, pages: &KvPages) -> usize {
    sizes(shape, pages).iter().sum()
}

/// Where the result of a chunk goes.
pub(super) enum Target<'a> {
    /// The only chunk: into the output.
    Out(&'a SharedSlice<'a, f32>),
    /// Into `[kv_heads, chunks, group, partial_len]` from this element on.
    Partial(&'a SharedSlice<'a, f32>, usize),
}

/// Working memory of an item.
struct Scratch {
    /// `[group, width]`, scaled.
    queries: *mut f32,
    /// `[group, width]`: sums of weighted values.
    out: *mut f32,
    /// `[group, TILE]`: scores, then weights.
    weights: *mut f32,
    /// Scales of an opened tile.
    scales: *mut f32,
    /// `[group]`: largest score so far, in powers of two.
    maxima: *mut f32,
    /// `[group]`: sum of weights so far, relative to the largest.
    sums: *mut f32,
}

impl Kernel for RowItem<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut rest = std::mem::take(&mut self.work);
        let parts = sizes(self.shape, self.pages).map(|len| take(&mut rest, len).as_mut_ptr());
        let [queries, out, weights, scales, maxima, sums] = parts;
        let scratch = Scratch { queries, out, weights, scales, maxima, sums };
        // SAFETY: the scratch has the sizes that its fields state.
        unsafe {
            self.pack(simd, &scratch);
            match self.pages.kv_type() {
                KvType::F32 => self.attend::<S, F32Tile>(simd, &scratch),
                KvType::F16 => self.attend::<S, F16Tile>(simd, &scratch),
                KvType::Q8_0 => self.attend::<S, Q8Tile>(simd, &scratch),
            }
            self.unpack(simd, &scratch);
        }
    }
}

impl RowItem<'_> {
    /// Where the first head of the group begins in the batch.
    #[inline(always)]
    fn offset(&self) -> usize {
        (self.row * self.shape.heads + self.kv_head * self.shape.group()) * self.shape.head_dim
    }

    /// Scales the queries, so that `2^score` is the weight of a key (or `cap tanh(score)` its score).
    #[inline(always)]
    unsafe fn pack<S: Simd>(&self, simd: S, scratch: &Scratch) {
        let (head_dim, width) = (self.shape.head_dim, self.pages.layout().width);
        let scale = self.shape.scale * self.shape.soft_cap.map_or(std::f32::consts::LOG2_E, |cap| 1.0 / cap);
        let queries = &self.queries[self.offset()..][..self.shape.group() * head_dim];
        for (head, query) in queries.chunks_exact(head_dim).enumerate() {
            for at in (0..width).step_by(S::LANES) {
                let value = simd.mul(simd.load_slice(&query[at.min(head_dim)..]), simd.splat(scale));
                // SAFETY: row `head` of both buffers.
                unsafe {
                    simd.store(value, scratch.queries.add(head * width + at));
                    simd.store(simd.zero(), scratch.out.add(head * width + at));
                }
            }
            // SAFETY: as many heads as maxima and sums.
            unsafe {
                *scratch.maxima.add(head) = f32::NEG_INFINITY;
                *scratch.sums.add(head) = 0.0;
            }
        }
    }

    #[inline(always)]
    unsafe fn attend<S: Simd, F: Format>(&self, simd: S, scratch: &Scratch) {
        let group = self.shape.group();
        let (start, end) = self.chunks.range(self.chunk);
        let mut first = start / BLOCK_TOKENS * BLOCK_TOKENS;
        while first < end {
            let last = end.min(first + TILE);
            // SAFETY: `group` heads, positions of one tile.
            unsafe {
                self.score::<S, F>(simd, scratch, first, last);
                for head in 0..group {
                    self.weigh(simd, scratch, head, start.max(first) - first, last - first);
                }
                self.sum::<S, F>(simd, scratch, first, start.max(first), last);
            }
            first += TILE;
        }
    }

    /// Opens the tile of the block that holds `position`; gives the address of the next tile too.
    #[inline(always)]
    unsafe fn open<S: Simd, F: Format>(
        &self,
        simd: S,
        tiles: &[u8],
        position: usize,
        scratch: &Scratch,
    ) -> (F, *const u8) {
        let layout = self.pages.layout();
        let index = position / BLOCK_TOKENS;
        let tile = &tiles[layout.tile(self.blocks[index], self.kv_head)..][..layout.tile_bytes()];
        let next = self.blocks.get(index + 1).map_or(0, |&next| layout.tile(next, self.kv_head));
        // SAFETY: a whole tile, and room for its scales.
        (unsafe { F::open(simd, layout, tile.as_ptr(), scratch.scales) }, tiles.as_ptr().wrapping_add(next))
    }

    /// Asks for `rows` rows of the next tile from row `slot` on: the tiles of a head are too short and too far apart
    /// for the processor to foresee.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, next: *const u8, slot: usize, rows: usize) {
        let row = self.pages.layout().tile_bytes() / BLOCK_TOKENS;
        let mut at = slot * row;
        while at < (slot + rows) * row {
            simd.prefetch(next.wrapping_add(at));
            at += CACHE_LINE;
        }
    }

    /// Scores of the positions from `first`, which begins a block, to `last`, and of a few beyond.
    #[inline(always)]
    unsafe fn score<S: Simd, F: Format>(&self, simd: S, scratch: &Scratch, first: usize, last: usize) {
        let (group, width) = (self.shape.group(), self.pages.layout().width);
        for position in (first..last).step_by(BLOCK_TOKENS) {
            // SAFETY: the tile stays open until the next one; whole groups of keys lie within the block.
            unsafe {
                let (tile, next): (F, _) = self.open(simd, self.pages.tiles().0, position, scratch);
                let slots = BLOCK_TOKENS.min(last - position);
                let mut slot = 0;
                while slot < slots {
                    self.prefetch(simd, next, slot, KEYS);
                    let mut head = 0;
                    while head < group {
                        let queries = scratch.queries.add(head * width);
                        let to = scratch.weights.add(head * TILE + position - first + slot);
                        head += match (group - head, S::REGISTERS >= 32) {
                            (1, _) => dots::<S, F, 1>(simd, tile, slot, queries, width, to),
                            (2, _) | (_, false) => dots::<S, F, 2>(simd, tile, slot, queries, width, to),
                            (3, _) => dots::<S, F, 3>(simd, tile, slot, queries, width, to),
                            (4 | 7 | 8, _) => dots::<S, F, 4>(simd, tile, slot, queries, width, to),
                            (5, _) => dots::<S, F, 5>(simd, tile, slot, queries, width, to),
                            _ => dots::<S, F, 6>(simd, tile, slot, queries, width, to),
                        };
                    }
                    slot += KEYS;
                }
            }
        }
    }

    /// Turns the scores `from..to` of a head into weights relative to the running maximum.
    #[inline(always)]
    unsafe fn weigh<S: Simd>(&self, simd: S, scratch: &Scratch, head: usize, from: usize, to: usize) {
        let width = self.pages.layout().width;
        // SAFETY: row `head` of each buffer; `TILE` is a multiple of any number of lanes.
        unsafe {
            let scores = scratch.weights.add(head * TILE);
            for index in (0..from).chain(to..to.next_multiple_of(S::LANES)) {
                *scores.add(index) = f32::NEG_INFINITY;
            }
            let vectors = (0..to).step_by(S::LANES);
            let before = *scratch.maxima.add(head);
            let mut largest = simd.splat(before);
            for at in vectors.clone() {
                let mut score = simd.load(scores.add(at));
                if let Some(cap) = self.shape.soft_cap {
                    // The scores that were set to minus infinity must stay there.
                    let capped = simd.mul(math::tanh(simd, score), simd.splat(cap * std::f32::consts::LOG2_E));
                    score = simd.select(simd.less(score, simd.splat(f32::MIN)), score, capped);
                    simd.store(score, scores.add(at));
                }
                largest = simd.max(score, largest);
            }
            let largest = simd.reduce_max(largest);
            let mut sum = simd.zero();
            for at in vectors {
                let score = simd.sub(simd.load(scores.add(at)), simd.splat(largest));
                let weight = math::exp2_non_positive(simd, score);
                sum = simd.add(sum, weight);
                simd.store(weight, scores.add(at));
            }
            let correction = (before - largest).exp2();
            *scratch.maxima.add(head) = largest;
            *scratch.sums.add(head) = *scratch.sums.add(head) * correction + simd.reduce_sum(sum);
            if correction != 1.0 {
                for at in (0..width).step_by(S::LANES) {
                    let out = scratch.out.add(head * width + at);
                    simd.store(simd.mul(simd.load(out), simd.splat(correction)), out);
                }
            }
        }
    }

    /// Adds the weighted values of the positions `from..last` to the outputs; `first` begins the tile.
    #[inline(always)]
    unsafe fn sum<S: Simd, F: Format>(&self, simd: S, scratch: &Scratch, first: usize, from: usize, last: usize) {
        let group = self.shape.group();
        let mut position = from;
        while position < last {
            let next = last.min((position / BLOCK_TOKENS + 1) * BLOCK_TOKENS);
            // SAFETY: slots of one block, weights of one tile.
            unsafe {
                let (tile, next_tile): (F, _) = self.open(simd, self.pages.tiles().1, position, scratch);
                self.prefetch(simd, next_tile, 0, BLOCK_TOKENS);
                let slots = (position % BLOCK_TOKENS, next - position);
                let mut head = 0;
                while head < group {
                    let weights = scratch.weights.add(head * TILE + position - first);
                    let out = scratch.out.add(head * self.pages.layout().width);
                    head += match (group - head, S::REGISTERS >= 32) {
                        (1, _) => self.sum_heads::<S, F, 1>(simd, tile, slots, weights, out),
                        (2, _) => self.sum_heads::<S, F, 2>(simd, tile, slots, weights, out),
                        (3, _) => self.sum_heads::<S, F, 3>(simd, tile, slots, weights, out),
                        (4 | 7 | 8, _) | (_, false) => self.sum_heads::<S, F, 4>(simd, tile, slots, weights, out),
                        (5, _) => self.sum_heads::<S, F, 5>(simd, tile, slots, weights, out),
                        _ => self.sum_heads::<S, F, 6>(simd, tile, slots, weights, out),
                    };
                }
            }
            position = next;
        }
    }

    /// [`Self::sum`] for `G` heads and `slots` (first and number) of one block; gives `G`.
    #[inline(always)]
    unsafe fn sum_heads<S: Simd, F: Format, const G: usize>(
        &self,
        simd: S,
        tile: F,
        slots: (usize, usize),
        weights: *const f32,
        out: *mut f32,
    ) -> usize {
        let width = self.pages.layout().width;
        let mut at = 0;
        while at < width {
            let left = (width - at) / S::LANES;
            // SAFETY: elements `at..` of the rows, as many vectors as are left at least.
            unsafe {
                at += if left >= 4 && S::REGISTERS >= 32 {
                    weighted_sum::<S, F, G, 4>(simd, tile, slots, weights, out, width, at)
                } else if left >= 2 {
                    weighted_sum::<S, F, G, 2>(simd, tile, slots, weights, out, width, at)
                } else {
                    weighted_sum::<S, F, G, 1>(simd, tile, slots, weights, out, width, at)
                };
            }
        }
        G
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(&self, simd: S, scratch: &Scratch) {
        let (group, head_dim, width) = (self.shape.group(), self.shape.head_dim, self.pages.layout().width);
        match self.to {
            Target::Out(out) => {
                // SAFETY: these heads of this row belong to this item.
                let out = unsafe { out.range(self.offset()..self.offset() + group * head_dim) };
                for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                    // SAFETY: as many heads as sums, row `head` of the outputs.
                    unsafe {
                        let factor = simd.splat(1.0 / *scratch.sums.add(head));
                        for (index, out) in out.chunks_mut(S::LANES).enumerate() {
                            let value = simd.load(scratch.out.add(head * width + index * S::LANES));
                            simd.store_slice(simd.mul(value, factor), out);
                        }
                    }
                }
            }
            Target::Partial(partial, start) => {
                let len = partial_len(width);
                let first = start + (self.kv_head * self.chunks.count() + self.chunk) * group * len;
                // SAFETY: this part belongs to this item.
                let partial = unsafe { partial.range(first..first + group * len) };
                for (head, partial) in partial.chunks_exact_mut(len).enumerate() {
                    // SAFETY: as many heads as sums and maxima, row `head` of the outputs.
                    unsafe {
                        for (index, out) in partial[..width].chunks_exact_mut(S::LANES).enumerate() {
                            simd.store_slice(simd.load(scratch.out.add(head * width + index * S::LANES)), out);
                        }
                        partial[width] = *scratch.sums.add(head);
                        partial[width + 1] = *scratch.maxima.add(head);
                    }
                }
            }
        }
    }
}
