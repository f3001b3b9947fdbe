//! The types with one f16 scale for 32 elements: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//!
//! `_0` types store `scale * (code - middle)`, `_1` types `scale * code + minimum`.

use super::{floats::scale, part};

/// Splits 16 bytes into 32 codes of 4 bits: first the lower halves, then the upper ones.
#[inline(always)]
pub(crate) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (index, byte) in bytes.iter().enumerate() {
        codes[index] = byte & 0x0f;
        codes[index + 16] = byte >> 4;
    }
    codes
}

/// The fifth bits of 32 codes (in place, that is 0 or 16), stored as one little-endian number.
#[inline(always)]
pub(crate) fn fifth_bits(bytes: &[u8; 4]) -> [u8; 32] {
    // A shift by a constant in each byte is what 8-bit lanes can do, so the bit is masked where it stands.
    let mut bits = [0; 32];
    for (index, bit) in bits.iter_mut().enumerate() {
        *bit = if bytes[index / 8] & (1 << (index % 8)) == 0 { 0 } else { 16 };
    }
    bits
}

#[inline(always)]
pub(super) fn expand_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 18>(block));
    for (out, code) in out.iter_mut().zip(nibbles(part::<2, 16, 18>(block))) {
        *out = f32::from(code as i8 - 8) * scale;
    }
}

#[inline(always)]
pub(super) fn expand_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let minimum = scale(part::<2, 2, 20>(block));
    let scale = scale(part::<0, 2, 20>(block));
    for (out, code) in out.iter_mut().zip(nibbles(part::<4, 16, 20>(block))) {
        *out = f32::from(code) * scale + minimum;
    }
}

#[inline(always)]
pub(super) fn expand_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 22>(block));
    let fifths = fifth_bits(part::<2, 4, 22>(block));
    for ((out, code), fifth) in out.iter_mut().zip(nibbles(part::<6, 16, 22>(block))).zip(fifths) {
        *out = f32::from((code | fifth) as i8 - 16) * scale;
    }
}

#[inline(always)]
pub(super) fn expand_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let minimum = scale(part::<2, 2, 24>(block));
    let scale = scale(part::<0, 2, 24>(block));
    let fifths = fifth_bits(part::<4, 4, 24>(block));
    for ((out, code), fifth) in out.iter_mut().zip(nibbles(part::<8, 16, 24>(block))).zip(fifths) {
        *out = f32::from(code | fifth) * scale + minimum;
    }
}

#[inline(always)]
pub(super) fn expand_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 34>(block));
    for (out, code) in out.iter_mut().zip(part::<2, 32, 34>(block)) {
        *out = f32::from(code.cast_signed()) * scale;
    }
}
