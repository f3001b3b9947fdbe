//! The ingredients of a tokenizer as a GGUF file stores them.

use std::borrow::Cow;

/// Which algorithm turns a piece of text into tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ModelKind {
    /// Byte-level BPE with a list of merges (`tokenizer.ggml.model` = `gpt2`).
    #[default]
    Bpe,
    /// SentencePiece BPE, where the score of a token is its priority (`llama`).
    SentencePieceBpe,
    /// SentencePiece unigram language model (`t5`).
    Unigram,
}

impl ModelKind {
    /// The kind that a GGUF file calls `name` in `tokenizer.ggml.model`.
    pub fn from_gguf_name(name: &str) -> Option<Self> {
        match name {
            "gpt2" => Some(Self::Bpe),
            "llama" => Some(Self::SentencePieceBpe),
            "t5" => Some(Self::Unigram),
            _ => None,
        }
    }
}

/// A tokenizer taken apart: the `tokenizer.ggml.*` keys of a GGUF file, one field each.
///
/// Fields that a file lacks stay at their default; [`Tokenizer::from_parts`](crate::Tokenizer::from_parts) then
/// assumes what llama.cpp assumes. Hundreds of thousands of short texts need not be copied for that: they are taken
/// from the file where it is mapped.
#[derive(Debug, Clone, Default)]
pub struct Parts<'a> {
    /// `tokenizer.ggml.model`.
    pub model: ModelKind,
    /// `tokenizer.ggml.pre`: the name of the pre-tokeniser; empty when absent.
    pub pre: String,
    /// `tokenizer.ggml.tokens`: spelling of each token, in the byte-level alphabet for [`ModelKind::Bpe`].
    pub tokens: Vec<Cow<'a, [u8]>>,
    /// `tokenizer.ggml.scores`; may be empty.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; may be empty.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: pairs `left right`, best first; for [`ModelKind::Bpe`] only.
    pub merges: Vec<Cow<'a, str>>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`.
    pub remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.ggml.precompiled_charsmap`; empty when absent.
    pub precompiled_charsmap: Vec<u8>,
    /// Whether each unknown character is a token, where SentencePiece makes one of a run of them; for
    /// [`ModelKind::Unigram`]. No key of GGUF says so, but some encoders were made that way.
    pub split_unknown: bool,
}
