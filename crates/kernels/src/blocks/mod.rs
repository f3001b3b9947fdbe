//! Stored blocks to f32 and back: the scalar reference that every fast kernel is tested against.
//!
//! A *block* is 32 or 256 consecutive elements of a row. The older types keep one scale (and perhaps a minimum) for
//! 32 elements; the K types keep 8 or 16 small integer scales under one or two f16 scales for 256 elements; the IQ4
//! types look their codes up in a table of 16 values. Layouts are those of GGML's `ggml-common.h`; expanding gives
//! the same bits as GGML's reference functions, because the operations are done in the same order.
//!
//! ```
//! use saem_kernels::{DataType, blocks};
//! let values: Vec<f32> = (0..256).map(|index| (index as f32 * 0.1).sin()).collect();
//! let mut bytes = Vec::new();
//! blocks::quantize(DataType::Q6K, &values, &mut bytes)?;
//! let mut back = vec![0.0; 256];
//! blocks::dequantize(DataType::Q6K, &bytes, &mut back)?;
//! assert!(values.iter().zip(&back).all(|(value, back)| (value - back).abs() < 0.04));
//! # Ok::<(), saem_kernels::KernelError>(())
//! ```

mod floats;
mod iq4;
mod k_compress;
mod k_quants;
mod legacy;
mod search;
mod search_affine;

use crate::{DataType, KernelError};

#[allow(unused_imports, reason = "offered to the packing code")]
pub(crate) use {
    floats::{f16_to_f32, f32_to_f16},
    iq4::{IQ4_VALUES, iq4_xs_scales},
    k_quants::{q2_codes, q3_codes, q4_k_codes, q5_k_codes, q6_k_codes, unpack_q3_k_scales, unpack_q4_k_scales},
    legacy::{fifth_bits, nibbles},
};

/// Expands stored blocks to f32. `out.len()` elements are read from `bytes`.
///
/// # Errors
/// [`KernelError::PartialBlock`] or [`KernelError::ByteCount`] where the sizes do not agree.
pub fn dequantize(data_type: DataType, bytes: &[u8], out: &mut [f32]) -> Result<(), KernelError> {
    check(data_type, bytes.len(), out.len())?;
    match data_type {
        DataType::F32 => each(bytes, out, floats::expand_f32),
        DataType::F16 => each(bytes, out, floats::expand_f16),
        DataType::Bf16 => each(bytes, out, floats::expand_bf16),
        DataType::Q4_0 => each(bytes, out, legacy::expand_q4_0),
        DataType::Q4_1 => each(bytes, out, legacy::expand_q4_1),
        DataType::Q5_0 => each(bytes, out, legacy::expand_q5_0),
        DataType::Q5_1 => each(bytes, out, legacy::expand_q5_1),
        DataType::Q8_0 => each(bytes, out, legacy::expand_q8_0),
        DataType::Q2K => each(bytes, out, k_quants::expand_q2_k),
        DataType::Q3K => each(bytes, out, k_quants::expand_q3_k),
        DataType::Q4K => each(bytes, out, k_quants::expand_q4_k),
        DataType::Q5K => each(bytes, out, k_quants::expand_q5_k),
        DataType::Q6K => each(bytes, out, k_quants::expand_q6_k),
        DataType::Iq4Nl => each(bytes, out, iq4::expand_iq4_nl),
        DataType::Iq4Xs => each(bytes, out, iq4::expand_iq4_xs),
    }
    Ok(())
}

/// Compresses f32 values into blocks of `data_type`, appending to `out`.
///
/// # Errors
/// [`KernelError::PartialBlock`] where the values do not fill whole blocks,
/// [`KernelError::NotFinite`] where a quantised type is given NaN or infinity.
pub fn quantize(data_type: DataType, values: &[f32], out: &mut Vec<u8>) -> Result<(), KernelError> {
    if !values.len().is_multiple_of(data_type.block_len()) {
        return Err(KernelError::PartialBlock { data_type, columns: values.len(), block: data_type.block_len() });
    }
    if data_type.is_quantized()
        && let Some(index) = first_not_finite(values)
    {
        return Err(KernelError::NotFinite { data_type, index });
    }
    match data_type {
        DataType::F32 => append(values, out, floats::compress_f32),
        DataType::F16 => append(values, out, floats::compress_f16),
        DataType::Bf16 => append(values, out, floats::compress_bf16),
        DataType::Q4_0 => append(values, out, legacy::compress_q4_0),
        DataType::Q4_1 => append(values, out, legacy::compress_q4_1),
        DataType::Q5_0 => append(values, out, legacy::compress_q5_0),
        DataType::Q5_1 => append(values, out, legacy::compress_q5_1),
        DataType::Q8_0 => append(values, out, legacy::compress_q8_0),
        DataType::Q2K => append(values, out, k_compress::compress_q2_k),
        DataType::Q3K => append(values, out, k_compress::compress_q3_k),
        DataType::Q4K => append(values, out, k_compress::compress_q4_k),
        DataType::Q5K => append(values, out, k_compress::compress_q5_k),
        DataType::Q6K => append(values, out, k_compress::compress_q6_k),
        DataType::Iq4Nl => append(values, out, iq4::compress_iq4_nl),
        DataType::Iq4Xs => append(values, out, iq4::compress_iq4_xs),
    }
    Ok(())
}

/// The first NaN or infinity, looked for only where there is one.
fn first_not_finite(values: &[f32]) -> Option<usize> {
    // A number times zero is zero, anything else times zero is NaN.
    let mut sums = [0.0_f32; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * 0.0;
        }
    }
    if sums.iter().chain(rest).all(|value| value.is_finite()) {
        return None;
    }
    values.iter().position(|value| !value.is_finite())
}

fn check(data_type: DataType, bytes: usize, elements: usize) -> Result<(), KernelError> {
    let expected = data_type.bytes_for(elements).ok_or(KernelError::PartialBlock {
        data_type,
        columns: elements,
        block: data_type.block_len(),
    })?;
    if expected == bytes {
        Ok(())
    } else {
        Err(KernelError::ByteCount { data_type, elements, expected, actual: bytes })
    }
}

/// Expands block after block. `check` has made sure that there is nothing left over.
#[inline(always)]
fn each<const BYTES: usize, const ELEMENTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    expand: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    for (block, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<ELEMENTS>().0) {
        expand(block, out);
    }
}

/// Compresses block after block to the end of `out`.
#[inline(always)]
fn append<const BYTES: usize, const ELEMENTS: usize>(
    values: &[f32],
    out: &mut Vec<u8>,
    compress: impl Fn(&[f32; ELEMENTS], &mut [u8; BYTES]),
) {
    let start = out.len();
    out.resize(start + values.len() / ELEMENTS * BYTES, 0);
    for (values, block) in values.as_chunks::<ELEMENTS>().0.iter().zip(out[start..].as_chunks_mut::<BYTES>().0) {
        compress(values, block);
    }
}

/// The `N` bytes of a block from byte `AT` on; that they lie inside is checked by the compiler.
#[inline(always)]
pub(crate) fn part<const AT: usize, const N: usize, const BYTES: usize>(block: &[u8; BYTES]) -> &[u8; N] {
    const { assert!(N > 0 && AT + N <= BYTES) };
    &block[AT..].as_chunks::<N>().0[0]
}
