//! Sentence encoders over real HTTP, with a small encoder of random weights.

use saem_encoder::SentenceEncoder;
use saem_server::Settings;
use serde_json::{Value, json};

use crate::encoder_toy;
use crate::world::World;

/// A server with the small encoder, and the encoder itself.
fn server() -> (World, SentenceEncoder) {
    let directory = tempfile::tempdir().unwrap();
    encoder_toy::write(directory.path(), &encoder_toy::arrays());
    let open = || SentenceEncoder::open(directory.path(), 1).unwrap();
    (World::with_encoder(Settings::default(), open()), open())
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// Bytes of Base64 as 32-bit floats, read by hand: the server's own reader would forgive its own mistakes.
fn floats(text: &str) -> Vec<f32> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (index, byte) in text.bytes().filter(|byte| *byte != b'=').enumerate() {
        bits = bits << 6 | u32::from(digit(byte));
        if index % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[test]
fn vectors_are_those_of_the_encoder_in_both_spellings() {
    let (server, encoder) = server();
    let texts = ["ab 가나", "한글", "the x"];
    let expected = encoder.encode(&texts);
    let body = |format: &str| json!({ "model": "vectors", "input": texts, "encoding_format": format });
    let answer = server.post("/v1/embeddings", &body("float")).json();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("vectors")));
    let tokens: usize = expected.tokens.iter().sum();
    assert_eq!(answer["usage"], json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
    let packed = server.post("/v1/embeddings", &body("base64")).json();
    for (index, vector) in expected.vectors.iter().enumerate() {
        assert_eq!(answer["data"][index]["index"], index);
        assert_eq!(numbers(&answer["data"][index]["embedding"]), vector);
        assert_eq!(floats(packed["data"][index]["embedding"].as_str().unwrap()), vector);
    }
    let one = server.post("/v1/embeddings", &json!({ "model": "vectors", "input": "한글" })).json();
    assert_eq!(numbers(&one["data"][0]["embedding"]), expected.vectors[1]);
}

#[test]
fn decomposed_syllables_are_the_same_text() {
    let (server, _) = server();
    let embed = |text: &str| server.post("/v1/embeddings", &json!({ "model": "vectors", "input": text })).json();
    assert_eq!(embed("\u{1100}\u{1161}\u{1102}\u{1161}")["data"], embed("가나")["data"]);
}

#[test]
fn mistakes_name_their_field() {
    let (server, _) = server();
    let refused = |body: Value| server.post("/v1/embeddings", &body).error();
    let field = |body: Value| {
        let (status, _, param) = refused(body);
        assert_eq!(status, 400);
        param.unwrap_or_default()
    };
    assert_eq!(field(json!({ "model": "vectors", "input": ["a", ""] })), "input[1]");
    assert_eq!(field(json!({ "model": "vectors", "input": [] })), "input");
    assert_eq!(field(json!({ "model": "vectors", "input": [1, 2] })), "input[0]");
    assert_eq!(field(json!({ "model": "vectors", "input": "a", "dimensions": 256 })), "dimensions");
    assert_eq!(field(json!({ "model": "vectors", "input": "a", "encoding_format": "hex" })), "encoding_format");
    assert_eq!(field(json!({ "model": "vectors", "input": "a", "inputs": 1 })), "inputs");
    assert_eq!(field(json!({ "model": "alphabet", "input": "a" })), "model");
    assert_eq!(refused(json!({ "model": "none", "input": "a" })).0, 404);
    let text = server.post("/v1/completions", &json!({ "model": "vectors", "prompt": "a" })).error();
    assert_eq!((text.0, text.2.as_deref()), (400, Some("model")));
}

#[test]
fn encoders_are_listed_and_counted() {
    let (server, _) = server();
    let models = server.get("/v1/models").json();
    assert_eq!(models["data"][1]["id"], "vectors");
    assert_eq!(server.get("/v1/models/vectors").json()["id"], "vectors");
    server.post("/v1/embeddings", &json!({ "model": "vectors", "input": ["a", "b"] }));
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains(r#"saem_requests_total{model="vectors",outcome="done"} 1"#), "{}", metrics.text());
}

#[test]
fn clova_studios_routes_make_1024_numbers() {
    let (server, encoder) = server();
    let expected = encoder.encode(&["가나"]);
    let text = json!({ "text": "가나" });
    for path in [
        "/v1/api-tools/embedding/v2",
        "/testapp/v1/api-tools/embedding/v2/",
        "/testapp/v1/api-tools/embedding/clir-emb-dolphin/my-app",
        "/serviceapp/v1/api-tools/embedding/vectors",
    ] {
        let answer = server.post(path, &text);
        let result = &answer.json()["result"];
        let vector = numbers(&result["embedding"]);
        assert_eq!(vector[..512], expected.vectors[0], "{path}");
        assert!(vector.len() == 1024 && vector[512..].iter().all(|number| *number == 0.0), "{path}");
        assert_eq!(result["inputTokens"], expected.tokens[0]);
    }
    let counted = server.post("/v1/api-tools/embedding/v2/tokenize", &text).json();
    assert_eq!(counted["result"], json!({ "numTokens": expected.tokens[0] }));
    let status = |path: &str, text: &str| {
        let answer = server.post(path, &json!({ "text": text }));
        (answer.status, answer.json()["status"]["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(status("/v1/api-tools/embedding/v2", " "), (400, "40004".into()));
    assert_eq!(status("/v1/api-tools/embedding/v9", "a"), (400, "40080".into()));
    let shaped = json!({ "model": "clir-emb-dolphin", "input": ["가나"], "dimensions": 1024 });
    let answer = server.post("/v1/openai/embeddings", &shaped).json();
    assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 1024);
}

#[test]
fn segmentation_asks_the_encoder() {
    let (server, _) = server();
    let text = "가나. 가나. 가나. the x. the x. the x.";
    let body = json!({ "text": text, "alpha": -100, "segCnt": 2, "postProcess": false });
    let answer = server.post("/v1/api-tools/segmentation", &body).json();
    assert_eq!(answer["result"]["span"], json!([[0, 1, 2], [3, 4, 5]]), "{answer}");
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains(r#"saem_requests_total{model="vectors",outcome="done"} 1"#), "{}", metrics.text());
}
