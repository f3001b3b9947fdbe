//! AVX2 with FMA and F16C: 8 lanes, 16 registers.

use std::arch::x86_64::*;

use super::{Isa, Simd};

/// The processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The proof of the instructions.
    ///
    /// # Safety
    /// [`Isa::Avx2`] must be available.
    #[inline(always)]
    #[must_use]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Calls an instruction of the set that `$token` proves present.
macro_rules! proven {
    ($token:expr, $call:expr) => {{
        let _: Avx2 = $token;
        // SAFETY: the token exists only where the processor has the instruction; pointers are the caller's promise.
        unsafe { $call }
    }};
}

/// A window of eight elements that starts at `8 - count` masks the first `count` lanes.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn first(token: Avx2, count: usize) -> __m256i {
    debug_assert!(count <= 8);
    let at = 8 - count.min(8);
    proven!(token, _mm256_loadu_si256(FIRST.as_ptr().add(at).cast()))
}

impl Simd for Avx2 {
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;

    const ISA: Isa = Isa::Avx2;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        proven!(self, _mm256_set1_ps(value))
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        proven!(self, _mm256_loadu_ps(from))
    }
    #[inline(always)]
    unsafe fn store(self, value: __m256, to: *mut f32) {
        proven!(self, _mm256_storeu_ps(to, value));
    }
    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, count: usize) -> __m256 {
        proven!(self, _mm256_maskload_ps(from, first(self, count)))
    }
    #[inline(always)]
    unsafe fn store_partial(self, value: __m256, to: *mut f32, count: usize) {
        proven!(self, _mm256_maskstore_ps(to, first(self, count), value));
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> __m256 {
        proven!(self, _mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }
    #[inline(always)]
    unsafe fn store_f16(self, value: __m256, to: *mut u16) {
        proven!(self, _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)));
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> __m256 {
        proven!(self, {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        })
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> __m256 {
        proven!(self, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))))
    }
    #[inline(always)]
    unsafe fn store_i8(self, value: __m256, to: *mut i8) {
        proven!(self, {
            let wide = _mm256_cvtps_epi32(value);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide));
            _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
        });
    }
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> __m256i {
        proven!(self, _mm256_loadu_si256(from.cast()))
    }
    #[inline(always)]
    unsafe fn load_quads(self, from: [*const f32; 4]) -> __m256 {
        proven!(self, _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(from[0])), _mm_loadu_ps(from[1])))
    }
    #[inline(always)]
    unsafe fn store_quads(self, value: __m256, to: [*mut f32; 4]) {
        proven!(self, {
            _mm_storeu_ps(to[0], _mm256_castps256_ps128(value));
            _mm_storeu_ps(to[1], _mm256_extractf128_ps::<1>(value));
        });
    }
    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        proven!(self, _mm_prefetch::<_MM_HINT_T0>(from.cast()));
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        proven!(self, _mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn neg_fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        proven!(self, _mm256_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, value: __m256) -> __m256 {
        proven!(self, _mm256_andnot_ps(_mm256_set1_ps(-0.0), value))
    }
    #[inline(always)]
    fn copy_sign(self, magnitude: __m256, sign: __m256) -> __m256 {
        proven!(self, {
            let sign_bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_and_ps(sign_bit, sign), _mm256_andnot_ps(sign_bit, magnitude))
        })
    }
    #[inline(always)]
    fn scale_exp2(self, value: __m256, exponent: __m256) -> __m256 {
        proven!(self, {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        })
    }
    #[inline(always)]
    fn round(self, value: __m256) -> __m256 {
        proven!(self, _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value))
    }
    #[inline(always)]
    fn swap_pairs(self, value: __m256) -> __m256 {
        proven!(self, _mm256_permute_ps::<0b10_11_00_01>(value))
    }
    #[inline(always)]
    fn transpose4(self, [a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        proven!(self, {
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ]
        })
    }
    #[inline(always)]
    fn reduce_sum(self, value: __m256) -> f32 {
        proven!(self, {
            let half = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        })
    }
    #[inline(always)]
    fn reduce_sum4(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        proven!(self, {
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let low = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
            let sums = _mm256_add_ps(low, _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let half = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
            std::mem::transmute::<__m128, [f32; 4]>(half)
        })
    }
    #[inline(always)]
    fn reduce_max(self, value: __m256) -> f32 {
        proven!(self, {
            let half = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        })
    }

    #[inline(always)]
    fn less(self, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        proven!(self, _mm256_blendv_ps(b, a, mask))
    }
    #[inline(always)]
    fn less_i32(self, a: __m256i, b: __m256i) -> __m256 {
        proven!(self, _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m256i {
        proven!(self, _mm256_set1_epi32(value))
    }
    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, _mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn to_i32(self, value: __m256) -> __m256i {
        proven!(self, _mm256_cvtps_epi32(value))
    }
    #[inline(always)]
    fn to_f32(self, value: __m256i) -> __m256 {
        proven!(self, _mm256_cvtepi32_ps(value))
    }
    #[inline(always)]
    fn bits(self, value: __m256) -> __m256i {
        proven!(self, _mm256_castps_si256(value))
    }
    #[inline(always)]
    fn with_bits(self, value: __m256i) -> __m256 {
        proven!(self, _mm256_castsi256_ps(value))
    }
}
