//! Decoding one token at a time.

use crate::Tokenizer;
use crate::decode::Position;

/// Turns a stream of token ids into text, holding back the bytes of an unfinished character.
///
/// Whatever the ids, the pieces returned by [`push`](Self::push) and [`finish`](Self::finish), joined together, equal
/// [`Tokenizer::decode`] of all of them: a Korean syllable that is spread over three tokens comes out whole with the
/// third, and U+FFFD stands only for bytes that no later token could complete.
///
/// Special tokens are left out unless [`keep_special`](Self::keep_special) is called.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    position: Position,
    /// Bytes that have not come out yet: at most three after a call.
    pending: Vec<u8>,
    out: String,
}

impl<'a> StreamDecoder<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, position: Position) -> Self {
        Self { tokenizer, skip_special: true, position, pending: Vec::new(), out: String::new() }
    }

    /// Lets special tokens appear as they are spelled.
    #[must_use]
    pub fn keep_special(mut self) -> Self {
        self.skip_special = false;
        self
    }

    /// Takes one token and returns the characters it completed, possibly none.
    pub fn push(&mut self, id: u32) -> &str {
        self.out.clear();
        self.tokenizer.append_bytes(id, self.skip_special, &mut self.position, &mut self.pending);
        let mut done = 0;
        while let Some(rest) = self.pending.get(done..).filter(|rest| !rest.is_empty()) {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.out.push_str(text);
                    done += text.len();
                }
                Err(error) => {
                    let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
                    self.out.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    done += valid.len();
                    // No length means that the bytes may yet become a character.
                    let Some(broken) = error.error_len() else { break };
                    self.out.push(char::REPLACEMENT_CHARACTER);
                    done += broken;
                }
            }
        }
        self.pending.drain(..done);
        &self.out
    }

    /// Whether bytes of an unfinished character are held back.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Ends the stream: bytes that never became a character are replaced by U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}
