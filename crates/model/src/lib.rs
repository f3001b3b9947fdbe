//! One decoder with switches (to be written).
#![forbid(unsafe_code)]

mod cache;
pub mod config;
mod convert;
mod describe;
mod error;
mod families;
mod forward;
mod layer;
mod moe;
mod quantize;
mod rope;
mod tokenizer;
mod weights;
mod workspace;

pub use cache::KvCache;
pub use config::Config;
pub use convert::{Conversion, convert};
pub use describe::{Description, TypeShare, describe};
pub use error::{BatchError, ModelError};
pub use families::Family;
pub use forward::Batch;
pub use tokenizer::{chat_template, end_tokens, load_tokenizer};
pub use weights::{LoadOptions, Model};
pub use workspace::Workspace;
