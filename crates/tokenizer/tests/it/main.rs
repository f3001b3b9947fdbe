//! Tokenizers of all families beside their references, on odd text, and on broken files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod decoding;
mod fixtures;
mod hostile;
mod long;
mod reference;
mod roles;
