//! Rows of f32 to bytes with scales.

use std::ops::Range;

use super::input::{FACTORS, TILE_ROWS, tile_rows};
use super::layout::GROUP;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

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
        Isa::detect().dispatch(QuantizeTile {
            values: &values[first * columns..(first + count) * columns],
            columns,
            block,
            count,
            codes,
            factors,
        });
    }
}

struct QuantizeTile<'a> {
    values: &'a [f32],
    columns: usize,
    block: usize,
    count: usize,
    codes: &'a mut [i8],
    factors: &'a mut [f32],
}

impl Kernel for QuantizeTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in 0..self.count {
            let values = &self.values[row * self.columns..][..self.columns];
            for (index, block) in values.chunks(self.block * GROUP).enumerate() {
                let mut largest = simd.zero();
                for chunk in block.chunks_exact(S::LANES) {
                    largest = simd.max(largest, simd.abs(simd.load_slice(chunk)));
                }
                let largest = simd.reduce_max(largest);
                let inverse = simd.splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
                let scale = largest / 127.0;
                for (inner, group) in block.chunks_exact(GROUP).enumerate() {
                    let at = index * self.block + inner;
                    let codes = &mut self.codes[(at * self.count + row) * GROUP..][..GROUP];
                    for (values, codes) in group.chunks_exact(S::LANES).zip(codes.chunks_exact_mut(S::LANES)) {
                        let scaled = simd.mul(simd.load_slice(values), inverse);
                        // SAFETY: the chunk has `LANES` bytes; |scaled| <= 127.
                        unsafe { simd.store_i8(scaled, codes.as_mut_ptr()) };
                    }
                    let sum = |codes: &[i8]| codes.iter().map(|&code| i32::from(code)).sum::<i32>() as f32;
                    let (low, high) = codes.split_at(GROUP / 2);
                    let (low, high) = (sum(low), sum(high));
                    let factors = &mut self.factors[at * FACTORS * self.count..][..FACTORS * self.count];
                    for (slot, value) in
                        [scale, scale * (low + high), scale * low, scale * high].into_iter().enumerate()
                    {
                        factors[slot * self.count + row] = value;
                    }
                }
            }
        }
    }
}
