//! The register tile: some rows by two vectors, summed over the depth of a block.

use crate::simd::{MAX_LANES, Simd};

/// Vectors of a tile's width.
pub(super) const COLUMNS: usize = 2;

/// Rows of the highest tile.
const MOST_ROWS: usize = 12;

/// The output, from some element on.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: *mut f32,
    pub(crate) stride: usize,
}

// SAFETY: threads write disjoint elements through the pointer.
unsafe impl Sync for Place {}

impl Place {
    /// # Safety
    /// The element must be within the output.
    pub(super) unsafe fn at(self, row: usize, column: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.stride + column) }
    }

    /// The output from this element on.
    ///
    /// # Safety
    /// As [`Self::at`].
    pub(super) unsafe fn from(self, row: usize, column: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { start: unsafe { self.at(row, column) }, stride: self.stride }
    }
}

/// Rows of a tile: all registers but those for the inputs.
#[inline(always)]
pub(super) const fn tile_rows<S: Simd>() -> usize {
    if S::REGISTERS >= 32 { MOST_ROWS } else { 6 }
}

/// Rows of tiles for so many rows and no more: those that leave the fewest of a tile unused.
#[inline(always)]
pub(super) const fn few_rows<S: Simd>(rows: usize) -> usize {
    match rows {
        ..=8 | 13..=16 if S::REGISTERS >= 32 => 8,
        _ => tile_rows::<S>(),
    }
}

/// Adds (or writes) the product of two panels to the output: `rows` by `columns` of the tile count.
///
/// # Safety
/// `out` must be valid for `rows` by `columns` elements, and the panels for `depth` times the tile's sides.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd>(
    simd: S,
    depth: usize,
    panels: (&[f32], &[f32]),
    out: Place,
    rows: usize,
    columns: usize,
    add: bool,
) {
    let (a, b) = panels;
    // SAFETY: the caller's promise.
    unsafe { tile_of(simd, tile_rows::<S>(), depth, a, (b, COLUMNS * S::LANES), out, rows, columns, add) };
}

/// [`tile`] of a height that [`tile_rows`] or [`few_rows`] gave; elements of `b` lie so far apart.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn tile_of<S: Simd>(
    simd: S,
    height: usize,
    depth: usize,
    a: &[f32],
    b: (&[f32], usize),
    out: Place,
    rows: usize,
    columns: usize,
    add: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match height {
            MOST_ROWS if S::REGISTERS >= 32 => sized::<S, MOST_ROWS>(simd, depth, a, b, out, rows, columns, add),
            8 if S::REGISTERS >= 32 => sized::<S, 8>(simd, depth, a, b, out, rows, columns, add),
            _ => sized::<S, 6>(simd, depth, a, b, out, rows, columns, add),
        }
    }
}

/// # Safety
/// As [`tile_of`].
#[inline(always)]
unsafe fn sized<S: Simd, const ROWS: usize>(
    simd: S,
    depth: usize,
    a: &[f32],
    (b, stride): (&[f32], usize),
    out: Place,
    rows: usize,
    columns: usize,
    add: bool,
) {
    debug_assert!(a.len() >= depth * ROWS && (depth == 0 || b.len() >= (depth - 1) * stride + COLUMNS * S::LANES));
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut sums = [[simd.zero(); COLUMNS]; ROWS];
    for at in 0..depth {
        // SAFETY: the panels have `depth` times their sides.
        unsafe {
            let b = b.add(at * stride);
            let b = [simd.load(b), simd.load(b.add(S::LANES))];
            let a = a.add(at * ROWS);
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat(*a.add(row));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.fma(factor, b, *sum);
                }
            }
        }
    }
    // Loops of fixed length only, or the sums would have to live in memory.
    if rows == ROWS && columns == COLUMNS * S::LANES {
        for (row, sums) in sums.into_iter().enumerate() {
            for (index, sum) in sums.into_iter().enumerate() {
                // SAFETY: the tile is whole.
                unsafe {
                    let to = out.at(row, index * S::LANES);
                    simd.store(if add { simd.add(simd.load(to), sum) } else { sum }, to);
                }
            }
        }
        return;
    }
    let mut spill = [0.0; MOST_ROWS * COLUMNS * MAX_LANES];
    for (sums, spill) in sums.into_iter().zip(spill.chunks_exact_mut(COLUMNS * S::LANES)) {
        for (sum, spill) in sums.into_iter().zip(spill.chunks_exact_mut(S::LANES)) {
            simd.store_slice(sum, spill);
        }
    }
    for (row, spill) in spill.chunks_exact(COLUMNS * S::LANES).enumerate().take(rows) {
        // SAFETY: within `rows` by `columns`.
        let to = unsafe { std::slice::from_raw_parts_mut(out.at(row, 0), columns) };
        for (to, sum) in to.iter_mut().zip(spill) {
            *to = if add { *to + sum } else { *sum };
        }
    }
}
