//! Tokens that are cut out of a text before anything else happens to it, such as `<|im_start|>`.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::TokenizerError;
use crate::pretokenize::{Classes, WORD};

/// A token that is matched by its spelling.
#[derive(Debug, Clone)]
pub(crate) struct Added {
    pub(crate) id: u32,
    /// What is searched for.
    pub(crate) text: Vec<u8>,
    /// Whether it is matched only when special tokens are to be parsed.
    pub(crate) special: bool,
    /// Whether it may not touch a letter, digit or underscore.
    pub(crate) single_word: bool,
    /// Whether it swallows the white space before it.
    pub(crate) lstrip: bool,
    /// Whether it swallows the white space after it.
    pub(crate) rstrip: bool,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Token(u32),
    /// Text and its place; never empty.
    Text(&'a str, usize),
}

/// Finds added tokens: leftmost first, of those the longest.
#[derive(Debug, Default)]
pub(crate) struct AddedTokens {
    /// All of them.
    all: Option<Finder>,
    /// Those that are not special.
    plain: Option<Finder>,
}

#[derive(Debug)]
struct Finder {
    automaton: AhoCorasick,
    tokens: Vec<Added>,
}

impl Finder {
    fn new(tokens: Vec<Added>) -> Result<Option<Self>, TokenizerError> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // The other kind is faster by a little, and larger by a lot where tokens are long.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(tokens.iter().map(|token| &token.text))
            .map_err(|error| TokenizerError::Invalid { what: "added tokens", reason: error.to_string() })?;
        Ok(Some(Self { automaton, tokens }))
    }
}

impl AddedTokens {
    /// Of equal spellings the first counts. Empty ones are passed over.
    pub(crate) fn new(mut tokens: Vec<Added>) -> Result<Self, TokenizerError> {
        tokens.retain(|token| !token.text.is_empty());
        let plain: Vec<Added> = tokens.iter().filter(|token| !token.special).cloned().collect();
        let plain = if plain.len() == tokens.len() { Vec::new() } else { plain };
        Ok(Self { all: Finder::new(tokens)?, plain: Finder::new(plain)? })
    }

    /// Calls `emit` for the parts of `text` in order.
    pub(crate) fn split<'a>(&self, text: &'a str, parse_special: bool, mut emit: impl FnMut(Part<'a>)) {
        let has_special = || self.all.as_ref().is_some_and(|all| all.tokens.iter().any(|token| token.special));
        let finder = if parse_special || self.plain.is_none() && !has_special() { &self.all } else { &self.plain };
        let mut done = 0;
        if let Some(finder) = finder {
            for found in finder.automaton.find_iter(text) {
                let (mut start, mut end) = (found.start(), found.end());
                let Some(token) = finder.tokens.get(found.pattern().as_usize()) else { continue };
                // Only where the token before swallowed the white space that this one begins with, or where the
                // spelling is not UTF-8 and the match cuts a character.
                let (Some(before), Some(after)) = (text.get(done..start), text.get(end..)) else { continue };
                if token.single_word && (ends_in_word(text, start) || starts_with_word(after)) {
                    continue;
                }
                if token.lstrip {
                    start = done + before.trim_end().len();
                }
                if token.rstrip {
                    end = text.len() - after.trim_start().len();
                }
                if let Some(before) = text.get(done..start).filter(|before| !before.is_empty()) {
                    emit(Part::Text(before, done));
                }
                emit(Part::Token(token.id));
                done = end;
            }
        }
        if let Some(rest) = text.get(done..).filter(|rest| !rest.is_empty()) {
            emit(Part::Text(rest, done));
        }
    }
}

fn is_word(character: Option<char>) -> bool {
    character.is_some_and(|character| Classes::get().of(character as u32) & WORD != 0)
}

fn ends_in_word(text: &str, end: usize) -> bool {
    is_word(text.get(..end).and_then(|before| before.chars().next_back()))
}

fn starts_with_word(text: &str) -> bool {
    is_word(text.chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, text: &str, special: bool) -> Added {
        let text = text.as_bytes().to_vec();
        Added { id, text, special, single_word: false, lstrip: false, rstrip: false }
    }

    fn parts(tokens: Vec<Added>, text: &str, parse_special: bool) -> String {
        let mut out = String::new();
        AddedTokens::new(tokens).unwrap().split(text, parse_special, |part| match part {
            Part::Token(id) => out.push_str(&format!("[{id}]")),
            Part::Text(text, _) => out.push_str(&format!("({text})")),
        });
        out
    }

    #[test]
    fn the_longest_of_the_leftmost_wins() {
        let tokens = vec![token(1, "<a", false), token(2, "<a>", false), token(3, "a>b", false)];
        assert_eq!(parts(tokens, "x<a>b<a", true), "(x)[2](b)[1]");
    }

    #[test]
    fn special_tokens_are_text_unless_parsed() {
        let tokens = vec![token(1, "<s>", true), token(2, "<u>", false)];
        assert_eq!(parts(tokens.clone(), "<s><u>", true), "[1][2]");
        assert_eq!(parts(tokens, "<s><u>", false), "(<s>)[2]");
        assert_eq!(parts(vec![token(1, "<s>", true)], "<s>", false), "(<s>)");
        assert_eq!(parts(vec![], "", true), "");
    }

    #[test]
    fn stripping_and_whole_words() {
        let strip = |lstrip, rstrip| Added { lstrip, rstrip, ..token(1, "<m>", false) };
        assert_eq!(parts(vec![strip(true, false)], "a \n<m> b", true), "(a)[1]( b)");
        assert_eq!(parts(vec![strip(false, true)], "a <m> \u{3000}b<m>", true), "(a )[1](b)[1]");
        let word = Added { single_word: true, ..token(1, "cat", false) };
        assert_eq!(parts(vec![word], "cat cats 한cat cat.", true), "[1]( cats 한cat )[1](.)");
        let spaces = vec![Added { rstrip: true, lstrip: true, ..token(1, " ", false) }];
        assert_eq!(parts(spaces, "a    b", true), "(a)[1](b)");
    }
}
