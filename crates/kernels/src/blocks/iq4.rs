//! IQ4_NL and IQ4_XS: codes of 4 bits that stand for 16 unevenly spaced values, denser around zero.
//!
//! IQ4_NL has an f16 scale for 32 elements; IQ4_XS has one for 256 and a 6-bit integer scale for each 32 of them.

use super::{
    floats::{f16_to_f32, scale},
    legacy::{join_nibbles, nibbles},
    part,
    search::{self, Lanes, limited, reciprocal, storable},
};

/// What the codes stand for.
pub(crate) const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The same as f32.
pub(super) const LEVELS: [f32; 16] = {
    let mut levels = [0.0; 16];
    let mut index = 0;
    while index < 16 {
        levels[index] = IQ4_VALUES[index] as f32;
        index += 1;
    }
    levels
};

/// Signed scales (-32 to 31) of the 8 groups of an IQ4_XS block from its `scales_h` and `scales_l` bytes.
#[inline(always)]
pub(crate) fn iq4_xs_scales(high: &[u8; 2], low: &[u8; 4]) -> [i8; 8] {
    let high = u16::from_le_bytes(*high);
    let mut scales = [0; 8];
    for (group, scale) in scales.iter_mut().enumerate() {
        let low = (low[group / 2] >> (4 * (group % 2))) & 15;
        let high = ((high >> (2 * group)) & 3) as u8;
        *scale = (low | (high << 4)) as i8 - 32;
    }
    scales
}

pub(super) fn expand_iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    expand(scale(part::<0, 2, 18>(block)), part::<2, 16, 18>(block), out);
}

pub(super) fn expand_iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let factor = scale(part::<0, 2, 136>(block));
    let scales = iq4_xs_scales(part::<2, 2, 136>(block), part::<4, 4, 136>(block));
    let codes = part::<8, 128, 136>(block).as_chunks::<16>().0;
    for ((codes, scale), out) in codes.iter().zip(scales).zip(out.as_chunks_mut::<32>().0) {
        expand(factor * f32::from(scale), codes, out);
    }
}

#[inline(always)]
fn expand(scale: f32, codes: &[u8; 16], out: &mut [f32; 32]) {
    for (out, code) in out.iter_mut().zip(nibbles(codes)) {
        *out = scale * LEVELS[usize::from(code & 15)];
    }
}

/// Where one value ends to be the nearest and the next begins.
const BORDERS: [f32; 15] = {
    let mut borders = [0.0; 15];
    let mut index = 0;
    while index < 15 {
        borders[index] = (LEVELS[index] + LEVELS[index + 1]) / 2.0;
        index += 1;
    }
    borders
};

/// The codes that the value of the largest magnitude is tried at.
const TARGETS: Lanes = [-140.0, -133.0, -127.0, -121.0, -114.0, 107.0, 114.0, 122.0];

/// The nearest of the 16 values, by counting borders: no branch and no table look-up, so it can be done in lanes.
#[inline(always)]
fn nearest(value: f32) -> f32 {
    let mut level = LEVELS[0];
    for (index, border) in BORDERS.iter().enumerate() {
        level += if value >= *border { LEVELS[index + 1] - LEVELS[index] } else { 0.0 };
    }
    level
}

/// The code of the nearest of the 16 values.
#[inline(always)]
fn nearest_code(value: f32) -> u8 {
    BORDERS.iter().map(|border| u8::from(value >= *border)).sum()
}

#[inline(always)]
fn codes(divided: &[f32; 32]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (code, value) in codes.iter_mut().zip(divided) {
        *code = nearest_code(*value);
    }
    codes
}

pub(super) fn compress_iq4_nl(values: &[f32; 32], block: &mut [u8; 18]) {
    let values = limited(values);
    let factor = storable(search::fit(&values, &TARGETS, 0.015, nearest));
    let reciprocal = reciprocal(f16_to_f32(factor));
    block[..2].copy_from_slice(&factor.to_le_bytes());
    join_nibbles(&codes(&values.map(|value| value * reciprocal)), &mut block[2..]);
}

pub(super) fn compress_iq4_xs(values: &[f32; 256], block: &mut [u8; 136]) {
    let values = limited(values);
    let scales = search::search::<32, 8>(&values, &TARGETS, 0.015, 32.0, nearest);
    block[..2].copy_from_slice(&scales.factor.to_le_bytes());
    let mut high = 0;
    for (group, integer) in scales.integers.into_iter().enumerate() {
        let integer = (integer + 32).cast_unsigned();
        high |= u16::from(integer >> 4) << (2 * group);
        block[4 + group / 2] |= (integer & 15) << (4 * (group % 2));
    }
    block[2..4].copy_from_slice(&high.to_le_bytes());
    let divided = scales.divide::<32>(&values);
    for (divided, out) in divided.as_chunks::<32>().0.iter().zip(block[8..].as_chunks_mut::<16>().0) {
        join_nibbles(&codes(divided), out);
    }
}
