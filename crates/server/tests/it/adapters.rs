//! One model and several adapters, each a model of its own to those who ask.

use std::path::PathBuf;

use saem_engine::EngineOptions;
use saem_server::service::{AdapterFile, LoadError, ModelFile, Service, ServiceOptions};
use serde_json::{Value, json};

use crate::world::World;

/// The folder of small models and adapters that `transformers` and `peft` wrote.
fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

fn load(adapters: &[(&str, &str)]) -> Result<Service, Box<LoadError>> {
    let adapter = |(name, folder): &(&str, &str)| AdapterFile {
        name: (*name).to_owned(),
        path: fixtures().join("adapters").join(folder),
    };
    let adapters = adapters.iter().map(adapter).collect();
    let models = vec![ModelFile { name: "tiny".into(), path: fixtures().join("llama"), adapters, adapter_bytes: 0 }];
    let engine = EngineOptions { threads: 1, max_sequences: 8, ..EngineOptions::default() };
    let planned = Service::plan(models, &ServiceOptions { engine, memory: None, prompts: None }).map_err(Box::new)?;
    planned.load(&mut |_, _, _| {}).map_err(Box::new)
}

fn ask(world: &World, model: &str) -> (String, u64) {
    let body = json!({"model": model, "prompt": "hello there", "max_tokens": 12, "temperature": 0});
    let answer = world.post("/v1/completions", &body).json();
    let text = answer["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text, answer["usage"]["prompt_tokens"].as_u64().unwrap())
}

const NAMES: [&str; 4] = ["tiny", "tiny:lora", "tiny:rank", "tiny:soft"];

#[test]
fn requests_with_different_adapters_share_one_model() {
    let adapters = [("lora", "llama-lora"), ("rank", "llama-rslora"), ("soft", "llama-prompt")];
    let world = World::of(load(&adapters).unwrap());
    let listed = world.get("/v1/models").json();
    let ids: Vec<&str> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, NAMES);
    let alone: Vec<(String, u64)> = NAMES.iter().map(|name| ask(&world, name)).collect();
    for (index, (text, _)) in alone.iter().enumerate() {
        assert!(alone.iter().skip(index + 1).all(|(other, _)| other != text), "adapters change answers: {alone:?}");
    }
    assert_eq!((alone[1].1, alone[2].1), (alone[0].1, alone[0].1));
    assert!(alone[3].1 > alone[0].1, "a soft prompt has tokens: {alone:?}");
    // All of them at once, in passes that they share.
    std::thread::scope(|scope| {
        for round in 0..8 {
            let (world, alone) = (&world, &alone);
            scope.spawn(move || {
                for turn in 0..6 {
                    let which = (round + turn) % NAMES.len();
                    assert_eq!(ask(world, NAMES[which]), alone[which]);
                }
            });
        }
    });
    let (status, code, _) = world.post("/v1/completions", &json!({"model": "tiny:none", "prompt": "a"})).error();
    assert_eq!((status, code.as_str()), (404, "model_not_found"));
    let metrics = world.get("/metrics");
    let counted = |name: &str| format!("saem_requests_total{{model=\"{name}\",outcome=\"done\"}} 13");
    assert!(NAMES.iter().all(|name| metrics.text().contains(&counted(name))), "{}", metrics.text());
    // CLOVA Studio's clients find them by the same names.
    let body = json!({"text": "hello there", "maxTokens": 12, "temperature": 0});
    let answer: Value = world.post("/v1/completions/tiny:lora", &body).json();
    assert_eq!(answer["status"]["code"], "20000", "{answer}");
}

#[test]
fn an_adapter_of_another_model_is_refused_at_start() {
    let error = load(&[("q", "qwen2-lora")]).unwrap_err();
    assert!(matches!(&*error, LoadError::Adapter { name, .. } if name == "tiny:q"), "{error}");
    let error = load(&[("a", "llama-lora"), ("a", "llama-rslora")]).unwrap_err();
    assert!(matches!(&*error, LoadError::SameName { name } if name == "tiny:a"), "{error}");
    let error = load(&[("a", "none")]).unwrap_err();
    assert!(matches!(&*error, LoadError::Adapter { .. }), "{error}");
}
