//! The decoder against its references: logits of tiny checkpoints that `scripts/model-fixtures.py` wrote with Hugging
//! Face transformers, and of adapters for them that `scripts/adapter-fixtures.py` wrote with `peft`.
#![allow(clippy::unwrap_used, reason = "a failing helper is a failing test")]

mod adapters;
mod conversion;
mod families;
mod hostile;
mod hostile_adapters;
mod incremental;
mod logits;
mod merge;
mod precision;
mod real;
mod refusals;
mod support;
mod tokens;
