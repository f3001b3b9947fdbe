//! Hugging Face folders.

use std::fs;
use std::path::Path;

use saem_formats::FormatError;
use saem_formats::hf::{Checkpoint, HfConfig};

use crate::samples;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("model.safetensors"), samples::rich_safetensors()).unwrap();
    files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
    directory
}

#[test]
fn every_file_is_read_raw() {
    let directory = folder(&[
        ("config.json", r#"{"model_type":"llama","rope_scaling":{"factor":8.0}}"#),
        ("generation_config.json", r#"{"eos_token_id":[1,2]}"#),
        ("tokenizer.json", r#"{"version":"1.0"}"#),
        ("tokenizer_config.json", r#"{"chat_template":"{{ messages }}"}"#),
        ("special_tokens_map.json", r#"{"eos_token":"</s>"}"#),
    ]);
    for path in [directory.path().to_owned(), directory.path().join("model.safetensors")] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let config = &checkpoint.config;
        assert_eq!(config.directory, directory.path());
        assert_eq!(config.config["rope_scaling"]["factor"], 8.0);
        assert_eq!(config.generation_config.as_ref().unwrap()["eos_token_id"][1], 2);
        assert_eq!(config.required_tokenizer().unwrap(), br#"{"version":"1.0"}"#);
        assert_eq!(config.special_tokens_map.as_ref().unwrap()["eos_token"], "</s>");
        assert_eq!(config.chat_template(), Some("{{ messages }}"));
        assert!(checkpoint.weights.tensor("scalar").is_some());
    }
}

#[test]
fn only_the_configuration_must_be_there() {
    let directory = folder(&[("config.json", "{}")]);
    let config = HfConfig::open(directory.path()).unwrap();
    assert_eq!(config.chat_template(), None);
    let error = config.required_tokenizer().unwrap_err();
    assert_eq!(error.to_string(), format!("tokenizer.json is missing in {}", directory.path().display()));
    fs::remove_file(directory.path().join("config.json")).unwrap();
    let error = Checkpoint::open(directory.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("config.json is missing in {}", directory.path().display()));
    assert_eq!(error.path(), Some(directory.path()));
}

#[test]
fn templates_come_from_the_newest_place() {
    let list = r#"{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"},{"bad":1}]}"#;
    let directory = folder(&[("config.json", "{}"), ("tokenizer_config.json", list)]);
    let read = || HfConfig::open(directory.path()).unwrap();
    assert_eq!(read().chat_template(), Some("D"));
    assert_eq!(read().chat_templates.len(), 2);
    fs::write(directory.path().join("chat_template.json"), r#"{"chat_template":"J"}"#).unwrap();
    assert_eq!(read().chat_template(), Some("J"));
    fs::write(directory.path().join("chat_template.jinja"), "{{ 안녕 }}").unwrap();
    assert_eq!(read().chat_template(), Some("{{ 안녕 }}"));
    fs::write(directory.path().join("chat_template.jinja"), b"ab\xff").unwrap();
    assert!(matches!(HfConfig::open(directory.path()), Err(FormatError::NotUtf8 { offset: 2, .. })));
}

#[test]
fn broken_files_are_located() {
    let directory = folder(&[("config.json", "{\n  \"a\": tru}")]);
    match HfConfig::open(directory.path()) {
        Err(FormatError::Json { path, line, column, message }) => {
            assert_eq!(path, directory.path().join("config.json"));
            assert_eq!((line, message.as_str()), (2, "expected ident"));
            assert!(column > 5);
        }
        other => panic!("{other:?}"),
    }
    fs::write(directory.path().join("config.json"), "[".repeat(100_000)).unwrap();
    assert!(matches!(HfConfig::open(directory.path()), Err(FormatError::Json { .. })), "no stack overflow");
}

#[test]
fn a_huge_file_is_not_read() {
    let directory = folder(&[("config.json", "{}")]);
    let sparse = |name: &str, len: u64| {
        fs::File::create(directory.path().join(name)).unwrap().set_len(len).unwrap();
    };
    sparse("tokenizer.json", 1 << 40);
    let (result, peak) = crate::allocations::peak_of(|| HfConfig::open(directory.path()));
    assert!(matches!(result, Err(FormatError::TooLarge { bytes: 0x100_0000_0000, .. })), "{result:?}");
    assert!(peak < 1 << 20);
}

#[test]
fn a_file_name_without_a_folder_means_the_current_one() {
    // `Path::parent` of a bare name is the empty path, which no system call accepts.
    let error = Checkpoint::open(Path::new("no-such-model.safetensors")).unwrap_err();
    assert!(matches!(error, FormatError::NotFound { .. }), "{error}");
}
