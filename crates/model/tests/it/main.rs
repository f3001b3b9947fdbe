//! The decoder against its references: logits of tiny checkpoints that `scripts/model-fixtures.py` wrote with Hugging
//! Face transformers.

mod incremental;
mod logits;
mod support;
