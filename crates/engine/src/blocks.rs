//! Who owns which block of the key-value cache.
//!
//! The cache is cut into blocks of [`BLOCK_TOKENS`] positions. A sequence names its blocks in a [`BlockTable`]; a
//! block may be in several tables at once (the candidates of a request share their prompt) and is free again when the
//! last one lets go. A cache of common prefixes would be one more holder of references, keyed by a hash of the tokens
//! up to the end of a block; nothing here would change for it.
//!
//! Memory is promised before it is used: a sequence starts only when every block that it can ever need is reserved,
//! so allocation inside a running sequence cannot fail and no sequence is ever thrown out for another. Blocks that
//! were never used are handed out last, so that the operating system backs only as much memory as the busiest moment
//! needed.

pub use saem_kernels::attention::BLOCK_TOKENS;

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
}

impl BlockPool {
    /// A pool of `blocks` free blocks.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        Self { references: vec![0; blocks], free: Vec::new(), untouched: 0, reserved: 0 }
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

    /// Blocks that are in no table.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.free.len() + self.references.len() - self.untouched
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

    fn allocate(&mut self, reservation: &mut Reservation) -> Option<u32> {
        // The promise is checked, not trusted: a mistake in the sum must not give a block to two sequences.
        reservation.blocks = reservation.blocks.checked_sub(1)?;
        self.reserved -= 1;
        let block = self.free.pop().or_else(|| {
            let fresh = u32::try_from(self.untouched).ok().filter(|_| self.untouched < self.references.len());
            self.untouched += usize::from(fresh.is_some());
            fresh
        })?;
        if let Some(count) = self.references.get_mut(block as usize) {
            *count = 1;
        }
        Some(block)
    }

    fn retain(&mut self, block: u32) {
        if let Some(count) = self.references.get_mut(block as usize) {
            *count += 1;
        }
    }

    fn release(&mut self, block: u32) {
        if let Some(count) = self.references.get_mut(block as usize) {
            *count -= 1;
            if *count == 0 {
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

/// The blocks of one sequence in the order of its positions. Must be given back by [`BlockTable::clear`].
#[derive(Debug, Default)]
pub struct BlockTable {
    blocks: Vec<u32>,
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
        Some((Self { blocks }, copy))
    }

    /// Lets go of the blocks beyond the first `positions` positions.
    pub fn truncate(&mut self, pool: &mut BlockPool, positions: usize) {
        for block in self.blocks.drain(blocks_for(positions).min(self.blocks.len())..) {
            pool.release(block);
        }
    }

    /// Lets go of all blocks.
    pub fn clear(&mut self, pool: &mut BlockPool) {
        self.truncate(pool, 0);
    }
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

    proptest! {
        /// Random growing, forking, truncating and clearing: no block is ever writable by two tables, and in the end
        /// everything is free.
        #[test]
        fn nothing_is_lost_or_owned_twice(
            steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>(), 1_usize..200), 1..60),
        ) {
            let mut pool = BlockPool::new(64);
            let mut tables: Vec<(BlockTable, usize)> = Vec::new();
            for (action, index, positions) in steps {
                let Some(mut promise) = pool.reserve(pool.available().min(8)) else { continue };
                if action == 0 || tables.is_empty() {
                    let mut table = BlockTable::default();
                    let fits = table.grow(&mut pool, &mut promise, positions);
                    tables.push((table, if fits { positions } else { 0 }));
                } else {
                    let at = index.index(tables.len());
                    let (mut table, len) = tables.swap_remove(at);
                    match action {
                        1 => {
                            if let Some((fork, _)) = table.fork(&mut pool, &mut promise, len) {
                                tables.push((fork, len));
                            }
                            tables.push((table, len));
                        }
                        2 => {
                            // Only up to the last shared block: a full one stays read-only.
                            let keep = positions.min(len) / BLOCK_TOKENS * BLOCK_TOKENS;
                            table.truncate(&mut pool, keep);
                            tables.push((table, keep));
                        }
                        _ => table.clear(&mut pool),
                    }
                }
                pool.cancel(promise);
                let mut last_blocks: Vec<u32> = tables
                    .iter()
                    .filter(|(_, len)| len % BLOCK_TOKENS != 0)
                    .filter_map(|(table, len)| table.as_slice().get(len / BLOCK_TOKENS).copied())
                    .collect();
                let count = last_blocks.len();
                last_blocks.sort_unstable();
                last_blocks.dedup();
                prop_assert_eq!(last_blocks.len(), count);
            }
            for (mut table, _) in tables {
                table.clear(&mut pool);
            }
            prop_assert_eq!((pool.unused(), pool.available()), (64, 64));
        }
    }
}
