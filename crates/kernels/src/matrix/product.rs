//! The inner loops: one panel of weights times a few input rows.

use super::dot::Dot;
use super::format::{Format, Panel};
use super::input::FACTORS;
use super::layout::{GROUP, PANEL_ROWS};
use crate::DataType;
use crate::simd::Simd;

/// Some rows of a tile of quantised input.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The tile's codes, from the first of these rows on.
    pub(super) codes: *const i8,
    /// The tile's factors, from the first of these rows on.
    pub(super) factors: *const f32,
    /// Rows in the tile.
    pub(super) stride: usize,
}

/// `out[row, output] = input[row] . weights[output]` for `ROWS` input rows and the 16 outputs of a panel.
///
/// # Safety
/// The panel and the rows have `groups` groups; `out + row * out_stride` has room for 16 values for each row.
#[inline(always)]
pub(super) unsafe fn quantized<S: Dot, F: Format, const ROWS: usize>(
    simd: S,
    format: F,
    panel: Panel,
    groups: usize,
    input: Rows,
    out: *mut f32,
    out_stride: usize,
) {
    for part in 0..PANEL_ROWS / S::LANES {
        let mut sums = [simd.zero(); ROWS];
        for group in 0..groups {
            // SAFETY: the caller's promise; all offsets stay within the group.
            unsafe {
                let lines = format.lines(simd, panel, group, part);
                let scales = format.scales(simd, panel, group, part);
                let codes = input.codes.add(group * input.stride * GROUP);
                let factors = input.factors.add(group * input.stride * FACTORS);
                let factor = |slot: usize, row: usize| simd.splat(*factors.add(slot * input.stride + row));
                if F::HALVES {
                    for half in 0..2 {
                        let mut dots = [simd.splat_i32(0); ROWS];
                        for (j, line) in lines.iter().enumerate().skip(4 * half).take(4) {
                            for (row, dot) in dots.iter_mut().enumerate() {
                                *dot = simd.dot::<false>(*dot, *line, codes.add(row * GROUP + 4 * j));
                            }
                        }
                        for row in 0..ROWS {
                            let scaled = simd.mul(simd.to_f32(dots[row]), scales.scale[half]);
                            sums[row] = simd.fma(scaled, factor(0, row), sums[row]);
                            sums[row] = simd.fma(scales.minimum[half], factor(2 + half, row), sums[row]);
                        }
                    }
                } else {
                    let mut dots = [simd.splat_i32(0); ROWS];
                    for (j, line) in lines.into_iter().enumerate() {
                        for (row, dot) in dots.iter_mut().enumerate() {
                            let input = codes.add(row * GROUP + 4 * j);
                            *dot = if F::WIDE {
                                simd.dot::<true>(*dot, line, input)
                            } else {
                                simd.dot::<false>(*dot, line, input)
                            };
                        }
                    }
                    for row in 0..ROWS {
                        let scaled = simd.mul(simd.to_f32(dots[row]), scales.scale[0]);
                        sums[row] = simd.fma(scaled, factor(0, row), sums[row]);
                        sums[row] = simd.fma(scales.minimum[0], factor(1, row), sums[row]);
                    }
                }
            }
        }
        for (row, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { simd.store(sum, out.add(row * out_stride + part * S::LANES)) };
        }
    }
}

/// The same for weights kept as floats, `[column, 16]`; `input` is `[column, stride]`.
///
/// # Safety
/// As for [`quantized`], with `columns` columns.
#[inline(always)]
pub(super) unsafe fn float<S: Simd, const ROWS: usize>(
    simd: S,
    data_type: DataType,
    panel: *const u8,
    columns: usize,
    input: *const f32,
    stride: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // Independent chains, enough to hide the latency of a fused multiply-add.
    let chains = 8 / ROWS;
    for part in 0..PANEL_ROWS / S::LANES {
        let mut sums = [[simd.zero(); ROWS]; 8];
        let mut column = 0;
        while column < columns {
            for (chain, sums) in sums.iter_mut().enumerate().take(chains.min(columns - column)) {
                // SAFETY: the caller's promise.
                unsafe {
                    let at = (column + chain) * PANEL_ROWS + part * S::LANES;
                    let weights = match data_type {
                        DataType::F16 => simd.load_f16(panel.cast::<u16>().add(at)),
                        DataType::Bf16 => simd.load_bf16(panel.cast::<u16>().add(at)),
                        _ => simd.load(panel.cast::<f32>().add(at)),
                    };
                    for (row, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.fma(weights, simd.splat(*input.add((column + chain) * stride + row)), *sum);
                    }
                }
            }
            column += chains;
        }
        for row in 0..ROWS {
            let mut sum = sums[0][row];
            for chain in &sums[1..chains] {
                sum = simd.add(sum, chain[row]);
            }
            // SAFETY: the caller's promise.
            unsafe { simd.store(sum, out.add(row * out_stride + part * S::LANES)) };
        }
    }
}
