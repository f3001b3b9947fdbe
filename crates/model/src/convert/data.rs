//! The data of a tensor to write: copied, put together, reordered, shifted or stored in another type.

use std::borrow::Cow;

use saem_kernels::{DataType, ThreadPool, blocks};

use super::plan::Planned;
use crate::ModelError;
use crate::error::in_tensor;
use crate::quantize::convert;
use crate::weights::tensors::Tensor;

/// Where a tensor's data come from.
pub(super) enum Data<'a> {
    /// Tensors of the source, one after the other.
    Stored { pieces: Vec<Tensor<'a>>, order: RowOrder, offset: f32 },
    /// Numbers that the source has elsewhere.
    Values(Vec<f32>),
}

/// What happens to the rows of query and key projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    Kept,
    /// The two halves of every head are interleaved.
    Interleave {
        heads: usize,
    },
    /// Even rows of every head first, then odd ones.
    Separate {
        heads: usize,
    },
}

impl RowOrder {
    /// Where the row that comes to stand at `row`, of `rows`, stood before.
    pub(crate) fn source(self, row: usize, rows: usize) -> usize {
        let head_dim = |heads: usize| (rows / heads.max(1)).max(1);
        match self {
            Self::Kept => row,
            Self::Interleave { heads } => {
                let (head_dim, within) = (head_dim(heads), row % head_dim(heads));
                row / head_dim * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Self::Separate { heads } => {
                let (head_dim, within) = (head_dim(heads), row % head_dim(heads));
                let half = (head_dim / 2).max(1);
                row / head_dim * head_dim + within % half * 2 + within / half
            }
        }
    }
}

impl Planned<'_> {
    /// The tensor's data.
    pub(super) fn bytes(&self, pool: &ThreadPool) -> Result<Cow<'_, [u8]>, ModelError> {
        let Some((pair, style, config)) = self.change else { return self.unchanged(self.data_type, pool) };
        let failed = || in_tensor(&self.name);
        let mut values = vec![0.0; self.shape.iter().product()];
        blocks::dequantize(DataType::F32, &self.unchanged(DataType::F32, pool)?, &mut values).map_err(failed())?;
        pair.add_to(&mut values, style, config);
        let mut out = Vec::new();
        blocks::quantize(self.data_type, &values, &mut out).map_err(failed())?;
        Ok(Cow::Owned(out))
    }

    /// The data as the source has them, in this type.
    fn unchanged(&self, data_type: DataType, pool: &ThreadPool) -> Result<Cow<'_, [u8]>, ModelError> {
        match &self.data {
            Data::Values(values) => {
                let mut out = Vec::new();
                blocks::quantize(data_type, values, &mut out).map_err(in_tensor(&self.name))?;
                Ok(Cow::Owned(out))
            }
            Data::Stored { pieces, order, offset } => {
                if let ([piece], RowOrder::Kept, 0.0) = (pieces.as_slice(), order, offset)
                    && piece.data_type == data_type
                {
                    return Ok(Cow::Borrowed(piece.bytes));
                }
                let mut out = Vec::new();
                for piece in pieces {
                    out.extend(self.piece(piece, *order, *offset, data_type, pool)?);
                }
                Ok(Cow::Owned(out))
            }
        }
    }

    fn piece(
        &self,
        piece: &Tensor<'_>,
        order: RowOrder,
        offset: f32,
        data_type: DataType,
        pool: &ThreadPool,
    ) -> Result<Vec<u8>, ModelError> {
        // A vector of biases has as many rows as the matrix it belongs to.
        let columns = if piece.shape.len() < 2 { 1 } else { piece.columns() };
        let failed = || in_tensor(&self.name);
        let ordered = reorder(piece, columns, order);
        if offset != 0.0 {
            let mut values = piece.to_f32(piece.columns())?;
            values.iter_mut().for_each(|value| *value += offset);
            let mut out = Vec::new();
            blocks::quantize(data_type, &values, &mut out).map_err(failed())?;
            return Ok(out);
        }
        convert(pool, piece.data_type, &ordered, columns, data_type).map_err(failed())
    }
}

/// The rows of a tensor in another order.
fn reorder<'a>(piece: &Tensor<'a>, columns: usize, order: RowOrder) -> Cow<'a, [u8]> {
    let Some(stride) = piece.data_type.bytes_for(columns).filter(|_| order != RowOrder::Kept) else {
        return Cow::Borrowed(piece.bytes);
    };
    let rows = piece.bytes.len() / stride.max(1);
    let mut out = Vec::with_capacity(piece.bytes.len());
    for row in 0..rows {
        let from = order.source(row, rows);
        out.extend_from_slice(piece.bytes.get(from * stride..(from + 1) * stride).unwrap_or_default());
    }
    Cow::Owned(out)
}
