//! The merge loop of byte-pair encoding: while any neighbours can merge, merge those of lowest rank, leftmost first.
//!
//! Two loops give the same result. Short pieces, nearly all there are, keep the ranks of all pairs in one flat array
//! and scan it for the least: quadratic, but a vector instruction looks at sixteen ranks, and nothing is allocated.
//! Long pieces (a million of one letter) keep a linked list and take the least rank from a sorted list of the pairs
//! there were at the start and a heap of those that arose since: `O(n log n)`, most of it a sort of sorted numbers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::hash::{Merge, NONE};

/// Where merges are looked up.
pub(crate) trait Pairs {
    /// What the tokens `left` and `right` merge into; together they stand for `start..end` of the piece.
    fn find(&self, left: u32, right: u32, start: u32, end: u32) -> Merge;

    /// As [`find`](Self::find) for tokens that nothing has merged into yet.
    fn find_first(&self, left: u32, right: u32, start: u32, end: u32) -> Merge {
        self.find(left, right, start, end)
    }
}

/// The tokens of a piece while they merge, and the buffers for that; reused from piece to piece.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// The tokens; [`NONE`] where the piece has bytes for which there is no token.
    pub(crate) ids: Vec<u32>,
    /// Where each token starts in the piece, and, one entry more, where the last ends.
    pub(crate) starts: Vec<u32>,
    /// Rank of the merge of each token with the next; [`NONE`] also where a token is gone.
    ranks: Vec<u32>,
    /// Result of that merge.
    merged: Vec<u32>,
    /// The linked list of the tokens that are left.
    previous: Vec<u32>,
    next: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    initial: Vec<u64>,
}

/// The longest piece, in tokens at the start, that the scanning loop takes.
const SHORT: usize = 160;

impl Symbols {
    /// Forgets the tokens of the last piece.
    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.starts.clear();
    }

    /// Appends a token that starts at `start`.
    #[inline]
    pub(crate) fn push(&mut self, id: u32, start: usize) {
        self.ids.push(id);
        self.starts.push(start as u32);
    }

    /// Merges all there is to merge in a piece of `length` bytes.
    pub(crate) fn merge(&mut self, pairs: &impl Pairs, length: usize) {
        self.starts.push(length as u32);
        let count = self.ids.len();
        self.ranks.clear();
        self.merged.clear();
        for (ids, ends) in self.ids.windows(2).zip(self.starts.windows(3)) {
            let Merge { rank, id } = pairs.find_first(ids[0], ids[1], ends[0], ends[2]);
            self.ranks.push(rank);
            self.merged.push(id);
        }
        self.ranks.resize(count, NONE);
        self.merged.resize(count, NONE);
        self.previous.clear();
        self.previous.extend((0..count as u32).map(|at| at.wrapping_sub(1)));
        self.next.clear();
        self.next.extend(1..=count as u32);
        if count <= SHORT {
            self.merge_short(pairs);
        } else {
            self.merge_long(pairs);
        }
        self.compact();
    }

    fn merge_short(&mut self, pairs: &impl Pairs) {
        loop {
            let Some(least) = self.ranks.iter().copied().min().filter(|&least| least != NONE) else { return };
            let Some(at) = self.ranks.iter().position(|&rank| rank == least) else { return };
            self.merge_at(pairs, at, |_, _| {});
        }
    }

    fn merge_long(&mut self, pairs: &impl Pairs) {
        let ranked = (0..).zip(&self.ranks).filter(|(_, rank)| **rank != NONE);
        self.initial.clear();
        self.initial.extend(ranked.map(|(at, &rank)| entry(rank, at)));
        self.initial.sort_unstable();
        let mut heap = std::mem::take(&mut self.heap);
        let mut first = 0;
        loop {
            let fresh = heap.peek().map_or(u64::MAX, |Reverse(entry)| *entry);
            let entry = match self.initial.get(first) {
                Some(&old) if old < fresh => {
                    first += 1;
                    old
                }
                _ => match heap.pop() {
                    Some(Reverse(entry)) => entry,
                    None => break,
                },
            };
            let (rank, at) = ((entry >> 32) as u32, entry as u32 as usize);
            // An entry is stale once its tokens have merged with others; their rank has changed then.
            if self.ranks.get(at) == Some(&rank) {
                self.merge_at(pairs, at, |rank, at| heap.push(Reverse(self::entry(rank, at))));
            }
        }
        self.heap = heap;
    }

    /// Merges the token at `at` with its right neighbour, and calls `fresh(rank, at)` for the merges that become
    /// possible. There must be a right neighbour.
    #[inline]
    fn merge_at(&mut self, pairs: &impl Pairs, at: usize, mut fresh: impl FnMut(u32, u32)) {
        let count = self.ids.len() as u32;
        let right = self.next[at] as usize;
        let after = self.next[right];
        self.ids[at] = self.merged[at];
        self.ranks[right] = NONE;
        self.next[at] = after;
        if after < count {
            self.previous[after as usize] = at as u32;
        }
        for (left, right) in [(at as u32, after), (self.previous[at], at as u32)] {
            if left >= count {
                continue;
            }
            let mut found = Merge::NEVER;
            if right < count {
                let end = self.starts[self.next[right as usize] as usize];
                found = pairs.find(self.ids[left as usize], self.ids[right as usize], self.starts[left as usize], end);
            }
            self.ranks[left as usize] = found.rank;
            self.merged[left as usize] = found.id;
            if found.rank != NONE {
                fresh(found.rank, left);
            }
        }
    }

    /// Brings the surviving tokens together.
    fn compact(&mut self) {
        let count = self.ids.len();
        let (mut from, mut to) = (0, 0);
        while from < count {
            self.ids[to] = self.ids[from];
            self.starts[to] = self.starts[from];
            to += 1;
            from = self.next[from] as usize;
        }
        self.ids.truncate(to);
        self.starts[to] = self.starts[count];
        self.starts.truncate(to + 1);
    }
}

/// Sorts by rank, then from left to right.
fn entry(rank: u32, at: u32) -> u64 {
    u64::from(rank) << 32 | u64::from(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::PairMap;

    struct Table(PairMap);

    impl Pairs for Table {
        fn find(&self, left: u32, right: u32, _: u32, _: u32) -> Merge {
            self.0.get(left, right).unwrap_or(Merge::NEVER)
        }
    }

    /// Merges among few tokens with few ranks, so that ties and chains abound.
    fn table(seed: u64) -> Table {
        let mut pairs = PairMap::with_capacity(64);
        let mut state = seed;
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let field = |shift: u32, bound: u64| ((state >> shift) % bound) as u32;
            pairs.insert(field(20, 9), field(30, 9), Merge { rank: field(40, 12), id: field(50, 9) }, false);
        }
        Table(pairs)
    }

    /// The definition, one merge at a time.
    fn reference(ids: &mut Vec<u32>, table: &Table) {
        while let Some((_, at)) =
            (0..ids.len().saturating_sub(1)).filter_map(|at| Some((table.0.get(ids[at], ids[at + 1])?.rank, at))).min()
        {
            ids[at] = table.0.get(ids[at], ids[at + 1]).unwrap().id;
            ids.remove(at + 1);
        }
    }

    #[test]
    fn both_loops_follow_the_definition() {
        for seed in 0..300u64 {
            let table = table(seed);
            let mut state = seed ^ 77;
            let mut expected: Vec<u32> = (0..seed % 60)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
                    (state >> 40) as u32 % 9
                })
                .collect();
            // Repeated often enough, the same tokens take the other loop.
            let repeats = if seed % 2 == 0 { 1 } else { 1 + 2 * SHORT / (expected.len() + 1) };
            expected = expected.repeat(repeats);
            let mut symbols = Symbols::default();
            expected.iter().enumerate().for_each(|(at, &id)| symbols.push(id, at));
            symbols.merge(&table, expected.len());
            reference(&mut expected, &table);
            assert_eq!(symbols.ids, expected);
            assert_eq!(symbols.starts.len(), expected.len() + 1);
        }
    }
}
