//! Adapters that lie or do not fit: an error that names the tensor or the field, never a panic or a large allocation.

use std::path::Path;

use saem_formats::gguf::{self, Value as Field};
use saem_formats::safetensors::{SafeTensors, Writer};
use saem_kernels::DataType;
use saem_model::{Adapter, AdapterError, AdapterOptions, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{fixture, load, open};

const QUERY_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const QUERY_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn config() -> Config {
    Config::from_source(&open("llama").0).unwrap()
}

fn read(path: &Path) -> Result<Adapter, AdapterError> {
    Adapter::load(path, &config(), &AdapterOptions::default())
}

/// A tensor to write: name, shape, values.
type Tensor = (String, Vec<usize>, Vec<f32>);

/// A fixture's tensors, to be changed.
fn tensors(name: &str) -> Vec<Tensor> {
    let file = SafeTensors::open(fixture("adapters").join(name).join("adapter_model.safetensors")).unwrap();
    let values = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors()
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone(), values(file.tensor_bytes(tensor))))
        .collect()
}

fn json_of(name: &str) -> Value {
    let path = fixture("adapters").join(name).join("adapter_config.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A folder with this configuration and these tensors.
fn folder(config: &Value, tensors: &[Tensor]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("adapter_config.json"), config.to_string()).unwrap();
    let mut writer = Writer::new();
    for (name, shape, _) in tensors {
        writer.add_tensor(name, shape, DataType::F32).unwrap();
    }
    let mut data = writer.start(Vec::new()).unwrap();
    for (_, _, values) in tensors {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data.write_tensor(&bytes).unwrap();
    }
    std::fs::write(directory.path().join("adapter_model.safetensors"), data.finish().unwrap()).unwrap();
    directory
}

#[test]
fn fields_that_change_the_result_or_make_no_sense_are_refused_by_name() {
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("peft_type", json!(7)),
        ("peft_type", json!(null)),
        ("r", json!(null)),
        ("r", json!(-4)),
        ("r", json!("four")),
        ("lora_alpha", json!("much")),
        ("lora_alpha", json!(1e300)),
        ("use_dora", json!("yes")),
        ("use_rslora", json!("yes")),
        ("use_qalora", json!(true)),
        ("lora_bias", json!(true)),
        ("bias", json!("all")),
        ("modules_to_save", json!(["lm_head"])),
        ("layer_replication", json!([[0, 2], [1, 3]])),
        ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
        ("trainable_token_indices", json!([1, 2])),
        ("alora_invocation_tokens", json!([5])),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("rank_pattern", json!({ "q_.*": 4 })),
        ("rank_pattern", json!({ "no_such_proj": 4 })),
        ("rank_pattern", json!({ "q_proj": 4.5 })),
        ("rank_pattern", json!([4])),
        ("alpha_pattern", json!({ "q_proj": null })),
    ] {
        let mut config = json_of("llama-lora");
        config[field] = value.clone();
        let error = read(folder(&config, &tensors("llama-lora")).path()).unwrap_err();
        println!("{error}");
        match &error {
            AdapterError::Unsupported { field: named, .. } | AdapterError::Field { field: named, .. } => {
                assert_eq!(*named, field);
            }
            other => panic!("{field} = {value}: {other}"),
        }
    }
    let config = json_of("llama-prompt");
    for value in [json!(null), json!(0), json!(-1), json!(256), json!(1_u64 << 60)] {
        let mut config = config.clone();
        config["num_virtual_tokens"] = value;
        let error = read(folder(&config, &tensors("llama-prompt")).path()).unwrap_err();
        assert!(matches!(error, AdapterError::Field { field: "num_virtual_tokens", .. }), "{error}");
    }
    let mut config = json_of("llama-prefix");
    config["num_transformer_submodules"] = json!(2);
    let error = read(folder(&config, &tensors("llama-prefix")).path()).unwrap_err();
    assert!(matches!(error, AdapterError::Unsupported { field: "num_transformer_submodules", .. }), "{error}");
}

#[test]
fn heads_are_checked_and_have_names() {
    const SCORE: &str = "base_model.model.score.weight";
    let config = json_of("llama-labels");
    let with = |tensors: &[Tensor], names: Option<&str>| {
        let folder = folder(&config, tensors);
        if let Some(names) = names {
            std::fs::write(folder.path().join("config.json"), names).unwrap();
        }
        read(folder.path())
    };
    let whole = tensors("llama-labels");
    let names = r#"{"id2label": {"1": "b", "0": "a", "2": "c"}}"#;
    assert_eq!(with(&whole, Some(names)).unwrap().labels(), ["a", "b", "c"]);
    let unnamed = with(&whole, None).unwrap();
    assert_eq!((unnamed.labels(), unnamed.rank()), (&["LABEL_0", "LABEL_1", "LABEL_2"].map(String::from)[..], 4));
    for names in [
        r#"{"id2label": {"0": "a", "1": "b"}}"#,
        r#"{"id2label": {"0": "a", "1": "b", "3": "c"}}"#,
        r#"{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}"#,
        r#"{"id2label": {"0": "a", "1": "b", "2": 3}}"#,
        r#"{"id2label": ["a", "b", "c"]}"#,
    ] {
        let error = with(&whole, Some(names)).unwrap_err();
        assert!(matches!(error, AdapterError::Field { field: "id2label", .. }), "{names}: {error}");
    }
    assert!(matches!(with(&whole, Some("{")), Err(AdapterError::Format(_))));
    let changed = |change: &dyn Fn(&mut Tensor)| {
        let mut tensors = whole.clone();
        change(tensors.iter_mut().find(|(name, ..)| name == SCORE).unwrap());
        with(&tensors, None).unwrap_err()
    };
    assert!(matches!(changed(&|head| head.2[7] = f32::NAN), AdapterError::NotFinite { tensor, .. } if tensor == SCORE));
    for shape in [vec![32, 3], vec![96], vec![0, 32], vec![400, 32]] {
        let error = changed(&|head| (head.1, head.2) = (shape.clone(), vec![0.0; shape.iter().product()]));
        assert!(matches!(error, AdapterError::Shape { .. }), "{shape:?}: {error}");
    }
    let without: Vec<Tensor> = whole.iter().filter(|(name, ..)| name != SCORE).cloned().collect();
    assert!(matches!(with(&without, None), Err(AdapterError::MissingTensor { tensor, .. }) if tensor == SCORE));
    // Where no head is said to be there, its tensor has no place.
    let lora = folder(&json_of("llama-lora"), &whole);
    assert!(matches!(read(lora.path()), Err(AdapterError::UnknownTensor { tensor, .. }) if tensor == SCORE));
    let path = fixture("adapters/llama-labels");
    let bytes = read(&path).unwrap().byte_len();
    for (max_bytes, is_enough) in [(bytes, true), (bytes - 1, false), (3 * 32 * 4 - 1, false)] {
        let loaded = Adapter::load(&path, &self::config(), &AdapterOptions { max_bytes, ..AdapterOptions::default() });
        assert_eq!(loaded.is_ok(), is_enough, "{max_bytes}");
        assert!(matches!(loaded, Ok(_) | Err(AdapterError::TooLarge { .. })));
    }
}

#[test]
fn what_does_not_matter_may_be_missing() {
    let config = json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8.0 });
    let adapter = read(folder(&config, &tensors("llama-lora")).path()).unwrap();
    assert_eq!((adapter.rank(), adapter.virtual_tokens()), (4, 0));
    // A checkpoint that wraps the decoder gives its modules longer names.
    for (from, to) in
        [("model.model.layers", "model.model.language_model.layers"), ("model.model.layers", "model.layers")]
    {
        let wrapped: Vec<Tensor> = tensors("llama-lora")
            .into_iter()
            .map(|(name, shape, values)| (name.replace(from, to), shape, values))
            .collect();
        assert_eq!(read(folder(&config, &wrapped).path()).unwrap().byte_len(), adapter.byte_len());
    }
}

/// Changes the tensor of this name and returns the error.
fn changed(name: &str, tensor: &str, change: impl FnOnce(&mut Tensor)) -> AdapterError {
    let mut tensors = tensors(name);
    change(tensors.iter_mut().find(|(found, ..)| found == tensor).unwrap());
    let error = read(folder(&json_of(name), &tensors).path()).unwrap_err();
    println!("{error}");
    error
}

#[test]
fn tensors_of_another_shape_are_named_with_both_shapes() {
    let reshaped = |name: &str, tensor: &'static str, shape: &'static [usize], right: &[usize]| {
        let error = changed(name, tensor, |tensor| {
            tensor.1 = shape.to_vec();
            tensor.2.resize(shape.iter().product(), 0.0);
        });
        let AdapterError::Shape { tensor: named, expected, found, .. } = &error else { panic!("{error}") };
        assert_eq!((named.as_str(), &expected[..], &found[..]), (tensor, right, shape));
    };
    reshaped("llama-lora", QUERY_A, &[4, 31], &[4, 32]);
    reshaped("llama-lora", QUERY_A, &[5, 32], &[4, 32]);
    reshaped("llama-lora", QUERY_A, &[128], &[4, 32]);
    reshaped("llama-lora", QUERY_A, &[4, 32, 1], &[4, 32]);
    reshaped("llama-lora", QUERY_A, &[0, 32], &[4, 32]);
    reshaped("llama-lora", QUERY_B, &[32, 4], &[64, 4]);
    reshaped("llama-lora", QUERY_B, &[64, 1], &[64, 4]);
    reshaped("llama-prompt", "prompt_embeddings", &[5, 33], &[5, 32]);
    reshaped("llama-prompt", "prompt_embeddings", &[4, 32], &[5, 32]);
    reshaped("llama-prompt", "prompt_embeddings", &[160], &[5, 32]);
    // A key and a value of 32 in each of three layers.
    reshaped("llama-prefix", "prompt_embeddings", &[4, 32], &[4, 192]);
    reshaped("llama-prefix", "prompt_embeddings", &[5, 192], &[4, 192]);
}

#[test]
fn tensors_that_are_missing_left_over_or_broken_are_named() {
    let missing = changed("llama-lora", QUERY_B, |tensor| tensor.0 = QUERY_B.replace("layers.0", "layers.3"));
    assert!(matches!(&missing, AdapterError::UnknownTensor { layers: 3, .. }), "{missing}");
    let mut tensors_left: Vec<Tensor> = tensors("llama-lora");
    tensors_left.retain(|(name, ..)| name != QUERY_B);
    let error = read(folder(&json_of("llama-lora"), &tensors_left).path()).unwrap_err();
    assert!(matches!(&error, AdapterError::MissingTensor { tensor, .. } if tensor == QUERY_B), "{error}");
    for strange in [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias",
        "base_model.model.model.layers.0.input_layernorm.lora_A.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        // The same module once more, as a bare checkpoint would call it.
        "base_model.model.layers.0.self_attn.k_proj.lora_A.weight",
    ] {
        let error = changed("llama-lora", QUERY_A, |tensor| tensor.0 = strange.to_owned());
        assert!(matches!(&error, AdapterError::UnknownTensor { tensor, .. } if tensor == strange), "{error}");
    }
    for value in [f32::NAN, f32::INFINITY] {
        let error = changed("llama-lora", QUERY_B, |tensor| tensor.2[77] = value);
        assert!(matches!(&error, AdapterError::NotFinite { tensor, .. } if tensor == QUERY_B), "{error}");
        let error = changed("llama-prompt", "prompt_embeddings", |tensor| tensor.2[77] = value);
        assert!(matches!(error, AdapterError::NotFinite { .. }), "{error}");
    }
    let merge = |config: &Value, tensors: &[Tensor]| {
        let folder = folder(config, tensors);
        let pool = saem_kernels::ThreadPool::new(1).unwrap();
        let output = folder.path().join("out.gguf");
        let done = saem_model::merge(&open("llama").0, folder.path(), &output, None, &pool, &mut |_, _| {});
        done.map(|_| ()).map_err(|error| match error {
            saem_model::ModelError::Adapter(error) => *error,
            other => panic!("{other}"),
        })
    };
    let magnitude = QUERY_B.replace("lora_B.weight", "lora_magnitude_vector");
    let (dora, whole) = (json_of("llama-dora"), tensors("llama-dora"));
    merge(&dora, &whole).unwrap();
    // Its factors depend on the weights: a shape is not enough.
    let error = read(folder(&dora, &whole).path()).unwrap_err();
    assert!(matches!(error, AdapterError::NeedsWeights { .. }), "{error}");
    let model = load(&open("llama").0, None);
    let beside = |tensors: &[Tensor], max_bytes| {
        let options = AdapterOptions { max_bytes, ..AdapterOptions::default() };
        model.adapter(folder(&dora, tensors).path(), &options).map(|adapter| adapter.byte_len())
    };
    let bytes = beside(&whole, usize::MAX).unwrap();
    assert_eq!(beside(&whole, bytes).unwrap(), bytes);
    assert!(matches!(beside(&whole, bytes - 1).unwrap_err(), AdapterError::TooLarge { .. }));
    let without = |missing: &str| whole.iter().filter(|(name, ..)| name != missing).cloned().collect::<Vec<Tensor>>();
    let error = merge(&dora, &without(&magnitude)).unwrap_err();
    assert!(matches!(&error, AdapterError::MissingTensor { tensor, .. } if *tensor == magnitude), "{error}");
    let error = merge(&dora, &without(QUERY_A)).unwrap_err();
    assert!(matches!(&error, AdapterError::MissingTensor { tensor, .. } if tensor == QUERY_A), "{error}");
    let mut plain = dora.clone();
    plain["use_dora"] = json!(false);
    assert!(matches!(merge(&plain, &whole).unwrap_err(), AdapterError::UnknownTensor { .. }));
    let mut longer = whole.clone();
    let found = longer.iter_mut().find(|(name, ..)| *name == magnitude).unwrap();
    (found.1, found.2) = (vec![65], vec![1.0; 65]);
    assert!(matches!(merge(&dora, &longer).unwrap_err(), AdapterError::Shape { .. }));
    assert!(matches!(beside(&longer, usize::MAX).unwrap_err(), AdapterError::Shape { .. }));
    assert!(matches!(beside(&without(&magnitude), usize::MAX).unwrap_err(), AdapterError::MissingTensor { .. }));
    let empty = read(folder(&json_of("llama-lora"), &[]).path()).unwrap_err();
    assert!(matches!(empty, AdapterError::NotAnAdapter { .. }), "{empty}");
    let empty = read(folder(&json_of("llama-prompt"), &[]).path()).unwrap_err();
    assert!(matches!(empty, AdapterError::MissingTensor { .. }), "{empty}");
}

#[test]
fn ranks_and_sizes_are_bounded_before_anything_is_packed() {
    let mut settings = json_of("llama-lora");
    for rank in [json!(0), json!(33), json!(1_u64 << 60)] {
        settings["r"] = rank;
        let error = read(folder(&settings, &tensors("llama-lora")).path()).unwrap_err();
        assert!(matches!(error, AdapterError::Rank { limit: 32, .. }), "{error}");
    }
    let path = fixture("adapters/llama-lora");
    let load = |max_rank, max_bytes| {
        let options = AdapterOptions { max_rank, max_bytes, ..AdapterOptions::default() };
        Adapter::load(&path, &config(), &options)
    };
    let bytes = load(4, usize::MAX).unwrap().byte_len();
    assert!(load(4, bytes).is_ok());
    assert!(matches!(load(4, bytes - 1), Err(AdapterError::TooLarge { .. })));
    assert!(matches!(load(3, bytes), Err(AdapterError::Rank { rank: 4, limit: 3, .. })));
    let options = AdapterOptions { max_bytes: 5 * 32 * 4 - 1, ..AdapterOptions::default() };
    for name in ["llama-prompt", "llama-prefix"] {
        let refused = Adapter::load(fixture("adapters").join(name), &config(), &options);
        assert!(matches!(refused, Err(AdapterError::TooLarge { .. })));
    }
}

#[test]
fn paths_that_lead_nowhere_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = read(&directory.path().join("nothing")).unwrap_err();
    assert!(matches!(error, AdapterError::Format(_)), "{error}");
    assert!(matches!(read(directory.path()).unwrap_err(), AdapterError::NotAnAdapter { .. }));
    // A model is no adapter.
    assert!(matches!(read(&fixture("llama")).unwrap_err(), AdapterError::NotAnAdapter { .. }));
    assert!(matches!(read(&fixture("llama/model.safetensors")).unwrap_err(), AdapterError::NotAnAdapter { .. }));
    let config = directory.path().join("adapter_config.json");
    for text in ["", "{", "[1, 2]", "null", "\"LORA\"", "{\"peft_type\": \"LORA\", \"r\": 4"] {
        std::fs::write(&config, text).unwrap();
        std::fs::copy(
            fixture("adapters/llama-lora/adapter_model.safetensors"),
            directory.path().join("adapter_model.safetensors"),
        )
        .unwrap();
        println!("{}", read(directory.path()).unwrap_err());
    }
    std::fs::write(&config, vec![b' '; 2 << 20]).unwrap();
    assert!(read(directory.path()).unwrap_err().to_string().contains("at most 1048576"));
    std::fs::write(&config, json_of("llama-lora").to_string()).unwrap();
    std::fs::remove_file(directory.path().join("adapter_model.safetensors")).unwrap();
    assert!(read(&config).unwrap_err().to_string().contains("adapter_model.safetensors"));
}

/// A GGUF file with these keys and one pair of tensors.
fn gguf_file(keys: &[(&str, Field<'_>)], tensor: &str, a: &[usize], b: &[usize]) -> (TempDir, std::path::PathBuf) {
    let mut writer = gguf::Writer::new();
    for (key, value) in keys {
        writer.add_metadata(key, *value).unwrap();
    }
    for (half, shape) in [("lora_a", a), ("lora_b", b)] {
        writer.add_tensor(&format!("{tensor}.{half}"), shape, DataType::F32).unwrap();
    }
    let mut data = writer.start(Vec::new()).unwrap();
    for shape in [a, b] {
        data.write_tensor(&vec![0; shape.iter().product::<usize>() * 4]).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("adapter.gguf");
    std::fs::write(&path, data.finish().unwrap()).unwrap();
    (directory, path)
}

#[test]
fn gguf_files_are_checked_alike() {
    let keys = [
        ("general.architecture", Field::from("llama")),
        ("general.type", Field::from("adapter")),
        ("adapter.type", Field::from("lora")),
        ("adapter.lora.alpha", Field::F32(8.0)),
    ];
    let with = |key: &str, value: Option<Field<'static>>| {
        let mut keys: Vec<_> =
            keys.iter().filter(|(name, _)| *name != key).map(|(name, value)| (*name, *value)).collect();
        keys.extend(value.map(|value| (key.to_owned().leak() as &str, value)));
        let (_directory, path) = gguf_file(&keys, "blk.1.attn_q.weight", &[32, 4], &[4, 64]);
        read(&path)
    };
    assert!(with("adapter.lora.alpha", None).is_ok() && with("adapter.lora.alpha", Some(Field::F32(0.0))).is_ok());
    for value in [Some(Field::F32(f32::NAN)), Some(Field::from("8"))] {
        assert!(matches!(
            with("adapter.lora.alpha", value),
            Err(AdapterError::Field { field: "adapter.lora.alpha", .. })
        ));
    }
    assert!(matches!(with("general.type", None), Err(AdapterError::NotAnAdapter { .. })));
    assert!(matches!(with("general.type", Some(Field::from("model"))), Err(AdapterError::NotAnAdapter { .. })));
    assert!(matches!(with("adapter.type", Some(Field::from("ia3"))), Err(AdapterError::Unsupported { .. })));
    let invocation = with("adapter.alora.invocation_tokens", Some(Field::U32(1)));
    assert!(matches!(invocation, Err(AdapterError::Unsupported { .. })));
    let other = with("general.architecture", Some(Field::from("qwen2"))).unwrap_err();
    assert!(
        matches!(&other, AdapterError::Architecture { found, expected: "llama", .. } if found == "qwen2"),
        "{other}"
    );

    let tensors = |tensor: &str, a: &[usize], b: &[usize]| {
        let (_directory, path) = gguf_file(&keys, tensor, a, b);
        read(&path).map(|adapter| adapter.rank())
    };
    assert_eq!(tensors("blk.2.ffn_down.weight", &[64, 7], &[7, 32]).unwrap(), 7);
    assert!(matches!(tensors("blk.3.attn_q.weight", &[32, 4], &[4, 64]), Err(AdapterError::UnknownTensor { .. })));
    assert!(matches!(tensors("output.weight", &[32, 4], &[4, 320]), Err(AdapterError::UnknownTensor { .. })));
    assert!(matches!(tensors("blk.0.attn_norm.weight", &[32, 4], &[4, 32]), Err(AdapterError::UnknownTensor { .. })));
    assert!(matches!(tensors("blk.0.attn_q.weight", &[32, 33], &[33, 64]), Err(AdapterError::Rank { rank: 33, .. })));
    assert!(matches!(tensors("blk.0.attn_q.weight", &[4, 32], &[64, 4]), Err(AdapterError::Shape { .. })));
    assert!(matches!(tensors("blk.0.attn_q.weight", &[32, 4], &[5, 64]), Err(AdapterError::Shape { .. })));
}

/// Bytes of either format are changed, cut off and added: what still loads is an adapter, the rest is refused.
#[test]
fn damaged_files_load_or_are_refused() {
    let folder = fixture("adapters/llama-lora");
    let config = config();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1200_usize);
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("adapter_config.json"), directory.path().join("adapter_config.json")).unwrap();
    for name in ["adapter_model.safetensors", "adapter.gguf", "adapter_config.json"] {
        let original = std::fs::read(folder.join(name)).unwrap();
        let path = directory.path().join(name);
        let head = original.len().min(5000);
        let mut state = 0x5eed_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let (mut loaded, mut refused) = (0, 0);
        for _ in 0..cases {
            let mut bytes = original.clone();
            for _ in 0..=random(3) {
                let place = random(head);
                bytes[place] = if random(2) == 0 { random(256) as u8 } else { bytes[place] ^ (1 << random(8)) };
            }
            if random(8) == 0 {
                bytes.truncate(random(original.len()));
            }
            std::fs::write(&path, bytes).unwrap();
            match Adapter::load(&path, &config, &AdapterOptions::default()) {
                Ok(adapter) => {
                    assert!(adapter.rank() <= 32 && adapter.fits(&config));
                    loaded += 1;
                }
                Err(_) => refused += 1,
            }
        }
        println!("{name}: {loaded} loaded, {refused} were refused");
        assert!(refused > 0, "{name}");
        std::fs::write(&path, &original).unwrap();
        assert!(Adapter::load(&path, &config, &AdapterOptions::default()).is_ok());
    }
}
