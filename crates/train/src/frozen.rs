//! The weights of a model that is tuned: as they are stored, quantised or not, and never written to.

use saem_formats::Source;
use saem_kernels::gemm::Factor;
use saem_kernels::{DataType, blocks};
use saem_model::{Config, ModelError};

use crate::layout::{Layout, Place};

/// Parameters that stay as they are.
#[derive(Debug, Default)]
pub struct Frozen {
    tensors: Vec<Tensor>,
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
        Ok(Self { tensors: layout.frozen().iter().map(tensor).collect::<Result<_, ModelError>>()? })
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let bytes = |tensor: &Tensor| match tensor {
            Tensor::Floats(values) => size_of_val(values.as_slice()),
            Tensor::Stored { bytes, .. } => bytes.len(),
        };
        self.tensors.iter().map(bytes).sum()
    }
}

/// All weights of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights<'a> {
    pub(crate) trained: &'a [f32],
    pub(crate) frozen: &'a Frozen,
}

impl<'a> Weights<'a> {
    /// A norm's weight or a bias.
    pub(crate) fn vector(self, place: &Place) -> &'a [f32] {
        match place {
            Place::Trained(slot) => &self.trained[slot.clone()],
            Place::Frozen(index) => match &self.frozen.tensors[*index] {
                Tensor::Floats(values) => values,
                Tensor::Stored { .. } => &[],
            },
        }
    }

    /// A matrix of so many columns as a factor whose lines are its rows.
    pub(crate) fn lines(self, place: &Place, columns: usize) -> Factor<'a> {
        match self.matrix(place) {
            Ok(values) => Factor::lines(values, columns),
            Err((data_type, bytes)) => Factor::stored_lines(data_type, bytes, columns),
        }
    }

    /// As [`Weights::lines`], with its columns as lines.
    pub(crate) fn across(self, place: &Place, columns: usize) -> Factor<'a> {
        match self.matrix(place) {
            Ok(values) => Factor::across(values, columns),
            Err((data_type, bytes)) => Factor::stored_across(data_type, bytes, columns),
        }
    }

    /// A matrix, as floats or as it is stored.
    fn matrix(self, place: &Place) -> Result<&'a [f32], (DataType, &'a [u8])> {
        match place {
            Place::Trained(slot) => Ok(&self.trained[slot.clone()]),
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
