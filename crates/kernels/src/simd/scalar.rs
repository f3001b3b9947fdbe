//! Arrays of eight, in plain Rust: runs everywhere, and the compiler turns most of it into the vectors of the target.

use half::{bf16, f16};

use super::{Isa, Simd};

/// Needs no instructions beyond those of the target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar(());

impl Scalar {
    /// The token; every processor qualifies.
    #[inline(always)]
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

const LANES: usize = 8;

/// Adding this number leaves no bits after the point: rounding without a library call.
const ROUNDER: f32 = 12_582_912.0;

/// An array from an expression of the lane: a plain loop, which is vectorised more often than `from_fn` or `map`.
macro_rules! lanes {
    ($zero:expr, $lane:ident => $value:expr) => {{
        let mut out = [$zero; LANES];
        let mut $lane = 0;
        while $lane < LANES {
            out[$lane] = $value;
            $lane += 1;
        }
        out
    }};
}

#[inline(always)]
fn round(value: f32) -> f32 {
    value + ROUNDER - ROUNDER
}

/// The nearest integer, read from the low bits of the sum with [`ROUNDER`]: a cast saturates, which costs more.
#[inline(always)]
fn whole(value: f32) -> i32 {
    (value + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32
}

impl Simd for Scalar {
    type F32 = [f32; LANES];
    type I32 = [i32; LANES];
    /// All bits of a lane or none: the compiler vectorises this, and not `bool`.
    type Mask = [u32; LANES];

    const ISA: Isa = Isa::Scalar;
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; LANES] {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; LANES] {
        // SAFETY: the caller promises `LANES` elements.
        unsafe { from.cast::<[f32; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, value: [f32; LANES], to: *mut f32) {
        // SAFETY: the caller promises room for `LANES` elements.
        unsafe { to.cast::<[f32; LANES]>().write(value) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> [f32; LANES] {
        debug_assert!(count <= LANES);
        let mut out = [0.0; LANES];
        // SAFETY: the caller promises `count` elements.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), count.min(LANES)) };
        out
    }
    #[inline(always)]
    unsafe fn store_partial(self, value: [f32; LANES], to: *mut f32, count: usize) {
        debug_assert!(count <= LANES);
        // SAFETY: the caller promises room for `count` elements.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, count.min(LANES)) };
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> [f32; LANES] {
        // SAFETY: the caller promises `LANES` elements.
        unsafe { from.cast::<[u16; LANES]>().read() }.map(|bits| f16::from_bits(bits).to_f32_const())
    }
    #[inline(always)]
    unsafe fn store_f16(self, value: [f32; LANES], to: *mut u16) {
        let bits = value.map(|value| f16::from_f32_const(value).to_bits());
        // SAFETY: the caller promises room for `LANES` elements.
        unsafe { to.cast::<[u16; LANES]>().write(bits) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> [f32; LANES] {
        // SAFETY: the caller promises `LANES` elements.
        unsafe { from.cast::<[u16; LANES]>().read() }.map(|bits| bf16::from_bits(bits).to_f32_const())
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> [f32; LANES] {
        // SAFETY: the caller promises `LANES` elements.
        unsafe { from.cast::<[i8; LANES]>().read() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn store_i8(self, value: [f32; LANES], to: *mut i8) {
        let bytes = value.map(|value| round(value) as i8);
        // SAFETY: the caller promises room for `LANES` elements.
        unsafe { to.cast::<[i8; LANES]>().write(bytes) }
    }
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> [i32; LANES] {
        // SAFETY: the caller promises `LANES` elements.
        unsafe { from.cast::<[i32; LANES]>().read() }
    }
    #[inline(always)]
    unsafe fn load_quads(self, from: [*const f32; 4]) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        for (quad, from) in out.as_chunks_mut::<4>().0.iter_mut().zip(from) {
            // SAFETY: the caller promises 4 elements at each of the first two addresses.
            *quad = unsafe { from.cast::<[f32; 4]>().read() };
        }
        out
    }
    #[inline(always)]
    unsafe fn store_quads(self, value: [f32; LANES], to: [*mut f32; 4]) {
        for (quad, to) in value.as_chunks::<4>().0.iter().zip(to) {
            // SAFETY: the caller promises room for 4 elements at each of the first two addresses.
            unsafe { to.cast::<[f32; 4]>().write(*quad) };
        }
    }
    #[inline(always)]
    fn prefetch(self, _from: *const u8) {}

    #[inline(always)]
    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => a[lane] + b[lane])
    }
    #[inline(always)]
    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => a[lane] - b[lane])
    }
    #[inline(always)]
    fn mul(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => a[lane] * b[lane])
    }
    #[inline(always)]
    fn div(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => a[lane] / b[lane])
    }
    #[inline(always)]
    fn fma(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn neg_fma(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => c[lane] - a[lane] * b[lane])
    }
    #[inline(always)]
    fn max(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn min(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    fn abs(self, value: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => value[lane].abs())
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: [f32; LANES], sign: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => magnitude[lane].copysign(sign[lane]))
    }
    #[inline(always)]
    fn scale_exp2(self, value: [f32; LANES], exponent: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => value[lane] * f32::from_bits(((whole(exponent[lane]) + 127) << 23) as u32))
    }
    #[inline(always)]
    fn round(self, value: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => round(value[lane]))
    }
    #[inline(always)]
    fn swap_pairs(self, [a, b, c, d, e, f, g, h]: [f32; LANES]) -> [f32; LANES] {
        [b, a, d, c, f, e, h, g]
    }
    #[inline(always)]
    fn transpose4(self, values: [[f32; LANES]; 4]) -> [[f32; LANES]; 4] {
        std::array::from_fn(|row| std::array::from_fn(|lane| values[lane % 4][lane / 4 * 4 + row]))
    }
    #[inline(always)]
    fn reduce_sum(self, value: [f32; LANES]) -> f32 {
        let [a, b, c, d, e, f, g, h] = value;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn reduce_sum4(self, values: [[f32; LANES]; 4]) -> [f32; 4] {
        values.map(|value| self.reduce_sum(value))
    }
    #[inline(always)]
    fn reduce_max(self, value: [f32; LANES]) -> f32 {
        value.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn less(self, a: [f32; LANES], b: [f32; LANES]) -> [u32; LANES] {
        lanes!(0, lane => u32::from(a[lane] < b[lane]).wrapping_neg())
    }
    #[inline(always)]
    fn select(self, mask: [u32; LANES], a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => f32::from_bits(a[lane].to_bits() & mask[lane] | b[lane].to_bits() & !mask[lane]))
    }
    #[inline(always)]
    fn less_i32(self, a: [i32; LANES], b: [i32; LANES]) -> [u32; LANES] {
        lanes!(0, lane => u32::from(a[lane] < b[lane]).wrapping_neg())
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> [i32; LANES] {
        [value; LANES]
    }
    #[inline(always)]
    fn add_i32(self, a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        lanes!(0, lane => a[lane].wrapping_add(b[lane]))
    }
    #[inline(always)]
    fn to_i32(self, value: [f32; LANES]) -> [i32; LANES] {
        lanes!(0, lane => whole(value[lane]))
    }
    #[inline(always)]
    fn to_f32(self, value: [i32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => value[lane] as f32)
    }
    #[inline(always)]
    fn bits(self, value: [f32; LANES]) -> [i32; LANES] {
        lanes!(0, lane => value[lane].to_bits() as i32)
    }
    #[inline(always)]
    fn with_bits(self, value: [i32; LANES]) -> [f32; LANES] {
        lanes!(0.0, lane => f32::from_bits(value[lane] as u32))
    }
}
