//! Datasets over HTTP.

use saem_store::{MOST_DATASETS, NewDataset, NewKey, Origin, Scope};
use serde_json::{Value, json};

use crate::projects::Studio;
use crate::world::Answer;

pub(crate) fn upload(studio: &Studio, kind: &str, table: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", studio.key.as_deref().unwrap_or("none"));
    let headers = [("content-type", kind), ("authorization", &bearer)];
    studio.world.request("POST", "/api/studio/datasets?name=%ED%9B%84%EA%B8%B0", &headers, table)
}

#[test]
fn a_table_is_examined_kept_shown_and_removed() {
    let studio = Studio::new();
    let mut table = String::from("\u{feff}후기,label\r\n");
    for row in 0..6 {
        table += &format!("\u{1109}\u{1162}\u{11b7} {row},{}\r\n", row % 2);
    }
    table += "하나\r\n,1\r\n";
    let made = upload(&studio, "text/csv; charset=utf-8", table.as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["name"], &made["rows"], &made["faults_total"]), (&json!("후기"), &json!(7), &json!(1)));
    assert_eq!((&made["faults"][0]["line"], &made["faults"][0]["code"]), (&json!(8), &json!("cells")));
    let labels = json!([{"value": "1", "count": 4}, {"value": "0", "count": 3}]);
    assert_eq!((&made["columns"][1]["kind"], &made["columns"][1]["labels"]), (&json!("label"), &labels));
    assert_eq!(made["notices"][0], json!({"code": "empty", "column": "후기", "label": null, "count": 1, "lines": [9]}));
    let path = format!("/api/studio/datasets/{}", made["id"].as_str().unwrap());
    assert_eq!(studio.call("GET", &path, &Value::Null).json(), made);
    assert_eq!(studio.call("GET", "/api/studio/datasets", &Value::Null).json()["datasets"], json!([made]));
    let rows = studio.call("GET", &format!("{path}/rows?offset=5&limit=1"), &Value::Null).json();
    assert_eq!(rows, json!({"rows": [{"후기": "샘 5", "label": "1"}], "total": 7}));
    assert_eq!(studio.call("GET", &format!("{path}/rows?limit=501"), &Value::Null).error().2.as_deref(), Some("limit"));
    let folder = studio.home().join("datasets").join(made["id"].as_str().unwrap());
    assert!(folder.join("rows.jsonl").is_file());
    assert_eq!(studio.call("DELETE", &path, &Value::Null).status, 204);
    assert!(!folder.exists());
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "not_found");
}

#[test]
fn conversations_keep_their_shape_and_what_is_no_table_leaves_nothing_behind() {
    let studio = Studio::new();
    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "n": 1}"#;
    let made = upload(&studio, "application/jsonl", row.as_bytes()).json();
    assert_eq!(made["columns"][0]["kind"], "messages");
    let path = format!("/api/studio/datasets/{}/rows", made["id"].as_str().unwrap());
    let kept = &studio.call("GET", &path, &Value::Null).json()["rows"][0];
    assert_eq!((&kept["messages"][1]["content"], &kept["n"]), (&json!("b"), &json!("1")));
    let before = std::fs::read_dir(studio.home().join("datasets")).unwrap().count();
    assert_eq!(upload(&studio, "text/csv", b"a,b\n1\n").error().1, "unreadable_table");
    assert_eq!(upload(&studio, "text/csv", b"a\n\xff\xff\n").error().1, "unreadable_table");
    assert_eq!(upload(&studio, "application/json", b"{}").error().0, 415);
    assert_eq!(std::fs::read_dir(studio.home().join("datasets")).unwrap().count(), before);
}

#[test]
fn parquet_is_a_table_as_well() {
    let studio = Studio::new();
    let file = |name: &str| std::fs::read(format!("../train/tests/fixtures/parquet/{name}.parquet")).unwrap();
    let kind = "application/vnd.apache.parquet";
    let whole = file("snappy");
    let made = upload(&studio, kind, &whole).json();
    assert_eq!((&made["format"], &made["rows"]), (&json!("parquet"), &json!(24)));
    let column = |name: &str| made["columns"].as_array().unwrap().iter().find(|column| column["name"] == name).unwrap();
    assert_eq!((&column("label")["kind"], &column("messages")["kind"]), (&json!("label"), &json!("messages")));
    let path = format!("/api/studio/datasets/{}/rows?offset=7&limit=1", made["id"].as_str().unwrap());
    let row = &studio.call("GET", &path, &Value::Null).json()["rows"][0];
    assert_eq!(
        (&row["text"], &row["day"], &row["price"]),
        (&json!("good 7, \"샘\"\n끝"), &json!("2021-05-25"), &json!("12.50"))
    );
    assert_eq!(row["messages"][1]["content"], "good");
    for bad in [&whole[..whole.len() / 2], b"PAR1", b"", &file("brotli")[..]] {
        assert_eq!(upload(&studio, kind, bad).error().1, "unreadable_table");
    }
}

#[test]
fn datasets_ask_for_the_scope_tune_and_stay_in_their_organisation() {
    let mut studio = Studio::new();
    let of = |tenant: &str, scope| NewKey { tenant: tenant.into(), ..NewKey::named("k", &[scope]) };
    let (own, other) = (studio.key(of("a", Scope::Tune)), studio.key(of("b", Scope::Tune)));
    let infer = studio.key(of("a", Scope::Infer));
    studio.key = Some(own.clone());
    let made = upload(&studio, "text/csv", b"a\n1\n").json();
    let path = format!("/api/studio/datasets/{}", made["id"].as_str().unwrap());
    studio.key = Some(infer);
    assert_eq!(upload(&studio, "text/csv", b"a\n1\n").error().1, "scope_missing");
    studio.key = Some(other);
    for (method, path) in [("GET", path.clone()), ("GET", format!("{path}/rows")), ("DELETE", path.clone())] {
        assert_eq!(studio.call(method, &path, &Value::Null).error().1, "not_found", "{method} {path}");
    }
    assert_eq!(studio.call("GET", "/api/studio/datasets", &Value::Null).json()["datasets"], json!([]));
    studio.key = Some(own);
    assert_eq!(studio.call("DELETE", &path, &Value::Null).status, 204);
}

#[test]
fn a_table_too_many_is_refused_before_it_is_read() {
    let studio = Studio::new();
    let made = upload(&studio, "text/csv", b"a\n1\n").json();
    let id = made["id"].as_str().unwrap().to_owned();
    studio.world.ask(async move |store| {
        let tenant = store.dataset(&id).await.unwrap().tenant;
        for _ in 1..MOST_DATASETS {
            let (id, name) = (store.fresh_id().unwrap(), "b".to_owned());
            let new = NewDataset { id, name, about: json!({}), rows: 1, bytes: 1 };
            store.create_dataset(&tenant, new, &Origin::new("cli:test", "local")).await.unwrap();
        }
    });
    // Read, it would be an `unreadable_table`.
    let refused = upload(&studio, "text/csv", b"a,b\n1\n").error();
    assert_eq!((refused.0, &*refused.1), (409, "too_many"));
}
