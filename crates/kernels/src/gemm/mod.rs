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
//! Weights that are not trained may stay in the format of their file: they are expanded as they are packed. On processors
//! that multiply bf16 numbers, factors may be taken apart into such numbers ([`Precision`]).
//!
//! Sums run over the depth in an order that depends on the sizes alone, so results do not depend on the thread count.

#[cfg(target_arch = "x86_64")]
mod bf16;
mod factor;
mod pack;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod thin;
mod tile;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};
use factor::ALIGN;
pub use factor::Factor;
pub use packed::{Packed, gemm_packed};
use thin::{THIN, Thin};
pub(crate) use tile::Place;
use tile::{COLUMNS, tile, tile_rows};

/// Depth of a block: a panel of `b` stays in the first cache.
const DEPTH: usize = 256;
/// The same at the most, however products are computed.
const MOST_DEPTH: usize = 1024;
/// Lines of `a` in a block: they stay in the second cache. A multiple of every tile's rows.
const LINES: usize = 120;
/// Lines of `b` in a block, shared by all threads. A multiple of every tile's columns.
const SHARED_LINES: usize = 2048;

/// What becomes of the numbers that the output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// They are replaced.
    Replace,
    /// The product is added to them.
    Add,
}

/// How exactly factors are multiplied. Sums are f32 in any case.
///
/// The last two are for processors with bf16 tiles, the last one also for those with vectors of bf16 numbers; they are as
/// [`Precision::F32`] on others. On tiles a number is the sum of bf16 numbers (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For
/// Higher-Precision Computations"), and parts nearer to zero than the smallest normal f32 count as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As f32 numbers, by vectors; or three parts of 8 bits each, all there is to an f32 number, in six products.
    #[default]
    F32,
    /// Two parts in three products, which have an error of 2⁻¹⁶. PyTorch calls it `high`.
    Split,
    /// Rounded to bf16: products have an error of 2⁻⁸. PyTorch calls it `medium`.
    Bf16,
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
        self.check_factors(a, b);
        self.check_output(c, stride);
    }

    fn check_factors(self, a: Factor<'_>, b: Factor<'_>) {
        self.check_left(a);
        assert!(b.holds(self.n, self.k), "b is shorter than {self:?}");
    }

    fn check_left(self, a: Factor<'_>) {
        assert!(a.holds(self.m, self.k), "a is shorter than {self:?}");
        assert!(!a.has_blocks(), "only b may be in the format of a file");
    }

    fn check_output(self, c: &[f32], stride: usize) {
        assert!(
            self.n <= stride && (self.m == 0 || (self.m - 1) * stride + self.n <= c.len()),
            "c is shorter than {self:?}"
        );
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    /// Packed lines of `b` where a thread works alone.
    static SHARED: RefCell<Vec<f32>> = RefCell::default();
}

/// What a thread works in.
#[derive(Default)]
struct Scratch {
    /// Packed lines of `a`.
    packed: Vec<f32>,
    /// Floats of a factor that is stored otherwise.
    expanded: Vec<f32>,
}

/// `c[i, j] = sum over k of a[i, k] b[j, k]`, or added to it; rows of `c` are `stride` elements apart. `shared` is working
/// memory of at least [`shared_len`] floats.
///
/// # Panics
/// If a buffer is shorter than the sizes say, or `a` is not of floats.
pub fn gemm(
    pool: &ThreadPool,
    precision: Precision,
    size: Size,
    a: Factor<'_>,
    b: Factor<'_>,
    c: &mut [f32],
    stride: usize,
    output: Output,
    shared: &mut [f32],
) {
    size.check(a, b, c, stride);
    let len = shared_len(size);
    assert!(shared.len() >= len, "{} floats of working memory for a product that needs {len}", shared.len());
    let c = Place { start: c.as_mut_ptr(), stride };
    let product = Product { team: Team(Some(pool)), size, a, b: Right::Factor(b), c, output };
    // SAFETY: checked above, and the caller has `c` alone.
    unsafe { product.compute(Way::of(precision, size, b.is_readable_across()), shared) };
}

/// [`gemm`] by the calling thread alone, for many small products that threads share out.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_alone(
    precision: Precision,
    size: Size,
    a: Factor<'_>,
    b: Factor<'_>,
    c: &mut [f32],
    stride: usize,
    output: Output,
) {
    size.check(a, b, c, stride);
    // SAFETY: checked above, and the caller has `c` alone.
    unsafe { gemm_alone_at(precision, size, a, b, Place { start: c.as_mut_ptr(), stride }, output) };
}

/// [`gemm_alone`] into part of a buffer that other threads write other parts of.
///
/// # Safety
/// `place` must be valid for `m` rows of `n` elements, which nobody else may touch.
///
/// # Panics
/// If a factor is shorter than the sizes say, or `a` is not of floats.
pub(crate) unsafe fn gemm_alone_at(
    precision: Precision,
    size: Size,
    a: Factor<'_>,
    b: Factor<'_>,
    place: Place,
    output: Output,
) {
    size.check_factors(a, b);
    let product = Product { team: Team(None), size, a, b: Right::Factor(b), c: place, output };
    SHARED.with_borrow_mut(|shared| {
        shared.resize(shared.len().max(shared_len(size)), 0.0);
        // SAFETY: the caller's promise; the factors were checked.
        unsafe { product.compute(Way::of(precision, size, b.is_readable_across()), shared) }
    });
}

/// Floats of working memory that [`gemm`] needs for any product whose right factor has up to so many lines and elements in
/// each.
#[must_use]
pub fn most_shared_len(lines: usize, depth: usize) -> usize {
    // Of lines with few elements more are packed at a time.
    (1..=depth.min(MOST_DEPTH)).map(|k| shared_len(Size { m: 1, n: lines, k })).max().unwrap_or(0)
}

/// Floats of working memory that [`gemm`] needs for products of this size.
#[must_use]
pub fn shared_len(size: Size) -> usize {
    let panels = size.n.min(SHARED_LINES).next_multiple_of(MOST_COLUMNS) * size.k.min(DEPTH);
    #[cfg(target_arch = "x86_64")]
    let panels = bf16::Unit::detect().map_or(panels, |unit| panels.max(unit.shared_len(size)));
    panels
}

/// Columns of the widest tile.
const MOST_COLUMNS: usize = COLUMNS * crate::simd::MAX_LANES;

/// Those who compute: a pool's threads, or the calling thread alone.
#[derive(Clone, Copy)]
struct Team<'a>(Option<&'a ThreadPool>);

impl Team<'_> {
    fn threads(self) -> usize {
        self.0.map_or(1, ThreadPool::threads)
    }

    /// As [`ThreadPool::split`].
    fn split(self, items: usize, align: usize, job: impl Fn(Range<usize>) + Sync) {
        match self.0 {
            Some(pool) => pool.split(items, align, job),
            None => job(0..items),
        }
    }

    /// Has every thread take the next item until there is none.
    fn each(self, items: usize, job: impl Fn(usize, &mut Scratch) + Sync) {
        let next = AtomicUsize::new(0);
        let take = || {
            SCRATCH.with_borrow_mut(|scratch| {
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= items {
                        break;
                    }
                    job(item, scratch);
                }
            });
        };
        match self.0 {
            Some(pool) => pool.run(|_| take()),
            None => take(),
        }
    }
}

/// How a product is computed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By vectors.
    Vectors(Isa),
    /// By what multiplies bf16 numbers, which is there.
    #[cfg(target_arch = "x86_64")]
    Bf16(bf16::Unit, Precision),
}

impl Way {
    fn of(precision: Precision, size: Size, is_readable_across: bool) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = bf16::Unit::of(precision, size, is_readable_across) {
            return Self::Bf16(unit, precision);
        }
        let _ = (precision, size, is_readable_across);
        Self::Vectors(Isa::detect())
    }
}

/// What is on the right: to be packed, or packed before.
#[derive(Clone, Copy)]
enum Right<'a> {
    Factor(Factor<'a>),
    Packed(&'a [f32]),
}

/// A product that was checked.
#[derive(Clone, Copy)]
struct Product<'a> {
    team: Team<'a>,
    size: Size,
    a: Factor<'a>,
    b: Right<'a>,
    c: Place,
    output: Output,
}

impl Product<'_> {
    /// # Safety
    /// The factors must hold their sizes, and `c` must be valid for `m` rows of `n` elements, which nobody else may touch.
    unsafe fn compute(&self, way: Way, shared: &mut [f32]) {
        if self.size.m == 0 || self.size.n == 0 || self.size.k == 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.clear() };
        }
        // SAFETY: the caller's promise; the unit is there.
        unsafe {
            match way {
                Way::Vectors(isa) => self.compute_f32(isa, shared),
                #[cfg(target_arch = "x86_64")]
                Way::Bf16(unit, precision) => bf16::compute(self, unit, precision, shared),
            }
        }
    }

    /// # Safety
    /// As [`Self::compute`].
    unsafe fn compute_f32(&self, isa: Isa, shared: &mut [f32]) {
        let Self { team, size, b, .. } = *self;
        if let Right::Factor(b) = b
            && let Some(thin @ (Thin::Columns | Thin::Rows)) = Thin::of(size, b.is_readable_across())
        {
            // SAFETY: the caller's promise.
            return unsafe { self.compute_thin(isa, thin == Thin::Rows, b, shared) };
        }
        let mut done = 0;
        for lines in ranges(size.n, SHARED_LINES) {
            for depth in ranges(size.k, DEPTH) {
                let len = panels_len(isa, lines.len(), depth.len());
                let packed = match b {
                    Right::Packed(values) => &values[done..done + len],
                    Right::Factor(b) => {
                        pack_panels(team, isa, b, lines.clone(), depth.clone(), &mut shared[..len]);
                        &shared[..len]
                    }
                };
                done += len;
                // Few lines would leave threads without work: then blocks are smaller.
                let block = (size.m.div_ceil(team.threads()).next_multiple_of(LINES / 10)).min(LINES);
                team.each(size.m.div_ceil(block), |number, scratch| {
                    let rows = number * block..size.m.min((number + 1) * block);
                    // SAFETY: the caller's promise, and each block of rows is one thread's.
                    unsafe { self.block(isa, rows, depth.clone(), packed, lines.clone(), scratch) };
                });
            }
        }
    }

    /// A block of rows against packed lines of `b`.
    ///
    /// # Safety
    /// As [`Self::compute`], for these rows.
    unsafe fn block(
        &self,
        isa: Isa,
        rows: Range<usize>,
        depth: Range<usize>,
        b: &[f32],
        lines: Range<usize>,
        scratch: &mut Scratch,
    ) {
        struct Block<'a> {
            view: factor::View<'a>,
            rows: Range<usize>,
            depth: usize,
            b: &'a [f32],
            lines: Range<usize>,
            packed: &'a mut Vec<f32>,
            c: Place,
            add: bool,
        }
        impl Kernel for Block<'_> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                let (height, width) = (tile_rows::<S>(), COLUMNS * S::LANES);
                let depth = self.depth;
                let len = self.rows.len().next_multiple_of(height) * depth;
                self.packed.resize(self.packed.len().max(len), 0.0);
                let to = &mut self.packed[..len];
                pack::Pack { view: self.view, lines: self.rows.len(), depth, width: height, to }.run(simd);
                let (panels, of_b) = (self.rows.len().div_ceil(height), self.lines.len().div_ceil(width));
                for number in 0..panels * of_b {
                    // Of little depth there is more to write than to read, so rows are written one after the other.
                    let (panel, of_b) = match depth <= THIN {
                        true => (number / of_b, number % of_b),
                        false => (number % panels, number / panels),
                    };
                    let (row, first) = (self.rows.start + panel * height, self.lines.start + of_b * width);
                    let a = &self.packed[panel * height * depth..][..height * depth];
                    let b = &self.b[of_b * width * depth..][..width * depth];
                    let (rows, columns) = (height.min(self.rows.end - row), width.min(self.lines.end - first));
                    // SAFETY: the caller's promise; the panels are whole.
                    unsafe { tile(simd, depth, (a, b), self.c.from(row, first), rows, columns, self.add) };
                }
            }
        }
        let Scratch { packed, expanded } = scratch;
        let add = self.output == Output::Add || depth.start > 0;
        let view = self.a.view(rows.clone(), depth.clone(), expanded);
        isa.dispatch(Block { view, rows, depth: depth.len(), b, lines, packed, c: self.c, add });
    }

    /// A product of no depth: zeros, or nothing to add.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn clear(&self) {
        if self.output == Output::Replace {
            for row in 0..self.size.m {
                // SAFETY: the caller's promise.
                unsafe { std::slice::from_raw_parts_mut(self.c.at(row, 0), self.size.n) }.fill(0.0);
            }
        }
    }
}

/// Floats of packed panels.
fn panels_len(isa: Isa, lines: usize, depth: usize) -> usize {
    lines.next_multiple_of(isa.dispatch(Columns)) * depth
}

/// Packs some lines and elements of a factor into panels.
fn pack_panels(team: Team<'_>, isa: Isa, b: Factor<'_>, lines: Range<usize>, depth: Range<usize>, to: &mut [f32]) {
    let columns = isa.dispatch(Columns);
    let group = ALIGN / columns;
    let packed = SharedSlice::new(to);
    team.split(lines.len().div_ceil(columns), if b.has_blocks() { group } else { 1 }, |panels| {
        SCRATCH.with_borrow_mut(|scratch| {
            for panels in pieces(panels, group) {
                // SAFETY: panels are disjoint.
                let to =
                    unsafe { packed.range(panels.start * columns * depth.len()..panels.end * columns * depth.len()) };
                let own = lines.start + panels.start * columns..lines.end.min(lines.start + panels.end * columns);
                let count = own.len();
                let view = b.view(own, depth.clone(), &mut scratch.expanded);
                isa.dispatch(pack::Pack { view, lines: count, depth: depth.len(), width: columns, to });
            }
        });
    });
}

/// Columns of a tile.
struct Columns;

impl Kernel for Columns {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        COLUMNS * S::LANES
    }
}

/// `0..total` in pieces.
fn ranges(total: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    pieces(0..total, step)
}

fn pieces(Range { start, end }: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    (start..end).step_by(step).map(move |start| start..end.min(start + step))
}
