//! Keys, limits and records in front of the models.

use std::time::Duration;

use saem_server::{Access, Settings};
use saem_store::{Issued, Limits, Location, NewKey, Origin, Scope, Store, Verification};
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// A guarded server and the directory of its records.
struct Guarded {
    world: World,
    home: tempfile::TempDir,
}

impl Guarded {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { world: World::guarded(location(&home)), home }
    }

    /// A model that works on one text and lets 8 requests wait.
    fn small(settings: Settings) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { world: World::guarded_and_small(location(&home), settings), home }
    }

    /// Begins a text of 200 slow tokens and leaves the connection open.
    fn linger(&self, key: &str) -> std::net::TcpStream {
        let header = format!("Bearer {key}");
        let body = json!({ "model": "alphabet", "prompt": "샘", "max_tokens": 200, "stream": true }).to_string();
        self.world.send("POST", "/v1/completions", &[("authorization", &header)], body.as_bytes())
    }

    /// Waits until so many requests wait.
    fn wait_for(&self, waiting: usize) {
        let begun = std::time::Instant::now();
        while self.world.app.service().models()[0].status().waiting() != waiting {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", self.world.app.service().models()[0].status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn key(&self, new: NewKey) -> Issued {
        self.world.ask(async |store| store.create_key(new, &me()).await.unwrap())
    }

    fn call(&self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let header = format!("Bearer {key}");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        self.world.request(method, path, &[("authorization", &header)], body.as_bytes())
    }

    fn complete(&self, key: &str, max_tokens: u32) -> Answer {
        let body = json!({ "model": "alphabet", "prompt": "abc", "max_tokens": max_tokens });
        self.call("POST", "/v1/completions", key, &body)
    }

    /// Stops the server and opens its records.
    fn records<T>(mut self, look: impl AsyncFnOnce(&Store) -> T) -> T {
        self.world.stop();
        self.world.join();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let store = Store::open(location(&self.home)).await.unwrap();
            let found = look(&store).await;
            store.close().await.unwrap();
            found
        })
    }
}

fn location(home: &tempfile::TempDir) -> Location {
    Location::Sqlite(home.path().join("saem.db"))
}

fn me() -> Origin {
    Origin::new("cli:test", "local")
}

fn infer() -> NewKey {
    NewKey::named("a", &[Scope::Infer])
}

fn refused(answer: &Answer) -> (u16, String) {
    let (status, code, _) = answer.error();
    (status, code)
}

#[test]
fn without_keys_the_machines_own_user_needs_none_and_with_the_first_everybody_does() {
    let server = Guarded::new();
    // Clients of OpenAI send something even where nothing is needed.
    for key in ["none", "sk-whatever"] {
        assert_eq!(server.complete(key, 2).status, 200);
    }
    assert_eq!(server.world.get("/v1/models").status, 200);
    let issued = server.key(infer());
    assert_eq!(server.complete(&issued.text, 2).status, 200);
    for (method, path) in [("GET", "/v1/models"), ("POST", "/v1/completions"), ("POST", "/tokenize"), ("GET", "/none")]
    {
        let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
        let answer = server.world.request(method, path, &[], body);
        assert_eq!(refused(&answer), (401, "invalid_api_key".into()), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
    }
    // What watches the server needs no key, and what describes it neither.
    for path in ["/health/live", "/health/ready", "/openapi.json"] {
        assert_eq!(server.world.get(path).status, 200, "{path}");
    }
}

#[test]
fn only_a_key_that_works_is_let_in() {
    let server = Guarded::new();
    let (good, gone) = (server.key(infer()), server.key(infer()));
    server.world.ask(async |store| store.revoke_key(&gone.key.id, &me()).await.unwrap());
    let wrong = format!("{}x", &good.text[..good.text.len() - 1]);
    for key in [&*wrong, &gone.text, "", "sk-1", &good.text.to_lowercase()] {
        assert_eq!(refused(&server.complete(key, 2)), (401, "invalid_api_key".into()), "{key}");
    }
    assert_eq!(server.complete(&good.text, 2).status, 200);
    // As CLOVA Studio's older clients send it.
    let body = json!({ "model": "alphabet", "prompt": "abc", "max_tokens": 2 }).to_string();
    let headers = [("x-ncp-clovastudio-api-key", &*good.text)];
    assert_eq!(server.world.request("POST", "/v1/completions", &headers, body.as_bytes()).status, 200);
    let basic = format!("Basic {}", good.text);
    let answer = server.world.request("POST", "/v1/completions", &[("authorization", &basic)], body.as_bytes());
    assert_eq!(answer.status, 401);
}

#[test]
fn a_key_does_what_its_scopes_and_models_say() {
    let server = Guarded::new();
    let embed = server.key(NewKey::named("e", &[Scope::Embed]));
    let admin = server.key(NewKey::named("o", &[Scope::Admin]));
    let other = server.key(NewKey { models: vec!["exaone".into()], ..infer() });
    assert_eq!(refused(&server.complete(&embed.text, 2)), (403, "scope_missing".into()));
    assert_eq!(server.call("GET", "/metrics", &admin.text, &Value::Null).status, 200);
    assert_eq!(refused(&server.call("GET", "/metrics", &embed.text, &Value::Null)), (403, "scope_missing".into()));
    assert_eq!(server.world.get("/metrics").status, 401);
    assert_eq!(server.complete(&other.text, 2).error(), (403, "model_not_allowed".into(), Some("model".into())));
    let tokens = server.call("POST", "/tokenize", &other.text, &json!({ "model": "alphabet", "prompt": "a" }));
    assert_eq!(refused(&tokens), (403, "model_not_allowed".into()));
    let listed = server.call("GET", "/v1/models", &other.text, &Value::Null).json();
    assert_eq!(listed["data"], json!([]));
}

#[test]
fn beyond_the_limits_it_is_429_with_the_time_to_wait() {
    let server = Guarded::new();
    let limits = |requests_per_minute, tokens_per_minute| Limits { requests_per_minute, tokens_per_minute };
    let few = server.key(NewKey { limits: limits(Some(2), None), ..infer() });
    assert_eq!([200, 200], [0, 1].map(|_| server.complete(&few.text, 2).status));
    let answer = server.complete(&few.text, 2);
    assert_eq!(refused(&answer), (429, "rate_limit_exceeded".into()));
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    // Several prompts are one request.
    let many = server.key(NewKey { limits: limits(Some(1), None), ..infer() });
    let body = json!({ "model": "alphabet", "prompt": ["abc", "bcd", "cde"], "max_tokens": 2 });
    assert_eq!(server.call("POST", "/v1/completions", &many.text, &body).status, 200);

    // 3 tokens of prompt and 50 of answer are set aside; what the alphabet leaves of them comes back.
    let small = server.key(NewKey { limits: limits(None, Some(100)), ..infer() });
    for _ in 0..2 {
        let usage = server.complete(&small.text, 50).json()["usage"]["total_tokens"].as_u64().unwrap();
        assert!(usage < 35, "{usage}");
    }
    let answer = server.complete(&small.text, 90);
    assert_eq!(refused(&answer), (429, "rate_limit_exceeded".into()));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("100 tokens per minute"));
    // What could not begin gives all of it back: the engine refuses a prompt that is longer than the context.
    let body = json!({ "model": "alphabet", "prompt": "a".repeat(600), "max_tokens": 2 });
    let long = server.key(NewKey { limits: limits(None, Some(700)), ..infer() });
    for _ in 0..3 {
        assert_eq!(server.call("POST", "/v1/completions", &long.text, &body).status, 400);
    }
}

#[test]
fn what_was_used_and_done_is_on_the_disk_when_the_server_has_stopped() {
    let server = Guarded::new();
    let key = server.key(infer());
    let used: Vec<u64> =
        (0..3).map(|_| server.complete(&key.text, 5).json()["usage"]["total_tokens"].as_u64().unwrap()).collect();
    assert_eq!(server.complete("saem_nobody", 5).status, 401);
    // A client that hangs up has used something too.
    server.world.millis.store(20, std::sync::atomic::Ordering::Relaxed);
    let header = format!("Bearer {}", key.text);
    let body = json!({ "model": "alphabet", "prompt": "\n", "max_tokens": 400, "stream": true }).to_string();
    let mut stream = server.world.send("POST", "/v1/completions", &[("authorization", &header)], body.as_bytes());
    let (mut read, mut piece) = (Vec::new(), [0; 100]);
    while read.windows(5).filter(|bytes| bytes == b"data:").count() < 4 {
        let count = std::io::Read::read(&mut stream, &mut piece).unwrap();
        read.extend_from_slice(&piece[..count]);
    }
    drop(stream);
    assert!(server.world.is_idle_within(Duration::from_secs(5)));
    let id = key.key.id.clone();
    server.records(async move |store| {
        let sums = store.usage("2000-01-01").await.unwrap();
        let sum = |count: fn(&saem_store::Used) -> u64| sums.iter().map(|sum| count(&sum.used)).sum::<u64>();
        assert_eq!(sum(|used| used.requests), 4);
        let total = sum(|used| used.prompt_tokens + used.completion_tokens);
        assert!(total > used.iter().sum::<u64>() + 1, "{total}");
        assert!(sums.iter().all(|sum| sum.by.key == id && sum.by.model == "alphabet" && sum.by.tenant == "default"));
        assert!(store.key(&id).await.unwrap().last_used_at.is_some());
        let mut rows = store.audit(100).await.unwrap();
        rows.reverse();
        let told: Vec<[&str; 5]> = rows
            .iter()
            .map(|row| {
                let entry = &row.entry;
                [&*entry.who, &entry.action, &entry.subject, &entry.source, &entry.result]
            })
            .collect();
        let who = format!("key:{id}");
        let done = [&*who, "POST /v1/completions", "alphabet", "127.0.0.1", "done"];
        let denied = ["anonymous", "POST /v1/completions", "", "127.0.0.1", "401 invalid_api_key"];
        let cancelled = [&*who, "POST /v1/completions", "alphabet", "127.0.0.1", "cancelled"];
        assert_eq!(told[0], ["cli:test", "key.create", &*id, "local", "ok"]);
        assert_eq!(told[1..], [done, done, done, denied, cancelled]);
        assert!(matches!(store.verify_audit().await.unwrap(), Verification::Intact { rows: 6, .. }));
    });
}

#[test]
fn other_machines_may_come_once_there_are_a_key_and_a_password() {
    let server = Guarded::new();
    let may = |server: &Guarded| {
        let access = Access::new(server.world.store.clone().unwrap());
        server.world.ask(async |_| access.may_be_public().await.unwrap())
    };
    assert!(!may(&server));
    let key = server.key(infer());
    assert!(!may(&server));
    server.world.ask(async |store| store.set_admin_password("correct horse", &me()).await.unwrap());
    assert!(may(&server));
    server.world.ask(async |store| store.revoke_key(&key.key.id, &me()).await.unwrap());
    assert!(!may(&server));
}

#[test]
fn a_store_that_fails_lets_nobody_in_and_tells_nothing() {
    let server = Guarded::new();
    let key = server.key(infer());
    assert_eq!(server.complete(&key.text, 2).status, 200);
    server.world.ask(async |store| store.close().await.unwrap());
    let answer = server.complete(&key.text, 2);
    assert_eq!(refused(&answer), (503, "records_unavailable".into()));
    assert!(answer.header("retry-after").is_some() && !answer.text().contains("saem.db"), "{}", answer.text());
}

#[test]
fn a_key_that_floods_the_queue_is_refused_and_another_is_still_taken() {
    let server = Guarded::small(Settings::default());
    let (flood, other) = (server.key(infer()), server.key(infer()));
    server.world.millis.store(10, std::sync::atomic::Ordering::Relaxed);
    // One is at work, and two wait: a quarter of eight.
    let mut held = vec![server.linger(&flood.text)];
    assert!(server.world.is_running_within(Duration::from_secs(5)));
    for waiting in 1..=2 {
        held.push(server.linger(&flood.text));
        server.wait_for(waiting);
    }
    let answer = server.complete(&flood.text, 2);
    assert_eq!(refused(&answer), (429, "queue_share_full".into()));
    assert_eq!(answer.header("retry-after"), Some("2"));
    let waits = server.linger(&other.text);
    server.wait_for(3);
    // The other key has got nothing yet, so its turn comes before those of the first that came earlier.
    held.remove(0);
    let answer = Answer::read(waits);
    assert_eq!((answer.status, answer.events().1), (200, true));
    assert!(server.world.app.service().models()[0].status().waiting() >= 1);
    held.clear();
    assert!(server.world.is_idle_within(Duration::from_secs(10)));
}

#[test]
fn the_only_key_has_the_whole_queue_unless_the_operator_says_less() {
    for (settings, most) in
        [(Settings::default(), 8), (Settings { waiting_per_key: Some(1), ..Settings::default() }, 1)]
    {
        let server = Guarded::small(settings);
        let key = server.key(infer());
        server.world.millis.store(10, std::sync::atomic::Ordering::Relaxed);
        let mut held = vec![server.linger(&key.text)];
        assert!(server.world.is_running_within(Duration::from_secs(5)));
        for waiting in 1..=most {
            held.push(server.linger(&key.text));
            server.wait_for(waiting);
        }
        let code = if most == 8 { "queue_full" } else { "queue_share_full" };
        assert_eq!(refused(&server.complete(&key.text, 2)), (429, code.into()));
        held.clear();
        assert!(server.world.is_idle_within(Duration::from_secs(10)));
    }
}
