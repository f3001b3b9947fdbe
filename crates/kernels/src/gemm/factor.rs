//! The factors of a product, in the formats that they are stored in.

use std::ops::Range;

use crate::DataType;
use crate::blocks::dequantize;

/// Lines or elements that are expanded together: whole blocks of every format.
pub(super) const ALIGN: usize = 256;

/// A factor: `lines` vectors of `depth` elements.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    values: Values<'a>,
    /// Elements of a row as it is stored.
    stride: usize,
    /// Whether a stored row is a line, or one element of all lines.
    by_lines: bool,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Floats(&'a [f32]),
    Stored(DataType, &'a [u8]),
}

impl<'a> Factor<'a> {
    /// Lines that lie one after the other, `stride` elements apart: `[lines, depth]`.
    #[must_use]
    pub fn lines(values: &'a [f32], stride: usize) -> Self {
        Self { values: Values::Floats(values), stride, by_lines: true }
    }

    /// Lines that lie across: element `i` of all lines, then element `i + 1`, `stride` elements apart: `[depth, lines]`.
    #[must_use]
    pub fn across(values: &'a [f32], stride: usize) -> Self {
        Self { values: Values::Floats(values), stride, by_lines: false }
    }

    /// As [`Self::lines`], in the format of a file: rows of `stride` elements, which are whole blocks.
    #[must_use]
    pub fn stored_lines(data_type: DataType, bytes: &'a [u8], stride: usize) -> Self {
        Self { values: Values::Stored(data_type, bytes), stride, by_lines: true }
    }

    /// As [`Self::across`], in the format of a file.
    #[must_use]
    pub fn stored_across(data_type: DataType, bytes: &'a [u8], stride: usize) -> Self {
        Self { values: Values::Stored(data_type, bytes), stride, by_lines: false }
    }

    /// Whether lines have to be taken in multiples of [`ALIGN`].
    pub(super) fn has_blocks(&self) -> bool {
        matches!(self.values, Values::Stored(..))
    }

    /// Whether an element of all lines can be read from where it lies.
    pub(super) fn is_readable_across(&self) -> bool {
        matches!(self.values, Values::Floats(_)) && !self.by_lines
    }

    pub(super) fn holds(&self, lines: usize, depth: usize) -> bool {
        let (rows, columns) = if self.by_lines { (lines, depth) } else { (depth, lines) };
        if rows == 0 || columns == 0 {
            return true;
        }
        match self.values {
            Values::Floats(values) => (rows - 1) * self.stride + columns <= values.len(),
            Values::Stored(data_type, bytes) => {
                columns <= self.stride
                    && self.stride.is_multiple_of(data_type.block_len())
                    && data_type.bytes_for(rows * self.stride).is_some_and(|needed| needed <= bytes.len())
            }
        }
    }

    /// Some lines and elements as floats, in `room` where they are stored in another format. Then whichever of the two
    /// lies along a stored row begins at a multiple of [`ALIGN`].
    pub(super) fn view<'b>(&self, lines: Range<usize>, depth: Range<usize>, room: &'b mut Vec<f32>) -> View<'b>
    where
        'a: 'b,
    {
        let (rows, columns) = if self.by_lines { (lines, depth) } else { (depth, lines) };
        let (values, stride) = match self.values {
            Values::Floats(values) => (&values[rows.start * self.stride + columns.start..], self.stride),
            Values::Stored(data_type, bytes) => {
                let block = data_type.block_len();
                debug_assert!(columns.start.is_multiple_of(block));
                let width = columns.len().next_multiple_of(block);
                room.resize(room.len().max(rows.len() * width), 0.0);
                let len = width / block * data_type.block_bytes();
                for (row, to) in rows.zip(room.chunks_exact_mut(width)) {
                    let start = (row * self.stride + columns.start) / block * data_type.block_bytes();
                    // The lengths agree, and that is all that can be wrong.
                    let _ = dequantize(data_type, &bytes[start..start + len], to);
                }
                (&room[..], width)
            }
        };
        let (line_stride, depth_stride) = if self.by_lines { (stride, 1) } else { (1, stride) };
        View { values, line_stride, depth_stride }
    }
}

/// Floats of a factor, from some line and element on.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    /// From one line to the next, and from one element of a line to the next; one of them is 1.
    pub(super) line_stride: usize,
    pub(super) depth_stride: usize,
}
