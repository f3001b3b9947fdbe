//! Products with few columns or few rows, such as those with a LoRA's thin matrices. The other factor is read once, from
//! where it lies: packing it would take longer than the product. Sums are, bit for bit, those of the tiles.

use super::factor::{Factor, View};
use super::pack::Pack;
use super::tile::{COLUMNS, Place, few_rows, tile_of};
use super::{DEPTH, Output, Product, Size, ranges};
use crate::simd::{Isa, Kernel, Simd};

/// Columns, rows or depth, at most.
pub(super) const THIN: usize = 16;
/// Rows, or columns, that a thread takes at a time.
const SHARE: usize = 256;

/// What is thin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thin {
    /// `b` has few lines.
    Columns,
    /// `a` has few lines, and `b` can be read from where it lies.
    Rows,
    /// Both have few elements: packing is little work, and most of the time goes into writing.
    Depth,
}

impl Thin {
    /// What is thin in a product with `b`, of which each element of all lines can be read from where it lies, or not.
    pub(super) fn of(Size { m, n, k }: Size, is_readable_across: bool) -> Option<Self> {
        match () {
            () if n <= THIN => Some(Self::Columns),
            () if k <= THIN => Some(Self::Depth),
            () if m <= THIN && is_readable_across => Some(Self::Rows),
            () => None,
        }
    }
}

impl Product<'_> {
    /// As [`Product::compute_f32`], of few columns or rows.
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn compute_thin(&self, isa: Isa, is_by_rows: bool, b: Factor<'_>, shared: &mut [f32]) {
        let Self { team, size: Size { m, n, k }, a, c, output, .. } = *self;
        let (thin, few, factor, many) = if is_by_rows { (a, m, b, n) } else { (b, n, a, m) };
        // Lines of `a` are taken as they are; what lies across them is like lines of `b` that do, but for the output.
        let is_across = factor.is_readable_across();
        let height = if is_across { isa.dispatch(Height(few)) } else { THIN };
        for depth in ranges(k, DEPTH) {
            let add = output == Output::Add || depth.start > 0;
            let panels = &mut shared[..few.next_multiple_of(height) * depth.len()];
            super::SCRATCH.with_borrow_mut(|scratch| {
                let view = thin.view(0..few, depth.clone(), &mut scratch.expanded);
                isa.dispatch(Pack { view, lines: few, depth: depth.len(), width: height, to: panels });
            });
            let panels = &*panels;
            let share = many.div_ceil(team.threads()).next_multiple_of(THIN).min(SHARE);
            team.each(many.div_ceil(share), |number, scratch| {
                let own = number * share..many.min((number + 1) * share);
                let view = factor.view(own.clone(), depth.clone(), &mut scratch.expanded);
                let (depth, count, packed) = (depth.len(), own.len(), &mut scratch.packed);
                // SAFETY: the caller's promise, and each share is one thread's.
                unsafe {
                    if !is_across {
                        let c = c.from(own.start, 0);
                        isa.dispatch(FewColumns { view, rows: count, depth, panel: panels, c, columns: few, add });
                    } else if is_by_rows {
                        let c = c.from(0, own.start);
                        isa.dispatch(FewRows {
                            view,
                            columns: count,
                            depth,
                            panels,
                            height,
                            rows: few,
                            packed,
                            c,
                            add,
                        });
                    } else {
                        let mut room = [0.0; THIN * SHARE];
                        let place = Place { start: room.as_mut_ptr(), stride: SHARE };
                        let (columns, rows) = (count, few);
                        let kernel =
                            FewRows { view, columns, depth, panels, height, rows, packed, c: place, add: false };
                        isa.dispatch(kernel);
                        for row in 0..count {
                            let to = std::slice::from_raw_parts_mut(c.at(own.start + row, 0), few);
                            for (to, from) in to.iter_mut().zip(room[row..].iter().step_by(SHARE)) {
                                *to = if add { *to + from } else { *from };
                            }
                        }
                    }
                }
            });
        }
    }
}

/// Rows of a panel of so many at most.
struct Height(usize);

impl Kernel for Height {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        few_rows::<S>(self.0)
    }
}

/// Rows of `a`, from where they lie, times a panel of all columns.
struct FewColumns<'a> {
    view: View<'a>,
    rows: usize,
    depth: usize,
    panel: &'a [f32],
    c: Place,
    columns: usize,
    add: bool,
}

impl Kernel for FewColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // As many sums as hide the latency of an addition, and leave room for what is multiplied.
        match S::LANES {
            16 => self.by::<S, 16, 1, 8>(simd),
            8 => self.by::<S, 6, 2, 1>(simd),
            _ => self.by::<S, 6, 4, 1>(simd),
        }
    }
}

impl FewColumns<'_> {
    /// In tiles of `ROWS` rows by `VECTORS` vectors; `STEP` elements of a row one after the other.
    #[inline(always)]
    fn by<S: Simd, const ROWS: usize, const VECTORS: usize, const STEP: usize>(self, simd: S) {
        let Self { view, rows, depth, panel, columns, c, add } = self;
        debug_assert!(VECTORS * S::LANES == THIN && panel.len() >= depth * THIN && view.depth_stride == 1);
        let whole = depth / STEP * STEP;
        for first in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - first);
            // Rows that are not there are the last one once more.
            let lines: [*const f32; ROWS] = std::array::from_fn(|row| {
                view.values[(first + row.min(count - 1)) * view.line_stride..][..depth].as_ptr()
            });
            let mut sums = [[simd.zero(); VECTORS]; ROWS];
            // SAFETY: lines and panel are as long as the depth.
            unsafe {
                for at in (0..whole).step_by(STEP) {
                    add_products::<S, ROWS, VECTORS, STEP>(simd, &lines, panel, at, &mut sums);
                }
                for at in whole..depth {
                    add_products::<S, ROWS, VECTORS, 1>(simd, &lines, panel, at, &mut sums);
                }
            }
            let mut spill = [0.0; THIN];
            for (row, sums) in sums.into_iter().enumerate() {
                for (sum, spill) in sums.into_iter().zip(spill.chunks_exact_mut(S::LANES)) {
                    simd.store_slice(sum, spill);
                }
                if row < count {
                    // SAFETY: the place is valid for the rows and columns: the maker's promise.
                    let to = unsafe { std::slice::from_raw_parts_mut(c.at(first + row, 0), columns) };
                    for (to, sum) in to.iter_mut().zip(&spill) {
                        *to = if add { *to + sum } else { *sum };
                    }
                }
            }
        }
    }
}

/// Adds the products of some elements of each line.
///
/// # Safety
/// The elements must be within each line and the panel.
#[inline(always)]
unsafe fn add_products<S: Simd, const ROWS: usize, const VECTORS: usize, const STEP: usize>(
    simd: S,
    lines: &[*const f32; ROWS],
    panel: &[f32],
    at: usize,
    sums: &mut [[S::F32; VECTORS]; ROWS],
) {
    let mut right = [[simd.zero(); VECTORS]; STEP];
    for (index, right) in right.as_flattened_mut().iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *right = unsafe { simd.load(panel.as_ptr().add(at * THIN + index * S::LANES)) };
    }
    for (line, sums) in lines.iter().zip(sums) {
        for (step, right) in right.iter().enumerate() {
            // SAFETY: the caller's promise.
            let factor = simd.splat(unsafe { *line.add(at + step) });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.fma(factor, *right, *sum);
            }
        }
    }
}

/// Panels of all rows times columns of `b`, from where they lie.
struct FewRows<'a> {
    view: View<'a>,
    columns: usize,
    depth: usize,
    panels: &'a [f32],
    height: usize,
    rows: usize,
    packed: &'a mut Vec<f32>,
    c: Place,
    add: bool,
}

impl Kernel for FewRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { view, columns, depth, panels, height, rows, packed, c, add } = self;
        let width = COLUMNS * S::LANES;
        for first in (0..columns).step_by(width) {
            let count = width.min(columns - first);
            let mut b = (&view.values[first..], view.depth_stride);
            if count < width {
                // Where columns end, those that are not there are zeros.
                packed.resize(packed.len().max(width * depth), 0.0);
                let view = View { values: b.0, ..view };
                Pack { view, lines: count, depth, width, to: &mut packed[..width * depth] }.run(simd);
                b = (packed, width);
            }
            for (panel, row) in (0..rows).step_by(height).enumerate() {
                let a = &panels[panel * height * depth..][..height * depth];
                // SAFETY: the place is valid for the rows and columns: the maker's promise; the panels are whole.
                unsafe { tile_of(simd, height, depth, a, b, c.from(row, first), height.min(rows - row), count, add) };
            }
        }
    }
}
