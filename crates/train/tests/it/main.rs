//! Training against PyTorch and against itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod gradients;
mod runs;
mod tuning;
mod tuning_runs;
