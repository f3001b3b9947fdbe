//! A LoRA in the weights against the same LoRA beside them.

use std::path::{Path, PathBuf};

use saem_formats::Source;
use saem_kernels::DataType;
use saem_kernels::attention::KvType;
use saem_model::{Adapter, AdapterOptions, Model, ModelError, convert, merge};

use crate::support::{distance, fixture, load, mean_distance, one_pass, open, pool, run_adapted};

fn adapter_path(name: &str) -> PathBuf {
    fixture("adapters").join(name)
}

/// Logits of a base with an adapter beside it.
fn beside(model: &Model, adapter: &Path, tokens: &[u32]) -> Vec<f32> {
    let adapter = Adapter::load(adapter, &model.config, &AdapterOptions::default()).unwrap();
    run_adapted(&pool(), model, KvType::F32, &[Some(&adapter)], &[vec![(0, tokens)]]).remove(0)
}

fn merged(source: &Source, adapter: &Path, output: &Path, data_type: Option<DataType>) -> Model {
    let mut last = (0, 0);
    let done = merge(source, adapter, output, data_type, &pool(), &mut |done, total| last = (done, total)).unwrap();
    assert_eq!(last, (done.bytes, done.bytes));
    load(&Source::open(output).unwrap(), None)
}

/// In floats the sum is the model with its adapter. Types of fewer bits differ by what they round, bounded here by about
/// twice what was measured on these weights, which amplify every error.
#[test]
fn a_merged_model_is_the_base_with_its_adapter() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["llama-lora", "llama-rslora", "qwen2-lora", "gemma3-lora", "exaone4-lora", "starcoder2-lora"] {
        let (source, tokens, plain) = open(name.rsplit_once('-').unwrap().0);
        let expected = crate::support::expected(&adapter_path(name));
        assert!(distance(&expected, &plain) > 0.05, "{name} changes nothing");
        for (end, data_type, bound) in [
            ("", DataType::F32, 1e-5),
            (".gguf", DataType::F32, 1e-5),
            ("-half.gguf", DataType::F16, 0.005),
            ("-half", DataType::Bf16, 0.04),
            ("-q8.gguf", DataType::Q8_0, 0.13),
        ] {
            let output = directory.path().join(format!("{name}{end}"));
            let model = merged(&source, &adapter_path(name), &output, Some(data_type));
            let found = mean_distance(&one_pass(&model, KvType::F32, &tokens), &expected);
            println!("{name}{end} as {data_type}: {found:.1e}");
            assert!(found < bound, "{name}{end} as {data_type}: {found:e}");
        }
    }
}

/// `peft` gives each row of the sum a length of its own.
#[test]
fn magnitudes_are_put_into_the_weights() {
    let directory = tempfile::tempdir().unwrap();
    let (source, tokens, plain) = open("llama");
    let adapter = adapter_path("llama-dora");
    let expected = crate::support::expected(&adapter);
    assert!(distance(&expected, &plain) > 0.05);
    let gguf = directory.path().join("base.gguf");
    convert(&source, &gguf, None, &pool(), &mut |_, _| {}).unwrap();
    for (number, base) in [source, Source::open(&gguf).unwrap()].iter().enumerate() {
        for end in ["", ".gguf"] {
            let output = directory.path().join(format!("merged-{number}{end}"));
            let model = merged(base, &adapter, &output, Some(DataType::F32));
            let far = mean_distance(&one_pass(&model, KvType::F32, &tokens), &expected);
            println!("{}: {far:.1e}", output.display());
            assert!(far < 1e-5, "{}: {far:e}", output.display());
        }
    }
}

/// A quantised base is expanded, and what is added to it is not rounded: the result is the adapter beside the same
/// weights in floats, whichever format base, adapter and output have.
#[test]
fn a_quantised_base_takes_an_adapter_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["llama-lora", "qwen2-lora"] {
        let (source, tokens, _) = open(name.rsplit_once('-').unwrap().0);
        for stored in [DataType::Q8_0, DataType::Q4_0] {
            let quantised = place(&format!("{name}-{stored}.gguf"));
            convert(&source, &quantised, Some(stored), &pool(), &mut |_, _| {}).unwrap();
            let quantised = Source::open(&quantised).unwrap();
            let floats = place(&format!("{name}-{stored}-floats.gguf"));
            convert(&quantised, &floats, Some(DataType::F32), &pool(), &mut |_, _| {}).unwrap();
            let floats = load(&Source::open(&floats).unwrap(), None);
            for adapter in [adapter_path(name), adapter_path(name).join("adapter.gguf")] {
                let expected = beside(&floats, &adapter, &tokens);
                for end in ["", ".gguf"] {
                    let output = place(&format!("{name}-{stored}-{}{end}", adapter.is_dir()));
                    let model = merged(&quantised, &adapter, &output, Some(DataType::F32));
                    let far = distance(&one_pass(&model, KvType::F32, &tokens), &expected);
                    assert!(far < 1e-5, "{} on {stored} to {:?}: {far:e}", adapter.display(), output.file_name());
                }
            }
        }
    }
}

/// What is wrong with an adapter is said before anything is written.
#[test]
fn what_cannot_be_merged_is_named_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out.gguf");
    let (source, ..) = open("llama");
    let refused = |adapter: &Path| {
        let error = merge(&source, adapter, &output, None, &pool(), &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, ModelError::Adapter(_)), "{error}");
        assert!(!output.exists());
        error.to_string()
    };
    // A soft prompt changes no weights; another model's LoRA has other shapes or other modules.
    assert!(refused(&adapter_path("llama-prompt")).contains("peft_type is PROMPT_TUNING"));
    assert!(refused(&adapter_path("qwen2-lora")).contains("shape"));
    assert!(refused(&adapter_path("starcoder2-lora")).contains("mlp.c_fc"));
    assert!(refused(&directory.path().join("nothing")).contains("nothing"));
    assert!(refused(&fixture("llama")).contains("adapter_config.json"));
    // A LoRA of nothing would be a copy that claims to be tuned.
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::copy(adapter_path("llama-lora").join("adapter_config.json"), empty.join("adapter_config.json")).unwrap();
    let writer = saem_formats::safetensors::Writer::new();
    let bytes = writer.start(Vec::new()).unwrap().finish().unwrap();
    std::fs::write(empty.join("adapter_model.safetensors"), bytes).unwrap();
    assert!(refused(&empty).contains("no tensor of a LoRA"));
    // Bytes that end in the middle.
    let cut = directory.path().join("cut");
    std::fs::create_dir(&cut).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let bytes = std::fs::read(adapter_path("llama-lora").join(name)).unwrap();
        let end = if name.ends_with("json") { bytes.len() } else { bytes.len() / 2 };
        std::fs::write(cut.join(name), &bytes[..end]).unwrap();
    }
    assert!(refused(&cut).contains("adapter_model.safetensors"));
    let folders = ["cut", "empty"].map(|name| directory.path().join(name));
    let left: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.len() == 2 && left.iter().all(|path| folders.contains(path)), "{left:?}");
}
