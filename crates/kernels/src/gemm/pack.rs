//! Lines of a factor in panels: element 0 of `width` lines, element 1, and so on.

use super::factor::View;
use crate::simd::{Kernel, Simd};

/// Elements of a line that are moved at a time where lines lie one after the other.
const SQUARE: usize = 8;

/// Packs lines of a view, up to some element, into panels of `width` lines; the last panel is filled up with zeros.
pub(super) struct Pack<'a> {
    pub(super) view: View<'a>,
    pub(super) lines: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { view, lines, depth, width, to } = self;
        for (first, panel) in (0..lines).step_by(width).zip(to.chunks_exact_mut(width * depth)) {
            let count = width.min(lines - first);
            if view.line_stride == 1 {
                for (at, to) in panel.chunks_exact_mut(width).enumerate() {
                    let from = at * view.depth_stride + first;
                    to[..count].copy_from_slice(&view.values[from..from + count]);
                    to[count..].fill(0.0);
                }
            } else {
                interleave(view, first, count, depth, width, panel);
            }
        }
    }
}

/// A panel of lines that lie one after the other, in squares, so that what is read and written stays close together.
#[inline(always)]
fn interleave(view: View<'_>, first: usize, count: usize, depth: usize, width: usize, panel: &mut [f32]) {
    let line = |index: usize| &view.values[(first + index) * view.line_stride..][..depth];
    let whole = depth / SQUARE * SQUARE;
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
        for at in whole..depth {
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
