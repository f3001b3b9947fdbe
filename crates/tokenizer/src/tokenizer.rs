//! The public face: load, encode, decode.

use std::cell::RefCell;
use std::fmt;

use crate::added::{AddedTokens, Part};
use crate::decode::{Joining, Position};
use crate::model::{Model, Scratch};
use crate::normalize::Normalizer;
use crate::pretokenize::PreTokenizer;
use crate::vocabulary::{Kind, Vocabulary};
use crate::{Parts, StreamDecoder, TokenizerError, gguf, json};

/// A tokenizer: immutable, shared freely between threads.
pub struct Tokenizer {
    pub(crate) vocabulary: Vocabulary,
    /// Tokens that are found in the text as it came.
    pub(crate) added: AddedTokens,
    pub(crate) normalizers: Vec<Normalizer>,
    /// Tokens that are found in the normalised text.
    pub(crate) added_normalized: AddedTokens,
    pub(crate) pre_tokenizer: PreTokenizer,
    pub(crate) model: Model,
    pub(crate) joining: Joining,
    /// Tokens that `add_special` puts before a text, and after it.
    pub(crate) around: (Vec<u32>, Vec<u32>),
    pub(crate) named: Named,
}

/// Tokens with a role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) eot: Option<u32>,
    pub(crate) pad: Option<u32>,
    pub(crate) unk: Option<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Tokenizer {
    /// Builds a tokenizer from the `tokenizer.ggml.*` keys of a GGUF file.
    pub fn from_parts(parts: Parts<'_>) -> Result<Self, TokenizerError> {
        gguf::load(parts)
    }

    /// Builds a tokenizer from the bytes of `tokenizer.json` and, where there is one, of `tokenizer_config.json`, which
    /// tells which tokens begin and end a text.
    pub fn from_json(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Self, TokenizerError> {
        json::load(tokenizer, config)
    }

    /// Builds a tokenizer from the bytes of a SentencePiece model file (`sp.model`, `tokenizer.model`) of the unigram
    /// kind. `add_special` then adds the begin and end tokens that the file names.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`] with the offset of the damage, [`TokenizerError::Unsupported`] for the other kinds,
    /// and those of [`from_parts`](Self::from_parts).
    pub fn from_sentencepiece(model: &[u8]) -> Result<Self, TokenizerError> {
        gguf::load(Parts::from_sentencepiece(model)?)
    }

    /// The token ids of `text`.
    ///
    /// `add_special` adds the tokens a model expects around a text (such as `<bos>`). `parse_special` lets the
    /// spelling of control tokens inside `text` stand for those tokens, so it must be off for text from an untrusted
    /// source. Tokens that a file adds without calling them special are always recognised.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        self.encode_into(text, add_special, parse_special, &mut ids);
        ids
    }

    /// As [`encode`](Self::encode), appending to `ids`.
    pub fn encode_into(&self, text: &str, add_special: bool, parse_special: bool, ids: &mut Vec<u32>) {
        if add_special {
            ids.extend_from_slice(&self.around.0);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            self.added.split(text, parse_special, |part| match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text, at) => {
                    let text = Normalizer::apply_all(&self.normalizers, text);
                    self.added_normalized.split(&text, parse_special, |part| match part {
                        Part::Token(id) => ids.push(id),
                        Part::Text(text, offset) => {
                            self.pre_tokenizer.run(text, at == 0 && offset == 0, &mut |text, start, end| {
                                self.model.encode(text, start, end, scratch, ids);
                            });
                        }
                    });
                }
            });
        });
        if add_special {
            ids.extend_from_slice(&self.around.1);
        }
    }

    /// The text of `ids`; bytes that form no character become U+FFFD. Ids that no token has are passed over.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        let mut position = self.joining.start();
        for &id in ids {
            self.append_bytes(id, skip_special, &mut position, &mut bytes);
        }
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// Appends what one token adds to a text.
    pub(crate) fn append_bytes(&self, id: u32, skip_special: bool, position: &mut Position, out: &mut Vec<u8>) {
        self.joining.append(&self.vocabulary, id, skip_special, position, out);
    }

    /// A decoder for ids that arrive one by one, at the start of a text.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self, self.joining.start())
    }

    /// A decoder for ids that continue a text, such as the completion of a prompt: a leading space is part of it.
    pub fn stream_continuation(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self, self.joining.middle())
    }

    /// The bytes a token stands for, as they appear within decoded text; for a special token its spelling. `None` for
    /// an id that no token has.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// The spelling of a token in the vocabulary, such as `Ġthe`.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.vocabulary.text(id).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// The id of the token with this spelling in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.vocabulary.find(token)
    }

    /// One more than the greatest id.
    pub fn vocabulary_len(&self) -> usize {
        self.vocabulary.kinds.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.named.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.named.eos
    }

    /// The token that ends a turn of a chat, as named by the file or, failing that, recognised by its spelling.
    pub fn eot(&self) -> Option<u32> {
        self.named.eot
    }

    /// The token that pads a batch.
    pub fn pad(&self) -> Option<u32> {
        self.named.pad
    }

    /// The token for what the vocabulary cannot spell.
    pub fn unk(&self) -> Option<u32> {
        self.named.unk
    }

    /// Whether a token is a control token (`<|im_start|>`, `<bos>`), never part of ordinary text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id) == Kind::Special
    }

    /// Whether `encode` with `add_special` begins with [`bos`](Self::bos).
    pub fn adds_bos(&self) -> bool {
        self.named.bos.is_some() && self.around.0.first() == self.named.bos.as_ref()
    }

    /// Whether `encode` with `add_special` ends with [`eos`](Self::eos).
    pub fn adds_eos(&self) -> bool {
        self.named.eos.is_some() && self.around.1.last() == self.named.eos.as_ref()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("tokens", &self.vocabulary_len())
            .field("named", &self.named)
            .field("byte_level", &self.model.is_byte_level())
            .finish_non_exhaustive()
    }
}
