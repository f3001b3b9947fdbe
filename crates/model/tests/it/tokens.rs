//! Tokenizers, chat templates and end tokens that travel with a model.

use saem_formats::Source;
use saem_model::{chat_template, convert, describe, end_tokens, load_tokenizer};

use crate::support::{open, pool};

const TEXT: &str = "The spring: 샘물은 맑고 차다.\n\n<|im_start|>user 2026, it's cold! 👋";

#[test]
fn a_tokenizer_survives_the_way_to_gguf_and_back() {
    let directory = tempfile::tempdir().unwrap();
    for (family, end) in [("llama", "<|eot_id|>"), ("qwen2", "<|im_end|>")] {
        let (source, ..) = open(family);
        let original = load_tokenizer(&source).unwrap();
        let path = directory.path().join(format!("{family}.gguf"));
        let done = convert(&source, &path, None, &pool(), &mut |_, _| {}).unwrap();
        assert_eq!(done.warnings, Vec::<String>::new());
        let gguf = Source::open(&path).unwrap();
        let folder = directory.path().join(family);
        convert(&gguf, &folder, None, &pool(), &mut |_, _| {}).unwrap();
        for other in [&gguf, &Source::open(&folder).unwrap()] {
            let tokenizer = load_tokenizer(other).unwrap();
            for special in [false, true] {
                assert_eq!(tokenizer.encode(TEXT, true, special), original.encode(TEXT, true, special), "{family}");
            }
            assert_eq!(chat_template(other), chat_template(&source), "{family}");
            let end = tokenizer.token_id(end).unwrap();
            assert!(end_tokens(other, &tokenizer).contains(&end), "{family}");
        }
    }
}

#[test]
fn a_checkpoint_without_a_tokenizer_says_so() {
    let (source, ..) = open("qwen3");
    let error = load_tokenizer(&source).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    assert_eq!(chat_template(&source), None);
}

#[test]
fn a_description_counts_what_is_there() {
    let (source, ..) = open("exaone_moe");
    let description = describe(&source).unwrap();
    assert_eq!(description.architecture, "exaone_moe");
    assert_eq!(description.weight_bytes, source.weight_bytes());
    assert_eq!(description.parameters * 4, description.weight_bytes);
    // Three of eight experts in three layers.
    assert_eq!(description.parameters - description.active_parameters, 3 * 5 * 3 * 16 * 32);
    assert_eq!(description.types.len(), 1);
}
