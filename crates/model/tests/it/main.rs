//! The decoder against its references: logits of tiny checkpoints that `scripts/model-fixtures.py` wrote with Hugging
//! Face transformers.
#![allow(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod conversion;
mod families;
mod hostile;
mod incremental;
mod logits;
mod precision;
mod real;
mod refusals;
mod support;
mod tokens;
