//! Sequences, scheduling, sampling and chat templates over one model. (essay to be written)
#![forbid(unsafe_code)]

pub mod blocks;
pub mod chat;
mod error;
mod forward;
mod output;
pub mod random;
mod request;
pub mod sampler;
mod sampling;
mod scheduler;
mod sequence;
mod session;
mod stop;
mod text;
mod worker;

pub use error::EngineError;
pub use forward::{Forward, Vocabulary};
pub use output::{
    Alternative, CandidateText, Completion, Control, Event, FinishReason, Timings, TokenLogprobs, TokenOutput, Usage,
};
pub use request::{Limits, MAX_LOGPROBS, Request};
pub use sampling::{Sampling, repetition_penalty_from_clova};
pub use sequence::RequestId;
pub use session::Session;
pub use stop::{MAX_STOP_BYTES, MAX_STOP_STRINGS, StopMatcher};
pub use text::Utf8Stream;
pub use worker::{Receiver, Worker};
