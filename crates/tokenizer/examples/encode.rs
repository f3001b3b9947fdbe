//! Encodes or decodes documents with any tokenizer, or measures the speed of that.
//!
//! ```text
//! encode TOKENIZER encode DOCUMENTS   a JSON string per line in, token ids per line out
//! encode TOKENIZER decode IDS         token ids per line in, a JSON string per line out
//! encode TOKENIZER speed DOCUMENTS    megabytes per second of encoding, best and median of several rounds
//! encode TOKENIZER load               milliseconds to load, best of several rounds
//! ```
//!
//! TOKENIZER is a `tokenizer.json`, or the `tokenizer.ggml.*` keys of a GGUF file as JSON, which the scripts write.
//! Options at the end: `special` adds the tokens around a text, `parse` reads the spelling of special tokens.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use saem_tokenizer::{ModelKind, Parts, Tokenizer};
use serde_json::Value;

fn parts(value: &Value) -> Option<Parts<'static>> {
    let list = |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten();
    let id = |key: &str| value.get(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    Some(Parts {
        model: ModelKind::from_gguf_name(value.get("model")?.as_str()?)?,
        pre: value.get("pre").and_then(Value::as_str).unwrap_or_default().to_owned(),
        tokens: list("tokens").filter_map(Value::as_str).map(|token| token.as_bytes().to_vec().into()).collect(),
        scores: list("scores").filter_map(Value::as_f64).map(|score| score as f32).collect(),
        token_types: list("token_type").filter_map(Value::as_i64).map(|kind| kind as i32).collect(),
        merges: list("merges").filter_map(Value::as_str).map(|merge| merge.to_owned().into()).collect(),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        eot: id("eot_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        remove_extra_whitespaces: flag("remove_extra_whitespaces"),
        precompiled_charsmap: list("precompiled_charsmap").filter_map(Value::as_i64).map(|byte| byte as u8).collect(),
        split_unknown: false,
    })
}

enum Source {
    Json(Vec<u8>),
    Parts(Box<Parts<'static>>),
}

impl Source {
    fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let bytes = std::fs::read(path)?;
        if bytes.starts_with(b"{\"gguf\"") {
            let parts = parts(&serde_json::from_slice(&bytes)?).ok_or("unknown kind of model")?;
            return Ok(Self::Parts(Box::new(parts)));
        }
        Ok(Self::Json(bytes))
    }

    fn load(self) -> Result<Tokenizer, Box<dyn Error>> {
        Ok(match self {
            Self::Json(bytes) => Tokenizer::from_json(&bytes, None)?,
            Self::Parts(parts) => Tokenizer::from_parts(*parts)?,
        })
    }
}

/// Seconds this process has run on a processor, so that a busy machine does not slow the figures; the time of day where
/// the system does not tell.
fn seconds() -> f64 {
    let ran = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = ran.as_deref().and_then(|text| text.split(' ').next()).and_then(|text| text.parse::<f64>().ok());
    nanoseconds.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()),
        |nanoseconds| nanoseconds / 1e9,
    )
}

fn median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values.first().copied().unwrap_or(f64::NAN), values.get(values.len() / 2).copied().unwrap_or(f64::NAN))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, mode, rest @ ..] = arguments.as_slice() else { return Err("usage: see the source".into()) };
    let source = Source::read(tokenizer)?;
    let option = |name: &str| rest.iter().any(|argument| argument == name);
    let (add, parse) = (option("special"), option("parse"));
    let input = || std::fs::read_to_string(rest.first().ok_or("no input file")?).map_err(Box::<dyn Error>::from);
    let mut out = BufWriter::new(std::io::stdout().lock());
    match mode.as_str() {
        "encode" => {
            let tokenizer = source.load()?;
            for line in input()?.lines() {
                let ids = tokenizer.encode(&serde_json::from_str::<String>(line)?, add, parse);
                let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
                writeln!(out, "{}", ids.join(" "))?;
            }
        }
        "decode" => {
            let tokenizer = source.load()?;
            for line in input()?.lines() {
                let ids: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
                writeln!(out, "{}", serde_json::to_string(&tokenizer.decode(&ids, false))?)?;
            }
        }
        "speed" => {
            let tokenizer = source.load()?;
            let documents: Vec<String> = input()?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let bytes: usize = documents.iter().map(String::len).sum();
            let mut ids = Vec::new();
            let mut tokens = 0;
            let mut round = || {
                let start = seconds();
                tokens = 0;
                for document in &documents {
                    ids.clear();
                    tokenizer.encode_into(black_box(document), add, parse, &mut ids);
                    tokens += black_box(&ids).len();
                }
                seconds() - start
            };
            let cold = round();
            let (best, median) = median((0..9).map(|_| round()).collect());
            let speed = |seconds: f64| bytes as f64 / 1e6 / seconds;
            let result = serde_json::json!({
                "bytes": bytes, "tokens": tokens, "first": speed(cold), "median": speed(median), "best": speed(best),
            });
            writeln!(out, "{result}")?;
        }
        "load" => {
            let round = || -> Result<f64, Box<dyn Error>> {
                // A program that reads a GGUF file hands its parts over, so copying them does not count.
                let copy = match &source {
                    Source::Json(bytes) => Source::Json(bytes.clone()),
                    Source::Parts(parts) => Source::Parts(parts.clone()),
                };
                let start = seconds();
                let tokenizer = black_box(copy.load()?);
                let taken = (seconds() - start) * 1e3;
                drop(tokenizer);
                Ok(taken)
            };
            let (best, median) = median((0..7).map(|_| round()).collect::<Result<_, _>>()?);
            writeln!(out, "{}", serde_json::json!({"best": best, "median": median}))?;
        }
        _ => return Err("unknown mode".into()),
    }
    Ok(())
}
