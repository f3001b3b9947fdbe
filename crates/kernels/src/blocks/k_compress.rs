//! Compression to the K types: a search for the scales, then the codes, then the packing that
//! [`super::k_quants`] undoes.

use super::{
    floats::{limit, round, rounded},
    search::{self, Lanes, limited},
    search_affine::{self, Affine, Limits},
};

/// The nearest of the integers from `LOW` to `HIGH`.
#[inline(always)]
fn nearest<const LOW: i8, const HIGH: i8>(value: f32) -> f32 {
    round(limit(value, f32::from(LOW), f32::from(HIGH)))
}

/// The reverse of [`super::q2_codes`]; only the lower two bits of the codes are taken.
#[inline(always)]
fn join_q2(codes: &[u8; 256], out: &mut [u8]) {
    for (codes, out) in codes.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for (index, out) in out.iter_mut().enumerate() {
            let [a, b, c, d] = [0, 32, 64, 96].map(|plane| codes[index + plane] & 3);
            *out = a | (b << 2) | (c << 4) | (d << 6);
        }
    }
}

/// The reverse of [`super::q4_k_codes`]; only the lower four bits of the codes are taken.
#[inline(always)]
fn join_q4(codes: &[u8; 256], out: &mut [u8]) {
    for (codes, out) in codes.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for (index, out) in out.iter_mut().enumerate() {
            *out = (codes[index] & 15) | (codes[index + 32] << 4);
        }
    }
}

/// Bit `BIT` of all codes: bit `plane` of byte `index` belongs to code `32 * plane + index`.
#[inline(always)]
fn join_bits<const BIT: u32>(codes: &[u8; 256], out: &mut [u8]) {
    for (plane, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        for (out, code) in out.iter_mut().zip(codes) {
            *out |= ((code >> BIT) & 1) << plane;
        }
    }
}

/// The reverse of [`super::unpack_q4_k_scales`].
#[inline(always)]
fn join_scales(affine: &Affine<8>, out: &mut [u8]) {
    for group in 0..4 {
        let (scale, minimum) = (affine.scales[group + 4], affine.minimums[group + 4]);
        out[group] = affine.scales[group] | ((scale >> 4) << 6);
        out[group + 4] = affine.minimums[group] | ((minimum >> 4) << 6);
        out[group + 8] = (scale & 15) | ((minimum & 15) << 4);
    }
}

/// Codes from `LOW` to `HIGH` as unsigned numbers from 0 on.
#[inline(always)]
fn raised<const LOW: i8, const HIGH: i8>(divided: &[f32; 256]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (code, value) in codes.iter_mut().zip(divided) {
        *code = rounded(limit(*value, f32::from(LOW), f32::from(HIGH))).wrapping_sub(LOW.cast_unsigned());
    }
    codes
}

pub(super) fn compress_q2_k(values: &[f32; 256], block: &mut [u8; 84]) {
    const LIMITS: Limits = Limits { codes: 3.0, integers: 15.0, stretch: [-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.7, 1.0] };
    let values = limited(values);
    let affine = search_affine::search::<16, 16>(&values, LIMITS);
    for ((out, scale), minimum) in block.iter_mut().zip(affine.scales).zip(affine.minimums) {
        *out = scale | (minimum << 4);
    }
    join_q2(&affine.codes::<16>(&values, LIMITS.codes), &mut block[16..80]);
    block[80..82].copy_from_slice(&affine.factor.to_le_bytes());
    block[82..].copy_from_slice(&affine.minimum_factor.to_le_bytes());
}

pub(super) fn compress_q3_k(values: &[f32; 256], block: &mut [u8; 110]) {
    const TARGETS: Lanes = [-4.8, -4.5, -4.2, -3.9, -3.6, -3.3, 3.0, 3.4];
    let values = limited(values);
    let scales = search::search::<16, 16>(&values, &TARGETS, 0.025, 32.0, nearest::<-4, 3>);
    let codes = raised::<-4, 3>(&scales.divide::<16>(&values));
    join_bits::<2>(&codes, &mut block[..32]);
    join_q2(&codes, &mut block[32..96]);
    for (group, integer) in scales.integers.into_iter().enumerate() {
        let integer = (integer + 32).cast_unsigned();
        block[96 + group % 8] |= (integer & 15) << (4 * (group / 8));
        block[104 + group % 4] |= (integer >> 4) << (2 * (group / 4));
    }
    block[108..].copy_from_slice(&scales.factor.to_le_bytes());
}

pub(super) fn compress_q4_k(values: &[f32; 256], block: &mut [u8; 144]) {
    const LIMITS: Limits = Limits { codes: 15.0, integers: 63.0, stretch: [-0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6, 2.0] };
    let values = limited(values);
    let affine = search_affine::search::<32, 8>(&values, LIMITS);
    join_head(&affine, &mut block[..16]);
    join_q4(&affine.codes::<32>(&values, LIMITS.codes), &mut block[16..]);
}

pub(super) fn compress_q5_k(values: &[f32; 256], block: &mut [u8; 176]) {
    const LIMITS: Limits = Limits { codes: 31.0, integers: 63.0, stretch: [-0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6, 2.0] };
    let values = limited(values);
    let affine = search_affine::search::<32, 8>(&values, LIMITS);
    let codes = affine.codes::<32>(&values, LIMITS.codes);
    join_head(&affine, &mut block[..16]);
    join_bits::<4>(&codes, &mut block[16..48]);
    join_q4(&codes, &mut block[48..]);
}

/// The 16 bytes that Q4_K and Q5_K blocks start with.
#[inline(always)]
fn join_head(affine: &Affine<8>, out: &mut [u8]) {
    out[..2].copy_from_slice(&affine.factor.to_le_bytes());
    out[2..4].copy_from_slice(&affine.minimum_factor.to_le_bytes());
    join_scales(affine, &mut out[4..]);
}

pub(super) fn compress_q6_k(values: &[f32; 256], block: &mut [u8; 210]) {
    const TARGETS: Lanes = [-32.4, -32.2, -32.0, -31.8, -31.5, -31.2, 31.0, 31.3];
    let values = limited(values);
    let scales = search::search::<16, 16>(&values, &TARGETS, 0.004, 128.0, nearest::<-32, 31>);
    let codes = raised::<-32, 31>(&scales.divide::<16>(&values));
    let (low, rest) = block.split_at_mut(128);
    let halves = low.as_chunks_mut::<64>().0.iter_mut().zip(rest.as_chunks_mut::<32>().0);
    for ((low, high), codes) in halves.zip(codes.as_chunks::<128>().0) {
        for (index, high) in high.iter_mut().enumerate() {
            let [a, b, c, d] = [0, 32, 64, 96].map(|plane| codes[index + plane]);
            low[index] = (a & 15) | (c << 4);
            low[index + 32] = (b & 15) | (d << 4);
            *high = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((d >> 4) << 6);
        }
    }
    for (out, integer) in block[192..208].iter_mut().zip(scales.integers) {
        *out = integer.cast_unsigned();
    }
    block[208..].copy_from_slice(&scales.factor.to_le_bytes());
}
