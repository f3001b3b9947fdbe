//! Runs as folders: the same weights again, interrupted or not; clear errors; nothing lost.

use std::fs;
use std::path::{Path, PathBuf};

use saem_formats::Source;
use saem_train::{DataProblem, Recipe, Run, Setup, StepReport, TrainError};
use tempfile::TempDir;

const RECIPE: &str = r#"
[model]
tokenizer = "llama"
[model.config]
model_type = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2

[data]
train = ["texts.jsonl", "more"]
validation_share = 0.1

[train]
steps = 12
sequence = 32
batch = 4
micro_batch = 3
learning_rate = 3e-3
warm_up = 3
evaluate_every = 4
checkpoint_every = 4
"#;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sentences = ["Spring water is clear.", "샘물은 맑고 차다.", "The teacher is near the house."];
        let lines: String = (0..60)
            .map(|index| format!("{}\n", serde_json::json!({ "text": format!("{} {index}", sentences[index % 3]) })))
            .collect();
        fs::write(directory.path().join("texts.jsonl"), lines).unwrap();
        fs::create_dir(directory.path().join("more")).unwrap();
        fs::write(directory.path().join("more/a.txt"), "The water of the spring is cold. ".repeat(20)).unwrap();
        let place = Self(directory);
        place.recipe("recipe.toml", RECIPE);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn recipe(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn open(&self, recipe: &str, folder: &str, threads: usize, resume: bool) -> Result<Run, TrainError> {
        let recipe = Recipe::read(&self.path(recipe))?;
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama");
        let source = Source::open(&base).unwrap();
        Run::open(
            Setup { recipe, folder: self.path(folder), source, threads, write_chat: None },
            resume,
            &mut |_, _| {},
        )
    }
}

fn steps(run: &mut Run, until: u64) -> Vec<StepReport> {
    (run.step_number()..until).map(|_| run.step().unwrap()).collect()
}

/// The shape of GPT-3 and of HyperCLOVA (2021): what comes out has the fields that transformers reads.
#[test]
fn positions_are_learnt() {
    let place = Place::new();
    let shape = RECIPE.replace("\"llama\"\nhidden", "\"opt\"\nhidden").replace("num_key_value_heads = 2\n", "");
    place.recipe("opt.toml", &shape);
    let mut run = place.open("opt.toml", "opt", 2, false).unwrap();
    let reports = steps(&mut run, 12);
    assert!(reports[11].loss < reports[0].loss * 0.95, "it learns: {} {}", reports[0].loss, reports[11].loss);
    run.finish().unwrap();
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("opt/model/config.json")).unwrap()).unwrap();
    for (field, value) in [
        ("architectures", serde_json::json!(["OPTForCausalLM"])),
        ("ffn_dim", 64.into()),
        ("word_embed_proj_dim", 32.into()),
        ("activation_function", "gelu".into()),
        ("max_position_embeddings", 32.into()),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let model = Source::open(place.path("opt/model")).unwrap();
    let (config, pool) = (saem_model::Config::from_source(&model).unwrap(), saem_kernels::ThreadPool::new(1).unwrap());
    assert_eq!((config.learned_positions, config.context, config.has_norm_biases(&model)), (Some(2), 32, true));
    saem_model::Model::load(&model, &pool, &saem_model::LoadOptions::default(), &mut |_, _| {}).unwrap();
    // A text of more tokens than there are positions.
    let long = shape.replace("num_attention_heads = 4", "num_attention_heads = 4\nmax_position_embeddings = 16");
    place.recipe("long.toml", &long);
    let mut run = place.open("long.toml", "long", 1, false).unwrap();
    let error = (0..12).find_map(|_| run.step().err()).unwrap();
    assert!(matches!(error, TrainError::Positions { limit: 16, .. }), "{error}");
}

/// Weights that are bf16 numbers, or have one as their upper half: the model that comes out has no other numbers than the one
/// that was trained, and a run that was interrupted goes on to the same.
#[test]
fn weights_of_sixteen_bits_are_learnt_and_kept() {
    let place = Place::new();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    let mut run = place.open("recipe.toml", "floats", 1, false).unwrap();
    let floats = steps(&mut run, 12);
    run.finish().unwrap();
    let size = read("floats/model/model.safetensors").len();
    for (format, dtype, bytes) in [("bf16", "bfloat16", size / 2), ("halves", "float32", size)] {
        place.recipe("half.toml", &RECIPE.replace("[train]", &format!("[train]\nweights = {format:?}")));
        let [whole, parts] = ["whole", "parts"].map(|name| format!("{format}-{name}"));
        let mut run = place.open("half.toml", &whole, 1, false).unwrap();
        let reports = steps(&mut run, 12);
        let (first, last) = (reports[0].loss, reports[11].loss);
        assert!(last < first * 0.9, "{format} learns: {first} {last}");
        run.finish().unwrap();
        let mut run = place.open("half.toml", &parts, 2, false).unwrap();
        steps(&mut run, 5);
        drop(run);
        let mut run = place.open("half.toml", &parts, 3, true).unwrap();
        assert_eq!(run.step_number(), 4);
        assert_eq!(steps(&mut run, 12).last().unwrap().loss, last);
        run.finish().unwrap();
        let model = read(&format!("{whole}/model/model.safetensors"));
        assert!(model == read(&format!("{parts}/model/model.safetensors")), "{format}");
        assert!(model.len().abs_diff(bytes) < size / 20, "{format}: {} of {size}", model.len());
        let config: serde_json::Value = serde_json::from_slice(&read(&format!("{whole}/model/config.json"))).unwrap();
        assert_eq!(config["dtype"], dtype);
        // A rounding error of 2⁻⁸ of each weight moves the loss little.
        assert!((last - floats[11].loss).abs() < 0.02 * floats[11].loss, "{format}: {last} {}", floats[11].loss);
        assert_ne!(last, floats[11].loss);
        let model = Source::open(place.path(&format!("{whole}/model"))).unwrap();
        assert_eq!(saem_model::Config::from_source(&model).unwrap().hidden, 32);
        place.recipe("lora.toml", &format!("[model]\nbase = \"x\"\n[tune]\nmethod = \"lora\"\n[data]\ntrain = [\"a.jsonl\"]\ntext = \"text\"\n[train]\nsteps = 1\nweights = {format:?}\n"));
        let error = Recipe::read(&place.path("lora.toml")).unwrap_err();
        assert!(error.to_string().contains("all weights"), "{error}");
    }
}

/// The same rows in files of every kind, and as the tokens that a run has kept, are the same texts in the same order.
#[test]
fn the_same_texts_teach_the_same_from_any_kind_of_file() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("texts.jsonl")).unwrap();
    let texts = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].to_string());
    fs::write(
        place.path("texts.csv"),
        format!("number,text\n{}", texts.map(|text| format!("1,{text}\n")).collect::<String>()),
    )
    .unwrap();
    let weights = |name: &str, files: &str| {
        let recipe = RECIPE.replace("\"texts.jsonl\", \"more\"", files).replace("steps = 12", "steps = 4");
        place.recipe(&format!("{name}.toml"), &recipe);
        let mut run = place.open(&format!("{name}.toml"), name, 1, false).unwrap();
        steps(&mut run, 4);
        run.finish().unwrap();
        fs::read(place.path(&format!("{name}/model/model.safetensors"))).unwrap()
    };
    let rows = weights("jsonl", "\"texts.jsonl\"");
    assert!(rows == weights("csv", "\"texts.csv\""));
    assert!(rows == weights("tokens", "\"jsonl/texts.bin\""));
    assert!(!place.path("tokens/texts.bin").exists(), "what lies on disk is not copied");
    // Tokens of files come before tokens that were there.
    assert!(weights("both", "\"jsonl/texts.bin\", \"more\"") == weights("others", "\"more\", \"jsonl/texts.bin\""));
    place.recipe("strange.toml", &RECIPE.replace("\"texts.jsonl\", \"more\"", "\"far.bin\""));
    fs::copy(place.path("jsonl/texts.idx"), place.path("far.idx")).unwrap();
    let size = fs::metadata(place.path("jsonl/texts.bin")).unwrap().len();
    fs::write(place.path("far.bin"), vec![0xff; size as usize]).unwrap();
    let mut run = place.open("strange.toml", "strange", 1, false).unwrap();
    assert!(matches!(run.step(), Err(TrainError::Token { token: 0xffff, .. })));
    fs::write(place.path("far.bin"), [0; 6]).unwrap();
    let error = place.open("strange.toml", "short", 1, false).unwrap_err();
    assert!(matches!(&error, TrainError::Io { path, .. } if path.ends_with("far.idx")), "{error}");
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes() {
    let place = Place::new();
    let mut run = place.open("recipe.toml", "whole", 1, false).unwrap();
    let whole = steps(&mut run, 12);
    run.finish().unwrap();
    assert!(whole[11].loss < whole[0].loss * 0.9, "it learns: {} {}", whole[0].loss, whole[11].loss);
    assert!(whole[3].validation_loss.is_some() && whole[4].validation_loss.is_none());
    let written = &whole[11].samples;
    assert!(written.len() == 2 && written.iter().all(|sample| !sample.prompt.is_empty() && !sample.text.is_empty()));
    assert!(whole[4].samples.is_empty());
    let page = fs::read_to_string(place.path("whole/report.html")).unwrap();
    assert!(page.contains("What it writes") && page.contains(&written[0].prompt), "{written:?}");

    // Left two steps after a checkpoint, as a crash would; half a checkpoint and half a line lie about.
    let mut run = place.open("recipe.toml", "parts", 2, false).unwrap();
    steps(&mut run, 6);
    drop(run);
    fs::create_dir(place.path("parts/checkpoints/000006.part")).unwrap();
    fs::create_dir(place.path("parts/checkpoints/000007")).unwrap();
    let metrics = place.path("parts/metrics.jsonl");
    fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "{\"step\": 7, \"lo").unwrap();
    // The run has kept the tokens, so it does not matter what has become of the files.
    fs::remove_file(place.path("texts.jsonl")).unwrap();
    fs::write(place.path("more/a.txt"), "Other water.").unwrap();
    let mut run = place.open("recipe.toml", "parts", 3, true).unwrap();
    assert_eq!(run.step_number(), 4);
    steps(&mut run, 12);
    drop(run);
    // Killed after the last checkpoint and before the model: it comes with the next start.
    let mut run = place.open("recipe.toml", "parts", 1, true).unwrap();
    assert!(run.step_number() == 12 && !place.path("parts/model").exists());
    run.finish().unwrap();

    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(read("whole/model/model.safetensors") == read("parts/model/model.safetensors"));
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let of = |run: &str| read(&format!("{run}/checkpoints/000012/{name}"));
        assert!(of("whole") == of("parts"), "{name}");
    }
    let lines = fs::read_to_string(&metrics).unwrap();
    let seen: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, (1..=12).collect::<Vec<_>>());
    let mut kept: Vec<_> = fs::read_dir(place.path("parts/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() == 6 && place.path("parts/checkpoints").join(name).join("manifest.json").is_file())
        .collect();
    kept.sort();
    assert_eq!(kept, ["000008", "000012"]);
    // What came out is a checkpoint like any other.
    let model = Source::open(place.path("whole/model")).unwrap();
    let config = saem_model::Config::from_source(&model).unwrap();
    assert_eq!((config.hidden, config.vocabulary % 64), (32, 0));
    assert!(saem_model::load_tokenizer(&model).is_ok());
}

#[test]
fn experts_learn_are_kept_in_balance_and_go_on_to_the_same_bytes() {
    let place = Place::new();
    let shape = r#"model_type = "exaone_moe"
num_experts = 8
num_experts_per_tok = 2
moe_intermediate_size = 16
num_shared_experts = 1
n_group = 1
topk_group = 1
norm_topk_prob = true
routed_scaling_factor = 2.5
mlp_layer_types = ["dense", "sparse"]
layer_types = ["full_attention", "full_attention"]"#;
    place.recipe("experts.toml", &RECIPE.replace("model_type = \"llama\"", shape).replace("steps = 12", "steps = 24"));
    let mut run = place.open("experts.toml", "whole", 1, false).unwrap();
    let whole = steps(&mut run, 24);
    run.finish().unwrap();
    assert!(whole[23].loss < whole[0].loss * 0.8, "it learns: {} {}", whole[0].loss, whole[23].loss);

    let mut run = place.open("experts.toml", "parts", 2, false).unwrap();
    steps(&mut run, 10);
    drop(run);
    let mut run = place.open("experts.toml", "parts", 3, true).unwrap();
    steps(&mut run, 24);
    run.finish().unwrap();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(read("whole/model/model.safetensors") == read("parts/model/model.safetensors"));

    // Every step moved the correction of each expert by the same amount, up or down, or left it.
    let model = Source::open(place.path("whole/model")).unwrap();
    let config = saem_model::Config::from_source(&model).unwrap();
    let correction =
        config.parameters(false).into_iter().find(|found| found.role == saem_model::Role::RouterCorrection).unwrap();
    let mut corrections = vec![0.0; correction.elements()];
    correction.read(&model, &config, &mut corrections).unwrap();
    assert!(corrections.iter().any(|value| *value != 0.0), "{corrections:?}");
    assert!(corrections.iter().all(|value| value.abs() < 0.0241), "{corrections:?}");
    let pool = saem_kernels::ThreadPool::new(1).unwrap();
    saem_model::Model::load(&model, &pool, &saem_model::LoadOptions::default(), &mut |_, _| {}).unwrap();
}

#[test]
fn a_model_can_be_gone_on_from_and_recomputation_changes_nothing() {
    let place = Place::new();
    let base = RECIPE.split("[model.config]").next().unwrap().replace("tokenizer", "base");
    let rest = RECIPE.split_once("[data]").unwrap().1;
    place.recipe("base.toml", &format!("{base}\n[data]{rest}"));
    place.recipe("full.toml", &format!("{base}\n[data]{rest}\nrecompute = \"full\""));
    let plain = steps(&mut place.open("base.toml", "plain", 2, false).unwrap(), 3);
    let again = steps(&mut place.open("full.toml", "again", 2, false).unwrap(), 3);
    let losses = |reports: &[StepReport]| reports.iter().map(|report| report.loss).collect::<Vec<_>>();
    assert_eq!(losses(&plain), losses(&again));
    assert!(plain[0].loss < 7.0 && plain[2].loss < plain[0].loss);
}

#[test]
fn damage_is_seen_and_said() {
    let place = Place::new();
    steps(&mut place.open("recipe.toml", "run", 1, false).unwrap(), 4);
    let again = place.open("recipe.toml", "run", 1, false).unwrap_err().to_string();
    assert!(again.contains("--resume"), "{again}");
    place.recipe("other.toml", &RECIPE.replace("3e-3", "1e-3"));
    let other = place.open("other.toml", "run", 1, true).unwrap_err().to_string();
    assert!(other.contains("another recipe"), "{other}");
    let nothing = place.open("recipe.toml", "empty", 1, true).unwrap_err().to_string();
    assert!(nothing.contains("no run"), "{nothing}");

    let weights = place.path("run/checkpoints/000004/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let damaged = place.open("recipe.toml", "run", 1, true).unwrap_err();
    assert!(matches!(&damaged, TrainError::Checkpoint { problem, .. } if problem.contains("model.safetensors")));
}

#[test]
fn broken_texts_are_refused_with_their_line() {
    let broken: [(&[u8], DataProblem); 3] = [
        (b"{\"text\": \"a\"}\n\n{\"body\": \"b\"}\n", DataProblem::NoField("text".into())),
        (b"{\"text\": \"a\"}\n{\"text\": 3}\n{\"text\": \"c\"}", DataProblem::NoField("text".into())),
        (b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n", DataProblem::NotUtf8),
    ];
    for (line, (bytes, expected)) in [3, 2, 2].into_iter().zip(broken) {
        let place = Place::new();
        fs::write(place.path("texts.jsonl"), bytes).unwrap();
        match place.open("recipe.toml", "run", 1, false).unwrap_err() {
            TrainError::Data { path, line: found, problem } => {
                assert_eq!((found, problem), (line, expected));
                assert!(path.ends_with("texts.jsonl"));
            }
            other => panic!("{other}"),
        }
    }
    let place = Place::new();
    fs::write(place.path("texts.jsonl"), "").unwrap();
    fs::remove_dir_all(place.path("more")).unwrap();
    assert!(matches!(place.open("recipe.toml", "run", 1, false), Err(TrainError::Io { .. })), "a missing file");
    fs::create_dir(place.path("more")).unwrap();
    assert!(matches!(place.open("recipe.toml", "run", 1, false), Err(TrainError::TooLittleData { tokens: 0, .. })));
}

#[test]
fn recipes_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (from, to, expected) in [
        ("steps = 12", "stepz = 12", "stepz"),
        ("steps = 12", "steps = 0", "steps"),
        ("learning_rate = 3e-3", "learning_rate = -1.0", "learning_rate"),
        ("validation_share = 0.1", "validation_share = nan", "validation_share"),
        ("tokenizer = \"llama\"", "", "tokenizer"),
        ("train = [\"texts.jsonl\", \"more\"]", "train = []", "train"),
    ] {
        place.recipe("wrong.toml", &RECIPE.replace(from, to));
        let problem = Recipe::read(&place.path("wrong.toml")).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoint() {
    let place = Place::new();
    place.recipe(
        "wild.toml",
        &RECIPE.replace("3e-3", "10.0").replace("warm_up = 3", "warm_up = 0\nclip = 0.0\nweight_decay = 10.0"),
    );
    let mut run = place.open("wild.toml", "run", 1, false).unwrap();
    let error = (0..12).find_map(|_| run.step().err());
    let Some(TrainError::Diverged { step, what }) = error else { panic!("{error:?}") };
    println!("step {step}: {what}");
    assert_eq!(run.step_number(), step - 1);
}

#[test]
fn every_optimizer_learns_and_goes_on_to_the_same_bytes() {
    let place = Place::new();
    // Matrices of this width are large enough for means in 8 bits.
    let recipe = RECIPE
        .replace("hidden_size = 32", "hidden_size = 64")
        .replace("intermediate_size = 64", "intermediate_size = 128");
    let mut last = Vec::new();
    for optimizer in ["adamw", "adamw8bit", "muon"] {
        let name = format!("{optimizer}.toml");
        place.recipe(&name, &recipe.replace("steps = 12", &format!("steps = 12\noptimizer = \"{optimizer}\"")));
        let (whole, parts) = (format!("{optimizer}-whole"), format!("{optimizer}-parts"));
        let mut run = place.open(&name, &whole, 1, false).unwrap();
        let reports = steps(&mut run, 12);
        assert!(
            reports[11].loss < 0.9 * reports[0].loss,
            "{optimizer} learns: {} {}",
            reports[0].loss,
            reports[11].loss
        );
        last.push((reports[11].loss, run.plan().optimizer));
        let mut run = place.open(&name, &parts, 2, false).unwrap();
        steps(&mut run, 6);
        drop(run);
        let mut run = place.open(&name, &parts, 1, true).unwrap();
        assert_eq!(run.step_number(), 4);
        steps(&mut run, 12);
        let files = |run: &str| {
            let folder = place.path(&format!("{run}/checkpoints/000012"));
            let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names.into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect::<Vec<_>>()
        };
        assert!(files(&whole) == files(&parts), "{optimizer}: the same checkpoint");
    }
    let [(adamw, bytes), (quantised, fewer), (_, momentum)] = last[..] else { unreachable!() };
    assert!((quantised / adamw - 1.0).abs() < 0.02, "in 8 bits {quantised}, in 32 {adamw}");
    assert!(fewer < bytes / 2 && momentum < bytes, "{bytes} {fewer} {momentum}");
}
