//! `saem plan`, and memory that stays within it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::saem::{finish, reviews, run, run_korean};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn six_hundred_billion_are_answered_in_both_languages() {
    let home = tempfile::tempdir().unwrap();
    let arguments =
        ["plan", "--params", "600B", "--tokens", "600B", "--images", "250M", "--hardware", "a100-80g,tpu-v4"];
    for (ran, word) in
        [(run(home.path(), &arguments), "shared states"), (run_korean(home.path(), &arguments), "이용률")]
    {
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        for expected in [word, "856B", "a100-80g", "tpu-v4", "HyperCLOVA 82B", "besiroglu-2024"] {
            assert!(ran.stdout.contains(expected), "{expected} in {}", ran.stdout);
        }
    }
    let plan = json(&run(home.path(), &[&arguments[..], &["--json"]].concat()).stdout);
    assert_eq!((plan["kind"].as_str(), plan["tokens"].as_f64()), (Some("cluster"), Some(856e9)));
    assert_eq!(plan["hardware"].as_array().unwrap().len(), 2);
    let chosen = &plan["hardware"][0]["chosen"];
    assert!(
        chosen["days"].as_f64().unwrap() <= 90.0
            && chosen["memory"]["total"].as_f64() <= chosen["memory"]["limit"].as_f64()
    );
}

#[test]
fn a_size_is_made_to_fit_and_mistakes_are_explained() {
    let home = tempfile::tempdir().unwrap();
    let size = ["plan", "--params", "600M", "--memory", "12GiB", "--no-measurement"];
    let plan = json(&run(home.path(), &[&size[..], &["--json"]].concat()).stdout);
    assert!(plan["fits"].as_bool().unwrap() && plan["total"].as_u64() < plan["limit"].as_u64());
    assert!(run_korean(home.path(), &size).stdout.contains("들어갑니다"));
    for (arguments, said) in [
        (&["plan", "--params", "many"][..], "many"),
        (&["plan", "--params", "1B", "--hardware", "abacus"], "abacus"),
        (&["plan", "--params", "1B", "--utilisation", "7"], "utilisation is 7"),
        (&["plan", "--tokens", "1B"], "--params"),
    ] {
        let ran = run(home.path(), arguments);
        assert!(ran.code == 2 && ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let none = run(home.path(), &["plan", "--fit", "nowhere"]);
    assert!(none.code == 1 && none.stderr.contains("nowhere"), "{}", none.stderr);
}

const RECIPE: &str = r#"
[model]
tokenizer = "TOKENIZER"
[model.config]
model_type = "llama"
hidden_size = HIDDEN
intermediate_size = 1536
num_hidden_layers = 6
num_attention_heads = 4

[data]
train = ["texts.txt"]

[train]
steps = 2
sequence = 64
batch = 1
# Memory of the second step is that after the first checkpoint, too.
checkpoint_every = 1
"#;

/// Writes a recipe of this width and its texts.
fn recipe(folder: &Path, hidden: u64) -> String {
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama");
    let recipe = RECIPE.replace("TOKENIZER", tokenizer.to_str().unwrap()).replace("HIDDEN", &hidden.to_string());
    let path = folder.join("recipe.toml");
    fs::write(&path, recipe).unwrap();
    fs::write(folder.join("texts.txt"), "The water of the spring is cold. 샘물은 차다. ".repeat(60)).unwrap();
    path.display().to_string()
}

#[test]
fn memory_stays_within_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), 512);
    let to = folder.path().join("run");
    let ran = run(folder.path(), &["pretrain", &recipe, "--run", to.to_str().unwrap(), "--json", "--threads", "2"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
    let plan = json(&read("plan.json"));
    assert!(planned_and_kept(&plan, &ran.stdout) > 300_000_000);
    // A run that goes on reads its checkpoint into what is there.
    fs::remove_dir_all(to.join("checkpoints/000002")).unwrap();
    let arguments = ["pretrain", &recipe, "--run", to.to_str().unwrap(), "--json", "--threads", "2", "--resume"];
    let ran = run(folder.path(), &arguments);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    planned_and_kept(&plan, &ran.stdout);
    let page = read("report.html");
    assert!(page.contains("<svg") && page.contains("peak · 실제 최고") && !page.contains("<script"));
    let events = fs::read_dir(&to)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("events.out.tfevents."));
    assert_eq!(events.count(), 2, "one for each process");
    // The plan of the recipe says the same, but for the program and the texts.
    let again = run(folder.path(), &["plan", &recipe, "--no-measurement", "--json"]);
    let again = json(&again.stdout);
    for kind in &KINDS[..7] {
        assert_eq!(again["plan"][kind], plan[kind], "{kind}");
    }
    every_method_stays_within_its_plan(folder.path(), &to.join("model"));
}

#[test]
fn every_way_to_train_stays_within_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let path = recipe(folder.path(), 512);
    let plain = fs::read_to_string(&path)
        .unwrap()
        .replace("sequence = 64\nbatch = 1", "sequence = 256\nbatch = 2\nmicro_batch = 1")
        .replace("checkpoint_every = 1", "checkpoint_every = 2");
    let experts = plain.replace(
        "\"llama\"",
        "\"qwen3_moe\"\nhead_dim = 128\nnum_experts = 4\nnum_experts_per_tok = 2\nmoe_intermediate_size = 384",
    );
    let learned = plain.replace("\"llama\"", "\"opt\"").replace("intermediate_size", "ffn_dim");
    let with = |text: &str, more: &str| text.replace("[train]\n", &format!("[train]\n{more}\n"));
    for (name, recipe) in [
        ("selective", with(&plain, "recompute = \"selective\"")),
        ("full", with(&plain, "recompute = \"full\"")),
        ("8 bits", with(&plain, "optimizer = \"adamw8bit\"")),
        ("muon", with(&plain, "optimizer = \"muon\"")),
        ("bf16", with(&plain, "precision = \"bf16\"\nweights = \"bf16\"")),
        ("halves", with(&plain, "weights = \"halves\"\noptimizer = \"muon\"")),
        ("experts", experts.clone()),
        ("experts again", with(&experts, "recompute = \"full\"")),
        ("learned positions", learned),
    ] {
        fs::write(&path, recipe).unwrap();
        let to = folder.path().join(name);
        let ran = run(folder.path(), &["pretrain", &path, "--run", to.to_str().unwrap(), "--json", "--threads", "2"]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        print!("{name}: ");
        planned_and_kept(&json(&fs::read_to_string(to.join("plan.json")).unwrap()), &ran.stdout);
        // Together their checkpoints would be gigabytes.
        fs::remove_dir_all(&to).unwrap();
    }
}

/// What a plan names; the last two depend on more than the recipe.
const KINDS: [&str; 9] =
    ["frozen", "weights", "gradients", "optimizer", "activations", "logits", "working", "texts", "program"];

/// The bytes that were planned, which a run that said this kept to, as the kernel counts it.
fn planned_and_kept(plan: &Value, said: &str) -> u64 {
    let planned: u64 = KINDS.iter().map(|kind| plan[kind].as_u64().unwrap()).sum();
    let peak = json(said.lines().last().unwrap())["memory"].as_u64().unwrap();
    println!("planned {planned}, peak {peak}: {:.4}", peak as f64 / planned as f64);
    assert!(peak as f64 <= 1.03 * planned as f64, "peak {peak}, planned {planned}");
    assert!(peak as f64 >= 0.9 * planned as f64, "a plan far above what is used is no plan: {peak} of {planned}");
    planned
}

fn every_method_stays_within_its_plan(folder: &Path, base: &Path) {
    fs::write(folder.join("rows.csv"), reviews()).unwrap();
    let labels = "label = \"label\"\nlabels = { 0 = \"bad\", 1 = \"good\" }";
    let written = &*format!("{labels}\nanswer = \" {{{{label}}}}\"");
    let preferred = "chosen = \" clear {{label}}\"\nrejected = \" murky\"";
    for (method, more, wanted) in [
        ("full", "", written),
        ("lora", "", written),
        ("lora", "keep_packed = true", written),
        ("dora", "", written),
        ("p-tuning", "encoder_hidden = 64", written),
        ("prompt", "", written),
        ("prefix", "", written),
        ("head", "task = \"classification\"", labels),
        ("lora", "task = \"classification\"", labels),
        ("dpo", "", preferred),
    ] {
        let recipe = format!(
            "[model]\nbase = {base:?}\n[tune]\nmethod = \"{method}\"\n{more}\n[data]\ntrain = [\"rows.csv\"]\n\
             prompt = \"{{{{text}}}}\"\n{wanted}\n\
             [train]\nsteps = 2\nbatch = 8\nmicro_batch = 8\nsequence = 64\ncheckpoint_every = 1\n"
        );
        let path = folder.join("tune.toml");
        fs::write(&path, recipe).unwrap();
        let to = folder.join(format!("{method}{}", more.len()));
        let (path, to) = (path.to_str().unwrap(), to.to_str().unwrap());
        let ran = run(folder, &["tune", path, "--run", to, "--json", "--threads", "2"]);
        assert_eq!(ran.code, 0, "{method}: {}", ran.stderr);
        print!("{method} {more}: ");
        let plan = json(&fs::read_to_string(Path::new(to).join("plan.json")).unwrap());
        assert!(planned_and_kept(&plan, &ran.stdout) > 100_000_000);
    }
    the_time_of_a_tuning_is_that_of_its_own_layers(folder);
}

/// The last recipe that was tuned: of pairs, whose passes are several.
fn the_time_of_a_tuning_is_that_of_its_own_layers(folder: &Path) {
    let path = folder.join("tune.toml").display().to_string();
    let plan =
        |more: &[&str]| json(&run(folder, &[&["plan", &path, "--json", "--threads", "2"], more].concat()).stdout);
    let (found, unmeasured) = (plan(&[]), plan(&["--no-measurement"]));
    assert_eq!((&found["step"], &found["plan"]["total"]), (&unmeasured["step"], &unmeasured["plan"]["total"]));
    assert!(unmeasured["speed"].is_null() && found["step"]["is_counted"].as_bool().unwrap());
    // Without the layers it would be four fifths.
    let share = found["speed"]["share"].as_f64().unwrap();
    assert!(share > 0.0 && share != 0.8, "{found}");
    let [step, tokens] = [&found["speed"]["seconds_per_step"], &found["speed"]["tokens_per_second"]]
        .map(|number| number.as_f64().unwrap());
    assert!((step * tokens / found["step"]["tokens"][0].as_f64().unwrap() - 1.0).abs() < 1e-9, "{found}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_takes_memory() {
    let folder = tempfile::tempdir().unwrap();
    // 16 bytes for each of 100 billion parameters.
    let recipe = recipe(folder.path(), 1 << 16);
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("num_attention_heads = 4", "num_attention_heads = 16")).unwrap();
    let to = folder.path().join("run");
    let arguments = ["pretrain", &recipe, "--run", to.to_str().unwrap()];
    let (english, korean) = (run(folder.path(), &arguments), run_korean(folder.path(), &arguments));
    assert!(english.code == 1 && english.stderr.contains("too little"), "{}", english.stderr);
    assert!(korean.code == 1 && korean.stderr.contains("모자랍니다"), "{}", korean.stderr);
    assert!(!to.exists());
}

/// All weights of a GGUF model are converted into floats beside the run, but not where that is for nothing.
#[test]
fn a_tuning_that_does_not_fit_converts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let base = crate::toy::reciting(folder.path(), crate::toy::after);
    fs::write(folder.path().join("rows.csv"), reviews()).unwrap();
    let text = format!(
        "[model]\nbase = {base:?}\n[tune]\nmethod = \"full\"\n[data]\ntrain = [\"rows.csv\"]\nprompt = \"{{{{text}}}}\"\n\
         answer = \"{{{{label}}}}\"\n[train]\nsteps = 1\nsequence = 64\nbatch = BATCH\nmicro_batch = BATCH\n"
    );
    let (path, to) = (folder.path().join("tune.toml"), folder.path().join("run"));
    let tune = |batch: &str| {
        fs::write(&path, text.replace("BATCH", batch)).unwrap();
        run(folder.path(), &["tune", path.to_str().unwrap(), "--run", to.to_str().unwrap(), "--threads", "1"])
    };
    let refused = tune("900000000");
    assert!(refused.code == 1 && refused.stderr.contains("too little"), "{}", refused.stderr);
    assert!(!to.exists());
    let done = tune("8");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(to.join("base/model.safetensors").is_file() && to.join("model/model.safetensors").is_file());
}

/// All memory is asked for at once, before the first step.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_the_system_refuses_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), 1024);
    let to = folder.path().join("run");
    for (language, said) in [("en_US.UTF-8", "gives no"), ("ko_KR.UTF-8", "내주지 않습니다")] {
        let mut limited = Command::new("sh");
        limited.args([
            "-c",
            "ulimit -v 600000 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_saem"),
            "pretrain",
            &recipe,
            "--run",
        ]);
        let ran =
            finish(limited.arg(&to).args(["--threads", "1"]).env("SAEM_HOME", folder.path()).env("LANG", language));
        assert!(ran.code == 1 && ran.stderr.contains(said) && ran.stderr.contains("ulimit"), "{}", ran.stderr);
        assert!(!to.exists());
    }
}

#[test]
fn the_name_that_was_meant_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = recipe(folder.path(), 512);
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in
        [("steps", "stepz"), ("[train]", "[trian]"), ("hidden_size", "hiden_size"), ("tokenizer", "tokeniser")]
    {
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let ran = run(folder.path(), &["pretrain", &path, "--run", "run"]);
        let meant = format!("did you mean: {}", from.trim_matches(['[', ']']));
        assert!(ran.code == 2 && ran.stderr.contains(&meant), "{}", ran.stderr);
    }
}
