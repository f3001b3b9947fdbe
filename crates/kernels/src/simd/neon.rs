//! NEON (aarch64): 4 lanes, 32 registers.

use std::arch::aarch64::*;

use super::{Isa, Simd};

/// The processor has NEON, as every aarch64 processor does.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// The proof of the instructions.
    ///
    /// # Safety
    /// [`Isa::Neon`] must be available.
    #[inline(always)]
    #[must_use]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Calls an instruction of the set that `$token` proves present.
macro_rules! proven {
    ($token:expr, $call:expr) => {{
        let _: Neon = $token;
        // SAFETY: the token exists only where the processor has the instruction; pointers are the caller's promise.
        unsafe { $call }
    }};
}

impl Simd for Neon {
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;

    const ISA: Isa = Isa::Neon;
    const LANES: usize = 4;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        proven!(self, vdupq_n_f32(value))
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        proven!(self, vld1q_f32(from))
    }
    #[inline(always)]
    unsafe fn store(self, value: float32x4_t, to: *mut f32) {
        proven!(self, vst1q_f32(to, value));
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> float32x4_t {
        debug_assert!(count <= 4);
        let mut lanes = [0.0; 4];
        proven!(self, {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(4));
            vld1q_f32(lanes.as_ptr())
        })
    }
    #[inline(always)]
    unsafe fn store_partial(self, value: float32x4_t, to: *mut f32, count: usize) {
        debug_assert!(count <= 4);
        let mut lanes = [0.0; 4];
        proven!(self, {
            vst1q_f32(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(4));
        });
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> float32x4_t {
        proven!(self, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))))
    }
    #[inline(always)]
    unsafe fn store_f16(self, value: float32x4_t, to: *mut u16) {
        proven!(self, vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(value))));
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> float32x4_t {
        proven!(self, vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))))
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> float32x4_t {
        proven!(self, {
            let bytes = vcreate_s8(u64::from(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
        })
    }
    #[inline(always)]
    unsafe fn store_i8(self, value: float32x4_t, to: *mut i8) {
        proven!(self, {
            let words = vqmovn_s32(vcvtnq_s32_f32(value));
            let bytes = vqmovn_s16(vcombine_s16(words, words));
            to.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_s8(bytes)));
        });
    }
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> int32x4_t {
        proven!(self, vld1q_s32(from))
    }
    #[inline(always)]
    unsafe fn load_quads(self, from: [*const f32; 4]) -> float32x4_t {
        proven!(self, vld1q_f32(from[0]))
    }
    #[inline(always)]
    unsafe fn store_quads(self, value: float32x4_t, to: [*mut f32; 4]) {
        proven!(self, vst1q_f32(to[0], value));
    }
    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        proven!(
            self,
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) from, options(nostack, readonly, preserves_flags))
        );
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vdivq_f32(a, b))
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        proven!(self, vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn neg_fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        proven!(self, vfmsq_f32(c, a, b))
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vmaxq_f32(a, b))
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vminq_f32(a, b))
    }
    #[inline(always)]
    fn abs(self, value: float32x4_t) -> float32x4_t {
        proven!(self, vabsq_f32(value))
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: float32x4_t, sign: float32x4_t) -> float32x4_t {
        proven!(self, vbslq_f32(vdupq_n_u32(1 << 31), sign, magnitude))
    }
    #[inline(always)]
    fn scale_exp2(self, value: float32x4_t, exponent: float32x4_t) -> float32x4_t {
        proven!(self, {
            let biased = vaddq_s32(vcvtnq_s32_f32(exponent), vdupq_n_s32(127));
            vmulq_f32(value, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        })
    }
    #[inline(always)]
    fn round(self, value: float32x4_t) -> float32x4_t {
        proven!(self, vrndnq_f32(value))
    }
    #[inline(always)]
    fn swap_pairs(self, value: float32x4_t) -> float32x4_t {
        proven!(self, vrev64q_f32(value))
    }
    #[inline(always)]
    fn transpose4(self, [a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
        proven!(self, {
            let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
            let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
            [
                vcombine_f32(vget_low_f32(ab_even), vget_low_f32(cd_even)),
                vcombine_f32(vget_low_f32(ab_odd), vget_low_f32(cd_odd)),
                vcombine_f32(vget_high_f32(ab_even), vget_high_f32(cd_even)),
                vcombine_f32(vget_high_f32(ab_odd), vget_high_f32(cd_odd)),
            ]
        })
    }
    #[inline(always)]
    fn reduce_sum(self, value: float32x4_t) -> f32 {
        proven!(self, vaddvq_f32(value))
    }
    #[inline(always)]
    fn reduce_sum4(self, [a, b, c, d]: [float32x4_t; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        proven!(self, vst1q_f32(sums.as_mut_ptr(), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))));
        sums
    }
    #[inline(always)]
    fn reduce_max(self, value: float32x4_t) -> f32 {
        proven!(self, vmaxvq_f32(value))
    }

    #[inline(always)]
    fn less(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        proven!(self, vcltq_f32(a, b))
    }
    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        proven!(self, vbslq_f32(mask, a, b))
    }
    #[inline(always)]
    fn less_i32(self, a: int32x4_t, b: int32x4_t) -> uint32x4_t {
        proven!(self, vcltq_s32(a, b))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> int32x4_t {
        proven!(self, vdupq_n_s32(value))
    }
    #[inline(always)]
    fn add_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        proven!(self, vaddq_s32(a, b))
    }
    #[inline(always)]
    fn to_i32(self, value: float32x4_t) -> int32x4_t {
        proven!(self, vcvtnq_s32_f32(value))
    }
    #[inline(always)]
    fn to_f32(self, value: int32x4_t) -> float32x4_t {
        proven!(self, vcvtq_f32_s32(value))
    }
    #[inline(always)]
    fn bits(self, value: float32x4_t) -> int32x4_t {
        proven!(self, vreinterpretq_s32_f32(value))
    }
    #[inline(always)]
    fn with_bits(self, value: int32x4_t) -> float32x4_t {
        proven!(self, vreinterpretq_f32_s32(value))
    }
}
