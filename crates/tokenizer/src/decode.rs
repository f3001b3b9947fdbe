//! From tokens back to bytes.
//!
//! What a token adds to a text hardly depends on its neighbours, so it is worked out once, at load time; what is left
//! are rules for the start of a text, where SentencePiece put a space that nobody wrote.

use crate::vocabulary::{Kind, Vocabulary};

/// What happens at the start of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing.
    Plain,
    /// Up to `count` times `text` is taken away.
    Strip { text: String, count: usize },
    /// The first token loses all `character`s, which stand for spaces.
    StripFirst { character: char },
}

/// How the bytes of tokens become one text.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    pub(crate) opening: Opening,
    /// Whether tokens are words, with a space between.
    pub(crate) spaced: bool,
}

/// The place in a text up to which tokens were decoded.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    first: bool,
    /// How many times more the opening may be stripped.
    strip: usize,
}

impl Joining {
    /// The start of a text.
    pub(crate) fn start(&self) -> Position {
        let strip = if let Opening::Strip { count, .. } = &self.opening { *count } else { 0 };
        Position { first: true, strip }
    }

    /// Somewhere within a text.
    pub(crate) fn middle(&self) -> Position {
        Position { first: false, strip: 0 }
    }

    /// Appends the bytes of one token.
    pub(crate) fn append(
        &self,
        vocabulary: &Vocabulary,
        id: u32,
        skip_special: bool,
        position: &mut Position,
        out: &mut Vec<u8>,
    ) {
        let Some(mut bytes) = vocabulary.bytes(id) else { return };
        if skip_special && vocabulary.kind(id) == Kind::Special {
            return;
        }
        let first = std::mem::replace(&mut position.first, false);
        if self.spaced && !first {
            out.push(b' ');
        }
        match &self.opening {
            Opening::StripFirst { character } if first => {
                let spelling = String::from_utf8_lossy(vocabulary.text(id).unwrap_or_default());
                out.extend_from_slice(spelling.replace(*character, "").as_bytes());
                return;
            }
            Opening::Strip { text, .. } if position.strip > 0 && !text.is_empty() => {
                while let Some(rest) = bytes.strip_prefix(text.as_bytes()).filter(|_| position.strip > 0) {
                    bytes = rest;
                    position.strip -= 1;
                }
                if !bytes.is_empty() {
                    position.strip = 0;
                }
            }
            _ => {}
        }
        out.extend_from_slice(bytes);
    }
}
