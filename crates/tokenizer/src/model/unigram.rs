//! SentencePiece's unigram language model: of all ways to cut a text into tokens, the one with the greatest sum of
//! scores, by Viterbi's algorithm, in time linear in the text.

use crate::hash::{Merge, NONE, PairMap, Strings};

/// What is taken from the least score for a character that has no token.
const UNKNOWN_PENALTY: f64 = 10.0;

/// A unigram encoder.
#[derive(Debug)]
pub(crate) struct Unigram {
    /// Children in the trie of tokens: (node, byte) to node.
    children: PairMap,
    /// Token that ends at each node, or [`NONE`].
    tokens: Vec<u32>,
    scores: Vec<f64>,
    /// [`NONE`] if there is none; unknown characters are dropped then.
    unknown: u32,
    unknown_score: f64,
    unknown_spelling: Vec<u8>,
    /// Whether neighbouring unknown characters stay tokens of their own.
    split_unknown: bool,
    /// Tokens `<0x00>` to `<0xFF>`, if unknown characters fall back to them.
    fallback: Option<Box<[u32; 256]>>,
}

/// The best way to reach a place in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    score: f64,
    start: usize,
    id: u32,
}

const UNREACHED: Step = Step { score: f64::NEG_INFINITY, start: usize::MAX, id: NONE };

impl Unigram {
    /// Takes the tokens with a score; the others take no part.
    pub(crate) fn new(
        strings: &Strings,
        scores: Vec<Option<f64>>,
        least: f64,
        unknown: u32,
        fallback: Option<Box<[u32; 256]>>,
    ) -> Self {
        let mut children = PairMap::with_capacity(strings.len());
        let mut tokens = vec![NONE];
        for id in 0..strings.len() as u32 {
            let Some(spelling) = strings.get(id).filter(|spelling| !spelling.is_empty()) else { continue };
            if scores.get(id as usize).copied().flatten().is_none() {
                continue;
            }
            let mut node = 0;
            for &byte in spelling {
                node = match children.get(node, u32::from(byte)) {
                    Some(child) => child.id,
                    None => {
                        let child = tokens.len() as u32;
                        tokens.push(NONE);
                        children.insert(node, u32::from(byte), Merge { rank: 0, id: child }, false);
                        child
                    }
                };
            }
            if let Some(token) = tokens.get_mut(node as usize) {
                *token = id;
            }
        }
        let scores = scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)).collect();
        let unknown_spelling = strings.get(unknown).unwrap_or_default().to_vec();
        let unknown_score = least - UNKNOWN_PENALTY;
        Self { children, tokens, scores, unknown, unknown_score, unknown_spelling, split_unknown: false, fallback }
    }

    /// Keeps neighbouring unknown characters apart, or not.
    pub(crate) fn with_split_unknown(self, split_unknown: bool) -> Self {
        Self { split_unknown, ..self }
    }

    /// Encodes one piece.
    pub(crate) fn encode(&self, piece: &str, steps: &mut Vec<Step>, ids: &mut Vec<u32>) {
        let bytes = piece.as_bytes();
        steps.clear();
        steps.resize(bytes.len() + 1, UNREACHED);
        if let Some(first) = steps.first_mut() {
            first.score = 0.0;
        }
        for (start, character) in piece.char_indices() {
            let so_far = steps.get(start).map_or(0.0, |step| step.score);
            let mut reach = |end: usize, id: u32, score: f64| {
                if let Some(step) = steps.get_mut(end)
                    && (step.start == usize::MAX || so_far + score > step.score)
                {
                    *step = Step { score: so_far + score, start, id };
                }
            };
            let character_end = start + character.len_utf8();
            let mut known = false;
            let mut node = 0;
            for (end, &byte) in (start + 1..).zip(bytes.get(start..).unwrap_or_default()) {
                let Some(child) = self.children.get(node, u32::from(byte)) else { break };
                node = child.id;
                let id = self.tokens.get(node as usize).copied().unwrap_or(NONE);
                if id != NONE {
                    known |= end == character_end;
                    reach(end, id, self.scores.get(id as usize).copied().unwrap_or_default());
                }
            }
            if !known {
                reach(character_end, self.unknown, self.unknown_score);
            }
        }
        self.backtrack(bytes, steps, ids);
    }

    /// Reads the best path from its end; neighbouring unknown characters become one token unless they are to be split.
    fn backtrack(&self, bytes: &[u8], steps: &[Step], ids: &mut Vec<u32>) {
        let from = ids.len();
        let mut end = bytes.len();
        while end > 0 {
            let Some(step) = steps.get(end).filter(|step| step.start < end) else { break };
            let mut start = step.start;
            if step.id != self.unknown {
                ids.push(step.id);
                end = start;
                continue;
            }
            let joins = |step: &&Step, start: usize| !self.split_unknown && start > 0 && step.id == self.unknown;
            while let Some(earlier) = steps.get(start).filter(|step| joins(step, start)) {
                start = earlier.start;
            }
            let unknown = bytes.get(start..end).unwrap_or_default();
            match &self.fallback {
                _ if unknown == self.unknown_spelling => ids.push(self.unknown),
                Some(fallback) if unknown.iter().all(|&byte| fallback[usize::from(byte)] != NONE) => {
                    ids.extend(unknown.iter().rev().map(|&byte| fallback[usize::from(byte)]));
                }
                _ => ids.extend(Some(self.unknown).filter(|&id| id != NONE)),
            }
            end = start;
        }
        if let Some(new) = ids.get_mut(from..) {
            new.reverse();
        }
    }
}
