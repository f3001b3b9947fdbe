//! Apps: published, called, limited, opened to origins, kept.

use saem_store::{NewKey, Scope};
use serde_json::{Value, json};

use crate::projects::Studio;
use crate::world::Answer;

/// A project of free text that recites on from a letter.
fn recite(studio: &Studio) -> String {
    let document = json!({
        "mode": "text", "prompt": "{{letter}}", "variables": [{"name": "letter", "value": "a"}],
        "parameters": {"max_tokens": 3, "temperature": 0, "repeat_penalty": 0}, "ui": {"x": 1}
    });
    studio.make(&document)["id"].as_str().unwrap().to_owned()
}

/// Publishes it; the app and its key.
fn publish(studio: &Studio, more: &Value) -> (Value, String) {
    let mut body = json!({"project": recite(studio), "name": "낭송"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = studio.call("POST", "/api/studio/apps", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let published = answer.json();
    (published["app"].clone(), published["key"]["text"].as_str().unwrap().to_owned())
}

fn run(studio: &Studio, app: &Value, key: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    studio.world.request("POST", app["url"].as_str().unwrap(), &all, body.to_string().as_bytes())
}

#[test]
fn a_project_becomes_a_test_app_and_then_a_service_app() {
    let mut studio = Studio::new();
    let (app, key) = publish(&studio, &json!({}));
    let path = format!("/api/studio/apps/{}", app["id"].as_str().unwrap());
    assert_eq!((&app["stage"], &app["variables"], &app["version"]), (&json!("test"), &json!(["letter"]), &json!(1)));
    assert_eq!(app["limits"], json!({"requests_per_minute": 60, "tokens_per_minute": null}));
    assert!(app["keys"][0]["expires_at"].is_string() && !app.to_string().contains(&key));
    let answer = run(&studio, &app, &key, &json!({"variables": {"letter": "b"}}), &[]);
    let told = answer.json();
    assert_eq!((answer.status, &told["output"], &told["model"]), (200, &json!("cde"), &json!("alphabet")));
    assert_eq!((&told["finish_reason"], &told["usage"]["total_tokens"]), (&json!("length"), &json!(4)));
    let (events, done) = run(&studio, &app, &key, &json!({"variables": {"letter": "x"}, "stream": true}), &[]).events();
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(done && text == "yz" && events.last().unwrap()["finish_reason"] == "stop", "{events:?}");

    // The app's key opens the app and nothing else, and does not close the machine to its user.
    studio.key = Some(key.clone());
    assert_eq!(studio.world.get("/v1/models").status, 200);
    assert_eq!(studio.world.request("POST", app["url"].as_str().unwrap(), &[], b"{}").error().0, 401);
    studio.key = None;
    let infer = studio.key(NewKey::named("user", &[Scope::Infer]));
    let stranger = studio.key(NewKey { tenant: "other".into(), ..NewKey::named("other", &[Scope::Infer]) });
    let admin = studio.key(NewKey::named("admin", &[Scope::Admin]));
    studio.key = Some(key.clone());
    assert_eq!(studio.call("GET", "/v1/models", &Value::Null).error().1, "scope_missing");
    assert_eq!(studio.call("GET", &path, &Value::Null).error().1, "scope_missing");
    let body = json!({"variables": {"letter": "b"}});
    assert_eq!(run(&studio, &app, &infer, &body, &[]).status, 200);
    assert_eq!(run(&studio, &app, &stranger, &body, &[]).error().1, "not_found");

    studio.key = Some(admin);
    let service =
        studio.call("POST", &format!("{path}/publish"), &json!({"limits": {"requests_per_minute": 2}})).json();
    assert_eq!((&service["app"]["stage"], &service["app"]["version"]), (&json!("service"), &json!(2)));
    assert_eq!((&service["key"]["expires_at"], service["app"]["keys"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(run(&studio, &app, &key, &body, &[]).error().0, 401, "the test key has ended");
    let key = service["key"]["text"].as_str().unwrap().to_owned();
    let answers: Vec<u16> = (0..3).map(|_| run(&studio, &app, &key, &body, &[]).status).collect();
    assert_eq!(answers, [200, 200, 429]);
    let more = studio.call("PUT", &path, &json!({"limits": {"requests_per_minute": 1000}})).json();
    assert_eq!(more["limits"]["requests_per_minute"], 1000);
    assert_eq!(studio.call("POST", &format!("{path}/publish"), &json!({})).error().1, "app_state");
    let second = studio.call("POST", &format!("{path}/keys"), &json!({"overlap_hours": 1})).json();
    assert_eq!(run(&studio, &app, second["key"]["text"].as_str().unwrap(), &body, &[]).status, 200);
    // A thousand a minute are one in 60 ms.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(run(&studio, &app, &key, &body, &[]).status, 200, "the old one goes on for an hour");
    assert_eq!(studio.call("DELETE", &path, &Value::Null).status, 204);
    assert_eq!(run(&studio, &app, &key, &body, &[]).error().0, 401);
}

#[test]
fn what_is_saved_later_changes_no_app_until_it_is_published() {
    let studio = Studio::new();
    let (app, key) = publish(&studio, &json!({}));
    let path = format!("/api/studio/apps/{}", app["id"].as_str().unwrap());
    let project = format!("/api/studio/projects/{}", app["project"].as_str().unwrap());
    let mut document = studio.call("GET", &project, &Value::Null).json()["document"].clone();
    document["prompt"] = json!("{{letter}}{{second}}");
    assert_eq!(studio.call("PUT", &project, &json!({"based_on": 1, "document": document})).status, 200);
    let body = json!({"variables": {"letter": "b"}});
    assert_eq!(run(&studio, &app, &key, &body, &[]).json()["output"], "cde");
    let changed = studio.call("PUT", &path, &json!({"version": 2})).json();
    assert_eq!((&changed["version"], &changed["project_version"]), (&json!(2), &json!(2)));
    assert_eq!(changed["definition"]["ui"], json!({}));
    let missing = run(&studio, &app, &key, &body, &[]).error();
    assert_eq!(missing, (400, "missing_variable".into(), Some("variables.second".into())));
    let both = json!({"variables": {"letter": "b", "second": "k", "third": ""}});
    let unknown = run(&studio, &app, &key, &both, &[]).error();
    assert_eq!(unknown, (400, "unknown_variable".into(), Some("variables.third".into())));
    let text = run(
        &studio,
        &app,
        &key,
        &json!({"variables": {"letter": "b", "second": "k"}, "messages": [{"role": "user", "content": ""}]}),
        &[],
    );
    assert_eq!(text.error().2.as_deref(), Some("messages"));
    // Nothing has changed, so there is no new version.
    assert_eq!(studio.call("PUT", &path, &json!({})).json()["version"], 2);
}

#[test]
fn pages_of_an_allowed_origin_may_call_the_app_and_nothing_else() {
    let studio = Studio::new();
    let shop = "https://shop.example";
    let (app, key) = publish(&studio, &json!({"allowed_origins": [shop, "https://Other.example/"]}));
    let url = app["url"].as_str().unwrap();
    let asks = [("origin", shop), ("access-control-request-method", "POST")];
    let asked = studio.world.request("OPTIONS", url, &asks, b"");
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some(shop)));
    assert!(asked.header("access-control-allow-headers").unwrap().contains("authorization"));
    let body = json!({"variables": {"letter": "b"}});
    let answer = run(&studio, &app, &key, &body, &[("origin", shop)]);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(shop)));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_eq!(run(&studio, &app, &key, &body, &[("origin", "https://other.example")]).status, 200);
    // The page can read what is wrong, too.
    let wrong = run(&studio, &app, "saem_wrong", &body, &[("origin", shop)]);
    assert_eq!((wrong.status, wrong.header("access-control-allow-origin")), (401, Some(shop)));
    for (path, origin) in [(url, "https://evil.example"), (url, "null"), ("/v1/models", shop), ("/v1/apps/x/run", shop)]
    {
        let answer = studio.world.request("OPTIONS", path, &[("origin", origin)], b"");
        assert_eq!(answer.error().1, "origin_not_allowed", "{path} {origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let plain = run(&studio, &app, &key, &body, &[]);
    assert_eq!((plain.status, plain.header("access-control-allow-origin")), (200, None));
}

#[test]
fn usage_is_counted_and_calls_are_kept_only_where_the_app_says_so() {
    let studio = Studio::new();
    let (app, key) = publish(&studio, &json!({}));
    let path = format!("/api/studio/apps/{}", app["id"].as_str().unwrap());
    let body = json!({"variables": {"letter": "홍길동 010-1234-5678 a"}});
    assert_eq!(run(&studio, &app, &key, &body, &[]).json()["output"], "bcd");
    let calls = |path: &str| studio.call("GET", &format!("{path}/calls"), &Value::Null).json();
    assert_eq!(calls(&path), json!({"calls": [], "has_more": false}));
    assert_eq!(studio.call("PUT", &path, &json!({"keep_calls": true})).json()["keep_calls"], true);
    run(&studio, &app, &key, &body, &[]);
    run(&studio, &app, &key, &json!({"variables": {"letter": "v"}, "stream": true}), &[]);
    let kept = calls(&path);
    let told: Vec<(&str, &str, &str)> = kept["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            let text = |value: &'_ Value| -> &str { Box::leak(value.as_str().unwrap().to_owned().into_boxed_str()) };
            (text(&call["variables"]["letter"]), text(&call["output"]), text(&call["outcome"]))
        })
        .collect();
    assert_eq!(told, [("v", "wxy", "done"), ("홍길동 [phone] a", "bcd", "done")]);
    assert_eq!((&kept["calls"][0]["version"], &kept["calls"][0]["completion_tokens"]), (&json!(2), &json!(3)));
    let older =
        studio.call("GET", &format!("{path}/calls?before={}", kept["calls"][0]["id"].as_str().unwrap()), &Value::Null);
    assert_eq!(older.json()["calls"].as_array().unwrap().len(), 1);
    let usage = studio.call("GET", &format!("{path}/usage?days=1"), &Value::Null).json();
    assert_eq!((&usage["days"][0]["requests"], &usage["days"][0]["completion_tokens"]), (&json!(3), &json!(9)));
    assert_eq!(studio.call("DELETE", &format!("{path}/calls"), &Value::Null).status, 204);
    assert_eq!(calls(&path)["calls"], json!([]));
}

#[test]
fn what_is_wrong_with_an_app_is_named() {
    let studio = Studio::new();
    let (app, _) = publish(&studio, &json!({}));
    let project = app["project"].clone();
    let make = |more: Value| {
        let mut body = json!({"project": project, "name": "b"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        studio.call("POST", "/api/studio/apps", &body).error()
    };
    let param = |more: Value| make(more).2.unwrap_or_default();
    assert_eq!(make(json!({"name": "낭송"})), (409, "app_exists".into(), Some("name".into())));
    assert_eq!(param(json!({"limits": {"requests_per_minute": 61}})), "limits.requests_per_minute");
    assert_eq!(param(json!({"limits": {"tokens_per_minute": 0}})), "limits.tokens_per_minute");
    assert_eq!(param(json!({"allowed_origins": ["*"]})), "allowed_origins");
    assert_eq!(param(json!({"variant": 0})), "variant");
    assert_eq!(make(json!({"version": 9})).0, 404);
    assert_eq!(make(json!({"project": "nobody"})), (404, "not_found".into(), Some("project".into())));
    for (method, tail) in [("GET", "/usage?days=0"), ("GET", "/calls?limit=201"), ("POST", "/keys")] {
        let path = format!("/api/studio/apps/{}{tail}", app["id"].as_str().unwrap());
        let body = if method == "POST" { json!({"overlap_hours": 169}) } else { Value::Null };
        assert_eq!(studio.call(method, &path, &body).error().0, 400, "{tail}");
    }
    assert_eq!(studio.call("GET", "/api/studio/apps/nobody", &Value::Null).error().1, "not_found");
}
