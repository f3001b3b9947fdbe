//! Weight matrices in the layout that the kernels read, and products with them.

use crate::ops::Activation;
use crate::{DataType, KernelError, ThreadPool, blocks};

/// A weight matrix `[rows, columns]`: `rows` outputs, each a dot product over `columns` inputs.
#[derive(Debug)]
pub struct Matrix {
    data_type: DataType,
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
}

impl Matrix {
    /// Packs stored rows (row-major blocks of `data_type`) for the processor at hand.
    ///
    /// # Errors
    /// Where the shape, the type and the number of bytes do not agree.
    pub fn pack(
        pool: &ThreadPool,
        data_type: DataType,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Self, KernelError> {
        let _ = pool;
        if !columns.is_multiple_of(data_type.block_len()) {
            return Err(KernelError::PartialBlock { data_type, columns, block: data_type.block_len() });
        }
        let elements = rows.checked_mul(columns).ok_or(KernelError::TooLarge { rows, columns })?;
        let expected = data_type.bytes_for(elements).ok_or(KernelError::TooLarge { rows, columns })?;
        if expected != bytes.len() {
            return Err(KernelError::ByteCount { data_type, elements, expected, actual: bytes.len() });
        }
        Ok(Self { data_type, rows, columns, bytes: bytes.to_vec() })
    }

    /// Outputs of a product with this matrix.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a product with this matrix.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The stored type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Bytes of memory that the packed copy holds.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Expands row `index` to f32 (a token's embedding). `out.len()` must be [`Self::columns`].
    pub fn row(&self, index: usize, out: &mut [f32]) {
        let stride = self.bytes.len() / self.rows;
        let _ = blocks::dequantize(self.data_type, &self.bytes[index * stride..][..stride], out);
    }
}

/// The input rows of a product, quantised as the matrices at hand ask for. Allocated once, reused for every layer.
#[derive(Debug, Default)]
pub struct Input {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Input {
    /// Room for `rows` rows of up to `columns` values.
    #[must_use]
    pub fn with_capacity(rows: usize, columns: usize) -> Self {
        Self { columns: 0, rows: 0, values: Vec::with_capacity(rows * columns) }
    }

    /// Bytes that an input of this capacity holds.
    #[must_use]
    pub fn byte_len(rows: usize, columns: usize) -> usize {
        rows * columns * 4
    }

    /// Takes `values` (`[rows, columns]`) as the input of products with `matrices`.
    pub fn set(&mut self, pool: &ThreadPool, values: &[f32], columns: usize, matrices: &[&Matrix]) {
        let _ = (pool, matrices);
        self.columns = columns;
        self.rows = values.len() / columns;
        self.values.clear();
        self.values.extend_from_slice(values);
    }

    /// Rows at present.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// `out[row, output] = input[row, :] . matrix[output, :]` for several matrices over the same input, in one region.
///
/// Each `out` is `[input rows, matrix rows]`.
pub fn matmul(pool: &ThreadPool, input: &Input, products: &mut [(&Matrix, &mut [f32])]) {
    let _ = pool;
    for (matrix, out) in products {
        let mut weights = vec![0.0; matrix.columns];
        for output in 0..matrix.rows {
            matrix.row(output, &mut weights);
            for row in 0..input.rows {
                let values = &input.values[row * input.columns..][..input.columns];
                out[row * matrix.rows + output] = values.iter().zip(&weights).map(|(x, w)| x * w).sum();
            }
        }
    }
}

/// `out = activation(gate product) * up product`, each `[input rows, matrix rows]`: the first half of a gated
/// feed-forward layer, without storing either product.
pub fn matmul_gated(
    pool: &ThreadPool,
    input: &Input,
    gate: &Matrix,
    up: &Matrix,
    activation: Activation,
    out: &mut [f32],
) {
    let mut other = vec![0.0; out.len()];
    matmul(pool, input, &mut [(gate, out), (up, &mut other)]);
    crate::ops::gated(pool, activation, out, &other);
}
