//! Tests of the readers and writers from the outside, in one binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod allocations;
mod fuzz;
mod gguf_hostile;
mod gguf_round_trip;
mod gguf_split;
mod hugging_face;
mod mapped_file;
mod mutate;
mod raw;
mod real_models;
mod reference;
mod safetensors_hostile;
mod safetensors_round_trip;
mod samples;
mod source;
