//! The same with a real model, where one is at hand.

use std::path::PathBuf;

use serde_json::Value;

use crate::saem::run;

/// `smollm2-135m.gguf` of `$SAEM_TEST_MODELS`.
fn model() -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("SAEM_TEST_MODELS") else {
        println!("skipped: a real model answers (set SAEM_TEST_MODELS)");
        return None;
    };
    Some(PathBuf::from(directory).join("smollm2-135m.gguf"))
}

#[test]
fn a_real_model_answers_and_describes_itself() {
    let Some(model) = model() else { return };
    let (home, model) = (tempfile::tempdir().unwrap(), model.display().to_string());
    let question = "What is the capital of France? Answer in one short sentence.";
    let arguments = ["run", "--model", &model, "--chat", "--temperature", "0", "--max-tokens", "24", question];
    let answer = run(home.path(), &arguments);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stdout.contains("Paris"), "{}", answer.stdout);
    let described: Value = serde_json::from_str(&run(home.path(), &["inspect", &model, "--json"]).stdout).unwrap();
    assert_eq!((&described["architecture"], &described["vocabulary"]), (&"llama".into(), &49152.into()));
    let bench = ["bench", "--model", &model, "--prefill", "32", "--decode", "4", "--repetitions", "1", "--json"];
    let bench: Value = serde_json::from_str(&run(home.path(), &bench).stdout).unwrap();
    assert!(bench["decode_tokens_per_second"].as_f64().unwrap() > 0.0);
}
