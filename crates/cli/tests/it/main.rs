//! The command `saem` from the outside: what users read, what programs parse, what happens when things go wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod download;
mod failures;
mod help;
mod list;
mod saem;
#[path = "../../../hub/tests/it/server.rs"]
mod server;
#[path = "../../../hub/tests/it/world.rs"]
mod world;
