//! Projects over HTTP.

use saem_store::{Location, NewKey, Origin, Scope};
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// A guarded server and the key that is shown to it.
pub(crate) struct Studio {
    pub(crate) world: World,
    home: tempfile::TempDir,
    pub(crate) key: Option<String>,
}

impl Studio {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let world = World::guarded(Location::Sqlite(home.path().join("saem.db")));
        Self { world, home, key: None }
    }

    /// Saem's home, where the records are too.
    pub(crate) fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Stops the server and starts another one with the same records.
    pub(crate) fn restart(&mut self) {
        self.world.stop();
        self.world.join();
        self.world = World::guarded(Location::Sqlite(self.home.path().join("saem.db")));
    }

    pub(crate) fn key(&self, new: NewKey) -> String {
        self.world.ask(async |store| store.create_key(new, &Origin::new("cli:test", "local")).await.unwrap().text)
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {}", self.key.as_deref().unwrap_or("none"));
        self.world.request(method, path, &[("authorization", &bearer)], body.as_bytes())
    }

    pub(crate) fn make(&self, document: &Value) -> Value {
        let answer = self.call("POST", "/api/studio/projects", &json!({"name": "후기", "document": document}));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }
}

#[test]
fn two_tabs_lose_nothing() {
    let studio = Studio::new();
    let made = studio.make(&json!({"mode": "text", "prompt": "하나", "ui": {"open": [1, 2.5, null]}}));
    assert_eq!((&made["version"], &made["mode"], &made["writable"]), (&json!(1), &json!("text"), &json!(true)));
    assert_eq!(made["document"]["parameters"]["max_tokens"], 100);
    let path = format!("/api/studio/projects/{}", made["id"].as_str().unwrap());
    let read = studio.call("GET", &path, &Value::Null).json();
    assert_eq!(read, made);
    // The first tab saves; the second has not seen it.
    let mut document = made["document"].clone();
    document["prompt"] = json!("둘");
    let saved = studio.call("PUT", &path, &json!({"based_on": 1, "document": document, "note": "더 짧게"}));
    assert_eq!((saved.status, &saved.json()["version"]), (200, &json!(2)));
    let mut other = made["document"].clone();
    other["prompt"] = json!("셋");
    let conflict = studio.call("PUT", &path, &json!({"based_on": 1, "document": other, "autosave": true}));
    assert_eq!(conflict.error(), (409, "project_changed".into(), Some("based_on".into())));
    assert_eq!(conflict.json()["current"], saved.json());
    // It shows the other's, and saves its own on top.
    let on_top = studio.call("PUT", &path, &json!({"based_on": 2, "document": other})).json();
    assert_eq!((&on_top["version"], &on_top["document"]), (&json!(3), &other));
    let versions = studio.call("GET", &format!("{path}/versions?limit=2"), &Value::Null).json();
    let told: Vec<(&Value, &Value)> =
        versions["versions"].as_array().unwrap().iter().map(|one| (&one["version"], &one["note"])).collect();
    assert_eq!(told, [(&json!(3), &json!("")), (&json!(2), &json!("더 짧게"))]);
    assert_eq!(versions["has_more"], true);
    let first = studio.call("GET", &format!("{path}/versions/1"), &Value::Null).json();
    assert_eq!(first["document"], made["document"]);
    // Rolling back is a version too, and as careful.
    let restore = format!("{path}/versions/1/restore");
    assert_eq!(studio.call("POST", &restore, &json!({"based_on": 2})).error().1, "project_changed");
    let back = studio.call("POST", &restore, &json!({"based_on": 3})).json();
    assert_eq!((&back["version"], &back["document"]), (&json!(4), &made["document"]));
}

#[test]
fn projects_are_found_shared_copied_and_removed() {
    let mut studio = Studio::new();
    let made = studio.make(&json!({"prompt": "a"}));
    let id = made["id"].as_str().unwrap().to_owned();
    let path = format!("/api/studio/projects/{id}");
    let named = studio.call("PATCH", &path, &json!({"name": "\u{1109}\u{1162}\u{11b7}물"})).json();
    assert_eq!((&named["name"], &named["version"]), (&json!("샘물"), &json!(1)));
    studio.make(&json!({"prompt": "b"}));
    let list = studio.call("GET", "/api/studio/projects?limit=1", &Value::Null).json();
    assert_eq!((list["projects"].as_array().unwrap().len(), &list["has_more"]), (1, &json!(true)));
    let found = studio.call("GET", "/api/studio/projects?query=%EC%83%98", &Value::Null).json();
    assert_eq!(found["projects"][0]["id"], json!(id));
    assert_eq!(found["projects"].as_array().unwrap().len(), 1);

    // Another organisation sees it only where it is shared, and then may copy it, not change it.
    let own = studio.key(NewKey::named("own", &[Scope::Infer]));
    let other = studio.key(NewKey { tenant: "other".into(), ..NewKey::named("other", &[Scope::Infer]) });
    let embed = studio.key(NewKey::named("embed", &[Scope::Embed]));
    studio.key = Some(embed);
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "scope_missing");
    studio.key = Some(other.clone());
    assert_eq!(studio.call("GET", &path, &Value::Null).error(), (404, "not_found".into(), None));
    studio.key = Some(own.clone());
    assert_eq!(studio.call("PATCH", &path, &json!({"shared": true})).json()["shared"], true);
    studio.key = Some(other);
    let seen = studio.call("GET", &path, &Value::Null).json();
    assert_eq!((&seen["writable"], &seen["document"]["prompt"]), (&json!(false), &json!("a")));
    let body = json!({"based_on": 1, "document": {}});
    assert_eq!(studio.call("PUT", &path, &body).error().0, 404);
    assert_eq!(studio.call("DELETE", &path, &Value::Null).error().0, 404);
    let copy = studio.call("POST", &format!("{path}/duplicate"), &json!({}));
    assert_eq!((copy.status, &copy.json()["name"], &copy.json()["writable"]), (201, &json!("샘물 (2)"), &json!(true)));
    assert_eq!(
        studio.call("GET", "/api/studio/projects", &Value::Null).json()["projects"].as_array().unwrap().len(),
        1
    );
    studio.key = Some(own);
    assert_eq!(studio.call("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "not_found");
}

#[test]
fn what_is_wrong_with_a_project_is_named() {
    let studio = Studio::new();
    let make = |body: Value| {
        let (status, code, param) = studio.call("POST", "/api/studio/projects", &body).error();
        assert_eq!(status, 400);
        (code, param.unwrap_or_default())
    };
    let invalid = |field: &str| ("invalid_value".to_owned(), field.to_owned());
    assert_eq!(make(json!({"name": " "})), invalid("name"));
    assert_eq!(make(json!({"name": "a", "document": {"prompt": "x".repeat(300_000)}})), invalid("document"));
    let top = json!({"name": "a", "document": {"parameters": {"top_k": 129}}});
    assert_eq!(make(top), invalid("document.parameters.top_k"));
    let unknown = make(json!({"name": "a", "document": {"prompts": ""}}));
    assert_eq!(unknown, ("unknown_parameter".to_owned(), "document.prompts".to_owned()));
    let query = |query: &str| studio.call("GET", &format!("/api/studio/projects?{query}"), &Value::Null).error();
    assert_eq!(query("limit=0"), (400, "invalid_value".into(), Some("limit".into())));
    assert_eq!(query("limit=x").0, 400);
    assert_eq!(query("page=2"), (400, "unknown_parameter".into(), Some("page".into())));
    assert_eq!(query("before=nobody").0, 404);
    for path in ["/api/studio/projects/%FF", "/api/studio/projects/a%00b", "/api/studio/projects/x/versions/1"] {
        assert_eq!(studio.call("GET", path, &Value::Null).error().1, "not_found", "{path}");
    }
    assert_eq!(World::new().get("/api/studio/projects").error().0, 503, "there is nothing to keep them in");
}

#[test]
fn a_document_is_rendered_and_counted_as_the_model_gets_it() {
    let studio = Studio::new();
    let document = json!({
        "mode": "text", "generation": "examples", "prompt": "{{a}}",
        "examples": {"input_prefix": "i:", "output_prefix": "o: ", "separator": "\n#\n", "rows": [{"input": "x", "output": "y"}], "input": "{{b}}"},
        "variables": [{"name": "a", "value": "abc"}], "variants": [{"name": "B", "prompt": "xyz"}]
    });
    let render = |body: Value| studio.call("POST", "/api/studio/render", &body).json();
    let whole = render(json!({"document": document, "variables": {"b": "q"}}));
    assert_eq!(whole["prompt"], "abc\ni:x\no: y\n#\ni:q\no:");
    assert_eq!((&whole["model"], &whole["variables"]), (&json!("alphabet"), &json!(["a", "b"])));
    let tokens = studio.call("POST", "/tokenize", &json!({"model": "alphabet", "prompt": whole["prompt"]})).json();
    assert_eq!((&whole["tokens"], &whole["context"]), (&tokens["count"], &tokens["max_model_len"]));
    assert!(render(json!({"document": document, "variant": 0}))["prompt"].as_str().unwrap().starts_with("xyz\n"));
    let unknown = studio.call("POST", "/api/studio/render", &json!({"document": {"model": "nobody"}}));
    assert_eq!(unknown.error(), (404, "model_not_found".into(), Some("document.model".into())));
}
