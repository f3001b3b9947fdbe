//! `saem list`, `saem rm`, `saem pull --json`.

use serde_json::{Value, json};

use crate::saem::{finish, run, run_korean, saem};
use crate::world::{World, content};

#[test]
fn a_fresh_machine() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("list_empty_en", run(home.path(), &["list"]).stdout);
    insta::assert_snapshot!("list_empty_ko", run_korean(home.path(), &["list"]).stdout);
}

#[test]
fn a_machine_with_a_model() {
    let world = World::new();
    let bytes = content(1_500_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let home = &world.settings.home;
    let online = |arguments: &[&str]| {
        finish(saem(home, arguments).env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &world.server.endpoint))
    };
    let pulled = online(&["pull", "tiny", "--json"]);
    assert_eq!(pulled.code, 0, "{}", pulled.stderr);
    let pulled: Value = serde_json::from_str(&pulled.stdout).unwrap();
    assert_eq!(pulled["name"], "tiny");
    assert_eq!(pulled["bytes"], 1_500_000);
    assert_eq!(pulled["path"], json!(home.join("models/tiny/tiny.gguf")));

    insta::assert_snapshot!("list_one_en", run(home, &["list"]).stdout);
    insta::assert_snapshot!("list_one_ko", run_korean(home, &["list"]).stdout);
    let listed: Value = serde_json::from_str(&run(home, &["list", "--json"]).stdout).unwrap();
    assert_eq!(listed["default"], "qwen2.5-coder-1.5b");
    let models = listed["models"].as_array().unwrap();
    let installed: Vec<&Value> = models.iter().filter(|model| model["installed"] == true).collect();
    assert_eq!(installed.len(), 1);
    assert_eq!((&installed[0]["name"], &installed[0]["licence"]), (&json!("tiny"), &json!("apache-2.0")));
    assert!(models.iter().any(|model| model["name"] == "smollm2-135m" && model["bytes"] == 98_362_432));

    let removed = run(home, &["rm", "tiny"]);
    assert_eq!((removed.code, removed.stdout.as_str()), (0, ""));
    assert!(world.files().is_empty());
}
