//! The weights of a model that is tuned: as they are stored, quantised or not, and never written to. Where there is memory
//! for it, matrices also stay as products take them; otherwise each product expands and packs them anew, which takes a tenth
//! to a sixth of a step of 500 tokens.

use std::sync::OnceLock;

use saem_formats::Source;
use saem_kernels::gemm::{Factor, Packed, Precision};
use saem_kernels::{DataType, ThreadPool, blocks};
use saem_model::{Config, ModelError};

use crate::layout::{Layout, Place};
use crate::master::Values;

/// Parameters that stay as they are.
#[derive(Debug, Default)]
pub struct Frozen {
    tensors: Vec<Tensor>,
    /// Of each matrix its two sides as products take them, each from its first product on; empty where they are not kept.
    packed: Vec<[OnceLock<Packed>; 2]>,
    /// Bytes that they may take.
    packed_bytes: usize,
}

/// What the lines of a matrix are in a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Its rows: `x wᵀ`.
    Rows,
    /// Its columns: `dy w`.
    Columns,
}

impl Side {
    /// Lines, and their elements, of a matrix of so many rows and columns.
    pub(crate) fn of(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Rows => [rows, columns],
            Self::Columns => [columns, rows],
        }
    }
}

#[derive(Debug)]
enum Tensor {
    /// Norms, biases, and matrices that are stored so.
    Floats(Vec<f32>),
    /// A matrix as its file holds it.
    Stored { data_type: DataType, bytes: Vec<u8> },
}

impl Frozen {
    /// Reads what the layout does not train from a model of either format.
    ///
    /// # Errors
    /// Where the model lacks a tensor or has another shape.
    pub fn read(layout: &Layout, source: &Source, config: &Config) -> Result<Self, ModelError> {
        let tensor = |parameter: &saem_model::Parameter| {
            let (data_type, bytes) = parameter.stored(source, config)?;
            if parameter.shape.len() > 1 && data_type != DataType::F32 {
                return Ok(Tensor::Stored { data_type, bytes });
            }
            let mut values = vec![0.0; parameter.elements()];
            blocks::dequantize(data_type, &bytes, &mut values)
                .map_err(|source| ModelError::Kernel { tensor: parameter.name.clone(), source })?;
            Ok(Tensor::Floats(values))
        };
        let tensors = layout.frozen().iter().map(tensor).collect::<Result<_, ModelError>>()?;
        Ok(Self { tensors, ..Self::default() })
    }

    /// Has matrices stay as products of this precision take them.
    #[must_use]
    pub fn keep_packed(self, layout: &Layout, precision: Precision) -> Self {
        let packed = self.tensors.iter().map(|_| Default::default()).collect();
        let bytes = |shape: [usize; 2]| {
            let [rows, columns] = [Side::Rows, Side::Columns].map(|side| side.of(shape));
            [rows, columns].iter().map(|[lines, depth]| Packed::bytes(precision, *lines, *depth)).sum::<usize>()
        };
        let packed_bytes = layout.frozen_factors().map(bytes).sum();
        Self { packed, packed_bytes, ..self }
    }

    /// Bytes of memory that they take as they are stored.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let bytes = |tensor: &Tensor| match tensor {
            Tensor::Floats(values) => size_of_val(values.as_slice()),
            Tensor::Stored { bytes, .. } => bytes.len(),
        };
        self.tensors.iter().map(bytes).sum()
    }

    /// Bytes that they take besides, once all products were computed.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.packed_bytes
    }
}

/// All weights of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights<'a> {
    pub(crate) trained: Values<'a>,
    pub(crate) frozen: &'a Frozen,
}

impl<'a> Weights<'a> {
    /// A norm's weight or a bias.
    pub(crate) fn vector(self, place: &Place) -> &'a [f32] {
        match place {
            Place::Trained(slot) => self.trained.floats(slot),
            Place::Frozen(index) => match &self.frozen.tensors[*index] {
                Tensor::Floats(values) => values,
                Tensor::Stored { .. } => &[],
            },
        }
    }

    /// A matrix of so many columns as a factor.
    pub(crate) fn factor(self, place: &Place, side: Side, columns: usize) -> Factor<'a> {
        match (self.matrix(place), side) {
            (Ok(values), Side::Rows) => Factor::lines(values, columns),
            (Ok(values), Side::Columns) => Factor::across(values, columns),
            (Err((data_type, bytes)), Side::Rows) => Factor::stored_lines(data_type, bytes, columns),
            (Err((data_type, bytes)), Side::Columns) => Factor::stored_across(data_type, bytes, columns),
        }
    }

    /// A matrix as products take it, where it is kept so; packed now if this is its first product.
    pub(crate) fn packed(
        self,
        pool: &ThreadPool,
        precision: Precision,
        place: &Place,
        side: Side,
        shape: [usize; 2],
    ) -> Option<&'a Packed> {
        let Place::Frozen(index) = place else { return None };
        let packed = &self.frozen.packed.get(*index)?[side as usize];
        let [lines, depth] = side.of(shape);
        Some(packed.get_or_init(|| Packed::new(pool, precision, self.factor(place, side, shape[1]), lines, depth)))
    }

    /// A matrix, as floats or as it is stored.
    fn matrix(self, place: &Place) -> Result<&'a [f32], (DataType, &'a [u8])> {
        match place {
            Place::Trained(slot) => self.trained.matrix(slot),
            Place::Frozen(index) => match &self.frozen.tensors[*index] {
                Tensor::Floats(values) => Ok(values),
                Tensor::Stored { data_type, bytes } => Err((*data_type, bytes)),
            },
        }
    }

    /// Row `index` of a matrix.
    pub(crate) fn row(self, place: &Place, index: usize, out: &mut [f32]) {
        match self.matrix(place) {
            Ok(values) => out.copy_from_slice(&values[index * out.len()..(index + 1) * out.len()]),
            Err((data_type, bytes)) => {
                let stride = data_type.bytes_for(out.len()).unwrap_or(0);
                // Rows are whole blocks: the shape was compared with the type when the file was opened.
                let _ = blocks::dequantize(data_type, &bytes[index * stride..(index + 1) * stride], out);
            }
        }
    }
}
