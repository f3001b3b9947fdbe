//! What belongs to a checkpoint besides its weights: the tokenizer, the chat template, the tokens that end an answer.

use std::borrow::Cow;

use saem_formats::{Source, gguf};
use saem_tokenizer::{ModelKind, Parts, Tokenizer};
use serde_json::Value;

use crate::ModelError;

/// Spellings of control tokens that end an answer in the families at hand. A checkpoint may list fewer: some name
/// only the end of a text and leave the end of a turn to the chat template.
const END_TOKENS: [&str; 13] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "[|endofturn|]",
    "<|endofturn|>",
    "<|stop|>",
    "<|end|>",
    "<|return|>",
];

/// Metadata keys of GGUF files for tokens that end an answer.
const END_KEYS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Where a GGUF file may carry a whole `tokenizer.json`.
pub(crate) const EMBEDDED_TOKENIZER: &str = "tokenizer.huggingface.json";

/// The checkpoint's tokenizer.
///
/// # Errors
/// [`ModelError::NoTokenizer`] where it has none, [`ModelError::Tokenizer`] where it is broken or of a kind that is
/// not supported.
pub fn load_tokenizer(source: &Source) -> Result<Tokenizer, ModelError> {
    match source {
        Source::Gguf(file) => from_gguf(file.metadata()),
        Source::HuggingFace(checkpoint) => {
            let files = &checkpoint.config;
            let missing = ModelError::NoTokenizer { missing: "tokenizer.json" };
            let json = files.tokenizer.as_deref().ok_or(missing)?;
            Ok(Tokenizer::from_json(json, files.tokenizer_config.as_deref())?)
        }
    }
}

/// The usual chat template, in Jinja.
#[must_use]
pub fn chat_template(source: &Source) -> Option<String> {
    match source {
        Source::Gguf(file) => file.metadata().str("tokenizer.chat_template").map(str::to_owned),
        Source::HuggingFace(checkpoint) => checkpoint.config.chat_template().map(str::to_owned),
    }
}

/// Tokens at which an answer is over, ascending: those that the checkpoint lists, and control tokens of its
/// vocabulary that mark an end in any of the families.
#[must_use]
pub fn end_tokens(source: &Source, tokenizer: &Tokenizer) -> Vec<u32> {
    let mut tokens: Vec<u32> = tokenizer.eos().into_iter().chain(tokenizer.eot()).collect();
    match source {
        Source::Gguf(file) => tokens.extend(END_KEYS.into_iter().filter_map(|key| file.metadata().u32(key))),
        Source::HuggingFace(checkpoint) => {
            let files = &checkpoint.config;
            for config in [files.generation_config.as_ref(), Some(&files.config), files.config.get("text_config")] {
                tokens.extend(config.map(listed_end_tokens).unwrap_or_default());
            }
        }
    }
    let marks = END_TOKENS.into_iter().filter_map(|spelling| tokenizer.token_id(spelling));
    tokens.extend(marks.filter(|token| tokenizer.is_special(*token)));
    tokens.retain(|token| (*token as usize) < tokenizer.vocabulary_len());
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// `eos_token_id` of a configuration: a number or a list.
fn listed_end_tokens(config: &Value) -> Vec<u32> {
    let number = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
    match config.get("eos_token_id") {
        Some(Value::Array(list)) => list.iter().filter_map(number).collect(),
        Some(value) => number(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn from_gguf(metadata: &gguf::Metadata) -> Result<Tokenizer, ModelError> {
    let embedded = metadata.get(EMBEDDED_TOKENIZER).and_then(gguf::Value::as_bytes);
    let named = metadata.str("tokenizer.ggml.model").filter(|name| !matches!(*name, "none" | "no_vocab"));
    let Some(model) = named else {
        let missing = ModelError::NoTokenizer { missing: "tokenizer.ggml.model" };
        return Ok(Tokenizer::from_json(embedded.ok_or(missing)?, None)?);
    };
    let parts = ModelKind::from_gguf_name(model)
        .ok_or_else(|| ModelError::Unsupported { what: "the tokenizer model", value: model.to_owned() })
        .map(|kind| parts(metadata, kind))?;
    match (Tokenizer::from_parts(parts), embedded) {
        // The name of a pre-tokeniser may be unknown where the whole tokenizer is at hand.
        (Err(saem_tokenizer::TokenizerError::Unsupported { .. }), Some(json)) => Ok(Tokenizer::from_json(json, None)?),
        (tokenizer, _) => Ok(tokenizer?),
    }
}

/// The keys `tokenizer.ggml.*`.
fn parts(metadata: &gguf::Metadata, model: ModelKind) -> Parts<'_> {
    let array = |key: &str| metadata.array(&format!("tokenizer.ggml.{key}"));
    let token = |key: &str| metadata.u32(&format!("tokenizer.ggml.{key}_token_id"));
    let flag = |key: &str| metadata.bool(&format!("tokenizer.ggml.{key}"));
    Parts {
        model,
        pre: metadata.str("tokenizer.ggml.pre").unwrap_or_default().to_owned(),
        tokens: array("tokens")
            .and_then(gguf::Array::strings)
            .map_or_else(Vec::new, |strings| strings.map(Cow::from).collect()),
        scores: array("scores").and_then(gguf::Array::f32s).unwrap_or_default(),
        token_types: array("token_type").and_then(gguf::Array::i32s).unwrap_or_default(),
        merges: array("merges")
            .and_then(gguf::Array::strings)
            .map_or_else(Vec::new, |strings| strings.map(String::from_utf8_lossy).collect()),
        bos: token("bos"),
        eos: token("eos"),
        eot: token("eot"),
        unk: token("unknown"),
        pad: token("padding"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        remove_extra_whitespaces: flag("remove_extra_whitespaces"),
        precompiled_charsmap: array("precompiled_charsmap")
            .and_then(gguf::Array::raw_bytes)
            .map_or_else(Vec::new, <[u8]>::to_vec),
        split_unknown: false,
    }
}
