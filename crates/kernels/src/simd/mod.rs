//! One algorithm, every instruction set.
//!
//! An algorithm is written once, generic over a [`Simd`] token, and compiled once for each instruction set. The token
//! is a zero-sized value that exists only where the processor has the instructions, so its arithmetic is safe to call.
//! [`Isa::dispatch`] picks the set at run time and enters the algorithm through a function with that set enabled.
//!
//! Three rules keep the generated code good:
//!
//! 1. everything between [`Kernel::run`] and the vector operations is `#[inline(always)]`, and `run` itself is too:
//!    a function left outside is compiled without the instruction set, and each operation becomes a call;
//! 2. no closures around vector operations (a closure need not be inlined): use a small trait instead, and do what
//!    needs a closure, such as borrowing a thread's scratch, before the dispatch;
//! 3. dispatch inside a parallel region, not around it: the region's closure is called from another thread's loop.
//!
//! ```
//! use saem_kernels::simd::{Isa, Kernel, Simd};
//!
//! struct Sum<'a>(&'a [f32]);
//!
//! impl Kernel for Sum<'_> {
//!     type Output = f32;
//!     #[inline(always)]
//!     fn run<S: Simd>(self, simd: S) -> f32 {
//!         let mut sum = simd.zero();
//!         for chunk in self.0.chunks(S::LANES) {
//!             sum = simd.add(sum, simd.load_slice(chunk));
//!         }
//!         simd.reduce_sum(sum)
//!     }
//! }
//!
//! for isa in Isa::available() {
//!     assert_eq!(isa.dispatch(Sum(&[1.0; 100])), 100.0);
//! }
//! ```
//!
//! An operation that only some of the sets have (an integer dot product, say) goes into an extension trait of
//! [`Simd`] beside the kernel that needs it, with an entry function of its own that enables the further features.

mod isa;
pub mod math;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use isa::{Isa, Kernel};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use scalar::Scalar;

/// The most f32 lanes that a vector of any instruction set has.
pub const MAX_LANES: usize = 16;

/// Vector arithmetic with one instruction set.
///
/// The value is a proof that the running processor has the instructions. Where `b` is not a number, neither are
/// `max(a, b)` and `min(a, b)`; where only `a` is not, they give `b` or not a number.
pub trait Simd: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// A vector of [`Self::LANES`] f32.
    type F32: Copy + std::fmt::Debug;
    /// A vector of [`Self::LANES`] i32.
    type I32: Copy + std::fmt::Debug;
    /// One truth value for each lane.
    type Mask: Copy + std::fmt::Debug;

    /// Which instruction set this is.
    const ISA: Isa;
    /// f32 elements in a vector; at most [`MAX_LANES`].
    const LANES: usize;
    /// Vector registers: how many values a register-blocked loop can keep.
    const REGISTERS: usize;

    // Memory.

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::F32;
    /// Loads `LANES` elements; no alignment is asked for.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` elements.
    unsafe fn load(self, from: *const f32) -> Self::F32;
    /// Stores `LANES` elements; no alignment is asked for.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` elements.
    unsafe fn store(self, value: Self::F32, to: *mut f32);
    /// Loads `count <= LANES` elements; the lanes above are zero.
    ///
    /// # Safety
    /// `from` must be valid for reading `count` elements, and `count` at most `LANES`.
    unsafe fn load_partial(self, from: *const f32, count: usize) -> Self::F32;
    /// Stores the first `count <= LANES` elements.
    ///
    /// # Safety
    /// `to` must be valid for writing `count` elements, and `count` at most `LANES`.
    unsafe fn store_partial(self, value: Self::F32, to: *mut f32, count: usize);
    /// Loads `LANES` half-precision floats, given as bits.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` elements.
    unsafe fn load_f16(self, from: *const u16) -> Self::F32;
    /// Rounds to half precision (nearest, ties to even) and stores `LANES` elements as bits.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` elements.
    unsafe fn store_f16(self, value: Self::F32, to: *mut u16);
    /// Loads `LANES` bfloat16 numbers, given as bits.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` elements.
    unsafe fn load_bf16(self, from: *const u16) -> Self::F32;
    /// Loads `LANES` bytes and converts them to f32.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` elements.
    unsafe fn load_i8(self, from: *const i8) -> Self::F32;
    /// Rounds to the nearest integer (ties to even) and stores `LANES` bytes; the values must be within an i8.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` elements.
    unsafe fn store_i8(self, value: Self::F32, to: *mut i8);
    /// Loads `LANES` elements.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` elements.
    unsafe fn load_i32(self, from: *const i32) -> Self::I32;
    /// Asks for the cache line at `from`, which may be any address.
    fn prefetch(self, from: *const u8);

    /// Gathers four consecutive elements from each of the first `LANES / 4` addresses.
    ///
    /// # Safety
    /// Each of these addresses must be valid for reading 4 elements.
    unsafe fn load_quads(self, from: [*const f32; 4]) -> Self::F32;
    /// Scatters four consecutive elements to each of the first `LANES / 4` addresses.
    ///
    /// # Safety
    /// Each of these addresses must be valid for writing 4 elements.
    unsafe fn store_quads(self, value: Self::F32, to: [*mut f32; 4]);

    // f32 arithmetic.

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once (twice on [`Scalar`]).
    fn fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a * b`, rounded once (twice on [`Scalar`]).
    fn neg_fma(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The larger operand.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The smaller operand.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `1 / value` to 2 units in the last place, for normal `value` whose inverse is normal.
    #[inline(always)]
    fn reciprocal(self, value: Self::F32) -> Self::F32 {
        self.div(self.splat(1.0), value)
    }
    /// The value without its sign.
    fn abs(self, value: Self::F32) -> Self::F32;
    /// The magnitude of `magnitude` with the sign of `sign`.
    fn copy_sign(self, magnitude: Self::F32, sign: Self::F32) -> Self::F32;
    /// `value * 2^exponent`, for whole `exponent` from -126 to 127.
    fn scale_exp2(self, value: Self::F32, exponent: Self::F32) -> Self::F32;
    /// The nearest whole number (ties to even), for magnitudes below 2^22.
    fn round(self, value: Self::F32) -> Self::F32;
    /// Lanes `2 i` and `2 i + 1` exchanged.
    fn swap_pairs(self, value: Self::F32) -> Self::F32;
    /// Transposes the 4 x 4 matrices that the four vectors hold, one in each group of four lanes.
    fn transpose4(self, values: [Self::F32; 4]) -> [Self::F32; 4];
    /// The sum of all lanes, in an order of its own.
    fn reduce_sum(self, value: Self::F32) -> f32;
    /// The sums of four vectors.
    fn reduce_sum4(self, values: [Self::F32; 4]) -> [f32; 4];
    /// The largest lane.
    fn reduce_max(self, value: Self::F32) -> f32;

    // Comparison.

    /// `a < b`, lane by lane.
    fn less(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a < b`, lane by lane.
    fn less_i32(self, a: Self::I32, b: Self::I32) -> Self::Mask;

    // i32 arithmetic.

    /// All lanes `value`.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// `a + b`, wrapping.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The nearest integer (ties to even), for magnitudes below 2^22.
    fn to_i32(self, value: Self::F32) -> Self::I32;
    /// The nearest f32.
    fn to_f32(self, value: Self::I32) -> Self::F32;
    /// The same bits as integers.
    fn bits(self, value: Self::F32) -> Self::I32;
    /// The same bits as floats.
    fn with_bits(self, value: Self::I32) -> Self::F32;

    // Shorthands.

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }
    /// `-value`.
    #[inline(always)]
    fn neg(self, value: Self::F32) -> Self::F32 {
        self.sub(self.splat(-0.0), value)
    }
    /// Loads the first `LANES` elements; where there are fewer, the lanes above are zero.
    #[inline(always)]
    fn load_slice(self, from: &[f32]) -> Self::F32 {
        if from.len() >= Self::LANES {
            // SAFETY: the slice has `LANES` elements.
            unsafe { self.load(from.as_ptr()) }
        } else {
            // SAFETY: the slice has `len` elements, fewer than `LANES`.
            unsafe { self.load_partial(from.as_ptr(), from.len()) }
        }
    }
    /// Stores the first `LANES` elements, or as many as `to` has room for.
    #[inline(always)]
    fn store_slice(self, value: Self::F32, to: &mut [f32]) {
        if to.len() >= Self::LANES {
            // SAFETY: the slice has room for `LANES` elements.
            unsafe { self.store(value, to.as_mut_ptr()) }
        } else {
            // SAFETY: the slice has room for `len` elements, fewer than `LANES`.
            unsafe { self.store_partial(value, to.as_mut_ptr(), to.len()) }
        }
    }
}
