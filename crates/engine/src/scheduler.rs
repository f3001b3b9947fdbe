//! Which sequences run, and which of their tokens make up the next pass.
//!
//! `queue.rs` decides whose turn it is. A request starts when a place is free for each of its candidates and every
//! block that they can ever need is reserved; from then on nothing can stop it but its own end. Whose turn it is waits
//! for room and is not passed by, however much smaller another request is.
//!
//! A pass has one row for every sequence that decodes, and of what is left a part goes to prompts, those of the line
//! that got least first, so that a long prompt is computed in chunks while the others keep talking. Where there is no
//! prompt and few decode, there is room for guesses.
//!
//! A prompt takes over what the cache knows of it, when it starts and again at the border of each block: of several
//! that begin alike, the first is computed and the others follow.

use crate::blocks::{BLOCK_TOKENS, BlockPool, BlockTable};
use crate::prefix::Key;
use crate::queue::{Queue, Shares};
use crate::request::Limits;
use crate::sequence::Sequence;
use crate::speculate::SAME_BITS_ROWS;

/// The consecutive rows of a pass that belong to one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Index among the running sequences.
    pub(crate) sequence: usize,
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) first_position: usize,
    /// Rows at its end that are guessed.
    pub(crate) drafted: usize,
    /// Index among the rows of logits, where the part reaches the end of the sequence: of that row; those of guessed
    /// rows follow.
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
    /// Prompts by whose turn it is, each with what its line got.
    order: Vec<(f64, usize)>,
}

/// Queue, running sequences and the books of the cache.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) limits: Limits,
    pub(crate) pool: BlockPool,
    pub(crate) shares: Shares,
    pub(crate) waiting: Queue,
    /// In the order of admission.
    pub(crate) running: Vec<Sequence>,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, blocks: usize) -> Self {
        Self {
            limits,
            pool: BlockPool::new(blocks),
            shares: Shares::default(),
            waiting: Queue::default(),
            running: Vec::new(),
        }
    }

    /// Lets waiting sequences start while there is room. `started` is told of each.
    pub(crate) fn admit(&mut self, mut started: impl FnMut(&Sequence)) {
        let Self { limits, pool, shares, waiting, running } = self;
        let mut free = limits.max_sequences - running.iter().map(Sequence::places).sum::<usize>();
        while let Some(sequence) = waiting.next(shares) {
            if sequence.places() > free || !give_room(pool, sequence) {
                return;
            }
            let Some(sequence) = waiting.pop(shares) else { return };
            free -= sequence.places();
            shares.charge(sequence.line, sequence.pending());
            started(&sequence);
            running.push(sequence);
        }
    }

    /// Chooses the rows of the next pass and makes sure that their blocks exist. False where there is nothing to do.
    pub(crate) fn plan(&mut self, pass: &mut Pass) -> bool {
        pass.tokens.clear();
        pass.parts.clear();
        pass.logit_rows.clear();
        pass.blocks.clear();
        pass.order.clear();
        let decoding = self.running.iter().filter(|sequence| !sequence.is_prompt()).count();
        let mut drafts = match decoding == self.running.len() {
            true => self.limits.draft_rows.min(SAME_BITS_ROWS.saturating_sub(decoding)),
            false => 0,
        };
        for index in 0..self.running.len() {
            if self.running.get(index).is_some_and(|sequence| !sequence.is_prompt()) {
                drafts -= self.add(pass, index, 1, drafts);
            }
        }
        let most = if pass.parts.is_empty() { self.limits.batch_rows } else { self.limits.prompt_rows };
        let mut room = most.min(self.limits.batch_rows - pass.tokens.len());
        let prompts = self.running.iter().enumerate().filter(|(_, sequence)| sequence.is_prompt());
        pass.order.extend(prompts.map(|(index, sequence)| (self.shares.of(sequence.line), index)));
        pass.order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for place in 0..pass.order.len() {
            let Some((_, index)) = pass.order.get(place).copied().filter(|_| room > 0) else { break };
            let Some(sequence) = self.running.get_mut(index) else { continue };
            if !sequence.follow(&mut self.pool, &pass.blocks) {
                continue;
            }
            let rows = sequence.rows_within(room);
            pass.blocks.extend(sequence.next_block(sequence.computed + rows));
            self.add(pass, index, rows, 0);
            room -= rows;
        }
        !pass.parts.is_empty()
    }

    /// Adds the next `rows` tokens of a sequence to a pass, and up to `drafts` guessed ones, and makes sure that their
    /// blocks exist. Returns the number of guesses.
    fn add(&mut self, pass: &mut Pass, index: usize, rows: usize, drafts: usize) -> usize {
        let Some(sequence) = self.running.get_mut(index) else { return 0 };
        let (first_row, first_position) = (pass.tokens.len(), sequence.computed);
        let end = first_position + rows;
        let Some(tokens) = sequence.tokens.get(first_position..end) else { return 0 };
        pass.tokens.extend_from_slice(tokens);
        let drafted = if drafts > 0 { sequence.guess(drafts, &mut pass.tokens) } else { 0 };
        let fits = sequence.blocks.grow(&mut self.pool, &mut sequence.promise, end + drafted);
        debug_assert!(fits, "a sequence outgrew its promise");
        if !fits {
            pass.tokens.truncate(first_row);
            return 0;
        }
        let logits = (end == sequence.tokens.len()).then_some(pass.logit_rows.len());
        if logits.is_some() {
            pass.logit_rows.extend(first_row + rows - 1..pass.tokens.len());
        }
        let rows = rows + drafted;
        pass.parts.push(Part { sequence: index, first_row, rows, first_position, drafted, logits });
        drafted
    }

    /// Removes running sequences that are finished, and gives back what they held.
    pub(crate) fn retire(&mut self) {
        let Self { running, pool, shares, .. } = self;
        running.retain_mut(|sequence| {
            if sequence.finished.is_some() {
                pool.cancel(std::mem::take(&mut sequence.promise));
                sequence.blocks.clear(pool);
                shares.leave(sequence.line);
            }
            sequence.finished.is_none()
        });
    }
}

/// Reserves every block that a sequence and its siblings can ever need, those included that the cache knows.
fn give_room(pool: &mut BlockPool, sequence: &mut Sequence) -> bool {
    let started = BlockTable::start(pool, sequence.salt(), &sequence.tokens, sequence.worst_blocks());
    let Some((blocks, promise)) = started else { return false };
    sequence.computed = blocks.as_slice().len() * BLOCK_TOKENS;
    sequence.cached = sequence.computed;
    (sequence.blocks, sequence.promise) = (blocks, promise);
    true
}
