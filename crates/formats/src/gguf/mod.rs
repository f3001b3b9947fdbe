//! GGUF, the single-file model format of GGML, versions 2 and 3.
//!
//! A file is a header (counts), a list of typed keys and values, a table of tensors, and the tensors' bytes, each starting
//! at a multiple of the alignment. The format is described in
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; version 3 differs from 2 only in allowing big-endian
//! files, which Saem does not read.
//!
//! ```
//! use saem_formats::gguf::{Gguf, Value, Writer};
//! use saem_formats::DataType;
//!
//! let mut writer = Writer::new();
//! writer.add_metadata("general.architecture", Value::from("llama"))?;
//! writer.add_strings("tokenizer.ggml.tokens", ["<s>", "샘"])?;
//! writer.add_tensor("output_norm.weight", &[2], DataType::F32)?;
//! let mut data = writer.start(Vec::new())?;
//! data.write_tensor(&[0, 0, 128, 63, 0, 0, 0, 64])?;
//! let file = data.finish()?;
//!
//! let model = Gguf::parse(file)?;
//! assert_eq!(model.metadata().str("general.architecture"), Some("llama"));
//! assert_eq!(model.tensors()[0].shape, [2]);
//! # Ok::<(), saem_formats::FormatError>(())
//! ```

mod array;
mod cursor;
mod encode;
mod file;
mod metadata;
mod problem;
mod split;
mod tensor;
mod types;
mod value;
mod value_type;
mod writer;

pub use array::{Array, Elements, Strings};
pub use encode::Number;
pub use file::Gguf;
pub use metadata::Metadata;
pub use problem::Problem;
pub use split::{parse_part_name, part_name};
pub use tensor::TensorInfo;
pub use types::{data_type, type_id};
pub use value::Value;
pub use value_type::ValueType;
pub use writer::Writer;
