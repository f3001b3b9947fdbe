//! Constrained texts are valid to the last byte, whatever the model says, and hostile constraints end with an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonschema::Draft;
use proptest::prelude::*;
use saem_engine::chat::{Message, RenderOptions};
use saem_engine::constraint::{COMPILE_TIME, Constraint, ConstraintError, Constraints};
use saem_engine::random::Random;
use saem_engine::{Control, EngineError, Event, FinishReason, Request, Sampling, Worker};
use serde_json::{Value, json};

use crate::schemas::{made_up, random_model, random_request, text};
use crate::toy::{Bytes, END, VOCABULARY};

fn constraints() -> Constraints {
    Constraints::new(Arc::new(Bytes::new()), VOCABULARY, vec![END])
}

/// Whether a constraint takes this text as a whole.
fn takes(constraint: &Constraint, text: &str) -> bool {
    let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    constraints().accepts(constraint, &tokens).unwrap()
}

/// Compiles; the error as text where that fails.
fn refused(constraint: Result<Constraint, ConstraintError>) -> String {
    constraint.and_then(|constraint| constraints().prepare(&constraint)).unwrap_err().to_string()
}

fn validator(schema: &Value, draft: Draft) -> Option<jsonschema::Validator> {
    jsonschema::options().with_draft(draft).should_validate_formats(true).build(schema).ok()
}

#[test]
fn choices_expressions_and_grammars_take_what_they_say() {
    let choice = Constraint::choice(["긍정", "부정", "부정 아님", "say \"hi\"\n"]).unwrap();
    for (text, taken) in [
        ("긍정", true),
        ("부정", true),
        ("부정 아님", true),
        ("say \"hi\"\n", true),
        ("중립", false),
        ("긍", false),
        ("", false),
    ] {
        assert_eq!(takes(&choice, text), taken, "{text:?}");
    }
    let phone = Constraint::regex(r"^01[016789]-\d{3,4}-\d{4}$").unwrap();
    assert!(takes(&phone, "010-123-4567") && !takes(&phone, "010-12-4567"));
    let slash = Constraint::regex(r"a/b\$").unwrap();
    assert!(takes(&slash, "a/b$") && !takes(&slash, "a/b"));
    let sum = Constraint::lark("start: NUMBER (\"+\" NUMBER)*\nNUMBER: /[0-9]{1,3}/").unwrap();
    assert!(takes(&sum, "1+22+333") && !takes(&sum, "1+"));
    let object = Constraint::json_object();
    assert!(takes(&object, "{\"가\": [1, null]}") && !takes(&object, "[1]"));
}

#[test]
fn blanks_between_the_parts_are_few() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let schema = Constraint::json_schema(&schema).unwrap();
    for (text, taken) in [
        ("{\"a\":1}", true),
        ("{ \"a\": 1 }", true),
        ("{\n    \"a\": 1\n}", true),
        ("{\n\n\"a\":1}", false),
        ("{  \"a\":1}", false),
    ] {
        assert_eq!(takes(&schema, text), taken, "{text:?}");
    }
}

#[test]
fn what_cannot_be_kept_is_named() {
    let schema = |schema: Value| refused(Constraint::json_schema(&schema));
    assert!(schema(json!({"type": "string", "format": "semver"})).contains("`format: semver` at /"));
    assert!(schema(json!({"items": {"multipleOf": 1_000_003}})).contains("`multipleOf` at /items"));
    assert!(schema(json!({"type": "strin"})).contains("Invalid type: strin"));
    assert!(schema(json!({"oneOf": [{"type": "integer"}, {"type": "integer", "minimum": 3}]})).contains("oneOf"));
    assert!(schema(json!({"$ref": "#/$defs/none"})).contains("none"));
    assert!(schema(json!({"$ref": "http://localhost/x"})).contains("`$ref` at /"));
    assert!(schema(json!(3)).contains("schema"));
    assert!(schema(json!({"$schema": "http://example.org/mine"})).contains("`$schema` at /"));
    assert!(refused(Constraint::regex("a(?=b)")).contains("look-around"));
    assert!(refused(Constraint::regex("(a")).contains("regular expression"));
    assert!(refused(Constraint::regex(r"(a)\1")).contains("backreferences"));
    assert!(refused(Constraint::lark("start: nothing")).contains("nothing"));
    let impossible = json!({"type": "integer", "minimum": 3, "maximum": 2});
    let error = Constraint::json_schema(&impossible).and_then(|impossible| constraints().prepare(&impossible));
    assert!(matches!(error, Err(ConstraintError::Unsatisfiable { .. })), "{error:?}");
}

/// Whatever is refused is refused soon, and what is not refused compiles soon: one time limit for the caller.
#[test]
fn hostile_constraints_end_soon() {
    let nested = |levels: usize, wrap: &dyn Fn(Value) -> Value| {
        (0..levels).fold(json!({"type": "integer"}), |inner, _| wrap(inner))
    };
    let chain: serde_json::Map<String, Value> = (0..1_500)
        .map(|i| (format!("a{i}"), json!({"properties": {"x": {"$ref": format!("#/$defs/a{}", i + 1)}}})))
        .chain([("a1500".to_owned(), json!({"type": "null"}))])
        .collect();
    let doubling: serde_json::Map<String, Value> = (0..40)
        .map(|i| {
            let next = json!({"$ref": format!("#/$defs/b{}", i + 1)});
            (format!("b{i}"), json!({"allOf": [{"properties": {"l": next}}, {"properties": {"l": next, "r": next}}]}))
        })
        .chain([("b40".to_owned(), json!({"type": "null"}))])
        .collect();
    let any_of_any_of: Value =
        (0..12).map(|i| json!({"anyOf": [{"minLength": i}, {"maxLength": 90 - i}, {"minimum": i}]})).collect();
    let schemas = [
        json!({"$defs": chain, "$ref": "#/$defs/a0"}),
        json!({"$defs": doubling, "$ref": "#/$defs/b0"}),
        json!({"allOf": any_of_any_of}),
        json!({"$ref": "#"}),
        json!({"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}, "$ref": "#/$defs/x"}),
        json!({"$defs": {"x": {"allOf": [{"$ref": "#/$defs/x"}, {"type": "object"}]}}, "$ref": "#/$defs/x"}),
        json!({"type": "string", "minLength": 1_000_000_000_u64}),
        json!({"type": "string", "maxLength": u64::MAX}),
        json!({"type": "array", "minItems": 1_000_000_000_u64}),
        json!({"type": "array", "maxItems": 1_000_000, "items": {"type": "array", "maxItems": 1_000_000}}),
        json!({"type": "object", "minProperties": 1_000_000_000_u64}),
        json!({"type": "object", "maxProperties": 1_000_000_000_u64}),
        json!({"type": "integer", "multipleOf": 1_000_003}),
        json!({"type": "number", "multipleOf": 1e-300}),
        json!({"type": "number", "minimum": 1e308, "maximum": 1.7e308}),
        json!({"type": "string", "pattern": "((a{1,100}){1,100}){1,100}"}),
        json!({"type": "string", "pattern": "(a|aa)*(a|aa)*(a|aa)*b.{200}c"}),
        json!({"type": "string", "pattern": "(.*a.{60}){5}"}),
        json!({"patternProperties": {"^(a|b)*a(a|b){40}$": {}, "^(a|b)*b(a|b){41}$": {}}}),
        json!({"enum": (0..9_000).map(|i| format!("value {i}")).collect::<Vec<_>>()}),
        json!({"properties": (0..3_000).map(|i| (format!("p{i}"), json!({}))).collect::<serde_json::Map<_, _>>()}),
        json!({"required": (0..3_000).map(|i| format!("p{i}")).collect::<Vec<_>>()}),
        nested(31, &|inner| json!({"items": inner})),
        nested(31, &|inner| json!({"anyOf": [inner, {"type": "null"}]})),
        nested(15, &|inner| json!({"properties": {"x": inner, "y": inner}})),
        nested(15, &|inner| json!({"allOf": [inner, inner]})),
    ];
    let regexes = [
        "(((((((a{10}){10}){10}){10}){10}){10}){10})",
        "a{1000000000}",
        "(x+x+)+y",
        ".*.*.*.*.*.*.*.*.*.*.*.*.*.*a{100}",
        "(.*a.{90}b)|(.*b.{80}a)|(.*c.{70}a)",
        r"\w{1000}",
        r"(\p{L}{1,50}[^\p{Han}]){1,20}",
    ];
    let larks = [
        "start: start start | \"a\"",
        "start: a a a a\na: b b b b\nb: c c c c\nc: d d d d\nd: e e e e\ne: /a{1,9}/*",
        "start: \"a\"{100000000}",
        "start: (((\"a\"{1,300}){1,300}){1,300}){1,300}",
        "start: \"a\"* \"a\"* \"a\"* \"a\"* \"b\"",
        "start: %json {\"$ref\": \"#\"}",
        "start: @other",
        "start:",
    ];
    let named = (0..).zip(&schemas).map(|(i, schema)| (format!("schema {i}"), Constraint::json_schema(schema)));
    let named = named.chain(regexes.map(|regex| (format!("/{regex}/"), Constraint::regex(regex))));
    let named = named.chain(larks.map(|lark| (lark.to_owned(), Constraint::lark(lark))));
    let constraints = constraints();
    for (name, constraint) in named {
        let begin = Instant::now();
        let result = constraint.and_then(|constraint| constraints.prepare(&constraint));
        let took = begin.elapsed();
        println!(
            "{:>8.1} ms  {name}: {}",
            took.as_secs_f64() * 1e3,
            result.as_ref().map_or_else(ToString::to_string, |()| "taken".into())
        );
        assert!(took < COMPILE_TIME + Duration::from_secs(1), "{name} took {took:?}");
    }
}

/// What was taken may still cost much at a step: the request ends with an error, the others go on.
#[test]
fn a_step_that_costs_too_much_ends_its_request_only() {
    let mut worker = random_model();
    let costly = Constraint::lark("start: a a a a a a a a b\na: \"a\"? a? \"a\"? a?\nb: \"b\"").unwrap();
    let fine = Constraint::regex("[가-힣]{3}").unwrap();
    let costly = worker.submit(random_request(&costly, 1));
    let fine = worker.submit(random_request(&fine, 1)).unwrap();
    let (mut text, mut failed) = (String::new(), None);
    while worker.step(&mut |id, event| {
        match event {
            Event::Text { text: piece, .. } if id == fine => text.push_str(piece),
            Event::Failed { error } => failed = Some((id, error)),
            _ => {}
        }
        Control::Continue
    }) {}
    assert_eq!(text.chars().count(), 3);
    if let Some((id, error)) = failed {
        assert_eq!(Some(id), costly.as_ref().ok().copied(), "{error}");
        assert!(matches!(error, EngineError::Constraint(_)), "{error}");
    }
}

/// Every finished text of every made-up schema is valid; few are cut by the limit.
#[test]
fn made_up_schemas_get_valid_values_from_a_random_model() {
    let mut worker = random_model();
    let mut random = Random::new(20, 0);
    let (mut finished, mut cut) = (0, 0);
    for _ in 0..200 {
        let schema = made_up(&mut random);
        let constraint = Constraint::json_schema(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
        let valid = validator(&schema, Draft::Draft202012).unwrap();
        for seed in 0..4 {
            let (text, reason) = text(&mut worker, random_request(&constraint, seed));
            if reason == FinishReason::Length {
                cut += 1;
                continue;
            }
            finished += 1;
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{schema}"));
            assert!(
                valid.is_valid(&value),
                "{:?}: {text}\n{schema}",
                valid.validate(&value).err().map(|e| e.to_string())
            );
        }
    }
    println!("{finished} valid, {cut} cut");
    assert!(finished > 760, "{finished} finished, {cut} cut");
}

/// The suite of the JSON Schema organisation: texts made for its schemas are valid, and no value that it calls wrong
/// is taken. `$SAEM_JSON_SCHEMA_SUITE` is its folder `tests`.
#[test]
fn the_test_suite_of_json_schema() {
    let Some(folder) = std::env::var_os("SAEM_JSON_SCHEMA_SUITE") else {
        println!("skipped: needs the JSON-Schema-Test-Suite (set SAEM_JSON_SCHEMA_SUITE)");
        return;
    };
    let drafts = [
        ("draft4", Draft::Draft4),
        ("draft6", Draft::Draft6),
        ("draft7", Draft::Draft7),
        ("draft2019-09", Draft::Draft201909),
        ("draft2020-12", Draft::Draft202012),
    ];
    let mut worker = random_model();
    let constraints = Arc::clone(worker.constraints());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut supported, mut finished, mut cut, mut wrong_refused, mut right_taken, mut right) = (0, 0, 0, 0, 0, 0);
    let mut complaints = Vec::new();
    for (name, draft) in drafts {
        let folder = std::path::Path::new(&folder).join(name);
        let mut files: Vec<_> = [folder.clone(), folder.join("optional/format")]
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort();
        assert!(files.len() > 20, "{} holds no suite", folder.display());
        for file in files {
            let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            for case in &cases {
                let schema = &case["schema"];
                let place = format!("{name}/{}: {}", file.file_name().unwrap().to_string_lossy(), case["description"]);
                let constraint = match Constraint::json_schema(schema).and_then(|c| constraints.prepare(&c).map(|()| c))
                {
                    Ok(constraint) => constraint,
                    Err(error) => {
                        let reason = match error {
                            ConstraintError::Keyword { keyword, .. } => format!("keyword {keyword}"),
                            ConstraintError::Unsatisfiable { .. } => "nothing fulfils it".to_owned(),
                            other => other.to_string().chars().take(70).collect(),
                        };
                        *reasons.entry(reason).or_default() += 1;
                        continue;
                    }
                };
                let Some(valid) = validator(schema, draft) else { continue };
                supported += 1;
                for seed in 0..3 {
                    let (text, reason) = text(&mut worker, random_request(&constraint, seed));
                    if reason == FinishReason::Length {
                        cut += 1;
                        continue;
                    }
                    finished += 1;
                    match serde_json::from_str::<Value>(&text) {
                        Ok(value) if valid.is_valid(&value) => {}
                        Ok(_) => complaints.push(format!("{place}: {text} is not valid for {schema}")),
                        Err(error) => complaints.push(format!("{place}: {text}: {error}")),
                    }
                }
                for test in case["tests"].as_array().unwrap() {
                    let data = test["data"].to_string();
                    let tokens: Vec<u32> = data.bytes().map(u32::from).collect();
                    let taken = constraints.accepts(&constraint, &tokens).unwrap();
                    if test["valid"] == true {
                        right += 1;
                        right_taken += usize::from(taken);
                    } else if taken {
                        complaints.push(format!("{place}: {data} is taken, but wrong for {schema}"));
                    } else {
                        wrong_refused += 1;
                    }
                }
            }
        }
    }
    println!(
        "{supported} schemas supported, {finished} texts finished, {cut} cut; {wrong_refused} wrong values refused, {right_taken} of {right} right ones taken"
    );
    for (reason, count) in &reasons {
        println!("{count:>5} refused: {reason}");
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    assert!(supported > 750 && finished > 2 * supported, "{supported} schemas, {finished} texts");
}

/// All of a request's features at once, and the same text whatever else runs beside it.
#[test]
fn candidates_penalties_log_probabilities_and_stop_strings_go_together() {
    let schema = json!({"type": "object", "properties": {"이름": {"type": "string", "maxLength": 6}, "n": {"type": "integer", "maximum": 99, "minimum": 0}},
        "required": ["이름", "n"], "additionalProperties": false});
    let constraint = Constraint::json_schema(&schema).unwrap();
    let valid = validator(&schema, Draft::Draft202012).unwrap();
    let sampling = Sampling {
        seed: Some(5),
        temperature: 1.3,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.01,
        repetition_penalty: 1.1,
        frequency_penalty: 0.4,
        presence_penalty: 0.2,
        ..Sampling::default()
    };
    let mut worker = random_model();
    let request = Request { candidates: 4, logprobs: Some(3), sampling, ..random_request(&constraint, 0) };
    let run = |worker: &mut Worker, request: Request| {
        let mut texts = vec![String::new(); request.candidates];
        let id = worker.submit(request).unwrap();
        while worker.step(&mut |who, event| {
            if let Event::Text { candidate, text, tokens } = event
                && who == id
            {
                texts[candidate].push_str(text);
                assert!(
                    tokens
                        .iter()
                        .all(|token| token.logprobs.as_ref().is_some_and(|l| l.logprob < 0.0 && l.top.len() == 3))
                );
            }
            Control::Continue
        }) {}
        texts
    };
    let alone = run(&mut worker, request.clone());
    for text in &alone {
        assert!(valid.is_valid(&serde_json::from_str(text).unwrap()), "{text}");
    }
    assert_ne!(alone[0], alone[1]);
    worker.submit(random_request(&Constraint::regex("[가-힣]{20}").unwrap(), 3)).unwrap();
    assert_eq!(run(&mut worker, Request { candidates: 1, ..request.clone() })[0], alone[0]);
    // A stop string cuts what the constraint would have gone on with.
    let stopped = run(&mut worker, Request { candidates: 1, stop: vec!["\"n\"".into()], ..request });
    assert!(alone[0].starts_with(&stopped[0]) && !stopped[0].contains("\"n\""), "{stopped:?}");
}

/// The end token comes only where the text may end, even for a model that wants nothing else.
#[test]
fn an_eager_end_has_to_wait() {
    let mut worker = random_model();
    let constraint = Constraint::regex("a{3,}").unwrap();
    let eager = Request { logit_bias: vec![(END, 100.0)], ..random_request(&constraint, 1) };
    assert_eq!(text(&mut worker, eager), ("aaa".into(), FinishReason::EndToken(END)));
    let exact = Constraint::regex("a{3}").unwrap();
    assert_eq!(text(&mut worker, random_request(&exact, 1)), ("aaa".into(), FinishReason::Constraint));
    let never = Request { max_tokens: Some(2), ..random_request(&exact, 1) };
    assert_eq!(text(&mut worker, never), ("aa".into(), FinishReason::Length));
    // Without end tokens the text goes on until nothing can follow.
    let deaf = Request { ignore_end_tokens: true, ..random_request(&exact, 1) };
    assert_eq!(text(&mut worker, deaf).0, "aaa");
}

#[test]
fn a_bias_moves_the_choice_and_is_checked() {
    let mut worker = random_model();
    let base =
        Request { max_tokens: Some(20), ignore_end_tokens: true, ..Request::new(vec![1, 2], Sampling::default()) };
    let only_x = Request { logit_bias: vec![(u32::from(b'x'), 100.0)], ..base.clone() };
    assert_eq!(text(&mut worker, only_x).0, "x".repeat(20));
    let banned: Vec<(u32, f32)> =
        (0..256).filter(|token| *token != u32::from(b'y')).map(|token| (token, -100.0)).collect();
    let only_y = Request { logit_bias: [banned, vec![(END, -100.0), (257, -100.0)]].concat(), ..base.clone() };
    assert_eq!(text(&mut worker, only_y).0, "y".repeat(20));
    for (bias, message) in [
        ((3, 100.5), "logit_bias is 100.5 for token 3 (allowed: -100 to 100)"),
        ((3, f32::NAN), "logit_bias is NaN for token 3 (allowed: -100 to 100)"),
        ((258, 1.0), "logit_bias is for token 258 (allowed: tokens 0 to 257)"),
    ] {
        let request = Request { logit_bias: vec![bias], ..base.clone() };
        assert_eq!(worker.submit(request).unwrap_err().to_string(), message);
    }
    let request = Request { logit_bias: vec![(1, 0.0); 1_025], ..base };
    assert!(worker.submit(request).unwrap_err().to_string().contains("at most 1024 tokens"));
}

#[test]
fn a_bad_constraint_is_refused_when_it_is_submitted() {
    let mut worker = random_model();
    let bad = Constraint::regex("(a").unwrap();
    let error = worker.submit(random_request(&bad, 1)).unwrap_err();
    assert!(
        matches!(error, EngineError::Constraint(ConstraintError::Refused { what: "regular expression", .. })),
        "{error}"
    );
    assert_eq!(worker.sequences(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Any text as a schema, expression or grammar ends in an error or compiles; nothing panics, nothing hangs.
    #[test]
    fn nonsense_does_no_harm(text in "[\\PC]{0,40}|[a-z*+?(){}\\[\\]|.^$\\\\0-9,]{0,30}|start: [a-z\"/|*() \\n:%{}]{0,40}") {
        let constraints = constraints();
        for constraint in [Constraint::regex(&text), Constraint::lark(&text), Constraint::choice([text.as_str()])].into_iter().flatten() {
            let _any = constraints.prepare(&constraint);
        }
        let schema = json!({"properties": {&text: {"pattern": text, "const": text}}, "format": text, "$ref": text});
        if let Ok(constraint) = Constraint::json_schema(&schema) {
            let _any = constraints.prepare(&constraint);
        }
    }
}

/// A real vocabulary and a model with a will of its own: many tokens hold parts of several syllables, or of a key and a
/// value.
#[test]
fn a_real_model_keeps_to_the_form() {
    let Some(engine) = crate::models::smollm2() else { return };
    let constraints = engine.constraints();
    let ask = |prompt: &str, constraint: &Constraint, seed: u64| {
        let prompt = engine.chat_tokens(&[Message::new("user", prompt)], &RenderOptions::default()).unwrap();
        let sampling = Sampling { seed: Some(seed), temperature: 0.8, ..Sampling::default() };
        let request =
            Request { max_tokens: Some(200), constraint: Some(constraint.clone()), ..Request::new(prompt, sampling) };
        let completion = engine.generate(request, &mut |_| Control::Continue).unwrap();
        let candidate = completion.candidates[0].clone();
        if candidate.reason.as_str() != "stop" {
            return None;
        }
        // What was made is what the constraint takes, token by token.
        let mut tokens: Vec<u32> = candidate.tokens.iter().map(|token| token.token).collect();
        tokens.retain(|token| !engine.end_tokens().contains(token));
        assert!(constraints.accepts(constraint, &tokens).unwrap());
        Some(candidate.text)
    };
    let label = Constraint::choice(["positive", "negative"]).unwrap();
    let prompt = "Is this positive or negative? I loved every minute of it, it is wonderful.";
    assert_eq!(ask(prompt, &label, 0).unwrap(), "positive");
    let hangul = Constraint::regex("[가-힣]{2,4}(, [가-힣]{2,4}){2}").unwrap();
    let words = ask("과일 이름 세 개를 한국어로 쓰세요.", &hangul, 1).unwrap();
    assert_eq!(words.split(", ").filter(|word| (2..=4).contains(&word.chars().count())).count(), 3, "{words}");
    let mut random = Random::new(31, 0);
    let mut finished = 0;
    for seed in 0..4 {
        let schema = made_up(&mut random);
        // A few are long enough to be cut.
        let Some(text) = ask("Write an example as JSON.", &Constraint::json_schema(&schema).unwrap(), seed) else {
            continue;
        };
        finished += 1;
        let valid = validator(&schema, Draft::Draft202012).unwrap();
        assert!(valid.is_valid(&serde_json::from_str(&text).unwrap()), "{text}\n{schema}");
    }
    assert!(finished >= 1, "{finished}");
}
