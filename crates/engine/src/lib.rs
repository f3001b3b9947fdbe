//! From a prompt to a text: sequences, scheduling, sampling and chat templates over one model.
//!
//! A decoder computes one thing: the logits of the next token. Everything between that and a conversation is here, in
//! five modules that each know little of the others:
//!
//! - [`sampler`] chooses a token from a row of logits;
//! - `sequence` is one text while it is being made: its tokens, its place in the cache, its pending characters;
//! - [`blocks`] keeps the books of the paged key-value cache;
//! - `scheduler` decides which tokens of which sequences make up the next pass;
//! - `worker` runs the pass, hands the logits out and reports ([`Worker`]).
//!
//! Beside them stand [`constraint`] (text that must have a form, such as JSON of a schema), [`chat`] (templates, which
//! are untrusted programs), [`perplexity`] and [`mod@bench`]
//! (measurements that drive the model directly), and [`Engine`], which loads a model from a path and offers all of it
//! as blocking calls.
//!
//! # The key decision: a pass is planned as a whole
//!
//! Every pass takes one token from each sequence that decodes and fills the remaining rows with prompts: up to
//! [`Limits::prompt_rows`] while others decode, so that no stream stands still for long. So requests join and leave
//! between any two passes, a long prompt neither stops the others nor needs memory by its length, and `n` candidates, a
//! batch benchmark and many users of a server are the same thing: several sequences. What makes this safe is that
//! nothing is promised that is not there: a request starts only when every block of cache that it can ever need is
//! reserved, so no sequence is thrown out for another and memory does not run out in the middle of a text. Whose turn it
//! is depends on what each line (of a key, within a tenant) got so far (see `queue.rs`), and the queue is bounded, for all
//! ([`Limits::max_waiting`]) and for each line.
//!
//! # What was computed stays
//!
//! Keys and values of full blocks are found by their text and kept after a request has ended, until their memory is
//! needed. The next turn of a conversation, a prompt that begins with the same examples, or the same prompt again
//! computes only what is new; of many requests that come at once and begin alike, one computes the beginning for all.
//! [`Usage::cached_tokens`] tells. Nothing is shared between tenants ([`Request::tenant`]).
//!
//! # One model, many adapters
//!
//! A request may carry a LoRA or a soft prompt ([`Request::adapter`]); [`Adapters`] loads them by name, also while others
//! are being served. Requests with different adapters and with none share passes, and each gets what it would get alone.
//! Keys and values depend on the adapter, so they are shared among the requests of one adapter only. The virtual tokens
//! of a soft prompt come before the prompt: they take context and count as its tokens, but no penalty sees them.
//!
//! # Guesses cost little
//!
//! A sequence that decodes may bring a few tokens more than its next one, copied from where its text stood like this
//! before; what its sampler would not have chosen is dropped (see `speculate.rs`). [`Request::speculate`] turns it off.
//!
//! # What can be relied on
//!
//! - The same seed gives the same text with any number of threads. A sampler sees the logits of its own sequence and
//!   nothing else; random numbers and exponentials are computed by fixed algorithms with the same bits on every
//!   machine. (The kernels may sum in another order for another number of rows, so a different *batch*, or a beginning
//!   that comes from the cache, can change the last bits of a logit, and with them a near tie.)
//! - Guessing changes no text. With quantised weights not even the last bit of a logit: passes with guesses have at
//!   most 15 rows, for which the kernels sum each row as they sum a single one, and every guessed row is a span of its
//!   own for attention. (Weights kept as floats are summed in another order for other numbers of rows; there a near tie
//!   can fall the other way.)
//! - Text comes in whole characters, stop strings are found across token borders and are no part of the text.
//! - Every request ends: by an end token, a stop string, its limit, the context, or a cancellation that is looked for
//!   before each pass.
//!
//! # Example
//!
//! ```no_run
//! use saem_engine::chat::{Message, RenderOptions};
//! use saem_engine::{Control, Engine, EngineOptions, Event, Request};
//!
//! let engine = Engine::load("model.gguf", &EngineOptions::default(), &mut |_, _| {})?;
//! let messages = [Message::new("user", "봄에 대해 한 문장으로 말해 줘.")];
//! let prompt = engine.chat_tokens(&messages, &RenderOptions::default())?;
//! let request = Request { max_tokens: Some(80), ..Request::new(prompt, engine.default_sampling().clone()) };
//! let completion = engine.generate(request, &mut |event| {
//!     if let Event::Text { text, .. } = event {
//!         print!("{text}");
//!     }
//!     Control::Continue
//! })?;
//! println!("\n{} tokens", completion.usage.completion_tokens);
//! # Ok::<(), saem_engine::EngineError>(())
//! ```
#![forbid(unsafe_code)]

mod adapters;
pub mod bench;
pub mod blocks;
pub mod chat;
pub mod constraint;
mod decoder;
mod engine;
mod error;
mod forward;
mod keep;
mod model_text;
mod output;
pub mod perplexity;
mod plan;
mod prefix;
mod queue;
pub mod random;
mod request;
pub mod sampler;
mod sampling;
mod scheduler;
mod sequence;
mod speculate;
mod stats;
mod stop;
mod text;
pub mod tools;
mod worker;

pub use adapters::{AdapterRoom, Adapters};
pub use decoder::Decoder;
pub use engine::Engine;
pub use error::EngineError;
pub use forward::{Forward, Vocabulary};
pub use keep::RecallError;
pub use model_text::ModelText;
pub use output::{
    Alternative, CandidateText, Completion, Control, Event, FinishReason, Timings, TokenLogprobs, TokenOutput, Usage,
};
pub use plan::{DEFAULT_CONTEXT, EngineOptions, Plan};
pub use request::{Limits, MAX_LOGIT_BIAS, MAX_LOGPROBS, Request};
pub use saem_model::{Adapter, AdapterError};
pub use sampling::{Sampling, repetition_penalty_from_clova};
pub use sequence::RequestId;
pub use stats::{Stats, Totals};
pub use stop::{MAX_STOP_BYTES, MAX_STOP_STRINGS, StopMatcher};
pub use text::Utf8Stream;
pub use worker::{Receiver, Worker};
