//! Metadata that lie: a typed error, never a panic or a large allocation.

use proptest::prelude::*;
use saem_formats::Source;
use saem_formats::gguf::{Gguf, Value, Writer};
use saem_kernels::DataType;
use saem_kernels::attention::KvType;
use saem_model::{Config, LoadOptions, Model, ModelError, convert, load_tokenizer};
use serde_json::json;

use crate::support::{FAMILIES, fixture, one_pass, open, pool};

fn config_of(family: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture(family).join("config.json")).unwrap()).unwrap()
}

#[test]
fn absurd_numbers_are_named() {
    for (field, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-5)),
        ("hidden_size", json!(1_u64 << 62)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!("four")),
        ("num_key_value_heads", json!(3)),
        ("num_key_value_heads", json!(0)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(4_000_000_000_u64)),
        ("head_dim", json!(15)),
        ("intermediate_size", json!(1.5)),
        ("vocab_size", json!(1_u64 << 40)),
        ("max_position_embeddings", json!(0)),
        ("rms_norm_eps", json!(-1.0)),
        ("rms_norm_eps", json!(1e300)),
        ("hidden_act", json!("relu9")),
        ("rope_parameters", json!({ "rope_type": "spiral" })),
        ("rope_parameters", json!({ "rope_type": "linear" })),
        ("rope_parameters", json!({ "rope_type": "linear", "factor": 0.0 })),
        ("rope_parameters", json!({ "rope_theta": 0.0 })),
        ("rope_parameters", json!({ "rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0 })),
        ("model_type", json!("gpt9")),
        ("model_type", json!(7)),
    ] {
        let mut config = config_of("llama");
        config[field] = value.clone();
        let error = Config::from_hf(&config).map(|_| ()).unwrap_err();
        println!("{field} = {value}: {error}");
    }
    for field in ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size"] {
        let mut config = config_of("llama");
        config.as_object_mut().unwrap().remove(field);
        let error = Config::from_hf(&config).unwrap_err();
        assert!(matches!(&error, ModelError::MissingField { field: named } if named == field), "{error}");
    }
}

#[test]
fn experts_must_add_up() {
    for (field, value) in [
        ("num_experts_per_tok", json!(9)),
        ("num_experts_per_tok", json!(0)),
        ("num_experts", json!(1 << 30)),
        ("n_group", json!(3)),
        ("topk_group", json!(5)),
        ("num_experts_per_tok", json!(5)),
        ("moe_intermediate_size", json!(0)),
        ("num_shared_experts", json!(1_u64 << 60)),
        ("layer_types", json!(["sliding_attention"])),
        ("layer_types", json!(["linear_attention", "a", "b", "c"])),
        ("layer_types", json!(4)),
        ("sliding_window", json!(1_u64 << 50)),
    ] {
        let mut config = config_of("exaone_moe");
        config[field] = value.clone();
        assert!(Config::from_hf(&config).is_err(), "{field} = {value}");
    }
}

/// A GGUF file with a Llama's metadata, changed, and one tensor.
fn gguf(change: impl Fn(&str) -> Option<Value<'static>>, embedding: &[usize]) -> Source {
    let mut writer = Writer::new();
    for (key, value) in [
        ("general.architecture", Value::from("llama")),
        ("llama.context_length", Value::U32(128)),
        ("llama.embedding_length", Value::U32(32)),
        ("llama.block_count", Value::U32(1)),
        ("llama.feed_forward_length", Value::U32(64)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ] {
        writer.add_metadata(key, change(key).unwrap_or(value)).unwrap();
    }
    writer.add_tensor("token_embd.weight", embedding, DataType::F32).unwrap();
    let mut data = writer.start(Vec::new()).unwrap();
    data.write_tensor(&vec![0; embedding.iter().product::<usize>() * 4]).unwrap();
    Source::Gguf(Gguf::parse(data.finish().unwrap()).unwrap())
}

fn load(source: &Source) -> Result<Model, ModelError> {
    Model::load(source, &pool(), &LoadOptions::default(), &mut |_, _| {})
}

#[test]
fn gguf_metadata_are_checked_against_tensors() {
    let missing = load(&gguf(|_| None, &[32, 10])).unwrap_err();
    assert!(matches!(&missing, ModelError::MissingTensor { name } if name == "output_norm.weight"), "{missing}");
    let shape = load(&gguf(|_| None, &[16, 10])).unwrap_err();
    assert!(matches!(&shape, ModelError::Shape { expected, .. } if expected == &[10, 32]), "{shape}");
    let shape = load(&gguf(|_| None, &[32, 5, 2])).unwrap_err();
    assert!(matches!(shape, ModelError::Shape { .. }), "{shape}");
    for (wanted, value) in [
        ("llama.embedding_length", Value::U64(u64::MAX)),
        ("llama.embedding_length", Value::String(b"wide")),
        ("llama.block_count", Value::U32(u32::MAX)),
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.attention.head_count", Value::I32(-4)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)),
        ("general.architecture", Value::from("mystery")),
        ("general.architecture", Value::U8(1)),
    ] {
        let change = move |key: &str| (key == wanted).then_some(value);
        let error = load(&gguf(change, &[32, 10])).unwrap_err();
        println!("{wanted} = {value}: {error}");
        assert!(!matches!(error, ModelError::MissingTensor { .. }), "{wanted} = {value}: {error}");
    }
}

/// Values that metadata may hold instead of the right ones.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        (0..300_u64).prop_map(|value| json!(value)),
        any::<i32>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        Just(json!("sliding_attention")),
        Just(json!("LLLG")),
        prop::collection::vec(0..20_u64, 0..4).prop_map(|value| json!(value)),
        Just(json!({ "rope_type": "yarn", "factor": 1e-30 })),
        Just(json!({ "rope_type": "yarn", "factor": 4, "beta_fast": 0, "original_max_position_embeddings": 1 })),
        Just(json!({ "full_attention": { "rope_type": "llama3", "factor": 8 }, "sliding_attention": 3 })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two fields of any family's configuration are replaced by anything. What passes can be laid out in memory.
    #[test]
    fn any_config_is_read_or_refused(
        family in prop::sample::select(FAMILIES.to_vec()),
        fields in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..3),
    ) {
        let mut config = config_of(family);
        let names: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for (index, value) in fields {
            config[index.get(&names)] = value;
        }
        if let Ok(config) = Config::from_hf(&config) {
            for rope in &config.ropes {
                prop_assert!(rope.inverse_frequencies().iter().all(|frequency| frequency.is_finite()));
            }
            prop_assert!(saem_model::Workspace::byte_len(&config, 1, 1) < 1 << 30);
            prop_assert!(saem_model::KvCache::block_bytes(&config, KvType::F32) < 1 << 40);
        }
    }
}

/// A small model's GGUF file, and where its tensor data begin.
fn file(family: &str) -> (Vec<u8>, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    convert(&open(family).0, &path, None, &pool(), &mut |_, _| {}).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let Source::Gguf(file) = Source::open(&path).unwrap() else { unreachable!("convert writes GGUF") };
    let start = file.tensors().iter().map(|tensor| tensor.location().1.start).min().unwrap();
    (bytes, start)
}

/// Bytes of the header are changed. What still parses is a model that runs, or is refused.
#[test]
fn changed_files_run_or_are_refused() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500_u64);
    for family in ["exaone4-full", "exaone_moe", "gemma3"] {
        let (original, header) = file(family);
        let mut state = 0x5eed_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut ran, mut refused) = (0, 0);
        for _ in 0..cases {
            let mut bytes = original.clone();
            for _ in 0..=random(3) {
                bytes[random(header)] = if random(2) == 0 { random(256) as u8 } else { random(4) as u8 };
            }
            let Ok(parsed) = Gguf::parse(bytes) else { continue };
            let source = Source::Gguf(parsed);
            let _ = load_tokenizer(&source);
            match load(&source) {
                Ok(model) => {
                    one_pass(&model, KvType::F16, &[0, 1, 2]);
                    ran += 1;
                }
                Err(_) => refused += 1,
            }
        }
        println!("{family}: {ran} ran, {refused} were refused");
        assert!(ran > 0 && refused > 0);
    }
}
