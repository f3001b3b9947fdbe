//! Integration tests of the kernels, one module per concern.

mod attention;
mod blocks;
mod blocks_limits;
mod gemm;
mod gradient;
mod matrix;
mod ops;
