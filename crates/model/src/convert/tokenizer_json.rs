//! A GGUF file's tokenizer as `tokenizer.json` and its companions.

use std::collections::HashMap;

use saem_formats::gguf::{Array, Metadata, Value};
use serde_json::{Map, Value as Json, json};

use super::pre_tokenizers;
use crate::ModelError;
use crate::tokenizer::EMBEDDED_TOKENIZER;

/// Writes what can be written through `put`.
pub(super) fn write(
    metadata: &Metadata,
    put: &dyn Fn(&str, &[u8]) -> Result<(), ModelError>,
    warnings: &mut Vec<String>,
) -> Result<(), ModelError> {
    let tokens = texts(metadata, "tokenizer.ggml.tokens");
    let spelled = |key: &str| {
        let token = metadata.usize(&format!("tokenizer.ggml.{key}_token_id"))?;
        tokens.get(token).cloned()
    };
    put("tokenizer_config.json", &super::pretty(&tokenizer_config(metadata, &spelled)))?;
    let token = |key: &str| metadata.u32(&format!("tokenizer.ggml.{key}_token_id"));
    let mut ends: Vec<u32> = ["eos", "eot", "eom"].into_iter().filter_map(token).collect();
    ends.dedup();
    let generation = json!({ "bos_token_id": token("bos"), "eos_token_id": ends, "pad_token_id": token("padding") });
    put("generation_config.json", &super::pretty(&generation))?;
    if let Some(embedded) = metadata.get(EMBEDDED_TOKENIZER).and_then(Value::as_bytes) {
        return put("tokenizer.json", embedded);
    }
    let pre = metadata.str("tokenizer.ggml.pre").unwrap_or_default();
    let tokenizer = match metadata.str("tokenizer.ggml.model") {
        Some("gpt2") => byte_level(metadata, &tokens, pre),
        Some("llama") => sentence_piece(metadata, &tokens),
        Some(other) if other != "none" => {
            warnings.push(format!("no tokenizer.json: the tokenizer's model {other:?} cannot be spelled out"));
            return Ok(());
        }
        _ => {
            warnings.push("the file has no tokenizer".into());
            return Ok(());
        }
    };
    match tokenizer {
        Some(tokenizer) => put("tokenizer.json", tokenizer.to_string().as_bytes()),
        None => {
            warnings.push(format!("no tokenizer.json: the pre-tokeniser {pre:?} cannot be spelled out"));
            Ok(())
        }
    }
}

fn tokenizer_config(metadata: &Metadata, spelled: &dyn Fn(&str) -> Option<String>) -> Json {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": spelled("bos"),
        "eos_token": spelled("eos"),
        "pad_token": spelled("padding"),
        "unk_token": spelled("unknown"),
        "add_bos_token": metadata.bool("tokenizer.ggml.add_bos_token"),
        "add_eos_token": metadata.bool("tokenizer.ggml.add_eos_token"),
        "chat_template": metadata.str("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": false,
    })
}

fn texts(metadata: &Metadata, key: &str) -> Vec<String> {
    let strings = metadata.array(key).and_then(Array::strings);
    strings.map_or_else(Vec::new, |list| list.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

fn byte_level(metadata: &Metadata, tokens: &[String], pre: &str) -> Option<Json> {
    let (pre_tokenizer, ignore_merges) = pre_tokenizers::spelled_out(pre)?;
    let model = json!({
        "type": "BPE",
        "ignore_merges": ignore_merges,
        "byte_fallback": false,
        "fuse_unk": false,
        "vocab": vocabulary(metadata, tokens, |kind| kind == 1),
        "merges": texts(metadata, "tokenizer.ggml.merges"),
    });
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    Some(json!({
        "version": "1.0",
        "added_tokens": added_tokens(metadata, tokens),
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": beginning(metadata, tokens).unwrap_or_else(|| byte_level.clone()),
        "decoder": byte_level,
        "model": model,
    }))
}

/// SentencePiece's BPE: a merge for every way to put a token together from two others, best scores first.
fn sentence_piece(metadata: &Metadata, tokens: &[String]) -> Option<Json> {
    let scores = metadata.array("tokenizer.ggml.scores").and_then(Array::f32s)?;
    let types = metadata.array("tokenizer.ggml.token_type").and_then(Array::i32s)?;
    let numbers: HashMap<&str, usize> =
        tokens.iter().zip(0..).map(|(token, number)| (token.as_str(), number)).collect();
    let mut merges: Vec<(f32, usize, usize, [&str; 2])> = Vec::new();
    for ((token, score), kind) in tokens.iter().zip(&scores).zip(&types) {
        if *kind != 1 {
            continue;
        }
        for (middle, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(middle);
            if let (Some(first), Some(second)) = (numbers.get(left), numbers.get(right)) {
                merges.push((*score, *first, *second, [left, right]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let merges: Vec<_> = merges.into_iter().map(|(.., pair)| pair).collect();
    let unknown = metadata.usize("tokenizer.ggml.unknown_token_id").and_then(|token| tokens.get(token));
    let prefix = metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let mut normalizers = vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" })];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": "▁" }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let model = json!({
        "type": "BPE",
        "unk_token": unknown,
        "fuse_unk": true,
        "byte_fallback": true,
        "vocab": vocabulary(metadata, tokens, |kind| matches!(kind, 1 | 2 | 3 | 4 | 6)),
        "merges": merges,
    });
    Some(json!({
        "version": "1.0",
        "added_tokens": added_tokens(metadata, tokens),
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null,
        "post_processor": beginning(metadata, tokens),
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": model,
    }))
}

/// Tokens of the types wanted, with their numbers.
fn vocabulary(metadata: &Metadata, tokens: &[String], wanted: impl Fn(i32) -> bool) -> Map<String, Json> {
    let types = metadata.array("tokenizer.ggml.token_type").and_then(Array::i32s).unwrap_or_default();
    let kind = |number: usize| types.get(number).copied().unwrap_or(1);
    let entries = (0..).zip(tokens).filter(|(number, _)| wanted(kind(*number)));
    entries.map(|(number, token)| (token.clone(), json!(number))).collect()
}

/// Control and user-defined tokens.
fn added_tokens(metadata: &Metadata, tokens: &[String]) -> Vec<Json> {
    let types = metadata.array("tokenizer.ggml.token_type").and_then(Array::i32s).unwrap_or_default();
    let added = tokens.iter().zip(types).zip(0..).filter(|((_, kind), _)| matches!(kind, 3 | 4));
    added
        .map(|((token, kind), number): ((&String, i32), usize)| {
            json!({
                "id": number, "content": token, "special": kind == 3,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect()
}

/// The step that puts the first token before a text.
fn beginning(metadata: &Metadata, tokens: &[String]) -> Option<Json> {
    if metadata.bool("tokenizer.ggml.add_bos_token") == Some(false) {
        return None;
    }
    let number = metadata.usize("tokenizer.ggml.bos_token_id")?;
    let adds = metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or_else(|| {
        let pre = metadata.str("tokenizer.ggml.pre").unwrap_or_default();
        metadata.str("tokenizer.ggml.model") == Some("llama") || matches!(pre, "llama-bpe" | "llama3" | "llama-v3")
    });
    let token = tokens.get(number).filter(|_| adds)?;
    let first = json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str, kind: u32| json!({ "Sequence": { "id": id, "type_id": kind } });
    Some(json!({
        "type": "TemplateProcessing",
        "single": [first, text("A", 0)],
        "pair": [first, text("A", 0), text("B", 1)],
        "special_tokens": { token: { "id": token, "ids": [number], "tokens": [token] } },
    }))
}
