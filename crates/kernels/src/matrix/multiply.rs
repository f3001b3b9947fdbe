//! From a matrix and its input to the inner loops: choosing the format, the instruction set and the blocking.

use std::cell::Cell;
use std::ops::Range;

use super::dot::{Dot, DotKernel, dispatch};
use super::format::{
    EXPANDED_SCALE_BYTES, Expanded, Format, GROUP_MINIMUM, GROUP_SCALE, Packed, Panel, SUPER, SUPER_HALVES,
    SUPER_HALVES_MINIMUM, SUPER_MINIMUM, expand,
};
use super::input::{FACTORS, Quantized, Scheme, TILE_ROWS, tile_rows};
use super::layout::{GROUP, GROUP_LINES, LINE, PANEL_ROWS};
use super::product::{Rows, float, float_pair, quantized};
use super::{Input, Line, Matrix};
use crate::DataType;

/// Up to this many input rows the weights are expanded in registers; above, once into memory for all rows.
const DIRECT_ROWS: usize = TILE_ROWS;
/// Bytes of expanded panels to keep in the second-level cache while the input rows go by.
const EXPANDED_BYTES: usize = 512 << 10;

thread_local! {
    /// Expanded panels; grows to what the largest matrix needs and stays.
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// `out[row, panel's outputs] = input . panels`, where `out` points at the first output of the first panel.
///
/// # Safety
/// `input` suits `matrix`, the panels exist, and `out` has room for the panels' outputs (16 each, fewer in the last
/// panel) in each of the input's rows, `out_stride` apart, that no other thread touches.
pub(super) unsafe fn multiply(matrix: &Matrix, input: &Input, panels: Range<usize>, out: *mut f32, out_stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if input.has_tiles() && super::amx::suits(matrix, input.rows()) {
        // SAFETY: the input has tiles only where they are available; the rest is the caller's promise.
        return unsafe { super::amx::multiply(matrix, input, panels, out, out_stride) };
    }
    dispatch(Task { matrix, input, panels, out, out_stride });
}

/// `$body` with `$format` bound to the packed format of a quantised type; nothing for floats.
macro_rules! with_format {
    ($data_type:expr, $format:ident => $body:expr) => {
        match $data_type {
            DataType::F32 | DataType::F16 | DataType::Bf16 => {}
            DataType::Q4_0 => with_format!(@ $format, Packed::<4, 8, false, GROUP_SCALE>, $body),
            DataType::Q4_1 => with_format!(@ $format, Packed::<4, 0, false, GROUP_MINIMUM>, $body),
            DataType::Q5_0 => with_format!(@ $format, Packed::<5, 16, false, GROUP_SCALE>, $body),
            DataType::Q5_1 => with_format!(@ $format, Packed::<5, 0, false, GROUP_MINIMUM>, $body),
            DataType::Q8_0 => with_format!(@ $format, Packed::<8, 128, false, GROUP_SCALE>, $body),
            DataType::Q2K => with_format!(@ $format, Packed::<2, 0, false, SUPER_HALVES_MINIMUM>, $body),
            DataType::Q3K => with_format!(@ $format, Packed::<3, 4, false, SUPER_HALVES>, $body),
            DataType::Q4K => with_format!(@ $format, Packed::<4, 0, false, SUPER_MINIMUM>, $body),
            DataType::Q5K => with_format!(@ $format, Packed::<5, 0, false, SUPER_MINIMUM>, $body),
            DataType::Q6K => with_format!(@ $format, Packed::<6, 32, false, SUPER_HALVES>, $body),
            DataType::Iq4Nl => with_format!(@ $format, Packed::<4, 128, true, GROUP_SCALE>, $body),
            DataType::Iq4Xs => with_format!(@ $format, Packed::<4, 128, true, SUPER>, $body),
        }
    };
    (@ $format:ident, $packed:expr, $body:expr) => {{
        let $format = $packed;
        $body
    }};
}

struct Task<'a> {
    matrix: &'a Matrix,
    input: &'a Input,
    panels: Range<usize>,
    out: *mut f32,
    out_stride: usize,
}

impl DotKernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Dot>(self, simd: S) {
        // SAFETY: the promise of `multiply`'s caller.
        unsafe {
            if self.matrix.scheme() == Scheme::Float {
                self.floats(simd);
            } else if self.input.rows() <= DIRECT_ROWS {
                with_format!(self.matrix.data_type, format => self.direct(simd, format));
            } else {
                self.expanded(simd);
            }
        }
    }
}

impl Task<'_> {
    fn groups(&self) -> usize {
        self.matrix.columns / GROUP
    }

    fn panel(&self, index: usize) -> Panel {
        let start = self.matrix.panel(index).as_ptr();
        // The scales follow the codes; the offset is within the panel.
        Panel { codes: start, scales: start.wrapping_add(self.groups() * self.matrix.group_code_bytes()) }
    }

    fn prepared(&self) -> &Quantized {
        if self.matrix.scheme() == Scheme::Blocks { &self.input.blocks } else { &self.input.groups }
    }

    /// The rows of the tile that starts at input row `first`, from its row `skip` on.
    fn rows(&self, first: usize, skip: usize) -> Rows {
        let prepared = self.prepared();
        let stride = tile_rows(first, self.input.rows());
        Rows {
            codes: prepared.codes[first * self.matrix.columns + skip * GROUP..].as_ptr(),
            factors: prepared.factors[first * self.groups() * FACTORS + skip..].as_ptr(),
            stride,
        }
    }

    /// Outputs that panel `index` really has.
    fn outputs(&self, index: usize) -> usize {
        PANEL_ROWS.min(self.matrix.rows - index * PANEL_ROWS)
    }

    /// Where the outputs of panel `index` for input row `row` go, and the distance between rows; panels with fewer than
    /// 16 outputs go through `spill`.
    #[inline(always)]
    unsafe fn place(&self, index: usize, row: usize, spill: &mut [f32]) -> (*mut f32, usize) {
        if self.outputs(index) < PANEL_ROWS {
            return (spill.as_mut_ptr(), PANEL_ROWS);
        }
        let column = (index - self.panels.start) * PANEL_ROWS;
        // SAFETY: the caller of `multiply` promises the room.
        (unsafe { self.out.add(row * self.out_stride + column) }, self.out_stride)
    }

    /// Copies the outputs of a partial panel to their place.
    #[inline(always)]
    unsafe fn unspill(&self, index: usize, row: usize, rows: usize, spill: &[f32]) {
        let outputs = self.outputs(index);
        if outputs < PANEL_ROWS {
            let column = (index - self.panels.start) * PANEL_ROWS;
            for (offset, from) in spill.chunks_exact(PANEL_ROWS).take(rows).enumerate() {
                // SAFETY: the caller of `multiply` promises room for the matrix's outputs.
                unsafe {
                    let to = self.out.add((row + offset) * self.out_stride + column);
                    std::ptr::copy_nonoverlapping(from.as_ptr(), to, outputs);
                }
            }
        }
    }

    /// Few rows: the weights are expanded in registers, for four rows at a time.
    #[inline(always)]
    unsafe fn direct<S: Dot, F: Format>(&self, simd: S, format: F) {
        let groups = self.groups();
        for index in self.panels.clone() {
            let panel = self.panel(index);
            let mut done = 0;
            while done < self.input.rows() {
                let rows = self.rows(0, done);
                let count = (self.input.rows() - done).min(4);
                let mut spill = [0.0; TILE_ROWS * PANEL_ROWS];
                // SAFETY: the caller's promise; the input is one tile.
                unsafe {
                    let (out, stride) = self.place(index, done, &mut spill);
                    match count {
                        1 => quantized::<S, F, 1, 1>(simd, format, [panel], groups, rows, out, stride),
                        2 => quantized::<S, F, 2, 1>(simd, format, [panel], groups, rows, out, stride),
                        3 => quantized::<S, F, 3, 1>(simd, format, [panel], groups, rows, out, stride),
                        _ => quantized::<S, F, 4, 1>(simd, format, [panel], groups, rows, out, stride),
                    }
                    self.unspill(index, done, count, &spill);
                }
                done += count;
            }
        }
    }

    /// Many rows: expands some panels, as many as fit the cache, then lets all input rows go by.
    #[inline(always)]
    unsafe fn expanded<S: Dot>(&self, simd: S) {
        let groups = self.groups();
        let code_bytes = groups * GROUP_LINES * LINE;
        let bytes = code_bytes + groups * EXPANDED_SCALE_BYTES;
        let at_once = (EXPANDED_BYTES / bytes).clamp(1, 16);
        let mut scratch = SCRATCH.take();
        if scratch.len() * LINE < bytes * at_once {
            scratch.resize(bytes * at_once / LINE, Line::default());
        }
        let start = scratch.as_mut_ptr().cast::<u8>();
        let mut first = self.panels.start;
        while first < self.panels.end {
            let count = at_once.min(self.panels.end - first);
            for index in 0..count {
                let panel = self.panel(first + index);
                // SAFETY: the scratch has room for `at_once` panels; the rest is the caller's promise.
                unsafe {
                    let to = start.add(index * bytes);
                    let scales = to.add(code_bytes);
                    with_format!(self.matrix.data_type, format => expand(simd, format, panel, groups, to, scales));
                }
            }
            for tile in (0..self.input.rows()).step_by(TILE_ROWS) {
                let mut index = 0;
                while index < count {
                    // Two panels at a time where the registers hold their sums: each input byte is then read once for 32
                    // outputs.
                    let at_once = match S::REGISTERS >= 32 && index + 1 < count {
                        true if self.outputs(first + index + 1) == PANEL_ROWS => 2,
                        _ => 1,
                    };
                    let codes = start.wrapping_add(index * bytes);
                    let panel = Panel { codes, scales: codes.wrapping_add(code_bytes) };
                    // SAFETY: as above.
                    unsafe {
                        match self.matrix.data_type {
                            DataType::Q2K | DataType::Q3K | DataType::Q6K => {
                                self.tile(simd, Expanded::<true, false>, panel, bytes, at_once, first + index, tile);
                            }
                            DataType::Q8_0 | DataType::Iq4Nl | DataType::Iq4Xs => {
                                self.tile(simd, Expanded::<false, true>, panel, bytes, at_once, first + index, tile);
                            }
                            _ => self.tile(simd, Expanded::<false, false>, panel, bytes, at_once, first + index, tile),
                        }
                    }
                    index += at_once;
                }
            }
            first += count;
        }
        SCRATCH.set(scratch);
    }

    /// One or two expanded panels (`bytes` apart) times one tile of input rows.
    #[inline(always)]
    unsafe fn tile<S: Dot, F: Format>(
        &self,
        simd: S,
        format: F,
        panel: Panel,
        bytes: usize,
        at_once: usize,
        index: usize,
        first: usize,
    ) {
        let count = tile_rows(first, self.input.rows());
        let groups = self.groups();
        let panel = |which: usize| Panel {
            codes: panel.codes.wrapping_add(which * bytes),
            scales: panel.scales.wrapping_add(which * bytes),
        };
        let mut done = 0;
        if at_once == 2 {
            while count - done >= 4 {
                let rows = self.rows(first, done);
                // SAFETY: the caller's promise; both panels are whole.
                unsafe {
                    let (out, stride) = self.place(index, first + done, &mut []);
                    quantized::<S, F, 4, 2>(simd, format, [panel(0), panel(1)], groups, rows, out, stride);
                }
                done += 4;
            }
        }
        for which in 0..at_once {
            let (mut done, index) = (done, index + which);
            while done < count {
                let rows = self.rows(first, done);
                // SAFETY: the caller's promise; the row sizes add up to `count`.
                unsafe {
                    let mut spill = [0.0; TILE_ROWS * PANEL_ROWS];
                    let (out, stride) = self.place(index, first + done, &mut spill);
                    let multiplied = match count - done {
                        4.. => {
                            quantized::<S, F, 4, 1>(simd, format, [panel(which)], groups, rows, out, stride);
                            4
                        }
                        2.. => {
                            quantized::<S, F, 2, 1>(simd, format, [panel(which)], groups, rows, out, stride);
                            2
                        }
                        _ => {
                            quantized::<S, F, 1, 1>(simd, format, [panel(which)], groups, rows, out, stride);
                            1
                        }
                    };
                    self.unspill(index, first + done, multiplied, &spill);
                    done += multiplied;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn floats<S: Dot>(&self, simd: S) {
        let (matrix, rows) = (self.matrix, self.input.rows());
        let (data_type, columns) = (matrix.data_type, matrix.columns);
        for first in (0..rows).step_by(TILE_ROWS) {
            let count = tile_rows(first, rows);
            let mut index = self.panels.start;
            while index < self.panels.end {
                let panel = matrix.panel(index).as_ptr();
                let is_pair = index + 1 < self.panels.end && self.outputs(index + 1) == PANEL_ROWS;
                if is_pair && count == TILE_ROWS && S::REGISTERS >= 32 {
                    let panels = [panel, matrix.panel(index + 1).as_ptr()];
                    let input = self.input.floats[first * columns..].as_ptr();
                    // SAFETY: the caller's promise; both panels are whole.
                    unsafe {
                        let (out, stride) = self.place(index, first, &mut []);
                        float_pair(simd, data_type, panels, columns, input, count, out, stride);
                    }
                    index += 2;
                    continue;
                }
                let mut done = 0;
                while done < count {
                    let input = self.input.floats[first * columns + done..].as_ptr();
                    // SAFETY: the caller's promise; the row sizes add up to `count`.
                    unsafe {
                        let mut spill = [0.0; TILE_ROWS * PANEL_ROWS];
                        let (out, stride) = self.place(index, first + done, &mut spill);
                        let multiplied = match count - done {
                            8.. => {
                                float::<S, 8>(simd, data_type, panel, columns, input, count, out, stride);
                                8
                            }
                            4.. => {
                                float::<S, 4>(simd, data_type, panel, columns, input, count, out, stride);
                                4
                            }
                            2.. => {
                                float::<S, 2>(simd, data_type, panel, columns, input, count, out, stride);
                                2
                            }
                            _ => {
                                float::<S, 1>(simd, data_type, panel, columns, input, count, out, stride);
                                1
                            }
                        };
                        self.unspill(index, first + done, multiplied, &spill);
                        done += multiplied;
                    }
                }
                index += 1;
            }
        }
    }
}
