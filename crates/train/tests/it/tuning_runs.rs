//! Tuning runs as folders: what rows become, what is measured, what comes out.

use std::fs;
use std::path::{Path, PathBuf};

use saem_formats::Source;
use saem_formats::safetensors::SafeTensors;
use saem_kernels::attention::{KvType, Span};
use saem_kernels::{DataType, ThreadPool};
use saem_model::{AdapterOptions, Batch, KvCache, LoadOptions, Model, Workspace, convert, load_tokenizer, merge};
use saem_train::{Recipe, Run, Setup, StepReport, TrainError};
use serde_json::{Value, json};
use tempfile::TempDir;

const RECIPE: &str = r#"
[model]
base = "llama"
[tune]
method = "lora"
rank = 4
[data]
train = ["reviews.jsonl"]
validation_share = 0.25
prompt = "{{text}} =>"
answer = " {{label}}"
label = "label"
labels = { 0 = "bad", 1 = "good", 2 = "good" }
[train]
steps = 8
sequence = 40
batch = 6
micro_batch = 2
learning_rate = 0.01
evaluate_every = 4
checkpoint_every = 4
"#;

fn row(index: usize) -> Value {
    match index % 3 {
        0 => json!({ "text": format!("bad {index}"), "label": 0 }),
        1 => json!({ "text": format!("good {index}"), "label": "1" }),
        _ => json!({ "text": format!("{index} good"), "label": 2 }),
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let rows: String = (0..48).map(|index| format!("{}\n", row(index))).collect();
        place.file("reviews.jsonl", &rows);
        place.file("recipe.toml", RECIPE);
        let pool = ThreadPool::new(1).unwrap();
        convert(&llama(), &place.path("llama.gguf"), Some(DataType::Q8_0), &pool, &mut |_, _| {}).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn open(&self, recipe: &str, folder: &str, threads: usize, resume: bool) -> Result<Run, TrainError> {
        let begin = |text: String| text + "<assistant>";
        self.open_with(begin, recipe, folder, threads, resume)
    }

    /// With a template that begins the assistant's turn so.
    fn open_with(
        &self,
        begin_turn: impl Fn(String) -> String + 'static,
        recipe: &str,
        folder: &str,
        threads: usize,
        resume: bool,
    ) -> Result<Run, TrainError> {
        let recipe = Recipe::read(&self.path(recipe))?;
        let source = Source::open(self.path("llama.gguf")).unwrap();
        let write_chat = Box::new(move |messages: &[Value], begin: bool| {
            let line =
                |message: &Value| format!("<{}>{}\n", message["role"].as_str()?, message["content"].as_str()?).into();
            let text: Option<String> = messages.iter().map(line).collect();
            let text = text.ok_or("no text")?;
            Ok(if begin { begin_turn(text) } else { text })
        });
        let setup = Setup { recipe, folder: self.path(folder), source, threads, write_chat: Some(write_chat) };
        Run::open(setup, resume, &mut |_, _| {})
    }
}

fn llama() -> Source {
    Source::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama")).unwrap()
}

fn steps(run: &mut Run, until: u64) -> Vec<StepReport> {
    (run.step_number()..until).map(|_| run.step().unwrap()).collect()
}

#[test]
fn an_interrupted_run_ends_with_the_same_adapter() {
    let place = Place::new();
    for method in ["lora", "dora", "p-tuning", "prompt", "prefix"] {
        let recipe = RECIPE.replace("\"lora\"", &format!("{method:?}\nvirtual_tokens = 3\nencoder_hidden = 8"));
        place.file("method.toml", &recipe);
        let mut run = place.open("method.toml", &format!("{method}-whole"), 1, false).unwrap();
        let whole = steps(&mut run, 8);
        run.finish().unwrap();
        assert!(whole[7].loss < whole[0].loss, "{method} learns: {} {}", whole[0].loss, whole[7].loss);
        assert!(
            whole[7].validation_loss.is_some() && whole[7].validation_f1.is_some() && whole[5].validation_f1.is_none()
        );

        let mut run = place.open("method.toml", &format!("{method}-parts"), 2, false).unwrap();
        steps(&mut run, 6);
        drop(run);
        let mut run = place.open("method.toml", &format!("{method}-parts"), 1, true).unwrap();
        assert_eq!(run.step_number(), 4);
        let rest = steps(&mut run, 8);
        assert_eq!((rest[3].loss, rest[3].tokens), (whole[7].loss, whole[7].tokens), "{method}");
        run.finish().unwrap();
        let file =
            |run: &str| fs::read(place.path(&format!("{method}-{run}/adapter/adapter_model.safetensors"))).unwrap();
        assert!(file("whole") == file("parts"), "{method}");

        // It is served, beside the quantised model and beside its floats.
        for model in [llama(), Source::open(place.path("llama.gguf")).unwrap()] {
            let pool = ThreadPool::new(1).unwrap();
            let served = Model::load(&model, &pool, &LoadOptions::default(), &mut |_, _| {}).unwrap();
            let load = |name: &str| {
                served.adapter(place.path(&format!("{method}-whole/adapter{name}")), &AdapterOptions::default())
            };
            let adapter = load("").unwrap();
            if method == "dora" {
                // Or its magnitudes are put into the weights.
                let (adapter, output) = (place.path("dora-whole/adapter"), place.path("merged.gguf"));
                merge(&model, &adapter, &output, None, &pool, &mut |_, _| {}).unwrap();
                assert_eq!(load("").unwrap().rank(), 4);
                continue;
            }
            if method == "lora" {
                assert_eq!((adapter.rank(), load("/adapter.gguf").unwrap().rank()), (4, 4));
            } else {
                assert_eq!(adapter.virtual_tokens(), 3);
            }
        }
    }
}

/// Loss of all rows with an adapter beside its base, as a server has it.
fn loss_of_labels(place: &Place, adapter: &Path) -> f64 {
    let pool = ThreadPool::new(1).unwrap();
    // Training multiplies quantised weights as floats, and so does this model.
    let (tuned, floats) = (Source::open(place.path("llama.gguf")).unwrap(), place.path("floats.gguf"));
    convert(&tuned, &floats, Some(DataType::F32), &pool, &mut |_, _| {}).unwrap();
    let source = Source::open(&floats).unwrap();
    let model = Model::load(&source, &pool, &LoadOptions::default(), &mut |_, _| {}).unwrap();
    let adapter = model.adapter(adapter, &AdapterOptions::default()).unwrap();
    assert_eq!(adapter.labels(), ["bad", "good"]);
    let tokenizer = load_tokenizer(&llama()).unwrap();
    let mut workspace = Workspace::new(&model.config, 64, 1);
    workspace.reserve_adapters(&model.config, adapter.rank());
    let mut loss = 0.0;
    for index in 0..48 {
        let row = row(index);
        let tokens = tokenizer.encode(&format!("{} =>", row["text"].as_str().unwrap()), true, true);
        let mut cache = KvCache::new(&model.config, KvType::F32, 4);
        let spans = [Span { first_row: 0, rows: tokens.len(), first_position: 0, blocks: &[0, 1, 2, 3] }];
        let adapters = [Some(&adapter)];
        let batch = Batch { tokens: &tokens, spans: &spans, adapters: &adapters, logit_rows: &[tokens.len() - 1] };
        let logits = model.forward(&pool, &mut cache, &batch, &mut workspace).unwrap();
        let scores = [f64::from(logits[0]), f64::from(logits[1])];
        let right = scores[usize::from(index % 3 != 0)];
        loss += scores.iter().map(|score| (score - right).exp()).sum::<f64>().ln();
    }
    loss / 48.0
}

/// A head of its own: what comes out is a model as transformers has it, whatever of the body was trained.
#[test]
fn a_classifier_learns_labels_and_is_a_model_of_transformers() {
    let place = Place::new();
    for (method, count) in [("head", 8), ("lora", 20), ("dora", 4), ("full", 4)] {
        let recipe = RECIPE
            .replace("method = \"lora\"", &format!("method = {method:?}\ntask = \"classification\""))
            .replace("answer = \" {{label}}\"\n", "")
            .replace("validation_share = 0.25", "validation = [\"reviews.jsonl\"]")
            .replace("steps = 8", &format!("steps = {count}"));
        place.file("classify.toml", &recipe);
        let mut run = place.open("classify.toml", method, 1, false).unwrap();
        assert_eq!((run.is_classifier(), run.is_adapter()), (true, method != "full"));
        let (train, held_out) = run.data_reports().unwrap();
        assert_eq!((train.labels["good"] + held_out.labels["good"], held_out.examples), (64, 48));
        let reports = steps(&mut run, count);
        let (first, last) = (&reports[0], &reports[count as usize - 1]);
        println!("{method}: {} -> {}, {:?}", first.loss, last.loss, last.validation_accuracy);
        assert!(last.loss < first.loss, "{method} learns: {} {}", first.loss, last.loss);
        assert!(last.validation_accuracy.is_some() && last.validation_f1.is_some());
        if method == "lora" {
            assert!(last.validation_accuracy > Some(0.9), "{last:?}");
        }
        let made = run.finish().unwrap();
        assert_eq!(made.file_name().unwrap(), if method == "full" { "model" } else { "adapter" });
        let folder = made.with_file_name("model");
        if method != "full" {
            let (measured, served) = (last.validation_loss.unwrap(), loss_of_labels(&place, &made));
            assert!((served / measured - 1.0).abs() < 1e-5, "{method}: {measured} measured, {served} served");
        }
        let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!(["LlamaForSequenceClassification"]));
        assert_eq!(config["id2label"], json!({ "0": "bad", "1": "good" }));
        assert_eq!((&config["label2id"]["good"], &config["pad_token_id"]), (&json!(1), &json!(313)));
        let tensors = SafeTensors::open(folder.join("model.safetensors")).unwrap();
        assert_eq!(tensors.required("score.weight").unwrap().shape, [2, 32]);
        assert!(tensors.tensor("lm_head.weight").is_none() && tensors.tensor("model.norm.weight").is_some());
        assert!(folder.join("tokenizer.json").is_file());

        if method != "lora" {
            continue;
        }
        drop(run);
        let mut run = place.open("classify.toml", "parts", 1, false).unwrap();
        steps(&mut run, 6);
        drop(run);
        let mut run = place.open("classify.toml", "parts", 1, true).unwrap();
        let again = steps(&mut run, count);
        assert_eq!(again.last().unwrap().loss, last.loss, "{method}");
    }
    for (from, to, said) in [
        ("method = \"lora\"", "method = \"lora\"\ntask = \"classify\"", "classification"),
        ("method = \"lora\"", "method = \"lora\"\ntask = \"classification\"", "no answer"),
        ("answer = \" {{label}}\"\n", "", "prompt and answer belong together"),
        ("method = \"lora\"", "method = \"head\"", "for task"),
    ] {
        place.file("wrong.toml", &RECIPE.replace(from, to));
        let error = place.open("wrong.toml", "wrong", 1, false).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn labels_are_told_apart_after_some_steps() {
    let place = Place::new();
    place.file(
        "long.toml",
        &RECIPE.replace("steps = 8", "epochs = 8").replace("evaluate_every = 4", "evaluate_every = 1000"),
    );
    let mut run = place.open("long.toml", "run", 1, false).unwrap();
    assert_eq!(run.steps(), 48);
    let last = steps(&mut run, 48).pop().unwrap();
    assert!(last.validation_accuracy > Some(0.9) && last.validation_f1 > Some(0.9), "{last:?}");
    let report: Value = serde_json::from_slice(&fs::read(place.path("run/data.json")).unwrap()).unwrap();
    assert_eq!(report["train"]["rows"], 48);
    assert_eq!(report["train"]["examples"].as_u64().unwrap() + report["validation"]["examples"].as_u64().unwrap(), 48);
    let labels = |word: &str| report["train"]["labels"][word].as_u64().unwrap();
    assert_eq!(labels("good") + labels("bad"), 36);
}

#[test]
fn rows_that_cannot_be_used_are_counted_with_their_line() {
    let place = Place::new();
    let long = "long ".repeat(100);
    let rows = format!(
        "{{\"text\": \"a\", \"label\": 0}}\n\n{{\"text\": \"\", \"label\": 1}}\n{{\"text\": \"b\", \"label\": 7}}\n{{\"label\": 1}}\n\
         nothing\n{{\"text\": \"{long}\", \"label\": 1}}\n{{\"text\": \"c\", \"label\": 1}}\n"
    );
    place.file("reviews.jsonl", &rows);
    place.file("all.toml", &RECIPE.replace("validation_share = 0.25", ""));
    let run = place.open("all.toml", "run", 1, false).unwrap();
    let (report, _) = run.data_reports().unwrap();
    assert_eq!((report.rows, report.examples, report.refused), (7, 2, 5));
    let reasons: Vec<(usize, bool)> =
        ["is empty", "label \"7\"", "no column \"text\"", "not JSON", "where `sequence` is 40"]
            .iter()
            .zip(&report.refusals)
            .map(|(reason, refusal)| (refusal.line, refusal.reason.contains(reason)))
            .collect();
    assert_eq!(reasons, [(3, true), (4, true), (5, true), (6, true), (7, true)], "{:?}", report.refusals);

    // A column that the first row does not have is the recipe's mistake, and no example at all is an error.
    place.file("other.toml", &RECIPE.replace("{{text}}", "{{document}}"));
    let error = place.open("other.toml", "run2", 1, false).unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, TrainError::Data { line: 1, .. }) && said.contains("document") && said.contains("label"),
        "{said}"
    );
    place.file("reviews.jsonl", "{\"text\": \"a\", \"label\": 9}\n");
    assert!(matches!(place.open("all.toml", "run3", 1, false), Err(TrainError::NoExamples { line: 1, .. })));
    place.file("reviews.txt", "text");
    place.file("text.toml", &RECIPE.replace("reviews.jsonl", "reviews.txt"));
    assert!(place.open("text.toml", "run4", 1, false).unwrap_err().to_string().contains(".jsonl"));
}

#[test]
fn conversations_and_texts_are_learnt_from() {
    let place = Place::new();
    let messages = json!([
        { "role": "user", "content": "a" }, { "role": "assistant", "content": "bb" },
        { "role": "user", "content": "c" }, { "role": "assistant", "content": "dd" },
    ]);
    let silent = json!({ "messages": [{ "role": "user", "content": "a" }] });
    place.file("chat.jsonl", &format!("{}\n{silent}\n{{\"messages\": 3}}\n", json!({ "messages": messages })));
    let recipe = |data: &str| {
        let (before, after) = RECIPE.split_once("[data]").unwrap();
        format!("{before}[data]\n{data}\n[train]{}", after.split_once("[train]").unwrap().1)
    };
    place.file("chat.toml", &recipe("train = [\"chat.jsonl\"]\nchat = \"messages\""));
    let mut run = place.open("chat.toml", "chat", 1, false).unwrap();
    let (report, _) = run.data_reports().unwrap();
    assert_eq!((report.rows, report.examples, report.refused), (3, 1, 2), "{report:?}");
    let tokenizer = saem_model::load_tokenizer(&llama()).unwrap();
    let learnt = ["bb\n", "dd\n"].map(|text| tokenizer.encode(text, false, true).len());
    assert_eq!(report.learnt_tokens, learnt[0] + learnt[1]);
    assert!(run.step().unwrap().loss.is_finite());

    place.file("texts.csv", "id,body\n1,\"One, two\"\n2,three four\n");
    place.file("texts.toml", &recipe("train = [\"texts.csv\"]\ntext = \"body\"").replace("lora", "full"));
    let mut run = place.open("texts.toml", "texts", 1, false).unwrap();
    let losses: Vec<f64> = steps(&mut run, 4).iter().map(|report| report.loss).collect();
    assert!(losses[3] < losses[0]);
    assert!(run.finish().unwrap().join("model.safetensors").is_file());
}

#[test]
fn turns_that_a_template_runs_together_are_no_trouble() {
    let place = Place::new();
    let turn = |role: &str, text: &str| json!({ "role": role, "content": text });
    let messages = [turn("user", "good?"), turn("assistant", "good"), turn("assistant", "good, too")];
    place.file("chats.jsonl", &format!("{}\n", json!({ "messages": messages })).repeat(8));
    let (before, rest) = RECIPE.split_once("train = [").unwrap();
    let rest = rest.split_once("[train]").unwrap().1;
    place.file("chat.toml", &format!("{before}train = [\"chats.jsonl\"]\nchat = \"messages\"\n[train]{rest}"));
    // The turn before is taken up again instead of a new one begun.
    let take_up = |text: String| match text.strip_suffix('\n') {
        Some(open) if text.contains("<assistant>") => open.to_owned(),
        _ => text + "<assistant>",
    };
    let mut run = place.open_with(take_up, "chat.toml", "chat", 1, false).unwrap();
    assert_eq!(run.data_reports().unwrap().0.examples, 8);
    run.step().unwrap();
}

#[test]
fn a_run_goes_on_once_at_a_time_and_with_its_own_data() {
    let place = Place::new();
    place.file("epochs.toml", &RECIPE.replace("steps = 8", "epochs = 1.0"));
    let mut run = place.open("epochs.toml", "run", 1, false).unwrap();
    steps(&mut run, 4);
    let problem = |run: Result<Run, TrainError>| run.and_then(|mut run| run.step()).unwrap_err().to_string();
    assert!(problem(place.open("epochs.toml", "run", 1, true)).contains("being worked on"));
    drop(run);

    // The disk was full in the middle of a letter.
    let path = place.path("run/metrics.jsonl");
    let before = fs::read(&path).unwrap();
    fs::write(&path, [&before[..], "{\"step\": 4, \"text\": \"샘".as_bytes().split_last().unwrap().1].concat())
        .unwrap();
    let mut run = place.open("epochs.toml", "run", 1, true).unwrap();
    assert_eq!((run.step_number(), run.step().unwrap().step), (4, 5));
    drop(run);
    let metrics = fs::read_to_string(&path).unwrap();
    let found: Vec<u64> =
        metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap()).collect();
    assert!(found == [1, 2, 3, 4, 5] && metrics.as_bytes().starts_with(&before));

    // What stands in the folder is a recipe, too.
    assert_eq!(Recipe::read(&place.path("run/recipe.toml")).unwrap().train.epochs, Some(1.0));

    let rows = fs::read_to_string(place.path("reviews.jsonl")).unwrap();
    place.file("reviews.jsonl", &format!("{rows}{}\n", json!({ "text": "good", "label": 1 })));
    assert!(problem(place.open("epochs.toml", "run", 1, true)).contains("not those that this run began with"));
    place.file("reviews.jsonl", &rows);
    place.open("epochs.toml", "run", 1, true).unwrap().step().unwrap();
}

#[test]
fn what_another_model_left_is_not_tuned() {
    let place = Place::new();
    let recipe = RECIPE.replace("\"lora\"", "\"full\"").replace("rank = 4\n", "");
    place.file("full.toml", &recipe);
    let open = |folder: &str| place.open("full.toml", folder, 1, false);
    // Folders that are not the run's own are left alone.
    fs::create_dir_all(place.path("mine/base")).unwrap();
    place.file("mine/base/notes.txt", "mine");
    assert!(open("mine").unwrap_err().to_string().contains("in the way"));
    assert_eq!(fs::read_to_string(place.path("mine/base/notes.txt")).unwrap(), "mine");

    // Looked at with one model, and then begun with another.
    let first = open("full").unwrap().step().unwrap().loss;
    drop(open("other").unwrap());
    let pool = ThreadPool::new(1).unwrap();
    fs::remove_file(place.path("llama.gguf")).unwrap();
    convert(&llama(), &place.path("llama.gguf"), Some(DataType::Q4_0), &pool, &mut |_, _| {}).unwrap();
    let coarse = open("coarse").unwrap().step().unwrap().loss;
    let other = open("other").unwrap().step().unwrap().loss;
    assert!(other == coarse && other != first, "{first} {coarse} {other}");
}

#[test]
fn prompts_are_measured_with_labels_that_are_longer_than_theirs() {
    let place = Place::new();
    let row = |index: usize| match index % 2 {
        0 => json!({ "text": format!("bad {}", "bad ".repeat(6 + index % 4)), "label": 0 }),
        _ => json!({ "text": "good", "label": 1 }),
    };
    place.file("reviews.jsonl", &(0..40).map(|index| format!("{}\n", row(index))).collect::<String>());
    let recipe = RECIPE.replace("1 = \"good\", 2 = \"good\"", "1 = \"good good good good good good\"");
    let recipe = recipe.replace("batch = 6\nmicro_batch = 2", "batch = 1\nmicro_batch = 1");
    place.file("long.toml", &recipe.replace("evaluate_every = 4", "evaluate_every = 1"));
    let mut run = place.open("long.toml", "long", 1, false).unwrap();
    assert!(run.step().unwrap().validation_accuracy.is_some());
}

#[test]
fn preferences_are_learnt_from_pairs() {
    let place = Place::new();
    let row = |index: usize| json!({ "q": format!("say {index}"), "yes": "good good", "no": "bad" });
    let rows: String = (0..12).map(|index| format!("{}\n", row(index))).collect();
    place.file("pairs.jsonl", &format!("{rows}{}\n", json!({ "q": "a", "yes": "b", "no": "b" })));
    let (before, after) = RECIPE.split_once("[data]").unwrap();
    let data = "train = [\"pairs.jsonl\"]\nvalidation_share = 0.25\nprompt = \"{{q}}:\"\nchosen = \" {{yes}}\"\nrejected = \" {{no}}\"";
    let recipe = format!("{before}[data]\n{data}\n[train]{}", after.split_once("[train]").unwrap().1);
    place.file("dpo.toml", &recipe.replace("\"lora\"", "\"dpo\""));
    let mut run = place.open("dpo.toml", "run", 1, false).unwrap();
    let (report, held_out) = run.data_reports().unwrap();
    assert_eq!((report.rows, report.examples, held_out.examples, report.refused), (13, 9, 3, 1));
    let found = steps(&mut run, 8);
    // Nothing is told apart at first: the logarithm of 2.
    assert!((found[0].loss - 2.0_f64.ln()).abs() < 1e-5 && found[7].loss < 0.5 * found[0].loss, "{found:?}");
    assert_eq!(found[7].validation_accuracy, Some(1.0));
    assert!(run.finish().unwrap().join("adapter.gguf").is_file());
}

#[test]
fn recipes_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (from, to, expected) in [
        ("\"lora\"", "\"ipo\"", "ipo"),
        ("\"lora\"", "\"dpo\"", "chosen"),
        ("\"lora\"", "\"lora\"\ntargets = [\"querry\"]", "querry"),
        ("rank = 4", "rank = 0", "rank"),
        ("rank = 4", "ranks = 4", "ranks"),
        ("steps = 8", "steps = 8\nepochs = 1", "epochs"),
        ("answer = \" {{label}}\"", "", "prompt and answer"),
        ("{{text}} =>", "{{text}} {{label}} =>", "gives the answer away"),
        ("{{text}} =>", "{{text =>", "{{text"),
        ("answer = \" {{label}}\"", "answer = \" {{text}}\"", "label"),
        ("label = \"label\"", "", "label"),
        ("base = \"llama\"", "tokenizer = \"llama\"", "base"),
        ("prompt = ", "chat = \"messages\"\nprompt = ", "chat"),
    ] {
        place.file("wrong.toml", &RECIPE.replace(from, to));
        let problem = Recipe::read(&place.path("wrong.toml")).unwrap_err().to_string();
        assert!(problem.contains(expected), "{to}: {problem}");
    }
}

#[test]
fn a_learning_rate_that_is_not_named_suits_the_method() {
    let place = Place::new();
    let text = RECIPE.replace("learning_rate = 0.01\n", "");
    for (method, expected) in [("lora", 3e-4), ("p-tuning", 2e-3), ("prefix", 2e-2), ("full", 2e-5)] {
        place.file("unsaid.toml", &text.replace("\"lora\"", &format!("\"{method}\"")));
        let recipe = Recipe::read(&place.path("unsaid.toml")).unwrap();
        assert_eq!(recipe.learning_rate(), expected, "{method}");
        // The folder of a run says which it was.
        place.file("resolved.toml", &recipe.to_toml());
        assert_eq!(Recipe::read(&place.path("resolved.toml")).unwrap(), recipe);
        assert!(recipe.to_toml().contains("learning_rate"), "{method}");
    }
    assert_eq!(Recipe::read(&place.path("recipe.toml")).unwrap().learning_rate(), 0.01);
}
