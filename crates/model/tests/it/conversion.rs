//! Safetensors to GGUF and back: the same model under other names.

use std::path::Path;

use saem_formats::Source;
use saem_kernels::DataType;
use saem_kernels::attention::KvType;
use saem_kernels::ops::RopeStyle;
use saem_model::convert;

use crate::support::{FAMILIES, distance, load, mean_distance, one_pass, open, pool};

fn converted(source: &Source, output: &Path, data_type: Option<DataType>) -> Source {
    let mut last = (0, 0);
    let done = convert(source, output, data_type, &pool(), &mut |done, total| last = (done, total)).unwrap();
    assert_eq!(last, (done.bytes, done.bytes));
    Source::open(output).unwrap()
}

#[test]
fn every_family_survives_the_way_to_gguf_and_back() {
    let directory = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let (source, tokens, expected) = open(family);
        let gguf = converted(&source, &directory.path().join(format!("{family}.gguf")), None);
        let model = load(&gguf, None);
        let found = distance(&one_pass(&model, KvType::F32, &tokens), &expected);
        assert!(found < 1e-4, "{family} as GGUF: {found:e}");

        let back = converted(&gguf, &directory.path().join(family), None);
        let again = load(&back, None);
        let found = distance(&one_pass(&again, KvType::F32, &tokens), &expected);
        assert!(found < 1e-4, "{family} as GGUF and back: {found:e}");
        let original = load(&source, None).config;
        assert_eq!((again.config.family, again.config.layers), (original.family, original.layers), "{family}");
    }
}

#[test]
fn llama_files_have_their_own_row_order() {
    let directory = tempfile::tempdir().unwrap();
    for (family, style) in
        [("llama", RopeStyle::Interleaved), ("llama-yarn", RopeStyle::Interleaved), ("qwen2", RopeStyle::Half)]
    {
        let gguf = converted(&open(family).0, &directory.path().join(format!("{family}.gguf")), None);
        assert_eq!(load(&gguf, None).config.rope_style, style, "{family}");
    }
}

#[test]
fn compressed_files_equal_weights_compressed_while_loading() {
    let directory = tempfile::tempdir().unwrap();
    for family in ["llama", "gemma3", "qwen3_moe", "exaone_moe"] {
        let (source, tokens, _) = open(family);
        let expected = one_pass(&load(&source, Some(DataType::Q8_0)), KvType::F32, &tokens);
        let path = directory.path().join(format!("{family}.gguf"));
        let model = load(&converted(&source, &path, Some(DataType::Q8_0)), None);
        let found = distance(&one_pass(&model, KvType::F32, &tokens), &expected);
        assert!(found < 1e-5, "{family}: {found:e}");
    }
}

#[test]
fn gguf_to_gguf_changes_types_and_keeps_keys() {
    let directory = tempfile::tempdir().unwrap();
    let (source, tokens, expected) = open("llama");
    let first = converted(&source, &directory.path().join("f32.gguf"), None);
    let second = converted(&first, &directory.path().join("q8_0.gguf"), Some(DataType::Q8_0));
    let (Source::Gguf(first), Source::Gguf(file)) = (&first, &second) else { panic!("not GGUF") };
    for (key, value) in first.metadata().iter().filter(|(key, _)| *key != "general.file_type") {
        assert_eq!(file.metadata().get(key), Some(value), "{key}");
    }
    assert_eq!(file.metadata().u32("general.file_type"), Some(7));
    assert_eq!(file.tensor("blk.0.attn_q.weight").unwrap().data_type, DataType::Q8_0);
    assert_eq!(file.tensor("blk.0.attn_norm.weight").unwrap().data_type, DataType::F32);
    let found = mean_distance(&one_pass(&load(&second, None), KvType::F32, &tokens), &expected);
    assert!(found < 0.1, "{found:e}");
}

#[test]
fn safetensors_cannot_hold_quantised_types() {
    let directory = tempfile::tempdir().unwrap();
    let (source, ..) = open("llama");
    let output = directory.path().join("out");
    let error = convert(&source, &output, Some(DataType::Q8_0), &pool(), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains(".gguf"), "{error}");
    assert!(!output.exists());
}

#[test]
fn nothing_is_overwritten_or_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (source, ..) = open("llama");
    let output = directory.path().join("out");
    std::fs::create_dir(&output).unwrap();
    std::fs::write(output.join("precious"), "data").unwrap();
    assert!(convert(&source, &output, None, &pool(), &mut |_, _| {}).is_err());
    assert_eq!(std::fs::read(output.join("precious")).unwrap(), b"data");
    let missing = directory.path().join("no/such/folder/model.gguf");
    assert!(convert(&source, &missing, None, &pool(), &mut |_, _| {}).is_err());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
