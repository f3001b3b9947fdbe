//! The types with one f16 scale for 32 elements: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//!
//! `_0` types store `scale * (code - middle)`, `_1` types `scale * code + minimum`.

use super::{
    floats::{cut, f32_to_f16, greater, lesser, limit, rounded_away, scale},
    part,
};

/// Splits 16 bytes into 32 codes of 4 bits: first the lower halves, then the upper ones.
#[inline(always)]
pub(crate) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    // One loop for each half: a compiler makes better vectors of those than of one loop that writes to both.
    let (low, high) = codes.split_at_mut(16);
    for (code, byte) in low.iter_mut().zip(bytes) {
        *code = byte & 15;
    }
    for (code, byte) in high.iter_mut().zip(bytes) {
        *code = byte >> 4;
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

#[inline(never)]
pub(super) fn expand_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 18>(block));
    for (out, code) in out.iter_mut().zip(nibbles(part::<2, 16, 18>(block))) {
        *out = f32::from(code as i8 - 8) * scale;
    }
}

#[inline(never)]
pub(super) fn expand_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let minimum = scale(part::<2, 2, 20>(block));
    let scale = scale(part::<0, 2, 20>(block));
    for (out, code) in out.iter_mut().zip(nibbles(part::<4, 16, 20>(block))) {
        *out = f32::from(code) * scale + minimum;
    }
}

#[inline(never)]
pub(super) fn expand_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 22>(block));
    let fifths = fifth_bits(part::<2, 4, 22>(block));
    for ((out, code), fifth) in out.iter_mut().zip(nibbles(part::<6, 16, 22>(block))).zip(fifths) {
        *out = f32::from((code | fifth) as i8 - 16) * scale;
    }
}

#[inline(never)]
pub(super) fn expand_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let minimum = scale(part::<2, 2, 24>(block));
    let scale = scale(part::<0, 2, 24>(block));
    let fifths = fifth_bits(part::<4, 4, 24>(block));
    for ((out, code), fifth) in out.iter_mut().zip(nibbles(part::<8, 16, 24>(block))).zip(fifths) {
        *out = f32::from(code | fifth) * scale + minimum;
    }
}

#[inline(never)]
pub(super) fn expand_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = scale(part::<0, 2, 34>(block));
    for (out, code) in out.iter_mut().zip(part::<2, 32, 34>(block)) {
        *out = f32::from(code.cast_signed()) * scale;
    }
}

/// The reverse of [`nibbles`].
#[inline(always)]
pub(super) fn join_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    let (low, high) = codes.split_at(16);
    for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
        *out = (low & 15) | (high << 4);
    }
}

/// The reverse of [`fifth_bits`].
#[inline(always)]
fn join_fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let mut bits = 0_u32;
    for (index, code) in codes.iter().enumerate() {
        bits |= u32::from(code >> 4) << index;
    }
    bits.to_le_bytes()
}

/// The largest magnitude.
#[inline(always)]
fn largest(values: &[f32; 32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for chunk in values.as_chunks::<8>().0 {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = greater(value.abs(), *lane);
        }
    }
    lanes.into_iter().fold(0.0, greater)
}

/// The first value of the largest magnitude, with its sign; a positive zero where there are only zeros.
#[inline(always)]
fn extreme(values: &[f32; 32]) -> f32 {
    let largest = largest(values);
    if largest == 0.0 { 0.0 } else { values.iter().copied().find(|value| value.abs() == largest).unwrap_or(largest) }
}

/// The smallest and the largest value; among zeros of both signs the first counts.
#[inline(always)]
fn bounds(values: &[f32; 32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::MAX; 8], [f32::MIN; 8]);
    for chunk in values.as_chunks::<8>().0 {
        for ((low, high), value) in low.iter_mut().zip(&mut high).zip(chunk) {
            *low = lesser(*value, *low);
            *high = greater(*value, *high);
        }
    }
    let low = low.into_iter().fold(f32::MAX, lesser);
    let high = high.into_iter().fold(f32::MIN, greater);
    if low == 0.0 {
        // The sign of a zero is stored, so it must not depend on the order in which lanes are joined.
        let zero = values.iter().copied().find(|value| *value == 0.0).unwrap_or(low);
        return (zero, if high == 0.0 { zero } else { high });
    }
    (low, high)
}

/// What f16 can hold instead of infinity.
#[inline(always)]
fn storable(value: f32) -> f32 {
    if value.abs() < 65_520.0 { value } else { 65_504.0_f32.copysign(value) }
}

/// The factor that codes are computed with: zero where the scale is, or is too small to have a reciprocal.
#[inline(always)]
fn reciprocal(scale: f32) -> f32 {
    let reciprocal = 1.0 / scale;
    if reciprocal.is_finite() { reciprocal } else { 0.0 }
}

/// Codes `(value - origin) / scale + bias`, cut to an integer of at most `largest`.
#[inline(always)]
fn codes(values: &[f32; 32], origin: f32, reciprocal: f32, bias: f32, largest: f32) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, value) in codes.iter_mut().zip(values) {
        *code = cut(limit((value - origin) * reciprocal + bias, 0.0, largest));
    }
    codes
}

pub(super) fn compress_q4_0(values: &[f32; 32], block: &mut [u8; 18]) {
    let scale = storable(extreme(values) / -8.0);
    block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    join_nibbles(&codes(values, 0.0, reciprocal(scale), 8.5, 15.0), &mut block[2..]);
}

pub(super) fn compress_q4_1(values: &[f32; 32], block: &mut [u8; 20]) {
    let (low, high) = bounds(values);
    let (low, scale) = (storable(low), storable((high - low) / 15.0));
    block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    block[2..4].copy_from_slice(&f32_to_f16(low).to_le_bytes());
    join_nibbles(&codes(values, low, reciprocal(scale), 0.5, 15.0), &mut block[4..]);
}

pub(super) fn compress_q5_0(values: &[f32; 32], block: &mut [u8; 22]) {
    let scale = storable(extreme(values) / -16.0);
    let codes = codes(values, 0.0, reciprocal(scale), 16.5, 31.0);
    block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    block[2..6].copy_from_slice(&join_fifth_bits(&codes));
    join_nibbles(&codes, &mut block[6..]);
}

pub(super) fn compress_q5_1(values: &[f32; 32], block: &mut [u8; 24]) {
    let (low, high) = bounds(values);
    let (low, scale) = (storable(low), storable((high - low) / 31.0));
    let codes = codes(values, low, reciprocal(scale), 0.5, 31.0);
    block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    block[2..4].copy_from_slice(&f32_to_f16(low).to_le_bytes());
    block[4..8].copy_from_slice(&join_fifth_bits(&codes));
    join_nibbles(&codes, &mut block[8..]);
}

pub(super) fn compress_q8_0(values: &[f32; 32], block: &mut [u8; 34]) {
    let scale = storable(largest(values) / 127.0);
    let reciprocal = reciprocal(scale);
    block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    for (code, value) in block[2..].iter_mut().zip(values) {
        *code = rounded_away(limit(value * reciprocal, -127.0, 127.0));
    }
}
