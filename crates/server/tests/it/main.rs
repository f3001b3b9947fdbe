//! The server from the outside, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper is a failing test")]

mod access;
mod border;
mod clova;
mod openai;
mod recite;
#[path = "../../../cli/tests/it/toy.rs"]
mod toy;
mod world;
