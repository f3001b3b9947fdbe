//! From tokens to text: whole characters only, stop strings cut, each token released with the text it made.

use std::collections::VecDeque;

use crate::output::TokenOutput;
use crate::stop::StopMatcher;

/// Turns bytes into characters and keeps the beginning of an unfinished one for later, and that of a Hangul syllable
/// spelt in conjoining jamo.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// At most nine bytes: a leading consonant, a vowel, and three bytes of a character.
    unfinished: Vec<u8>,
}

/// Bytes at the end of a text that may be the beginning of a syllable: a leading consonant, or one with a vowel, which a
/// trailing consonant may follow (The Unicode Standard, section 3.12).
fn open_syllable(text: &str) -> usize {
    let is_leading = |letter: &char| ('\u{1100}'..='\u{115f}').contains(letter);
    let mut letters = text.chars().rev();
    match letters.next() {
        Some(letter) if is_leading(&letter) => letter.len_utf8(),
        Some(letter @ '\u{1160}'..='\u{11a7}') => {
            letter.len_utf8() + letters.next().filter(is_leading).map_or(0, char::len_utf8)
        }
        _ => 0,
    }
}

impl Utf8Stream {
    /// Appends to `out` the characters that `bytes` complete. Bytes that can never be part of a character become
    /// U+FFFD.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.unfinished.extend_from_slice(bytes);
        let begin = out.len();
        let mut kept = 0;
        for chunk in self.unfinished.utf8_chunks() {
            out.push_str(chunk.valid());
            kept += chunk.valid().len();
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            // `error_len` is `None` for exactly those bytes which more bytes could complete.
            let last = kept + invalid.len() == self.unfinished.len();
            if last && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) {
                break;
            }
            out.push(char::REPLACEMENT_CHARACTER);
            kept += invalid.len();
        }
        // What is open ends where the bytes that are kept begin.
        let open = open_syllable(out.get(begin..).unwrap_or_default());
        out.truncate(out.len() - open);
        self.unfinished.drain(..kept - open);
    }

    /// Ends the text: a character that was never finished becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&String::from_utf8_lossy(&self.unfinished));
        self.unfinished.clear();
    }
}

/// A token that waits for its text to be released, and where that text lies.
#[derive(Clone, Debug)]
struct Waiting {
    token: TokenOutput,
    start: usize,
    end: usize,
}

/// The output text of one sequence while it grows.
///
/// Tokens whose text is held back, because it may begin a stop string, are held back with it; tokens that lie wholly
/// inside a stop string are dropped with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextStream {
    characters: Utf8Stream,
    matcher: StopMatcher,
    waiting: VecDeque<Waiting>,
    /// Bytes of text that were decoded, and that were released.
    decoded: usize,
    released: usize,
    /// What the next event carries.
    pub(crate) text: String,
    pub(crate) tokens: Vec<TokenOutput>,
    /// Reused between calls.
    piece: String,
}

impl TextStream {
    pub(crate) fn new(matcher: StopMatcher) -> Self {
        Self { matcher, ..Self::default() }
    }

    /// Takes a token; `visible` is false for control tokens, which have no text. Returns whether a stop string is now
    /// complete. `text` and `tokens` hold what may be shown; the caller empties them by [`Self::clear`].
    pub(crate) fn push(&mut self, token: TokenOutput, visible: bool) -> bool {
        self.piece.clear();
        if visible {
            self.characters.push(&token.bytes, &mut self.piece);
        }
        let start = self.decoded;
        self.decoded += self.piece.len();
        self.waiting.push_back(Waiting { token, start, end: self.decoded });
        let before = self.text.len();
        let stopped = self.matcher.push(&self.piece, &mut self.text);
        self.released += self.text.len() - before;
        self.release(stopped);
        stopped
    }

    /// Releases everything that was held back.
    pub(crate) fn finish(&mut self) {
        self.piece.clear();
        self.characters.finish(&mut self.piece);
        self.decoded += self.piece.len();
        let before = self.text.len();
        // The replacement character may itself complete a stop string.
        if !self.matcher.push(&self.piece, &mut self.text) {
            self.matcher.finish(&mut self.text);
        }
        self.released += self.text.len() - before;
        self.release(true);
    }

    /// Forgets what an event has carried away.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.tokens.clear();
    }

    fn release(&mut self, is_end: bool) {
        while let Some(first) = self.waiting.front() {
            // At the end a token counts when any of its text does, or when it has none but stands before the end.
            let out = first.end <= self.released || (is_end && first.start < self.released);
            if !out {
                break;
            }
            self.tokens.extend(self.waiting.pop_front().map(|waiting| waiting.token));
        }
        if is_end {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(id: u32, bytes: &[u8]) -> TokenOutput {
        TokenOutput { token: id, bytes: bytes.into(), logprobs: None }
    }

    proptest! {
        /// Whatever the cuts, the text is what decoding all bytes at once gives, and no piece ends inside a character.
        #[test]
        fn cuts_do_not_matter(pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..5),
            "[a가🥰]{0,3}".prop_map(String::into_bytes),
            "[가힣🥰]".prop_map(|text| text.as_bytes()[..2].to_vec()),
            "[\u{1100}\u{1161}\u{11a8}]{0,3}".prop_map(String::into_bytes),
        ], 0..20)) {
            let mut stream = Utf8Stream::default();
            let mut out = String::new();
            for piece in &pieces {
                stream.push(piece, &mut out);
                prop_assert!(stream.unfinished.len() <= 9);
            }
            stream.finish(&mut out);
            prop_assert_eq!(out, String::from_utf8_lossy(&pieces.concat()).into_owned());
        }
    }

    #[test]
    fn a_syllable_in_two_tokens_comes_out_whole() {
        let mut stream = TextStream::new(StopMatcher::default());
        let bytes = "샘".as_bytes();
        stream.push(token(1, &bytes[..2]), true);
        assert_eq!((stream.text.as_str(), stream.tokens.len()), ("", 1));
        stream.push(token(2, &bytes[2..]), true);
        assert_eq!((stream.text.as_str(), stream.tokens.len()), ("샘", 2));
    }

    #[test]
    fn a_syllable_of_jamo_comes_out_whole() {
        let mut stream = TextStream::new(StopMatcher::default());
        for (id, jamo) in ["\u{1109}", "\u{1162}", "\u{11b7}"].iter().enumerate() {
            assert_eq!(stream.text, "");
            stream.push(token(id as u32, jamo.as_bytes()), true);
        }
        assert_eq!(stream.text, "\u{1109}\u{1162}\u{11b7}");
        // One that stays open is complete when the next one begins, or at the end.
        stream.push(token(3, "\u{1100}\u{1161}\u{1102}".as_bytes()), true);
        assert_eq!(stream.text, "\u{1109}\u{1162}\u{11b7}\u{1100}\u{1161}");
        stream.finish();
        assert_eq!(stream.text, "\u{1109}\u{1162}\u{11b7}\u{1100}\u{1161}\u{1102}");
    }

    #[test]
    fn tokens_inside_a_stop_string_go_with_it() {
        let mut stream = TextStream::new(StopMatcher::new(&["###".into()]).unwrap());
        assert!(!stream.push(token(1, b"ok"), true));
        assert!(!stream.push(token(2, b"!#"), true));
        assert_eq!((stream.text.as_str(), stream.tokens.len()), ("ok!", 1));
        assert!(!stream.push(token(3, b"#"), true));
        assert!(stream.push(token(4, b"# and"), true));
        assert_eq!(stream.text, "ok!");
        let ids: Vec<u32> = stream.tokens.iter().map(|token| token.token).collect();
        assert_eq!(ids, [1, 2], "token 2 has text before the stop string, 3 and 4 have none");
    }

    #[test]
    fn the_end_releases_what_was_held() {
        let mut stream = TextStream::new(StopMatcher::new(&["끝입니다".into()]).unwrap());
        stream.push(token(1, "끝입".as_bytes()), true);
        stream.push(token(2, &"니".as_bytes()[..1]), true);
        stream.push(token(3, b"<|im_end|>"), false);
        assert_eq!(stream.text, "");
        stream.finish();
        assert_eq!((stream.text.as_str(), stream.tokens.len()), ("끝입\u{fffd}", 3));
    }
}
