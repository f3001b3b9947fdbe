//! Cutting where no token can reach across.
//!
//! SentencePiece models have no pre-tokeniser: a whole text is one piece. But their tokens carry the space in front, as
//! `▁word`, and hardly any has a space elsewhere. So before a `▁` that follows a character which no token has before a
//! `▁`, the text can be cut, and the tokens stay the same: merging never joins the two sides. That turns one piece of
//! a megabyte into words, which are short and repeat.

use crate::hash::Strings;

/// The character that stands for a space, and what precedes it within tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seams {
    /// Spelling of the character that stands for a space; empty if there are no seams.
    space: String,
    /// Characters that some token has in front of it, sorted.
    joined: Vec<char>,
}

impl Seams {
    /// No seams.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The seams of a vocabulary. It must have `space` as a token, lest unknown characters fuse across.
    pub(crate) fn new(space: char, strings: &Strings) -> Self {
        let mut joined = Vec::new();
        let mut present = false;
        for id in 0..strings.len() as u32 {
            let Some(Ok(spelling)) = strings.get(id).map(std::str::from_utf8) else { continue };
            let mut previous = space;
            let mut count = 0;
            for character in spelling.chars() {
                if character == space && previous != space {
                    joined.push(previous);
                }
                previous = character;
                count += 1;
            }
            present |= count == 1 && previous == space;
        }
        joined.sort_unstable();
        joined.dedup();
        if present { Self { space: space.to_string(), joined } } else { Self::none() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.space.is_empty()
    }

    /// Calls `emit(start, end)` for the parts of `text[start..end]`.
    pub(crate) fn cut(&self, text: &str, start: usize, end: usize, mut emit: impl FnMut(usize, usize)) {
        let Some(piece) = text.get(start..end) else { return };
        let mut from = 0;
        for (at, _) in piece.match_indices(self.space.as_str()) {
            if at == from {
                continue;
            }
            let before = piece.get(..at).and_then(|before| before.chars().next_back());
            let seam = before
                .is_some_and(|before| !self.space.starts_with(before) && self.joined.binary_search(&before).is_err());
            if seam {
                emit(start + from, start + at);
                from = at;
            }
        }
        if start + from < end {
            emit(start + from, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_before_spaces_that_no_token_joins() {
        let mut strings = Strings::default();
        for token in ["▁", "▁▁", "▁a", "b", ">▁</"] {
            assert!(strings.push(token.as_bytes()));
        }
        let seams = Seams::new('▁', &strings);
        let mut parts = Vec::new();
        let text = "x▁▁a▁b>▁c▁";
        seams.cut(text, 1, text.len(), |start, end| parts.push(&text[start..end]));
        assert_eq!(parts, ["▁▁a", "▁b>▁c", "▁"]);
        assert!(Seams::new('_', &strings).is_empty());
    }
}
