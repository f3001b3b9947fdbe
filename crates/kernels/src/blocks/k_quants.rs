//! The K types: 256 elements in groups of 16 or 32, each group with a small integer scale (Q2_K, Q4_K and Q5_K: and an
//! integer minimum), and f16 factors for all the integers of one kind.
//!
//! Expanding takes two steps, both plain loops over fixed arrays: the bits are spread into one byte per code, in the
//! order of the elements; then every group is scaled. The packing of weights for fast products shares the first step.

use super::{floats::scale, part};

/// Scales and minimums of the 8 groups of a Q4_K or Q5_K block, 6 bits each.
#[inline(always)]
pub(crate) fn unpack_q4_k_scales(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minimums) = ([0; 8], [0; 8]);
    for group in 0..4 {
        // The first four groups have bytes of their own; the upper two bits of these belong to the last four.
        let (low, middle, high) = (packed[group], packed[group + 4], packed[group + 8]);
        scales[group] = low & 63;
        minimums[group] = middle & 63;
        scales[group + 4] = (high & 15) | ((low >> 6) << 4);
        minimums[group + 4] = (high >> 4) | ((middle >> 6) << 4);
    }
    (scales, minimums)
}

/// Signed scales (-32 to 31) of the 16 groups of a Q3_K block, 6 bits each.
#[inline(always)]
pub(crate) fn unpack_q3_k_scales(packed: &[u8; 12]) -> [i8; 16] {
    let mut scales = [0; 16];
    for (group, scale) in scales.iter_mut().enumerate() {
        let low = (packed[group % 8] >> (4 * (group / 8))) & 15;
        let high = (packed[8 + group % 4] >> (2 * (group / 4))) & 3;
        *scale = (low | (high << 4)) as i8 - 32;
    }
    scales
}

/// The 256 codes (0 to 3) of a Q2_K block, and the lower two bits of those of a Q3_K block.
#[inline(always)]
pub(crate) fn q2_codes(packed: &[u8; 64]) -> [u8; 256] {
    let mut codes = [0; 256];
    // Each half of the bytes holds 128 codes: 32 by the lowest two bits, then 32 by the next two, and so on.
    for (packed, codes) in packed.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<128>().0) {
        for (plane, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (code, byte) in codes.iter_mut().zip(packed) {
                *code = (byte >> (2 * plane)) & 3;
            }
        }
    }
    codes
}

/// The 256 codes (-4 to 3) of a Q3_K block from its `hmask` and `qs` bytes.
#[inline(always)]
pub(crate) fn q3_codes(high: &[u8; 32], low: &[u8; 64]) -> [i8; 256] {
    let mut codes = [0; 256];
    let low = q2_codes(low);
    for (plane, (codes, low)) in codes.as_chunks_mut::<32>().0.iter_mut().zip(low.as_chunks::<32>().0).enumerate() {
        for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
            *code = (low | (((high >> plane) & 1) << 2)) as i8 - 4;
        }
    }
    codes
}

/// The 256 codes (0 to 15) of a Q4_K block from its `qs` bytes.
#[inline(always)]
pub(crate) fn q4_k_codes(packed: &[u8; 128]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (packed, codes) in packed.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<64>().0) {
        let (low, high) = codes.split_at_mut(32);
        for (code, byte) in low.iter_mut().zip(packed) {
            *code = byte & 15;
        }
        for (code, byte) in high.iter_mut().zip(packed) {
            *code = byte >> 4;
        }
    }
    codes
}

/// The 256 codes (0 to 31) of a Q5_K block from its `qh` and `qs` bytes.
#[inline(always)]
pub(crate) fn q5_k_codes(high: &[u8; 32], low: &[u8; 128]) -> [u8; 256] {
    let mut codes = q4_k_codes(low);
    for (plane, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (code, high) in codes.iter_mut().zip(high) {
            *code |= ((high >> plane) & 1) << 4;
        }
    }
    codes
}

/// The 256 codes (-32 to 31) of a Q6_K block from its `ql` and `qh` bytes.
#[inline(always)]
pub(crate) fn q6_k_codes(low: &[u8; 128], high: &[u8; 64]) -> [i8; 256] {
    let mut codes = [0; 256];
    let halves = low.as_chunks::<64>().0.iter().zip(high.as_chunks::<32>().0);
    for ((low, high), codes) in halves.zip(codes.as_chunks_mut::<128>().0) {
        for (index, bits) in high.iter().enumerate() {
            let (first, second) = (low[index], low[index + 32]);
            codes[index] = ((first & 15) | ((bits & 3) << 4)) as i8 - 32;
            codes[index + 32] = ((second & 15) | (((bits >> 2) & 3) << 4)) as i8 - 32;
            codes[index + 64] = ((first >> 4) | (((bits >> 4) & 3) << 4)) as i8 - 32;
            codes[index + 96] = ((second >> 4) | ((bits >> 6) << 4)) as i8 - 32;
        }
    }
    codes
}

/// `scale * code - minimum` in groups of `LEN`, whose integers are the bytes of `scales` and `minimums`.
#[inline(always)]
fn affine<const LEN: usize>(
    codes: &[u8; 256],
    (factor, mut scales): (f32, u128),
    (minimum_factor, mut minimums): (f32, u128),
    out: &mut [f32; 256],
) {
    for (codes, out) in codes.as_chunks::<LEN>().0.iter().zip(out.as_chunks_mut::<LEN>().0) {
        let scale = factor * f32::from(scales as u8);
        let minimum = minimum_factor * f32::from(minimums as u8);
        for (out, code) in out.iter_mut().zip(codes) {
            *out = scale * f32::from(*code) - minimum;
        }
        // Taking turns like this keeps the compiler from making vectors across groups, element by element, which is
        // three times as slow as inside them.
        scales >>= 8;
        minimums >>= 8;
    }
}

/// `scale * code` in groups of 16.
#[inline(always)]
fn linear(codes: &[i8; 256], scales: impl Iterator<Item = f32>, out: &mut [f32; 256]) {
    let parts = codes.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0);
    for ((codes, out), scale) in parts.zip(scales) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = scale * f32::from(*code);
        }
    }
}

pub(super) fn expand_q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let factor = scale(part::<80, 2, 84>(block));
    let minimum_factor = scale(part::<82, 2, 84>(block));
    let packed = u128::from_le_bytes(*part::<0, 16, 84>(block));
    const LOWER: u128 = u128::from_le_bytes([15; 16]);
    let codes = q2_codes(part::<16, 64, 84>(block));
    affine::<16>(&codes, (factor, packed & LOWER), (minimum_factor, (packed >> 4) & LOWER), out);
}

pub(super) fn expand_q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let factor = scale(part::<108, 2, 110>(block));
    let scales = unpack_q3_k_scales(part::<96, 12, 110>(block));
    let codes = q3_codes(part::<0, 32, 110>(block), part::<32, 64, 110>(block));
    linear(&codes, scales.iter().map(|scale| factor * f32::from(*scale)), out);
}

pub(super) fn expand_q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let codes = q4_k_codes(part::<16, 128, 144>(block));
    let (scales, minimums) = groups_of_32(part::<0, 16, 144>(block));
    affine::<32>(&codes, scales, minimums, out);
}

pub(super) fn expand_q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let codes = q5_k_codes(part::<16, 32, 176>(block), part::<48, 128, 176>(block));
    let (scales, minimums) = groups_of_32(part::<0, 16, 176>(block));
    affine::<32>(&codes, scales, minimums, out);
}

/// Scales and minimums, each with their factor, from the head that Q4_K and Q5_K share.
#[inline(always)]
fn groups_of_32(head: &[u8; 16]) -> ((f32, u128), (f32, u128)) {
    let (scales, minimums) = unpack_q4_k_scales(part::<4, 12, 16>(head));
    let together = |factor: &[u8; 2], integers: [u8; 8]| (scale(factor), u128::from(u64::from_le_bytes(integers)));
    (together(part::<0, 2, 16>(head), scales), together(part::<2, 2, 16>(head), minimums))
}

pub(super) fn expand_q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let factor = scale(part::<208, 2, 210>(block));
    let codes = q6_k_codes(part::<0, 128, 210>(block), part::<128, 64, 210>(block));
    let scales = part::<192, 16, 210>(block).iter().map(|scale| factor * f32::from(scale.cast_signed()));
    linear(&codes, scales, out);
}
