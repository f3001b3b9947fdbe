//! AVX-512 (F, BW, DQ, VL): 16 lanes, 32 registers, mask registers.

use std::arch::x86_64::*;

use super::{Isa, Simd};

/// The processor has AVX-512 F, BW, DQ and VL, and AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The proof of the instructions.
    ///
    /// # Safety
    /// [`Isa::Avx512`] must be available.
    #[inline(always)]
    #[must_use]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Calls an instruction of the set that `$token` proves present.
macro_rules! proven {
    ($token:expr, $call:expr) => {{
        let _: Avx512 = $token;
        // SAFETY: the token exists only where the processor has the instruction; pointers are the caller's promise.
        unsafe { $call }
    }};
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    debug_assert!(count <= 16);
    ((1_u32 << count) - 1) as __mmask16
}

impl Simd for Avx512 {
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;

    const ISA: Isa = Isa::Avx512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        proven!(self, _mm512_set1_ps(value))
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        proven!(self, _mm512_loadu_ps(from))
    }
    #[inline(always)]
    unsafe fn store(self, value: __m512, to: *mut f32) {
        proven!(self, _mm512_storeu_ps(to, value));
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> __m512 {
        proven!(self, _mm512_maskz_loadu_ps(first(count), from))
    }
    #[inline(always)]
    unsafe fn store_partial(self, value: __m512, to: *mut f32, count: usize) {
        proven!(self, _mm512_mask_storeu_ps(to, first(count), value));
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> __m512 {
        proven!(self, _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }
    #[inline(always)]
    unsafe fn store_f16(self, value: __m512, to: *mut u16) {
        proven!(self, {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value);
            _mm256_storeu_si256(to.cast(), half);
        });
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> __m512 {
        proven!(self, {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        })
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> __m512 {
        proven!(self, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))))
    }
    #[inline(always)]
    unsafe fn store_i8(self, value: __m512, to: *mut i8) {
        proven!(self, _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value))));
    }
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> __m512i {
        proven!(self, _mm512_loadu_si512(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_quads(self, from: [*const f32; 4]) -> __m512 {
        proven!(self, {
            let low = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(from[0])), _mm_loadu_ps(from[1]));
            let high = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(from[2])), _mm_loadu_ps(from[3]));
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
        })
    }
    #[inline(always)]
    unsafe fn store_quads(self, value: __m512, to: [*mut f32; 4]) {
        proven!(self, {
            _mm_storeu_ps(to[0], _mm512_castps512_ps128(value));
            _mm_storeu_ps(to[1], _mm512_extractf32x4_ps::<1>(value));
            _mm_storeu_ps(to[2], _mm512_extractf32x4_ps::<2>(value));
            _mm_storeu_ps(to[3], _mm512_extractf32x4_ps::<3>(value));
        });
    }
    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        proven!(self, _mm_prefetch::<_MM_HINT_T0>(from.cast()));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        proven!(self, _mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn neg_fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        proven!(self, _mm512_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_min_ps(a, b))
    }
    /// One Newton step from the 14-bit estimate: a third of the cost of a division.
    #[inline(always)]
    fn reciprocal(self, value: __m512) -> __m512 {
        proven!(self, {
            let estimate = _mm512_rcp14_ps(value);
            let error = _mm512_fnmadd_ps(value, estimate, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(estimate, error, estimate)
        })
    }
    #[inline(always)]
    fn abs(self, value: __m512) -> __m512 {
        proven!(self, _mm512_abs_ps(value))
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m512, sign: __m512) -> __m512 {
        proven!(self, {
            let sign_bit = _mm512_set1_epi32(i32::MIN);
            // Bit by bit: sign_bit ? sign : magnitude.
            let bits =
                _mm512_ternarylogic_epi32::<0xca>(sign_bit, _mm512_castps_si512(sign), _mm512_castps_si512(magnitude));
            _mm512_castsi512_ps(bits)
        })
    }
    #[inline(always)]
    fn scale_exp2(self, value: __m512, exponent: __m512) -> __m512 {
        proven!(self, _mm512_scalef_ps(value, exponent))
    }
    #[inline(always)]
    fn round(self, value: __m512) -> __m512 {
        proven!(self, _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value))
    }
    #[inline(always)]
    fn swap_pairs(self, value: __m512) -> __m512 {
        proven!(self, _mm512_permute_ps::<0b10_11_00_01>(value))
    }
    #[inline(always)]
    fn transpose4(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        proven!(self, {
            let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        })
    }
    #[inline(always)]
    fn reduce_sum(self, value: __m512) -> f32 {
        proven!(self, {
            let half = _mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value));
            let quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        })
    }
    #[inline(always)]
    fn reduce_sum4(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        proven!(self, {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
            let sums = _mm512_add_ps(low, _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let half = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps::<1>(sums));
            let quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            std::mem::transmute::<__m128, [f32; 4]>(quarter)
        })
    }
    #[inline(always)]
    fn reduce_max(self, value: __m512) -> f32 {
        proven!(self, {
            let half = _mm256_max_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value));
            let quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
            let pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        })
    }

    #[inline(always)]
    fn less(self, a: __m512, b: __m512) -> __mmask16 {
        proven!(self, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        proven!(self, _mm512_mask_blend_ps(mask, b, a))
    }
    #[inline(always)]
    fn less_i32(self, a: __m512i, b: __m512i) -> __mmask16 {
        proven!(self, _mm512_cmplt_epi32_mask(a, b))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m512i {
        proven!(self, _mm512_set1_epi32(value))
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        proven!(self, _mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn to_i32(self, value: __m512) -> __m512i {
        proven!(self, _mm512_cvtps_epi32(value))
    }
    #[inline(always)]
    fn to_f32(self, value: __m512i) -> __m512 {
        proven!(self, _mm512_cvtepi32_ps(value))
    }
    #[inline(always)]
    fn bits(self, value: __m512) -> __m512i {
        proven!(self, _mm512_castps_si512(value))
    }
    #[inline(always)]
    fn with_bits(self, value: __m512i) -> __m512 {
        proven!(self, _mm512_castsi512_ps(value))
    }
}
