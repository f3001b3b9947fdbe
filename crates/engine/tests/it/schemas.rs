//! Made-up schemas, and texts for them by a model that knows nothing.

use std::sync::Arc;

use saem_engine::constraint::Constraint;
use saem_engine::random::Random;
use saem_engine::{Control, Event, FinishReason, Limits, Request, Sampling, Worker};
use serde_json::{Map, Value, json};

use crate::toy::{Bytes, END, Toy};

/// A worker whose model draws bytes at random.
pub(crate) fn random_model() -> Worker {
    let limits = Limits {
        context: 4_096,
        model_context: 4_096,
        batch_rows: 64,
        prompt_rows: 64,
        draft_rows: 8,
        max_sequences: 4,
        max_waiting: usize::MAX,
    };
    let toy = Toy::new(4 * 128, limits.batch_rows, limits.logit_rows());
    Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap()
}

/// A request to it. The bias keeps texts short: what ends a string or a list comes more often than its share.
pub(crate) fn random_request(constraint: &Constraint, seed: u64) -> Request {
    let bias = |bytes: &[u8], bias: f32| bytes.iter().map(move |byte| (u32::from(*byte), bias)).collect::<Vec<_>>();
    let logit_bias = [bias(b"\"]}", 9.0), bias(b" \n\r\t\\", -6.0), bias(b"eE", -3.0), vec![(END, 9.0)]].concat();
    Request {
        max_tokens: Some(900),
        constraint: Some(constraint.clone()),
        logit_bias,
        ..Request::new(vec![1, 2, 3], Sampling { seed: Some(seed), ..Sampling::default() })
    }
}

/// The text of one request and why it ended.
pub(crate) fn text(worker: &mut Worker, request: Request) -> (String, FinishReason) {
    worker.submit(request).unwrap();
    let (mut whole, mut ended, mut failed) = (String::new(), None, None);
    while worker.step(&mut |_, event| {
        match event {
            Event::Text { text, .. } => whole.push_str(text),
            Event::Finished { reason, .. } => ended = Some(reason),
            Event::Failed { error } => failed = Some(error),
            _ => {}
        }
        Control::Continue
    }) {}
    assert!(failed.is_none(), "{failed:?}");
    (whole, ended.unwrap())
}

/// A schema that some value fulfils, with everything that is supported in it sooner or later.
pub(crate) fn made_up(random: &mut Random) -> Value {
    let mut definitions = Map::new();
    for name in ["주소", "item"] {
        definitions.insert(name.to_owned(), schema(random, 2));
    }
    let mut root = object(random, 0);
    root["$defs"] = Value::Object(definitions);
    root
}

fn below(random: &mut Random, most: usize) -> usize {
    (random.uniform() * most as f64) as usize
}

fn schema(random: &mut Random, depth: usize) -> Value {
    match below(random, if depth > 3 { 7 } else { 13 }) {
        0 => json!({"type": "boolean"}),
        1 => json!({"type": ["null", "integer"], "minimum": -5, "exclusiveMaximum": 40}),
        2 => {
            let low = below(random, 2_000) as i64 - 1_000;
            json!({"type": "integer", "minimum": low, "maximum": low + below(random, 500) as i64})
        }
        3 => json!({"type": "number", "minimum": -1.5, "maximum": 2.25, "multipleOf": 0.25}),
        4 => {
            let least = below(random, 4);
            json!({"type": "string", "minLength": least, "maxLength": least + below(random, 20)})
        }
        5 => {
            let options: Vec<Value> = ["빨강", "파란 \"색\"", "a\\b", "\n"].map(Value::from).into();
            json!({"enum": [options[below(random, 4)], 3, null, {"k": [1, "샘"]}]})
        }
        6 => match below(random, 4) {
            0 => json!({"type": "string", "pattern": "^[가-힣]{2,5}$"}),
            1 => json!({"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$", "maxLength": 8}),
            2 => json!({"type": "string", "format": "date"}),
            _ => json!({"const": [true, {"고정": -2.5}]}),
        },
        7 => {
            json!({"type": "array", "items": schema(random, depth + 1), "minItems": below(random, 2), "maxItems": 1 + below(random, 4)})
        }
        8 => {
            json!({"type": "array", "prefixItems": [schema(random, depth + 1), schema(random, depth + 1)], "items": false, "minItems": 2})
        }
        9 => json!({"anyOf": [schema(random, depth + 1), schema(random, depth + 1)]}),
        // Definitions begin at depth 2 and hold no references, so that nothing refers to itself for ever.
        10 if depth < 2 => json!({"$ref": "#/$defs/item"}),
        10 => json!({"type": "array", "items": {"type": "integer"}, "maxItems": 3}),
        11 => json!({"allOf": [object(random, depth + 1), {"type": "object"}]}),
        _ => object(random, depth + 1),
    }
}

fn object(random: &mut Random, depth: usize) -> Value {
    let names = ["이름", "age", "a \"b\"", "tags", "x/y", "값"];
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in names.iter().take(1 + below(random, names.len())) {
        properties.insert((*name).to_owned(), schema(random, depth + 1));
        if below(random, 3) > 0 {
            required.push(*name);
        }
    }
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    if below(random, 4) > 0 {
        object["additionalProperties"] = json!(false);
    } else {
        object["additionalProperties"] = json!({"type": "integer"});
    }
    object
}
