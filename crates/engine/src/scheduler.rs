//! Which sequences run, and which of their tokens make up the next pass.
//!
//! First come, first served. A request starts when a place is free for each of its candidates and every block that
//! they can ever need is reserved; from then on nothing can stop it but its own end. A pass has one row for every
//! sequence that decodes, and what is left of the rows goes to prompts, the oldest first, so that a long prompt is
//! computed in chunks while the others keep talking.
//!
//! A prompt takes over what the cache knows of it, when it starts and again at the border of each block: of several
//! that begin alike, the first is computed and the others follow.

use std::collections::VecDeque;

use crate::blocks::{BLOCK_TOKENS, BlockPool, BlockTable};
use crate::prefix::Key;
use crate::request::Limits;
use crate::sequence::Sequence;

/// The consecutive rows of a pass that belong to one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) first_position: usize,
    /// Index among the rows of logits, where the part reaches the end of the sequence.
    pub(crate) logits: Option<usize>,
}

/// The rows of one pass. Reused, so that a pass allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    pub(crate) tokens: Vec<u32>,
    pub(crate) parts: Vec<Part>,
    pub(crate) logit_rows: Vec<usize>,
    /// The first block of each prompt that the pass fills.
    blocks: Vec<Key>,
}

/// Queue, running sequences and the books of the cache.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) limits: Limits,
    pub(crate) pool: BlockPool,
    pub(crate) waiting: VecDeque<Sequence>,
    /// In the order of admission.
    pub(crate) running: Vec<Sequence>,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, blocks: usize) -> Self {
        Self { limits, pool: BlockPool::new(blocks), waiting: VecDeque::new(), running: Vec::new() }
    }

    /// Lets waiting sequences start while there is room. `started` is told of each.
    pub(crate) fn admit(&mut self, mut started: impl FnMut(&Sequence)) {
        while let Some(mut sequence) = self.waiting.pop_front() {
            if self.give_room(&mut sequence) {
                started(&sequence);
                self.running.push(sequence);
            } else {
                self.waiting.push_front(sequence);
                return;
            }
        }
    }

    fn give_room(&mut self, sequence: &mut Sequence) -> bool {
        let places: usize = self.running.iter().map(|running| 1 + running.siblings).sum();
        if places + 1 + sequence.siblings > self.limits.max_sequences {
            return false;
        }
        let Sequence { tenant, tokens, .. } = &*sequence;
        let started = BlockTable::start(&mut self.pool, *tenant, tokens, sequence.worst_blocks());
        let Some((blocks, promise)) = started else { return false };
        sequence.computed = blocks.as_slice().len() * BLOCK_TOKENS;
        sequence.cached = sequence.computed;
        (sequence.blocks, sequence.promise) = (blocks, promise);
        true
    }

    /// Chooses the rows of the next pass and makes sure that their blocks exist. False where there is nothing to do.
    pub(crate) fn plan(&mut self, pass: &mut Pass) -> bool {
        pass.tokens.clear();
        pass.parts.clear();
        pass.logit_rows.clear();
        pass.blocks.clear();
        for decoding in [true, false] {
            for index in 0..self.running.len() {
                let room = self.limits.batch_rows - pass.tokens.len();
                let Some(sequence) = self.running.get_mut(index) else { continue };
                if room == 0 || sequence.is_prompt() == decoding {
                    continue;
                }
                if !decoding && !sequence.follow(&mut self.pool, &pass.blocks) {
                    continue;
                }
                let first_position = sequence.computed;
                let rows = sequence.rows_within(room);
                let end = first_position + rows;
                if let Some(key) = sequence.next_block(end) {
                    pass.blocks.push(key);
                }
                let fits = sequence.blocks.grow(&mut self.pool, &mut sequence.promise, end);
                debug_assert!(fits, "a sequence outgrew its promise");
                let Some(tokens) = sequence.tokens.get(first_position..end).filter(|_| fits) else { continue };
                let first_row = pass.tokens.len();
                pass.tokens.extend_from_slice(tokens);
                let logits = (end == sequence.tokens.len()).then_some(pass.logit_rows.len());
                if logits.is_some() {
                    pass.logit_rows.push(first_row + rows - 1);
                }
                pass.parts.push(Part { sequence: index, first_row, rows, first_position, logits });
            }
        }
        !pass.parts.is_empty()
    }

    /// Removes sequences that are finished, whether they run or wait, and gives back what they held.
    pub(crate) fn retire(&mut self) {
        let Self { waiting, running, pool, .. } = self;
        let mut stays = |sequence: &mut Sequence| {
            if sequence.finished.is_some() {
                pool.cancel(std::mem::take(&mut sequence.promise));
                sequence.blocks.clear(pool);
            }
            sequence.finished.is_none()
        };
        running.retain_mut(&mut stays);
        waiting.retain_mut(stays);
    }
}
