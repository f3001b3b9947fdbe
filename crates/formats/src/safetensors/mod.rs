//! safetensors, the tensor format of Hugging Face: one file, or several under a `model.safetensors.index.json`.
//!
//! A file is the length of a JSON header as u64, the header (name, type, shape and place of each tensor), and the tensors'
//! bytes. The format is described in <https://github.com/huggingface/safetensors#format>. Saem reads F32, F16 and BF16
//! tensors; others are listed with their type, so that a stray integer buffer does not make a checkpoint unusable, and
//! asking for one is an error that names the type.
//!
//! ```
//! use saem_formats::safetensors::{SafeTensors, Writer};
//! use saem_formats::DataType;
//!
//! let mut writer = Writer::new();
//! writer.add_tensor("model.norm.weight", &[2], DataType::F32)?;
//! let mut data = writer.start(Vec::new())?;
//! data.write_tensor(&[0, 0, 128, 63, 0, 0, 0, 64])?;
//!
//! let model = SafeTensors::parse(data.finish()?)?;
//! let norm = model.tensor("model.norm.weight").unwrap();
//! assert_eq!(model.tensor_bytes(norm).len(), 8);
//! # Ok::<(), saem_formats::FormatError>(())
//! ```

mod entry;
mod file;
mod header;
mod index;
mod problem;
mod writer;

pub use file::{SafeTensors, TensorInfo, Unsupported};
pub use index::{INDEX_FILE, MODEL_FILE};
pub use problem::Problem;
pub use writer::Writer;
