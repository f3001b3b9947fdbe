//! Tunings over HTTP, up to the process that tunes: that one is the program's own and is tried where the program is.

use serde_json::{Value, json};

use crate::datasets::upload;
use crate::projects::Studio;

/// A dataset of reviews and a task on it.
fn task(studio: &Studio) -> Value {
    let mut table = String::from("document,label\n");
    for row in 0..40 {
        table += &format!("글 {row},{}\n", row % 2);
    }
    let dataset = upload(studio, "text/csv", table.as_bytes()).json();
    json!({
        "dataset": dataset["id"], "base": "alphabet", "prompt": "리뷰: {{document}}\n감정:\n", "answer": "{{label}}",
        "label": "label", "labels": {"0": "부정", "1": "긍정"}, "parameters": {"epochs": 2, "batch": 4}
    })
}

#[test]
fn a_task_that_cannot_be_done_is_refused_with_its_field() {
    let studio = Studio::new();
    let good = task(&studio);
    let field = |change: Value| {
        let mut task = good.clone();
        task.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = studio.call("POST", "/api/studio/tunings", &json!({"name": "a", "task": task}));
        let (status, _, field) = answer.error();
        assert!(status == 400 || status == 404, "{}", answer.text());
        field.unwrap_or_default()
    };
    for (change, expected) in [
        (json!({"dataset": "nothing"}), "dataset"),
        (json!({"base": "nothing"}), "base"),
        (json!({"prompt": "{{nothing}}"}), "prompt"),
        (json!({"prompt": "no column"}), "prompt"),
        (json!({"answer": "{{document}}"}), "answer"),
        (json!({"label": "document"}), "label"),
        (json!({"labels": {"0": "같다", "1": "같다"}}), "labels"),
        (json!({"label": null}), "labels"),
        (json!({"chat": "document"}), "chat"),
        (json!({"parameters": {"rank": 0}}), "parameters.rank"),
        (json!({"parameters": {"held_out": 0.9}}), "parameters.held_out"),
        (json!({"method": "magic"}), "task.method"),
        (json!({"rejected": "{{document}}"}), "rejected"),
        (json!({"method": "dpo"}), "label"),
        (json!({"method": "dpo", "label": null}), "rejected"),
        (json!({"method": "classifier", "label": null, "labels": {}}), "label"),
        (json!({"method": "classifier"}), "answer"),
        (json!({"method": "classifier", "answer": "", "prompt": "no column"}), "prompt"),
        (json!({"method": "classifier", "answer": "", "chat": "document"}), "chat"),
        (json!({"method": "dpo", "label": null, "rejected": "{{nothing}}"}), "rejected"),
    ] {
        assert_eq!(field(change.clone()), expected, "{change}");
    }
}

#[test]
fn any_size_is_planned_on_other_machines() {
    let studio = Studio::new();
    let plan = |body: Value| studio.call("POST", "/api/studio/plan", &body);
    let size = json!({"parameters": 600e9, "tokens": 600e9, "hardware": ["a100-80g", "h100"]});
    let answer = plan(size).json();
    let names: Vec<&Value> =
        answer["hardware"].as_array().unwrap().iter().map(|each| &each["device"]["name"]).collect();
    assert_eq!(names, [&json!("a100-80g"), &json!("h100")]);
    let chosen = &answer["hardware"][0]["chosen"];
    assert!(chosen["devices"].as_u64().unwrap() > 100, "{chosen}");
    assert!(chosen["memory"]["total"].as_f64() <= chosen["memory"]["limit"].as_f64(), "{chosen}");
    assert_eq!(
        plan(json!({"parameters": 1, "tokens": 1e9, "hardware": ["abacus"]})).error().2.as_deref(),
        Some("hardware[0]")
    );
    assert_eq!(plan(json!({"parameters": -1.0, "tokens": 1e9})).error().1, "invalid_value");
}
