//! The tokens of pieces seen lately.
//!
//! Words repeat, so most pieces of a text were encoded a moment ago. The cache is a direct-mapped table of entries of
//! one cache line each, one table per thread, hence no locks; entries carry the number of the tokenizer they belong
//! to, so all tokenizers of a process share it. Its size follows the demand, up to 4 MiB per thread.

use crate::hash::mix;

/// The longest piece that is kept, in bytes.
const LONGEST: usize = 24;
/// The most tokens that are kept for one piece.
const TOKENS: usize = 8;
const SMALLEST: usize = 1 << 8;
const LARGEST: usize = 1 << 16;

/// A piece of at most [`LONGEST`] bytes as three numbers, zeros after its end, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    words: [u64; 3],
    length: u8,
}

/// For each length, what to keep of the 24 bytes from the start of a piece.
const MASKS: [[u64; 3]; LONGEST + 1] = {
    let mut masks = [[0; 3]; LONGEST + 1];
    let mut length = 0;
    while length <= LONGEST {
        let mut byte = 0;
        while byte < length {
            masks[length][byte / 8] |= 0xFF << (byte % 8 * 8);
            byte += 1;
        }
        length += 1;
    }
    masks
};

impl Key {
    /// The key of `bytes[start..end]`, if that is short enough.
    #[inline]
    pub(crate) fn new(bytes: &[u8], start: usize, end: usize) -> Option<Self> {
        let length = end.checked_sub(start)?;
        let mask = MASKS.get(length)?;
        let mut padded = [0; LONGEST];
        // Reading past the piece and masking has no branches that depend on its length.
        let window = match bytes.get(start..start + LONGEST) {
            Some(window) => window,
            None => {
                padded.get_mut(..length)?.copy_from_slice(bytes.get(start..end)?);
                &padded
            }
        };
        let (chunks, _) = window.as_chunks::<8>();
        let word = |at: usize| chunks.get(at).map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let words = [word(0) & mask[0], word(1) & mask[1], word(2) & mask[2]];
        Some(Self { words, length: length as u8 })
    }

    #[inline]
    fn hash(&self) -> usize {
        let [a, b, c] = self.words;
        let first = mix(a ^ 0xA076_1D64_78BD_642F, b ^ 0xE703_7ED1_A0B4_28DB);
        mix(first ^ c, 0x8EBC_6AF0_9C88_C6E3 ^ u64::from(self.length)) as usize
    }
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Entry {
    words: [u64; 3],
    /// Number of the tokenizer; 0 for a free entry.
    owner: u32,
    length: u8,
    count: u8,
    ids: [u32; TOKENS],
}

const FREE: Entry = Entry { words: [0; 3], owner: 0, length: 0, count: 0, ids: [0; TOKENS] };

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    entries: Vec<Entry>,
    stored: usize,
}

impl PieceCache {
    /// Appends the tokens of a piece to `ids` if they are known.
    #[inline]
    pub(crate) fn get(&self, owner: u32, key: &Key, ids: &mut Vec<u32>) -> bool {
        let Some(entry) = self.entries.get(key.hash() & self.entries.len().wrapping_sub(1)) else { return false };
        if entry.owner != owner || entry.words != key.words || entry.length != key.length {
            return false;
        }
        if entry.count == 1 {
            ids.push(entry.ids[0]);
        } else {
            ids.extend_from_slice(entry.ids.get(..usize::from(entry.count)).unwrap_or_default());
        }
        true
    }

    /// Remembers the tokens of a piece.
    pub(crate) fn put(&mut self, owner: u32, key: Key, ids: &[u32]) {
        if ids.len() > TOKENS {
            return;
        }
        if self.stored >= self.entries.len() && self.entries.len() < LARGEST {
            self.grow();
        }
        self.stored += 1;
        let (words, length, count) = (key.words, key.length, ids.len() as u8);
        let mut entry = Entry { words, owner, length, count, ids: [0; TOKENS] };
        entry.ids.iter_mut().zip(ids).for_each(|(slot, &id)| *slot = id);
        self.place(entry);
    }

    fn place(&mut self, entry: Entry) {
        let slot = Key { words: entry.words, length: entry.length }.hash() & self.entries.len().wrapping_sub(1);
        if let Some(slot) = self.entries.get_mut(slot) {
            *slot = entry;
        }
    }

    fn grow(&mut self) {
        let size = (self.entries.len() * 4).clamp(SMALLEST, LARGEST);
        let old = std::mem::replace(&mut self.entries, vec![FREE; size]);
        self.stored = 0;
        for entry in old.into_iter().filter(|entry| entry.owner != 0) {
            self.stored += 1;
            self.place(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_depend_on_what_follows() {
        let long = b"abcdefghijklmnopqrstuvwxyz0123456789";
        for end in 0..=LONGEST {
            assert_eq!(Key::new(long, 0, end), Key::new(&long[..end], 0, end));
        }
        assert_eq!(Key::new(long, 0, LONGEST + 1), None);
        assert_ne!(Key::new(b"a", 0, 1), Key::new(b"a\0", 0, 2));
    }

    #[test]
    fn pieces_come_back_to_their_owner_only() {
        let mut cache = PieceCache::default();
        let mut ids = Vec::new();
        let key = |number: u32| Key::new(&number.to_le_bytes(), 0, 4).unwrap();
        assert!(!cache.get(1, &key(1), &mut ids));
        for number in 0..5000 {
            cache.put(1, key(number), &[number, 7]);
        }
        let hits = (0..5000).filter(|&number| cache.get(1, &key(number), &mut ids)).count();
        assert!(hits > 2000, "{hits}");
        assert!(ids.chunks(2).all(|pair| pair[1] == 7));
        assert!((0..5000).all(|number| !cache.get(2, &key(number), &mut ids)));
        cache.put(1, key(0), &[0; TOKENS + 1]);
        assert_eq!(size_of::<Entry>(), 64);
    }
}
