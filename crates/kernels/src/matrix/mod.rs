//! Weight matrices in the layout that the kernels read, and products with them.
//!
//! A [`Matrix`] is packed once at load: the packed copy replaces the stored one and is at most 4 % larger. See
//! `layout.rs` for the panels, `product.rs` for the inner loops and `multiply.rs` for the blocking around them.

#[cfg(target_arch = "x86_64")]
mod amx;
mod dot;
mod format;
mod gate;
mod input;
mod layout;
pub mod measure;
mod multiply;
mod pack;
mod product;
mod quantize;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;

use crate::ops::Activation;
use crate::pool::SharedSlice;
use crate::{DataType, KernelError, ThreadPool};
#[cfg(target_arch = "x86_64")]
pub(crate) use dot::has_vnni;
pub use input::Input;
use input::Scheme;
use layout::{GROUP, LINE, Layout, PANEL_ROWS};

/// Stored bytes that [`Matrix::pack_in_steps`] packs at a time.
const STEP_BYTES: usize = 8 << 20;

/// A cache line: what working memory is aligned to.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

impl Default for Line {
    fn default() -> Self {
        Self([0; LINE])
    }
}

/// A weight matrix `[rows, columns]`: `rows` outputs, each a dot product over `columns` inputs.
#[derive(Debug)]
pub struct Matrix {
    data_type: DataType,
    rows: usize,
    columns: usize,
    /// Bytes of a panel, a multiple of 64.
    panel_bytes: usize,
    /// The panels; a mapping of its own, so that it begins at a page, and too little memory is an error.
    bytes: MmapMut,
}

impl Matrix {
    /// Packs stored rows (row-major blocks of `data_type`) for the kernels.
    ///
    /// # Errors
    /// Where the shape, the type and the number of bytes do not agree.
    pub fn pack(
        pool: &ThreadPool,
        data_type: DataType,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Self, KernelError> {
        Self::pack_in_steps(pool, data_type, rows, columns, bytes, &mut |_| {})
    }

    /// [`Self::pack`], telling `done` of each range of `bytes` that is not needed any more, so that the caller can give
    /// its memory back before the whole matrix is in memory twice.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn pack_in_steps(
        pool: &ThreadPool,
        data_type: DataType,
        rows: usize,
        columns: usize,
        bytes: &[u8],
        done: &mut dyn FnMut(Range<usize>),
    ) -> Result<Self, KernelError> {
        if !columns.is_multiple_of(data_type.block_len()) {
            return Err(KernelError::PartialBlock { data_type, columns, block: data_type.block_len() });
        }
        let too_large = KernelError::TooLarge { rows, columns };
        let elements = rows.checked_mul(columns).ok_or(too_large.clone())?;
        let expected = data_type.bytes_for(elements).ok_or(too_large)?;
        if expected != bytes.len() {
            return Err(KernelError::ByteCount { data_type, elements, expected, actual: bytes.len() });
        }
        let row_bytes = expected.checked_div(rows).unwrap_or(0);
        let layout = Layout::of(data_type);
        let panel_bytes = match &layout {
            Some(layout) => layout.panel_bytes(columns / GROUP),
            None => (columns * PANEL_ROWS * data_type.block_bytes()).next_multiple_of(LINE),
        };
        let panels = rows.div_ceil(PANEL_ROWS);
        let size = panels.checked_mul(panel_bytes).ok_or(KernelError::TooLarge { rows, columns })?;
        let mut packed = map(size)?;
        if row_bytes > 0 {
            let shared = SharedSlice::new(&mut packed[..]);
            let step = (STEP_BYTES / (PANEL_ROWS * row_bytes)).max(pool.threads());
            for first in (0..panels).step_by(step) {
                let count = step.min(panels - first);
                pool.split(count, 1, |range| {
                    for panel in range.start + first..range.end + first {
                        // SAFETY: each panel is packed by one thread.
                        let target = unsafe { shared.range(panel * panel_bytes..(panel + 1) * panel_bytes) };
                        let end = (panel + 1) * PANEL_ROWS;
                        let stored = &bytes[panel * PANEL_ROWS * row_bytes..end.min(rows) * row_bytes];
                        match &layout {
                            Some(layout) => pack::pack_panel(data_type, layout, stored, row_bytes, target),
                            None => pack::pack_float_panel(data_type.block_bytes(), stored, row_bytes, target),
                        }
                    }
                });
                let row = |panel: usize| (panel * PANEL_ROWS).min(rows);
                done(row(first) * row_bytes..row(first + count) * row_bytes);
            }
        }
        Ok(Self { data_type, rows, columns, panel_bytes, bytes: packed })
    }

    /// Outputs of a product with this matrix.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a product with this matrix.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The stored type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Bytes of memory that the packed copy holds.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.panels() * self.panel_bytes
    }

    /// Expands row `index` to f32 (a token's embedding).
    ///
    /// # Panics
    /// If there is no such row or `out.len()` is not [`Self::columns`].
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.rows && out.len() == self.columns, "row {index} of {} x {}", self.rows, self.columns);
        let panel = self.panel(index / PANEL_ROWS);
        let row = index % PANEL_ROWS;
        match Layout::of(self.data_type) {
            Some(layout) => pack::read_row(self.data_type, &layout, panel, row, out),
            None => pack::read_float_row(self.data_type, panel, row, out),
        }
    }

    fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL_ROWS)
    }

    fn panel(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.panel_bytes..(index + 1) * self.panel_bytes]
    }

    fn group_code_bytes(&self) -> usize {
        Layout::of(self.data_type).map_or(0, |layout| layout.group_code_bytes())
    }

    fn scheme(&self) -> Scheme {
        match self.data_type.block_len() {
            1 => Scheme::Float,
            GROUP => Scheme::Groups,
            _ => Scheme::Blocks,
        }
    }
}

/// Zeroed memory that begins at a page.
///
/// Large pages would speed decoding up by some 5 %, but where the page cache fills the memory, the system moves pages
/// for many seconds to make room for them, so they are not asked for.
fn map(size: usize) -> Result<MmapMut, KernelError> {
    // A mapping cannot be empty.
    MmapMut::map_anon(size.max(1)).map_err(|error| KernelError::Memory { bytes: size, reason: error.to_string() })
}

/// Shares of the panels handed to a thread at a time: small enough that a slower thread does not hold up the others.
const SHARES_PER_THREAD: usize = 6;

/// Hands out ranges of `0..items` to the threads of one region; which thread gets which does not matter to results.
struct Shares {
    next: AtomicUsize,
    items: usize,
    size: usize,
}

impl Shares {
    fn new(items: usize, threads: usize) -> Self {
        Self { next: AtomicUsize::new(0), items, size: items.div_ceil(threads * SHARES_PER_THREAD).max(1) }
    }

    fn next(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(self.size, Ordering::Relaxed);
        (start < self.items).then(|| start..self.items.min(start + self.size))
    }
}

/// `out[row, output] = input[row, :] . matrix[output, :]` for several matrices over the same input, in one region.
///
/// Each `out` is `[input rows, matrix rows]`.
///
/// # Panics
/// If an `out` has another size, the input was not prepared for a matrix, or there are more than eight products.
pub fn matmul(pool: &ThreadPool, input: &Input, products: &mut [(&Matrix, &mut [f32])]) {
    let mut panels = 0;
    for (matrix, out) in products.iter() {
        assert!(input.suits(matrix), "the input was not prepared for this matrix");
        assert_eq!(out.len(), input.rows() * matrix.rows(), "the output has another size");
        panels += matrix.panels();
    }
    // Raw pointers, since each thread writes columns of every row.
    let mut starts = [std::ptr::null_mut(); MAX_PRODUCTS];
    assert!(products.len() <= MAX_PRODUCTS, "at most {MAX_PRODUCTS} products share an input");
    for (start, (_, out)) in starts.iter_mut().zip(products.iter_mut()) {
        *start = out.as_mut_ptr();
    }
    let (starts, products) = (Starts(starts), &*products);
    let shares = Shares::new(panels, pool.threads());
    pool.run(|_| {
        while let Some(mut share) = shares.next() {
            let mut first = 0;
            for (index, &(matrix, _)) in products.iter().enumerate() {
                let end = first + matrix.panels();
                let part = share.start.max(first)..share.end.min(end);
                if !part.is_empty() {
                    let local = part.start - first..part.end - first;
                    let column = local.start * PANEL_ROWS;
                    // SAFETY: checked above; shares are disjoint, so no other thread writes these columns.
                    unsafe { multiply::multiply(matrix, input, local, starts.get(index).add(column), matrix.rows()) };
                    share.start = part.end;
                }
                first = end;
            }
        }
    });
}

/// Products that [`matmul`] takes at a time.
const MAX_PRODUCTS: usize = 8;

/// Where the outputs of each product go.
struct Starts([*mut f32; MAX_PRODUCTS]);

// SAFETY: threads write disjoint columns through the pointers.
unsafe impl Sync for Starts {}

impl Starts {
    fn get(&self, index: usize) -> *mut f32 {
        self.0[index]
    }
}

thread_local! {
    /// The second product of a gated layer, for one share of panels.
    static UP: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `out = activation(gate product) * up product`, each `[input rows, matrix rows]`: the first half of a gated
/// feed-forward layer, without storing either product.
///
/// # Panics
/// As [`matmul`]; also if the two matrices differ in shape.
pub fn matmul_gated(
    pool: &ThreadPool,
    input: &Input,
    gate: &Matrix,
    up: &Matrix,
    activation: Activation,
    out: &mut [f32],
) {
    assert!(input.suits(gate) && input.suits(up), "the input was not prepared for these matrices");
    assert_eq!((gate.rows, gate.columns), (up.rows, up.columns), "gate and up differ in shape");
    assert_eq!(out.len(), input.rows() * gate.rows, "the output has another size");
    let shares = Shares::new(gate.panels(), pool.threads());
    let len = out.len();
    let shared = SharedSlice::new(out);
    pool.run(|_| {
        UP.with_borrow_mut(|scratch| {
            while let Some(share) = shares.next() {
                let first = share.start * PANEL_ROWS;
                let width = (share.end * PANEL_ROWS).min(gate.rows) - first;
                scratch.resize(scratch.len().max(input.rows() * width), 0.0);
                // SAFETY: checked above; shares are disjoint, so no other thread writes these columns.
                unsafe {
                    let out = shared.start().add(first);
                    multiply::multiply(gate, input, share.clone(), out, gate.rows);
                    multiply::multiply(up, input, share, scratch.as_mut_ptr(), width);
                }
                for (row, up) in scratch.chunks_exact(width).take(input.rows()).enumerate() {
                    let at = row * gate.rows + first;
                    debug_assert!(at + width <= len);
                    // SAFETY: as above.
                    let row = unsafe { shared.range(at..at + width) };
                    gate::gated_row(activation, row, up);
                }
            }
        });
    });
}
