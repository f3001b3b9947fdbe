//! Models on disk: listed, found damaged, removed.

use std::fs;

use saem_hub::{HubError, PullOptions};
use serde_json::json;

use crate::world::{Recorder, World, content};

fn with_tiny() -> World {
    let world = World::new();
    let bytes = content(10_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    world.hub().pull("tiny", PullOptions::default(), &mut ()).unwrap();
    world
}

#[test]
fn a_fresh_home_is_empty_and_not_an_error() {
    let world = World::new();
    assert!(world.hub().list().unwrap().is_empty());
    assert!(world.hub().unfinished().unwrap().is_empty());
    assert!(!world.settings.home.join("models").exists(), "looking makes nothing");
}

#[test]
fn an_installed_model_is_listed_and_removed() {
    let world = with_tiny();
    let hub = world.hub();
    let listed = hub.list().unwrap();
    assert_eq!((listed.len(), listed[0].manifest.name.as_str(), listed[0].manifest.bytes), (1, "tiny", 10_000));
    assert!(hub.remove("TINY").unwrap() >= 10_000);
    assert!(world.files().is_empty());
    assert!(matches!(hub.remove("tiny"), Err(HubError::NotInstalled { .. })));
    assert!(matches!(hub.remove("tinny"), Err(HubError::UnknownModel { similar, .. }) if similar == ["tiny"]));
}

#[test]
fn an_unfinished_download_is_listed_apart_and_removed() {
    let world = World::new();
    let bytes = content(2_000_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let mut stopping = Recorder { stop_at: Some(100_000), ..Recorder::default() };
    assert!(world.hub().pull("tiny", PullOptions::default(), &mut stopping).is_err());
    let hub = world.hub();
    assert!(hub.list().unwrap().is_empty());
    assert!(hub.unfinished().unwrap()[0].bytes >= 100_000);
    hub.remove("tiny").unwrap();
    assert!(hub.unfinished().unwrap().is_empty());
}

#[test]
fn a_truncated_file_is_not_an_installed_model() {
    let world = with_tiny();
    let hub = world.hub();
    let path = hub.resolve("tiny").unwrap();
    fs::write(&path, b"short").unwrap();
    assert!(matches!(hub.resolve("tiny"), Err(HubError::NotInstalled { .. })));
    hub.pull("tiny", PullOptions::default(), &mut ()).unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), 10_000);
}

#[test]
fn a_damaged_manifest_is_named() {
    let world = with_tiny();
    let manifest = world.settings.home.join("models/tiny/manifest.json");
    fs::write(&manifest, b"{").unwrap();
    assert!(matches!(world.hub().resolve("tiny"), Err(HubError::Json { path, .. }) if path == manifest));
    assert!(world.hub().list().unwrap().is_empty(), "one bad model does not hide the others");
    world.hub().remove("tiny").unwrap();
}

#[test]
fn a_manifest_cannot_name_files_elsewhere() {
    let world = with_tiny();
    let manifest = world.settings.home.join("models/tiny/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap().replace("\"tiny.gguf\"", "\"../../../../etc/hostname\"");
    fs::write(&manifest, text).unwrap();
    assert!(matches!(world.hub().resolve("tiny"), Err(HubError::NotInstalled { .. })));
}

#[test]
fn paths_are_taken_as_they_are() {
    let world = World::new();
    let file = world.directory.path().join("some model.gguf");
    fs::write(&file, b"x").unwrap();
    let hub = world.hub();
    assert_eq!(hub.resolve(file.to_str().unwrap()).unwrap(), file);
    assert!(matches!(hub.resolve("./absent.gguf"), Err(HubError::NoSuchPath { .. })));
    assert!(matches!(hub.pull("./absent.gguf", PullOptions::default(), &mut ()), Err(HubError::InvalidName { .. })));
}
