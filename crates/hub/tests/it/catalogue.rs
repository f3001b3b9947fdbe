//! The built-in table says what it must, and additions change it.

use std::fs;

use saem_hub::{Catalogue, Hub, HubError, Source};

use crate::world::World;

#[test]
fn the_built_in_table_is_sound() {
    let catalogue = Catalogue::built_in().unwrap();
    assert!(catalogue.find(&catalogue.default).is_some(), "the default model is in the table");
    for entry in &catalogue.models {
        let licence = catalogue.licence(&entry.licence);
        assert!(licence.is_some(), "{} has a known licence", entry.name);
        assert!(!entry.sources.is_empty(), "{} can be fetched", entry.name);
        assert!(entry.summary.ko.chars().any(|letter| ('가'..='힣').contains(&letter)), "{} speaks Korean", entry.name);
        if let Some(sha256) = &entry.sha256 {
            assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", entry.name);
        }
    }
    for licence in catalogue.licences.values() {
        assert!(licence.url.starts_with("https://"));
        assert!(licence.obligations.ko.chars().any(|letter| ('가'..='힣').contains(&letter)));
    }
}

#[test]
fn models_for_closed_networks_are_pinned_to_the_last_byte() {
    let catalogue = Catalogue::built_in().unwrap();
    for (name, bytes, packages) in [
        ("qwen2.5-coder-1.5b", 1_117_320_768, 22),
        ("qwen2.5-coder-0.5b", 491_400_064, 6),
        ("gemma3-270m", 253_113_024, 4),
        ("smollm2-135m", 98_362_432, 1),
    ] {
        let entry = catalogue.find(name).unwrap();
        assert_eq!(entry.bytes, Some(bytes), "{name}");
        assert!(matches!(&entry.sources[0], Source::HuggingFace { .. }), "{name} is asked for at the Hub first");
        assert!(matches!(&entry.sources[1], Source::Packages(parts) if parts.len() == packages), "{name}");
    }
}

#[test]
fn the_sentence_encoder_is_pinned_file_by_file() {
    let catalogue = Catalogue::built_in().unwrap();
    let entry = catalogue.find("use-multilingual").unwrap();
    assert_eq!((entry.kind, entry.file.as_deref()), (saem_hub::Kind::Embedding, None));
    let [Source::Packages(parts)] = entry.sources.as_slice() else { panic!("one source of packages") };
    let names: Vec<&str> = parts.iter().map(|part| part.member.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["weights.npz", "sp.model"]);
}

#[test]
fn a_catalogue_in_the_home_adds_and_replaces() {
    let world = World::new();
    let source = world.at_the_hub(b"bytes");
    world.catalogue(b"bytes", &serde_json::json!([source]));
    let hub = world.hub();
    assert!(hub.catalogue().find("TINY").is_some());
    assert!(hub.catalogue().find("smollm2-135m").is_some());
}

#[test]
fn a_damaged_catalogue_is_named_and_a_dangerous_one_refused() {
    let world = World::new();
    let path = world.settings.home.join("catalogue.json");
    fs::write(&path, "{ \"models\": [").unwrap();
    assert!(matches!(Hub::open(world.settings.clone()), Err(HubError::Json { path: named, .. }) if named == path));
    world.catalogue_with(serde_json::json!({ "file": "../../evil" }), &serde_json::json!([]));
    assert!(matches!(Hub::open(world.settings.clone()), Err(HubError::InvalidName { .. })));
}
