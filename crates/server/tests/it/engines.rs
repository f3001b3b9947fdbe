//! Models that are loaded while the server runs, and what fits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use saem_engine::EngineOptions;
use saem_server::service::{LoadError, ModelFile, Planned, Service, ServiceOptions, Shelf, ShelfError, Shelved, Words};
use serde_json::{Value, json};

use crate::world::World;

/// A shelf with the small model that `transformers` wrote, one that no machine can hold, and one that is elsewhere.
#[derive(Debug)]
struct Small;

impl Small {
    fn planned(name: &str) -> Result<Planned, LoadError> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama");
        let file = ModelFile { name: name.to_owned(), path, adapters: Vec::new(), adapter_bytes: 0 };
        let engine = EngineOptions { threads: 1, max_sequences: 2, ..EngineOptions::default() };
        Service::plan(vec![file], &ServiceOptions { engine, memory: None, prompts: None })
    }

    fn service() -> Service {
        Self::planned("tiny").unwrap().load(&mut |_, _, _| {}).unwrap().with_shelf(Arc::new(Self))
    }
}

impl Shelf for Small {
    fn models(&self) -> Vec<Shelved> {
        let planned = Self::planned("tiny").unwrap().plans().map(|(_, plan)| plan.total_bytes()).sum();
        let model = |name: &str, is_here, bytes| Shelved {
            name: name.into(),
            about: Words { en: "Small.".into(), ko: "작습니다.".into() },
            licence: Some("Apache License 2.0".into()),
            is_here,
            bytes,
        };
        vec![
            model("tiny", true, Some(planned)),
            model("second", true, Some(planned)),
            model("huge", true, Some(1 << 60)),
            model("broken", true, Some(1)),
            model("far", false, Some(planned)),
        ]
    }

    fn open(&self, name: &str) -> Result<Service, ShelfError> {
        if name == "broken" {
            return Err(LoadError::Memory { needed: 2, memory: 1 }.into());
        }
        Ok(Self::planned(name)?.load(&mut |_, _, _| {})?)
    }

    fn plan_at(&self, _: &Path, name: &str) -> Result<Planned, ShelfError> {
        Ok(Self::planned(name)?)
    }
}

fn states(world: &World) -> Vec<(String, String, Option<bool>)> {
    let listed = world.get("/api/studio/engines").json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let engine = |engine: &Value| (text(&engine["name"]), text(&engine["state"]), engine["fits"].as_bool());
    listed["engines"].as_array().unwrap().iter().map(engine).collect()
}

#[test]
fn what_fits_is_loaded_beside_what_is_served_and_what_does_not_is_refused() {
    let world = World::of(Small::service());
    let found = |name: &str, state: &str, fits| (name.to_owned(), state.to_owned(), fits);
    let before = states(&world);
    assert_eq!(
        before[..3],
        [found("tiny", "served", Some(true)), found("second", "here", Some(true)), found("huge", "here", Some(false))]
    );
    assert_eq!(before[4], found("far", "away", Some(true)));
    let listed = world.get("/api/studio/engines").json();
    assert!(listed["memory"].as_u64().unwrap() > 1 << 20);
    assert_eq!(listed["engines"][0]["about"]["ko"], "작습니다.");
    let load = |name: &str| world.post("/api/studio/engines/load", &json!({ "name": name }));
    for (name, status, code) in [
        ("huge", 409, "no_memory"),
        ("far", 409, "not_here"),
        ("none", 404, "model_not_found"),
        ("broken", 409, "not_loaded"),
    ] {
        let (found, said, _) = load(name).error();
        assert_eq!((found, &*said), (status, code), "{name}");
    }
    let ask = |model: &str| {
        world.post(
            "/v1/completions",
            &json!({ "model": model, "prompt": "hello there", "max_tokens": 4, "temperature": 0 }),
        )
    };
    assert_eq!(ask("second").status, 404);
    assert_eq!(load("second").json()["state"], "served");
    assert_eq!(load("second").status, 200, "a second time it is there already");
    assert_eq!(ask("second").json()["choices"], ask("tiny").json()["choices"]);
    assert_eq!(states(&world)[1], found("second", "served", Some(true)));
    let models = world.get("/v1/models").json();
    assert_eq!(models["data"].as_array().unwrap().len(), 2);
}
