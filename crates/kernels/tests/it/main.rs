//! Integration tests of the kernels, one module per concern.

mod attention;
mod blocks;
mod blocks_limits;
mod gemm;
mod matrix;
mod ops;
