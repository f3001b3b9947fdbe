//! The public face: load, encode, decode.

use crate::{Parts, StreamDecoder, TokenizerError};

/// A tokenizer: immutable, shared freely between threads.
#[derive(Debug)]
pub struct Tokenizer {
    bos: Option<u32>,
}

impl Tokenizer {
    /// Builds a tokenizer from the `tokenizer.ggml.*` keys of a GGUF file.
    pub fn from_parts(parts: Parts) -> Result<Self, TokenizerError> {
        Ok(Self { bos: parts.bos })
    }

    /// Builds a tokenizer from the bytes of `tokenizer.json` and, where there is one, `tokenizer_config.json`.
    pub fn from_json(_tokenizer: &[u8], _config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        Err(TokenizerError::EmptyVocabulary)
    }

    /// The token ids of `text`. `add_special` adds the tokens a model expects around a text (such as `<bos>`);
    /// `parse_special` lets the spelling of control tokens inside `text` stand for those tokens, so it must be off
    /// for text from an untrusted source.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, add_special, parse_special, &mut ids);
        ids
    }

    /// As [`encode`](Self::encode), appending to `ids`.
    pub fn encode_into(&self, _text: &str, _add_special: bool, _parse_special: bool, _ids: &mut Vec<u32>) {}

    /// The text of `ids`; bytes that form no character become U+FFFD. Unknown ids are passed over.
    pub fn decode(&self, _ids: &[u32], _skip_special: bool) -> String {
        String::new()
    }

    /// A decoder for ids that arrive one by one, at the start of a text.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// A decoder for ids that continue a text (a completion of a prompt), so that a leading space is kept.
    pub fn stream_continuation(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// The bytes a token stands for, as they appear in decoded text. `None` for an unknown id.
    pub fn token_bytes(&self, _id: u32) -> Option<&[u8]> {
        None
    }

    /// The spelling of a token in the vocabulary, such as `Ġthe`.
    pub fn token_text(&self, _id: u32) -> Option<String> {
        None
    }

    /// The id of the token with this spelling in the vocabulary.
    pub fn token_id(&self, _token: &str) -> Option<u32> {
        None
    }

    /// One more than the greatest id.
    pub fn vocabulary_len(&self) -> usize {
        0
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        None
    }

    /// The token that ends a turn of a chat.
    pub fn eot(&self) -> Option<u32> {
        None
    }

    /// The token that pads a batch.
    pub fn pad(&self) -> Option<u32> {
        None
    }

    /// Whether a token is a control token (`<|im_start|>`, `<bos>`), never part of ordinary text.
    pub fn is_special(&self, _id: u32) -> bool {
        false
    }

    /// Whether `encode` with `add_special` begins with [`bos`](Self::bos).
    pub fn adds_bos(&self) -> bool {
        false
    }
}
