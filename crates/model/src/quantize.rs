//! Choosing a stored type, and compressing to it on all threads.

use std::sync::{Mutex, PoisonError};

use saem_kernels::{DataType, KernelError, ThreadPool, blocks};

use crate::families::Role;

/// The type that a matrix of `columns` columns gets where `requested` is asked for.
///
/// The rules are llama.cpp's simple ones. The output matrix (also where it is the embedding matrix) decides more than
/// others and keeps at least six bits. Rows that do not divide into blocks of 256 get a similar type with blocks of
/// 32, and f16 where they do not divide into those. Routers and everything with one dimension are f32 and not asked
/// for here.
pub(crate) fn stored_type(requested: DataType, role: Role, tied: bool, columns: usize) -> DataType {
    let is_output = role == Role::Output || (role == Role::TokenEmbedding && tied);
    let wanted =
        if is_output && requested.is_quantized() && requested != DataType::Q8_0 { DataType::Q6K } else { requested };
    if columns.is_multiple_of(wanted.block_len()) {
        return wanted;
    }
    let instead = match wanted {
        DataType::Q2K | DataType::Q3K => DataType::Q4_0,
        DataType::Iq4Xs => DataType::Iq4Nl,
        DataType::Q4K => DataType::Q5_0,
        DataType::Q5K => DataType::Q5_1,
        DataType::Q6K => DataType::Q8_0,
        other => other,
    };
    if columns.is_multiple_of(instead.block_len()) { instead } else { DataType::F16 }
}

/// Rows expanded at a time by one thread: enough to amortise the call, little enough to stay in cache.
const CHUNK_ELEMENTS: usize = 1 << 15;

/// Converts rows of `columns` elements from one stored type to another. Every thread takes a run of rows.
pub(crate) fn convert(
    pool: &ThreadPool,
    from: DataType,
    bytes: &[u8],
    columns: usize,
    to: DataType,
) -> Result<Vec<u8>, KernelError> {
    let partial = |data_type: DataType| KernelError::PartialBlock { data_type, columns, block: data_type.block_len() };
    let stride = from.bytes_for(columns).filter(|stride| *stride > 0).ok_or_else(|| partial(from))?;
    let out_stride = to.bytes_for(columns).ok_or_else(|| partial(to))?;
    let rows = bytes.len() / stride;
    let parts: Vec<Mutex<Result<Vec<u8>, KernelError>>> =
        (0..pool.threads()).map(|_| Mutex::new(Ok(Vec::new()))).collect();
    pool.run(|thread| {
        let share = thread.share(rows, 1);
        let result = convert_rows(from, bytes, columns, stride, to, out_stride, share);
        if let Some(part) = parts.get(thread.index) {
            *part.lock().unwrap_or_else(PoisonError::into_inner) = result;
        }
    });
    let mut out = Vec::with_capacity(rows * out_stride);
    for part in parts {
        out.extend(part.into_inner().unwrap_or_else(PoisonError::into_inner)?);
    }
    Ok(out)
}

fn convert_rows(
    from: DataType,
    bytes: &[u8],
    columns: usize,
    stride: usize,
    to: DataType,
    out_stride: usize,
    rows: std::ops::Range<usize>,
) -> Result<Vec<u8>, KernelError> {
    let mut out = Vec::with_capacity(rows.len() * out_stride);
    let chunk = (CHUNK_ELEMENTS / columns).max(1);
    let mut values = vec![0.0; chunk * columns];
    let bytes = bytes.get(rows.start * stride..rows.end * stride).unwrap_or_default();
    for stored in bytes.chunks(chunk * stride) {
        let len = stored.len() / stride * columns;
        let values = values.get_mut(..len).unwrap_or_default();
        blocks::dequantize(from, stored, values)?;
        blocks::quantize(to, values, &mut out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_do_not_divide_fall_back() {
        let pick = |requested, columns| stored_type(requested, Role::Query, false, columns);
        assert_eq!(pick(DataType::Q4K, 512), DataType::Q4K);
        assert_eq!(pick(DataType::Q4K, 576), DataType::Q5_0);
        assert_eq!(pick(DataType::Q8_0, 40), DataType::F16);
        assert_eq!(pick(DataType::F16, 40), DataType::F16);
    }

    #[test]
    fn the_output_keeps_six_bits() {
        assert_eq!(stored_type(DataType::Q4_0, Role::Output, false, 512), DataType::Q6K);
        assert_eq!(stored_type(DataType::Q4_0, Role::TokenEmbedding, true, 576), DataType::Q8_0);
        assert_eq!(stored_type(DataType::Q4_0, Role::TokenEmbedding, false, 576), DataType::Q4_0);
        assert_eq!(stored_type(DataType::Q8_0, Role::Output, false, 512), DataType::Q8_0);
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let values: Vec<u8> = (0..37 * 64).flat_map(|x| ((x as f32).sin() * 3.0).to_le_bytes()).collect();
        let one = ThreadPool::new(1).unwrap();
        let three = ThreadPool::new(3).unwrap();
        let run = |pool| convert(pool, DataType::F32, &values, 64, DataType::Q8_0).unwrap();
        assert_eq!(run(&one), run(&three));
        assert_eq!(run(&one).len(), 37 * 2 * 34);
    }
}
