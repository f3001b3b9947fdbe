//! The committed tokenizers, which `scripts/tokenizer-fixtures.py` trained.

use std::path::PathBuf;

use saem_tokenizer::{ModelKind, Parts, Tokenizer};
use serde_json::Value;

/// All of them.
pub(crate) const FAMILIES: &[&str] = &[
    "gpt2",
    "smollm",
    "llama3",
    "qwen2",
    "exaone",
    "exaone4",
    "exaone-moe",
    "hyperclovax",
    "gpt4o",
    "prefixed",
    "llama2",
    "gemma3",
    "unigram",
];

/// The bytes of a file among the fixtures.
pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file of a family as JSON.
pub(crate) fn json(family: &str) -> Value {
    serde_json::from_slice(&read(&format!("{family}.json"))).unwrap()
}

/// The tokenizer of a family.
pub(crate) fn load(family: &str) -> Tokenizer {
    Tokenizer::from_json(&read(&format!("{family}.json")), None).unwrap()
}

/// The keys that a GGUF file of the same vocabulary has. `pre` is the name of the pre-tokeniser, or `spm` or `unigram`
/// for the models of SentencePiece.
pub(crate) fn parts(family: &str, pre: &str) -> Parts<'static> {
    let file = json(family);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let added: Vec<(u64, String, bool)> = file["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| (token["id"].as_u64().unwrap(), text(&token["content"]), token["special"].as_bool().unwrap()))
        .collect();
    let mut tokens: Vec<(u64, String, f32)> = match &file["model"]["vocab"] {
        Value::Array(entries) => {
            let token = |(id, entry): (u64, &Value)| (id, text(&entry[0]), entry[1].as_f64().unwrap() as f32);
            (0..).zip(entries).map(token).collect()
        }
        vocab => vocab.as_object().unwrap().iter().map(|(t, id)| (id.as_u64().unwrap(), t.clone(), -1e6)).collect(),
    };
    tokens.sort_by_key(|token| token.0);
    for (id, content, _) in &added {
        if *id >= tokens.len() as u64 {
            tokens.push((*id, content.clone(), 0.0));
        }
    }
    let mut merges = Vec::new();
    for (rank, merge) in file["model"]["merges"].as_array().into_iter().flatten().enumerate() {
        let (left, right) = (text(&merge[0]), text(&merge[1]));
        let joined = format!("{left}{right}");
        // As a score, the first merge that leads to a token counts.
        if let Some(token) = tokens.iter_mut().find(|token| token.1 == joined && token.2 == -1e6) {
            token.2 = -(rank as f32);
        }
        merges.push(format!("{left} {right}").into());
    }
    let token_type = |(_, token, _): &(u64, String, f32)| match added.iter().find(|(_, content, _)| content == token) {
        _ if token == "<unk>" => 2,
        Some((_, _, special)) => {
            if *special {
                3
            } else {
                4
            }
        }
        None if token.len() == 6 && token.starts_with("<0x") => 6,
        None => 1,
    };
    let find = |wanted: &str| tokens.iter().position(|(_, token, _)| token == wanted).map(|id| id as u32);
    let model = match pre {
        "spm" => ModelKind::SentencePieceBpe,
        "unigram" => ModelKind::Unigram,
        _ => ModelKind::Bpe,
    };
    let first_special = || added.iter().find(|(_, _, special)| *special).map(|(id, _, _)| *id as u32);
    Parts {
        model,
        pre: if model == ModelKind::Bpe { pre.to_owned() } else { "default".to_owned() },
        token_types: tokens.iter().map(token_type).collect(),
        scores: tokens.iter().map(|token| token.2).collect(),
        bos: find("<s>").or_else(first_special),
        eos: find("</s>").or_else(first_special),
        unk: find("<unk>"),
        add_space_prefix: (model == ModelKind::Unigram).then_some(true),
        remove_extra_whitespaces: (model == ModelKind::Unigram).then_some(true),
        tokens: tokens.into_iter().map(|token| token.1.into_bytes().into()).collect(),
        merges,
        ..Parts::default()
    }
}
