//! OpenAI's API: what is answered, whole and in pieces.

use serde_json::{Value, json};

use crate::world::World;

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";

fn chat(extra: Value) -> Value {
    let mut body = json!({"model": "alphabet", "messages": [{"role": "user", "content": "Recite."}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn models_are_listed_and_described() {
    let world = World::new();
    let list = world.get("/v1/models").json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("alphabet")));
    assert_eq!(world.get("/v1/models/alphabet").json()["max_model_len"], 512);
    let missing = world.get("/v1/models/a/b");
    assert_eq!(missing.error(), (404, "model_not_found".into(), Some("model".into())));
}

#[test]
fn a_conversation_is_answered() {
    let world = World::new();
    let answer = world.post("/v1/chat/completions", &chat(json!({"temperature": 0})));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"], json!({"role": "assistant", "content": ALPHABET, "refusal": null}));
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    // 26 letters and the end token.
    assert_eq!(answer["usage"]["completion_tokens"], 27);
    let usage = &answer["usage"];
    assert_eq!(usage["total_tokens"], usage["prompt_tokens"].as_u64().unwrap() + 27);
}

#[test]
fn choices_limits_stops_and_logprobs() {
    let world = World::new();
    let body = chat(json!({"n": 2, "max_tokens": 3, "logprobs": true, "top_logprobs": 2, "seed": 7, "user": "me"}));
    let answer = world.post("/v1/chat/completions", &body).json();
    for index in 0..2 {
        let choice = &answer["choices"][index];
        assert_eq!((&choice["index"], &choice["message"]["content"]), (&json!(index), &json!("abc")));
        assert_eq!(choice["finish_reason"], "length");
        let tokens = choice["logprobs"]["content"].as_array().unwrap();
        assert_eq!(tokens.len(), 3);
        assert_eq!((&tokens[1]["token"], &tokens[1]["bytes"]), (&json!("b"), &json!([98])));
        assert_eq!(tokens[1]["top_logprobs"].as_array().unwrap().len(), 2);
        assert!(tokens[1]["logprob"].as_f64().unwrap() > -0.01);
    }
    let stopped = world.post("/v1/chat/completions", &chat(json!({"stop": ["x", "gh"]}))).json();
    assert_eq!(stopped["choices"][0]["message"]["content"], "abcdef");
}

#[test]
fn an_answer_in_pieces_is_the_same() {
    let world = World::new();
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2}));
    let answer = world.post("/v1/chat/completions", &body);
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let (events, done) = answer.events();
    assert!(done);
    for index in 0..2 {
        let of = |event: &&Value| event["choices"][0]["index"] == index;
        let deltas: Vec<&Value> = events.iter().filter(of).map(|event| &event["choices"][0]).collect();
        assert_eq!(deltas[0]["delta"], json!({"role": "assistant", "content": ""}));
        let text: String = deltas.iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(text, ALPHABET);
        assert_eq!(deltas.last().unwrap()["finish_reason"], "stop");
    }
    let (last, others) = events.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(54)));
    assert!(others.iter().all(|event| event["usage"].is_null() && event["object"] == "chat.completion.chunk"));
    let (events, _) = world.post("/v1/chat/completions", &chat(json!({"stream": true}))).events();
    assert!(events.iter().all(|event| event.get("usage").is_none()), "usage comes where it was asked for");
}

#[test]
fn prompts_are_continued() {
    let world = World::new();
    let complete = |body: Value| world.post("/v1/completions", &body);
    let answer = complete(json!({"model": "alphabet", "prompt": "abc"})).json();
    assert_eq!(answer["choices"][0]["text"], "defghijklmnopqrs", "16 tokens where nothing is said");
    let body =
        json!({"model": "alphabet", "prompt": ["ab", "xy"], "n": 2, "echo": true, "max_tokens": 4, "logprobs": 1});
    let answer = complete(body.clone()).json();
    let texts: Vec<&str> = answer["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["abcdef", "abcdef", "xyz", "xyz"]);
    assert_eq!(answer["choices"][0]["logprobs"]["tokens"], json!(["c", "d", "e", "f"]));
    assert_eq!(answer["choices"][0]["logprobs"]["text_offset"], json!([2, 3, 4, 5]));
    let mut streamed = vec![String::new(); 4];
    let mut body = body;
    body["stream"] = json!(true);
    for event in complete(body).events().0 {
        let choice = &event["choices"][0];
        streamed[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    assert_eq!(streamed, texts);
    let tokens = complete(json!({"model": "alphabet", "prompt": [[97], [109]], "max_tokens": 2})).json();
    assert_eq!((&tokens["choices"][0]["text"], &tokens["choices"][1]["text"]), (&json!("bc"), &json!("no")));
}

#[test]
fn no_piece_ends_inside_a_syllable() {
    let world = World::new();
    let body = json!({"model": "alphabet", "prompt": "샘", "max_tokens": 31, "stream": true});
    let answer = world.post("/v1/completions", &body);
    let (events, done) = answer.events();
    assert!(done);
    let pieces: Vec<&str> = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    // 31 bytes are ten syllables and a byte that nothing completes.
    let (whole, last) = pieces.split_at(pieces.len() - 2);
    assert!(whole.iter().all(|piece| piece.chars().all(|letter| letter == '샘')), "{pieces:?}");
    assert_eq!(pieces.concat(), format!("{}\u{fffd}", "샘".repeat(10)), "{last:?}");
}

#[test]
fn text_is_composed_at_the_border() {
    let world = World::new();
    let tokenize = |prompt: &str| world.post("/tokenize", &json!({"model": "alphabet", "prompt": prompt})).json();
    assert_eq!(tokenize("\u{1109}\u{1162}\u{11b7}"), tokenize("샘"));
    assert_eq!(tokenize("샘")["tokens"], json!([0xec, 0x83, 0x98]));
    assert_eq!(tokenize("샘")["count"], 3);
    let back = world.post("/detokenize", &json!({"model": "alphabet", "tokens": [0xec, 0x83, 0x98]})).json();
    assert_eq!(back, json!({"prompt": "샘"}));
    let unknown = world.post("/detokenize", &json!({"model": "alphabet", "tokens": [97, 258]}));
    assert_eq!(unknown.error(), (400, "invalid_value".into(), Some("tokens[1]".into())));
}

#[test]
fn what_is_wrong_is_named() {
    let world = World::new();
    let chat_error = |extra: Value| world.post("/v1/chat/completions", &chat(extra)).error();
    let invalid = |field: &str| (400, "invalid_value".to_owned(), Some(field.to_owned()));
    for (extra, field) in [
        (json!({"temperature": 2.5}), "temperature"),
        (json!({"temperature": -0.1}), "temperature"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"min_p": -1}), "min_p"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"frequency_penalty": -3}), "frequency_penalty"),
        (json!({"repetition_penalty": 11}), "repetition_penalty"),
        (json!({"n": 0}), "n"),
        (json!({"n": 5}), "n"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": 5, "max_completion_tokens": 6}), "max_tokens"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"stop": ""}), "stop"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "user", "content": null}]}), "messages[0].content"),
    ] {
        assert_eq!(chat_error(extra.clone()), invalid(field), "{extra}");
    }
    let unknown = |field: &str| (400, "unknown_parameter".to_owned(), Some(field.to_owned()));
    assert_eq!(chat_error(json!({"functions": []})), unknown("functions"));
    assert_eq!(
        chat_error(json!({"messages": [{"role": "user", "content": "", "age": 7}]})),
        unknown("messages[0].age")
    );
    assert_eq!(chat_error(json!({"stream": true, "stream_options": {"fast": 1}})), unknown("stream_options.fast"));
    let wrong = |field: &str| (400, "invalid_type".to_owned(), Some(field.to_owned()));
    assert_eq!(chat_error(json!({"n": -1})), wrong("n"));
    assert_eq!(chat_error(json!({"temperature": "hot"})), wrong("temperature"));
    assert_eq!(chat_error(json!({"messages": [{"role": "root", "content": ""}]})), wrong("messages[0].role"));
    assert_eq!(chat_error(json!({"model": "gpt-4"})).0, 404);
    assert_eq!(world.post("/v1/chat/completions", &json!({})).error().1, "missing_required_parameter");
    let long = "a".repeat(600);
    let body = json!({"model": "alphabet", "prompt": long});
    let too_long = world.post("/v1/completions", &body).error();
    assert_eq!(too_long, (400, "context_length_exceeded".into(), Some("prompt".into())));
    for prompt in [json!([]), json!([300]), json!(""), json!({"a": 1}), json!([["a"]])] {
        let (status, code, field) =
            world.post("/v1/completions", &json!({"model": "alphabet", "prompt": prompt})).error();
        assert_eq!((status, field.as_deref().map(|field| &field[..6])), (400, Some("prompt")), "{prompt}: {code}");
    }
}

/// A schema with few answers.
fn schema() -> Value {
    json!({"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": false})
}

#[test]
fn answers_keep_to_a_form() {
    let world = World::new();
    let form = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema()}});
    let answer = world.post("/v1/chat/completions", &chat(json!({"response_format": form, "temperature": 0}))).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    let value: Value = serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!(value == json!({"n": 1}) || value == json!({"n": 2}), "{value}");
    let (events, done) = world
        .post("/v1/chat/completions", &chat(json!({"response_format": form, "temperature": 0, "stream": true})))
        .events();
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(done && serde_json::from_str::<Value>(&text).unwrap() == value, "{text}");
    let field = |fields: Value| {
        let (status, _, param) = world.post("/v1/chat/completions", &chat(fields)).error();
        assert_eq!(status, 400);
        param.unwrap_or_default()
    };
    assert_eq!(field(json!({"response_format": {"type": "json_schema"}})), "response_format.json_schema");
    assert_eq!(field(json!({"response_format": {"type": "xml"}})), "response_format.type");
    let broken = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "nonsense"}}});
    assert_eq!(field(json!({"response_format": broken})), "response_format.json_schema.schema");
    assert_eq!(field(json!({"logit_bias": {"x": 1}})), "logit_bias");
    assert_eq!(field(json!({"logit_bias": {"97": 101}})), "logit_bias");
}

#[test]
fn functions_are_called_whole_and_in_pieces() {
    let world = World::new();
    let tools = json!([{"type": "function", "function": {"name": "count", "parameters": schema()}}]);
    let fields = json!({"tools": tools, "tool_choice": "required", "parallel_tool_calls": false, "temperature": 0});
    let answer = world.post("/v1/chat/completions", &chat(fields.clone())).json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
    assert_eq!((&choice["message"]["content"], &choice["message"]["role"]), (&Value::Null, &json!("assistant")));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("count")));
    let arguments = call["function"]["arguments"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(arguments).unwrap()["n"].is_number(), "{arguments}");

    let mut streamed = fields.clone();
    streamed["stream"] = json!(true);
    let (events, done) = world.post("/v1/chat/completions", &chat(streamed)).events();
    let deltas: Vec<&Value> = events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]).collect();
    let first = deltas.iter().position(|delta| delta.is_object()).unwrap();
    assert_eq!((&deltas[first]["index"], &deltas[first]["function"]["name"]), (&json!(0), &json!("count")));
    assert!(deltas[first]["id"].as_str().unwrap().starts_with("call_"));
    let pieces: String = deltas.iter().filter_map(|delta| delta["function"]["arguments"].as_str()).collect();
    assert_eq!(pieces, arguments);
    assert!(done && events.iter().any(|event| event["choices"][0]["finish_reason"] == "tool_calls"));

    // Every token is told of with its log-probability, whether its text goes out or is held back as part of a call.
    let tokens =
        |choice: &Value| -> Vec<Value> { choice["logprobs"]["content"].as_array().cloned().unwrap_or_default() };
    let mut measured = fields.clone();
    measured["logprobs"] = json!(true);
    let whole = tokens(&world.post("/v1/chat/completions", &chat(measured.clone())).json()["choices"][0]);
    measured["stream"] = json!(true);
    let (events, _) = world.post("/v1/chat/completions", &chat(measured)).events();
    let streamed: Vec<Value> = events.iter().flat_map(|event| tokens(&event["choices"][0])).collect();
    assert!(whole.len() > 5 && streamed == whole, "{whole:?}\n{streamed:?}");

    let field = |fields: Value| world.post("/v1/chat/completions", &chat(fields)).error().2.unwrap_or_default();
    assert_eq!(field(json!({"tools": tools, "tool_choice": "perhaps"})), "tool_choice");
    let form = json!({"type": "json_object"});
    assert_eq!(field(json!({"tools": tools, "response_format": form})), "response_format");
}
