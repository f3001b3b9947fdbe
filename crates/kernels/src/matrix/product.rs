//! The inner loops: one panel of weights times a few input rows.

use super::dot::Dot;
use super::format::{Format, Panel};
use super::input::FACTORS;
use super::layout::{GROUP, GROUP_LINES, PANEL_ROWS};
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

/// `out[row, output] = input[row] . weights[output]` for `ROWS` input rows and the 16 outputs of each of `PANELS` panels,
/// whose outputs lie side by side.
///
/// # Safety
/// The panels and the rows have `groups` groups; `out + row * out_stride` has room for `16 * PANELS` values for each row.
#[inline(always)]
pub(super) unsafe fn quantized<S: Dot, F: Format, const ROWS: usize, const PANELS: usize>(
    simd: S,
    format: F,
    panels: [Panel; PANELS],
    groups: usize,
    input: Rows,
    out: *mut f32,
    out_stride: usize,
) {
    for part in 0..PANEL_ROWS / S::LANES {
        let mut sums = [[simd.zero(); PANELS]; ROWS];
        for group in 0..groups {
            // SAFETY: the caller's promise; all offsets stay within the group.
            unsafe {
                // Loops, not `map`: vector code inside a closure is compiled without its instruction set.
                let mut lines = [format.lines(simd, panels[0], group, part); PANELS];
                let mut scales = [format.scales(simd, panels[0], group, part); PANELS];
                for panel in 1..PANELS {
                    lines[panel] = format.lines(simd, panels[panel], group, part);
                    scales[panel] = format.scales(simd, panels[panel], group, part);
                }
                let codes = input.codes.add(group * input.stride * GROUP);
                let factors = input.factors.add(group * input.stride * FACTORS);
                let factor = |slot: usize, row: usize| simd.splat(*factors.add(slot * input.stride + row));
                // A group has one dot product, or one for each half.
                let count = 1 + usize::from(F::HALVES);
                for half in 0..count {
                    let mut dots = [[simd.splat_i32(0); PANELS]; ROWS];
                    let len = GROUP_LINES / count;
                    for j in half * len..(half + 1) * len {
                        for (row, dots) in dots.iter_mut().enumerate() {
                            for (dot, lines) in dots.iter_mut().zip(&lines) {
                                let input = codes.add(row * GROUP + 4 * j);
                                *dot = if F::WIDE {
                                    simd.dot::<true>(*dot, lines[j], input)
                                } else {
                                    simd.dot::<false>(*dot, lines[j], input)
                                };
                            }
                        }
                    }
                    let which = if F::HALVES { 2 + half } else { 1 };
                    for row in 0..ROWS {
                        for panel in 0..PANELS {
                            let sum = &mut sums[row][panel];
                            let scaled = simd.mul(simd.to_f32(dots[row][panel]), scales[panel].scale[half]);
                            *sum = simd.fma(scaled, factor(0, row), *sum);
                            *sum = simd.fma(scales[panel].minimum[half], factor(which, row), *sum);
                        }
                    }
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (panel, sum) in sums.into_iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { simd.store(sum, out.add(row * out_stride + panel * PANEL_ROWS + part * S::LANES)) };
            }
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
                    let weights = load_float(simd, data_type, panel, at);
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

/// [`float`] for eight input rows and two panels, whose outputs lie side by side: each input is read once for both, so
/// that additions and not loads set the pace. The sums are the same to the bit.
///
/// # Safety
/// As for [`float`], with room for 32 values a row.
#[inline(always)]
pub(super) unsafe fn float_pair<S: Simd>(
    simd: S,
    data_type: DataType,
    panels: [*const u8; 2],
    columns: usize,
    input: *const f32,
    stride: usize,
    out: *mut f32,
    out_stride: usize,
) {
    for part in 0..PANEL_ROWS / S::LANES {
        let mut sums = [[simd.zero(); 2]; 8];
        for column in 0..columns {
            let at = column * PANEL_ROWS + part * S::LANES;
            // SAFETY: the caller's promise.
            unsafe {
                let first = load_float(simd, data_type, panels[0], at);
                let second = load_float(simd, data_type, panels[1], at);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let input = simd.splat(*input.add(column * stride + row));
                    sums[0] = simd.fma(first, input, sums[0]);
                    sums[1] = simd.fma(second, input, sums[1]);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (panel, sum) in sums.into_iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { simd.store(sum, out.add(row * out_stride + panel * PANEL_ROWS + part * S::LANES)) };
            }
        }
    }
}

/// A vector of weights that are kept as floats.
///
/// # Safety
/// The panel has `LANES` elements from element `at` on.
#[inline(always)]
unsafe fn load_float<S: Simd>(simd: S, data_type: DataType, panel: *const u8, at: usize) -> S::F32 {
    // SAFETY: the caller's promise.
    unsafe {
        match data_type {
            DataType::F16 => simd.load_f16(panel.cast::<u16>().add(at)),
            DataType::Bf16 => simd.load_bf16(panel.cast::<u16>().add(at)),
            _ => simd.load(panel.cast::<f32>().add(at)),
        }
    }
}
