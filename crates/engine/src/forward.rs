//! The one thing the engine asks of a model: a pass over rows of tokens.

use std::sync::Arc;

use saem_kernels::attention::Span;
use saem_model::Adapter;

use crate::blocks::BlockCopy;
use crate::{Adapters, EngineError};

/// Something that computes logits from tokens and remembers keys and values in numbered blocks.
///
/// A decoder on the CPU is one; a device or a toy in a test can be another. Which sequence a row belongs to, where
/// its keys and values lie and whether its logits are wanted is decided outside.
pub trait Forward: Send {
    /// Tokens in the vocabulary: the width of a row of logits.
    fn vocabulary(&self) -> usize;

    /// Blocks of the key-value cache.
    fn blocks(&self) -> usize;

    /// The most rows of one pass.
    fn max_rows(&self) -> usize;

    /// The most rows of one pass whose logits are computed.
    fn max_logit_rows(&self) -> usize;

    /// Makes room for `rows` rows of logits where there is less (measurements want more than generation).
    fn ensure_logit_rows(&mut self, rows: usize);

    /// Copies the keys and values of one block to another, in every layer.
    fn copy_block(&mut self, copy: BlockCopy);

    /// Bytes of one block's keys and values in all layers; 0 where they cannot be taken out of the cache.
    fn block_bytes(&self) -> usize {
        0
    }

    /// Appends the [`Forward::block_bytes`] of a block.
    fn read_block(&self, block: u32, to: &mut Vec<u8>) {
        let _ = (block, to);
    }

    /// Writes to a block what [`Forward::read_block`] read.
    fn write_block(&mut self, block: u32, bytes: &[u8]) {
        let _ = (block, bytes);
    }

    /// Computes `tokens` (rows that lie in sequences as `spans` say), stores their keys and values, and returns the
    /// logits of the rows `logit_rows` (ascending), `[logit_rows, vocabulary]`.
    ///
    /// # Errors
    /// Where the pass does not fit the vocabulary, the cache or the buffers, which the scheduler rules out.
    fn forward(&mut self, tokens: &[u32], spans: &[Span<'_>], logit_rows: &[usize]) -> Result<&[f32], EngineError>;

    /// The adapters that requests may carry. A model without any takes none.
    fn adapters(&self) -> Option<&Arc<Adapters>> {
        None
    }

    /// [`Forward::forward`] with an adapter, or none, for each span (or for no span at all: then `adapters` is empty).
    /// The rows of a soft prompt stand in `tokens` as numbers from the vocabulary's size on.
    ///
    /// # Errors
    /// As [`Forward::forward`], and [`EngineError::NoAdapters`] where a model that takes none is given one.
    fn forward_adapted(
        &mut self,
        tokens: &[u32],
        spans: &[Span<'_>],
        adapters: &[Option<&Adapter>],
        logit_rows: &[usize],
    ) -> Result<&[f32], EngineError> {
        match adapters.iter().all(Option::is_none) {
            true => self.forward(tokens, spans, logit_rows),
            false => Err(EngineError::NoAdapters),
        }
    }
}

/// What a token stands for, as far as the engine needs to know.
pub trait Vocabulary: Send + Sync {
    /// The bytes of a token in decoded text; empty for an unknown one.
    fn bytes(&self, token: u32) -> &[u8];

    /// Whether the token controls the model and is no part of the text.
    fn is_control(&self, token: u32) -> bool;
}

impl Vocabulary for saem_tokenizer::Tokenizer {
    fn bytes(&self, token: u32) -> &[u8] {
        self.token_bytes(token).unwrap_or_default()
    }

    fn is_control(&self, token: u32) -> bool {
        self.is_special(token)
    }
}
