//! The tensor table of a GGUF file.

use std::ops::Range;

use saem_kernels::DataType;

use super::cursor::Cursor;
use super::problem::{Fault, Problem};
use super::types::{self, TypeNumber};
use crate::error::shown;

/// GGML writes names of at most 63 bytes; tools that bypass it write longer ones.
const LONGEST_NAME: usize = 1024;
/// Far more tensors than any model has.
const MOST_TENSORS: usize = 1 << 20;
/// A name of one byte and no dimension.
const LEAST_TENSOR_BYTES: usize = 8 + 1 + 4 + 4 + 8;
/// Dimensions of a GGML tensor.
pub(super) const MOST_DIMENSIONS: usize = 4;

/// A tensor of a GGUF file: what it is called, its shape and type, and where its bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The tensor's name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Dimensions in GGML's order: `shape[0]` is the length of a row, whose elements lie side by side.
    pub shape: Vec<usize>,
    /// How elements are stored.
    pub data_type: DataType,
    /// Which file of a split model, from 0.
    pub(super) part: usize,
    /// Where in that file.
    pub(super) range: Range<usize>,
}

impl TensorInfo {
    /// Elements in a row (inputs of a weight matrix): `shape[0]`.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Rows (outputs of a weight matrix): the product of the other dimensions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that the tensor takes in the file.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }

    /// Number of the file within a split model (0 where the model is one file), and where the bytes lie in it.
    #[must_use]
    pub fn location(&self) -> (usize, Range<usize>) {
        (self.part, self.range.clone())
    }
}

/// Bounds of the tensor count at the cursor. The metadata lies between the count and the tensors, so the bound is not tight;
/// [`read`] checks again.
pub(super) fn count(cursor: &mut Cursor<'_>) -> Result<usize, Fault> {
    cursor.count("tensors", LEAST_TENSOR_BYTES, MOST_TENSORS)
}

/// Reads `count` entries of the tensor table. Offsets are relative to the data section until [`place`] is called.
pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<TensorInfo>, Fault> {
    let limit = cursor.remaining() / LEAST_TENSOR_BYTES;
    if count > limit {
        let problem = Problem::CountTooLarge { what: "tensors", count: count as u64, limit: limit as u64 };
        return Err(Fault::new(cursor.position(), problem));
    }
    let mut tensors = Vec::with_capacity(count);
    for _ in 0..count {
        tensors.push(read_one(cursor)?);
    }
    Ok(tensors)
}

fn read_one(cursor: &mut Cursor<'_>) -> Result<TensorInfo, Fault> {
    const WHAT: &str = "the tensor table";
    let start = cursor.position();
    let name = cursor.name("a tensor name", LONGEST_NAME)?;
    let fault = |problem: fn(String) -> Problem| Fault::new(start, problem(shown(name.as_bytes())));

    let at_count = cursor.position();
    let dimensions = cursor.u32(WHAT)?;
    let dimension_count = match usize::try_from(dimensions) {
        Ok(count) if count <= MOST_DIMENSIONS => count,
        _ => {
            let name = shown(name.as_bytes());
            return Err(Fault::new(at_count, Problem::TooManyDimensions { name, dimensions }));
        }
    };
    let mut shape = Vec::with_capacity(dimension_count);
    let mut elements = 1_usize;
    for dimension in 0..dimension_count {
        let at = cursor.position();
        let size = usize::try_from(cursor.u64(WHAT)?).map_err(|_| fault(|name| Problem::ShapeOverflow { name }))?;
        if size == 0 {
            return Err(Fault::new(at, Problem::EmptyDimension { name: shown(name.as_bytes()), dimension }));
        }
        elements = elements.checked_mul(size).ok_or_else(|| fault(|name| Problem::ShapeOverflow { name }))?;
        shape.push(size);
    }

    let at_type = cursor.position();
    let id = cursor.u32(WHAT)?;
    let shown_name = || shown(name.as_bytes());
    let data_type = match types::resolve(id) {
        TypeNumber::Supported(data_type) => data_type,
        TypeNumber::Named(type_name, instead) => {
            return Err(Fault::new(at_type, Problem::UnsupportedType { name: shown_name(), type_name, instead }));
        }
        TypeNumber::Unknown => return Err(Fault::new(at_type, Problem::UnknownType { name: shown_name(), id })),
    };
    let (columns, block) = (shape.first().copied().unwrap_or(1), data_type.block_len());
    if !columns.is_multiple_of(block) {
        return Err(Fault::new(start, Problem::PartialBlock { name: shown_name(), data_type, columns, block }));
    }
    // Expanded to f32, the tensor must still be addressable.
    let bytes = elements
        .checked_mul(size_of::<f32>())
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .and_then(|_| data_type.bytes_for(elements))
        .ok_or_else(|| fault(|name| Problem::ShapeOverflow { name }))?;

    let at_offset = cursor.position();
    let offset = cursor.u64(WHAT)?;
    let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(bytes)?));
    let Some(range) = range else {
        let available = cursor.remaining() as u64;
        let problem = Problem::OutsideFile { name: shown_name(), offset, bytes: bytes as u64, available };
        return Err(Fault::new(at_offset, problem));
    };
    Ok(TensorInfo { name: name.to_owned(), shape, data_type, part: 0, range })
}

/// Checks that the tensors lie side by side within the data section, which runs from `data_start` to the end of the file at
/// `file_len`, and turns their offsets into places in the file.
pub(super) fn place(
    tensors: &mut [TensorInfo],
    data_start: usize,
    file_len: usize,
    alignment: usize,
) -> Result<(), Fault> {
    let available = file_len.saturating_sub(data_start);
    for tensor in &mut *tensors {
        let Range { start, end } = tensor.range;
        let name = || shown(tensor.name.as_bytes());
        if !start.is_multiple_of(alignment) {
            let problem = Problem::Misaligned { name: name(), offset: start as u64, alignment: alignment as u64 };
            return Err(Fault::new(data_start, problem));
        }
        let inside = data_start.checked_add(start).zip(data_start.checked_add(end)).filter(|(_, end)| *end <= file_len);
        let Some((from, to)) = inside else {
            let problem = Problem::OutsideFile {
                name: name(),
                offset: start as u64,
                bytes: (end - start) as u64,
                available: available as u64,
            };
            return Err(Fault::new(data_start, problem));
        };
        tensor.range = from..to;
    }
    find_overlap(tensors)
}

fn find_overlap(tensors: &[TensorInfo]) -> Result<(), Fault> {
    let mut by_start: Vec<&TensorInfo> = tensors.iter().collect();
    by_start.sort_unstable_by_key(|tensor| tensor.range.start);
    for pair in by_start.windows(2) {
        if let [first, second] = *pair
            && second.range.start < first.range.end
        {
            let (first_name, second_name) = (shown(first.name.as_bytes()), shown(second.name.as_bytes()));
            let problem = Problem::Overlap { first: first_name, second: second_name };
            return Err(Fault::new(second.range.start, problem));
        }
    }
    Ok(())
}
