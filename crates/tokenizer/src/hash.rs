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

/// Which slots of a table are taken, and by keys of which hash, in a byte each: a probe that finds nothing, and most do,
/// touches this small array only, which stays in the processor's cache.
#[derive(Debug, Default, Clone)]
struct Tags {
    /// 0 for a free slot. As long as the table: a power of two, or 0 for a table without slots.
    tags: Vec<u8>,
    used: usize,
}

impl Tags {
    /// Room for `keys` keys at a load of at most two thirds.
    fn with_capacity(keys: usize) -> Self {
        Self { tags: vec![0; (keys + keys / 2).next_power_of_two().max(4)], used: 0 }
    }

    fn is_full(&self) -> bool {
        self.used * 3 >= self.tags.len() * 2
    }

    #[inline]
    fn of(hash: u64) -> u8 {
        (hash >> 57) as u8 + 1
    }

    /// The slot of the key for which `matches` holds, or else the free slot where it would be.
    #[inline]
    fn find(&self, hash: u64, mut matches: impl FnMut(usize) -> bool) -> Result<usize, usize> {
        let mask = self.tags.len().wrapping_sub(1);
        let tag = Self::of(hash);
        let mut slot = hash as usize & mask;
        while let Some(&found) = self.tags.get(slot) {
            if found == tag && matches(slot) {
                return Ok(slot);
            }
            if found == 0 {
                break;
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    fn take(&mut self, slot: usize, hash: u64) {
        if let Some(tag) = self.tags.get_mut(slot) {
            *tag = Self::of(hash);
            self.used += 1;
        }
    }
}

/// Finds the id of a byte string among [`Strings`], which the caller passes to every call.
#[derive(Debug, Default, Clone)]
pub(crate) struct StringIndex {
    tags: Tags,
    ids: Vec<u32>,
    seed: u64,
}

impl StringIndex {
    /// An index of up to `strings` strings.
    pub(crate) fn with_capacity(strings: usize) -> Self {
        let tags = Tags::with_capacity(strings);
        Self { ids: vec![NONE; tags.tags.len()], tags, seed: random_seed() }
    }

    /// Adds a string that is already stored under `id`. The first of equal strings wins; `false` for a later one, and
    /// when the index is full.
    pub(crate) fn insert(&mut self, strings: &Strings, id: u32) -> bool {
        let Some(key) = strings.get(id).filter(|_| !self.tags.is_full()) else { return false };
        let hash = hash_bytes(key, self.seed);
        match self.find(strings, key, hash) {
            Ok(_) => false,
            Err(free) => {
                self.tags.take(free, hash);
                if let Some(slot) = self.ids.get_mut(free) {
                    *slot = id;
                }
                true
            }
        }
    }

    #[inline]
    fn find(&self, strings: &Strings, key: &[u8], hash: u64) -> Result<usize, usize> {
        self.tags.find(hash, |slot| self.ids.get(slot).and_then(|&id| strings.get(id)) == Some(key))
    }

    #[inline]
    pub(crate) fn get(&self, strings: &Strings, key: &[u8]) -> Option<u32> {
        let slot = self.find(strings, key, hash_bytes(key, self.seed)).ok()?;
        self.ids.get(slot).copied()
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

impl Merge {
    /// No merge.
    pub(crate) const NEVER: Self = Self { rank: NONE, id: NONE };
}

/// Maps a pair of token ids to their merge.
#[derive(Debug, Clone)]
pub(crate) struct PairMap {
    tags: Tags,
    entries: Vec<(u64, Merge)>,
    seed: u64,
}

impl PairMap {
    pub(crate) fn with_capacity(pairs: usize) -> Self {
        let tags = Tags::with_capacity(pairs);
        Self { entries: vec![(0, Merge::NEVER); tags.tags.len()], tags, seed: random_seed() }
    }

    #[inline]
    fn key(&self, left: u32, right: u32) -> (u64, u64) {
        let key = u64::from(left) << 32 | u64::from(right);
        (key, mix(key ^ self.seed, SEED))
    }

    #[inline]
    fn find(&self, key: u64, hash: u64) -> Result<usize, usize> {
        self.tags.find(hash, |slot| self.entries.get(slot).is_some_and(|entry| entry.0 == key))
    }

    /// Stores a merge. Of several for one pair the last stays if `replace`, else the first.
    pub(crate) fn insert(&mut self, left: u32, right: u32, merge: Merge, replace: bool) {
        if self.tags.is_full() {
            let mut larger = Self::with_capacity(self.tags.tags.len());
            let taken = self.tags.tags.iter().zip(&self.entries).filter(|(tag, _)| **tag != 0);
            for (_, &(key, merge)) in taken {
                larger.insert((key >> 32) as u32, key as u32, merge, true);
            }
            *self = larger;
        }
        let (key, hash) = self.key(left, right);
        let slot = match self.find(key, hash) {
            Ok(_) if !replace => return,
            Ok(slot) => slot,
            Err(free) => {
                self.tags.take(free, hash);
                free
            }
        };
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = (key, merge);
        }
    }

    #[inline]
    pub(crate) fn get(&self, left: u32, right: u32) -> Option<Merge> {
        let (key, hash) = self.key(left, right);
        let slot = self.find(key, hash).ok()?;
        self.entries.get(slot).map(|entry| entry.1)
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
