//! A checkpoint's tokenizer as the keys `tokenizer.ggml.*` of a GGUF file.
//!
//! The whole `tokenizer.json` goes along under its own key, so that nothing is lost on the way back; other programs
//! read the keys.

use std::collections::{HashMap, HashSet};

use saem_formats::gguf::{Value, Writer};
use saem_formats::{Source, WriteError};
use saem_tokenizer::Tokenizer;
use serde_json::Value as Json;

use super::pre_tokenizers;
use crate::config::Config;
use crate::tokenizer::EMBEDDED_TOKENIZER;

/// `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Writes the tokenizer, as far as GGUF can express it.
pub(super) fn write(
    source: &Source,
    config: &Config,
    writer: &mut Writer,
    warnings: &mut Vec<String>,
) -> Result<(), WriteError> {
    let Source::HuggingFace(checkpoint) = source else { return Ok(()) };
    let files = &checkpoint.config;
    if let Some(template) = files.chat_template() {
        writer.add_metadata("tokenizer.chat_template", Value::from(template))?;
    }
    let Some(bytes) = &files.tokenizer else {
        warnings.push("the checkpoint has no tokenizer.json".into());
        return writer.add_metadata("tokenizer.ggml.model", Value::from("none"));
    };
    writer.add_metadata(EMBEDDED_TOKENIZER, Value::String(bytes))?;
    let json: Json = match serde_json::from_slice(bytes) {
        Ok(json) => json,
        Err(error) => {
            warnings.push(format!("tokenizer.json: {error}"));
            return Ok(());
        }
    };
    let Some(vocabulary) = Vocabulary::read(&json, config.vocabulary) else {
        warnings.push("the tokenizer's model has no form in GGUF; only tokenizer.json was carried over".into());
        return Ok(());
    };
    vocabulary.write(&json, writer, warnings)?;
    match Tokenizer::from_json(bytes, files.tokenizer_config.as_deref()) {
        Ok(tokenizer) => special_tokens(&tokenizer, &files.config, writer),
        Err(error) => {
            warnings.push(format!("tokenizer.json: {error}"));
            Ok(())
        }
    }
}

fn special_tokens(tokenizer: &Tokenizer, config: &Json, writer: &mut Writer) -> Result<(), WriteError> {
    let configured = |name: &str| {
        let value = config.get(name)?;
        let first = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        u32::try_from(first.as_u64()?).ok().filter(|token| (*token as usize) < tokenizer.vocabulary_len())
    };
    for (key, token) in [
        ("bos", tokenizer.bos().or_else(|| configured("bos_token_id"))),
        ("eos", tokenizer.eos().or_else(|| configured("eos_token_id"))),
        ("eot", tokenizer.eot()),
        ("padding", tokenizer.pad()),
        ("unknown", tokenizer.unk()),
    ] {
        if let Some(token) = token {
            writer.add_metadata(&format!("tokenizer.ggml.{key}_token_id"), Value::U32(token))?;
        }
    }
    writer.add_metadata("tokenizer.ggml.add_bos_token", Value::Bool(tokenizer.adds_bos()))?;
    writer.add_metadata("tokenizer.ggml.add_eos_token", Value::Bool(tokenizer.adds_eos()))
}

/// A BPE vocabulary by token number.
struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
    byte_level: bool,
}

impl Vocabulary {
    /// The vocabulary of a `tokenizer.json`, padded to the rows of the embedding matrix; `None` where it is not BPE.
    fn read(json: &Json, rows: usize) -> Option<Self> {
        let model = json.get("model")?;
        let merges = model.get("merges")?.as_array()?;
        let entries = model.get("vocab")?.as_object()?;
        let byte_level = [json.get("pre_tokenizer"), json.get("decoder")]
            .into_iter()
            .flatten()
            .any(|step| step.to_string().contains("\"ByteLevel\""));
        if !byte_level && model.get("byte_fallback").and_then(Json::as_bool) != Some(true) {
            return None;
        }
        let mut tokens: Vec<String> = (0..rows).map(|index| format!("[PAD{index}]")).collect();
        let mut types = vec![UNUSED; rows];
        let unknown = model.get("unk_token").and_then(Json::as_str);
        let mut place = |index: &Json, token: &str, kind: i32| -> Option<()> {
            let index = usize::try_from(index.as_u64()?).ok()?;
            // A token without an embedding row cannot be used.
            if let (Some(slot), Some(type_slot)) = (tokens.get_mut(index), types.get_mut(index)) {
                token.clone_into(slot);
                *type_slot = kind;
            }
            Some(())
        };
        for (token, index) in entries {
            let is_byte = !byte_level && token.len() == 6 && token.starts_with("<0x");
            let kind = if unknown == Some(token) {
                UNKNOWN
            } else if is_byte {
                BYTE
            } else {
                NORMAL
            };
            place(index, token, kind)?;
        }
        for added in json.get("added_tokens").and_then(Json::as_array).into_iter().flatten() {
            let token = added.get("content")?.as_str()?;
            let special = added.get("special").and_then(Json::as_bool).unwrap_or(false);
            let kind = if !byte_level && unknown == Some(token) {
                UNKNOWN
            } else if special {
                CONTROL
            } else {
                USER_DEFINED
            };
            place(added.get("id")?, token, kind)?;
        }
        // Older files write "a b", newer ones ["a", "b"].
        let merge = |merge: &Json| match merge {
            Json::String(pair) => Some(pair.clone()),
            Json::Array(pair) => Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
            _ => None,
        };
        let merges = merges.iter().map(merge).collect::<Option<_>>()?;
        Some(Self { tokens, types, merges, byte_level })
    }

    fn write(&self, json: &Json, writer: &mut Writer, warnings: &mut Vec<String>) -> Result<(), WriteError> {
        writer.add_strings("tokenizer.ggml.tokens", &self.tokens)?;
        writer.add_array("tokenizer.ggml.token_type", &self.types)?;
        if self.byte_level {
            writer.add_metadata("tokenizer.ggml.model", Value::from("gpt2"))?;
            writer.add_strings("tokenizer.ggml.merges", &self.merges)?;
            return match pre_tokenizers::name_of(json) {
                Some(name) => writer.add_metadata("tokenizer.ggml.pre", Value::from(name)),
                None => {
                    warnings.push(
                        "the pre-tokeniser has no name in GGUF; other programs may divide text differently".into(),
                    );
                    // A name that no reader knows, so that none takes another pre-tokeniser silently.
                    writer.add_metadata("tokenizer.ggml.pre", Value::from("saem-embedded"))
                }
            };
        }
        writer.add_metadata("tokenizer.ggml.model", Value::from("llama"))?;
        writer.add_array("tokenizer.ggml.scores", &self.scores())?;
        let normalizer = json.get("normalizer").unwrap_or(&Json::Null).to_string();
        let pre_tokenizer = json.get("pre_tokenizer").unwrap_or(&Json::Null).to_string();
        let prefix = normalizer.contains("\"Prepend\"")
            || pre_tokenizer.contains("\"prepend_scheme\":\"first\"")
            || pre_tokenizer.contains("\"prepend_scheme\":\"always\"");
        writer.add_metadata("tokenizer.ggml.add_space_prefix", Value::Bool(prefix))
    }

    /// SentencePiece's scores: the earlier a token is merged, the higher.
    fn scores(&self) -> Vec<f32> {
        let mut ranks: HashMap<String, usize> = HashMap::with_capacity(self.merges.len());
        for (rank, merge) in self.merges.iter().enumerate() {
            ranks.entry(merge.replacen(' ', "", 1)).or_insert(rank);
        }
        let fixed: HashSet<i32> = [UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE].into();
        let lowest = self.merges.len();
        let score = |(token, kind): (&String, &i32)| {
            if fixed.contains(kind) { 0.0 } else { -(ranks.get(token).copied().unwrap_or(lowest) as f32) }
        };
        self.tokens.iter().zip(&self.types).map(score).collect()
    }
}
