//! Tokens with a role, and looking tokens up.

use saem_tokenizer::{ModelKind, Parts, Tokenizer, TokenizerError};

use crate::fixtures;

#[test]
fn the_config_names_the_tokens() {
    let config = br#"{"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "pad_token": null}"#;
    let tokenizer = Tokenizer::from_json(&fixtures::read("qwen2.json"), Some(config)).unwrap();
    assert_eq!(tokenizer.bos(), tokenizer.token_id("<|im_start|>"));
    assert_eq!(tokenizer.eos(), tokenizer.token_id("<|im_end|>"));
    assert_eq!(tokenizer.eot(), tokenizer.eos());
    assert_eq!(tokenizer.pad(), None);
    assert!(!tokenizer.adds_bos() && !tokenizer.adds_eos());
}

#[test]
fn templates_add_the_first_token() {
    let tokenizer = fixtures::load("llama3");
    assert_eq!(tokenizer.bos(), tokenizer.token_id("<|begin_of_text|>"));
    assert!(tokenizer.adds_bos());
    assert_eq!(tokenizer.encode("", true, false), [tokenizer.bos().unwrap()]);
    assert_eq!(tokenizer.eot(), tokenizer.token_id("<|eot_id|>"));
    let unigram = fixtures::load("unigram");
    assert!(unigram.adds_eos() && !unigram.adds_bos());
    assert_eq!(unigram.encode("", true, false), [unigram.eos().unwrap()]);
    assert_eq!(unigram.unk(), unigram.token_id("<unk>"));
}

#[test]
fn tokens_can_be_looked_up_both_ways() {
    let tokenizer = fixtures::load("qwen2");
    for id in 0..tokenizer.vocabulary_len() as u32 {
        let text = tokenizer.token_text(id).unwrap();
        assert_eq!(tokenizer.token_id(&text), Some(id));
    }
    let end = tokenizer.token_id("<|im_end|>").unwrap();
    assert!(tokenizer.is_special(end));
    assert_eq!(tokenizer.token_bytes(end), Some(&b"<|im_end|>"[..]));
    assert_eq!(tokenizer.decode(&[end], true), "");
    assert_eq!(tokenizer.decode(&[end], false), "<|im_end|>");
    let tool = tokenizer.token_id("<tool_call>").unwrap();
    assert!(!tokenizer.is_special(tool));
    assert_eq!(tokenizer.token_bytes(tokenizer.token_id("Ġ").unwrap()), Some(&b" "[..]));
    assert_eq!(tokenizer.token_text(1 << 30), None);
    assert_eq!(tokenizer.token_bytes(1 << 30), None);
    assert_eq!(tokenizer.decode(&[1 << 30], true), "");
}

#[test]
fn gguf_flags_are_obeyed() {
    let parts = |add_bos, add_eos| Parts { add_bos, add_eos, ..fixtures::parts("llama2", "spm") };
    let (bos, eos) = (1, 2);
    let ids = |parts| Tokenizer::from_parts(parts).unwrap().encode("", true, false);
    assert_eq!(ids(parts(None, None)), [bos]);
    assert_eq!(ids(parts(Some(false), Some(true))), [eos]);
    assert_eq!(ids(parts(Some(true), Some(true))), [bos, eos]);

    let plain = Tokenizer::from_parts(parts(None, None)).unwrap();
    let bare = Tokenizer::from_parts(Parts { add_space_prefix: Some(false), ..parts(None, None) }).unwrap();
    assert_eq!(plain.encode("a", false, false), bare.encode(" a", false, false));
    assert_eq!(plain.decode(&plain.encode("a", false, false), true), "a");
    assert_eq!(bare.decode(&bare.encode(" a", false, false), true), " a");
}

#[test]
fn user_defined_tokens_are_read_even_where_special_ones_are_not() {
    let tokenizer = Tokenizer::from_parts(fixtures::parts("qwen2", "qwen2")).unwrap();
    let (special, user) = (tokenizer.token_id("<|im_start|>").unwrap(), tokenizer.token_id("<tool_call>").unwrap());
    let text = "<|im_start|><tool_call>";
    assert_eq!(tokenizer.encode(text, false, true), [special, user]);
    let safe = tokenizer.encode(text, false, false);
    assert!(safe.contains(&user) && !safe.contains(&special));
    assert_eq!(tokenizer.decode(&safe, false), text);
}

#[test]
fn missing_pieces_are_typed_errors() {
    let good = || fixtures::parts("gpt2", "gpt-2");
    let error = |parts: Parts| Tokenizer::from_parts(parts).unwrap_err();
    assert!(matches!(error(Parts::default()), TokenizerError::EmptyVocabulary));
    assert!(matches!(error(Parts { pre: "no-such".into(), ..good() }), TokenizerError::Unsupported { .. }));
    assert!(matches!(error(Parts { token_types: vec![1], ..good() }), TokenizerError::Length { found: 1, .. }));
    assert!(matches!(
        error(Parts { merges: vec!["zz yy".into()], ..good() }),
        TokenizerError::MergeOutOfVocabulary { index: 0, .. }
    ));
    assert!(matches!(
        error(Parts {
            merges: vec!["a b".into(), "ab".into()],
            tokens: vec![b"a".into(), b"b".into(), b"ab".into()],
            token_types: vec![],
            scores: vec![],
            ..good()
        }),
        TokenizerError::MalformedMerge { index: 1, .. }
    ));
    assert!(matches!(
        error(Parts { bos: Some(1 << 30), add_bos: Some(true), ..good() }),
        TokenizerError::MissingToken { .. }
    ));
    assert!(matches!(
        error(Parts { model: ModelKind::SentencePieceBpe, scores: vec![], ..good() }),
        TokenizerError::Length { what: "scores", .. }
    ));
    let scores = vec![f32::NAN; good().tokens.len()];
    assert!(matches!(
        error(Parts { model: ModelKind::SentencePieceBpe, scores, ..good() }),
        TokenizerError::Invalid { .. }
    ));
}
