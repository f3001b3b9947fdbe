//! The command `saem` from the outside: what users read, what programs parse, what happens when things go wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod download;
mod embed;
mod failures;
mod generate;
mod help;
mod list;
mod plan;
mod pretrain;
mod real;
mod records;
mod saem;
mod serve;
#[path = "../../../hub/tests/it/server.rs"]
mod server;
mod toy;
#[allow(dead_code, reason = "the hub's own tests use the rest")]
#[path = "../../../hub/tests/it/world.rs"]
mod world;
