//! `saem pretrain` and `saem tune` as processes: stopped, killed, gone on with.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::saem::{reviews, run, run_korean, saem};

const RECIPE: &str = r#"
[model]
tokenizer = "TOKENIZER"
[model.config]
model_type = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4

[data]
train = ["texts.txt"]

[train]
steps = 40
sequence = 32
batch = 8
learning_rate = 3e-3
checkpoint_every = 2
"#;

const TUNE: &str = r#"
[model]
base = "TOKENIZER"

[tune]
method = "lora"
rank = 4

[data]
train = ["rows.csv"]
prompt = "{{text}}"
answer = " {{label}}"

[train]
steps = 30
batch = 4
checkpoint_every = 2
"#;

/// How often runs are killed, and how often at the least while a checkpoint is half written.
const KILLS: u64 = 50;
const TORN: u64 = 5;

/// A recipe and its texts in a folder of their own.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama");
    for (name, recipe) in [("recipe.toml", RECIPE), ("tune.toml", TUNE)] {
        let recipe = recipe.replace("TOKENIZER", tokenizer.to_str().unwrap());
        fs::write(folder.path().join(name), recipe).unwrap();
    }
    fs::write(folder.path().join("texts.txt"), "The water of the spring is cold. 샘물은 차다. ".repeat(60)).unwrap();
    fs::write(folder.path().join("rows.csv"), reviews()).unwrap();
    folder
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_bytes() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let recipe = path("recipe.toml");
    let whole = run(folder.path(), &["pretrain", &recipe, "--run", &path("whole"), "--json", "--threads", "1"]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let steps: Vec<serde_json::Value> = whole.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.len(), 40);
    assert!(steps[39]["loss"].as_f64() < steps[0]["loss"].as_f64());

    let result = "model/model.safetensors";
    kill_and_go_on(folder.path(), ["pretrain", "recipe.toml", result], &path("whole"));

    let model = path("whole/model");
    let said = run(folder.path(), &["run", "--model", &model, "--temperature", "0", "--max-tokens", "4", "The water"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stdout.is_empty());
}

#[test]
fn tuning_that_is_killed_goes_on_to_the_same_bytes() {
    let folder = folder();
    let whole = folder.path().join("whole").display().to_string();
    let recipe = folder.path().join("tune.toml").display().to_string();
    let ran = run(folder.path(), &["tune", &recipe, "--run", &whole, "--threads", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    kill_and_go_on(folder.path(), ["tune", "tune.toml", "adapter/adapter_model.safetensors"], &whole);
}

/// Kills runs of a command at many moments, half of them while a checkpoint is being written, until every one of them has
/// come to its end: `result` is that of the run which was left alone.
fn kill_and_go_on(folder: &Path, [command, recipe, result]: [&str; 3], whole: &str) {
    let (mut kills, mut torn, mut runs) = (0, 0, 0);
    while kills < KILLS || torn < TORN || runs == 0 {
        assert!(kills < 20 * KILLS, "no moment was within a checkpoint");
        let name = format!("parts-{runs}");
        let checkpoints = folder.join(&name).join("checkpoints");
        let is_torn = || {
            fs::read_dir(&checkpoints)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.path().extension().is_some_and(|extension| extension == "part"))
        };
        let mut arguments = vec![command, recipe, "--run", &name, "--threads", "2"];
        if folder.join(&name).join("recipe.toml").exists() {
            arguments.push("--resume");
        }
        let mut child =
            saem(folder, &arguments).current_dir(folder).stderr(std::process::Stdio::piped()).spawn().unwrap();
        if kills < KILLS || torn < TORN {
            // What an earlier one left in the middle goes when the next checkpoint is begun.
            let mut is_new = !is_torn();
            if kills % 2 == 0 {
                // Another moment each time.
                std::thread::sleep(Duration::from_millis(15 + kills * 37 % 53));
            } else {
                while child.try_wait().unwrap().is_none() && !(is_new && is_torn()) {
                    is_new |= !is_torn();
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                torn += u64::from(is_new && is_torn());
            }
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            let [of_whole, of_parts] =
                [Path::new(whole), &folder.join(&name)].map(|run| fs::read(run.join(result)).unwrap());
            assert!(of_whole == of_parts, "the same weights after {kills} kills");
            runs += 1;
            continue;
        }
        // Killed (no code), or, at worst, a message; never anything that was half written.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_none(), "{said}");
    }
    println!("{command}: {kills} kills, {torn} of them in a checkpoint, {runs} runs came to their end");
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_loses_nothing() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let recipe = path("recipe.toml");
    let whole = run(folder.path(), &["pretrain", &recipe, "--run", &path("whole"), "--threads", "1"]);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    // A limit on the size of files stands for a disk that is full: the write fails in the middle of the optimizer's means.
    let model = fs::metadata(path("whole/checkpoints/000040/model.safetensors")).unwrap().len();
    let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", model * 3 / 2 / 512);
    let saem = env!("CARGO_BIN_EXE_saem");
    let full = std::process::Command::new("sh")
        .args(["-c", &limit, "sh", saem, "pretrain", &recipe, "--run", &path("parts"), "--threads", "1"])
        .envs([("SAEM_HOME", folder.path().as_os_str()), ("LANG", "C".as_ref())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&full.stderr);
    assert!(full.status.code() == Some(1) && said.contains("optimizer.safetensors"), "{said}");
    assert!(!Path::new(&path("parts/checkpoints/000002")).exists(), "half a checkpoint is none");
    let on = run(folder.path(), &["pretrain", &recipe, "--run", &path("parts"), "--resume", "--threads", "1"]);
    assert_eq!(on.code, 0, "{}", on.stderr);
    let bytes = |run: &str| fs::read(Path::new(&path(run)).join("model/model.safetensors")).unwrap();
    assert!(bytes("whole") == bytes("parts"), "the same weights");
}

#[test]
fn a_plan_leaves_nothing_behind_and_mistakes_are_explained_in_both_languages() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let recipe = path("recipe.toml");
    let plan = run(folder.path(), &["pretrain", &recipe, "--run", &path("run"), "--plan", "--json"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    let numbers: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert!(
        numbers["activations"].as_u64() > Some(0)
            && numbers["optimizer"].as_u64() == numbers["weights"].as_u64().map(|weights| 2 * weights)
    );
    assert!(!Path::new(&path("run")).exists());

    let none = run(folder.path(), &["pretrain", &recipe, "--run", &path("run"), "--resume"]);
    assert!(none.code == 2 && none.stderr.contains("no run in this folder"), "{}", none.stderr);
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("steps", "stepz")).unwrap();
    let wrong = run_korean(folder.path(), &["pretrain", &recipe]);
    assert!(wrong.code == 2 && wrong.stderr.contains("stepz") && wrong.stderr.contains("레시피"), "{}", wrong.stderr);
    fs::write(&recipe, text.replace("learning_rate = 3e-3", "learning_rate = 10.0\nclip = 0.0\nweight_decay = 10.0"))
        .unwrap();
    let wild = run(folder.path(), &["pretrain", &recipe, "--run", &path("wild")]);
    assert!(wild.code == 1 && wild.stderr.contains("not finite"), "{}", wild.stderr);
}

#[cfg(unix)]
#[test]
fn control_c_leaves_a_checkpoint() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let recipe = path("recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap().replace("steps = 40", "steps = 100000");
    fs::write(&recipe, text.replace("checkpoint_every = 2", "checkpoint_every = 100000")).unwrap();
    let mut command = saem(folder.path(), &["pretrain", &recipe, "--run", &path("run")]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let metrics = Path::new(&path("run")).join("metrics.jsonl");
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(50));
        if fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 3) {
            break;
        }
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("--resume"), "{said}");
    let steps = fs::read_to_string(&metrics).unwrap().lines().count();
    assert!(Path::new(&path("run")).join(format!("checkpoints/{steps:06}/manifest.json")).is_file(), "{said}");
}
