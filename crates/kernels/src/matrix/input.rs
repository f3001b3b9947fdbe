//! The input rows of a product, in the form that the kernels read.
//!
//! Inputs are quantised to bytes with one scale for each group of 32 columns. For weights of the 256-column types all
//! eight groups of a block share one scale, as GGML's `Q8_K` has it, so that results stay comparable with llama.cpp.
//!
//! Eight rows form a tile (the last tile has what remains). A tile's bytes lie group by group, and within a group row by
//! row, so that a kernel walks through one contiguous stream.

use super::Matrix;
use super::layout::GROUP;
use crate::ThreadPool;
use crate::pool::SharedSlice;
#[cfg(target_arch = "x86_64")]
use crate::simd::Isa;

/// Rows in a tile.
pub(super) const TILE_ROWS: usize = 8;

/// Per group and row: the scale, and the scale times the sum of the codes of the group, its first and its second half.
pub(super) const FACTORS: usize = 4;

/// How inputs are prepared for a weight type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// As they are.
    Float,
    /// A scale for each 32 columns.
    Groups,
    /// A scale for each 256 columns.
    Blocks,
}

/// Rows quantised by one scheme.
#[derive(Debug, Default)]
pub(super) struct Quantized {
    /// Per tile: `[group, row, 32]`.
    pub(super) codes: Vec<i8>,
    /// Per tile: `[group, FACTORS, row]`.
    pub(super) factors: Vec<f32>,
    ready: bool,
}

/// The input rows of a product, quantised as the matrices at hand ask for. Allocated once, reused for every layer.
#[derive(Debug, Default)]
pub struct Input {
    rows: usize,
    columns: usize,
    capacity: usize,
    /// Per tile: `[column, row]`.
    pub(super) floats: Vec<f32>,
    floats_ready: bool,
    pub(super) groups: Quantized,
    pub(super) blocks: Quantized,
    /// Instead of the codes of `blocks`, where AMX tiles are used: `[16 rows, columns / 64, row, 64]`.
    #[cfg(target_arch = "x86_64")]
    pub(super) tiles: Vec<i8>,
    /// The sums of the codes of `blocks` as integers. Per tile: `[columns / 256, SUM_PAIRS, row]`.
    #[cfg(target_arch = "x86_64")]
    pub(super) sums: Vec<i32>,
    #[cfg(target_arch = "x86_64")]
    tiles_ready: bool,
}

impl Input {
    /// Room for `rows` rows of up to `columns` values.
    #[must_use]
    pub fn with_capacity(rows: usize, columns: usize) -> Self {
        // Memory of a form that no matrix asks for is reserved but never touched.
        Self { capacity: rows * columns.next_multiple_of(GROUP), ..Self::default() }
    }

    /// Bytes that an input of this capacity holds at most.
    #[must_use]
    pub fn byte_len(rows: usize, columns: usize) -> usize {
        let padded = rows * columns.next_multiple_of(GROUP);
        padded * 4
            + 2 * (padded + padded / GROUP * FACTORS * 4)
            + rows.next_multiple_of(16) * columns.next_multiple_of(GROUP)
            + padded / 256 * 12 * 4
    }

    /// Takes `values` (`[rows, columns]`) as the input of products with `matrices`.
    pub fn set(&mut self, pool: &ThreadPool, values: &[f32], columns: usize, matrices: &[&Matrix]) {
        self.rows = values.len() / columns.max(1);
        self.columns = columns;
        #[cfg(target_arch = "x86_64")]
        {
            self.tiles_ready = false;
        }
        let wants = |scheme| matrices.iter().any(|matrix| matrix.scheme() == scheme);
        self.floats_ready = wants(Scheme::Float);
        if self.floats_ready {
            self.floats.resize(self.capacity.max(values.len()), 0.0);
            let out = SharedSlice::new(&mut self.floats);
            pool.split(self.rows, TILE_ROWS, |rows| transpose(values, columns, rows, &out));
        }
        for (quantized, scheme, block) in [(&mut self.groups, Scheme::Groups, 1), (&mut self.blocks, Scheme::Blocks, 8)]
        {
            quantized.ready = wants(scheme);
            if quantized.ready {
                let size = self.capacity.max(values.len());
                quantized.factors.resize(size / GROUP * FACTORS, 0.0);
                #[cfg(target_arch = "x86_64")]
                if scheme == Scheme::Blocks {
                    self.tiles_ready = self.rows >= super::amx::AMX_ROWS && Isa::detect() == Isa::Amx;
                    if self.tiles_ready {
                        arrange_tiles(pool, values, columns, &mut self.tiles, &mut self.sums, &mut quantized.factors);
                        continue;
                    }
                }
                quantized.codes.resize(size, 0);
                let codes = SharedSlice::new(&mut quantized.codes);
                let factors = SharedSlice::new(&mut quantized.factors);
                pool.split(self.rows, TILE_ROWS, |rows| {
                    super::quantize::quantize_rows(values, columns, block, rows, &codes, &factors);
                });
            }
        }
    }

    /// Whether the rows are prepared for tile products.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn has_tiles(&self) -> bool {
        self.tiles_ready
    }

    /// Rows at present.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the rows are prepared for `matrix`.
    pub(super) fn suits(&self, matrix: &Matrix) -> bool {
        self.columns == matrix.columns()
            && match matrix.scheme() {
                Scheme::Float => self.floats_ready,
                Scheme::Groups => self.groups.ready,
                Scheme::Blocks => self.blocks.ready,
            }
    }
}

/// Quantises rows for tile products: their codes once, in the order of tile loads, and the sums of the codes as integers.
#[cfg(target_arch = "x86_64")]
fn arrange_tiles(
    pool: &ThreadPool,
    values: &[f32],
    columns: usize,
    tiles: &mut Vec<i8>,
    sums: &mut Vec<i32>,
    factors: &mut [f32],
) {
    use super::amx::{AMX_ROWS, SUM_PAIRS, pair_sums, places};
    let rows = values.len() / columns;
    // Of every 256 columns.
    let pairs = columns / 256 * SUM_PAIRS;
    let row_factors = columns / GROUP * FACTORS;
    if tiles.len() < rows.next_multiple_of(AMX_ROWS) * columns {
        tiles.resize(rows.next_multiple_of(AMX_ROWS) * columns, 0);
    }
    if sums.len() < rows * pairs {
        sums.resize(rows * pairs, 0);
    }
    let (tiles, sums, factors) = (SharedSlice::new(tiles), SharedSlice::new(sums), SharedSlice::new(factors));
    pool.split(rows, AMX_ROWS, |range| {
        for sixteen in range.step_by(AMX_ROWS) {
            // SAFETY: each thread has 16 rows of its own.
            let codes = unsafe { tiles.range(sixteen * columns..(sixteen + AMX_ROWS) * columns) };
            if rows - sixteen < AMX_ROWS {
                codes.fill(0);
            }
            for first in (sixteen..rows.min(sixteen + AMX_ROWS)).step_by(TILE_ROWS) {
                let end = first + tile_rows(first, rows);
                // SAFETY: as above.
                let factors = unsafe { factors.range(first * row_factors..end * row_factors) };
                let values = &values[first * columns..end * columns];
                super::quantize::quantize_tile(values, columns, 8, places(first), codes, factors);
                // SAFETY: as above; tiles are used, so the features are there.
                unsafe { pair_sums(factors, end - first, sums.range(first * pairs..end * pairs)) };
            }
        }
    });
}

/// Rows in the tile that starts at `first`, of `rows` in all.
pub(super) fn tile_rows(first: usize, rows: usize) -> usize {
    TILE_ROWS.min(rows - first)
}

/// `[row, column]` to `[column, row]` within each tile.
fn transpose(values: &[f32], columns: usize, rows: std::ops::Range<usize>, out: &SharedSlice<'_, f32>) {
    let total = values.len() / columns;
    for first in rows.step_by(TILE_ROWS) {
        let count = tile_rows(first, total);
        // SAFETY: each thread has tiles of its own.
        let tile = unsafe { out.range(first * columns..(first + count) * columns) };
        let mut from = 0;
        if count == TILE_ROWS {
            // Square blocks, so that what is written lies close together.
            let rows: [&[f32]; TILE_ROWS] = std::array::from_fn(|row| &values[(first + row) * columns..][..columns]);
            for block in tile.as_chunks_mut::<{ TILE_ROWS * TILE_ROWS }>().0 {
                let square: [[f32; TILE_ROWS]; TILE_ROWS] =
                    rows.map(|row| std::array::from_fn(|column| row[from..from + TILE_ROWS][column]));
                for (column, to) in block.as_chunks_mut::<TILE_ROWS>().0.iter_mut().enumerate() {
                    *to = std::array::from_fn(|row| square[row][column]);
                }
                from += TILE_ROWS;
            }
        }
        for row in 0..count {
            let values = &values[(first + row) * columns..][..columns];
            for (column, value) in values.iter().enumerate().skip(from) {
                tile[column * count + row] = *value;
            }
        }
    }
}
