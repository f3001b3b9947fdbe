//! Tool calls over a model that knows nothing: what it is made to write comes back as calls that fit their schemas.

use saem_engine::FinishReason;
use saem_engine::constraint::ConstraintError;
use saem_engine::tools::{
    MAX_CALLS, Tool, ToolCallParser, ToolChoice, ToolError, ToolEvent, ToolSyntax, constraint, parse_tools,
};
use serde_json::{Value, json};

use crate::schemas::{random_model, random_request, text};
use crate::toy::END;

fn tools() -> Vec<Tool> {
    let city = json!({"type": "object", "$defs": {"city": {"enum": ["서울", "부산 \"항\"", "Jeju"]}},
        "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city"], "additionalProperties": false});
    let tools = json!([
        {"type": "function", "function": {"name": "get_weather", "description": "날씨", "parameters": city}},
        {"type": "function", "function": {"name": "now"}},
    ]);
    parse_tools(&tools).unwrap()
}

/// Text and complete calls of an answer that comes a few bytes at a time.
fn read(syntax: ToolSyntax, answer: &str) -> (String, Vec<(String, Value)>) {
    let mut parser = ToolCallParser::new(syntax);
    let (mut text, mut calls, mut ended) = (String::new(), Vec::new(), 0);
    let mut tell = |event| match event {
        ToolEvent::Text(piece) => text.push_str(&piece),
        ToolEvent::Begin { name, .. } => calls.push((name, String::new())),
        ToolEvent::Arguments { index, text } => calls[index].1.push_str(&text),
        ToolEvent::End { .. } => ended += 1,
        _ => {}
    };
    let characters: Vec<char> = answer.chars().collect();
    for piece in characters.chunks(3) {
        parser.push(&piece.iter().collect::<String>(), &mut tell);
    }
    parser.finish(&mut tell);
    assert_eq!(ended, calls.len(), "{answer}");
    (text, calls.into_iter().map(|(name, arguments)| (name, serde_json::from_str(&arguments).unwrap())).collect())
}

fn assert_fits(tools: &[Tool], (name, arguments): &(String, Value)) {
    let tool = tools.iter().find(|tool| tool.name == *name).unwrap();
    assert!(jsonschema::is_valid(&tool.parameters, arguments), "{name}({arguments})");
}

#[test]
fn required_calls_are_calls_in_every_syntax() {
    let tools = tools();
    let mut worker = random_model();
    for syntax in [ToolSyntax::Hermes, ToolSyntax::HyperClovaX, ToolSyntax::Json] {
        let mut most = 0;
        for seed in 0..20 {
            let parallel = seed % 2 == 0;
            let must = constraint(syntax, &tools, &ToolChoice::Required, parallel).unwrap().unwrap();
            let mut request = random_request(&must, seed);
            // As ready to go on as to end.
            request.logit_bias.retain(|(token, _)| *token != END && *token != u32::from(b']'));
            let (answer, reason) = text(&mut worker, request);
            assert_ne!(reason, FinishReason::Length, "{answer}");
            let (said, calls) = read(syntax, &answer);
            assert_eq!(said, "", "{answer}");
            assert!((1..=if parallel { MAX_CALLS } else { 1 }).contains(&calls.len()), "{answer}");
            calls.iter().for_each(|call| assert_fits(&tools, call));
            most = most.max(calls.len());
        }
        assert!(most > 1 || syntax == ToolSyntax::Json, "never two calls in {syntax:?}");
    }
}

#[test]
fn a_named_function_is_the_only_one() {
    let tools = tools();
    let mut worker = random_model();
    for syntax in [ToolSyntax::Hermes, ToolSyntax::HyperClovaX, ToolSyntax::Json] {
        let must = constraint(syntax, &tools, &ToolChoice::Named("now".into()), true).unwrap().unwrap();
        let (answer, _) = text(&mut worker, random_request(&must, 7));
        assert_eq!(read(syntax, &answer), (String::new(), vec![("now".to_owned(), json!({}))]));
    }
}

/// The free text may be anything; a call in it is a whole one of a function that exists.
#[test]
fn free_answers_hold_no_broken_calls() {
    let tools = tools();
    let constraints = random_model().constraints().clone();
    let takes = |syntax, answer: &str| {
        let free = constraint(syntax, &tools, &ToolChoice::Auto, true).unwrap().unwrap();
        let tokens: Vec<u32> = answer.bytes().map(u32::from).collect();
        constraints.accepts(&free, &tokens).unwrap()
    };
    let call = "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"서울\"}}";
    let hermes = format!("<tool_call>\n{call}\n</tool_call>");
    for answer in ["", "안녕하세요 <b>", "{\"a\"", &hermes, &format!("네.\n{hermes}\n{hermes}")] {
        assert!(takes(ToolSyntax::Hermes, answer), "{answer:?}");
    }
    for answer in
        ["<tool_call>\n{\"name\": \"rm\"", "네 <tool_call>", &hermes.replace("서울", "도쿄"), &format!("{hermes}!")]
    {
        assert!(!takes(ToolSyntax::Hermes, answer), "{answer:?}");
    }
    let clova = format!(" -> tool/function_call\n[{call}, {call}]");
    assert!(takes(ToolSyntax::HyperClovaX, &clova) && takes(ToolSyntax::HyperClovaX, "\n네."));
    assert!(!takes(ToolSyntax::HyperClovaX, &clova.replace("days", "city").replace("서울", "x")));
    assert!(takes(ToolSyntax::Json, call) && takes(ToolSyntax::Json, "네, {") && takes(ToolSyntax::Json, ""));
    assert!(!takes(ToolSyntax::Json, "{\"name\": 1"));
}

#[test]
fn nothing_is_asked_for_where_nothing_may_be_called() {
    let tools = tools();
    assert_eq!(constraint(ToolSyntax::Hermes, &tools, &ToolChoice::None, true), Ok(None));
    assert_eq!(constraint(ToolSyntax::Hermes, &[], &ToolChoice::Auto, true), Ok(None));
    assert!(constraint(ToolSyntax::Hermes, &tools, &ToolChoice::Named("no".into()), true).is_err());
}

#[test]
fn parameters_that_cannot_be_kept_name_their_function() {
    let tools =
        parse_tools(&json!([{"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}])).unwrap();
    let error = constraint(ToolSyntax::Hermes, &tools, &ToolChoice::Required, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the parameters of the function `f`: the schema's keyword `not` at / is not supported"
    );
    assert!(matches!(error, ToolError::Parameters { error: ConstraintError::Keyword { .. }, .. }));
}
