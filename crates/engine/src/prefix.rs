//! Which full blocks hold which text, so that a text that was seen before need not be computed again.
//!
//! Keys and values at a position depend on every token up to it, so a block can be shared only where everything before
//! it is the same too. That makes the index a tree: the key of a block is the block before it (at the beginning, the
//! tenant and the adapter) and its own tokens. Keys are compared, not only hashed, and equal keys mean, block by block
//! back to the beginning, equal texts of one tenant under one adapter: no collision can ever show one text's keys and values to another.
//!
//! A block that no sequence uses is *idle* and stays until its memory is needed. Whoever uses a block also uses the one
//! before it (see [`BlockTable::register`](crate::blocks::BlockTable)), so what follows an idle block is idle, and idle
//! blocks can all be given up, leaves first and among those the one that has been idle longest.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::blocks::{BLOCK_TOKENS, Salt};

/// What comes before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    /// Nothing: a text of this tenant and adapter begins.
    Salt(Salt),
    /// A block of the index.
    Block(u32),
}

/// Names a full block by its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    before: Before,
    tokens: [u32; BLOCK_TOKENS],
}

impl Key {
    /// What comes before the block.
    pub(crate) fn before(&self) -> Before {
        self.before
    }

    /// The text of the block.
    pub(crate) fn tokens(&self) -> &[u32; BLOCK_TOKENS] {
        &self.tokens
    }

    /// The key of the block that holds `tokens`; `None` where they do not fill one exactly.
    pub(crate) fn new(before: Before, tokens: &[u32]) -> Option<Self> {
        Some(Self { before, tokens: tokens.try_into().ok()? })
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// Blocks of the index that follow this one.
    children: u32,
    /// When the last user left; `None` while there are users.
    idle_since: Option<u64>,
}

/// The tree of known blocks.
#[derive(Debug, Default)]
pub(crate) struct PrefixIndex {
    blocks: HashMap<Key, u32>,
    entries: HashMap<u32, Entry>,
    /// Idle blocks that nothing follows, by the time since when they are.
    leaves: BTreeSet<(u64, u32)>,
    idle: usize,
    clock: u64,
}

impl PrefixIndex {
    /// The block with this text.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.blocks.get(key).copied()
    }

    /// Blocks that are known and in no table.
    pub(crate) fn idle(&self) -> usize {
        self.idle
    }

    /// Idle blocks, those that were used last first, and each after the one before it.
    pub(crate) fn kept(&self) -> Vec<(u32, &Key)> {
        let mut newest: Vec<(u64, u32)> =
            self.entries.iter().filter_map(|(block, entry)| Some((entry.idle_since?, *block))).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = Vec::with_capacity(newest.len());
        let mut taken = HashSet::new();
        for (_, mut block) in newest {
            let mut line = Vec::new();
            // Up to a block that is taken already, or to the beginning.
            while taken.insert(block)
                && let Some(entry) = self.entries.get(&block)
            {
                line.push((block, &entry.key));
                let Before::Block(before) = entry.key.before else { break };
                block = before;
            }
            kept.extend(line.into_iter().rev());
        }
        kept
    }

    /// Adds a block in use, whose predecessor is in use too, under a key that is not there yet.
    pub(crate) fn insert(&mut self, key: Key, block: u32) {
        if let Before::Block(before) = key.before
            && let Some(before) = self.entries.get_mut(&before)
        {
            before.children += 1;
        }
        self.blocks.insert(key.clone(), block);
        self.entries.insert(block, Entry { key, children: 0, idle_since: None });
    }

    /// Begins a moment: blocks that become idle in the same one are of the same age.
    pub(crate) fn tick(&mut self) {
        self.clock += 1;
    }

    /// The last user of a block has left. False where the block is not in the index.
    pub(crate) fn leave(&mut self, block: u32) -> bool {
        let Some(entry) = self.entries.get_mut(&block) else { return false };
        entry.idle_since = Some(self.clock);
        self.idle += 1;
        if entry.children == 0 {
            self.leaves.insert((self.clock, block));
        }
        true
    }

    /// A block that may be idle has a user again.
    pub(crate) fn enter(&mut self, block: u32) {
        if let Some(since) = self.entries.get_mut(&block).and_then(|entry| entry.idle_since.take()) {
            self.leaves.remove(&(since, block));
            self.idle -= 1;
        }
    }

    /// Forgets the idle leaf that was used least recently and returns its block.
    pub(crate) fn evict(&mut self) -> Option<u32> {
        let (_, block) = self.leaves.pop_first()?;
        let entry = self.entries.remove(&block)?;
        self.blocks.remove(&entry.key);
        self.idle -= 1;
        if let Before::Block(before) = entry.key.before
            && let Some(parent) = self.entries.get_mut(&before)
        {
            parent.children -= 1;
            if let (0, Some(since)) = (parent.children, parent.idle_since) {
                self.leaves.insert((since, before));
            }
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(tenant: u64) -> Before {
        Before::Salt(Salt { tenant, adapter: 0 })
    }

    fn key(before: Before, token: u32) -> Key {
        Key::new(before, &[token; BLOCK_TOKENS]).unwrap()
    }

    #[test]
    fn leaves_go_first_and_the_oldest_of_them() {
        let mut index = PrefixIndex::default();
        // 0 -> 1 -> 2 and 0 -> 3.
        for (block, before) in [(0, root(7)), (1, Before::Block(0)), (2, Before::Block(1)), (3, Before::Block(0))] {
            index.insert(key(before, block), block);
        }
        assert_eq!(index.evict(), None, "all are in use");
        index.tick();
        assert!([0, 1, 2].into_iter().all(|block| index.leave(block)));
        index.tick();
        assert!(index.leave(3) && !index.leave(9));
        assert_eq!(index.idle(), 4);
        assert_eq!([index.evict(), index.evict()], [Some(2), Some(1)]);
        index.enter(0);
        assert_eq!([index.evict(), index.evict()], [Some(3), None], "block 0 is in use again");
        index.tick();
        index.leave(0);
        assert_eq!((index.evict(), index.idle()), (Some(0), 0));
        assert!(index.blocks.is_empty() && index.entries.is_empty() && index.leaves.is_empty());
    }

    #[test]
    fn kept_blocks_come_after_the_ones_before_them() {
        let mut index = PrefixIndex::default();
        for (block, before) in [(4, root(7)), (1, Before::Block(4)), (2, Before::Block(1)), (3, Before::Block(4))] {
            index.insert(key(before, block), block);
        }
        index.tick();
        assert!([2].into_iter().all(|block| index.leave(block)));
        index.tick();
        assert!([4, 1, 3].into_iter().all(|block| index.leave(block)));
        let order: Vec<u32> = index.kept().into_iter().map(|(block, _)| block).collect();
        assert_eq!((order.len(), order[0], order[3]), (4, 4, 2), "{order:?}");
    }

    #[test]
    fn a_text_is_found_by_its_tenant_and_all_that_comes_before() {
        let mut index = PrefixIndex::default();
        index.insert(key(root(1), 5), 0);
        index.insert(key(Before::Block(0), 5), 1);
        assert_eq!(index.find(&key(root(1), 5)), Some(0));
        assert_eq!(index.find(&key(Before::Block(0), 5)), Some(1));
        assert_eq!(index.find(&key(root(2), 5)), None);
        assert_eq!(index.find(&key(Before::Salt(Salt { tenant: 1, adapter: 1 }), 5)), None);
        assert_eq!(index.find(&key(Before::Block(1), 5)), None);
        assert!(Key::new(root(1), &[5; BLOCK_TOKENS - 1]).is_none());
    }
}
