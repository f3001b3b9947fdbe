//! What is looked at in a JSON schema before anything is built from it: its size, its depth, and whether it asks for
//! something that an automaton cannot keep.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{ConstraintError, within};

/// Bytes that a schema may have as JSON.
pub const MAX_SCHEMA_BYTES: usize = 128 << 10;
/// Levels of nesting that a schema may have as JSON; an object within an object takes two.
pub const MAX_SCHEMA_DEPTH: usize = 64;

/// What may stand between two parts of a value: one blank, or one line break and its indentation.
const WHITESPACE: &str = r" |\r?\n[ \t]{0,32}";
/// How the compiler is told of it: llguidance reads its options from this keyword of a schema.
const OPTIONS: &str = "x-guidance";

/// Keywords that restrict a value and that the compiler does not keep. What is not known at all restricts nothing.
const UNSUPPORTED: [&str; 18] = [
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "extends",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    OPTIONS,
];

/// Formats of strings that are kept.
const FORMATS: [&str; 10] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

/// Formats that llguidance takes more loosely than validators do, as expressions that every validator accepts: the
/// 29th of February comes in leap years only, no minute has a leap second, and parts of addresses have their lengths.
static STRICT_FORMATS: LazyLock<[(&str, String); 4]> = LazyLock::new(|| {
    let date = "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
                |02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)";
    let time = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
    let word = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
    let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
    [
        ("date", format!("^{date}$")),
        ("time", format!("^{time}$")),
        ("date-time", format!("^{date}T{time}$")),
        ("email", format!("^{word}(?:\\.{word}){{0,2}}@(?:{label}\\.){{1,4}}[A-Za-z]{{2,10}}$")),
    ]
});

/// Digits that a divisor may have, zeros at its ends aside. An automaton has a state for each remainder.
const MAX_DIVISOR_DIGITS: usize = 4;

/// A schema within all limits, with what the compiler has to be told.
pub(crate) fn checked(schema: &Value) -> Result<Value, ConstraintError> {
    within("depth of the schema", depth(schema, 0), MAX_SCHEMA_DEPTH)?;
    within("schema", schema.to_string().len(), MAX_SCHEMA_BYTES)?;
    let mut schema = schema.clone();
    visit(&mut schema, &mut String::new(), true)?;
    Ok(with_options(schema))
}

/// The schema with the compiler's options.
pub(super) fn with_options(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(true) => Map::new(),
        // Refused by the compiler with the reason.
        other => return other,
    };
    schema.insert(OPTIONS.to_owned(), json!({ "whitespace_pattern": WHITESPACE }));
    Value::Object(schema)
}

/// Levels of nesting, counted no further than one above the limit.
fn depth(value: &Value, above: usize) -> usize {
    let below = |inner: &Value| depth(inner, above + 1);
    if above > MAX_SCHEMA_DEPTH {
        return above;
    }
    match value {
        Value::Array(items) => items.iter().map(below).max().unwrap_or(above + 1),
        Value::Object(fields) => fields.values().map(below).max().unwrap_or(above + 1),
        _ => above,
    }
}

/// Looks at a schema and all that lie in it, and leaves out what says nothing.
fn visit(schema: &mut Value, pointer: &mut String, is_root: bool) -> Result<(), ConstraintError> {
    let Value::Object(fields) = schema else { return Ok(()) };
    // Allowing repetitions is the same as saying nothing.
    if fields.get("uniqueItems") == Some(&Value::Bool(false)) {
        fields.remove("uniqueItems");
    }
    let refuse = |keyword: &str| {
        let pointer = if pointer.is_empty() { "/".to_owned() } else { pointer.clone() };
        Err(ConstraintError::Keyword { keyword: keyword.to_owned(), pointer })
    };
    if let Some(keyword) = fields.keys().find(|keyword| UNSUPPORTED.contains(&keyword.as_str())) {
        return refuse(keyword);
    }
    if is_root && fields.get("$schema").is_some_and(|draft| !draft.as_str().is_some_and(is_known_draft)) {
        return refuse("$schema");
    }
    if fields.get("multipleOf").is_some_and(|divisor| divisor_digits(divisor) > MAX_DIVISOR_DIGITS) {
        return refuse("multipleOf");
    }
    if let Some(Value::String(format)) = fields.get("format") {
        let allows_strings = match fields.get("type") {
            None => true,
            Some(Value::Array(types)) => types.iter().any(|one| one == "string"),
            Some(one) => one == "string",
        };
        if !allows_strings {
            fields.remove("format");
        } else if !FORMATS.contains(&format.as_str()) {
            return refuse(&format!("format: {format}"));
        } else if let Some((_, pattern)) = STRICT_FORMATS.iter().find(|(name, _)| name == format) {
            fields.remove("format");
            // A pattern of its own stays beside it.
            let all = fields.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
            // What is no list is refused by the compiler.
            if let Value::Array(all) = all {
                all.push(json!({ "pattern": pattern }));
            }
        }
    }
    // References are looked up from the root by pointers; another base or a named place would lead elsewhere.
    if fields.get("$ref").is_some_and(|to| !to.as_str().is_some_and(is_plain_pointer)) {
        return refuse("$ref");
    }
    if !is_root
        && let Some(keyword) = ["$id", "id"].into_iter().find(|id| fields.get(*id).is_some_and(Value::is_string))
    {
        return refuse(keyword);
    }
    for (keyword, value) in fields.iter_mut() {
        let length = pointer.len();
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(schemas)) => {
                for (name, schema) in schemas {
                    step(pointer, keyword);
                    step(pointer, name);
                    visit(schema, pointer, false)?;
                    pointer.truncate(length);
                }
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                for (index, schema) in schemas.iter_mut().enumerate() {
                    step(pointer, keyword);
                    step(pointer, &index.to_string());
                    visit(schema, pointer, false)?;
                    pointer.truncate(length);
                }
            }
            ("items" | "additionalItems" | "additionalProperties", schema @ Value::Object(_)) => {
                step(pointer, keyword);
                visit(schema, pointer, false)?;
                pointer.truncate(length);
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_known_draft(draft: &str) -> bool {
    let draft = draft.trim_end_matches('#');
    let known =
        ["draft/2020-12/schema", "draft/2019-09/schema", "draft-07/schema", "draft-06/schema", "draft-04/schema"];
    let name = draft.strip_prefix("https://json-schema.org/").or_else(|| draft.strip_prefix("http://json-schema.org/"));
    name.is_some_and(|name| known.contains(&name))
}

/// Digits of a divisor without the zeros at its ends; none for what is no number, which the compiler refuses.
fn divisor_digits(divisor: &Value) -> usize {
    let written = divisor.as_f64().map(|divisor| format!("{divisor}").replace(['.', '-'], ""));
    written.map_or(0, |digits| digits.trim_matches('0').len())
}

/// Whether a reference is a pointer from the root in which nothing is escaped.
fn is_plain_pointer(reference: &str) -> bool {
    reference == "#" || reference.starts_with("#/") && !reference.contains(['~', '%'])
}

/// One more part of a JSON pointer.
fn step(pointer: &mut String, part: &str) {
    pointer.push('/');
    pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_named_with_its_place() {
        let refused = |schema: Value| match checked(&schema).unwrap_err() {
            ConstraintError::Keyword { keyword, pointer } => format!("{keyword} at {pointer}"),
            other => panic!("{other}"),
        };
        assert_eq!(refused(json!({"not": {}})), "not at /");
        assert_eq!(refused(json!({"properties": {"a/b": {"if": {}}}})), "if at /properties/a~1b");
        assert_eq!(refused(json!({"anyOf": [{}, {"items": {"contains": {}}}]})), "contains at /anyOf/1/items");
        assert_eq!(refused(json!({"$defs": {"x": {"$ref": "other.json"}}})), "$ref at /$defs/x");
        assert_eq!(refused(json!({"$ref": "#/$defs/a~1b"})), "$ref at /");
        assert_eq!(refused(json!({"items": {"$id": "http://a/b"}})), "$id at /items");
        assert_eq!(refused(json!({"items": {"format": "iri"}})), "format: iri at /items");
        assert_eq!(refused(json!({"multipleOf": 12.345})), "multipleOf at /");
        assert_eq!(refused(json!({"$schema": "http://json-schema.org/draft-03/schema#"})), "$schema at /");
        assert_eq!(refused(json!({"x-guidance": {"lenient": true}})), "x-guidance at /");
    }

    #[test]
    fn names_and_values_are_no_keywords() {
        for schema in [
            json!({"properties": {"not": {"type": "string"}, "$id": {}, "if": true}, "required": ["if"]}),
            json!({"enum": [{"not": 1}], "const": {"if": 2}}),
            json!({"uniqueItems": false, "$id": "http://a/b", "x-other": 1}),
            json!(true),
        ] {
            assert!(checked(&schema).is_ok(), "{schema}");
        }
    }

    #[test]
    fn formats_become_patterns_beside_what_is_there() {
        let schema = checked(&json!({"type": "string", "format": "date", "pattern": "^2"})).unwrap();
        assert_eq!((&schema["pattern"], schema.get("format")), (&json!("^2"), None));
        assert!(schema["allOf"][0]["pattern"].as_str().unwrap().ends_with("-02-29)$"));
        assert_eq!(checked(&json!({"type": "integer", "format": "int32"})).unwrap().get("format"), None);
    }

    #[test]
    fn depth_and_size_have_limits() {
        let mut deep = json!({});
        for _ in 0..200_000 {
            deep = Value::Array(vec![deep]);
        }
        assert!(matches!(checked(&deep), Err(ConstraintError::TooLarge { what: "depth of the schema", .. })));
        // Dropping it level by level keeps the test's own stack small.
        while let Value::Array(mut items) = deep {
            deep = items.pop().unwrap();
        }
        let long = json!({"description": "x".repeat(MAX_SCHEMA_BYTES)});
        assert!(matches!(checked(&long), Err(ConstraintError::TooLarge { what: "schema", .. })));
    }
}
