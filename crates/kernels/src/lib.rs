//! SIMD compute and the thread pool: everything of Saem that knows what a processor is.
//!
//! The crates above name operations on buffers (a product, a norm, attention over a paged cache) and never touch
//! intrinsics, so that another device can implement the same operations. This is also the one crate with `unsafe` code
//! in its hot path; each fast kernel has a slow twin, and tests hold the two together on every instruction set present.
//!
//! Three decisions shape it:
//!
//! 1. **Weights are packed once.** [`Matrix::pack`] interleaves 16 rows so that one byte-dot instruction feeds 16
//!    outputs, for any vector width. The packed copy replaces the stored one and is at most 4 % larger. Decoding
//!    expands codes in registers; with many input rows a panel is expanded once and used for all of them.
//! 2. **One algorithm, every instruction set.** [`simd`] has a token for each; kernels are generic over it and
//!    [`simd::Isa`] chooses at run time. `SAEM_ISA` overrides the choice, [`measure`] says what was chosen.
//! 3. **Results do not depend on the thread count.** Work is cut by outputs, never by the terms of a sum.
//!
//! ```
//! use saem_kernels::{DataType, Input, Matrix, ThreadPool, matmul};
//!
//! let pool = ThreadPool::new(2)?;
//! let weights: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
//! let matrix = Matrix::pack(&pool, DataType::F32, 2, 2, &weights)?;
//! let mut input = Input::with_capacity(1, 2);
//! input.set(&pool, &[10.0, 1.0], 2, &[&matrix]);
//! let mut out = [0.0; 2];
//! matmul(&pool, &input, &mut [(&matrix, &mut out)]);
//! assert_eq!(out, [12.0, 34.0]);
//! # Ok::<(), saem_kernels::KernelError>(())
//! ```

pub mod attention;
pub mod blocks;
mod data_type;
mod error;
pub mod gemm;
pub mod gradient;
mod matrix;
mod memory;
pub mod ops;
mod pool;
pub mod simd;

pub use data_type::DataType;
pub use error::KernelError;
pub use matrix::{Input, Matrix, matmul, matmul_gated, measure};
pub use memory::{Arena, Block, Number};
pub use pool::{Thread, ThreadPool};
