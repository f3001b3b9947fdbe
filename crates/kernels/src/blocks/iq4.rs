//! IQ4_NL and IQ4_XS: codes of 4 bits that stand for 16 unevenly spaced values, denser around zero.
//!
//! IQ4_NL has an f16 scale for 32 elements; IQ4_XS has one for 256 and a 6-bit integer scale for each 32 of them.

use super::{floats::scale, legacy::nibbles, part};

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
