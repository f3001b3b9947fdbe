//! Products of many input rows with the 256-column types on AMX tiles (x86-64, Linux).
//!
//! A tile product multiplies 16 input rows by 16 outputs over 64 columns in 16 cycles, sixteen times the rate of
//! `vpdpbusd`, so scaling every 32 columns in f32 would cost more than the products. The 256-column types have integer
//! scales inside a block: code times scale is an integer of at most 14 bits, which is split into two signed digits to
//! the base 128. Both digits are summed exactly over the block's 256 columns, and only then turned into f32. The sums
//! are the very integers that the other kernels compute group by group.
//!
//! Minimums are a small f32 product of their own: one term for each group.
//!
//! The instructions are not in stable Rust, so they are written in assembly; the compiler never touches tile registers
//! on its own.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;

use super::format::{Format, Packed, Panel};
use super::input::{FACTORS, TILE_ROWS, tile_rows};
use super::layout::{GROUP, GROUP_LINES, LINE, Layout, PANEL_ROWS, SUPER_GROUPS, ScaleKind};
use super::{Input, Line, Matrix};
use crate::DataType;
use crate::simd::Avx512;

/// Input rows in a tile register.
pub(super) const AMX_ROWS: usize = 16;
/// Columns in a tile register.
const STEP: usize = 64;
/// Input rows that go through together.
const PAIR: usize = 2 * AMX_ROWS;
/// Columns in a block of the stored types.
const BLOCK: usize = GROUP * SUPER_GROUPS;
/// Bytes of expanded weights to keep in the second-level cache.
const EXPANDED_BYTES: usize = 768 << 10;

/// Whether the processor has int8 tiles and the system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILE_AND_INT8: u32 = 0b11 << 24;
        const TILE_STATE: u64 = 0b11 << 17;
        if !cfg!(target_os = "linux") || !super::dot::has_vnni() || !std::is_x86_feature_detected!("xsave") {
            return false;
        }
        if __cpuid_count(7, 0).edx & TILE_AND_INT8 != TILE_AND_INT8 {
            return false;
        }
        // SAFETY: the processor has XSAVE, and the system has enabled it (the detection above asks for both).
        let enabled = unsafe { enabled_state() };
        enabled & TILE_STATE == TILE_STATE && ask_permission()
    })
}

#[target_feature(enable = "xsave")]
fn enabled_state() -> u64 {
    // SAFETY: register 0 always exists.
    unsafe { _xgetbv(0) }
}

/// Linux gives tile state only to processes that ask: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
fn ask_permission() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: the call changes nothing but the process's permission; rcx and r11 are the ones that `syscall` clobbers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// Tile shapes (Intel SDM volume 1, chapter 18): all eight are 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static TILE_CONFIG: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

thread_local! {
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
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

/// Rearranges one tile of eight quantised rows for tile loads: `[pair of rows' tile, 64 columns, 16 rows, 64]`.
///
/// `codes` is `[group, row, 32]` for `count` rows, `first` the index of the first row; `out` is the whole buffer's
/// part for the 16 rows that hold it, `[columns / 64, 16, 64]`.
pub(super) fn arrange(codes: &[i8], count: usize, groups: usize, first: usize, out: &mut [i8]) {
    for group in 0..groups {
        for row in 0..count {
            let from = &codes[(group * count + row) * GROUP..][..GROUP];
            let at = ((group / 2) * AMX_ROWS + first % AMX_ROWS + row) * STEP + group % 2 * GROUP;
            out[at..at + GROUP].copy_from_slice(from);
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

/// Offsets of the parts of an expanded panel, in bytes.
#[derive(Clone, Copy)]
struct Parts {
    /// f32 scales, `[block, 16]`; the digits come before: `[columns / 64, 2, 16, 64]`.
    scales: usize,
    /// f32 minimums, `[group or half group, 16]`.
    minimums: usize,
    bytes: usize,
}

impl Task<'_> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    unsafe fn run<F: Format>(self, format: F) {
        let columns = self.matrix.columns;
        let kind = Layout::of(self.matrix.data_type).map_or(ScaleKind::Super, |layout| layout.scales);
        let zero = Layout::of(self.matrix.data_type).map_or(0, |layout| layout.zero);
        let minimums = match kind {
            ScaleKind::SuperMinimum => columns / GROUP,
            ScaleKind::SuperHalvesMinimum => columns / GROUP * 2,
            _ => 0,
        };
        let scales = 2 * columns * PANEL_ROWS;
        let after = scales + columns / BLOCK * PANEL_ROWS * 4;
        let parts = Parts { scales, minimums: after, bytes: after + minimums * PANEL_ROWS * 4 };
        let at_once = (EXPANDED_BYTES / parts.bytes).clamp(1, 24);
        let mut scratch = SCRATCH.take();
        if scratch.len() * LINE < parts.bytes * at_once {
            scratch.resize((parts.bytes * at_once).div_ceil(LINE), Line::default());
        }
        let start = scratch.as_mut_ptr().cast::<u8>();
        // SAFETY: the configuration is valid, and tiles are available.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILE_CONFIG, options(nostack, readonly)) };
        let mut first = self.panels.start;
        while first < self.panels.end {
            let count = at_once.min(self.panels.end - first);
            // SAFETY: the scratch has room for `at_once` panels; the rest is the caller's promise.
            unsafe {
                for index in 0..count {
                    self.expand(format, kind, zero, first + index, start.add(index * parts.bytes), parts);
                }
                for rows in (0..self.input.rows()).step_by(PAIR) {
                    for index in 0..count {
                        self.pair(start.add(index * parts.bytes), parts, kind, first + index, rows);
                    }
                }
            }
            first += count;
        }
        // SAFETY: tiles are available.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
        SCRATCH.set(scratch);
    }

    /// Code times scale, as two signed digits to the base 128.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn expand<F: Format>(&self, format: F, kind: ScaleKind, zero: i32, index: usize, to: *mut u8, parts: Parts) {
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
        for group in 0..groups {
            let (outer, inner) = (group / SUPER_GROUPS, group % SUPER_GROUPS);
            // SAFETY: the panel has the group's codes and scales, and `to` room for the expanded panel.
            unsafe {
                let block = panel.scales.add(outer * super_bytes);
                if inner == 0 {
                    let scale = _mm512_cvtph_ps(_mm256_loadu_si256(block.cast()));
                    _mm512_storeu_ps(to.add(parts.scales).cast::<f32>().add(outer * PANEL_ROWS), scale);
                }
                let lines = format.lines(simd, panel, group, 0);
                for half in 0..2 {
                    let at = block.add(first_scale + group_bytes * inner + second * half);
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
                        let factor = _mm512_cvtph_ps(_mm256_loadu_si256(block.add(32).cast()));
                        let minimum = _mm512_mul_ps(factor, _mm512_cvtepi32_ps(minimum));
                        let slot = if second > 0 { 2 * group + half } else { group };
                        _mm512_storeu_ps(to.add(parts.minimums).cast::<f32>().add(slot * PANEL_ROWS), minimum);
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
                        let to = to.add(group / 2 * 2 * 1024 + line * LINE);
                        _mm512_storeu_si512(to.cast(), low);
                        _mm512_storeu_si512(to.add(1024).cast(), high);
                    }
                }
            }
        }
    }

    /// One expanded panel times 32 input rows (fewer at the end: the input is padded with zero rows).
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn pair(&self, weights: *const u8, parts: Parts, kind: ScaleKind, index: usize, first: usize) {
        let columns = self.matrix.columns;
        let rows = PAIR.min(self.input.rows() - first);
        let blocks = columns / BLOCK;
        let mut sums = [_mm512_setzero_ps(); PAIR];
        let mut tiles = Tiles([0; 4 * 256]);
        let halves = match kind {
            ScaleKind::SuperMinimum => Some(false),
            ScaleKind::SuperHalvesMinimum => Some(true),
            _ => None,
        };
        // SAFETY: the expanded panel and the arranged input have all blocks; outputs are the caller's promise.
        unsafe {
            let top = self.input.tiles[first * columns..].as_ptr();
            // The second 16 rows may not exist: multiply the first ones again and ignore the result.
            let bottom = if rows > AMX_ROWS { top.add(AMX_ROWS * columns) } else { top };
            let scales = weights.add(parts.scales).cast::<f32>();
            for block in 0..blocks {
                let at = block * BLOCK / STEP;
                tile_block(weights.add(at * 2048), top.add(at * 1024), bottom.add(at * 1024));
                // Tiles and vectors have units of their own: while the tiles of this block are multiplied, the vectors
                // take in its minimums and the results of the block before.
                if let Some(halves) = halves {
                    self.minimums(weights.add(parts.minimums), first, rows, halves, block, &mut sums);
                }
                if block > 0 {
                    self.collect(&tiles, scales, first, block - 1, &mut sums);
                }
                store_tiles(&mut tiles);
            }
            self.collect(&tiles, scales, first, blocks - 1, &mut sums);
            let outputs = PANEL_ROWS.min(self.matrix.rows - index * PANEL_ROWS);
            let mask = ((1_u32 << outputs) - 1) as __mmask16;
            let column = (index - self.panels.start) * PANEL_ROWS;
            for (row, sum) in sums.iter().enumerate().take(rows) {
                _mm512_mask_storeu_ps(self.out.add((first + row) * self.out_stride + column), mask, *sum);
            }
        }
    }

    /// `sums += (high digits * 128 + low digits) * weight scale * input scale` for one block.
    ///
    /// # Safety
    /// `scales` has the block's 16 scales.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn collect(&self, tiles: &Tiles, scales: *const f32, first: usize, block: usize, sums: &mut [__m512; PAIR]) {
        // SAFETY: the caller's promise.
        let scale = unsafe { _mm512_loadu_ps(scales.add(block * PANEL_ROWS)) };
        for (tile, sums) in sums.chunks_exact_mut(TILE_ROWS).enumerate() {
            let Some(factors) = self.factors(first + tile * TILE_ROWS, block * SUPER_GROUPS, 0) else { break };
            let tiles = &tiles.0[tile / 2 * 512 + tile % 2 * TILE_ROWS * 16..][..256 + TILE_ROWS * 16];
            for (row, (sum, factor)) in sums.iter_mut().zip(factors).enumerate() {
                // SAFETY: both rows lie within the slice, whose length is fixed above.
                let (low, high) = unsafe {
                    let at = tiles.as_ptr().add(row * 16);
                    (_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(256).cast()))
                };
                let total = _mm512_add_epi32(_mm512_slli_epi32::<7>(high), low);
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(total), scale);
                *sum = _mm512_fmadd_ps(scaled, _mm512_set1_ps(*factor), *sum);
            }
        }
    }

    /// The input factors `which` of a group for the tile of rows at `base`; `None` past the last row.
    #[inline(always)]
    fn factors(&self, base: usize, group: usize, which: usize) -> Option<&[f32]> {
        if base >= self.input.rows() {
            return None;
        }
        let count = tile_rows(base, self.input.rows());
        let at = base * (self.matrix.columns / GROUP) * FACTORS + (group * FACTORS + which) * count;
        Some(&self.input.blocks.factors[at..at + count])
    }

    /// `sums -= minimums . (scaled group sums of the input)` for one block.
    ///
    /// # Safety
    /// `minimums` has the block's minimums.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    #[inline]
    unsafe fn minimums(
        &self,
        minimums: *const u8,
        first: usize,
        rows: usize,
        halves: bool,
        block: usize,
        sums: &mut [__m512; PAIR],
    ) {
        for (tile, sums) in sums.chunks_exact_mut(TILE_ROWS).enumerate().take(rows.div_ceil(TILE_ROWS)) {
            let mut local = [_mm512_setzero_ps(); TILE_ROWS];
            local.copy_from_slice(sums);
            for group in block * SUPER_GROUPS..(block + 1) * SUPER_GROUPS {
                for half in 0..1 + usize::from(halves) {
                    let (slot, which) = if halves { (2 * group + half, 2 + half) } else { (group, 1) };
                    // SAFETY: the caller's promise.
                    let minimum = unsafe { _mm512_loadu_ps(minimums.cast::<f32>().add(slot * PANEL_ROWS)) };
                    let Some(factors) = self.factors(first + tile * TILE_ROWS, group, which) else { return };
                    if let Ok(factors) = <&[f32; TILE_ROWS]>::try_from(factors) {
                        for row in 0..TILE_ROWS {
                            local[row] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(factors[row]), local[row]);
                        }
                    } else {
                        for (sum, factor) in local.iter_mut().zip(factors) {
                            *sum = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(*factor), *sum);
                        }
                    }
                }
            }
            sums.copy_from_slice(&local);
        }
    }
}

/// Four stored result tiles, 16 x 16: low and high digits of the first 16 rows, then of the second.
#[repr(C, align(64))]
struct Tiles([i32; 4 * 256]);

/// 32 input rows times 16 outputs over one block of 256 columns, into tile registers 0 to 3.
///
/// # Safety
/// `weights` has `[4, 2, 1024]` bytes, `top` and `bottom` have `[4, 1024]`; tiles are configured.
#[inline(always)]
unsafe fn tile_block(weights: *const u8, top: *const i8, bottom: *const i8) {
    // SAFETY: loads stay within the blocks; only tile registers are changed.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem, preserves_flags)
        );
        for step in 0..BLOCK / STEP {
            asm!(
                "tileloadd tmm4, [{top} + {stride}]",
                "tileloadd tmm6, [{low} + {stride}]",
                "tileloadd tmm5, [{bottom} + {stride}]",
                "tileloadd tmm7, [{high} + {stride}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
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
}

/// Stores what [`tile_block`] computed.
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
