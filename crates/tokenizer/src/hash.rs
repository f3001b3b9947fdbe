//! Hash tables for the hot path: open addressing over flat arrays, a multiplicative hash, no per-entry allocation.
//!
//! The standard library's map resists chosen keys at some ten nanoseconds a look-up. Here text from users only ever
//! *probes* tables that were filled at load time, so a crafted text cannot lengthen the chains; a crafted vocabulary
//! could, therefore each table draws its own random seed.

use std::hash::{BuildHasher, RandomState};

/// The absent id or rank. No token may have it.
pub(crate) const NONE: u32 = u32::MAX;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiplies to 128 bits and folds: every input bit reaches every output bit.
#[inline]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A seed that the author of a file cannot know.
fn random_seed() -> u64 {
    RandomState::new().hash_one(SEED)
}

/// Hashes a byte string, eight bytes at a time.
#[inline]
fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ bytes.len() as u64;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word), SEED);
    }
    let mut last = 0u64;
    for &byte in tail {
        last = last << 8 | u64::from(byte);
    }
    mix(hash ^ last, SEED ^ seed)
}

/// Many byte strings in one allocation, addressed by id.
#[derive(Debug, Default, Clone)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    /// Where each string ends; it begins where the one before ends.
    ends: Vec<u32>,
}

impl Strings {
    pub(crate) fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(strings) }
    }

    /// Appends a string; `false`, and nothing stored, when the total would pass 4 GiB.
    #[must_use]
    pub(crate) fn push(&mut self, string: &[u8]) -> bool {
        let Ok(end) = u32::try_from(self.bytes.len() + string.len()) else { return false };
        self.bytes.extend_from_slice(string);
        self.ends.push(end);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = if id == 0 { 0 } else { *self.ends.get(id - 1)? as usize };
        self.bytes.get(start..end)
    }
}

/// Finds the id of a byte string among [`Strings`], which the caller passes to every call.
#[derive(Debug, Default, Clone)]
pub(crate) struct StringIndex {
    /// (upper half of the hash, id), with id [`NONE`] for a free slot.
    slots: Vec<(u32, u32)>,
    seed: u64,
}

impl StringIndex {
    pub(crate) fn with_capacity(strings: usize) -> Self {
        Self { slots: vec![(0, NONE); (strings * 2).next_power_of_two().max(4)], seed: random_seed() }
    }

    #[inline]
    fn start(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Adds a string that is already stored under `id`. The first of equal strings wins; `false` for a later one.
    pub(crate) fn insert(&mut self, strings: &Strings, id: u32) -> bool {
        let Some(key) = strings.get(id) else { return false };
        let hash = hash_bytes(key, self.seed);
        let mut slot = self.start(hash);
        while let Some(entry) = self.slots.get_mut(slot) {
            if entry.1 == NONE {
                *entry = ((hash >> 32) as u32, id);
                return true;
            }
            if entry.0 == (hash >> 32) as u32 && strings.get(entry.1) == Some(key) {
                return false;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        false
    }

    #[inline]
    pub(crate) fn get(&self, strings: &Strings, key: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = hash_bytes(key, self.seed);
        let mut slot = self.start(hash);
        while let Some(&(tag, id)) = self.slots.get(slot) {
            if id == NONE {
                return None;
            }
            if tag == (hash >> 32) as u32 && strings.get(id) == Some(key) {
                return Some(id);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// What a pair of neighbouring tokens merges into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Lower merges first.
    pub(crate) rank: u32,
    /// The token that replaces the pair.
    pub(crate) id: u32,
}

/// Maps a pair of token ids to their merge.
#[derive(Debug, Clone)]
pub(crate) struct PairMap {
    entries: Vec<(u64, Merge)>,
    used: usize,
    seed: u64,
}

/// No pair of ids has this key, because [`NONE`] is not an id.
const FREE: u64 = u64::MAX;
const FREE_ENTRY: (u64, Merge) = (FREE, Merge { rank: NONE, id: NONE });

impl PairMap {
    pub(crate) fn with_capacity(pairs: usize) -> Self {
        Self { entries: vec![FREE_ENTRY; (pairs * 2).next_power_of_two().max(4)], used: 0, seed: random_seed() }
    }

    #[inline]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << 32 | u64::from(right)
    }

    #[inline]
    fn start(&self, key: u64) -> usize {
        (mix(key ^ self.seed, SEED) as usize) & (self.entries.len() - 1)
    }

    /// Stores a merge. Of several for one pair the last stays if `replace`, else the first.
    pub(crate) fn insert(&mut self, left: u32, right: u32, merge: Merge, replace: bool) {
        if self.used * 2 >= self.entries.len() {
            let doubled = vec![FREE_ENTRY; self.entries.len() * 2];
            for (key, merge) in std::mem::replace(&mut self.entries, doubled) {
                self.place(key, merge, true);
            }
        }
        if self.place(Self::key(left, right), merge, replace) {
            self.used += 1;
        }
    }

    /// Stores an entry; whether its key is new.
    fn place(&mut self, key: u64, merge: Merge, replace: bool) -> bool {
        if key == FREE {
            return false;
        }
        let mut slot = self.start(key);
        while let Some(entry) = self.entries.get_mut(slot) {
            let new = entry.0 == FREE;
            if new || entry.0 == key {
                if new || replace {
                    *entry = (key, merge);
                }
                return new;
            }
            slot = (slot + 1) & (self.entries.len() - 1);
        }
        false
    }

    #[inline]
    pub(crate) fn get(&self, left: u32, right: u32) -> Option<Merge> {
        let key = Self::key(left, right);
        let mut slot = self.start(key);
        while let Some(&(found, merge)) = self.entries.get(slot) {
            if found == key {
                return Some(merge);
            }
            if found == FREE {
                return None;
            }
            slot = (slot + 1) & (self.entries.len() - 1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_and_the_first_of_equals_wins() {
        let mut strings = Strings::default();
        let mut index = StringIndex::with_capacity(300);
        for number in 0..300u32 {
            assert!(strings.push(format!("token {}", number % 200).as_bytes()));
            assert_eq!(index.insert(&strings, number), number < 200);
        }
        assert_eq!(index.get(&strings, b"token 199"), Some(199));
        assert_eq!(index.get(&strings, b"token 3"), Some(3));
        assert_eq!(index.get(&strings, b"token"), None);
        assert_eq!(StringIndex::default().get(&strings, b""), None);
    }

    #[test]
    fn pairs_are_found_and_replaced_only_on_request() {
        let mut pairs = PairMap::with_capacity(3);
        for rank in 0..100 {
            pairs.insert(rank, rank + 1, Merge { rank, id: rank + 500 }, false);
        }
        pairs.insert(7, 8, Merge { rank: 1000, id: 1 }, false);
        pairs.insert(9, 10, Merge { rank: 1000, id: 1 }, true);
        assert_eq!(pairs.get(7, 8), Some(Merge { rank: 7, id: 507 }));
        assert_eq!(pairs.get(9, 10), Some(Merge { rank: 1000, id: 1 }));
        assert_eq!(pairs.get(8, 7), None);
    }
}
