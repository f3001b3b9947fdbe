//! Models on disk: GGUF, safetensors and Hugging Face folders, read and written.
//!
//! A model file is untrusted input of several gigabytes, and the first thing that happens after a user types a command.
//! Hence the three decisions of this crate:
//!
//! 1. **Everything is mapped, nothing is copied.** [`MappedFile`] is the crate's only `unsafe` code. Opening a model reads
//!    its header; vocabularies are iterated where they lie; a tensor is a slice of the map. [`gguf::Gguf::release`] gives the
//!    pages back once the kernels have repacked a tensor, so that a model is never in memory twice.
//! 2. **Every count is bounded by the bytes that remain** before anything is reserved, every sum and product is checked, and
//!    what is wrong is a typed error with the file and the byte offset ([`FormatError`], [`gguf::Problem`],
//!    [`safetensors::Problem`]). A hostile file cannot cause a panic, a hang or a large allocation; the tests try.
//! 3. **A value is a view.** A [`gguf::Value`] borrows from the file in the file's own layout, so reading a vocabulary of
//!    150,000 tokens is free and copying it into a new file is one `memcpy`.
//!
//! What tensors and keys *mean* (which families exist, how they name things) is not known here; that is `saem-model`.
//!
//! ```no_run
//! use saem_formats::Source;
//!
//! match Source::open("models/smollm2-135m.gguf")? {
//!     Source::Gguf(model) => {
//!         println!("{:?}", model.metadata().str("general.architecture"));
//!         for tensor in model.tensors() {
//!             println!("{} {:?} {}", tensor.name, tensor.shape, tensor.data_type);
//!         }
//!     }
//!     Source::HuggingFace(checkpoint) => println!("{}", checkpoint.config.config["model_type"]),
//! }
//! # Ok::<(), saem_formats::FormatError>(())
//! ```

#![deny(unsafe_code)]

mod error;
pub mod gguf;
pub mod hf;
#[allow(unsafe_code, reason = "mapping a file and giving pages back; nothing else in the crate may be unsafe")]
mod mapped_file;
pub mod safetensors;
mod source;
mod tensor_writer;
mod write_error;

pub use error::{FormatError, Lookalike};
pub use mapped_file::MappedFile;
pub use saem_kernels::DataType;
pub use source::Source;
pub use tensor_writer::TensorWriter;
pub use write_error::WriteError;
