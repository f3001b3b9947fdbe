//! Tiles of each storage type as vectors of f32.

use super::BLOCK_TOKENS;
use super::pages::{GROUP, Layout};
use crate::simd::Simd;

/// Largest finite half-precision number.
const F16_MAX: f32 = 65_504.0;

/// An opened tile: [`BLOCK_TOKENS`] rows of `width` elements.
pub(super) trait Format: Copy {
    /// Opens a tile for reading.
    ///
    /// # Safety
    /// `tile` must hold a tile of this type; `scales` must have room for `BLOCK_TOKENS * layout.groups()` elements,
    /// which stay in use as long as the opened tile. Both must stay valid as long.
    unsafe fn open<S: Simd>(simd: S, layout: &Layout, tile: *const u8, scales: *mut f32) -> Self;

    /// `LANES` elements of row `slot`, from element `at`.
    ///
    /// # Safety
    /// The tile must be valid still, `slot` below `BLOCK_TOKENS`, `at` a multiple of `LANES` below the width.
    unsafe fn load<S: Simd>(self, simd: S, slot: usize, at: usize) -> S::F32;

    /// Writes row `slot` of a tile; what is beyond the end of `from` becomes zero.
    ///
    /// # Safety
    /// `tile` must have room for a tile of this type, no other thread may use its row `slot`, which is below
    /// `BLOCK_TOKENS`, and `from` must not be longer than the width.
    unsafe fn store<S: Simd>(simd: S, layout: &Layout, tile: *mut u8, slot: usize, from: &[f32]);
}

/// `LANES` elements from `at` on, zeros where the slice has ended.
#[inline(always)]
fn padded<S: Simd>(simd: S, from: &[f32], at: usize) -> S::F32 {
    simd.load_slice(&from[at.min(from.len())..])
}

#[derive(Clone, Copy)]
pub(super) struct F32Tile {
    start: *const f32,
    width: usize,
}

impl Format for F32Tile {
    #[inline(always)]
    unsafe fn open<S: Simd>(_: S, layout: &Layout, tile: *const u8, _: *mut f32) -> Self {
        Self { start: tile.cast(), width: layout.width }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, slot: usize, at: usize) -> S::F32 {
        // SAFETY: within the tile, as the caller promises.
        unsafe { simd.load(self.start.add(slot * self.width + at)) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, layout: &Layout, tile: *mut u8, slot: usize, from: &[f32]) {
        for at in (0..layout.width).step_by(S::LANES) {
            // SAFETY: within the row; tiles of four-byte elements lie at multiples of four bytes.
            unsafe { simd.store(padded(simd, from, at), tile.cast::<f32>().add(slot * layout.width + at)) };
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct F16Tile {
    start: *const u16,
    width: usize,
}

impl Format for F16Tile {
    #[inline(always)]
    unsafe fn open<S: Simd>(_: S, layout: &Layout, tile: *const u8, _: *mut f32) -> Self {
        Self { start: tile.cast(), width: layout.width }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, slot: usize, at: usize) -> S::F32 {
        // SAFETY: within the tile, as the caller promises.
        unsafe { simd.load_f16(self.start.add(slot * self.width + at)) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, layout: &Layout, tile: *mut u8, slot: usize, from: &[f32]) {
        let (low, high) = (simd.splat(-F16_MAX), simd.splat(F16_MAX));
        for at in (0..layout.width).step_by(S::LANES) {
            let value = simd.max(low, simd.min(high, padded(simd, from, at)));
            // SAFETY: within the row; tiles of two-byte elements lie at multiples of two bytes.
            unsafe { simd.store_f16(value, tile.cast::<u16>().add(slot * layout.width + at)) };
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Q8Tile {
    start: *const i8,
    width: usize,
    /// `[BLOCK_TOKENS, groups]`, widened.
    scales: *const f32,
    groups: usize,
}

impl Format for Q8Tile {
    #[inline(always)]
    unsafe fn open<S: Simd>(simd: S, layout: &Layout, tile: *const u8, scales: *mut f32) -> Self {
        let groups = layout.groups();
        // SAFETY: the scales follow the integers, whose number is even.
        let stored = unsafe { tile.add(BLOCK_TOKENS * layout.width).cast::<u16>() };
        // `BLOCK_TOKENS` is a multiple of any number of lanes.
        for at in (0..BLOCK_TOKENS * groups).step_by(S::LANES) {
            // SAFETY: there are `BLOCK_TOKENS * groups` scales, and room for as many.
            unsafe { simd.store(simd.load_f16(stored.add(at)), scales.add(at)) };
        }
        Self { start: tile.cast(), width: layout.width, scales, groups }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, slot: usize, at: usize) -> S::F32 {
        // SAFETY: within the tile, as the caller promises.
        let (value, scale) = unsafe {
            (simd.load_i8(self.start.add(slot * self.width + at)), *self.scales.add(slot * self.groups + at / GROUP))
        };
        simd.mul(value, simd.splat(scale))
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, layout: &Layout, tile: *mut u8, slot: usize, from: &[f32]) {
        let (low, high) = (simd.splat(-127.0), simd.splat(127.0));
        for (group, first) in (0..layout.width).step_by(GROUP).enumerate() {
            let end = layout.width.min(first + GROUP);
            let mut largest = simd.zero();
            for at in (first..end).step_by(S::LANES) {
                largest = simd.max(largest, simd.abs(padded(simd, from, at)));
            }
            // The scale as it is stored, so that rounding it does not move the elements.
            let scale = half::f16::from_f32_const((simd.reduce_max(largest) / 127.0).min(F16_MAX));
            let inverse = if scale == half::f16::ZERO { 0.0 } else { 1.0 / scale.to_f32_const() };
            // SAFETY: the scales follow the integers, `groups` in a row.
            unsafe {
                let scales = tile.add(BLOCK_TOKENS * layout.width).cast::<u16>();
                scales.add(slot * layout.groups() + group).write(scale.to_bits());
            }
            let inverse = simd.splat(inverse);
            for at in (first..end).step_by(S::LANES) {
                let value = simd.mul(padded(simd, from, at), inverse);
                let value = simd.max(low, simd.min(high, value));
                // SAFETY: within the row.
                unsafe { simd.store_i8(value, tile.cast::<i8>().add(slot * layout.width + at)) };
            }
        }
    }
}
