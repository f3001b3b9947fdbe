//! Text to token ids and back.
//!
//! (essay to be written)
#![forbid(unsafe_code)]

mod error;
mod parts;
mod stream;
mod tokenizer;

pub use error::TokenizerError;
pub use parts::{ModelKind, Parts};
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;
