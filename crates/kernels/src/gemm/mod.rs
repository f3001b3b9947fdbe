//! Products of two matrices of floats: what training spends its time on.
//!
//! Unlike the weights that [`Matrix`](crate::Matrix) packs once, both factors change with every step, so both are packed
//! on the way: into panels as wide as the register tile, in blocks that stay in the caches (Goto and van de Geijn 2008,
//! "Anatomy of High-Performance Matrix Multiplication"). Either factor may be stored by lines or across them, which
//! makes forward passes, gradients of inputs and gradients of weights the same operation:
//!
//! | | a | b | depth |
//! |---|---|---|---|
//! | `y = x wᵀ` | `x` by lines | `w` by lines | inputs |
//! | `dx = dy w` | `dy` by lines | `w` across | outputs |
//! | `dw = dyᵀ x` | `dy` across | `x` across | rows |
//!
//! Sums run over the depth in an order that depends on the sizes alone, so results do not depend on the thread count.

mod pack;
mod tile;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};
pub(crate) use tile::Place;
use tile::{COLUMNS, tile, tile_rows};

/// Depth of a block: a panel of `b` stays in the first cache.
const DEPTH: usize = 256;
/// Lines of `a` in a block: they stay in the second cache. A multiple of every tile's rows.
const LINES: usize = 120;
/// Lines of `b` in a block, shared by all threads. A multiple of every tile's columns.
const SHARED_LINES: usize = 2048;

/// A factor: `lines` vectors of `depth` elements.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    values: &'a [f32],
    /// From one line to the next, and from one element of a line to the next; one of them is 1.
    line_stride: usize,
    depth_stride: usize,
}

impl<'a> Factor<'a> {
    /// Lines that lie one after the other, `stride` elements apart: `[lines, depth]`.
    #[must_use]
    pub fn lines(values: &'a [f32], stride: usize) -> Self {
        Self { values, line_stride: stride, depth_stride: 1 }
    }

    /// Lines that lie across: element `i` of all lines, then element `i + 1`, `stride` elements apart: `[depth, lines]`.
    #[must_use]
    pub fn across(values: &'a [f32], stride: usize) -> Self {
        Self { values, line_stride: 1, depth_stride: stride }
    }

    fn holds(&self, lines: usize, depth: usize) -> bool {
        lines == 0 || depth == 0 || (lines - 1) * self.line_stride + (depth - 1) * self.depth_stride < self.values.len()
    }
}

/// What becomes of the numbers that the output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// They are replaced.
    Replace,
    /// The product is added to them.
    Add,
}

/// Sizes of a product: `c[m, n] = sum over k of a[m, k] b[n, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines of `a`, rows of the output.
    pub m: usize,
    /// Lines of `b`, columns of the output.
    pub n: usize,
    /// Depth of both.
    pub k: usize,
}

impl Size {
    fn check(self, a: Factor<'_>, b: Factor<'_>, c: &[f32], stride: usize) {
        assert!(a.holds(self.m, self.k), "a is shorter than {self:?}");
        assert!(b.holds(self.n, self.k), "b is shorter than {self:?}");
        assert!(
            self.n <= stride && (self.m == 0 || (self.m - 1) * stride + self.n <= c.len()),
            "c is shorter than {self:?}"
        );
    }
}

thread_local! {
    /// Packed lines of `a`, and of `b` where a thread works alone.
    static PACKED: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// `c[i, j] = sum over k of a[i, k] b[j, k]`, or added to it; rows of `c` are `stride` elements apart. `shared` is working
/// memory that grows to [`shared_len`] floats.
///
/// # Panics
/// If a buffer is shorter than the sizes say.
pub fn gemm(
    pool: &ThreadPool,
    size: Size,
    a: Factor<'_>,
    b: Factor<'_>,
    c: &mut [f32],
    stride: usize,
    output: Output,
    shared: &mut Vec<f32>,
) {
    size.check(a, b, c, stride);
    let place = Place { start: c.as_mut_ptr(), stride };
    if size.k == 0 {
        // SAFETY: checked above, and the caller has `c` alone.
        return unsafe { clear(size, place, output) };
    }
    let isa = Isa::detect();
    let columns = isa.dispatch(Columns);
    shared.resize(shared.len().max(shared_len(size)), 0.0);
    for lines in ranges(size.n, SHARED_LINES) {
        for depth in ranges(size.k, DEPTH) {
            let packed = SharedSlice::new(shared.as_mut_slice());
            let panels = lines.len().div_ceil(columns);
            pool.split(panels, 1, |panels| {
                // SAFETY: panels are disjoint.
                let to =
                    unsafe { packed.range(panels.start * columns * depth.len()..panels.end * columns * depth.len()) };
                let own = lines.start + panels.start * columns..(lines.start + panels.end * columns).min(lines.end);
                isa.dispatch(pack::Pack { factor: b, lines: own, depth: depth.clone(), width: columns, to });
            });
            let packed = &shared[..panels * columns * depth.len()];
            let add = output == Output::Add || depth.start > 0;
            // Few lines would leave threads without work: then blocks are smaller.
            let block = (size.m.div_ceil(pool.threads()).next_multiple_of(LINES / 10)).min(LINES);
            let next = AtomicUsize::new(0);
            pool.run(|_| {
                PACKED.with_borrow_mut(|(own, _)| {
                    loop {
                        let start = next.fetch_add(1, Ordering::Relaxed) * block;
                        if start >= size.m {
                            break;
                        }
                        let rows = start..size.m.min(start + block);
                        // SAFETY: `c` was checked, and each block of rows is one thread's.
                        unsafe { multiply(isa, a, rows, depth.clone(), packed, lines.clone(), own, place, add) };
                    }
                });
            });
        }
    }
}

/// [`gemm`] by the calling thread alone, for many small products that threads share out.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_alone(size: Size, a: Factor<'_>, b: Factor<'_>, c: &mut [f32], stride: usize, output: Output) {
    size.check(a, b, c, stride);
    // SAFETY: checked above, and the caller has `c` alone.
    unsafe { gemm_alone_at(size, a, b, Place { start: c.as_mut_ptr(), stride }, output) };
}

/// [`gemm_alone`] into part of a buffer that other threads write other parts of.
///
/// # Safety
/// `place` must be valid for `m` rows of `n` elements, which nobody else may touch.
///
/// # Panics
/// If a factor is shorter than the sizes say.
pub(crate) unsafe fn gemm_alone_at(size: Size, a: Factor<'_>, b: Factor<'_>, place: Place, output: Output) {
    assert!(a.holds(size.m, size.k) && b.holds(size.n, size.k), "factors are shorter than {size:?}");
    let isa = Isa::detect();
    let columns = isa.dispatch(Columns);
    if size.k == 0 {
        // SAFETY: the caller's promise.
        return unsafe { clear(size, place, output) };
    }
    PACKED.with_borrow_mut(|(own, shared)| {
        for lines in ranges(size.n, SHARED_LINES) {
            for depth in ranges(size.k, DEPTH) {
                let len = lines.len().next_multiple_of(columns) * depth.len();
                shared.resize(shared.len().max(len), 0.0);
                let to = &mut shared[..len];
                isa.dispatch(pack::Pack { factor: b, lines: lines.clone(), depth: depth.clone(), width: columns, to });
                let add = output == Output::Add || depth.start > 0;
                for rows in ranges(size.m, LINES) {
                    // SAFETY: the caller's promise.
                    unsafe { multiply(isa, a, rows, depth.clone(), &shared[..len], lines.clone(), own, place, add) };
                }
            }
        }
    });
}

/// Floats of working memory that [`gemm`] needs for products of this size.
#[must_use]
pub fn shared_len(size: Size) -> usize {
    size.n.min(SHARED_LINES).next_multiple_of(MOST_COLUMNS) * size.k.min(DEPTH)
}

/// Columns of the widest tile.
const MOST_COLUMNS: usize = COLUMNS * crate::simd::MAX_LANES;

/// Columns of a tile.
struct Columns;

impl Kernel for Columns {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        COLUMNS * S::LANES
    }
}

/// A product of no depth: zeros, or nothing to add.
///
/// # Safety
/// `place` must be valid for `m` rows of `n` elements, which nobody else may touch.
unsafe fn clear(size: Size, place: Place, output: Output) {
    if output == Output::Replace {
        for row in 0..size.m {
            // SAFETY: the caller's promise.
            unsafe { std::slice::from_raw_parts_mut(place.at(row, 0), size.n) }.fill(0.0);
        }
    }
}

fn ranges(total: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total).step_by(step).map(move |start| start..total.min(start + step))
}

/// A block of rows against packed lines of `b`.
///
/// # Safety
/// `place` must be valid for the rows and the lines, and nobody else may touch these elements.
#[allow(clippy::too_many_arguments, reason = "what a block is made of")]
unsafe fn multiply(
    isa: Isa,
    a: Factor<'_>,
    rows: Range<usize>,
    depth: Range<usize>,
    b: &[f32],
    lines: Range<usize>,
    own: &mut Vec<f32>,
    place: Place,
    add: bool,
) {
    struct Block<'a> {
        a: Factor<'a>,
        rows: Range<usize>,
        depth: Range<usize>,
        b: &'a [f32],
        lines: Range<usize>,
        own: &'a mut Vec<f32>,
        place: Place,
        add: bool,
    }
    impl Kernel for Block<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let (height, width) = (tile_rows::<S>(), COLUMNS * S::LANES);
            let depth = self.depth.len();
            let len = self.rows.len().next_multiple_of(height) * depth;
            self.own.resize(self.own.len().max(len), 0.0);
            let to = &mut self.own[..len];
            pack::Pack { factor: self.a, lines: self.rows.clone(), depth: self.depth, width: height, to }.run(simd);
            for (panel, first) in self.lines.clone().step_by(width).enumerate() {
                let b = &self.b[panel * width * depth..][..width * depth];
                let columns = width.min(self.lines.end - first);
                for (panel, row) in self.rows.clone().step_by(height).enumerate() {
                    let a = &self.own[panel * height * depth..][..height * depth];
                    let rows = height.min(self.rows.end - row);
                    // SAFETY: the caller's promise; the panels are whole.
                    unsafe { tile(simd, depth, (a, b), self.place.from(row, first), rows, columns, self.add) };
                }
            }
        }
    }
    isa.dispatch(Block { a, rows, depth, b, lines, own, place, add });
}
