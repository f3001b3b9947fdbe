//! The border and the life of the server: who gets in, what a request can break, how it all ends.

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use saem_server::{Settings, document, http};
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// Recites for ever, or nearly.
fn endless(stream: bool) -> Value {
    json!({"model": "alphabet", "prompt": "샘", "max_tokens": 480, "stream": stream})
}

#[test]
fn every_answer_has_an_id() {
    let world = World::new();
    for (path, status) in [("/health/live", 200), ("/health/ready", 200), ("/v1/models", 200), ("/nowhere", 404)] {
        let answer = world.get(path);
        assert_eq!(answer.status, status);
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let own = world.request("GET", "/v1/models", &[("x-request-id", "trace-7")], b"");
    assert_eq!(own.header("x-request-id"), Some("trace-7"));
    assert_eq!(world.get("/nowhere").error(), (404, "unknown_url".into(), None));
    assert_eq!(world.get("/v1/completions").error(), (405, "method_not_allowed".into(), None));
}

#[test]
fn foreign_names_and_pages_get_nothing() {
    let world = World::new();
    let port = world.address.port();
    let ask = |headers: &[(&str, &str)]| world.request("GET", "/v1/models", headers, b"");
    for host in ["localhost", "127.0.0.1:80", "[::1]:8080"] {
        assert_eq!(ask(&[("host", host)]).status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io"] {
        assert_eq!(ask(&[("host", host)]).error().1, "host_not_allowed", "{host}");
    }
    let own = format!("localhost:{port}");
    let ask = |origin: &str| world.request("GET", "/v1/models", &[("host", &own), ("origin", origin)], b"");
    assert_eq!(ask(&format!("http://localhost:{port}")).status, 200);
    for origin in ["http://evil.example", "null", "http://localhost:1", &format!("http://127.0.0.1:{port}")] {
        let answer = ask(origin);
        assert_eq!(answer.error().1, "origin_not_allowed", "{origin}");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let preflight = world.request("OPTIONS", "/v1/models", &[("origin", "http://evil.example")], b"");
    assert_eq!(preflight.status, 403);
}

#[test]
fn bodies_are_bounded_and_declared() {
    let world = World::with(Settings { body_bytes: 2000, ..Settings::default() }, 4, 4);
    let post = |headers: &[(&str, &str)], body: &[u8]| world.request("POST", "/v1/completions", headers, body);
    let long = json!({"model": "alphabet", "prompt": "a".repeat(3000)}).to_string();
    assert_eq!(post(&[], long.as_bytes()).error().1, "body_too_large");
    let simple = post(&[("content-type", "text/plain")], b"{}");
    assert_eq!(simple.error().1, "unsupported_media_type", "what pages can send without asking");
    for body in ["", "{", "nonsense", "{\"model\":\"alphabet\",\"prompt\":\"a\"}}"] {
        assert_eq!(post(&[], body.as_bytes()).error().1, "invalid_json", "{body}");
    }
    assert_eq!(post(&[], b"\xff\xfe").error().1, "invalid_json");
    assert_eq!(post(&[], br#" ["alphabet", "a"]"#).error().1, "invalid_type");
    let charset = post(&[("content-type", "application/json; charset=utf-8")], br#"{"model":"alphabet","prompt":"a"}"#);
    assert_eq!(charset.status, 200);
}

#[test]
fn hanging_up_frees_the_blocks() {
    let world = World::new();
    world.millis.store(10, Ordering::Relaxed);
    for stream in [true, false] {
        let connection = world.send("POST", "/v1/completions", &[], endless(stream).to_string().as_bytes());
        let status = world.app.service().models()[0].status();
        let begun = Instant::now();
        while status.blocks_used() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "the request never started");
            std::thread::sleep(Duration::from_millis(2));
        }
        if stream {
            let mut line = String::new();
            BufReader::new(&connection).read_line(&mut line).unwrap();
            assert!(line.contains("200"), "{line}");
        }
        drop(connection);
        // 480 tokens would take five seconds.
        assert!(world.is_idle_within(Duration::from_millis(500)), "stream: {stream}");
    }
    let metrics = world.get("/metrics");
    assert!(
        metrics.text().contains("saem_requests_total{model=\"alphabet\",outcome=\"cancelled\"} 2"),
        "{}",
        metrics.text()
    );
}

#[test]
fn a_panic_costs_a_pass_and_not_the_model() {
    let world = World::new();
    let bad = world.post("/v1/completions", &json!({"model": "alphabet", "prompt": "!"}));
    assert_eq!(bad.error(), (500, "internal_error".into(), None));
    assert!(!bad.text().contains("on purpose"), "nothing of the inside is told");
    let streamed = world.post("/v1/completions", &json!({"model": "alphabet", "prompt": "!", "stream": true}));
    let (events, done) = streamed.events();
    assert_eq!((events.last().unwrap()["error"]["code"].as_str(), done), (Some("internal_error"), false));
    let good = world.post("/v1/completions", &json!({"model": "alphabet", "prompt": "ab", "max_tokens": 2}));
    assert_eq!(good.json()["choices"][0]["text"], "cd");
    assert_eq!(world.app.service().models()[0].status().panics(), 2);
    assert_eq!(world.get("/health/ready").status, 200);
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let world = World::with(Settings::default(), 1, 1);
    world.millis.store(5, Ordering::Relaxed);
    let body = endless(true).to_string();
    let running = world.send("POST", "/v1/completions", &[], body.as_bytes());
    let status = world.app.service().models()[0].status();
    let wait = |condition: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(5), "nothing happened");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait(&|| status.running() == 1);
    let waiting = world.send("POST", "/v1/completions", &[], body.as_bytes());
    wait(&|| status.waiting() == 1);
    let refused = world.request("POST", "/v1/completions", &[], body.as_bytes());
    assert_eq!(refused.error().1, "queue_full");
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    drop((running, waiting));
    assert!(world.is_idle_within(Duration::from_secs(1)));
}

#[test]
fn many_clients_share_the_model() {
    let world = World::with(Settings::default(), 4, 64);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let body = json!({"model": "alphabet", "prompt": "a", "max_tokens": 25});
                let answer = world.post("/v1/completions", &body).json();
                assert_eq!(answer["choices"][0]["text"], "bcdefghijklmnopqrstuvwxyz");
            });
        }
    });
    assert!(world.is_idle_within(Duration::from_secs(1)));
}

#[test]
fn stopping_lets_answers_come_to_their_end() {
    let mut world = World::new();
    world.millis.store(5, Ordering::Relaxed);
    let body = json!({"model": "alphabet", "prompt": "샘", "max_tokens": 60, "stream": true});
    let connection = world.send("POST", "/v1/completions", &[], body.to_string().as_bytes());
    let status = world.app.service().models()[0].status();
    let begun = Instant::now();
    while status.running() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the request never started");
        std::thread::sleep(Duration::from_millis(2));
    }
    world.stop();
    let answer = Answer::read(connection);
    let (events, done) = answer.events();
    assert!(done, "the stream ends well");
    let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "샘".repeat(20));
    world.join();
    assert!(world.app.is_draining());
    assert!(std::net::TcpStream::connect(world.address).is_err(), "the door is closed");
}

#[test]
fn strangers_are_kept_out_until_there_are_keys() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = Settings { address: "0.0.0.0:0".parse().unwrap(), ..Settings::default() };
    let error = runtime.block_on(http::bind(&settings)).unwrap_err();
    assert!(error.to_string().contains("0.0.0.0"), "{error}");
    assert!(runtime.block_on(http::bind(&Settings { public: true, ..settings })).is_ok());
}

#[test]
fn what_was_done_is_counted() {
    let world = World::new();
    world.post("/v1/completions", &json!({"model": "alphabet", "prompt": "abc", "max_tokens": 5}));
    let metrics = world.get("/metrics");
    for line in [
        "saem_requests_total{model=\"alphabet\",outcome=\"done\"} 1",
        "saem_prompt_tokens_total{model=\"alphabet\"} 3",
        "saem_completion_tokens_total{model=\"alphabet\"} 5",
        "saem_http_responses_total{route=\"/v1/completions\",status=\"200\"} 1",
        "saem_engine_alive{model=\"alphabet\"} 1",
        "saem_cache_blocks_used{model=\"alphabet\"} 0",
    ] {
        assert!(metrics.text().contains(line), "{line} is not in\n{}", metrics.text());
    }
}

#[test]
fn the_apis_are_described() {
    let world = World::new();
    let document = serde_json::to_value(document()).unwrap();
    assert_eq!(world.get("/openapi.json").json(), document);
    let operations: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(operations.len(), operations.iter().collect::<std::collections::HashSet<_>>().len(), "{operations:?}");
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/tokenize", "/detokenize"]
    {
        assert!(document["paths"].get(path).is_some(), "{path} is not described");
    }
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&document).unwrap());
}
