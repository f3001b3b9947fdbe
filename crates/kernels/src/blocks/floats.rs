//! Plain floats, and the f16 numbers inside blocks.
//!
//! The conversions are branch-free integer code, so that loops over them are vectorised even for the oldest
//! processors of an architecture.

/// Added to a number below 2^22 it leaves no place for a fraction, so the sum is rounded, ties to even, and its
/// lowest bits are the integer (negative ones as two's complement).
const SHIFT: f32 = 12_582_912.0;

/// The nearest integer, ties to even, for magnitudes below 2^22.
#[inline(always)]
pub(super) fn round(value: f32) -> f32 {
    (value + SHIFT) - SHIFT
}

/// The same as an integer, of which the lowest eight bits are kept: no cast, no care for what does not fit.
#[inline(always)]
pub(super) fn rounded(value: f32) -> u8 {
    (value + SHIFT).to_bits() as u8
}

/// The nearest integer, halves away from zero, as in C's `roundf`, kept as in [`rounded`].
#[inline(always)]
pub(super) fn rounded_away(value: f32) -> u8 {
    let even = value + SHIFT;
    let rest = value - (even - SHIFT);
    let negative = value.to_bits() & 0x8000_0000;
    // A half was taken off a positive number, or added to a negative one: one step further.
    let step = if f32::from_bits(rest.to_bits() ^ negative) == 0.5 { 1 } else { 0 };
    let step = if negative == 0 { step } else { 0 - step };
    (even.to_bits().cast_signed() + step) as u8
}

/// The integer part of a number that is not negative, kept as in [`rounded`].
#[inline(always)]
pub(super) fn cut(value: f32) -> u8 {
    let even = value + SHIFT;
    let above = if even - SHIFT > value { 1 } else { 0 };
    (even.to_bits() - above) as u8
}

/// The greater of two numbers, without the care for NaN that hinders vector code.
#[inline(always)]
pub(super) fn greater(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}

/// The lesser of two numbers, likewise.
#[inline(always)]
pub(super) fn lesser(left: f32, right: f32) -> f32 {
    if left < right { left } else { right }
}

/// `value` between two bounds, likewise.
#[inline(always)]
pub(super) fn limit(value: f32, low: f32, high: f32) -> f32 {
    greater(lesser(value, high), low)
}

/// An f16 number (its bits) as f32; exact.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = (u32::from(bits) & 0x8000) << 16;
    let magnitude = u32::from(bits) & 0x7fff;
    // Exponents 1 to 30 only move their bias from 15 to 127; infinities and NaN move theirs a second time.
    let rest = if magnitude >= 0x7c00 { 112 << 23 } else { 0 };
    let normal = (magnitude << 13) + (112 << 23) + rest;
    // Subnormal numbers count steps of 2^-24, which is the last place of a number in [0.5, 1).
    let subnormal = (f32::from_bits(0x3f00_0000 | magnitude) - 0.5).to_bits();
    f32::from_bits(sign | if magnitude < 0x0400 { subnormal } else { normal })
}

/// The f16 number (its bits) nearest to `value`, ties to even.
#[inline(always)]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Adding half of the last kept place, less one where that place is even, makes the shift round.
    let odd = (magnitude >> 13) & 1;
    let normal = (magnitude.wrapping_sub(112 << 23)).wrapping_add(0x0fff + odd) >> 13;
    // Below 2^-14 the addition of 0.5 does the rounding to steps of 2^-24.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let finite = if magnitude < 113 << 23 { subnormal } else { normal };
    // From 65520 on the nearest is infinity; NaN stays NaN (quiet, its upper payload kept).
    let special = if magnitude > 0x7f80_0000 { 0x7e00 | ((magnitude >> 13) & 0x1ff) } else { 0x7c00 };
    (sign | if magnitude >= 0x477f_f000 { special } else { finite }) as u16
}

/// The bf16 number (its bits) nearest to `value`, ties to even.
#[inline(always)]
fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let odd = (bits >> 16) & 1;
    let rounded = bits.wrapping_add(0x7fff + odd) >> 16;
    let nan = (bits >> 16) | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) as u16
}

/// The f16 number whose two bytes are given, as f32.
#[inline(always)]
pub(super) fn scale(bytes: &[u8; 2]) -> f32 {
    f16_to_f32(u16::from_le_bytes(*bytes))
}

#[inline(always)]
pub(super) fn expand_f32(bytes: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*bytes);
}

#[inline(always)]
pub(super) fn expand_f16(bytes: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = scale(bytes);
}

#[inline(always)]
pub(super) fn expand_bf16(bytes: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
}

#[inline(always)]
pub(super) fn compress_f32(values: &[f32; 1], block: &mut [u8; 4]) {
    *block = values[0].to_le_bytes();
}

#[inline(always)]
pub(super) fn compress_f16(values: &[f32; 1], block: &mut [u8; 2]) {
    *block = f32_to_f16(values[0]).to_le_bytes();
}

#[inline(always)]
pub(super) fn compress_bf16(values: &[f32; 1], block: &mut [u8; 2]) {
    *block = f32_to_bf16(values[0]).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_expands_as_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let actual = f16_to_f32(bits);
            assert!(
                actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan()),
                "{bits:#06x}: {actual} instead of {expected}"
            );
        }
    }

    #[test]
    fn rounding_agrees_with_the_half_crate_around_every_tie() {
        let check = |value: f32| {
            let (actual, expected) = (f32_to_f16(value), half::f16::from_f32(value));
            assert!(
                actual == expected.to_bits() || (value.is_nan() && f16_to_f32(actual).is_nan()),
                "f16 of {value:e}"
            );
            let (actual, expected) = (f32_to_bf16(value), half::bf16::from_f32(value));
            assert!(actual == expected.to_bits() || (value.is_nan() && expected.is_nan()), "bf16 of {value:e}");
        };
        for upper in 0..=u16::MAX {
            // Every bf16 number and the f32 numbers around the places where either type rounds.
            for lower in [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                check(f32::from_bits((u32::from(upper) << 16) | lower));
            }
            let bits = f16_to_f32(upper).to_bits();
            for near in [bits, bits ^ 0x1000, (bits ^ 0x1000).wrapping_add(1), (bits ^ 0x1000).wrapping_sub(1)] {
                check(f32::from_bits(near));
            }
        }
    }
}
