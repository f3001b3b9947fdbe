//! Broken and malicious files: a typed error or a working tokenizer, never a panic, a hang or a huge allocation.

use saem_tokenizer::{ModelKind, Parts, Tokenizer, TokenizerError};
use serde_json::{Value, json};

use crate::fixtures;

const TEXT: &str = "Hello 안녕 <s>a</s>  \n\u{1112}\u{1161} it's 123 ▁<0x0A>😀";

/// A small generator, so that every run tries the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

/// Uses a tokenizer in every way.
fn exercise(tokenizer: &Tokenizer) {
    let ids = tokenizer.encode(TEXT, true, true);
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_len()));
    let text = tokenizer.decode(&ids, false);
    let mut stream = tokenizer.stream().keep_special();
    let mut streamed: String = ids.iter().map(|&id| stream.push(id).to_owned()).collect();
    streamed.push_str(&stream.finish());
    assert_eq!(streamed, text);
    tokenizer.encode(TEXT, false, false);
    tokenizer.token_text(0);
}

/// The file of a family with few enough tokens to try thousands of changes.
fn small(family: &str) -> Value {
    let mut file = fixtures::json(family);
    let model = &mut file["model"];
    if let Some(vocab) = model["vocab"].as_object_mut() {
        vocab.retain(|_, id| id.as_u64().unwrap() < 300);
    }
    if let Some(vocab) = model["vocab"].as_array_mut() {
        vocab.truncate(60);
    }
    let known: Vec<String> = model["vocab"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    if let Some(merges) = model["merges"].as_array_mut() {
        let is_known = |token: &str| known.iter().any(|known| known == token);
        merges.retain(|merge| {
            let (left, right) = (merge[0].as_str().unwrap(), merge[1].as_str().unwrap());
            is_known(left) && is_known(right) && is_known(&format!("{left}{right}"))
        });
    }
    file
}

const FAMILIES: &[&str] = &["llama3", "qwen2", "exaone", "prefixed", "llama2", "gemma3", "unigram"];

#[test]
fn twenty_thousand_files_with_broken_bytes() {
    let mut dice = Dice(1);
    let (mut loaded, mut refused) = (0, 0);
    let files: Vec<Vec<u8>> = FAMILIES.iter().map(|family| serde_json::to_vec(&small(family)).unwrap()).collect();
    for round in 0..20_000 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(bytes.len());
            match dice.roll(6) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => bytes[at] = b"0123456789-\"{}[],:\\ue"[dice.roll(21)],
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, b"9{[\"\\"[dice.roll(5)]),
                4 => bytes.truncate(at),
                _ => {
                    let end = (at + dice.roll(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        match Tokenizer::from_json(&bytes, None) {
            Ok(tokenizer) => {
                loaded += 1;
                if round % 4 == 0 {
                    exercise(&tokenizer);
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(loaded > 500 && refused > 2000, "{loaded} loaded, {refused} refused");
}

/// Replaces a random value somewhere in the file.
fn mutate(value: &mut Value, dice: &mut Dice) {
    let deeper = dice.roll(8) != 0;
    match value {
        Value::Object(map) if deeper && !map.is_empty() => {
            let at = dice.roll(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(at) {
                mutate(inner, dice);
            }
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let at = dice.roll(list.len());
            mutate(&mut list[at], dice);
        }
        _ => {
            *value = match dice.roll(14) {
                0 => Value::Null,
                1 => json!(true),
                2 => json!(-1),
                3 => json!(u64::MAX),
                4 => json!(4_294_967_295u64),
                5 => json!(1e308),
                6 => json!(""),
                7 => json!("a"),
                8 => json!("\u{0}한▁"),
                9 => json!([]),
                10 => json!({}),
                11 => {
                    json!({"type": "Sequence", "normalizers": [], "decoders": [], "pretokenizers": [], "processors": []})
                }
                12 => json!({"Regex": "(a|b)*c{1,9}"}),
                _ => json!({"String": " "}),
            };
        }
    }
}

#[test]
fn twelve_thousand_files_with_broken_values() {
    let mut dice = Dice(2);
    let (mut loaded, mut refused) = (0, 0);
    let files: Vec<Value> = FAMILIES.iter().map(|family| small(family)).collect();
    for round in 0..12_000 {
        let mut file = files[round % files.len()].clone();
        for _ in 0..=dice.roll(2) {
            // Half of the changes go to the pipeline, which is a small part of the file.
            let part =
                ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"][dice.roll(6)];
            mutate(&mut file[part], &mut dice);
        }
        match Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), None) {
            Ok(tokenizer) => {
                loaded += 1;
                if round % 4 == 0 {
                    exercise(&tokenizer);
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(loaded > 1000 && refused > 1000, "{loaded} loaded, {refused} refused");
}

#[test]
fn six_thousand_broken_gguf_vocabularies() {
    let mut dice = Dice(3);
    let (mut loaded, mut refused) = (0, 0);
    let sources = [("gpt2", "gpt-2"), ("qwen2", "qwen2"), ("llama2", "spm"), ("unigram", "unigram")];
    let mut sources: Vec<Parts<'_>> = sources.iter().map(|(family, pre)| fixtures::parts(family, pre)).collect();
    for parts in &mut sources {
        // Bytes and the first few merges.
        parts.tokens.truncate(320);
        parts.token_types.truncate(320);
        parts.scores.truncate(320);
        let known = parts.tokens.clone();
        parts.merges.retain(|merge| {
            let (left, right) = merge.split_once(' ').unwrap();
            [left.to_owned(), right.to_owned(), format!("{left}{right}")]
                .iter()
                .all(|t| known.iter().any(|token| token.as_ref() == t.as_bytes()))
        });
    }
    for round in 0..6_000 {
        let mut parts = sources[round % sources.len()].clone();
        for _ in 0..=dice.roll(2) {
            let count = parts.tokens.len();
            match dice.roll(13) {
                0 => parts.tokens[dice.roll(count)] = vec![dice.roll(256) as u8; dice.roll(9)].into(),
                1 => parts.tokens[dice.roll(count)] = parts.tokens[dice.roll(count)].clone(),
                2 => parts.scores = (0..count).map(|_| f32::from_bits(dice.roll(1 << 32) as u32)).collect(),
                3 => parts.scores.truncate(dice.roll(count)),
                4 => parts.token_types = (0..count).map(|_| dice.roll(9) as i32 - 1).collect(),
                5 => parts.token_types.truncate(dice.roll(count)),
                6 => parts.merges.push(["", " ", "a", "a b", " a", "a  b", "Ġ Ġ", "한 국"][dice.roll(8)].into()),
                7 => (parts.bos, parts.add_bos) = (Some(dice.roll(600) as u32), Some(true)),
                8 => (parts.eos, parts.add_eos) = (Some(u32::MAX), Some(true)),
                9 => parts.unk = Some(dice.roll(1 << 32) as u32),
                10 => parts.precompiled_charsmap = (0..dice.roll(40)).map(|_| dice.roll(256) as u8).collect(),
                11 => parts.model = [ModelKind::Bpe, ModelKind::SentencePieceBpe, ModelKind::Unigram][dice.roll(3)],
                _ => parts.tokens.truncate(dice.roll(count)),
            }
            if parts.tokens.is_empty() {
                break;
            }
        }
        match Tokenizer::from_parts(parts) {
            Ok(tokenizer) => {
                loaded += 1;
                exercise(&tokenizer);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(loaded > 1000 && refused > 1000, "{loaded} loaded, {refused} refused");
}

fn tiny(vocab: Value, merges: Value) -> Result<Tokenizer, TokenizerError> {
    let file = json!({"added_tokens": [], "model": {"type": "BPE", "vocab": vocab, "merges": merges}});
    Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), None)
}

#[test]
fn ids_are_bounded_by_the_size_of_the_file() {
    assert!(matches!(
        tiny(json!({"a": 4_000_000_000u64}), json!([])),
        Err(TokenizerError::IdOutOfRange { id: 4_000_000_000, .. })
    ));
    assert!(matches!(tiny(json!({"a": u64::MAX}), json!([])), Err(TokenizerError::IdOutOfRange { .. })));
    assert!(matches!(tiny(json!({"a": -1}), json!([])), Err(TokenizerError::Json(_))));
    let gaps = tiny(json!({"a": 7, "b": 3}), json!([])).unwrap();
    assert_eq!(gaps.encode("ab", false, false), [7, 3]);
    assert_eq!(gaps.token_bytes(5), None);
}

#[test]
fn contradictions_are_named() {
    assert!(matches!(tiny(json!({}), json!([])), Err(TokenizerError::EmptyVocabulary)));
    assert!(matches!(
        tiny(json!({"a": 0, "b": 0}), json!([])),
        Err(TokenizerError::DuplicateId { id: 0, first, second }) if first == "a" && second == "b"
    ));
    assert!(matches!(
        tiny(json!({"a": 0, "b": 1}), json!(["a b"])),
        Err(TokenizerError::MergeOutOfVocabulary { index: 0, token, .. }) if token == "ab"
    ));
    assert!(matches!(tiny(json!({"a": 0}), json!(["a"])), Err(TokenizerError::MalformedMerge { index: 0, .. })));
    assert!(matches!(tiny(json!([["a", 0.0]]), json!([])), Err(TokenizerError::Unsupported { .. })));
    let message = tiny(json!({"a": 0, "b": 1}), json!([["a", "b"]])).unwrap_err().to_string();
    assert_eq!(message, "merge 0 (`a b`): `ab` is not in the vocabulary");
}

/// Merges that feed each other, and tokens that are empty: every merge still leaves one token less.
#[test]
fn circles_among_merges_end() {
    let circle = tiny(
        json!({"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4, "bab": 5, "": 6}),
        json!(["a b", "b a", "ab a", "a ba", "ba b", "b ab", ["a", ""], ["", ""]]),
    )
    .unwrap();
    let text = "ab".repeat(1000);
    assert_eq!(circle.decode(&circle.encode(&text, false, false), false).replace(' ', ""), text);
}

#[test]
fn endless_pipelines_are_refused() {
    for (field, list) in [("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")] {
        let mut file = json!({"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}});
        let step = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa", "behavior": "Isolated"});
        let split = json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"});
        let step = if field == "normalizer" { step } else { split };
        file[field] = json!({"type": "Sequence", list: vec![step; 100_000]});
        let result = Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), None);
        assert!(matches!(result, Err(TokenizerError::Invalid { .. })), "{field}");
    }
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    let deep = |open: &str, close: &str| {
        let normalizer = open.repeat(5000) + &close.repeat(5000);
        format!(r#"{{"normalizer": {normalizer}, "model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": []}}}}"#)
    };
    for file in [deep("[", "]"), deep(r#"{"type":"Sequence","normalizers":["#, "]}")] {
        assert!(matches!(Tokenizer::from_json(file.as_bytes(), None), Err(TokenizerError::Json(_))));
    }
}
