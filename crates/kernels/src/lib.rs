//! SIMD compute and the thread pool: the only crate of Saem with `unsafe` code in its hot path.

pub mod attention;
pub mod blocks;
mod data_type;
mod error;
mod matrix;
pub mod ops;
mod pool;
pub mod simd;

pub use data_type::DataType;
pub use error::KernelError;
pub use matrix::{Input, Matrix, matmul, matmul_gated};
pub use pool::{Thread, ThreadPool};
