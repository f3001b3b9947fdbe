//! Rows of f32 to bytes with scales.

use std::ops::Range;

use super::input::{FACTORS, TILE_ROWS, tile_rows};
use super::layout::GROUP;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Where the 32 codes of a group of a row lie, from the beginning of those that hold them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// The first row's.
    pub(super) start: usize,
    /// From one row to the next.
    pub(super) row: usize,
    /// From a group of an even number to the next.
    pub(super) odd: usize,
    /// From a group to the one after the next.
    pub(super) pair: usize,
}

impl Places {
    /// `[group, row, 32]` for `count` rows.
    fn of_tile(count: usize) -> Self {
        Self { start: 0, row: GROUP, odd: count * GROUP, pair: 2 * count * GROUP }
    }

    #[inline(always)]
    fn of(&self, group: usize, row: usize) -> usize {
        self.start + group / 2 * self.pair + group % 2 * self.odd + row * self.row
    }
}

/// Quantises whole tiles: `codes` as `[group, row, 32]`, `factors` as `[group, FACTORS, row]`; `block` groups share a
/// scale of (largest magnitude) / 127.
pub(super) fn quantize_rows(
    values: &[f32],
    columns: usize,
    block: usize,
    rows: Range<usize>,
    codes: &SharedSlice<'_, i8>,
    factors: &SharedSlice<'_, f32>,
) {
    let total = values.len() / columns;
    let groups = columns / GROUP;
    for first in rows.step_by(TILE_ROWS) {
        let count = tile_rows(first, total);
        // SAFETY: each thread has tiles of its own.
        let codes = unsafe { codes.range(first * columns..(first + count) * columns) };
        // SAFETY: as above.
        let factors = unsafe { factors.range(first * groups * FACTORS..(first + count) * groups * FACTORS) };
        let values = &values[first * columns..(first + count) * columns];
        quantize_tile(values, columns, block, Places::of_tile(count), codes, factors);
    }
}

/// Quantises the rows of one tile, its codes to `places` of `codes`.
pub(super) fn quantize_tile(
    values: &[f32],
    columns: usize,
    block: usize,
    places: Places,
    codes: &mut [i8],
    factors: &mut [f32],
) {
    let count = values.len() / columns;
    Isa::detect().dispatch(QuantizeTile { values, columns, block, count, places, codes, factors });
}

struct QuantizeTile<'a> {
    values: &'a [f32],
    columns: usize,
    block: usize,
    count: usize,
    places: Places,
    codes: &'a mut [i8],
    factors: &'a mut [f32],
}

impl Kernel for QuantizeTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for row in 0..self.count {
            let mut group = 0;
            while group * GROUP < self.columns {
                let groups = self.block.min(self.columns / GROUP - group);
                self.block(simd, row, group, groups);
                group += groups;
            }
        }
    }
}

impl QuantizeTile<'_> {
    /// The largest magnitude of `groups` groups from `first` on.
    #[inline(always)]
    fn largest<S: Simd>(&self, simd: S, row: usize, first: usize, groups: usize) -> f32 {
        let mut largest = simd.zero();
        for chunk in self.values[row * self.columns + first * GROUP..][..groups * GROUP].chunks_exact(S::LANES) {
            largest = simd.max(largest, simd.abs(simd.load_slice(chunk)));
        }
        simd.reduce_max(largest)
    }

    /// Groups that share a scale.
    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, row: usize, first: usize, groups: usize) {
        let largest = self.largest(simd, row, first, groups);
        let inverse = simd.splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        let scale = largest / 127.0;
        // Sums of four halves at a time, which is two groups; a last one without a partner goes alone.
        let mut group = first;
        while group < first + groups {
            let pair = 2.min(first + groups - group);
            let mut halves = [simd.zero(); 4];
            for (half, sum) in halves.iter_mut().enumerate().take(2 * pair) {
                let (group, half) = (group + half / 2, half % 2);
                for part in 0..GROUP / 2 / S::LANES {
                    let column = half * (GROUP / 2) + part * S::LANES;
                    let values = &self.values[row * self.columns + group * GROUP + column..][..S::LANES];
                    let code = simd.round(simd.mul(simd.load_slice(values), inverse));
                    *sum = simd.add(*sum, code);
                    let codes = &mut self.codes[self.places.of(group, row) + column..][..S::LANES];
                    // SAFETY: the slice has `LANES` bytes; |code| <= 127.
                    unsafe { simd.store_i8(code, codes.as_mut_ptr()) };
                }
            }
            // Sums of at most 16 whole numbers up to 127: exact.
            let sums = simd.reduce_sum4(halves);
            for (index, sums) in sums.chunks_exact(2).enumerate().take(pair) {
                let factors = &mut self.factors[(group + index) * FACTORS * self.count..][..FACTORS * self.count];
                factors[row] = scale;
                factors[self.count + row] = scale * (sums[0] + sums[1]);
                factors[2 * self.count + row] = scale * sums[0];
                factors[3 * self.count + row] = scale * sums[1];
            }
            group += pair;
        }
    }
}
