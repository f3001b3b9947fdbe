//! Byte-pair encoding with a list of merges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::merge::{Pairs, Symbols};
use crate::hash::{Merge, NONE, PairMap, StringIndex, Strings};
use crate::vocabulary::Vocabulary;
use crate::{TokenizerError, byte_level};

/// What a piece is made of before anything merges.
#[derive(Debug, Clone)]
pub(crate) enum Alphabet {
    /// Bytes, and the token of each; [`NONE`] for a byte that has none.
    Bytes(Box<[u32; 256]>),
    /// Characters.
    Characters(Characters),
}

/// Tokens of single characters and what to do for a character without one.
#[derive(Debug, Clone)]
pub(crate) struct Characters {
    ids: PairMap,
    /// Tokens `<0x00>` to `<0xFF>`, if the model falls back to them.
    fallback: Option<Box<[u32; 256]>>,
    unknown: Option<u32>,
    /// Whether neighbouring unknown characters become one token.
    fuse_unknown: bool,
}

impl Characters {
    /// Collects the tokens of one character among `ids`.
    pub(crate) fn new(
        strings: &Strings,
        ids: impl Iterator<Item = u32>,
        fallback: Option<Box<[u32; 256]>>,
        unknown: Option<u32>,
        fuse_unknown: bool,
    ) -> Self {
        let single = |id: u32| {
            let mut characters = std::str::from_utf8(strings.get(id)?).ok()?.chars();
            let first = characters.next()?;
            characters.next().is_none().then_some((first, id))
        };
        let singles: Vec<(char, u32)> = ids.filter_map(single).collect();
        let mut ids = PairMap::with_capacity(singles.len());
        for (character, id) in singles {
            ids.insert(0, character as u32, Merge { rank: 0, id }, false);
        }
        Self { ids, fallback, unknown, fuse_unknown }
    }

    #[inline]
    fn get(&self, character: char) -> Option<u32> {
        self.ids.get(0, character as u32).map(|found| found.id)
    }

    /// Starts a piece with the tokens of its characters. A character without a token becomes its bytes, or the unknown
    /// token, or, failing that, nothing.
    fn push_all(&self, piece: &str, symbols: &mut Symbols) {
        // An unknown token waits until it is clear whether the next character joins it. Tokens of bytes do not make
        // it leave, so it comes out after them; no sane vocabulary has some of the 256 byte tokens only, but then the
        // order is that of `tokenizers`.
        let mut waiting: Option<usize> = None;
        let unknown = self.unknown.unwrap_or(NONE);
        for (start, character) in piece.char_indices() {
            if let Some(id) = self.get(character) {
                if let Some(start) = waiting.take() {
                    symbols.push(unknown, start);
                }
                symbols.push(id, start);
                continue;
            }
            let bytes = piece.get(start..start + character.len_utf8()).unwrap_or_default().as_bytes();
            if let Some(fallback) = &self.fallback
                && bytes.iter().all(|&byte| fallback[usize::from(byte)] != NONE)
            {
                for (offset, &byte) in bytes.iter().enumerate() {
                    symbols.push(fallback[usize::from(byte)], start + offset);
                }
                continue;
            }
            if self.unknown.is_some() {
                match waiting {
                    Some(_) if self.fuse_unknown => {}
                    Some(earlier) => {
                        symbols.push(unknown, earlier);
                        waiting = Some(start);
                    }
                    None => waiting = Some(start),
                }
            }
        }
        if let Some(start) = waiting {
            symbols.push(unknown, start);
        }
    }
}

/// The vocabulary as whole pieces: a short cut past the merges.
///
/// That a piece is spelled like a token does not mean that merging leads there; whether it does is found out when the
/// piece first comes up, and remembered.
#[derive(Debug)]
pub(crate) struct Whole {
    strings: Arc<Strings>,
    index: StringIndex,
    longest: usize,
    verdicts: Vec<AtomicU8>,
}

const UNTRIED: u8 = 0;
const REACHED: u8 = 1;
const MISSED: u8 = 2;

impl Whole {
    /// Takes the strings that are in `index`.
    pub(crate) fn new(strings: Arc<Strings>, index: StringIndex) -> Self {
        let count = strings.len();
        let longest = (0..count as u32).filter_map(|id| strings.get(id)).map(<[u8]>::len).max().unwrap_or(0);
        Self { strings, index, longest, verdicts: (0..count).map(|_| AtomicU8::new(UNTRIED)).collect() }
    }

    /// Takes those of `ids` that are spelled in the byte-level alphabet, by their bytes.
    pub(crate) fn byte_level(vocabulary: &Vocabulary, ids: impl Iterator<Item = u32>) -> Result<Self, TokenizerError> {
        let count = vocabulary.text.len();
        let mut strings = Strings::with_capacity(count, count * 8);
        let mut index = StringIndex::with_capacity(count);
        let mut bytes = Vec::new();
        for id in ids {
            // Ids that are left out stay empty.
            let gap = std::iter::repeat_n(&[][..], id as usize - strings.len());
            bytes.clear();
            let text = vocabulary.text(id).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
            let spelled = !text.is_empty() && byte_level::unspell(text, &mut bytes);
            if !gap.chain([bytes.as_slice()]).all(|string| strings.push(string)) {
                return Err(TokenizerError::Invalid { what: "tokens", reason: "more than 4 GiB".to_owned() });
            }
            if spelled {
                index.insert(&strings, id);
            }
        }
        Ok(Self::new(Arc::new(strings), index))
    }

    /// The token spelled like the piece.
    #[inline]
    pub(crate) fn get(&self, piece: &[u8]) -> Option<u32> {
        if piece.len() > self.longest { None } else { self.index.get(&self.strings, piece) }
    }

    /// The token of the piece if it is known that merging leads to it; `Err` with the token if that is not known.
    fn settled(&self, piece: &[u8]) -> Result<Option<u32>, u32> {
        let Some(id) = self.get(piece) else { return Ok(None) };
        match self.verdicts.get(id as usize).map(|verdict| verdict.load(Ordering::Relaxed)) {
            Some(REACHED) => Ok(Some(id)),
            Some(UNTRIED) => Err(id),
            _ => Ok(None),
        }
    }

    /// Encodes a piece by the short cut, or by `merge`, which leaves its tokens in the symbols.
    pub(crate) fn encode(&self, piece: &[u8], symbols: &mut Symbols, merge: impl FnOnce(&mut Symbols)) {
        symbols.clear();
        match self.settled(piece) {
            Ok(Some(id)) => symbols.push(id, 0),
            Ok(None) => merge(symbols),
            Err(id) => {
                merge(symbols);
                if let Some(verdict) = self.verdicts.get(id as usize) {
                    let reached = symbols.ids.as_slice() == [id];
                    verdict.store(if reached { REACHED } else { MISSED }, Ordering::Relaxed);
                }
            }
        }
    }
}

/// A byte-pair encoder.
#[derive(Debug)]
pub(crate) struct Bpe {
    alphabet: Alphabet,
    pairs: PairMap,
    /// Merges of two bytes, at `first * 256 + second`; empty if the alphabet is characters. Every merge of a piece
    /// begins with bytes, and this table answers faster.
    byte_pairs: Vec<Merge>,
    whole: Whole,
    /// Whether a piece that is in the vocabulary is its token even if merging would not lead there.
    ignore_merges: bool,
}

impl Bpe {
    pub(crate) fn new(alphabet: Alphabet, pairs: PairMap, whole: Whole, ignore_merges: bool) -> Self {
        let byte_pairs = match &alphabet {
            Alphabet::Bytes(ids) => ids
                .iter()
                .flat_map(|&left| ids.iter().map(move |&right| (left, right)))
                .map(|(left, right)| pairs.get(left, right).unwrap_or(Merge::NEVER))
                .collect(),
            Alphabet::Characters(_) => Vec::new(),
        };
        Self { alphabet, pairs, byte_pairs, whole, ignore_merges }
    }

    /// Whether pieces are sequences of bytes.
    pub(crate) fn is_byte_level(&self) -> bool {
        matches!(self.alphabet, Alphabet::Bytes(_))
    }

    /// Encodes one piece.
    pub(crate) fn encode(&self, piece: &str, symbols: &mut Symbols, ids: &mut Vec<u32>) {
        let bytes = piece.as_bytes();
        if self.ignore_merges
            && let Some(id) = self.whole.get(bytes)
        {
            ids.push(id);
            return;
        }
        self.whole.encode(bytes, symbols, |symbols| match &self.alphabet {
            Alphabet::Bytes(table) => {
                for (start, &byte) in bytes.iter().enumerate() {
                    symbols.push(table[usize::from(byte)], start);
                }
                symbols.merge(&BytePairs { bpe: self, piece: bytes }, bytes.len());
            }
            Alphabet::Characters(characters) => {
                characters.push_all(piece, symbols);
                symbols.merge(self, bytes.len());
            }
        });
        ids.extend(symbols.ids.iter().filter(|&&id| id != NONE));
    }
}

impl Pairs for Bpe {
    #[inline]
    fn find(&self, left: u32, right: u32, _: u32, _: u32) -> Merge {
        self.pairs.get(left, right).unwrap_or(Merge::NEVER)
    }
}

/// The merges of a piece of bytes.
struct BytePairs<'a> {
    bpe: &'a Bpe,
    piece: &'a [u8],
}

impl Pairs for BytePairs<'_> {
    #[inline]
    fn find(&self, left: u32, right: u32, start: u32, end: u32) -> Merge {
        self.bpe.find(left, right, start, end)
    }

    #[inline]
    fn find_first(&self, _: u32, _: u32, start: u32, _: u32) -> Merge {
        match self.piece.get(start as usize..start as usize + 2) {
            Some(&[left, right]) => {
                self.bpe.byte_pairs.get(usize::from(left) << 8 | usize::from(right)).copied().unwrap_or(Merge::NEVER)
            }
            _ => Merge::NEVER,
        }
    }
}
