//! Products of bf16 numbers, on tiles or by vectors (x86-64 with AMX or AVX-512 BF16).
//!
//! A tile product multiplies 16 lines by 16 lines over 32 elements in 16 cycles: sixteen times the multiply-adds of f32
//! vectors. Factors are taken apart as they are packed, into one bf16 number or into the sum of two or three. The products
//! of all parts but the smallest make one result: of two parts three, of three parts six. Four tiles of sums hold 32 by
//! 32 results for a block's depth, which go to memory while the next ones are computed.
//!
//! Vectors of bf16 numbers hold twice those of f32, so they gain where one part will do, and only there. They take the same
//! panels: a row of a tile of `b` is a vector, and a number of one of `a` is a pair for all of its lanes.
//!
//! Blocks: lines of `a` stay in the second cache and go by each panel of `b`, while the panel after it is fetched. All
//! threads share the packed lines of `b`.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::factor::{Factor, View};
use super::{Output, Place, Precision, Product, Right, Scratch, Size, Team, Thin, pairs, pieces, ranges};
use crate::pool::SharedSlice;
use crate::simd::Isa;
use crate::simd::amx::{TILE_CONFIG, has_bf16};

/// Lines of a tile, and its bytes.
pub(super) const TILE_LINES: usize = 16;
pub(super) const TILE_BYTES: usize = 1024;
/// Elements of a line of a tile.
pub(super) const STEP: usize = 32;
/// Lines of a panel: two tiles.
pub(super) const SIDE: usize = 2 * TILE_LINES;
/// How many elements further on a line is fetched while it is packed.
const AHEAD: usize = 4 * STEP;
/// Depth of a block. Results go to memory once for each, which is why all of the depth is one block where that is not much
/// deeper: lines of `a` stay in the second cache.
const DEPTH: usize = 512;
const MOST_DEPTH: usize = 768;
/// Lines of `a` in a block, at most.
const LINES: usize = 256;
/// Depth of the lines of `b` that are packed at a time, at most, and how many of them; of at most half the depth they are
/// more, because lines of `a` are packed anew for each such piece.
const SHARED_DEPTH: usize = super::MOST_DEPTH;
const SHARED_LINES: usize = 1024;
const MOST_SHARED_LINES: usize = 4096;
/// Parts of a number, at most; each has half a float's bytes.
const MOST_PARTS: usize = 3;
/// Bytes of a cache line, which packed lines begin at.
const ALIGN: usize = 64;
const FLOAT: usize = size_of::<f32>();
pub(super) const ALIGN_FLOATS: usize = ALIGN / FLOAT;

/// What multiplies bf16 numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Tiles of AMX.
    Tiles,
    /// Vectors of AVX-512.
    Vectors,
}

impl Unit {
    /// The one of this machine, where it has one.
    pub(super) fn detect() -> Option<Self> {
        match Isa::detect() {
            Isa::Amx if has_bf16() => Some(Self::Tiles),
            Isa::Amx | Isa::Avx512 if std::is_x86_feature_detected!("avx512bf16") => Some(Self::Vectors),
            _ => None,
        }
    }

    /// The one for a product of this size, where there is one.
    pub(super) fn of(precision: Precision, size: Size, is_readable_across: bool) -> Option<Self> {
        // Tiles are filled up with zeros: for the smallest products vectors of floats are faster.
        const LEAST: usize = 8;
        let Size { m, n, k } = size;
        // What is thin would be packed for little arithmetic.
        let is_thin = Thin::of(size, is_readable_across).is_some();
        let suits = |unit: &Self| *unit == Self::Tiles || (precision == Precision::Bf16 && !is_thin);
        Self::detect().filter(suits).filter(|_| m >= LEAST && n >= LEAST && k >= LEAST)
    }

    /// Floats that [`compute`] packs `b` into.
    pub(super) fn shared_len(self, Size { n, k, .. }: Size) -> usize {
        let lines = n.min(shared_lines(k)).next_multiple_of(SIDE);
        let parts = if self == Self::Tiles { MOST_PARTS } else { 1 };
        lines * k.min(SHARED_DEPTH).next_multiple_of(STEP) * parts / 2 + ALIGN_FLOATS
    }
}

/// Lines of `b` that are packed at a time.
fn shared_lines(depth: usize) -> usize {
    let depth = depth.max(1).next_multiple_of(STEP);
    if 2 * depth > SHARED_DEPTH {
        return SHARED_LINES;
    }
    (SHARED_LINES * SHARED_DEPTH / depth / SIDE * SIDE).min(MOST_SHARED_LINES)
}

/// As [`Product::compute`].
///
/// # Safety
/// As there, and the unit is one [`of`](Unit::of) the product.
pub(super) unsafe fn compute(product: &Product<'_>, unit: Unit, precision: Precision, shared: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match precision {
            Precision::Bf16 => blocks::<1>(product, unit, shared),
            Precision::Split => blocks::<2>(product, unit, shared),
            Precision::F32 => blocks::<MOST_PARTS>(product, unit, shared),
        }
    }
}

/// A product of numbers in `PARTS` parts.
///
/// # Safety
/// As [`compute`].
unsafe fn blocks<const PARTS: usize>(product: &Product<'_>, unit: Unit, shared: &mut [f32]) {
    let Product { team, size, b, .. } = *product;
    let start = aligned(shared);
    let mut done = 0;
    for lines in ranges(size.n, shared_lines(size.k)) {
        for depth in ranges(size.k, SHARED_DEPTH) {
            let shape = Shape::<PARTS> { lines: lines.clone(), depth: depth.clone() };
            let packed = match b {
                Right::Packed(values) => &values[done..done + shape.len()],
                Right::Factor(b) => {
                    let to = &mut shared[start..start + shape.len()];
                    shape.pack(team, b, to);
                    &*to
                }
            };
            done += shape.len();
            // Blocks of about the same size, so that no thread waits long for another; few lines are shared out by
            // their columns, too.
            let shares = size.m.div_ceil(LINES).next_multiple_of(team.threads()).min(size.m.div_ceil(SIDE));
            let share = size.m.div_ceil(shares).next_multiple_of(SIDE);
            let shares = size.m.div_ceil(share);
            let parts = team.threads().div_ceil(shares);
            let part = shape.panels().div_ceil(parts);
            team.each(shares * parts, |number, scratch| {
                let rows = number / parts * share..size.m.min((number / parts + 1) * share);
                let first = (number % parts * part).min(shape.panels());
                let panels = first..(first + part).min(shape.panels());
                if unit == Unit::Tiles {
                    // SAFETY: tiles are there, and the configuration is valid.
                    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILE_CONFIG, options(nostack, readonly)) };
                }
                for block in shape.blocks() {
                    let add = product.output == Output::Add || block.start > 0;
                    let b = &packed[shape.place(&block, panels.start)..shape.place(&block, panels.end)];
                    let columns = shape.lines_of(&panels);
                    // SAFETY: the caller's promise; the rows and columns are this thread's.
                    unsafe { lines_of_block::<PARTS>(product, unit, rows.clone(), block, b, columns, scratch, add) };
                }
                if unit == Unit::Tiles {
                    // SAFETY: tiles are there.
                    unsafe { asm!("tilerelease", options(nostack, nomem)) };
                }
            });
        }
    }
}

/// Lines of `b`, and elements of them, that are packed together: block after block of the depth, panel after panel.
struct Shape<const PARTS: usize> {
    lines: Range<usize>,
    depth: Range<usize>,
}

impl<const PARTS: usize> Shape<PARTS> {
    /// Floats' worth of bytes of a step of a panel.
    const STEP_LEN: usize = 2 * PARTS * TILE_BYTES / FLOAT;

    fn len(&self) -> usize {
        self.panels() * self.depth.len().div_ceil(STEP) * Self::STEP_LEN
    }

    fn panels(&self) -> usize {
        self.lines.len().div_ceil(SIDE)
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<PARTS> {
        let is_one = self.depth.len() <= MOST_DEPTH;
        // One part takes little room.
        pieces(self.depth.clone(), if PARTS == 1 || is_one { SHARED_DEPTH } else { DEPTH })
    }

    /// Where a panel of a block begins.
    fn place(&self, block: &Range<usize>, panel: usize) -> usize {
        let before = (block.start - self.depth.start) / STEP * self.panels();
        (before + panel * block.len().div_ceil(STEP)) * Self::STEP_LEN
    }

    fn lines_of(&self, panels: &Range<usize>) -> Range<usize> {
        self.lines.start + panels.start * SIDE..self.lines.end.min(self.lines.start + panels.end * SIDE)
    }

    fn pack(&self, team: Team<'_>, b: Factor<'_>, to: &mut [f32]) {
        let packed = SharedSlice::new(to);
        let group = super::ALIGN / SIDE;
        team.split(self.panels(), if b.has_blocks() { group } else { 1 }, |panels| {
            super::SCRATCH.with_borrow_mut(|scratch| {
                for block in self.blocks() {
                    let panel = block.len().div_ceil(STEP) * Self::STEP_LEN;
                    for panels in pieces(panels.clone(), group) {
                        // SAFETY: panels are disjoint.
                        let to =
                            unsafe { packed.range(self.place(&block, panels.start)..self.place(&block, panels.end)) };
                        // What is expanded stays in the second cache until it is packed.
                        for depth in pieces(block.clone(), super::ALIGN) {
                            let own = self.lines_of(&panels);
                            let count = own.len();
                            let view = b.view(own, depth.clone(), &mut scratch.expanded);
                            let to = &mut to[(depth.start - block.start) / STEP * Self::STEP_LEN..];
                            // SAFETY: the instructions are there.
                            unsafe { pack::<PARTS, true>(view, count, depth.len(), to, panel) };
                        }
                    }
                }
            });
        });
    }
}

/// Floats' worth of bytes that [`pack_all`] fills.
pub(super) fn packed_len(precision: Precision, lines: usize, depth: usize) -> usize {
    lines.next_multiple_of(SIDE) * depth.next_multiple_of(STEP) * parts(precision) / 2
}

/// Packs lines of `depth` elements in the order in which [`compute`] takes them.
pub(super) fn pack_all(
    team: Team<'_>,
    precision: Precision,
    b: Factor<'_>,
    lines: usize,
    depth: usize,
    mut to: &mut [f32],
) {
    for lines in ranges(lines, shared_lines(depth)) {
        for depth in ranges(depth, SHARED_DEPTH) {
            let lines = lines.clone();
            let (now, rest) = to.split_at_mut(packed_len(precision, lines.len(), depth.len()));
            match parts(precision) {
                1 => Shape::<1> { lines, depth }.pack(team, b, now),
                2 => Shape::<2> { lines, depth }.pack(team, b, now),
                _ => Shape::<3> { lines, depth }.pack(team, b, now),
            }
            to = rest;
        }
    }
}

fn parts(precision: Precision) -> usize {
    match precision {
        Precision::F32 => MOST_PARTS,
        Precision::Split => 2,
        Precision::Bf16 => 1,
    }
}

/// Where the aligned part of a buffer begins: there is room for what is packed, and for this.
pub(super) fn aligned(buffer: &[f32]) -> usize {
    (buffer.as_ptr().addr().next_multiple_of(ALIGN) - buffer.as_ptr().addr()) / FLOAT
}

/// Some lines of `a` against packed lines of `b`, for a block of the depth.
///
/// # Safety
/// As [`compute`], for these rows and columns; tiles are configured where they are the unit.
#[target_feature(enable = "avx512f")]
unsafe fn lines_of_block<const PARTS: usize>(
    product: &Product<'_>,
    unit: Unit,
    rows: Range<usize>,
    depth: Range<usize>,
    b: &[f32],
    columns: Range<usize>,
    scratch: &mut Scratch,
    add: bool,
) {
    let steps = depth.len().div_ceil(STEP);
    let panel = steps * 2 * PARTS * TILE_BYTES / FLOAT;
    let Scratch { packed, expanded } = scratch;
    let len = rows.len().div_ceil(SIDE) * panel;
    packed.resize(packed.len().max(len + ALIGN_FLOATS), 0.0);
    let start = aligned(packed);
    let to = &mut packed[start..start + len];
    let view = product.a.view(rows.clone(), depth.clone(), expanded);
    // SAFETY: the instructions are there.
    unsafe { pack::<PARTS, false>(view, rows.len(), depth.len(), to, panel) };
    if unit == Unit::Vectors {
        for (b, column) in b.chunks_exact(panel).zip(columns.clone().step_by(SIDE)) {
            for (a, row) in to.chunks_exact(panel).zip(rows.clone().step_by(SIDE)) {
                let (height, width) = (SIDE.min(rows.end - row), SIDE.min(columns.end - column));
                // SAFETY: the panels have the steps, and the place the results: the caller's promise.
                unsafe { pairs::panels(steps, a, b, product.c.from(row, column), height, width, add) };
            }
        }
        return;
    }
    let mut room = [Sums([0.0; SIDE * SIDE]), Sums([0.0; SIDE * SIDE])];
    let [mut now, mut before] = room.each_mut();
    let mut pending = Pending { to: product.c, rows: 0, columns: 0, add };
    // What is fetched of the next panel at each step.
    let ahead = panel / (to.len() / panel).max(1) / steps.max(1);
    for (b, column) in b.chunks_exact(panel).zip(columns.clone().step_by(SIDE)) {
        let mut next = b.as_ptr().wrapping_add(panel);
        for (a, row) in to.chunks_exact(panel).zip(rows.clone().step_by(SIDE)) {
            // SAFETY: the panels have the steps, and the place the results: the caller's promise.
            unsafe {
                tiles::<PARTS>(steps, a.as_ptr(), b.as_ptr(), now, &pending, before, (next, ahead));
                next = next.wrapping_add(ahead * steps);
                pending = Pending {
                    to: product.c.from(row, column),
                    rows: SIDE.min(rows.end - row),
                    columns: SIDE.min(columns.end - column),
                    add,
                };
            }
            std::mem::swap(&mut now, &mut before);
        }
    }
    // SAFETY: as above.
    unsafe { pending.put(before, 0..SIDE) };
}

/// Sums of a block.
#[repr(align(64))]
struct Sums([f32; SIDE * SIDE]);

/// Where sums go. They are brought there while the next ones are computed: memory is slow, and stores of tiles would have
/// products wait.
struct Pending {
    to: Place,
    rows: usize,
    columns: usize,
    add: bool,
}

impl Pending {
    /// Some rows of sums.
    ///
    /// # Safety
    /// The place must be valid for the rows and columns.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn put(&self, sums: &Sums, rows: Range<usize>) {
        let masks = [self.columns, self.columns.saturating_sub(16)].map(|count| ((1_u32 << count.min(16)) - 1) as u16);
        for row in rows.start..rows.end.min(self.rows) {
            for (half, mask) in masks.into_iter().enumerate() {
                // SAFETY: the mask keeps to the columns: the caller's promise; sums are whole.
                unsafe {
                    let to = self.to.start.wrapping_add(row * self.to.stride + 16 * half);
                    let mut sum = _mm512_load_ps(sums.0.as_ptr().add(row * SIDE + 16 * half));
                    if self.add {
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum);
                    }
                    _mm512_mask_storeu_ps(to, mask, sum);
                }
            }
        }
    }
}

/// 32 by 32 sums over some steps of depth, while those of `before` are put where they belong and what comes `next` is
/// fetched, so many floats at each step.
///
/// # Safety
/// The panels must have the steps, and the pending place be valid; tiles are configured.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn tiles<const PARTS: usize>(
    steps: usize,
    a: *const f32,
    b: *const f32,
    sums: &mut Sums,
    pending: &Pending,
    before: &Sums,
    (next, ahead): (*const f32, usize),
) {
    let rows = SIDE.div_ceil(steps.max(1));
    // SAFETY: the caller's promise; only tile registers and the results are changed.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem, preserves_flags)
        );
        for step in 0..steps {
            keep_awake();
            for line in (0..ahead).step_by(16) {
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(step * ahead + line).cast());
            }
            let start = |part: usize| (step * PARTS + part) * 2 * TILE_BYTES;
            let (a, b) = (|part| a.byte_add(start(part)), |part| b.byte_add(start(part)));
            // All parts but the smallest with each other, in an order that loads few tiles.
            load_left(a(0));
            take_right(b(0));
            match PARTS {
                1 => {}
                2 => {
                    take_right(b(1));
                    load_left(a(1));
                    take_right(b(0));
                }
                _ => {
                    take_right(b(2));
                    take_right(b(1));
                    take_left(a(1));
                    take_right(b(0));
                    take_left(a(2));
                }
            }
            pending.put(before, step * rows..(step + 1) * rows);
        }
        let start = sums.0.as_mut_ptr();
        asm!(
            "tilestored [{top} + {stride}], tmm0",
            "tilestored [{top} + {stride} + 64], tmm1",
            "tilestored [{bottom} + {stride}], tmm2",
            "tilestored [{bottom} + {stride} + 64], tmm3",
            top = in(reg) start,
            bottom = in(reg) start.add(TILE_LINES * SIDE),
            stride = in(reg) SIDE * FLOAT,
            options(nostack, preserves_flags)
        );
    }
}

/// Adds zeros. Where no vectors were added in between, products of tiles took a fifth more time on the one processor that
/// this was measured on; why is not known, and other instructions did not help.
#[inline(always)]
fn keep_awake() {
    // SAFETY: only the named register is changed.
    unsafe {
        asm!(
            "vxorps {zero}, {zero}, {zero}",
            "vaddps {zero}, {zero}, {zero}",
            zero = out(xmm_reg) _,
            options(nostack, nomem, preserves_flags)
        );
    }
}

/// Loads the two tiles of a part of `a`.
///
/// # Safety
/// They must be there; tiles are configured.
#[inline(always)]
unsafe fn load_left(tiles: *const f32) {
    // SAFETY: the caller's promise; only tile registers are changed.
    unsafe {
        asm!(
            "tileloadd tmm4, [{tiles} + {stride}]",
            "tileloadd tmm5, [{tiles} + {stride} + 1024]",
            tiles = in(reg) tiles,
            stride = in(reg) ALIGN,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// Loads the two tiles of a part of `a`, and adds their products with what is loaded of `b` to the four tiles of sums.
///
/// # Safety
/// As [`load_left`].
#[inline(always)]
unsafe fn take_left(tiles: *const f32) {
    // SAFETY: the caller's promise; only tile registers are changed.
    unsafe {
        asm!(
            "tileloadd tmm4, [{tiles} + {stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{tiles} + {stride} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            tiles = in(reg) tiles,
            stride = in(reg) ALIGN,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// Loads the two tiles of a part of `b`, and adds their products with what is loaded of `a`.
///
/// # Safety
/// As [`load_left`].
#[inline(always)]
unsafe fn take_right(tiles: *const f32) {
    // SAFETY: the caller's promise; only tile registers are changed.
    unsafe {
        asm!(
            "tileloadd tmm6, [{tiles} + {stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{tiles} + {stride} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            tiles = in(reg) tiles,
            stride = in(reg) ALIGN,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// Packs lines of a view, up to some element, into panels of [`SIDE`] lines, filled up with zeros, so many floats apart:
/// for each step of depth two tiles of the first parts, then two of the second ones, and so on. A tile's rows are lines,
/// or pairs of elements of all lines where `BY_PAIRS`. A pair is an element of the step's first half and the same of its
/// second: any order will do that is the same for both factors.
///
/// # Safety
/// `avx512f` must be there.
#[target_feature(enable = "avx512f")]
unsafe fn pack<const PARTS: usize, const BY_PAIRS: bool>(
    view: View<'_>,
    lines: usize,
    depth: usize,
    to: &mut [f32],
    panel: usize,
) {
    for (first, to) in (0..lines).step_by(SIDE).zip(to.chunks_mut(panel)) {
        for (start, to) in (0..depth).step_by(STEP).zip(to.chunks_exact_mut(2 * PARTS * TILE_BYTES / FLOAT)) {
            let elements = STEP.min(depth - start);
            for half in 0..2 {
                let first = first + half * TILE_LINES;
                let count = TILE_LINES.min(lines.saturating_sub(first));
                let mut parts = if view.depth_stride == 1 {
                    take_lines::<PARTS>(view, first, count, start, elements)
                } else {
                    take_pairs::<PARTS>(view, first, count, start, elements)
                };
                if BY_PAIRS == (view.depth_stride == 1) {
                    for part in &mut parts {
                        *part = transposed(part);
                    }
                }
                for (part, rows) in parts.into_iter().enumerate() {
                    let to = &mut to[(part * 2 + half) * TILE_BYTES / FLOAT..][..TILE_BYTES / FLOAT];
                    for (row, to) in rows.into_iter().zip(to.chunks_exact_mut(ALIGN / FLOAT)) {
                        // SAFETY: a row is a cache line.
                        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), row) };
                    }
                }
            }
        }
    }
}

/// A tile of parts, a line in each vector.
#[target_feature(enable = "avx512f")]
#[inline]
fn take_lines<const PARTS: usize>(
    view: View<'_>,
    first: usize,
    count: usize,
    start: usize,
    elements: usize,
) -> [[__m512i; TILE_LINES]; PARTS] {
    let mut parts = [[_mm512_setzero_si512(); TILE_LINES]; PARTS];
    for line in 0..count {
        let from = &view.values[(first + line) * view.line_stride + start..][..elements];
        // Lines are far apart, and a piece of each at a time is more than the processor follows by itself.
        for ahead in [AHEAD, AHEAD + STEP / 2] {
            _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(ahead).cast());
        }
        let (low, high) = from.split_at(elements.min(STEP / 2));
        for (parts, part) in parts.iter_mut().zip(taken_apart::<PARTS>(load(low), load(high))) {
            parts[line] = part;
        }
    }
    parts
}

/// A tile of parts, a pair of elements of all lines in each vector.
#[target_feature(enable = "avx512f")]
#[inline]
fn take_pairs<const PARTS: usize>(
    view: View<'_>,
    first: usize,
    count: usize,
    start: usize,
    elements: usize,
) -> [[__m512i; TILE_LINES]; PARTS] {
    let mut parts = [[_mm512_setzero_si512(); TILE_LINES]; PARTS];
    let row = |element: usize| {
        let is_there = count > 0 && element < elements;
        let ahead = (start + element + STEP) * view.depth_stride + first;
        _mm_prefetch::<_MM_HINT_T0>(view.values.as_ptr().wrapping_add(ahead).cast());
        load(if is_there { &view.values[(start + element) * view.depth_stride + first..][..count] } else { &[] })
    };
    for pair in 0..STEP / 2 {
        for (parts, part) in parts.iter_mut().zip(taken_apart::<PARTS>(row(pair), row(pair + STEP / 2))) {
            parts[pair] = part;
        }
    }
    parts
}

/// Up to 16 floats, filled up with zeros.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(from: &[f32]) -> __m512 {
    let mask = ((1_u32 << from.len().min(16)) - 1) as __mmask16;
    // SAFETY: the mask keeps to the slice.
    unsafe { _mm512_maskz_loadu_ps(mask, from.as_ptr()) }
}

/// Floats as sums of bf16 numbers: each is what the ones before it leave, rounded (ties away from zero). Numbers of the
/// first vector are in the lower halves, those of the second in the upper ones.
#[target_feature(enable = "avx512f")]
#[inline]
fn taken_apart<const PARTS: usize>(mut low: __m512, mut high: __m512) -> [__m512i; PARTS] {
    let upper = _mm512_set1_epi32(-0x1_0000);
    let half = _mm512_set1_epi32(0x8000);
    let mut parts = [_mm512_setzero_si512(); PARTS];
    for (index, part) in parts.iter_mut().enumerate() {
        let [mut first, mut second] = [_mm512_castps_si512(low), _mm512_castps_si512(high)];
        // The third part is all that is left, in eight bits.
        if index + 1 < MOST_PARTS {
            (first, second) = (_mm512_add_epi32(first, half), _mm512_add_epi32(second, half));
        }
        second = _mm512_and_si512(second, upper);
        *part = _mm512_or_si512(_mm512_srli_epi32::<16>(first), second);
        if index + 1 < PARTS {
            low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_and_si512(first, upper)));
            high = _mm512_sub_ps(high, _mm512_castsi512_ps(second));
        }
    }
    parts
}

/// Rows as columns, of 16 by 16 numbers of 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(rows: &[__m512i; 16]) -> [__m512i; 16] {
    // Pairs of rows, then fours, within each quarter of a vector; then the quarters.
    let mut pairs = [_mm512_setzero_si512(); 16];
    for row in 0..8 {
        pairs[2 * row] = _mm512_unpacklo_epi32(rows[2 * row], rows[2 * row + 1]);
        pairs[2 * row + 1] = _mm512_unpackhi_epi32(rows[2 * row], rows[2 * row + 1]);
    }
    let mut fours = [_mm512_setzero_si512(); 16];
    for group in 0..4 {
        let at = 4 * group;
        fours[at] = _mm512_unpacklo_epi64(pairs[at], pairs[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(pairs[at], pairs[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(pairs[at + 1], pairs[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(pairs[at + 1], pairs[at + 3]);
    }
    let mut columns = [_mm512_setzero_si512(); 16];
    for at in 0..4 {
        let (first, second) = (fours[at], fours[at + 4]);
        let (third, fourth) = (fours[at + 8], fours[at + 12]);
        let even = _mm512_shuffle_i32x4::<0x88>(first, second);
        let odd = _mm512_shuffle_i32x4::<0xdd>(first, second);
        let other_even = _mm512_shuffle_i32x4::<0x88>(third, fourth);
        let other_odd = _mm512_shuffle_i32x4::<0xdd>(third, fourth);
        columns[at] = _mm512_shuffle_i32x4::<0x88>(even, other_even);
        columns[at + 8] = _mm512_shuffle_i32x4::<0xdd>(even, other_even);
        columns[at + 4] = _mm512_shuffle_i32x4::<0x88>(odd, other_odd);
        columns[at + 12] = _mm512_shuffle_i32x4::<0xdd>(odd, other_odd);
    }
    columns
}
