//! Products of many input rows with the 256-column types on AMX tiles (x86-64, Linux).
//!
//! A tile product multiplies 16 input rows by 16 outputs over 64 columns in 16 cycles, sixteen times the rate of
//! `vpdpbusd`, so scaling every 32 columns in f32 would cost more than the products. The 256-column types have integer
//! scales inside a block: code times scale is an integer of at most 14 bits, which is split into two signed digits to
//! the base 128. Both digits are summed exactly over the block's 256 columns, and only then turned into f32. The sums
//! are the very integers that the other kernels compute group by group.
//!
//! Minimums are a small product of their own, of 16-bit integers: one term for each group, or each half of a group.
//!
//! The instructions are not in stable Rust, so they are written in assembly; the compiler never touches tile registers
//! on its own.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;
use std::ops::Range;

use super::format::{Format, Packed, Panel};
use super::input::{FACTORS, TILE_ROWS, tile_rows};
use super::layout::{GROUP, GROUP_LINES, LINE, Layout, PANEL_ROWS, SUPER_GROUPS, ScaleKind};
use super::quantize::Places;
use super::{Input, Line, Matrix};
use crate::DataType;
use crate::simd::Avx512;
use crate::simd::amx::{TILE_CONFIG, is_available};

/// Input rows in a tile register.
pub(super) const AMX_ROWS: usize = 16;
/// Columns in a tile register.
const STEP: usize = 64;
/// Input rows that go through together.
const PAIR: usize = 2 * AMX_ROWS;
/// Columns in a block of the stored types.
const BLOCK: usize = GROUP * SUPER_GROUPS;
/// Steps of tiles in a block, and quarters of a result: [`PAIR`] rows in tiles of [`TILE_ROWS`].
const STEPS: usize = BLOCK / STEP;
const _: () = assert!(STEPS == PAIR / TILE_ROWS);
/// Panels that go through together: for each of them the input is read from the second-level cache once less.
const PANELS: usize = 12;
/// Of a block of an input row: sums of the codes, two groups in 32 bits, and then two halves of a group.
pub(super) const SUM_PAIRS: usize = SUPER_GROUPS / 2 + SUPER_GROUPS;

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Multiplies tiles for a while and returns the operations done: the peak of the unit.
///
/// Does nothing where tiles are not available.
pub(super) fn peak_operations() -> f64 {
    const TURNS: usize = 100_000;
    if !is_available() {
        return 0.0;
    }
    // SAFETY: tiles are available; they are configured first and released at the end, and no memory is touched.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const TILE_CONFIG, options(nostack, readonly));
        for _ in 0..TURNS {
            asm!(
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                options(nostack, nomem, preserves_flags)
            );
        }
        asm!("tilerelease", options(nostack, nomem));
    }
    (TURNS * 4 * AMX_ROWS * PANEL_ROWS * STEP * 2) as f64
}

/// Whether this product is one for tiles.
pub(super) fn suits(matrix: &Matrix, rows: usize) -> bool {
    rows >= AMX_ROWS && matrix.data_type.block_len() == BLOCK
}

/// Where the codes of the rows from `first` on lie among those of their 16 rows, `[columns / 64, 16, 64]`.
pub(super) fn places(first: usize) -> Places {
    Places { start: first % AMX_ROWS * STEP, row: STEP, odd: GROUP, pair: AMX_ROWS * STEP }
}

/// The sums of a tile's codes as integers, in pairs: `[block, SUM_PAIRS, row]` from `factors`, `[group, FACTORS, row]`.
///
/// A factor is the scale times a whole number below 2^13, so dividing and rounding gives the number back exactly.
///
/// # Safety
/// [`is_available`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn pair_sums(factors: &[f32], count: usize, out: &mut [i32]) {
    let rows = ((1_u32 << count) - 1) as __mmask8;
    let factors = factors.chunks_exact(SUPER_GROUPS * FACTORS * count);
    for (factors, out) in factors.zip(out.chunks_exact_mut(SUM_PAIRS * count)) {
        // SAFETY: the masks keep loads and stores to `count` rows of the chunks.
        unsafe {
            let load = |group: usize, which: usize| {
                _mm256_maskz_loadu_ps(rows, factors.as_ptr().add((group * FACTORS + which) * count))
            };
            let scale = load(0, 0);
            let inverse = _mm256_div_ps(_mm256_set1_ps(1.0), scale);
            // All codes of a block without a scale are 0.
            let known = _mm256_mask_cmp_ps_mask::<_CMP_NEQ_OQ>(rows, scale, _mm256_setzero_ps());
            let number = |group, which| _mm256_cvtps_epi32(_mm256_maskz_mul_ps(known, load(group, which), inverse));
            let low_half = _mm256_set1_epi32(0xffff);
            let mut put = |slot: usize, first: __m256i, second: __m256i| {
                let pair = _mm256_or_si256(_mm256_and_si256(first, low_half), _mm256_slli_epi32::<16>(second));
                _mm256_mask_storeu_epi32(out.as_mut_ptr().add(slot * count), rows, pair);
            };
            for group in 0..SUPER_GROUPS {
                if group % 2 == 0 {
                    put(group / 2, number(group, 1), number(group + 1, 1));
                }
                put(SUPER_GROUPS / 2 + group, number(group, 2), number(group, 3));
            }
        }
    }
}

/// As [`super::multiply::multiply`], for products that [`suits`].
///
/// # Safety
/// As there; [`is_available`].
pub(super) unsafe fn multiply(matrix: &Matrix, input: &Input, panels: Range<usize>, out: *mut f32, out_stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let task = Task { matrix, input, panels, out, out_stride };
        match matrix.data_type {
            DataType::Q2K => task.run(Packed::<2, 0, false, 5>),
            DataType::Q3K => task.run(Packed::<3, 4, false, 4>),
            DataType::Q4K => task.run(Packed::<4, 0, false, 2>),
            DataType::Q5K => task.run(Packed::<5, 0, false, 2>),
            DataType::Q6K => task.run(Packed::<6, 32, false, 4>),
            _ => task.run(Packed::<4, 128, true, 3>),
        }
    }
}

struct Task<'a> {
    matrix: &'a Matrix,
    input: &'a Input,
    panels: Range<usize>,
    out: *mut f32,
    out_stride: usize,
}

/// One block of one panel, ready for tiles: 256 columns of 16 outputs.
#[repr(C, align(64))]
struct Expanded {
    /// Two signed digits of code times scale, `[columns / 64, 2, 16, 64]`.
    digits: [u8; 2 * BLOCK * PANEL_ROWS],
    scales: [f32; PANEL_ROWS],
    /// For two groups, or two halves of a group, in 16 bits each.
    minimums: [[i32; PANEL_ROWS]; SUPER_GROUPS],
    /// What the minimums are multiples of.
    units: [f32; PANEL_ROWS],
}

/// What a thread works in: some panels' block, which stay in the first-level cache while all input rows go by, and the
/// sums of those panels over the blocks so far.
struct Scratch {
    expanded: [Expanded; PANELS],
    /// `[panel, row, 16]`.
    sums: Vec<Line>,
    tiles: Tiles,
}

impl Task<'_> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    unsafe fn run<F: Format>(self, format: F) {
        let layout = Layout::of(self.matrix.data_type);
        let (kind, zero) = layout.map_or((ScaleKind::Super, 0), |layout| (layout.scales, layout.zero));
        // SAFETY: the caller's promise.
        unsafe {
            match kind {
                ScaleKind::SuperMinimum => self.blocks::<F, { SUPER_GROUPS / 2 }>(format, kind, zero),
                ScaleKind::SuperHalvesMinimum => self.blocks::<F, SUPER_GROUPS>(format, kind, zero),
                _ => self.blocks::<F, 0>(format, kind, zero),
            }
        }
    }

    /// All panels, some at a time; each has `MINIMUMS` pairs of minimums in a block.
    ///
    /// Block by block the panels are expanded and all input rows multiplied with them. So weights and input are read from
    /// the nearest caches, the input once for all the panels, and what is expanded is never written further than that.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn blocks<F: Format, const MINIMUMS: usize>(&self, format: F, kind: ScaleKind, zero: i32) {
        let (rows, columns) = (self.input.rows(), self.matrix.columns);
        let mut scratch = SCRATCH.take().unwrap_or_else(Scratch::new);
        if scratch.sums.len() < PANELS * rows {
            scratch.sums.resize(PANELS * rows, Line::default());
        }
        let Scratch { expanded, sums, tiles } = &mut *scratch;
        let sums = sums.as_mut_ptr().cast::<f32>();
        // SAFETY: the configuration is valid, and tiles are available.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILE_CONFIG, options(nostack, readonly)) };
        for first in self.panels.clone().step_by(PANELS) {
            let count = PANELS.min(self.panels.end - first);
            for block in 0..columns / BLOCK {
                for (index, to) in expanded.iter_mut().enumerate().take(count) {
                    // SAFETY: the features are enabled here, and the panel has the block.
                    unsafe { self.expand(format, kind, zero, first + index, block, to) };
                }
                // Tiles and vectors have units of their own: between the steps of one product, the vectors take in the
                // results of the product before, a quarter at a time, so that the processor sees enough of both.
                let mut before: Option<(usize, usize)> = None;
                for row in (0..rows).step_by(PAIR) {
                    let top = self.input.tiles[row * columns + block * BLOCK * AMX_ROWS..].as_ptr();
                    // The second 16 rows may not exist: the first ones again, and the result is ignored.
                    let next = if rows - row > AMX_ROWS { AMX_ROWS * columns } else { 0 };
                    for index in 0..count {
                        // SAFETY: the arranged input has the block of these rows; sums have room for all panels.
                        unsafe {
                            clear_tiles();
                            for step in 0..STEPS {
                                tile_step(step, expanded[index].digits.as_ptr(), top, top.add(next));
                                if let Some((index, row)) = before {
                                    let sums = sums.add(index * rows * PANEL_ROWS);
                                    self.collect::<MINIMUMS>(
                                        tiles,
                                        step,
                                        &expanded[index],
                                        first + index,
                                        row,
                                        block,
                                        sums,
                                    );
                                }
                            }
                            store_tiles(tiles);
                        }
                        before = Some((index, row));
                    }
                }
                if let Some((index, row)) = before {
                    // SAFETY: as above.
                    unsafe {
                        let sums = sums.add(index * rows * PANEL_ROWS);
                        for quarter in 0..STEPS {
                            self.collect::<MINIMUMS>(tiles, quarter, &expanded[index], first + index, row, block, sums);
                        }
                    }
                }
            }
        }
        // SAFETY: tiles are available.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
        SCRATCH.set(Some(scratch));
    }

    /// Code times scale, as two signed digits to the base 128, for one block of panel `index`.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn expand<F: Format>(
        &self,
        format: F,
        kind: ScaleKind,
        zero: i32,
        index: usize,
        block: usize,
        to: &mut Expanded,
    ) {
        let groups = self.matrix.columns / GROUP;
        let codes = self.matrix.panel(index).as_ptr();
        let panel = Panel { codes, scales: codes.wrapping_add(groups * self.matrix.group_code_bytes()) };
        // SAFETY: the features are enabled here.
        let simd = unsafe { Avx512::new() };
        let zero = _mm512_set1_epi16(zero as i16);
        let low_byte = _mm512_set1_epi16(0xff);
        let digit = _mm512_set1_epi16(0x7f);
        let (super_bytes, first_scale, group_bytes, second) = match kind {
            ScaleKind::SuperMinimum => (320, 64, 32, 0),
            ScaleKind::SuperHalvesMinimum => (320, 64, 32, 16),
            ScaleKind::SuperHalves => (288, 32, 32, 16),
            _ => (160, 32, 16, 0),
        };
        let digits = to.digits.as_mut_ptr();
        // SAFETY: the panel has the block's codes and scales, and `to` room for what comes of them.
        unsafe {
            let scales = panel.scales.add(block * super_bytes);
            let scale = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            _mm512_storeu_ps(to.scales.as_mut_ptr(), scale);
            if matches!(kind, ScaleKind::SuperMinimum | ScaleKind::SuperHalvesMinimum) {
                let unit = _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(32).cast()));
                _mm512_storeu_ps(to.units.as_mut_ptr(), unit);
            }
            let mut pair = _mm512_setzero_si512();
            for group in 0..SUPER_GROUPS {
                let lines = format.lines(simd, panel, block * SUPER_GROUPS + group, 0);
                for half in 0..2 {
                    let at = scales.add(first_scale + group_bytes * group + second * half);
                    let bytes = _mm_loadu_si128(at.cast());
                    // One scale in both 16-bit halves of each row's lane.
                    let (scale, minimum) = match kind {
                        ScaleKind::SuperMinimum => (
                            _mm512_cvtepu8_epi32(bytes),
                            Some(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.add(16).cast()))),
                        ),
                        ScaleKind::SuperHalvesMinimum => {
                            let both = _mm512_cvtepu8_epi32(bytes);
                            (_mm512_and_si512(both, _mm512_set1_epi32(15)), Some(_mm512_srli_epi32::<4>(both)))
                        }
                        _ => (_mm512_cvtepi8_epi32(bytes), None),
                    };
                    if let Some(minimum) = minimum.filter(|_| half == 0 || second > 0) {
                        let number = if second > 0 { 2 * group + half } else { group };
                        if number % 2 == 0 {
                            pair = minimum;
                        } else {
                            pair = _mm512_or_si512(pair, _mm512_slli_epi32::<16>(minimum));
                            _mm512_storeu_si512(to.minimums[number / 2].as_mut_ptr().cast(), pair);
                        }
                    }
                    let low_half = _mm512_and_si512(scale, _mm512_set1_epi32(0xffff));
                    let scale = _mm512_or_si512(low_half, _mm512_slli_epi32::<16>(scale));
                    for (j, line) in lines.iter().enumerate().skip(4 * half).take(4) {
                        let even = _mm512_sub_epi16(_mm512_and_si512(*line, low_byte), zero);
                        let odd = _mm512_sub_epi16(_mm512_srli_epi16::<8>(*line), zero);
                        let (even, odd) = (_mm512_mullo_epi16(even, scale), _mm512_mullo_epi16(odd, scale));
                        let low = _mm512_or_si512(
                            _mm512_and_si512(even, digit),
                            _mm512_slli_epi16::<8>(_mm512_and_si512(odd, digit)),
                        );
                        let high = _mm512_or_si512(
                            _mm512_and_si512(_mm512_srai_epi16::<7>(even), low_byte),
                            _mm512_slli_epi16::<8>(_mm512_srai_epi16::<7>(odd)),
                        );
                        let line = group % 2 * GROUP_LINES + j;
                        let to = digits.add(group / 2 * 2 * 1024 + line * LINE);
                        _mm512_storeu_si512(to.cast(), low);
                        _mm512_storeu_si512(to.add(1024).cast(), high);
                    }
                }
            }
        }
    }

    /// Adds a quarter of one block's product with up to 32 input rows from `first` on to the panel's `sums`, which begin
    /// anew at block 0; at the last block what comes of it goes to the outputs.
    ///
    /// # Safety
    /// `sums` has 16 values for every input row.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn collect<const MINIMUMS: usize>(
        &self,
        tiles: &Tiles,
        quarter: usize,
        weights: &Expanded,
        panel: usize,
        first: usize,
        block: usize,
        sums: *mut f32,
    ) {
        let rows = self.input.rows();
        let block_factors = SUPER_GROUPS * FACTORS;
        let base = first + quarter * TILE_ROWS;
        if base >= rows {
            return;
        }
        let count = tile_rows(base, rows);
        let at = base * (self.matrix.columns / GROUP) * FACTORS + block * block_factors * count;
        let factors = &self.input.blocks.factors[at..at + count];
        let blocks = self.matrix.columns / BLOCK;
        let pairs = &self.input.sums[(base * blocks + block * count) * SUM_PAIRS..][..SUM_PAIRS * count];
        let tiles = &tiles.0[quarter / 2 * 512 + quarter % 2 * TILE_ROWS * 16..][..256 + TILE_ROWS * 16];
        // SAFETY: the caller's promise.
        unsafe {
            let sums = sums.add(base * PANEL_ROWS);
            let mut sums = Sums { from: sums, to: sums, stride: PANEL_ROWS, mask: u16::MAX, fresh: block == 0 };
            if (block + 1) * BLOCK == self.matrix.columns {
                let outputs = PANEL_ROWS.min(self.matrix.rows - panel * PANEL_ROWS);
                sums.mask = ((1_u32 << outputs) - 1) as u16;
                sums.to = self.out.add(base * self.out_stride + (panel - self.panels.start) * PANEL_ROWS);
                sums.stride = self.out_stride;
            }
            // The usual number of rows as a constant makes the addresses of all pairs constants.
            if count == TILE_ROWS {
                collect_rows::<MINIMUMS>(tiles, weights, factors, pairs, TILE_ROWS, sums);
            } else {
                collect_rows::<MINIMUMS>(tiles, weights, factors, pairs, count, sums);
            }
        }
    }
}

/// Where the sums of some rows, 16 of each, come from and go to.
struct Sums {
    from: *const f32,
    to: *mut f32,
    /// From one row to the next in `to`; in `from` it is 16.
    stride: usize,
    /// Which of the 16 go there.
    mask: u16,
    /// Whether they begin at 0.
    fresh: bool,
}

/// `sums += ((high digits * 128 + low digits) * weight scale - minimums . sums of input codes * unit) * input scale` for
/// `rows` rows.
///
/// # Safety
/// `tiles` has `rows` rows of low digits, and 256 values further of high ones; `factors` has `rows` values, `pairs`
/// `[SUM_PAIRS, rows]`; `sums` has `rows` rows on both sides.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn collect_rows<const MINIMUMS: usize>(
    tiles: &[i32],
    weights: &Expanded,
    factors: &[f32],
    pairs: &[i32],
    rows: usize,
    sums: Sums,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let scale = _mm512_loadu_ps(weights.scales.as_ptr());
        let unit = _mm512_loadu_ps(weights.units.as_ptr());
        let mut minimums = [_mm512_setzero_si512(); MINIMUMS];
        for (minimum, stored) in minimums.iter_mut().zip(&weights.minimums) {
            *minimum = _mm512_loadu_si512(stored.as_ptr().cast());
        }
        // Whole groups come first, then halves.
        let first_pair = if MINIMUMS > SUPER_GROUPS / 2 { SUPER_GROUPS / 2 } else { 0 };
        for row in 0..rows {
            let at = tiles.as_ptr().add(row * 16);
            let (low, high) = (_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(256).cast()));
            let total = _mm512_add_epi32(_mm512_slli_epi32::<7>(high), low);
            let mut scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(total), scale);
            if MINIMUMS > 0 {
                let mut below = _mm512_setzero_si512();
                for (slot, minimum) in minimums.iter().enumerate() {
                    let pair = _mm512_set1_epi32(*pairs.as_ptr().add((first_pair + slot) * rows + row));
                    below = _mm512_dpwssd_epi32(below, *minimum, pair);
                }
                scaled = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(below), unit, scaled);
            }
            let mut sum = match sums.fresh {
                true => _mm512_setzero_ps(),
                false => _mm512_loadu_ps(sums.from.add(row * PANEL_ROWS)),
            };
            sum = _mm512_fmadd_ps(scaled, _mm512_set1_ps(*factors.as_ptr().add(row)), sum);
            _mm512_mask_storeu_ps(sums.to.add(row * sums.stride), sums.mask, sum);
        }
    }
}

impl Scratch {
    fn new() -> Box<Self> {
        let empty = || Expanded {
            digits: [0; 2 * BLOCK * PANEL_ROWS],
            scales: [0.0; PANEL_ROWS],
            minimums: [[0; PANEL_ROWS]; SUPER_GROUPS],
            units: [0.0; PANEL_ROWS],
        };
        Box::new(Self { expanded: std::array::from_fn(|_| empty()), sums: Vec::new(), tiles: Tiles([0; 4 * 256]) })
    }
}

/// Four stored result tiles, 16 x 16: low and high digits of the first 16 rows, then of the second.
#[repr(C, align(64))]
struct Tiles([i32; 4 * 256]);

/// Clears tile registers 0 to 3.
///
/// # Safety
/// Tiles are configured.
#[inline(always)]
unsafe fn clear_tiles() {
    // SAFETY: only tile registers are changed.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem, preserves_flags)
        );
    }
}

/// Adds 32 input rows times 16 outputs over 64 columns, of a block of 256, to tile registers 0 to 3.
///
/// # Safety
/// `weights` has `[4, 2, 1024]` bytes, `top` and `bottom` have `[4, 1024]`; tiles are configured.
#[inline(always)]
unsafe fn tile_step(step: usize, weights: *const u8, top: *const i8, bottom: *const i8) {
    // SAFETY: loads stay within the blocks; only tile registers are changed.
    unsafe {
        asm!(
            "tileloadd tmm4, [{top} + {stride}]",
            "tileloadd tmm6, [{low} + {stride}]",
            "tdpbssd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{high} + {stride}]",
            "tdpbssd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{bottom} + {stride}]",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm3, tmm5, tmm7",
            top = in(reg) top.add(step * 1024),
            bottom = in(reg) bottom.add(step * 1024),
            low = in(reg) weights.add(step * 2048),
            high = in(reg) weights.add(step * 2048 + 1024),
            stride = in(reg) LINE,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// Stores what [`tile_step`] computed.
///
/// # Safety
/// Tiles are configured.
#[inline(always)]
unsafe fn store_tiles(out: &mut Tiles) {
    // SAFETY: four tiles of 1,024 bytes are what `out` has room for.
    unsafe {
        asm!(
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 1024], tmm1",
            "tilestored [{out} + {stride} + 2048], tmm2",
            "tilestored [{out} + {stride} + 3072], tmm3",
            out = in(reg) out.0.as_mut_ptr(),
            stride = in(reg) LINE,
            options(nostack, preserves_flags)
        );
    }
}
