//! Templates against renderings by `transformers`, and templates that mean harm.

use std::time::{Duration, Instant};

use saem_engine::chat::{ChatTemplate, Message, RenderOptions, TemplateError};
use serde_json::{Value, json};

/// Renders every case of a table made by `fixtures/chat/make.py`; returns how many agree and what disagrees.
fn compare(table: &Value) -> (usize, Vec<String>) {
    let now: jiff::civil::DateTime = table["now"].as_str().unwrap().parse().unwrap();
    let now = now.to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let (mut agreeing, mut wrong) = (0, Vec::new());
    for case in table["cases"].as_array().unwrap() {
        let name = format!("{} / {}", case["template"], case["case"]);
        let source = table["templates"][case["template"].as_str().unwrap()].as_str().unwrap();
        let mut conversation = table["conversations"][case["case"].as_str().unwrap()].as_object().unwrap().clone();
        let messages: Vec<Message> = serde_json::from_value(conversation.remove("messages").unwrap()).unwrap();
        let options = RenderOptions {
            add_generation_prompt: conversation.remove("add_generation_prompt").is_none_or(|flag| flag == true),
            tools: conversation.remove("tools"),
            documents: conversation.remove("documents"),
            variables: conversation.into_iter().collect(),
            now: Some(now.clone()),
        };
        let template =
            ChatTemplate::new(source).map(|template| template.with_tokens(Some("<BOS>".into()), Some("<EOS>".into())));
        let rendered = template.and_then(|template| template.render(&messages, &options));
        match (case.get("expected"), case.get("refused"), rendered) {
            (Some(expected), _, Ok(text)) if *expected == text => agreeing += 1,
            (_, Some(refused), Err(TemplateError::Refused { message })) if *refused == message => agreeing += 1,
            // Where Python fails, an error or a rendering with a gap are equally good.
            (None, None, _) => {}
            // Jinja escapes text for HTML when it is joined to text marked as safe, which no chat wants.
            (Some(expected), _, Ok(_)) if expected.as_str().is_some_and(|text| text.contains("&#34;")) => {}
            (_, _, rendered) => wrong.push(format!("{name}\n expected {case}\n      got {rendered:?}")),
        }
    }
    (agreeing, wrong)
}

#[test]
fn renderings_equal_those_of_transformers() {
    let table: Value = serde_json::from_str(include_str!("../fixtures/chat/cases.json")).unwrap();
    let (agreeing, wrong) = compare(&table);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(agreeing > 120, "{agreeing}");
}

#[test]
fn own_templates_are_the_ones_in_the_table() {
    let table: Value = serde_json::from_str(include_str!("../fixtures/chat/cases.json")).unwrap();
    for (name, builtin) in [
        ("own-chatml", saem_engine::chat::Builtin::ChatMl),
        ("own-gemma", saem_engine::chat::Builtin::Gemma),
        ("own-exaone-4", saem_engine::chat::Builtin::Exaone4),
    ] {
        assert_eq!(table["templates"][name].as_str(), Some(builtin.source()), "run fixtures/chat/make.py again");
    }
}

/// For a larger collection than the repository may hold.
#[test]
fn more_templates_from_the_environment() {
    let Ok(path) = std::env::var("SAEM_TEST_TEMPLATES") else {
        println!("skipped: more templates (set SAEM_TEST_TEMPLATES to a table made by fixtures/chat/make.py)");
        return;
    };
    let table: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (agreeing, wrong) = compare(&table);
    println!("{agreeing} renderings agree");
    assert!(wrong.is_empty(), "{} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

fn render(source: &str) -> Result<String, TemplateError> {
    ChatTemplate::new(source)?.render(&[Message::new("user", "hi")], &RenderOptions::default())
}

/// Each of these would take all memory, all time or all of the stack.
#[test]
fn hostile_templates_end_in_an_error_soon() {
    let doubling_statements = "{% set a = 'aaaaaaaaaaaaaaaa' %}".to_owned() + &"{% set a = a ~ a %}".repeat(60);
    let doubling_sum = "{% set a = 'aaaaaaaaaaaaaaaa' %}".to_owned() + &"{% set a = a + a %}".repeat(60);
    let captures = "{% set a = 'aaaaaaaaaaaaaaaa' %}".to_owned() + &"{% set a %}{{ a }}{{ a }}{% endset %}".repeat(60);
    let shared = "{% set a = [1] %}".to_owned() + &"{% set a = [a, a] %}".repeat(60) + "{{ a }}";
    let wide = "{% set a = [1] %}".to_owned() + &"{% set a = a + a %}".repeat(60) + "{{ a|length }}";
    let replaced = "{% set a = 'aaaa' %}".to_owned() + &"{% set a = a|replace('a', a) %}".repeat(20);
    let replaced_by_method = "{% set a = 'aaaa' %}".to_owned() + &"{% set a = a.replace('a', a) %}".repeat(20);
    let joined = "{% set a = 'aaaa' %}".to_owned() + &"{% set a = [a, a, a, a, a, a, a, a]|join(a) %}".repeat(20);
    let big = "{% set a = ['x' * 1000000] %}{% set ns = namespace(l=[]) %}{% for i in range(9999) %}";
    let bombs: Vec<(&str, String)> = vec![
        ("macro recursion", "{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}".into()),
        ("loop recursion", "{% for x in [[[]]] recursive %}{{ loop([x, x]) }}{% endfor %}".into()),
        (
            "endless counting",
            "{% for i in range(10000) %}{% for j in range(10000) %}{{ i }}{% endfor %}{% endfor %}".into(),
        ),
        ("huge range", "{% for i in range(10**9) %}x{% endfor %}".into()),
        ("text times a number", "{{ 'a' * 10**9 }}".into()),
        ("number times text", "{{ 10**12 * 'a' }}".into()),
        (
            "constant product",
            "{% if false %}{{ 'a' * 100000000 ~ 'a' * 100000000 }}{% endif %}{{ 'a' * 99999999 * 99 }}".into(),
        ),
        ("doubling by ~", doubling_statements),
        ("doubling by +", doubling_sum),
        ("doubling by captures", captures),
        ("doubling a list inside itself", shared),
        ("doubling a list's length", wide),
        ("replacing by itself", replaced),
        ("replacing by itself, as a method", replaced_by_method),
        ("joining by itself", joined),
        ("keeping slices", format!("{big}{{% set ns.l = ns.l + [a[0][1:]] %}}{{% endfor %}}")),
        (
            "keeping captures",
            format!("{big}{{% set b %}}{{{{ a[0] }}}}{{% endset %}}{{% set ns.l = ns.l + [b] %}}{{% endfor %}}"),
        ),
        (
            "raw text in a loop",
            format!("{{% for i in range(9999) %}}{{% set b %}}{}{{% endset %}}{{% endfor %}}", "x".repeat(200_000)),
        ),
        ("indenting far", "{{ 'a\nb'|indent(10**10) }}".into()),
        ("indenting as JSON", "{{ range(9999)|list|tojson(indent=60) * 900 }}".into()),
        (
            "nesting deeply",
            "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}".into(),
        ),
        (
            "nesting by dict",
            "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = {'a': ns.a} %}{% endfor %}".into(),
        ),
        ("a namespace in itself", "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}".into()),
        ("a namespace in a list in itself", "{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns }}".into()),
        (
            "a namespace by keyword",
            "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a }}".into(),
        ),
        ("comparing all day", format!("{big}{{% if a == ['x' * 1000000] %}}{{% endif %}}{{% endfor %}}")),
        ("formatting widely", "{{ '{:>1000000000}'.format('x') }}".into()),
        ("formatting a date widely", "{{ strftime_now('%9999999999d') }}".into()),
        ("parentheses", format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000))),
        ("a long sum", format!("{{{{ 1{} }}}}", "+1".repeat(100_000))),
        ("a long chain of filters", format!("{{{{ 1{} }}}}", "|abs".repeat(50_000))),
        ("many branches", format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(15_000))),
        ("deep blocks", "{% if true %}".repeat(20_000)),
        ("another file", "{% include '/etc/passwd' %}".into()),
        ("inheritance", "{% extends 'x' %}{% block a %}{% endblock %}".into()),
        ("unknown filter", "{{ 1|pprint }}".into()),
    ];
    for (name, source) in bombs {
        let start = Instant::now();
        let result = render(&source);
        assert!(result.is_err(), "{name}: {:?}", result.map(|text| text.len()));
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
        println!("{name}: {} ({:?})", result.unwrap_err(), start.elapsed());
    }
}

#[test]
fn errors_say_where_and_why() {
    let text = |source: &str| render(source).unwrap_err().to_string();
    assert_eq!(
        text("a\n{{ raise_exception('roles must alternate') }}"),
        "the chat template refuses these messages: roles must alternate"
    );
    assert!(text("{% if %}").starts_with("chat template, line 1: "));
    assert!(
        text("\n\n{{ messages[0].content.nothing() }}").starts_with("chat template, line 3: "),
        "{}",
        text("\n\n{{ messages[0].content.nothing() }}")
    );
    assert_eq!(
        text("{% for i in range(9999) %}{% for j in range(999) %}{% endfor %}{% endfor %}"),
        "the chat template exceeds its limit of 303000 steps"
    );
}

#[test]
fn python_ways_of_real_templates() {
    let render = |source: &str| render(source).unwrap();
    assert_eq!(
        render("{{ true }} {{ none }} {{ 1.0 }} {{ [1, 'a'] }} {{ {'a': none} }}"),
        "True None 1.0 [1, 'a'] {'a': None}"
    );
    assert_eq!(
        render("{{ {'b': 1, 'a': [true, none, 1.5, '한\"<']}|tojson }}"),
        r#"{"b": 1, "a": [true, null, 1.5, "한\"<"]}"#
    );
    assert_eq!(render("{{ {'b': 1, 'a': {}}|tojson(indent=2) }}"), "{\n  \"b\": 1,\n  \"a\": {}\n}");
    assert_eq!(
        render("{{ '한'|tojson(ensure_ascii=true) }}{{ [1,2]|tojson(separators=(',', ':')) }}"),
        "\"\\ud55c\"[1,2]"
    );
    assert_eq!(render("{{ messages[::-1][0].role }} {{ 'abc'[::-1] }} {{ 'abcd'[1:-1] }}"), "user cba bc");
    assert_eq!(render("{{ 'a</think>b'.split('</think>')[-1] }}{{ '  x '.strip() }}{{ 'xya'.rstrip('ya') }}"), "bxx");
    assert_eq!(render("{{ 2 * 3 + 4 * -1 }} {{ 7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ '=' * 3 }}"), "2 3 2 8 ===");
    assert_eq!(
        render("{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}"),
        "4"
    );
    assert_eq!(
        render(
            "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i > 3 %}{% break %}{% endif %}\
             {{ i }}{% endfor %}"
        ),
        "013"
    );
    assert_eq!(render("{% macro m(a, b='x') %}<{{ a }}{{ b }}>{% endmacro %}{{ m(1) }}{{ m(2, b='y') }}"), "<1x><2y>");
    assert_eq!(render("{% generation %}x{% endgeneration %}"), "x");
    assert_eq!(render("{% if 1 < 2 < 3 and 'a' in 'cat' and 'x' not in ['y'] %}ok{% endif %}"), "ok");
    assert_eq!(
        render(
            "{{ messages|map(attribute='role')|join(', ') }}\
             {{ messages|selectattr('role', 'equalto', 'user')|list|length }}"
        ),
        "user1"
    );
    assert_eq!(render("  {% if true %}\n  x\n  {% endif %}\ny\n"), "  x\ny");
    assert_eq!(
        render("{{ {'a': 1, 'b': 2}.items()|list }}{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}"),
        "[('a', 1), ('b', 2)]a1"
    );
    assert_eq!(render("{{ '{}-{0}-{x}{{}}'.format('a', x=1) }}"), "a-a-1{}");
    assert_eq!(render("{{ none is iterable }}{{ '' is sequence }}{{ true is number }}"), "FalseTrueTrue");
    assert_eq!(render("{{ undefined_thing }}{{ tools is none }}{{ x is defined }}"), "TrueFalse");
}

#[test]
fn the_clock_can_be_set() {
    let template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}").unwrap();
    let now = jiff::civil::date(2024, 7, 26).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let options = RenderOptions { now: Some(now), ..RenderOptions::default() };
    assert_eq!(template.render(&[], &options).unwrap(), "26 Jul 2024");
}

#[test]
fn messages_keep_unknown_fields() {
    let message: Message =
        serde_json::from_value(json!({"role": "tool", "content": null, "tool_call_id": "x"})).unwrap();
    assert_eq!(message.extra["tool_call_id"], "x");
    let template = ChatTemplate::new("{{ messages[0].tool_call_id }}{{ messages[0].content is none }}").unwrap();
    assert_eq!(template.render(&[message], &RenderOptions::default()).unwrap(), "xTrue");
}
