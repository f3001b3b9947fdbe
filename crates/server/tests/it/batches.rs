//! Batches over HTTP.

use std::time::{Duration, Instant};

use saem_store::{NewKey, Origin, Scope};
use serde_json::{Value, json};

use crate::projects::Studio;
use crate::world::Answer;

/// A project that recites on from what is in `letter`.
fn recite(studio: &Studio, max_tokens: u32) -> Value {
    let document = json!({
        "mode": "text", "prompt": "{{letter}}",
        "parameters": {"max_tokens": max_tokens, "temperature": 0, "repeat_penalty": 0}
    });
    studio.make(&document)["id"].clone()
}

fn upload(studio: &Studio, kind: &str, table: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", studio.key.as_deref().unwrap_or("none"));
    let headers = [("content-type", kind), ("authorization", &bearer)];
    studio.world.request("POST", "/api/studio/batches?name=%ED%9B%84%EA%B8%B0", &headers, table)
}

/// Uploads a table and starts it; its path.
fn begin(studio: &Studio, table: &str, task: &Value) -> String {
    let answer = upload(studio, "text/csv", table.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let path = format!("/api/studio/batches/{}", answer.json()["id"].as_str().unwrap());
    let started = studio.call("POST", &format!("{path}/start"), task);
    assert_eq!((started.status, &started.json()["state"]), (200, &json!("running")), "{}", started.text());
    path
}

fn read(studio: &Studio, path: &str) -> Value {
    studio.call("GET", path, &Value::Null).json()
}

/// Waits until the batch has come to an end, or to so many rows.
fn wait(studio: &Studio, path: &str, rows: Option<i64>) -> Value {
    let begun = Instant::now();
    loop {
        let batch = read(studio, path);
        let done = batch["progress"]["done"].as_i64().unwrap();
        if rows.map_or(batch["state"] != "running", |rows| done >= rows) {
            return batch;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{batch}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_table_goes_through_a_prompt_and_is_scored() {
    let studio = Studio::new();
    let project = recite(&studio, 10);
    let table = "\u{feff}글자,정답\r\na,bcd\r\n하나\r\nq,rst\r\nq,\" bcd \"\r\n";
    let draft = upload(&studio, "text/csv; charset=utf-8", table.as_bytes()).json();
    assert_eq!((&draft["state"], &draft["name"], &draft["rows"]), (&json!("draft"), &json!("후기"), &json!(3)));
    assert_eq!((&draft["columns"], &draft["encoding"]), (&json!(["글자", "정답"]), &json!("utf-8")));
    assert_eq!((&draft["faults"][0]["line"], &draft["sample"][2]["글자"]), (&json!(3), &json!("q")));
    let path = format!("/api/studio/batches/{}", draft["id"].as_str().unwrap());
    let start = |body: Value| studio.call("POST", &format!("{path}/start"), &body);
    assert_eq!(start(json!({"project": project})).error().2.as_deref(), Some("columns.letter"));
    assert_eq!(start(json!({"project": project, "columns": {"letter": "x"}})).error().1, "invalid_value");
    let columns = json!({"letter": "글자"});
    assert_eq!(start(json!({"project": project, "columns": columns, "gold": "x"})).error().2.as_deref(), Some("gold"));
    let empty = json!({"project": project, "columns": columns, "choices": [""]});
    assert_eq!(start(empty).error().2.as_deref(), Some("choices"));
    assert_eq!(start(json!({})).error().2.as_deref(), Some("project"));
    let task = json!({"project": project, "columns": columns, "choices": ["bcd", "rst"], "gold": "정답"});
    assert_eq!(start(task.clone()).status, 200);
    let done = wait(&studio, &path, None);
    assert_eq!((&done["state"], &done["progress"]), (&json!("done"), &json!({"waiting": 0, "done": 3, "failed": 0})));
    let score = &done["score"];
    assert_eq!((&score["labels"], &score["confusion"]), (&json!(["bcd", "rst"]), &json!([[1, 1], [0, 1]])));
    assert_eq!((&score["scored"], &score["other"]), (&json!(3), &json!([0, 0])));
    // F1 is 2/3 for both.
    for figure in [&score["accuracy"], &score["macro_f1"]] {
        assert!((figure.as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9, "{score}");
    }
    assert!(done["usage"]["completion_tokens"].as_i64().unwrap() >= 9 && done["ended_at"].is_string());
    let rows = read(&studio, &format!("{path}/rows?offset=1&limit=1&state=done"));
    assert_eq!((&rows["total"], &rows["rows"][0]["output"]), (&json!(3), &json!("rst")));
    let row = &rows["rows"][0];
    assert_eq!((&row["row"], &row["line"], &row["correct"]), (&json!(2), &json!(4), &json!(true)));
    let csv = studio.call("GET", &format!("{path}/download"), &Value::Null);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(
        csv.text(),
        "\u{feff}글자,정답,output,finish_reason,error,correct\r\na,bcd,bcd,stop,,true\r\nq,rst,rst,stop,,true\r\nq, bcd ,rst,stop,,false\r\n"
    );
    let lines = studio.call("GET", &format!("{path}/download?format=jsonl"), &Value::Null);
    let last: Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!((&last["정답"], &last["output"], &last["correct"]), (&json!(" bcd "), &json!("rst"), &json!(false)));
    assert_eq!(start(task).error().1, "batch_state", "it has a task");
    assert_eq!(studio.call("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "not_found");
}

#[test]
fn each_row_goes_through_several_variants_each_with_its_score() {
    let mut studio = Studio::new();
    let parameters = json!({"max_tokens": 3, "temperature": 0, "repeat_penalty": 0});
    let document = json!({
        "mode": "text", "prompt": "{{letter}}", "parameters": parameters,
        "variants": [{"name": "B", "prompt": "m{{letter}}"}, {"name": "C", "prompt": "m"}]
    });
    let project = studio.make(&document)["id"].clone();
    let draft = upload(&studio, "text/csv", "letter,gold\na,bcd\nq,nop\nm,bcd\n".as_bytes()).json();
    let path = format!("/api/studio/batches/{}", draft["id"].as_str().unwrap());
    let start = |variants: Value, more: &Value| {
        let mut body =
            json!({"project": project, "gold": "gold", "choices": ["bcd", "nop", "rst"], "variants": variants});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        studio.call("POST", &format!("{path}/start"), &body)
    };
    let wrong =
        [(json!(["A", "a"]), "variants[1]"), (json!(["B", "B"]), "variants[1]"), (json!(["A", "D"]), "variant")];
    for (variants, field) in wrong {
        assert_eq!(start(variants, &json!({})).error().2.as_deref(), Some(field));
    }
    assert_eq!(start(json!(["A", "B"]), &json!({"variant": 0})).error().2.as_deref(), Some("variant"));
    studio.world.millis.store(20, std::sync::atomic::Ordering::Relaxed);
    let started = start(json!(["A", "C"]), &json!({})).json();
    assert_eq!(
        started["task"]["variants"],
        json!([{"variant": "A", "model": "alphabet"}, {"variant": "C", "model": "alphabet"}])
    );
    assert_eq!((&started["rows"], &started["sample"][1]["letter"]), (&json!(3), &json!("q")));
    wait(&studio, &path, Some(2));
    studio.restart();
    let done = wait(&studio, &path, None);
    assert_eq!(done["progress"], json!({"waiting": 0, "done": 6, "failed": 0}));
    // C says what comes after `m`, whatever the row.
    let accuracy = |at: usize| done["scores"][at]["score"]["accuracy"].as_f64().unwrap();
    assert_eq!((&done["scores"][0]["variant"], &done["scores"][1]["variant"]), (&json!("A"), &json!("C")));
    assert!((accuracy(0) - 1.0 / 3.0).abs() < 1e-9 && (accuracy(1) - 1.0 / 3.0).abs() < 1e-9, "{done}");
    assert_eq!(done["score"], Value::Null);
    let rows = read(&studio, &format!("{path}/rows?offset=1&limit=1&state=done"));
    let row = &rows["rows"][0];
    assert_eq!(
        (&rows["total"], &row["row"], &row["line"], &row["state"]),
        (&json!(3), &json!(2), &json!(3), &json!("done"))
    );
    let said: Vec<(&str, &str)> = row["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| (answer["variant"].as_str().unwrap(), answer["output"].as_str().unwrap()))
        .collect();
    assert_eq!(said, [("A", "rst"), ("C", "nop")]);
    let csv = studio.call("GET", &format!("{path}/download"), &Value::Null);
    let lines: Vec<&str> = csv.text().trim_start_matches('\u{feff}').lines().collect();
    assert_eq!(
        lines[0],
        "letter,gold,output_A,finish_reason_A,error_A,correct_A,output_C,finish_reason_C,error_C,correct_C"
    );
    assert_eq!(
        (lines[1], lines[2], lines.len()),
        ("a,bcd,bcd,stop,,true,nop,stop,,false", "q,nop,rst,stop,,false,nop,stop,,true", 4)
    );
    let jsonl = studio.call("GET", &format!("{path}/download?format=jsonl"), &Value::Null);
    let first: Value = serde_json::from_str(jsonl.text().lines().next().unwrap()).unwrap();
    assert_eq!((&first["letter"], &first["output_A"], &first["output_C"]), (&json!("a"), &json!("bcd"), &json!("nop")));
}

#[test]
fn a_batch_is_cancelled_goes_on_and_survives_a_restart() {
    let mut studio = Studio::new();
    studio.world.millis.store(2, std::sync::atomic::Ordering::Relaxed);
    let project = recite(&studio, 5);
    let table = format!("letter\n{}", "a\nm\n".repeat(40));
    let path = begin(&studio, &table, &json!({"project": project}));
    wait(&studio, &path, Some(3));
    let cancelled = studio.call("POST", &format!("{path}/cancel"), &json!({}));
    assert_eq!(cancelled.json()["state"], "cancelled");
    assert_eq!(studio.call("POST", &format!("{path}/cancel"), &json!({})).error().1, "batch_state");
    std::thread::sleep(Duration::from_millis(700));
    let stopped = read(&studio, &path)["progress"].clone();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(read(&studio, &path)["progress"], stopped, "nobody works on it");
    assert!(stopped["waiting"].as_i64().unwrap() > 0, "{stopped}");
    assert_eq!(studio.call("POST", &format!("{path}/start"), &json!({})).json()["state"], "running");
    wait(&studio, &path, Some(stopped["done"].as_i64().unwrap() + 3));
    // The server ends in the middle, and the next one goes on by itself.
    studio.restart();
    let done = wait(&studio, &path, None);
    assert_eq!((&done["state"], &done["progress"]["done"]), (&json!("done"), &json!(80)));
    let rows = read(&studio, &format!("{path}/rows?limit=500"));
    for (index, row) in rows["rows"].as_array().unwrap().iter().enumerate() {
        assert_eq!(row["output"], if index % 2 == 0 { "bcdef" } else { "nopqr" }, "{row}");
    }
    // Every row was counted at least once, and only those at work when it was stopped more than once.
    let counted = studio.world.ask(async |store| {
        store.flush().await.unwrap();
        store.usage("2000-01-01").await.unwrap().iter().map(|sum| sum.used.requests).sum::<u64>()
    });
    assert!((80..=84).contains(&counted), "{counted}");
}

#[test]
fn a_row_that_fails_fails_alone_and_is_tried_again() {
    let studio = Studio::new();
    let project = recite(&studio, 3);
    let long = "a".repeat(600);
    let path = begin(&studio, &format!("letter\nb\n{long}\n!\n=\n"), &json!({"project": project}));
    let done = wait(&studio, &path, None);
    assert_eq!(done["progress"], json!({"waiting": 0, "done": 2, "failed": 2}));
    let failed = read(&studio, &format!("{path}/rows?state=failed"));
    let errors: Vec<&str> =
        failed["rows"].as_array().unwrap().iter().map(|row| row["error"].as_str().unwrap()).collect();
    assert!(
        errors[0].starts_with("context_length_exceeded: ") && errors[1].starts_with("internal_error: "),
        "{errors:?}"
    );
    // What begins like a formula is text to a spreadsheet.
    let csv = studio.call("GET", &format!("{path}/download"), &Value::Null);
    assert!(
        csv.text().contains("\r\n=,'>?@,length,\r\n") || csv.text().contains("\r\n=,>?@,length,\r\n"),
        "{}",
        csv.text()
    );
    assert_eq!(studio.call("POST", &format!("{path}/start"), &json!({})).status, 200);
    assert_eq!(wait(&studio, &path, None)["progress"]["failed"], 2);
}

#[test]
fn whoever_waits_for_an_answer_goes_before_a_batch() {
    let studio = Studio::new();
    studio.world.millis.store(4, std::sync::atomic::Ordering::Relaxed);
    let project = recite(&studio, 25);
    let path = begin(&studio, &format!("letter\n{}", "a\n".repeat(60)), &json!({"project": project}));
    wait(&studio, &path, Some(1));
    let status = studio.world.app.service().models()[0].status();
    let mut most = 0;
    for _ in 0..5 {
        // Three at once fill the places that the batch leaves.
        let body = json!({"model": "alphabet", "prompt": "abc", "max_tokens": 10, "stream": true}).to_string();
        let begun = Instant::now();
        let streams: Vec<_> =
            (0..3).map(|_| studio.world.send("POST", "/v1/completions", &[], body.as_bytes())).collect();
        for stream in streams {
            most = most.max(status.running());
            assert_eq!(Answer::read(stream).status, 200);
        }
        // Ten passes of 4 ms, and never a whole row of the batch before.
        assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    }
    assert!((1..=4).contains(&most), "{most}");
    assert_eq!(read(&studio, &path)["state"], "running", "the batch was there all the time");
    studio.world.millis.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(wait(&studio, &path, None)["state"], "done");
}

#[test]
fn a_batch_counts_for_its_key_and_ends_with_it() {
    let mut studio = Studio::new();
    let issued = studio.key(NewKey::named("user", &[Scope::Infer]));
    let stranger = studio.key(NewKey { tenant: "other".into(), ..NewKey::named("other", &[Scope::Infer]) });
    studio.key = Some(issued.clone());
    studio.world.millis.store(5, std::sync::atomic::Ordering::Relaxed);
    let project = recite(&studio, 5);
    let path = begin(&studio, &format!("letter\n{}", "a\n".repeat(200)), &json!({"project": project}));
    wait(&studio, &path, Some(2));
    let id = issued.split('_').nth(1).unwrap().to_owned();
    let me = Origin::new("cli:test", "local");
    studio.key = Some(stranger);
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "not_found");
    assert_eq!(studio.call("DELETE", &path, &Value::Null).error().1, "not_found");
    let used = studio.world.ask(async |store| {
        store.flush().await.unwrap();
        store
            .usage("2000-01-01")
            .await
            .unwrap()
            .iter()
            .filter(|sum| sum.by.key == id)
            .map(|sum| sum.used.requests)
            .sum::<u64>()
    });
    assert!(used >= 2, "{used}");
    studio.world.ask(async |store| store.revoke_key(&id, &me).await.unwrap());
    let again = studio.key(NewKey::named("again", &[Scope::Infer]));
    studio.key = Some(again);
    let failed = wait(&studio, &path, None);
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("does not work any more"), "{failed}");
    // Started again by a key that works, it goes on.
    studio.world.millis.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(studio.call("POST", &format!("{path}/start"), &json!({})).status, 200);
    assert_eq!(wait(&studio, &path, None)["progress"]["done"], 200);
}

#[test]
fn what_is_no_table_is_refused() {
    let studio = Studio::new();
    let code = |kind: &str, table: &[u8]| {
        let (status, code, _) = upload(&studio, kind, table).error();
        (status, code)
    };
    assert_eq!(code("application/json", b"{}"), (415, "unsupported_media_type".into()));
    assert_eq!(code("text/csv", b"a,b\n1\n"), (400, "unreadable_table".into()));
    assert_eq!(code("application/x-ndjson", b"oops"), (400, "unreadable_table".into()));
    assert_eq!(code("text/csv", &vec![b'a'; (8 << 20) + 1]), (413, "body_too_large".into()));
    let lines = upload(&studio, "application/x-ndjson", "{\"letter\": \"a\", \"n\": 1}\n".as_bytes()).json();
    assert_eq!((&lines["format"], &lines["sample"][0]["n"]), (&json!("jsonl"), &json!("1")));
    let path = format!("/api/studio/batches/{}", lines["id"].as_str().unwrap());
    assert_eq!(studio.call("GET", &format!("{path}/download"), &Value::Null).error().1, "batch_state");
    assert_eq!(studio.call("POST", &format!("{path}/cancel"), &json!({})).error().1, "batch_state");
    assert_eq!(studio.call("GET", &format!("{path}/rows?limit=501"), &Value::Null).error().0, 400);
    assert_eq!(
        studio.call("GET", &format!("{path}/rows?state=lost"), &Value::Null).error().2.as_deref(),
        Some("state")
    );
    assert_eq!(read(&studio, "/api/studio/batches")["batches"].as_array().unwrap().len(), 1);
}
