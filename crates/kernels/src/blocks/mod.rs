//! Stored blocks to f32 and back: the scalar reference that every fast kernel is tested against.

use crate::{DataType, KernelError};

/// Expands stored blocks to f32. `out.len()` elements are read from `bytes`.
///
/// # Errors
/// [`KernelError::PartialBlock`] or [`KernelError::ByteCount`] where the sizes do not agree.
pub fn dequantize(data_type: DataType, bytes: &[u8], out: &mut [f32]) -> Result<(), KernelError> {
    check(data_type, bytes.len(), out.len())?;
    match data_type {
        DataType::F32 => {
            for (value, chunk) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*chunk);
            }
        }
        DataType::F16 => {
            for (value, chunk) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = half::f16::from_le_bytes(*chunk).to_f32();
            }
        }
        DataType::Bf16 => {
            for (value, chunk) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = half::bf16::from_le_bytes(*chunk).to_f32();
            }
        }
        other => unimplemented!("{other}"),
    }
    Ok(())
}

/// Compresses f32 values into blocks of `data_type`, appending to `out`.
///
/// # Errors
/// [`KernelError::PartialBlock`] where the values do not fill whole blocks,
/// [`KernelError::NotFinite`] where a quantised type is given NaN or infinity.
pub fn quantize(data_type: DataType, values: &[f32], out: &mut Vec<u8>) -> Result<(), KernelError> {
    let _ = (values, out);
    unimplemented!("{data_type}")
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
