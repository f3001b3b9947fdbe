//! One text while it is being made.

use std::sync::Arc;

use saem_model::Adapter;

use crate::blocks::{BLOCK_TOKENS, BlockPool, BlockTable, Reservation, Salt, blocks_for};
use crate::output::FinishReason;
use crate::prefix::Key;
use crate::sampler::Sampler;
use crate::speculate::Drafter;
use crate::text::TextStream;

/// Names a request inside one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// A candidate of a request: its tokens, how many of them the cache holds, and where.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) request: RequestId,
    pub(crate) candidate: usize,
    /// Prompt and output; before them the virtual tokens of a soft prompt, numbered from the vocabulary's size on.
    pub(crate) tokens: Vec<u32>,
    /// How many of the tokens are the prompt, virtual ones included.
    pub(crate) prompt_len: usize,
    /// How many of the tokens have their keys and values in the cache.
    pub(crate) computed: usize,
    pub(crate) blocks: BlockTable,
    pub(crate) promise: Reservation,
    /// Tokens at which the text ends.
    pub(crate) limit: usize,
    /// Candidates that begin when this one's prompt is done: the prompt is computed once for all.
    pub(crate) siblings: usize,
    /// Whose text it is; keys and values are shared within one tenant only.
    pub(crate) tenant: u64,
    /// Whose turn it takes.
    pub(crate) line: u64,
    /// What changes the model for it.
    pub(crate) adapter: Option<Arc<Adapter>>,
    /// How many of the computed tokens were there already.
    pub(crate) cached: usize,
    /// Guesses tokens, where that is allowed.
    pub(crate) drafter: Option<Drafter>,
    pub(crate) sampler: Sampler,
    pub(crate) text: TextStream,
    pub(crate) finished: Option<FinishReason>,
}

impl Sequence {
    /// Tokens whose keys and values are still to be computed; one while decoding.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Places of running sequences that this one and its siblings take.
    pub(crate) fn places(&self) -> usize {
        1 + self.siblings
    }

    /// What its keys and values depend on beside its tokens, and who may share them.
    pub(crate) fn salt(&self) -> Salt {
        Salt { tenant: self.tenant, adapter: self.adapter.as_ref().map_or(0, |adapter| adapter.id()) }
    }

    /// The tokens that the prompt was asked with.
    pub(crate) fn prompt(&self) -> &[u32] {
        let before = self.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens());
        self.tokens.get(before..self.prompt_len).unwrap_or_default()
    }

    /// Whether the prompt is not done yet.
    pub(crate) fn is_prompt(&self) -> bool {
        self.computed < self.prompt_len
    }

    /// Takes over what the cache has come to know of the prompt. False where the next block is among those that a pass
    /// computes anyway: then it is better to wait for it.
    pub(crate) fn follow(&mut self, pool: &mut BlockPool, coming: &[Key]) -> bool {
        let Some(prompt) = self.tokens.get(..self.prompt_len) else { return true };
        let found = self.blocks.adopt(pool, &mut self.promise, prompt);
        self.computed += found;
        self.cached += found;
        let next = self.blocks.next_key(prompt);
        next.is_none_or(|next| !coming.contains(&next))
    }

    /// The next block, where a pass up to position `end` fills it.
    pub(crate) fn next_block(&self, end: usize) -> Option<Key> {
        let fills = self.is_prompt() && end >= self.computed + BLOCK_TOKENS;
        fills.then(|| self.blocks.next_key(self.tokens.get(..self.prompt_len)?))?
    }

    /// Rows of the next pass where there is room for so many: to the end, or to the end of a block, where the rest of
    /// the prompt may come from elsewhere.
    pub(crate) fn rows_within(&self, room: usize) -> usize {
        let (rest, end) = (self.pending(), self.computed + room);
        let whole = (end / BLOCK_TOKENS * BLOCK_TOKENS).saturating_sub(self.computed);
        match whole {
            _ if rest <= room => rest,
            0 => room,
            whole => whole,
        }
    }

    /// Appends to `out` up to `most` tokens that may come next, as far as they could be kept: the last token of a text
    /// is never fed back. Returns how many.
    pub(crate) fn guess(&mut self, most: usize, out: &mut Vec<u32>) -> usize {
        let most = most.min(self.limit.saturating_sub(self.tokens.len() + 1));
        self.drafter.as_mut().map_or(0, |drafter| drafter.draft(&self.tokens, most, out))
    }

    /// Blocks that this sequence and its siblings can need at the very worst.
    pub(crate) fn worst_blocks(&self) -> usize {
        worst_blocks(self.prompt_len, self.limit, self.siblings + 1)
    }

    /// Of these, the blocks that a sibling does not share.
    pub(crate) fn own_blocks(&self) -> usize {
        own_blocks(self.prompt_len, self.limit)
    }
}

/// Positions that a text of `limit` tokens stores: its last token is never fed back.
fn stored(prompt_len: usize, limit: usize) -> usize {
    prompt_len.max(limit.saturating_sub(1))
}

fn own_blocks(prompt_len: usize, limit: usize) -> usize {
    blocks_for(stored(prompt_len, limit)) - prompt_len / BLOCK_TOKENS
}

/// Blocks that `candidates` texts of up to `limit` tokens take, of which the first `prompt_len` are common: the full
/// blocks of the prompt once, everything else once for each.
pub(crate) fn worst_blocks(prompt_len: usize, limit: usize, candidates: usize) -> usize {
    let others = if limit > prompt_len + 1 { candidates.saturating_sub(1) } else { 0 };
    blocks_for(stored(prompt_len, limit)) + others.saturating_mul(own_blocks(prompt_len, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_case_by_hand() {
        // 70 prompt tokens: two full blocks and six positions of a third.
        assert_eq!(worst_blocks(70, 71, 1), 3);
        assert_eq!(worst_blocks(70, 71, 5), 3, "one token each: nothing is stored after the prompt");
        assert_eq!(worst_blocks(70, 96 + 1, 1), 3);
        assert_eq!(worst_blocks(70, 96 + 2, 1), 4);
        assert_eq!(worst_blocks(70, 98, 3), 2 + 3 * 2);
        assert_eq!(worst_blocks(64, 70, 3), 2 + 3);
    }
}
