//! Who owns which block of the key-value cache.
//!
//! The cache is cut into blocks of [`BLOCK_TOKENS`] positions. A sequence names its blocks in a [`BlockTable`]; a
//! block may be in several tables at once (the candidates of a request share their prompt, and so do requests that
//! begin alike). When the last table lets go of a full block, its keys and values stay where they are, and a later
//! request that begins with the same tokens takes them up again, until the memory is needed for something else (see
//! `prefix.rs`).
//!
//! Memory is promised before it is used: a sequence starts only when every block that it can ever need is reserved,
//! so allocation inside a running sequence cannot fail and no sequence is ever thrown out for another. Kept blocks
//! count as free here, since they can be given up at once. Blocks that were never used are handed out after those that
//! are empty again, so that the operating system backs only as much memory as was ever needed, and kept blocks last.

pub use saem_kernels::attention::BLOCK_TOKENS;

use crate::prefix::{Before, Key, PrefixIndex};

/// Blocks that hold `positions` positions.
#[must_use]
pub fn blocks_for(positions: usize) -> usize {
    positions.div_ceil(BLOCK_TOKENS)
}

/// The free and the taken blocks of a cache.
#[derive(Debug)]
pub struct BlockPool {
    /// Tables that hold each block.
    references: Vec<u32>,
    /// Blocks that were used and are free again.
    free: Vec<u32>,
    /// Blocks from here on were never used.
    untouched: usize,
    /// Free blocks that are promised.
    reserved: usize,
    /// Full blocks by their text, in use or kept.
    prefixes: PrefixIndex,
}

impl BlockPool {
    /// A pool of `blocks` free blocks.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        let prefixes = PrefixIndex::default();
        Self { references: vec![0; blocks], free: Vec::new(), untouched: 0, reserved: 0, prefixes }
    }

    /// Blocks in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether the pool has no blocks at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Blocks that are neither taken nor promised.
    #[must_use]
    pub fn available(&self) -> usize {
        self.unused() - self.reserved
    }

    /// Blocks that are in no table, kept ones included.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.free.len() + self.references.len() - self.untouched + self.prefixes.idle()
    }

    /// Of the unused blocks, those whose text is kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.prefixes.idle()
    }

    /// Forgets every text that is kept for later.
    pub fn forget(&mut self) {
        while let Some(block) = self.prefixes.evict() {
            self.free.push(block);
        }
    }

    /// Promises `blocks` blocks, or none of them and returns `None`.
    #[must_use]
    pub fn reserve(&mut self, blocks: usize) -> Option<Reservation> {
        (blocks <= self.available()).then(|| {
            self.reserved += blocks;
            Reservation { blocks }
        })
    }

    /// Gives a promise back.
    pub fn cancel(&mut self, reservation: Reservation) {
        self.reserved -= reservation.blocks;
    }

    /// What is kept, those used last first, and each after the one before it.
    pub(crate) fn kept_texts(&self) -> Vec<(u32, &Key)> {
        self.prefixes.kept()
    }

    /// A block that was never used, for a text that is known from elsewhere. `None` where the text is known here, or no
    /// such block is left. [`BlockPool::settle`] must follow.
    pub(crate) fn recall(&mut self, key: Key) -> Option<u32> {
        if self.available() == 0 || self.untouched == self.references.len() || self.prefixes.find(&key).is_some() {
            return None;
        }
        let block = u32::try_from(self.untouched).ok()?;
        self.untouched += 1;
        self.prefixes.insert(key, block);
        Some(block)
    }

    /// Blocks that were recalled are kept now, the first of them as those that were used last.
    pub(crate) fn settle(&mut self, recalled: &[u32]) {
        for block in recalled.iter().rev() {
            self.prefixes.tick();
            self.prefixes.leave(*block);
        }
    }

    fn allocate(&mut self, reservation: &mut Reservation) -> Option<u32> {
        // The promise is checked, not trusted: a mistake in the sum must not give a block to two sequences.
        reservation.blocks = reservation.blocks.checked_sub(1)?;
        self.reserved -= 1;
        let fresh = || {
            let fresh = u32::try_from(self.untouched).ok().filter(|_| self.untouched < self.references.len());
            self.untouched += usize::from(fresh.is_some());
            fresh
        };
        let block = self.free.pop().or_else(fresh).or_else(|| self.prefixes.evict())?;
        if let Some(count) = self.references.get_mut(block as usize) {
            *count = 1;
        }
        Some(block)
    }

    fn is_used(&self, block: u32) -> bool {
        self.references.get(block as usize).is_some_and(|count| *count > 0)
    }

    /// Whether one table alone has the block.
    fn is_sole(&self, block: u32) -> bool {
        self.references.get(block as usize) == Some(&1)
    }

    fn retain(&mut self, block: u32) {
        if let Some(count) = self.references.get_mut(block as usize) {
            if *count == 0 {
                self.prefixes.enter(block);
            }
            *count += 1;
        }
    }

    fn release(&mut self, block: u32) {
        if let Some(count) = self.references.get_mut(block as usize) {
            *count -= 1;
            if *count == 0 && !self.prefixes.leave(block) {
                self.free.push(block);
            }
        }
    }
}

/// Blocks that are promised to one sequence and not yet allocated. Must be given back by [`BlockPool::cancel`].
#[derive(Debug, Default)]
pub struct Reservation {
    blocks: usize,
}

impl Reservation {
    /// Blocks of the promise that are left.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Moves `blocks` of the promise (or what is left of it) to another sequence.
    #[must_use]
    pub fn split(&mut self, blocks: usize) -> Self {
        let moved = blocks.min(self.blocks);
        self.blocks -= moved;
        Self { blocks: moved }
    }
}

/// What keys and values depend on beside the tokens, and who may share them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Salt {
    /// Whose text it is.
    pub tenant: u64,
    /// The adapter that the text is computed with ([`Adapter::id`](saem_model::Adapter::id)); 0 for none.
    pub adapter: u64,
}

/// The blocks of one sequence in the order of its positions. Must be given back by [`BlockTable::clear`].
#[derive(Debug, Default)]
pub struct BlockTable {
    blocks: Vec<u32>,
    /// How many of the blocks, from the beginning, can be found by their text.
    registered: usize,
    /// Whose texts these are, and of which adapter.
    salt: Salt,
}

/// The contents of one block are to be copied to another before the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
    /// The shared block.
    pub from: u32,
    /// The block of its new owner.
    pub to: u32,
}

impl BlockTable {
    /// An empty table with a promise of `blocks` blocks in all, some of which may be taken over from texts that the
    /// pool knows: those of `prompt`, as [`BlockTable::adopt`] finds them. `None` where there is not so much room.
    ///
    /// Texts are found under the same `salt` only.
    #[must_use]
    pub fn start(pool: &mut BlockPool, salt: Salt, prompt: &[u32], blocks: usize) -> Option<(Self, Reservation)> {
        let mut table = Self { salt, ..Self::default() };
        let mut before = Before::Salt(salt);
        let mut shared = 0;
        for known in whole_blocks(prompt) {
            let Some(block) = Key::new(before, known).and_then(|key| pool.prefixes.find(&key)) else { break };
            // Blocks that others use need no room; what they use now they use until the call is over.
            shared += usize::from(pool.is_used(block));
            before = Before::Block(block);
        }
        let mut reservation = pool.reserve(blocks.saturating_sub(shared))?;
        reservation.blocks += shared;
        pool.reserved += shared;
        table.adopt(pool, &mut reservation, prompt);
        Some((table, reservation))
    }

    /// Takes over blocks that hold what follows in `prompt`, for as long as there are such; each uses up one block of
    /// the promise. Returns the positions that were gained. The table must hold full blocks only.
    ///
    /// The last token of the prompt is never among them: its logits are wanted.
    pub fn adopt(&mut self, pool: &mut BlockPool, reservation: &mut Reservation, prompt: &[u32]) -> usize {
        let known = self.blocks.len();
        if self.registered < known {
            return 0;
        }
        for tokens in whole_blocks(prompt).skip(known) {
            let Some(block) = Key::new(self.before(), tokens).and_then(|key| pool.prefixes.find(&key)) else { break };
            let Some(left) = reservation.blocks.checked_sub(1) else { break };
            reservation.blocks = left;
            pool.reserved -= 1;
            pool.retain(block);
            self.blocks.push(block);
            self.registered += 1;
        }
        (self.blocks.len() - known) * BLOCK_TOKENS
    }

    /// Makes the full blocks of the first `positions` of `tokens` known to the pool. Where it knows a block with the
    /// same text already, the table takes that one and lets go of its own.
    pub fn register(&mut self, pool: &mut BlockPool, tokens: &[u32], positions: usize) {
        let computed = tokens.get(..positions).unwrap_or_default();
        for tokens in computed.chunks_exact(BLOCK_TOKENS).skip(self.registered) {
            let Some(key) = Key::new(self.before(), tokens) else { break };
            let Some(own) = self.blocks.get_mut(self.registered) else { break };
            match pool.prefixes.find(&key) {
                None => pool.prefixes.insert(key, *own),
                Some(known) if known == *own => {}
                // A kept block would be one more in use; only where the own one is free in exchange is there room.
                Some(known) if !pool.is_used(known) && !pool.is_sole(*own) => break,
                Some(known) => {
                    pool.retain(known);
                    pool.release(std::mem::replace(own, known));
                }
            }
            self.registered += 1;
        }
    }

    /// The key of the next block to compute, `prompt` being the whole text: two tables with the same one are about to
    /// do the same work. `None` within a block, and where the prompt has no such block left.
    pub(crate) fn next_key(&self, prompt: &[u32]) -> Option<Key> {
        let tokens = whole_blocks(prompt).nth(self.blocks.len())?;
        (self.registered == self.blocks.len()).then(|| Key::new(self.before(), tokens))?
    }

    /// What comes before the first block that is not registered.
    fn before(&self) -> Before {
        let last = self.registered.checked_sub(1).and_then(|last| self.blocks.get(last));
        last.map_or(Before::Salt(self.salt), |block| Before::Block(*block))
    }

    /// The block numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.blocks
    }

    /// Grows to hold `positions` positions. Returns false where the promise does not cover that, which is a mistake of
    /// the caller.
    #[must_use]
    pub fn grow(&mut self, pool: &mut BlockPool, reservation: &mut Reservation, positions: usize) -> bool {
        while self.blocks.len() < blocks_for(positions) {
            match pool.allocate(reservation) {
                Some(block) => self.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// A table for a second sequence with the same first `positions` positions. Full blocks are shared; the last one,
    /// if it is not full, both would write to, so the new table has a copy of it.
    ///
    /// Returns `None` where the promise does not cover the copy.
    #[must_use]
    pub fn fork(
        &self,
        pool: &mut BlockPool,
        reservation: &mut Reservation,
        positions: usize,
    ) -> Option<(Self, Option<BlockCopy>)> {
        let shared = self.blocks.get(..positions / BLOCK_TOKENS)?;
        let mut blocks = shared.to_vec();
        let copy = match self.blocks.get(shared.len()) {
            Some(from) if !positions.is_multiple_of(BLOCK_TOKENS) => {
                let to = pool.allocate(reservation)?;
                blocks.push(to);
                Some(BlockCopy { from: *from, to })
            }
            _ => None,
        };
        for block in shared {
            pool.retain(*block);
        }
        let registered = self.registered.min(shared.len());
        Some((Self { blocks, registered, salt: self.salt }, copy))
    }

    /// Lets go of all blocks. What is registered stays known until its memory is needed.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        pool.prefixes.tick();
        self.registered = 0;
        for block in self.blocks.drain(..) {
            pool.release(block);
        }
    }
}

/// The full blocks of a prompt that may be taken over: all but the last token's.
fn whole_blocks(prompt: &[u32]) -> std::slice::ChunksExact<'_, u32> {
    let most = prompt.len().saturating_sub(1);
    prompt.get(..most).unwrap_or_default().chunks_exact(BLOCK_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn candidates_share_full_blocks_and_copy_the_last() {
        let mut pool = BlockPool::new(8);
        let mut promise = pool.reserve(5).unwrap();
        let mut first = BlockTable::default();
        assert!(first.grow(&mut pool, &mut promise, 2 * BLOCK_TOKENS + 5));
        let (mut second, copy) = first.fork(&mut pool, &mut promise, 2 * BLOCK_TOKENS + 5).unwrap();
        assert_eq!(second.as_slice()[..2], first.as_slice()[..2]);
        assert_eq!(copy, Some(BlockCopy { from: first.as_slice()[2], to: second.as_slice()[2] }));
        assert_eq!(pool.unused(), 4);
        first.clear(&mut pool);
        assert_eq!(pool.unused(), 5, "the shared blocks are still in use");
        second.clear(&mut pool);
        assert_eq!((pool.unused(), pool.available()), (8, 7));
        pool.cancel(promise);
        assert_eq!(pool.available(), 8);
    }

    #[test]
    fn used_blocks_come_back_before_untouched_ones() {
        let mut pool = BlockPool::new(4);
        let mut promise = pool.reserve(4).unwrap();
        let mut table = BlockTable::default();
        assert!(table.grow(&mut pool, &mut promise, 1));
        assert_eq!(table.as_slice(), [0]);
        table.clear(&mut pool);
        assert!(table.grow(&mut pool, &mut promise, BLOCK_TOKENS + 1));
        assert_eq!(table.as_slice(), [0, 1]);
    }

    #[test]
    fn a_promise_bounds_what_is_allocated() {
        let mut pool = BlockPool::new(4);
        assert!(pool.reserve(5).is_none());
        let mut promise = pool.reserve(1).unwrap();
        let mut table = BlockTable::default();
        assert!(!table.grow(&mut pool, &mut promise, BLOCK_TOKENS + 1));
        assert!(pool.reserve(3).is_some());
        assert!(pool.reserve(1).is_none());
    }

    /// A text of `len` tokens; texts of the same family begin alike and part at a place of their own.
    fn text(family: u32, parting: usize, len: usize) -> Vec<u32> {
        (0..len as u32).map(|at| if (at as usize) < parting { family } else { 1000 + parting as u32 }).collect()
    }

    /// A table, its text, and how much of it the cache holds.
    struct Holder {
        table: BlockTable,
        promise: Reservation,
        tokens: Vec<u32>,
        computed: usize,
    }

    /// What a slot of the cache holds: all tokens up to its position, and the salt.
    type Slots = std::collections::HashMap<(u32, usize), (Salt, Vec<u32>)>;

    fn salt(tenant: u64) -> Salt {
        Salt { tenant, adapter: 0 }
    }

    impl Holder {
        fn start(pool: &mut BlockPool, salt: Salt, tokens: Vec<u32>, room: usize) -> Option<Self> {
            let (table, promise) = BlockTable::start(pool, salt, &tokens, blocks_for(tokens.len()) + room)?;
            let computed = table.as_slice().len() * BLOCK_TOKENS;
            Some(Self { table, promise, tokens, computed })
        }

        fn compute(&mut self, pool: &mut BlockPool, rows: usize, slots: &mut Slots) {
            if self.computed == self.table.as_slice().len() * BLOCK_TOKENS {
                self.computed += self.table.adopt(pool, &mut self.promise, &self.tokens);
            }
            let end = self.tokens.len().min(self.computed + rows);
            assert!(self.table.grow(pool, &mut self.promise, end));
            for position in self.computed..end {
                let block = self.table.as_slice()[position / BLOCK_TOKENS];
                let all = self.tokens[..=position].to_vec();
                slots.insert((block, position % BLOCK_TOKENS), (self.table.salt, all));
            }
            self.computed = end;
            self.table.register(pool, &self.tokens, end);
        }

        fn check(&self, slots: &Slots) {
            for position in 0..self.computed {
                let block = self.table.as_slice()[position / BLOCK_TOKENS];
                let (salt, tokens) = &slots[&(block, position % BLOCK_TOKENS)];
                assert_eq!((*salt, &tokens[..]), (self.table.salt, &self.tokens[..=position]));
            }
        }
    }

    proptest! {
        /// Random starting, computing, forking and ending, with texts that begin alike: every table always finds its own
        /// text in its blocks, promises are kept, and in the end nothing is missing.
        #[test]
        fn nothing_is_lost_or_mixed_up(
            steps in prop::collection::vec(
                (0_u8..7, any::<prop::sample::Index>(), 0_u32..2, 0_usize..4, 1_usize..200), 1..80),
            blocks in 6_usize..40,
        ) {
            let mut pool = BlockPool::new(blocks);
            let mut holders: Vec<Holder> = Vec::new();
            let mut slots = Slots::new();
            for (action, index, family, parting, size) in steps {
                if action < 2 || holders.is_empty() {
                    let tokens = text(family, parting * 40, size);
                    let salt = salt(u64::from(family == 1 && parting == 0));
                    holders.extend(Holder::start(&mut pool, salt, tokens, 8));
                    continue;
                }
                let at = index.index(holders.len());
                let holder = &mut holders[at];
                match action {
                    2 | 3 => holder.compute(&mut pool, size, &mut slots),
                    4 => {
                        let promise = &mut holder.promise;
                        if let Some((table, copy)) = holder.table.fork(&mut pool, promise, holder.computed) {
                            for slot in 0..BLOCK_TOKENS {
                                if let Some(copy) = copy
                                    && let Some(held) = slots.get(&(copy.from, slot)).cloned()
                                {
                                    slots.insert((copy.to, slot), held);
                                }
                            }
                            let (tokens, computed) = (holder.tokens.clone(), holder.computed);
                            let promise = holder.promise.split(usize::MAX);
                            holders.push(Holder { table, promise, tokens, computed });
                        }
                    }
                    _ => {
                        let mut holder = holders.swap_remove(at);
                        holder.table.clear(&mut pool);
                        pool.cancel(holder.promise);
                    }
                }
                // The parent of a fork has no promise left and can go no further.
                holders.retain_mut(|holder| {
                    let done = holder.computed == holder.tokens.len() || holder.promise.blocks() > 0;
                    if !done {
                        holder.table.clear(&mut pool);
                    }
                    done
                });
                holders.iter().for_each(|holder| holder.check(&slots));
                let mut used: Vec<u32> =
                    holders.iter().flat_map(|holder| holder.table.as_slice().iter().copied()).collect();
                used.sort_unstable();
                used.dedup();
                prop_assert_eq!(pool.unused(), blocks - used.len());
                let promised: usize = holders.iter().map(|holder| holder.promise.blocks()).sum();
                prop_assert_eq!(pool.available(), blocks - used.len() - promised);
            }
            for mut holder in holders {
                holder.table.clear(&mut pool);
                pool.cancel(holder.promise);
            }
            prop_assert_eq!((pool.unused(), pool.available()), (blocks, blocks));
            pool.forget();
            prop_assert_eq!((pool.kept(), pool.available()), (0, blocks));
        }
    }

    #[test]
    fn a_text_seen_before_is_taken_over_but_for_its_last_token() {
        let mut pool = BlockPool::new(10);
        let mut slots = Slots::new();
        let tokens = text(0, 1000, 3 * BLOCK_TOKENS);
        let run = |pool: &mut BlockPool, salt, tokens: &[u32], slots: &mut Slots| {
            let mut holder = Holder::start(pool, salt, tokens.to_vec(), 0).unwrap();
            let known = holder.computed;
            holder.compute(pool, 1000, slots);
            holder.table.clear(pool);
            known
        };
        assert_eq!(run(&mut pool, salt(0), &tokens, &mut slots), 0);
        assert_eq!((pool.kept(), pool.available()), (3, 10));
        assert_eq!(run(&mut pool, salt(0), &tokens, &mut slots), 2 * BLOCK_TOKENS);
        assert_eq!(run(&mut pool, salt(1), &tokens, &mut slots), 0, "another tenant");
        assert_eq!(run(&mut pool, Salt { adapter: 1, ..salt(0) }, &tokens, &mut slots), 0, "another adapter");
        let longer = text(0, 3 * BLOCK_TOKENS, 3 * BLOCK_TOKENS + 1);
        assert_eq!(run(&mut pool, salt(0), &longer, &mut slots), 3 * BLOCK_TOKENS);
        // Ten blocks of something else leave nothing.
        assert_eq!(run(&mut pool, salt(2), &text(9, 1000, 10 * BLOCK_TOKENS), &mut slots), 0);
        assert_eq!(run(&mut pool, salt(0), &tokens, &mut slots), 0);
    }
}
