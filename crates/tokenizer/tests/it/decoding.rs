//! Decoding: the way back, whole and token by token.

use proptest::prelude::*;
use saem_tokenizer::Tokenizer;

use crate::fixtures;

fn streamed(tokenizer: &Tokenizer, ids: &[u32], keep_special: bool) -> String {
    let mut stream = tokenizer.stream();
    if keep_special {
        stream = stream.keep_special();
    }
    let mut text: String = ids.iter().map(|&id| stream.push(id).to_owned()).collect();
    text.push_str(&stream.finish());
    text
}

/// Texts of letters, spaces, Hangul whole and in parts, emoji, controls and marks.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-zA-Z0-9' .,!?/-]{0,8}",
        "[가-힣ㄱ-ㅎㅏ-ㅣ]{0,6}",
        "[\u{1100}-\u{11ff}]{0,4}",
        "[ \t\n\r\u{a0}\u{3000}]{0,3}",
        Just("👩‍💻".to_owned()),
        Just("<|im_start|>".to_owned()),
        Just("▁".to_owned()),
        ".{0,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Byte-level tokenizers lose nothing, except what their normaliser changes; these have none.
    #[test]
    fn byte_level_round_trips(text in texts()) {
        for family in ["gpt2", "smollm", "llama3", "gpt4o"] {
            // The one token that swallows spaces.
            prop_assume!(!text.contains("[MASK]"));
            let tokenizer = cached(family);
            let ids = tokenizer.encode(&text, false, false);
            prop_assert_eq!(&tokenizer.decode(&ids, false), &text);
            let parsed = tokenizer.encode(&text, false, true);
            prop_assert_eq!(&tokenizer.decode(&parsed, false), &text);
        }
    }

    /// SentencePiece with byte tokens loses nothing but the difference between a space and its sign.
    #[test]
    fn sentence_piece_round_trips(text in texts()) {
        for family in ["llama2", "gemma3"] {
            let tokenizer = cached(family);
            let ids = tokenizer.encode(&text, false, false);
            prop_assert_eq!(tokenizer.decode(&ids, false), text.replace('▁', " "));
        }
    }

    #[test]
    fn streaming_equals_decoding(choice in 0..fixtures::FAMILIES.len(), ids in prop::collection::vec(0u32..1500, 0..60)) {
        let tokenizer = cached(fixtures::FAMILIES[choice]);
        for keep_special in [false, true] {
            prop_assert_eq!(streamed(tokenizer, &ids, keep_special), tokenizer.decode(&ids, !keep_special));
        }
    }

    /// As long as no byte is broken, no replacement comes out, whole characters only.
    #[test]
    fn streaming_never_shows_half_a_character(text in texts()) {
        prop_assume!(!text.contains('\u{fffd}') && !text.contains("[MASK]"));
        for family in ["gpt2", "gemma3"] {
            let tokenizer = cached(family);
            let mut stream = tokenizer.stream();
            for id in tokenizer.encode(&text, false, false) {
                let whole = !stream.push(id).contains(char::REPLACEMENT_CHARACTER);
                prop_assert!(whole);
            }
            prop_assert!(!stream.is_pending());
            prop_assert_eq!(stream.finish(), "");
        }
    }
}

/// Loads each family once for all cases of a property.
fn cached(family: &str) -> &'static Tokenizer {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};
    static LOADED: LazyLock<Mutex<HashMap<String, &'static Tokenizer>>> = LazyLock::new(Mutex::default);
    let mut loaded = LOADED.lock().unwrap();
    loaded.entry(family.to_owned()).or_insert_with(|| Box::leak(Box::new(fixtures::load(family))))
}

#[test]
fn a_syllable_comes_out_whole() {
    let tokenizer = cached("gpt2");
    // Rare enough to have no token: three bytes.
    let ids = tokenizer.encode("뷁", false, false);
    assert!(ids.len() > 1);
    let mut stream = tokenizer.stream();
    for id in &ids[..ids.len() - 1] {
        assert_eq!(stream.push(*id), "");
        assert!(stream.is_pending());
    }
    assert_eq!(stream.push(ids[ids.len() - 1]), "뷁");
}

#[test]
fn broken_bytes_are_replaced_as_rust_does_it() {
    let tokenizer = cached("gpt2");
    let byte = |byte: u8| {
        (0..tokenizer.vocabulary_len() as u32).find(|&id| tokenizer.token_bytes(id) == Some(&[byte])).unwrap()
    };
    let bytes = [b'a', 0xEA, 0xB0, b'b', 0xF0, 0x9F, 0xF0, 0x9F, 0x98, 0x80, 0xFF, 0xED, 0xA0, 0x80, 0xE2];
    let ids: Vec<u32> = bytes.iter().map(|&value| byte(value)).collect();
    let expected = String::from_utf8_lossy(&bytes);
    assert_eq!(tokenizer.decode(&ids, false), expected);
    assert_eq!(streamed(tokenizer, &ids, true), expected);
}

#[test]
fn a_completion_keeps_its_leading_space() {
    let tokenizer = cached("llama2");
    let ids = tokenizer.encode("가 나", false, false);
    assert_eq!(tokenizer.decode(&ids, true), "가 나");
    let mut stream = tokenizer.stream_continuation();
    let text: String = ids.iter().map(|&id| stream.push(id).to_owned()).collect();
    assert_eq!(text + &stream.finish(), " 가 나");
}
