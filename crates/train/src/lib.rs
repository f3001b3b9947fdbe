//! Training of the decoder.
#![forbid(unsafe_code)]

mod backward;
mod buffers;
mod error;
mod forward;
mod layout;
mod pass;

pub use buffers::{Buffers, Recompute};
pub use error::TrainError;
pub use layout::Layout;
pub use pass::{Batch, Decoder, Objective};
