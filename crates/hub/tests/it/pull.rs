//! Downloads from the Hub: whole, broken off, continued, wrong, refused, side by side.

use std::fs;

use saem_hub::{Event, HubError, PullOptions};
use serde_json::json;

use crate::world::{Recorder, World, content, sha256};

const ASK_NOTHING: PullOptions = PullOptions { accept_licence: false };

#[test]
fn a_model_of_the_catalogue_is_fetched_verified_and_found() {
    let world = World::new();
    let bytes = content(300_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let hub = world.hub();
    assert!(matches!(hub.resolve("tiny"), Err(HubError::NotInstalled { .. })));
    let mut recorder = Recorder::default();
    let installed = hub.pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert_eq!(fs::read(hub.resolve("tiny").unwrap()).unwrap(), bytes);
    assert_eq!(installed.manifest.files[0].sha256, sha256(&bytes));
    assert_eq!(installed.manifest.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(world.files(), ["tiny/manifest.json", "tiny/tiny.gguf"]);
    assert!(recorder.finished && recorder.total == Some(300_000) && recorder.positions.last() == Some(&300_000));
    assert_eq!(recorder.asked, [("apache-2.0".to_owned(), false)], "the licence is shown");
    // A second time costs nothing.
    hub.pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(world.server.log().len(), 1);
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let world = World::new();
    let bytes = content(200_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    world.server.behaviour.lock().unwrap().cuts = vec![50_000, 60_000];
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    let starts: Vec<u64> = world.server.log().into_iter().map(|(_, start)| start).collect();
    assert_eq!(starts, [0, 50_000, 110_000]);
    assert_eq!(recorder.events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 2);
}

#[test]
fn a_stopped_download_is_continued_by_the_next() {
    let world = World::new();
    let bytes = content(2_000_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let mut recorder = Recorder { stop_at: Some(600_000), ..Recorder::default() };
    assert!(matches!(world.hub().pull("tiny", ASK_NOTHING, &mut recorder), Err(HubError::Stopped)));
    assert_eq!(world.hub().unfinished().unwrap()[0].name, "tiny");
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    let start = world.server.log()[1].1;
    assert!(start >= 600_000, "the second request starts at {start}");
    assert!(matches!(recorder.events[0], Event::Resuming { bytes } if bytes == start));
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let world = World::new();
    let bytes = content(100_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    {
        let mut behaviour = world.server.behaviour.lock().unwrap();
        behaviour.cuts = vec![40_000];
        behaviour.ignore_ranges = true;
    }
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
}

#[test]
fn wrong_bytes_never_become_a_model() {
    let world = World::new();
    let bytes = content(100_000);
    let mut wrong = bytes.clone();
    wrong[77] ^= 1;
    let source = world.at_the_hub(&wrong);
    world.catalogue(&bytes, &json!([source]));
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { expected, .. } if *expected == sha256(&bytes)), "{error}");
    assert_eq!(world.files(), [""; 0], "nothing is left to be mistaken for a model");
}

#[test]
fn a_longer_file_than_promised_is_cut_off() {
    let world = World::new();
    let bytes = content(100_000);
    let source = world.at_the_hub(&content(100_001));
    world.catalogue(&bytes, &json!([source]));
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Length { expected: 100_000, .. }), "{error}");
}

#[test]
fn a_full_disk_is_noticed_before_the_first_byte() {
    let mut world = World::new();
    let bytes = content(100_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    world.settings.free_space = |_| Ok(50_000);
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::NoSpace { available: 50_000, needed, .. } if needed > 100_000), "{error}");
    assert!(world.server.log().is_empty());
}

#[test]
fn several_at_once_fetch_it_once() {
    let world = World::new();
    let bytes = content(3_000_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    std::thread::scope(|scope| {
        let pulls: Vec<_> =
            (0..4).map(|_| scope.spawn(|| world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap().path())).collect();
        for pull in pulls {
            assert_eq!(fs::read(pull.join().unwrap()).unwrap(), bytes);
        }
    });
    assert_eq!(world.server.log().len(), 1);
}

#[test]
fn a_licence_that_asks_is_asked_for_once() {
    let world = World::new();
    let bytes = content(1_000);
    let source = world.at_the_hub(&bytes);
    let pinned = json!({ "sha256": sha256(&bytes), "bytes": bytes.len(), "licence": "gemma" });
    world.catalogue_with(pinned, &json!([source]));
    let hub = world.hub();
    let mut recorder = Recorder::default();
    let error = hub.pull("tiny", ASK_NOTHING, &mut recorder).unwrap_err();
    assert!(matches!(error, HubError::LicenceNotAccepted { licence, .. } if licence == "Gemma Terms of Use"));
    assert_eq!(recorder.asked, [("gemma".to_owned(), true)]);
    assert!(world.server.log().is_empty(), "nothing is fetched before the answer");
    let installed = hub.pull("tiny", ASK_NOTHING, &mut Recorder { answers_yes: true, ..Recorder::default() }).unwrap();
    assert!(installed.manifest.accepted_at.is_some());
    hub.remove("tiny").unwrap();
    let mut recorder = Recorder::default();
    hub.pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert_eq!(recorder.asked, [("gemma".to_owned(), false)], "the answer is remembered");
}

#[test]
fn a_script_accepts_with_an_option() {
    let world = World::new();
    let bytes = content(1_000);
    let source = world.at_the_hub(&bytes);
    let pinned = json!({ "sha256": sha256(&bytes), "bytes": bytes.len(), "licence": "exaone-1.2-nc" });
    world.catalogue_with(pinned, &json!([source]));
    let installed = world.hub().pull("tiny", PullOptions { accept_licence: true }, &mut ()).unwrap();
    assert!(installed.manifest.accepted_at.is_some());
}

#[test]
fn a_repository_is_listed_and_its_preferred_file_fetched() {
    let world = World::new();
    let bytes = content(10_000);
    let listing = json!({
        "sha": "0123abcd",
        "cardData": { "license": "apache-2.0" },
        "siblings": [
            { "rfilename": "README.md", "size": 3 },
            { "rfilename": "m-Q8_0.gguf", "size": 9 },
            { "rfilename": "m-Q4_K_M.gguf", "size": 10_000, "lfs": { "sha256": sha256(&bytes), "size": 10_000 } },
        ],
    });
    world.server.put("/api/models/acme/m", listing.to_string().as_bytes());
    world.server.put("/acme/m/resolve/0123abcd/m-Q4_K_M.gguf", &bytes);
    let hub = world.hub();
    let installed = hub.pull("hf:acme/m", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(installed.manifest.name, "acme/m");
    assert_eq!(installed.manifest.source, "hugging-face:acme/m@0123abcd");
    assert_eq!(installed.manifest.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(fs::read(hub.resolve("acme/m").unwrap()).unwrap(), bytes);
}

#[test]
fn a_checkpoint_is_a_directory() {
    let world = World::new();
    let weights = content(5_000);
    let listing = json!({ "sha": "c0ffee", "siblings": [
        { "rfilename": "config.json", "size": 2 },
        { "rfilename": "model.safetensors", "size": 5_000, "lfs": { "sha256": sha256(&weights), "size": 5_000 } },
        { "rfilename": "modeling_evil.py", "size": 2 },
    ]});
    world.server.put("/api/models/acme/c", listing.to_string().as_bytes());
    world.server.put("/acme/c/resolve/c0ffee/config.json", b"{}");
    world.server.put("/acme/c/resolve/c0ffee/model.safetensors", &weights);
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("acme/c", ASK_NOTHING, &mut recorder).unwrap();
    assert!(installed.path().is_dir());
    assert_eq!(world.files(), ["acme/c/config.json", "acme/c/manifest.json", "acme/c/model.safetensors"]);
    assert_eq!((recorder.total, recorder.positions.last()), (Some(5_002), Some(&5_002)));
}

#[test]
fn refusals_and_absences_say_what_they_are() {
    let world = World::new();
    let hub = world.hub();
    assert!(
        matches!(hub.pull("acme/none", ASK_NOTHING, &mut ()), Err(HubError::NotFound { what }) if what == "acme/none")
    );
    world.server.behaviour.lock().unwrap().status = Some(401);
    let refused = hub.pull("acme/gated", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(refused, HubError::Refused { repository, status: 401 } if repository == "acme/gated"));
    world.server.behaviour.lock().unwrap().status = Some(503);
    assert!(matches!(hub.pull("acme/m", ASK_NOTHING, &mut ()), Err(HubError::BadStatus { status: 503, .. })));
}

#[test]
fn files_of_a_checkpoint_that_are_whole_are_not_fetched_again() {
    let world = World::new();
    let (first, second) = (content(800_000), content(900_000));
    let shard = |name: &str, bytes: &[u8]| {
        world.server.put(&format!("/acme/c/resolve/c0ffee/{name}"), bytes);
        json!({ "rfilename": name, "size": bytes.len(), "lfs": { "sha256": sha256(bytes), "size": bytes.len() } })
    };
    let listing = json!({ "sha": "c0ffee", "siblings": [
        shard("a.safetensors", &first), shard("b.safetensors", &second), { "rfilename": "config.json", "size": 2 },
    ]});
    world.server.put("/acme/c/resolve/c0ffee/config.json", b"{}");
    world.server.put("/api/models/acme/c", listing.to_string().as_bytes());
    let mut stopping = Recorder { stop_at: Some(1_200_000), ..Recorder::default() };
    assert!(matches!(world.hub().pull("acme/c", ASK_NOTHING, &mut stopping), Err(HubError::Stopped)));
    let asked_before = world.server.log().len();
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("acme/c", ASK_NOTHING, &mut recorder).unwrap();
    let asked: Vec<String> = world.server.log()[asked_before..].iter().map(|(path, _)| path.clone()).collect();
    assert!(!asked.iter().any(|path| path.ends_with("a.safetensors")), "{asked:?}");
    assert!(matches!(recorder.events[0], Event::Resuming { bytes } if bytes >= 1_200_000));
    assert_eq!(fs::read(installed.path().join("b.safetensors")).unwrap(), second);
}

#[test]
fn a_damaged_beginning_is_fetched_anew() {
    let world = World::new();
    let bytes = content(900_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let mut stopping = Recorder { stop_at: Some(500_000), ..Recorder::default() };
    assert!(world.hub().pull("tiny", ASK_NOTHING, &mut stopping).is_err());
    let partial = world.settings.home.join("models").join(&world.files()[0]);
    let mut torn = fs::read(&partial).unwrap();
    torn[1000] ^= 1;
    fs::write(&partial, torn).unwrap();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    assert_eq!(world.server.log().last().unwrap().1, 0, "the last request starts at the beginning");
}
