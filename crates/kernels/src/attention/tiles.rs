//! Many query rows over the cache: prompts.
//!
//! An item of work is one key-value head and up to [`QUERIES`] query vectors of a span that use it (rows and the heads
//! that share it, side by side). Vector lanes are queries: with the queries transposed once per item, `K Q^T` and
//! `V^T P^T` broadcast elements of keys and values as they are stored, and the softmax over keys runs down the lanes,
//! so that nothing is ever transposed or summed across a vector in the loop over the cache. Keys and values are
//! widened to f32 once for all queries of the item; the running maximum, sum and output (an online softmax,
//! <https://arxiv.org/abs/1805.02867>, <https://arxiv.org/abs/2205.14135>) stay in scratch whose size does not depend
//! on the context.

// Iterators over arrays of registers are not always inlined in functions as large as these, and then put the registers
// into memory.
#![allow(clippy::needless_range_loop, reason = "see above")]

use super::format::{F16Tile, F32Tile, Format, Q8Tile};
use super::pages::KvPages;
use super::panel::{VECTORS, mask, panel, product, soft_cap, weigh};
use super::scratch::{padded, take};
use super::{AttentionShape, BLOCK_TOKENS, KvType, Span};
use crate::pool::SharedSlice;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Query vectors of an item, a multiple of every [`panel`].
pub(super) const QUERIES: usize = 96;

/// Positions whose keys and values are widened together.
const KEYS: usize = 2 * BLOCK_TOKENS;

const CACHE_LINE: usize = 64;

/// Stands for minus infinity where a difference of two must not be "not a number".
const LOWEST: f32 = -1e30;

/// Items that a span makes for each key-value head.
pub(super) fn items(shape: &AttentionShape, span: &Span<'_>) -> usize {
    (span.rows * shape.group()).div_ceil(QUERIES)
}

/// One item of work.
pub(super) struct TileItem<'a> {
    pub(super) shape: &'a AttentionShape,
    pub(super) pages: &'a KvPages,
    pub(super) queries: &'a [f32],
    pub(super) out: &'a SharedSlice<'a, f32>,
    pub(super) span: Span<'a>,
    pub(super) kv_head: usize,
    /// Which `QUERIES` of the span's queries for this head.
    pub(super) tile: usize,
    /// [`work_len`] elements.
    pub(super) work: &'a mut [f32],
}

/// Elements of the buffers of [`Scratch`].
fn sizes(pages: &KvPages) -> [usize; 8] {
    let layout = pages.layout();
    let (all, some) = (QUERIES * layout.width, KEYS * layout.width);
    [all, all, KEYS * VECTORS * MAX_LANES, some, some, BLOCK_TOKENS * layout.groups(), QUERIES, QUERIES].map(padded)
}

/// Elements of working memory that an item needs.
pub(super) fn work_len(pages: &KvPages) -> usize {
    sizes(pages).iter().sum()
}

impl Kernel for TileItem<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let sizes = sizes(self.pages);
        let mut rest = std::mem::take(&mut self.work);
        let parts = sizes.map(|len| take(&mut rest, len).as_mut_ptr());
        let [queries, out, weights, keys, values, scales, maxima, sums] = parts;
        let scratch = Scratch { queries, out, weights, keys, values, scales, maxima, sums };
        let lanes = Lanes::new(&self);
        // SAFETY: the scratch has the sizes that its fields state.
        unsafe {
            self.pack(simd, &scratch, &lanes);
            self.attend(simd, &scratch, &lanes);
            self.unpack(simd, &scratch, &lanes);
        }
    }
}

/// Working memory of an item.
struct Scratch {
    /// `[panels, width, panel]`: scaled queries, transposed.
    queries: *mut f32,
    /// `[panels, width, panel]`: sums of weighted values, transposed.
    out: *mut f32,
    /// `[KEYS, panel]`: scores, then weights, transposed.
    weights: *mut f32,
    /// `[KEYS, width]`.
    keys: *mut f32,
    /// `[KEYS, width]`.
    values: *mut f32,
    /// Scales of an opened tile.
    scales: *mut f32,
    /// `[QUERIES]`: largest score so far, in powers of two.
    maxima: *mut f32,
    /// `[QUERIES]`: sum of weights so far, relative to the largest.
    sums: *mut f32,
}

/// Which query each lane is.
struct Lanes {
    /// Lanes in use, from 1 to `QUERIES`; those above repeat the last one.
    count: usize,
    /// Where the query begins in the batch.
    offsets: [usize; QUERIES],
    /// Its position, which is the last that it sees; ascending.
    positions: [i32; QUERIES],
    /// One below the first position that it sees.
    hidden: [i32; QUERIES],
}

impl Lanes {
    fn new(item: &TileItem<'_>) -> Self {
        let (shape, span, group) = (item.shape, &item.span, item.shape.group());
        let first = item.tile * QUERIES;
        let count = QUERIES.min(span.rows * group - first);
        let mut lanes = Self { count, offsets: [0; QUERIES], positions: [0; QUERIES], hidden: [-1; QUERIES] };
        for lane in 0..QUERIES {
            let query = first + lane.min(count - 1);
            let (row, head) = (query / group, item.kv_head * group + query % group);
            let position = span.first_position + row;
            lanes.offsets[lane] = ((span.first_row + row) * shape.heads + head) * shape.head_dim;
            lanes.positions[lane] = position as i32;
            lanes.hidden[lane] = shape.first_visible(position) as i32 - 1;
        }
        lanes
    }
}

impl TileItem<'_> {
    /// Transposes and scales the queries, so that `2^score` is the weight of a key (or `cap tanh(score)` its score).
    #[inline(always)]
    unsafe fn pack<S: Simd>(&self, simd: S, scratch: &Scratch, lanes: &Lanes) {
        let head_dim = self.shape.head_dim;
        let scale = self.shape.scale * self.shape.soft_cap.map_or(std::f32::consts::LOG2_E, |cap| 1.0 / cap);
        for first in (0..lanes.count).step_by(S::LANES) {
            // SAFETY: lanes `first..first + LANES` of their panel.
            let to = unsafe { self.column::<S>(scratch.queries, first) };
            let mut rows = [std::ptr::null(); MAX_LANES];
            for (row, &offset) in rows.iter_mut().zip(&lanes.offsets[first..first + S::LANES]) {
                *row = self.queries[offset..offset + head_dim].as_ptr();
            }
            let whole = head_dim / 4 * 4;
            for element in (0..whole).step_by(4) {
                // Vector `r` has lanes `r, 4 + r, 8 + r, ..`, four elements of each.
                let mut vectors = [simd.zero(); 4];
                for (r, vector) in vectors.iter_mut().enumerate() {
                    let mut from = [std::ptr::null(); 4];
                    for (quad, from) in from.iter_mut().enumerate().take(S::LANES / 4) {
                        // SAFETY: `element + 4 <= head_dim`.
                        *from = unsafe { rows[4 * quad + r].add(element) };
                    }
                    // SAFETY: four elements of the query at each address.
                    *vector = unsafe { simd.load_quads(from) };
                }
                for (r, vector) in simd.transpose4(vectors).into_iter().enumerate() {
                    let vector = simd.mul(vector, simd.splat(scale));
                    // SAFETY: row `element + r` of the panel.
                    unsafe { simd.store(vector, to.add((element + r) * panel::<S>())) };
                }
            }
            for element in whole..head_dim {
                for (lane, row) in rows.iter().enumerate().take(S::LANES) {
                    // SAFETY: `element < head_dim`, on both sides.
                    unsafe { *to.add(element * panel::<S>() + lane) = *row.add(element) * scale };
                }
            }
        }
    }

    /// The first row of the lanes from `lane` on, in a buffer `[panels, width, panel]`.
    #[inline(always)]
    unsafe fn column<S: Simd>(&self, buffer: *mut f32, lane: usize) -> *mut f32 {
        let width = self.pages.layout().width;
        // SAFETY: `lane < QUERIES`, which is a whole number of panels.
        unsafe { buffer.add(lane / panel::<S>() * panel::<S>() * width + lane % panel::<S>()) }
    }

    #[inline(always)]
    unsafe fn attend<S: Simd>(&self, simd: S, scratch: &Scratch, lanes: &Lanes) {
        let width = self.pages.layout().width;
        for at in (0..lanes.count.next_multiple_of(panel::<S>()) * width).step_by(S::LANES) {
            // SAFETY: `out` has `QUERIES * width` elements, and `QUERIES` is a whole number of panels.
            unsafe { simd.store(simd.zero(), scratch.out.add(at)) };
        }
        for at in (0..QUERIES).step_by(S::LANES) {
            // SAFETY: `maxima` and `sums` have `QUERIES` elements.
            unsafe {
                simd.store(simd.splat(LOWEST), scratch.maxima.add(at));
                simd.store(simd.zero(), scratch.sums.add(at));
            }
        }
        let end = lanes.positions[lanes.count - 1] as usize + 1;
        let start = (lanes.hidden[0] + 1) as usize / BLOCK_TOKENS * BLOCK_TOKENS;
        for first_key in (start..end).step_by(KEYS) {
            let count = KEYS.min(end - first_key);
            // SAFETY: `KEYS` rows in each buffer, and `count` is not above.
            unsafe {
                match self.pages.kv_type() {
                    KvType::F32 => self.widen::<S, F32Tile>(simd, scratch, first_key, count),
                    KvType::F16 => self.widen::<S, F16Tile>(simd, scratch, first_key, count),
                    KvType::Q8_0 => self.widen::<S, Q8Tile>(simd, scratch, first_key, count),
                }
            }
            for first_lane in (0..lanes.count).step_by(panel::<S>()) {
                let used = panel::<S>().min(lanes.count - first_lane);
                // SAFETY: lanes of one panel, rows of the widened tile; 32 registers hold the larger block.
                unsafe {
                    match (used.div_ceil(S::LANES), S::REGISTERS >= 32) {
                        (1, true) => self.step::<S, 8, 1>(simd, scratch, lanes, first_lane, first_key, count),
                        (2, true) => self.step::<S, 8, 2>(simd, scratch, lanes, first_lane, first_key, count),
                        (_, true) => self.step::<S, 8, 3>(simd, scratch, lanes, first_lane, first_key, count),
                        (1, false) => self.step::<S, 4, 1>(simd, scratch, lanes, first_lane, first_key, count),
                        (2, false) => self.step::<S, 4, 2>(simd, scratch, lanes, first_lane, first_key, count),
                        (_, false) => self.step::<S, 4, 3>(simd, scratch, lanes, first_lane, first_key, count),
                    }
                }
            }
        }
    }

    /// Widens the keys and values of `count` positions from `first_key` on, which begins a block.
    #[inline(always)]
    unsafe fn widen<S: Simd, F: Format>(&self, simd: S, scratch: &Scratch, first_key: usize, count: usize) {
        let layout = self.pages.layout();
        let (keys, values) = self.pages.tiles();
        for (tiles, to) in [(keys, scratch.keys), (values, scratch.values)] {
            for first in (0..count).step_by(BLOCK_TOKENS) {
                let block = self.span.blocks[(first_key + first) / BLOCK_TOKENS];
                let tile = &tiles[layout.tile(block, self.kv_head)..][..layout.tile_bytes()];
                // SAFETY: a whole tile, and room for its scales.
                let tile = unsafe { F::open(simd, layout, tile.as_ptr(), scratch.scales) };
                for slot in 0..BLOCK_TOKENS.min(count - first) {
                    for at in (0..layout.width).step_by(S::LANES) {
                        // SAFETY: rows of the tile and of the buffer, `first + slot < count`.
                        unsafe { simd.store(tile.load(simd, slot, at), to.add((first + slot) * layout.width + at)) };
                    }
                }
            }
        }
    }

    /// Asks for the keys and values of `rows` positions, `row` positions after `first_key`, which begins a block.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, first_key: usize, row: usize, rows: usize) {
        let layout = self.pages.layout();
        let Some(&block) = self.span.blocks.get((first_key + row) / BLOCK_TOKENS) else { return };
        let (keys, values) = self.pages.tiles();
        let bytes = layout.tile_bytes() / BLOCK_TOKENS;
        let start = layout.tile(block, self.kv_head) + row % BLOCK_TOKENS * bytes;
        let mut at = start;
        while at < start + rows * bytes {
            simd.prefetch(keys.as_ptr().wrapping_add(at));
            simd.prefetch(values.as_ptr().wrapping_add(at));
            at += CACHE_LINE;
        }
    }

    /// Takes the widened keys and values into the running maxima, sums and outputs of one panel, of which `NV` vectors
    /// are in use.
    #[inline(always)]
    unsafe fn step<S: Simd, const MR: usize, const NV: usize>(
        &self,
        simd: S,
        scratch: &Scratch,
        lanes: &Lanes,
        first_lane: usize,
        first_key: usize,
        count: usize,
    ) {
        let width = self.pages.layout().width;
        let last_lane = (first_lane + NV * S::LANES).min(lanes.count) - 1;
        // Keys after the panel's last position, or before its first window, are left out.
        let (first_position, last_position) = (lanes.positions[first_lane], lanes.positions[last_lane]);
        let (key, hidden) = (first_key as i32, lanes.hidden[first_lane]);
        if last_position < key || hidden >= key + count as i32 - 1 {
            return;
        }
        let count = count.min((last_position - key) as usize + 1);
        let masked = key + count as i32 - 1 > first_position || lanes.hidden[last_lane] >= key;

        // SAFETY: a panel of each buffer; rows up to `count` rounded up to `MR`, at most `KEYS`; `width` is a multiple
        // of `MR`.
        unsafe {
            let queries = self.column::<S>(scratch.queries, first_lane);
            let out = self.column::<S>(scratch.out, first_lane);
            let mut row = 0;
            while row < count {
                if first_lane == 0 {
                    self.prefetch(simd, first_key + KEYS, row, MR);
                }
                let keys = scratch.keys.add(row * width);
                let mut scores = [[simd.zero(); NV]; MR];
                product(simd, &mut scores, keys, (width, 1), queries, panel::<S>(), self.shape.head_dim);
                for index in 0..MR {
                    for vector in 0..NV {
                        let to = scratch.weights.add((row + index) * panel::<S>() + vector * S::LANES);
                        simd.store(scores[index][vector], to);
                    }
                }
                row += MR;
            }
            if let Some(cap) = self.shape.soft_cap {
                soft_cap::<S, NV>(simd, scratch.weights, count, cap * std::f32::consts::LOG2_E);
            }
            if masked {
                let last = lanes.positions.as_ptr().add(first_lane);
                let hidden = lanes.hidden.as_ptr().add(first_lane);
                mask::<S, NV>(simd, scratch.weights, count, key, last, hidden);
            }
            let (maxima, sums) = (scratch.maxima.add(first_lane), scratch.sums.add(first_lane));
            let corrections = weigh::<S, NV>(simd, scratch.weights, count, maxima, sums);
            let mut element = 0;
            while element < width {
                let mut sums = [[simd.zero(); NV]; MR];
                for index in 0..MR {
                    for vector in 0..NV {
                        let old = simd.load(out.add((element + index) * panel::<S>() + vector * S::LANES));
                        sums[index][vector] = simd.mul(old, corrections[vector]);
                    }
                }
                let values = scratch.values.add(element);
                product(simd, &mut sums, values, (1, width), scratch.weights, panel::<S>(), count);
                for index in 0..MR {
                    for vector in 0..NV {
                        let to = out.add((element + index) * panel::<S>() + vector * S::LANES);
                        simd.store(sums[index][vector], to);
                    }
                }
                element += MR;
            }
        }
    }

    /// Divides the outputs by the sums of weights and transposes them into the batch.
    #[inline(always)]
    unsafe fn unpack<S: Simd>(&self, simd: S, scratch: &Scratch, lanes: &Lanes) {
        let head_dim = self.shape.head_dim;
        // Lanes not in use are written here.
        let mut nowhere = [0.0_f32; 4];
        for first in (0..lanes.count).step_by(S::LANES) {
            // SAFETY: lanes `first..first + LANES` of their panel.
            let (from, factor) = unsafe {
                let sum = simd.load(scratch.sums.add(first));
                (self.column::<S>(scratch.out, first), simd.div(simd.splat(1.0), sum))
            };
            let mut to = [std::ptr::null_mut(); MAX_LANES];
            for (index, to) in to.iter_mut().enumerate().take(S::LANES.min(lanes.count - first)) {
                let offset = lanes.offsets[first + index];
                // SAFETY: the rows of a region are disjoint, and this head of the row belongs to this item.
                *to = unsafe { self.out.range(offset..offset + head_dim) }.as_mut_ptr();
            }
            let whole = head_dim / 4 * 4;
            for element in (0..whole).step_by(4) {
                let mut vectors = [simd.zero(); 4];
                for (r, vector) in vectors.iter_mut().enumerate() {
                    // SAFETY: row `element + r` of the panel.
                    *vector = unsafe { simd.mul(simd.load(from.add((element + r) * panel::<S>())), factor) };
                }
                for (r, vector) in simd.transpose4(vectors).into_iter().enumerate() {
                    let mut quads = [nowhere.as_mut_ptr(); 4];
                    for (quad, address) in quads.iter_mut().enumerate().take(S::LANES / 4) {
                        let row = to[4 * quad + r];
                        if !row.is_null() {
                            // SAFETY: `element + 4 <= head_dim`.
                            *address = unsafe { row.add(element) };
                        }
                    }
                    // SAFETY: room for four elements at each address.
                    unsafe { simd.store_quads(vector, quads) };
                }
            }
            for element in whole..head_dim {
                // SAFETY: row `element` of the panel.
                let vector = unsafe { simd.mul(simd.load(from.add(element * panel::<S>())), factor) };
                let mut values = [0.0; MAX_LANES];
                simd.store_slice(vector, &mut values);
                for (row, value) in to.iter().zip(values).filter(|(row, _)| !row.is_null()) {
                    // SAFETY: `element < head_dim`.
                    unsafe { *row.add(element) = value };
                }
            }
        }
    }
}
