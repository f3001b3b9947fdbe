//! Answers constrained requests, one JSON object per line, and tells what the constraint cost (see bench/constraint.py).
//!
//! `constrain MODEL THREADS SEQUENCES < requests > answers`. A request has `prompt` and `max_tokens`, and a `schema`
//! where its answer is constrained. An answer has `text`, `finish_reason`, `tokens`, `decode_seconds` and, for each
//! token, `step_micros`; or `error` where the schema cannot be kept.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::time::Instant;

use saem_engine::chat::{Message, RenderOptions};
use saem_engine::constraint::Constraint;
use saem_engine::{Control, Engine, EngineOptions, Request, Sampling};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, threads, sequences] = &arguments[..] else { return Err("constrain MODEL THREADS SEQUENCES".into()) };
    let options = EngineOptions {
        threads: threads.parse()?,
        max_sequences: sequences.parse()?,
        context: Some(2_048),
        ..EngineOptions::default()
    };
    let engine = Engine::load(model, &options, &mut |_, _| {})?;
    let constraints = engine.constraints();
    let begin = Instant::now();
    constraints.prepare(&Constraint::json_object())?;
    eprintln!("trie of {} tokens: {:.0} ms", engine.tokenizer().vocabulary_len(), begin.elapsed().as_secs_f64() * 1e3);

    let mut answers = Vec::new();
    let mut requests = Vec::new();
    for line in io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let begin = Instant::now();
        let constraint = match asked.get("schema").map(Constraint::json_schema).transpose() {
            Ok(constraint) => constraint,
            Err(error) => {
                answers.push(json!({ "error": error.to_string() }));
                continue;
            }
        };
        if let Some(Err(error)) = constraint.as_ref().map(|constraint| constraints.prepare(constraint)) {
            answers.push(json!({ "error": error.to_string() }));
            continue;
        }
        let messages = [Message::new("user", asked["prompt"].as_str().unwrap_or_default())];
        let sampling = Sampling { temperature: 0.7, seed: Some(answers.len() as u64), ..Sampling::default() };
        let request = Request {
            max_tokens: asked["max_tokens"].as_u64().map(|most| most as usize),
            ignore_end_tokens: constraint.is_none(),
            constraint,
            ..Request::new(engine.chat_tokens(&messages, &RenderOptions::default())?, sampling)
        };
        requests.push((answers.len(), request));
        answers.push(json!({ "prepare_micros": begin.elapsed().as_secs_f64() * 1e6 }));
    }
    let completions = engine
        .generate_many(requests.iter().map(|(_, request)| request.clone()).collect(), &mut |_, _| Control::Continue)?;
    for ((index, request), completion) in requests.iter().zip(completions) {
        let Some(candidate) = completion.candidates.first() else { continue };
        let tokens: Vec<u32> = candidate.tokens.iter().map(|token| token.token).collect();
        let answer = &mut answers[*index];
        answer["text"] = json!(candidate.text);
        answer["finish_reason"] = json!(candidate.reason.as_str());
        answer["tokens"] = json!(tokens.len());
        answer["decode_seconds"] = json!(completion.timings.decode.as_secs_f64());
        if let Some(constraint) = &request.constraint {
            let steps = constraints.measure(constraint, &tokens)?;
            answer["step_micros"] = steps.iter().map(|step| step.as_secs_f64() * 1e6).collect();
        }
    }
    let mut out = io::stdout().lock();
    for answer in answers {
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
