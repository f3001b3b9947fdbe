//! The administrator's password and the sessions that it opens.

use saem_store::{Location, NewKey, Origin, Scope};
use serde_json::{Value, json};

use crate::world::{Answer, World};

const PASSWORD: &str = "correct horse";

/// A server with records, as a browser sees it.
struct Office {
    world: World,
    _home: tempfile::TempDir,
}

impl Office {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { world: World::guarded(Location::Sqlite(home.path().join("saem.db"))), _home: home }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.world.address)
    }

    /// A request of Studio's page, with the cookie that it got before.
    fn page(&self, method: &str, path: &str, cookie: &str, body: &Value) -> Answer {
        let origin = self.origin();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![("cookie", cookie), ("sec-fetch-site", "same-origin")];
        if method != "GET" {
            headers.push(("origin", &origin));
        }
        self.world.request(method, path, &headers, body.as_bytes())
    }

    fn set(&self, password: &str, headers: &[(&str, &str)]) -> Answer {
        let body = json!({ "password": password }).to_string();
        self.world.request("POST", "/api/studio/password", headers, body.as_bytes())
    }

    fn sign_in(&self, password: &str) -> Answer {
        self.page("POST", "/api/studio/session", "", &json!({ "password": password }))
    }

    fn session(&self, cookie: &str) -> Value {
        self.page("GET", "/api/studio/session", cookie, &Value::Null).json()
    }

    fn key(&self, scopes: &[Scope]) -> String {
        let new = NewKey::named("a", scopes);
        self.world.ask(async |store| store.create_key(new, &me()).await.unwrap().text)
    }
}

fn me() -> Origin {
    Origin::new("cli:test", "local")
}

/// `name=token` of an answer that keeps a cookie.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 204, "{}", answer.text());
    let kept = answer.header("set-cookie").unwrap();
    assert!(kept.contains("; HttpOnly; SameSite=Strict; Max-Age=43200"), "{kept}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    kept.split(';').next().unwrap().to_owned()
}

fn code(answer: &Answer) -> (u16, String) {
    let (status, code, _) = answer.error();
    (status, code)
}

fn ask() -> Value {
    json!({ "model": "alphabet", "prompt": "abc", "max_tokens": 2 })
}

#[test]
fn nobody_has_to_sign_in_until_somebody_sets_a_password_and_then_everybody() {
    let office = Office::new();
    let open = json!({ "guarded": false, "password": false, "may_set_password": true, "signed_in": false });
    assert_eq!(office.session(""), open);
    assert_eq!(office.world.post("/v1/completions", &ask()).status, 200);
    assert_eq!(code(&office.set("too short", &[])), (400, "invalid_value".into()));
    let mine = cookie(&office.set(PASSWORD, &[("origin", &office.origin())]));
    assert!(mine.starts_with(&format!("saem_session_{}=", office.world.address.port())), "{mine}");
    let closed =
        |signed_in| json!({ "guarded": true, "password": true, "may_set_password": false, "signed_in": signed_in });
    assert_eq!((office.session(&mine), office.session("")), (closed(true), closed(false)));
    // It stays what it is, whoever comes next.
    assert_eq!(code(&office.set("another horse", &[])), (409, "password_exists".into()));
    assert_eq!(code(&office.world.post("/v1/completions", &ask())), (401, "invalid_api_key".into()));
    assert_eq!(code(&office.world.get("/v1/models")), (401, "invalid_api_key".into()));
    assert_eq!(office.world.get("/").status, 200, "the page itself holds no data");

    assert_eq!(code(&office.sign_in("wrong horse")), (401, "wrong_password".into()));
    let other = cookie(&office.sign_in(PASSWORD));
    assert_ne!(mine, other);
    for cookie in [&mine, &other] {
        assert_eq!(office.page("POST", "/v1/completions", cookie, &ask()).status, 200);
    }
    // A session does what a key with every scope does.
    for path in ["/metrics", "/v1/models", "/api/studio/apps", "/api/studio/datasets", "/api/studio/projects"] {
        assert_eq!(office.page("GET", path, &mine, &Value::Null).status, 200, "{path}");
    }
    let out = office.page("DELETE", "/api/studio/session", &mine, &Value::Null);
    assert_eq!((out.status, out.header("set-cookie").unwrap().contains("Max-Age=0")), (204, true));
    assert_eq!(code(&office.page("GET", "/v1/models", &mine, &Value::Null)), (401, "invalid_api_key".into()));
    assert_eq!(office.page("GET", "/v1/models", &other, &Value::Null).status, 200);
    // Keys go on working, beside a cookie of yesterday, too.
    let bearer = format!("Bearer {}", office.key(&[Scope::Infer]));
    let headers = [("authorization", &*bearer), ("cookie", &*mine)];
    assert_eq!(office.world.request("GET", "/v1/models", &headers, b"").status, 200);

    let rows = office.world.ask(async |store| {
        // Rows of requests are written about once a second.
        while !store.audit(100).await.unwrap().iter().any(|row| row.entry.result == "401 wrong_password") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        store.audit(100).await.unwrap()
    });
    let told = |who: &str, action: &str, result: &str| {
        let is = |row: &&saem_store::Logged| {
            (&*row.entry.who, &*row.entry.action, &*row.entry.result, &*row.entry.source)
                == (who, action, result, "127.0.0.1")
        };
        rows.iter().filter(is).count()
    };
    assert_eq!(told("anonymous", "admin.password", "ok"), 1);
    assert_eq!(told("admin", "admin.sign_in", "ok"), 2);
    assert_eq!(told("admin", "admin.sign_out", "ok"), 1);
    assert_eq!(told("anonymous", "admin.sign_in", "401 wrong_password"), 1);
    assert!(told("admin", "POST /v1/completions", "done") >= 1, "{rows:?}");
}

#[test]
fn the_first_password_is_set_at_the_machine_and_past_no_key() {
    let office = Office::new();
    for header in [("x-forwarded-for", "10.0.0.9"), ("forwarded", "for=10.0.0.9"), ("host", "10.0.0.1:80")] {
        assert_eq!(code(&office.set(PASSWORD, &[header])), (403, "not_local".into()), "{header:?}");
    }
    // A page of another site, and a name that its owner lets point here.
    assert_eq!(code(&office.set(PASSWORD, &[("origin", "http://evil.example")])), (403, "origin_not_allowed".into()));
    assert_eq!(code(&office.set(PASSWORD, &[("host", "evil.example")])), (403, "host_not_allowed".into()));
    let plain = office.set(PASSWORD, &[("content-type", "text/plain")]);
    assert_eq!(code(&plain), (415, "unsupported_media_type".into()), "what pages can send without asking");
    let (infer, admin) = (office.key(&[Scope::Infer]), office.key(&[Scope::Admin]));
    assert_eq!(code(&office.set(PASSWORD, &[])), (401, "invalid_api_key".into()));
    let with = |key: &str| office.set(PASSWORD, &[("authorization", &format!("Bearer {key}"))]);
    assert_eq!(code(&with(&infer)), (403, "scope_missing".into()));
    assert_eq!(code(&with("saem_nobody")), (401, "invalid_api_key".into()));
    assert!(!office.world.ask(async |store| store.has_admin_password().await.unwrap()));
    assert_eq!(with(&admin).status, 204);
}

#[test]
fn a_cookie_alone_changes_nothing_and_opens_no_app() {
    let office = Office::new();
    let mine = cookie(&office.set(PASSWORD, &[]));
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("cookie", &*mine)]).collect();
        let body = if method == "POST" { ask().to_string() } else { String::new() };
        office.world.request(method, path, &headers, body.as_bytes())
    };
    assert_eq!(code(&send("POST", "/v1/completions", &[])), (403, "origin_missing".into()));
    assert_eq!(code(&send("DELETE", "/api/studio/projects/x", &[])), (403, "origin_missing".into()));
    assert_eq!(send("GET", "/v1/models", &[]).status, 200);
    // Another port is the same site, and not the same origin.
    assert_eq!(
        code(&send("GET", "/v1/models", &[("sec-fetch-site", "same-site")])),
        (403, "origin_not_allowed".into())
    );
    let next_door = [("origin", "http://127.0.0.1:1")];
    assert_eq!(code(&send("POST", "/v1/completions", &next_door)), (403, "origin_not_allowed".into()));
    let app = office.page("POST", "/v1/apps/none/run", &mine, &json!({}));
    assert_eq!(code(&app), (401, "invalid_api_key".into()));
    for cookie in ["saem_session=x", &mine.replace('=', "=x"), &mine[..mine.len() - 1]] {
        assert_eq!(office.page("GET", "/v1/models", cookie, &Value::Null).status, 401, "{cookie}");
    }
}

#[test]
fn guessing_is_slow_and_a_new_password_signs_everybody_out() {
    let office = Office::new();
    let mine = cookie(&office.set(PASSWORD, &[]));
    for guess in ["", "1", "2", "3", &"long".repeat(1000)] {
        assert_eq!(code(&office.sign_in(guess)), (401, "wrong_password".into()));
    }
    let answer = office.sign_in(PASSWORD);
    assert_eq!(code(&answer), (429, "too_many_attempts".into()));
    assert!((1..=31).contains(&answer.header("retry-after").unwrap().parse::<u32>().unwrap()));
    // Who is in stays in, until the password changes.
    assert_eq!(office.page("GET", "/v1/models", &mine, &Value::Null).status, 200);
    office.world.ask(async |store| store.set_admin_password("another horse", &me()).await.unwrap());
    assert_eq!(office.page("GET", "/v1/models", &mine, &Value::Null).status, 401);
}
