//! SentencePiece's byte-pair encoding: no list of merges; neighbours merge when the vocabulary has their joint
//! spelling, the token of highest score first.

use std::sync::Arc;

use super::bpe::Whole;
use super::merge::{Pairs, Symbols};
use crate::hash::{Merge, NONE, StringIndex, Strings};

/// A byte-pair encoder with scores.
#[derive(Debug)]
pub(crate) struct Scored {
    whole: Whole,
    /// Rank of each token: the higher its score, the lower.
    ranks: Vec<u32>,
    /// Token for each byte of a character that has none; [`NONE`] if missing.
    fallback: Box<[u32; 256]>,
}

/// Maps scores to ranks in reverse order, equal scores to equal ranks. Not for NaN.
fn rank(score: f32) -> u32 {
    // The bits of floats sort like the floats, but for the sign.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

impl Scored {
    /// Takes the vocabulary and a score per token, none of them NaN.
    pub(crate) fn new(strings: Arc<Strings>, index: StringIndex, scores: &[f32], fallback: Box<[u32; 256]>) -> Self {
        Self { whole: Whole::new(strings, index), ranks: scores.iter().map(|&score| rank(score)).collect(), fallback }
    }

    /// Encodes one piece.
    pub(crate) fn encode(&self, piece: &str, symbols: &mut Symbols, ids: &mut Vec<u32>) {
        let bytes = piece.as_bytes();
        self.whole.encode(bytes, symbols, |symbols| {
            for (start, character) in piece.char_indices() {
                let spelling = bytes.get(start..start + character.len_utf8()).unwrap_or_default();
                symbols.push(self.whole.get(spelling).unwrap_or(NONE), start);
            }
            symbols.merge(&Spelled { model: self, piece: bytes }, bytes.len());
        });
        for (at, &id) in symbols.ids.iter().enumerate() {
            if id != NONE {
                ids.push(id);
                continue;
            }
            if let [start, end, ..] = symbols.starts.get(at..).unwrap_or_default() {
                let unknown = bytes.get(*start as usize..*end as usize).unwrap_or_default();
                let tokens = unknown.iter().map(|&byte| self.fallback[usize::from(byte)]);
                ids.extend(tokens.filter(|&id| id != NONE));
            }
        }
    }
}

/// Looks pairs up by the text they cover.
struct Spelled<'a> {
    model: &'a Scored,
    piece: &'a [u8],
}

impl Pairs for Spelled<'_> {
    fn find(&self, _: u32, _: u32, start: u32, end: u32) -> Merge {
        let found = || {
            let id = self.model.whole.get(self.piece.get(start as usize..end as usize)?)?;
            Some(Merge { rank: *self.model.ranks.get(id as usize)?, id })
        };
        found().unwrap_or(Merge::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_reverse_scores() {
        let scores = [f32::INFINITY, 3.5, 1.0, 0.0, -1e-9, -1.0, -1000.0, f32::NEG_INFINITY];
        assert!(scores.map(rank).is_sorted());
        assert_eq!(rank(0.0), rank(-0.0));
        assert!(rank(f32::NEG_INFINITY) < NONE);
    }
}
