//! CLOVA Studio's routes over real HTTP, on a model of known answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;

use saem_engine::EngineOptions;
use saem_server::service::{ModelFile, Service, ServiceOptions};
use saem_server::{App, ModelNames, Settings, http, router};
use serde_json::{Value, json};

use crate::recite::{SAYS, reciter};
use crate::toy::CONTEXT;

/// A server for all tests of this file.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let directory = tempfile::tempdir().unwrap();
            let models = vec![ModelFile {
                name: "reciter".into(),
                path: reciter(directory.path()),
                adapters: Vec::new(),
                adapter_bytes: 0,
            }];
            let engine =
                EngineOptions { threads: 1, context: Some(CONTEXT), max_sequences: 4, ..EngineOptions::default() };
            let options = ServiceOptions { engine, memory: None, prompts: None };
            let service = Service::plan(models, &options).unwrap().load(&mut |_, _, _| {}).unwrap();
            let settings = Settings {
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
                clova_models: ModelNames::new([("tuned".to_owned(), "reciter".to_owned())]),
                ..Settings::default()
            };
            let app = App::new(service, settings, Vec::new());
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let running = http::bind(app.settings()).await.unwrap();
                tell.send(running.address()).unwrap();
                http::serve(running, app.clone(), router(app), async || std::future::pending().await).await;
            });
        });
        told.recv().unwrap()
    })
}

/// An answer: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn result(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["status"]), (200, &json!({"code": "20000", "message": "OK"})), "{json}");
        json["result"].clone()
    }

    /// Names and data of the events.
    fn events(&self) -> Vec<(String, Value)> {
        assert!(self.head.contains("content-type: text/event-stream"), "{}", self.head);
        let event = |block: &str| {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
            };
            (field("event:"), serde_json::from_str(&field("data:")).unwrap())
        };
        self.body.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':')).map(event).collect()
    }
}

fn send(method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server()).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// The body of a chunked answer. Each chunk on its own must be text: no chunk ends inside a character.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        let chunk = &bytes[line + 2..line + 2 + size];
        assert!(std::str::from_utf8(chunk).is_ok(), "a chunk ends inside a character");
        whole.extend_from_slice(chunk);
        if size == 0 {
            return whole;
        }
        bytes = &bytes[line + 4 + size..];
    }
}

const JSON: &str = "content-type: application/json\r\n";

fn post(path: &str, body: &Value) -> Answer {
    send("POST", path, JSON, &body.to_string())
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[test]
fn completions_put_the_texts_together() {
    let body = json!({"text": "abc", "start": "d", "restart": "\nagain", "stopBefore": ["h"], "temperature": 0.0,
        "maxTokens": 10, "includeTokens": true, "includeProbs": true, "includeAiFilters": true});
    let result = post("/testapp/v1/completions/LK-D2", &body).result();
    assert_eq!((&result["text"], &result["outputText"]), (&json!("abcdefg\nagain"), &json!("defg\nagain")));
    assert_eq!((&result["stopReason"], &result["inputLength"]), (&json!("stop_before"), &json!(4)));
    assert_eq!(
        (&result["inputTokens"], &result["outputTokens"]),
        (&json!(["a", "b", "c", "d"]), &json!(["e", "f", "g"]))
    );
    assert_eq!(result["probs"][0][0]["token"], "e");
    assert!(result["probs"][0][0]["prob"].as_f64().unwrap() > 0.99, "{result}");
    let cut =
        post("/v1/tasks/tuned/completions/LK-B", &json!({"text": "abc", "temperature": 0, "maxTokens": 2})).result();
    assert_eq!((&cut["outputText"], &cut["stopReason"]), (&json!("de"), &json!("length")));
    let seed = cut["seed"].as_u64().unwrap();
    assert!((1..=4_294_967_295).contains(&seed), "{seed}");
}

#[test]
fn version_1_answers_as_langchain_community_reads_it() {
    let body = json!({"messages": user("안녕"), "temperature": 0.01, "seed": 5, "stream": false});
    let result = post("/serviceapp/v1/chat-completions/HCX-003", &body).result();
    assert_eq!(result["message"], json!({"role": "assistant", "content": SAYS}));
    assert_eq!((&result["stopReason"], &result["seed"]), (&json!("stop_before"), &json!(5)));
    // Seven bytes and the end.
    assert_eq!(result["outputLength"], 8);

    let body = json!({"messages": user("안녕"), "temperature": 0.01, "stream": true});
    let events = post("/testapp/v1/chat-completions/HCX-003", &body).events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["token", "token", "token", "result", "signal"]);
    let said: Vec<&str> = events[..3].iter().map(|(_, data)| data["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["가", " ", "나"], "whole syllables, though a token is a byte");
    assert_eq!(events[3].1["outputLength"], 8);
    assert_eq!(events[4].1, json!({"data": "[DONE]"}));
}

#[test]
fn version_3_streams_by_header_and_by_field() {
    let mut body = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "안녕"}]}],
        "temperature": 0, "maxTokens": 4096, "includeAiFilters": true, "seed": 0});
    let whole = post("/v3/chat-completions/HCX-005", &body).result();
    assert_eq!((&whole["message"]["content"], &whole["finishReason"]), (&json!(SAYS), &json!("stop")));
    assert_eq!(whole["usage"]["completionTokens"], 8);
    let headers = format!("{JSON}accept: text/event-stream\r\n");
    let documented = send("POST", "/v3/chat-completions/HCX-005", &headers, &body.to_string()).events();
    body["stream"] = json!(true);
    let collected = send("POST", "/v3/chat-completions/HCX-005", &headers, &body.to_string()).events();
    for (events, last) in [(&documented, SAYS), (&collected, "")] {
        let content = |name: &str| {
            let of_name = events.iter().filter(|(event, _)| event == name);
            of_name.map(|(_, data)| data["message"]["content"].as_str().unwrap()).collect::<String>()
        };
        assert_eq!((content("token").as_str(), content("result").as_str()), (SAYS, last));
        let result = &events.iter().find(|(name, _)| name == "result").unwrap().1;
        assert_eq!(result["finishReason"], "stop");
    }
}

#[test]
fn errors_have_the_envelope_whoever_finds_them() {
    let refused = |answer: Answer| {
        let body = answer.json();
        assert!(body.get("result").is_none() && body.get("error").is_none(), "{body}");
        let status = &body["status"];
        (answer.status, status["code"].as_str().unwrap().to_owned(), status["message"].as_str().unwrap().to_owned())
    };
    let (http, code, message) = refused(post("/v1/completions/LK-D2", &json!({"text": "a", "topQ": 1})));
    assert_eq!((http, code.as_str()), (400, "40001"));
    assert!(message.contains("`topQ`"), "{message}");
    let (_, code, message) =
        refused(post("/v3/chat-completions/HCX-005", &json!({"messages": user("a"), "topK": 129})));
    assert_eq!(code, "40001");
    assert!(message.contains("`topK` is 129 (allowed: 0 to 128)"), "{message}");
    let path = "/v1/chat-completions/HCX-003";
    assert_eq!(refused(send("POST", path, JSON, "{")).1, "40000");
    assert_eq!(refused(send("POST", path, "", "{}")).1, "41500");
    assert_eq!(refused(post(path, &json!({"messages": []}))).1, "40004");
    assert_eq!(refused(post(path, &json!({"messages": user(&"x".repeat(CONTEXT))}))).1, "40003");
    assert_eq!(refused(post("/v1/chat-completions/gpt-4", &json!({"messages": user("a")}))).1, "40080");
    assert_eq!(refused(post("/v1/tasks/HCX-005/chat-completions", &json!({"messages": user("a")}))).1, "40080");
    assert_eq!(refused(send("GET", path, "", "")).0, 405);
    assert_eq!(refused(post("/v1/api-tools/nothing", &json!({}))).1, "40400");
    let thinking = json!({"messages": user("a"), "thinking": {"effort": "high"}});
    assert_eq!(refused(post("/v3/chat-completions/HCX-007", &thinking)).1, "40009");
    // OpenAI's errors stay OpenAI's.
    let openai = post("/v1/openai/chat/completions", &json!({"model": "HCX-005", "messages": user("a"), "topQ": 1}));
    assert_eq!((openai.status, &openai.json()["error"]["param"]), (400, &json!("topQ")));
}

#[test]
fn a_request_keeps_its_id() {
    let headers = format!("{JSON}X-NCP-CLOVASTUDIO-REQUEST-ID: lcnv-42\r\n");
    for path in ["/v1/completions/LK-D2", "/v1/openai/chat/completions"] {
        let answer = send("POST", path, &headers, r#"{"text": 1}"#);
        for header in ["x-request-id: lcnv-42", "x-ncp-clovastudio-request-id: lcnv-42"] {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
    }
    let fresh = post("/v1/completions/LK-D2", &json!({"text": "a", "maxTokens": 1}));
    assert!(fresh.head.contains("x-ncp-clovastudio-request-id: req_"), "{}", fresh.head);
}

#[test]
fn tokens_are_counted_message_by_message() {
    let messages = json!([{"role": "system", "content": "ab"}, {"role": "user", "content": "가"}]);
    let counted = post("/v1/api-tools/chat-tokenize/HCX-003", &json!({"messages": messages})).result();
    // Two control tokens, the role, two line feeds, the text.
    let counts: Vec<u64> =
        counted["messages"].as_array().unwrap().iter().map(|m| m["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [12, 11]);
    let body = json!({"messages": messages, "maxTokens": 1});
    let used = post("/v1/chat-completions/HCX-003", &body).result()["inputLength"].as_u64().unwrap();
    assert_eq!(used, 12 + 11 + "assistant\n".len() as u64 + 1);
    let body = json!({"messages": messages, "responseFormat": {"type": "json", "schema": {"type": "object"}}});
    let counted = post("/v3/api-tools/chat-tokenize/HCX-005", &body).result();
    assert_eq!(counted["messages"][1]["content"], json!([{"type": "text", "text": "가", "count": 11}]));
    assert_eq!(counted["responseFormat"]["count"], 0);
    let text = post("/v1/api-tools/chat-tokenize/LK-D2/app", &json!({"text": "abc"})).result();
    assert_eq!(text, json!({"numTokens": 3}));
}

#[test]
fn the_window_slides_until_the_answer_fits() {
    let turn =
        |text: &str| vec![json!({"role": "user", "content": text}), json!({"role": "assistant", "content": text})];
    let mut messages = vec![json!({"role": "system", "content": "s"})];
    for letter in ["a", "b", "c"] {
        messages.extend(turn(&letter.repeat(60)));
    }
    messages.push(json!({"role": "user", "content": "z"}));
    let slid = |max_tokens: usize| {
        let body = json!({"messages": messages, "maxTokens": max_tokens});
        post("/v1/api-tools/sliding/chat-messages/HCX-003", &body).result()["messages"].as_array().unwrap().clone()
    };
    let left = slid(200);
    assert!(left.len() < messages.len() && left[0] == messages[0] && left.last() == messages.last(), "{left:?}");
    assert_eq!(left[1]["role"], "user", "a turn goes as a whole");
    // What comes out is taken where it goes next, with the whole answer's room.
    let used = post("/v1/chat-completions/HCX-003", &json!({"messages": left, "maxTokens": 200})).result();
    assert!(used["inputLength"].as_u64().unwrap() as usize + 200 <= CONTEXT, "{used}");
    assert_eq!(slid(1), messages);
    let body = json!({"messages": messages, "maxTokens": 500});
    assert_eq!(post("/v1/api-tools/sliding/chat-messages/HCX-003", &body).json()["status"]["code"], "40003");
}

const TOPICS: &str = "The garden has red roses. Roses need water in the garden. Water the roses every morning. \
    A computer has a processor. The processor of a computer runs programs. Programs are stored on the computer.";

#[test]
fn texts_are_parted_and_summarised() {
    let parted = post("/v1/api-tools/segmentation/app", &json!({"text": TOPICS, "alpha": -100, "segCnt": -1})).result();
    assert_eq!(parted["span"], json!([[0, 1, 2], [3, 4, 5]]));
    assert_eq!(parted["topicSeg"][1][0], "A computer has a processor.");
    assert_eq!(parted["inputTokens"], TOPICS.len());
    let body = json!({"texts": [TOPICS], "segCount": 2, "segMinSize": 0});
    let summary = post("/testapp/v1/api-tools/summarization/v2", &body).result();
    assert_eq!(summary, json!({"text": format!("- {SAYS}\n- {SAYS}"), "inputTokens": TOPICS.len()}));
    // A part that does not fit is halved until it does.
    let long = format!("{} {TOPICS}", "Roses are red. ".repeat(40));
    let summary =
        post("/v1/api-tools/summarization/v2", &json!({"texts": [long], "segCount": 1, "segMaxSize": 3000})).result();
    assert!(summary["text"].as_str().unwrap().lines().count() > 2, "{summary}");
}

#[test]
fn openais_shape_takes_clovas_fields() {
    let body = json!({"model": "HCX-005", "messages": user("안녕"), "temperature": 0, "repeat_penalty": 5.0, "top_k": 0,
        "max_completion_tokens": 20, "stream": false});
    let answer = post("/v1/openai/chat/completions", &body);
    assert_eq!((answer.status, &answer.json()["choices"][0]["message"]["content"]), (200, &json!(SAYS)));
    assert_eq!(send("GET", "/v1/openai/models", "", "").json()["data"][0]["id"], "reciter");
    assert_eq!(send("GET", "/v1/openai/models/HCX-005", "", "").json()["id"], "reciter");
    assert_eq!(send("GET", "/v1/openai/models/gpt-4", "", "").status, 404);
}

#[test]
fn every_route_is_described_and_there() {
    let document = send("GET", "/openapi.json", "", "").json();
    let described: Vec<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, path)| path.to_string().contains("\"clova\""))
        .map(|(path, _)| path.clone())
        .collect();
    assert_eq!(described.len(), 14, "{described:?}");
    for path in described.iter().filter(|path| !path.contains("openai")) {
        for prefix in ["", "/testapp", "/serviceapp"] {
            let path =
                format!("{prefix}{}", path.replace("embedding/{model}", "embedding/v2").replace("{model}", "HCX-005"));
            let answer = post(&path, &json!({"nothing": 1}));
            assert_eq!((answer.status, &answer.json()["status"]["code"]), (400, &json!("40001")), "{path}");
        }
    }
}
