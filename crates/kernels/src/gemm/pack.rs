//! Lines of a factor in panels: element 0 of `width` lines, element 1, and so on.

use std::ops::Range;

use super::Factor;
use crate::simd::{Kernel, Simd};

/// Elements of a line that are moved at a time where lines lie one after the other.
const SQUARE: usize = 8;

/// Packs lines and elements of a factor into panels of `width` lines; the last panel is filled up with zeros.
pub(super) struct Pack<'a> {
    pub(super) factor: Factor<'a>,
    pub(super) lines: Range<usize>,
    pub(super) depth: Range<usize>,
    pub(super) width: usize,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { factor, lines, depth, width, to } = self;
        for (first, panel) in lines.clone().step_by(width).zip(to.chunks_exact_mut(width * depth.len())) {
            let count = width.min(lines.end - first);
            if factor.line_stride == 1 {
                for (at, to) in depth.clone().zip(panel.chunks_exact_mut(width)) {
                    let from = at * factor.depth_stride + first;
                    to[..count].copy_from_slice(&factor.values[from..from + count]);
                    to[count..].fill(0.0);
                }
            } else {
                interleave(factor, first, count, depth.clone(), width, panel);
            }
        }
    }
}

/// A panel of lines that lie one after the other, in squares, so that what is read and written stays close together.
#[inline(always)]
fn interleave(factor: Factor<'_>, first: usize, count: usize, depth: Range<usize>, width: usize, panel: &mut [f32]) {
    let line = |index: usize| &factor.values[(first + index) * factor.line_stride + depth.start..][..depth.len()];
    let whole = depth.len() / SQUARE * SQUARE;
    let mut done = 0;
    while done + SQUARE <= count {
        let lines: [&[f32]; SQUARE] = std::array::from_fn(|index| line(done + index));
        for at in (0..whole).step_by(SQUARE) {
            // Written as loops: arrays of closures are not always unrolled.
            let mut square = [[0.0; SQUARE]; SQUARE];
            for (index, line) in lines.iter().enumerate() {
                let eight = &line[at..at + SQUARE];
                for element in 0..SQUARE {
                    square[element][index] = eight[element];
                }
            }
            for (element, row) in square.iter().enumerate() {
                panel[(at + element) * width + done..][..SQUARE].copy_from_slice(row);
            }
        }
        for at in whole..depth.len() {
            for (index, line) in lines.iter().enumerate() {
                panel[at * width + done + index] = line[at];
            }
        }
        done += SQUARE;
    }
    for index in done..count {
        for (at, value) in line(index).iter().enumerate() {
            panel[at * width + index] = *value;
        }
    }
    if count < width {
        for to in panel.chunks_exact_mut(width) {
            to[count..].fill(0.0);
        }
    }
}
