//! From pieces to tokens.

mod bpe;
mod cache;
mod merge;
mod scored;
mod seams;
mod unigram;

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use bpe::{Alphabet, Bpe, Characters, Whole};
use cache::{Key, PieceCache};
use merge::Symbols;
pub(crate) use scored::Scored;
pub(crate) use seams::Seams;
pub(crate) use unigram::Unigram;

/// The algorithm and its tables.
#[derive(Debug)]
pub(crate) enum Algorithm {
    Bpe(Bpe),
    Scored(Scored),
    Unigram(Unigram),
}

/// Buffers that live from call to call, one set per thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    cache: PieceCache,
    symbols: Symbols,
    steps: Vec<unigram::Step>,
}

/// Pieces of more bytes leave no buffers behind.
const LARGE: usize = 1 << 16;

/// Encodes pieces.
#[derive(Debug)]
pub(crate) struct Model {
    algorithm: Algorithm,
    /// Where a piece can be cut further without changing its tokens.
    seams: Seams,
    /// Marks the entries of this model in the caches of all threads; never 0.
    owner: u32,
}

impl Model {
    pub(crate) fn new(algorithm: Algorithm, seams: Seams) -> Self {
        static MODELS: AtomicU32 = AtomicU32::new(1);
        Self { algorithm, seams, owner: MODELS.fetch_add(1, Ordering::Relaxed).max(1) }
    }

    /// Whether the pieces are bytes, so that spaces and line breaks stand for themselves.
    pub(crate) fn is_byte_level(&self) -> bool {
        matches!(&self.algorithm, Algorithm::Bpe(bpe) if bpe.is_byte_level())
    }

    /// Appends the tokens of `text[start..end]` to `ids`.
    #[inline]
    pub(crate) fn encode(&self, text: &str, start: usize, end: usize, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if self.seams.is_empty() {
            self.encode_cached(text, start, end, scratch, ids);
        } else {
            self.seams.cut(text, start, end, |start, end| self.encode_cached(text, start, end, scratch, ids));
        }
    }

    #[inline]
    fn encode_cached(&self, text: &str, start: usize, end: usize, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let key = Key::new(text.as_bytes(), start, end);
        if let Some(key) = &key
            && scratch.cache.get(self.owner, key, ids)
        {
            return;
        }
        self.encode_new(text, start, end, key, scratch, ids);
    }

    #[inline(never)]
    fn encode_new(
        &self,
        text: &str,
        start: usize,
        end: usize,
        key: Option<Key>,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) {
        let Some(piece) = text.get(start..end) else { return };
        let before = ids.len();
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(piece, &mut scratch.symbols, ids),
            Algorithm::Scored(scored) => scored.encode(piece, &mut scratch.symbols, ids),
            Algorithm::Unigram(unigram) => unigram.encode(piece, &mut scratch.steps, ids),
        }
        if piece.len() > LARGE {
            // Buffers for the occasional huge piece are not kept.
            scratch.symbols = Symbols::default();
            scratch.steps = Vec::new();
        }
        if let (Some(key), Some(new)) = (key, ids.get(before..)) {
            scratch.cache.put(self.owner, key, new);
        }
    }
}
