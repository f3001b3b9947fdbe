//! The server from the outside, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper is a failing test")]

mod access;
mod adapters;
mod apps;
mod batches;
mod border;
mod clova;
mod datasets;
mod embeddings;
#[path = "../../../encoder/tests/it/toy.rs"]
#[allow(dead_code, reason = "the encoder's own tests need more of it")]
mod encoder_toy;
mod engines;
mod openai;
mod pages;
mod projects;
mod recite;
mod sessions;
#[path = "../../../cli/tests/it/toy.rs"]
mod toy;
mod tunings;
mod world;
