//! Text to token ids and back.
//!
//! (essay to be written)
#![forbid(unsafe_code)]

mod added;
mod byte_level;
mod charsmap;
mod decode;
mod error;
mod families;
mod gguf;
mod hash;
mod json;
mod model;
mod normalize;
mod parts;
mod pretokenize;
mod stream;
mod tokenizer;
mod vocabulary;

pub use error::TokenizerError;
pub use parts::{ModelKind, Parts};
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;
