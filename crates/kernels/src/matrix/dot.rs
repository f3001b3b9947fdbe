//! The byte operations that products with quantised weights need, for each instruction set.

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Isa, Scalar, Simd};

/// Four-way byte dot products, beside the arithmetic of [`Simd`].
///
/// A vector of bytes has four for each f32 lane: four consecutive columns of one weight row.
pub(super) trait Dot: Simd {
    /// `4 * LANES` bytes.
    type Bytes: Copy;

    /// Loads `4 * LANES` bytes.
    ///
    /// # Safety
    /// `from` must be valid for reading them.
    unsafe fn load_bytes(self, from: *const u8) -> Self::Bytes;
    /// Stores `4 * LANES` bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing them.
    unsafe fn store_bytes(self, value: Self::Bytes, to: *mut u8);
    /// `(byte >> shift) & mask`, byte by byte; `mask` must not have bits that a neighbour is shifted into.
    fn field(self, bytes: Self::Bytes, shift: u32, mask: u8) -> Self::Bytes;
    /// `(byte << shift) & mask`, byte by byte.
    fn field_left(self, bytes: Self::Bytes, shift: u32, mask: u8) -> Self::Bytes;
    /// `a | b`.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// `table[code]` for codes 0 to 15.
    fn look_up(self, table: &[u8; 16], codes: Self::Bytes) -> Self::Bytes;
    /// `sum += codes . input`, lane by lane over four bytes; the four input bytes are the same for every lane.
    /// `WIDE`: codes may be above 127.
    ///
    /// # Safety
    /// `input` must be valid for reading four bytes.
    unsafe fn dot<const WIDE: bool>(self, sum: Self::I32, codes: Self::Bytes, input: *const i8) -> Self::I32;
    /// Loads `LANES` unsigned bytes as f32.
    ///
    /// # Safety
    /// `from` must be valid for reading them.
    unsafe fn load_u8(self, from: *const u8) -> Self::F32;
}

/// A computation that is generic over an instruction set with byte dot products.
pub(super) trait DotKernel {
    /// What it computes.
    type Output;

    /// Computes it. Implementations must be `#[inline(always)]`.
    fn run<S: Dot>(self, simd: S) -> Self::Output;
}

/// The implementation that [`dispatch`] chooses at present.
pub(super) fn chosen() -> &'static str {
    match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx if has_vnni() => "avx512-vnni",
        Isa::Avx512 | Isa::Amx | Isa::Avx2 => "avx2",
        Isa::Neon => "neon",
        Isa::Scalar => "scalar",
    }
}

/// Runs `kernel` with the instruction set of [`Isa::detect`]; without VNNI, AVX-512 machines use AVX2 here.
pub(super) fn dispatch<K: DotKernel>(kernel: K) -> K::Output {
    match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx if has_vnni() => {
            // SAFETY: the processor has the features of the token and of the entry function.
            unsafe { x86::enter_avx512(Avx512::new(), kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx | Isa::Avx512 | Isa::Avx2 => {
            // SAFETY: as above; AVX-512 machines have AVX2.
            unsafe { x86::enter_avx2(Avx2::new(), kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => {
            // SAFETY: every aarch64 processor has NEON.
            kernel.run(unsafe { crate::simd::Neon::new() })
        }
        _ => kernel.run(Scalar::new()),
    }
}

/// Whether byte dot products of 512 bits are there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_vnni() -> bool {
    std::is_x86_feature_detected!("avx512vnni")
}

impl Dot for Scalar {
    type Bytes = [u8; 32];

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> [u8; 32] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u8; 32]>().read() }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, value: [u8; 32], to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[u8; 32]>().write(value) }
    }
    #[inline(always)]
    fn field(self, bytes: [u8; 32], shift: u32, mask: u8) -> [u8; 32] {
        bytes.map(|byte| (byte >> shift) & mask)
    }
    #[inline(always)]
    fn field_left(self, bytes: [u8; 32], shift: u32, mask: u8) -> [u8; 32] {
        bytes.map(|byte| (byte << shift) & mask)
    }
    #[inline(always)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        std::array::from_fn(|index| a[index] | b[index])
    }
    #[inline(always)]
    fn look_up(self, table: &[u8; 16], codes: [u8; 32]) -> [u8; 32] {
        codes.map(|code| table[code as usize & 15])
    }
    #[inline(always)]
    unsafe fn dot<const WIDE: bool>(self, sum: [i32; 8], codes: [u8; 32], input: *const i8) -> [i32; 8] {
        // SAFETY: the caller's promise.
        let input = unsafe { input.cast::<[i8; 4]>().read() };
        std::array::from_fn(|lane| {
            (0..4).fold(sum[lane], |sum, i| sum + i32::from(codes[4 * lane + i]) * i32::from(input[i]))
        })
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[u8; 8]>().read() }.map(f32::from)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Dot, DotKernel};
    use crate::simd::{Avx2, Avx512, Simd};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    pub(super) fn enter_avx512<K: DotKernel>(token: Avx512, kernel: K) -> K::Output {
        kernel.run(token)
    }

    #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt")]
    pub(super) fn enter_avx2<K: DotKernel>(token: Avx2, kernel: K) -> K::Output {
        kernel.run(token)
    }

    /// Calls an instruction of the set that `$token` proves present.
    macro_rules! proven {
        ($token:expr, $call:expr) => {{
            let _ = $token;
            // SAFETY: the token exists only where the processor has the instruction; pointers are the caller's promise.
            unsafe { $call }
        }};
    }

    /// With AVX-512 VNNI (checked where products are dispatched) as well.
    impl Dot for Avx512 {
        type Bytes = __m512i;

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> __m512i {
            proven!(self, _mm512_loadu_si512(from.cast()))
        }
        #[inline(always)]
        unsafe fn store_bytes(self, value: __m512i, to: *mut u8) {
            proven!(self, _mm512_storeu_si512(to.cast(), value));
        }
        #[inline(always)]
        fn field(self, bytes: __m512i, shift: u32, mask: u8) -> __m512i {
            proven!(self, {
                _mm512_and_si512(_mm512_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32)), _mm512_set1_epi8(mask as i8))
            })
        }
        #[inline(always)]
        fn field_left(self, bytes: __m512i, shift: u32, mask: u8) -> __m512i {
            proven!(self, {
                _mm512_and_si512(_mm512_sll_epi16(bytes, _mm_cvtsi32_si128(shift as i32)), _mm512_set1_epi8(mask as i8))
            })
        }
        #[inline(always)]
        fn or(self, a: __m512i, b: __m512i) -> __m512i {
            proven!(self, _mm512_or_si512(a, b))
        }
        #[inline(always)]
        fn look_up(self, table: &[u8; 16], codes: __m512i) -> __m512i {
            proven!(self, {
                _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), codes)
            })
        }
        #[inline(always)]
        unsafe fn dot<const WIDE: bool>(self, sum: __m512i, codes: __m512i, input: *const i8) -> __m512i {
            proven!(self, _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(input.cast::<i32>().read_unaligned())))
        }
        #[inline(always)]
        unsafe fn load_u8(self, from: *const u8) -> __m512 {
            proven!(self, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))))
        }
    }

    impl Dot for Avx2 {
        type Bytes = __m256i;

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> __m256i {
            proven!(self, _mm256_loadu_si256(from.cast()))
        }
        #[inline(always)]
        unsafe fn store_bytes(self, value: __m256i, to: *mut u8) {
            proven!(self, _mm256_storeu_si256(to.cast(), value));
        }
        #[inline(always)]
        fn field(self, bytes: __m256i, shift: u32, mask: u8) -> __m256i {
            proven!(self, {
                _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32)), _mm256_set1_epi8(mask as i8))
            })
        }
        #[inline(always)]
        fn field_left(self, bytes: __m256i, shift: u32, mask: u8) -> __m256i {
            proven!(self, {
                _mm256_and_si256(_mm256_sll_epi16(bytes, _mm_cvtsi32_si128(shift as i32)), _mm256_set1_epi8(mask as i8))
            })
        }
        #[inline(always)]
        fn or(self, a: __m256i, b: __m256i) -> __m256i {
            proven!(self, _mm256_or_si256(a, b))
        }
        #[inline(always)]
        fn look_up(self, table: &[u8; 16], codes: __m256i) -> __m256i {
            proven!(self, {
                _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), codes)
            })
        }
        #[inline(always)]
        unsafe fn dot<const WIDE: bool>(self, sum: __m256i, codes: __m256i, input: *const i8) -> __m256i {
            proven!(self, {
                let input = _mm256_set1_epi32(input.cast::<i32>().read_unaligned());
                let ones = _mm256_set1_epi16(1);
                if WIDE {
                    // A code above 127 would saturate the 16-bit sums: halve it, and add the odd bit's share apart.
                    let one = _mm256_set1_epi8(1);
                    let half = self.field(codes, 1, 0x7f);
                    let odd = _mm256_and_si256(codes, one);
                    let halves = _mm256_madd_epi16(_mm256_maddubs_epi16(half, input), ones);
                    let odds = _mm256_madd_epi16(_mm256_maddubs_epi16(odd, input), ones);
                    self.add_i32(sum, self.add_i32(self.add_i32(halves, halves), odds))
                } else {
                    self.add_i32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, input), ones))
                }
            })
        }
        #[inline(always)]
        unsafe fn load_u8(self, from: *const u8) -> __m256 {
            proven!(self, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))))
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Dot;
    use crate::simd::{Neon, Simd};

    /// Calls an instruction of the set that `$token` proves present.
    macro_rules! proven {
        ($token:expr, $call:expr) => {{
            let _ = $token;
            // SAFETY: the token exists only where the processor has the instruction; pointers are the caller's promise.
            unsafe { $call }
        }};
    }

    impl Dot for Neon {
        type Bytes = uint8x16_t;

        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> uint8x16_t {
            proven!(self, vld1q_u8(from))
        }
        #[inline(always)]
        unsafe fn store_bytes(self, value: uint8x16_t, to: *mut u8) {
            proven!(self, vst1q_u8(to, value));
        }
        #[inline(always)]
        fn field(self, bytes: uint8x16_t, shift: u32, mask: u8) -> uint8x16_t {
            proven!(self, vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-(shift as i8))), vdupq_n_u8(mask)))
        }
        #[inline(always)]
        fn field_left(self, bytes: uint8x16_t, shift: u32, mask: u8) -> uint8x16_t {
            proven!(self, vandq_u8(vshlq_u8(bytes, vdupq_n_s8(shift as i8)), vdupq_n_u8(mask)))
        }
        #[inline(always)]
        fn or(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
            proven!(self, vorrq_u8(a, b))
        }
        #[inline(always)]
        fn look_up(self, table: &[u8; 16], codes: uint8x16_t) -> uint8x16_t {
            proven!(self, vqtbl1q_u8(vld1q_u8(table.as_ptr()), codes))
        }
        /// Widening products: the base instruction set has no byte dot product. |code * input| <= 255 * 128 fits an i16
        /// only for codes below 128, so wide codes are centred first.
        #[inline(always)]
        unsafe fn dot<const WIDE: bool>(self, sum: int32x4_t, codes: uint8x16_t, input: *const i8) -> int32x4_t {
            proven!(self, {
                let input = vreinterpretq_s8_s32(vdupq_n_s32(input.cast::<i32>().read_unaligned()));
                let pairs = |codes: int8x16_t| {
                    let low = vmull_s8(vget_low_s8(codes), vget_low_s8(input));
                    let high = vmull_high_s8(codes, input);
                    vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high))
                };
                if WIDE {
                    let centred = vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128)));
                    // 128 * (sum of the four inputs), the same for every lane.
                    let inputs = vpaddlq_s16(vpaddlq_s8(input));
                    let sum = self.add_i32(sum, vshlq_n_s32::<7>(inputs));
                    self.add_i32(sum, pairs(centred))
                } else {
                    self.add_i32(sum, pairs(vreinterpretq_s8_u8(codes)))
                }
            })
        }
        #[inline(always)]
        unsafe fn load_u8(self, from: *const u8) -> float32x4_t {
            proven!(self, {
                let bytes = vcreate_u8(u64::from(from.cast::<u32>().read_unaligned()));
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))))
            })
        }
    }
}
