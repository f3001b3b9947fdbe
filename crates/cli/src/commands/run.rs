//! `saem run`.

use std::io::{self, IsTerminal as _, Write as _};

use saem_engine::chat::{Message, RenderOptions};
use saem_engine::constraint::Constraint;
use saem_engine::{Alternative, CandidateText, Completion, Control, Engine, Event, Request, TokenOutput};
use serde_json::{Value, json};

use crate::arguments::{ConstraintFlags, Run};
use crate::commands::text_input;
use crate::failure::Failure;
use crate::language::Language;
use crate::loading::{self, Loaded};
use crate::progress::{Progress, Unit};
use crate::{output, resolve};

/// Completes a prompt.
pub(crate) fn run(arguments: &Run, language: Language) -> anyhow::Result<()> {
    let prompt = text_input::read(arguments.prompt.as_deref(), arguments.file.as_deref(), language)?
        .ok_or_else(|| Failure::usage(language.no_prompt()).hint(language.no_prompt_hint()))?;
    let candidates = arguments.generation.candidates.unwrap_or(1);
    if candidates == 0 {
        return Err(Failure::usage(language.at_least_one("--n")).into());
    }
    let constraint = constraint(&arguments.constraint, language)?;
    let mut options = resolve::options(&arguments.load, language)?;
    options.max_sequences = candidates;
    let (loaded, adapter) = loading::load_adapted(&arguments.model, arguments.adapter.as_deref(), options, language)?;
    let request = Request { constraint, adapter, ..request(arguments, &loaded.engine, &prompt, candidates)? };
    if arguments.json {
        let mut progress = Prefill::new(language);
        let completion = loaded.engine.generate(request, &mut |event| progress.see(&event))?;
        drop(progress);
        return output::json(&as_json(&loaded, &completion));
    }
    if candidates == 1 {
        return stream(&loaded.engine, request, language);
    }
    let mut progress = Prefill::new(language);
    let completion = loaded.engine.generate(request, &mut |event| progress.see(&event))?;
    drop(progress);
    let text = completion
        .candidates
        .iter()
        .enumerate()
        .map(|(number, candidate)| format!("--- {}\n{}\n", number + 1, candidate.text));
    output::line(&text.collect::<String>())
}

/// What the text must be, where the flags say so.
fn constraint(flags: &ConstraintFlags, language: Language) -> anyhow::Result<Option<Constraint>> {
    if let Some(path) = &flags.json_schema {
        let schema = serde_json::from_str(&text_input::file_text(path, language)?).map_err(|error| {
            Failure::new(language.schema_not_json(&path.display().to_string()))
                .hint(language.reason(&error.to_string()))
        })?;
        return Ok(Some(Constraint::json_schema(&schema)?));
    }
    if let Some(expression) = &flags.regex {
        return Ok(Some(Constraint::regex(expression)?));
    }
    if !flags.choice.is_empty() {
        return Ok(Some(Constraint::choice(&flags.choice)?));
    }
    Ok(None)
}

/// What is asked of the engine.
fn request(arguments: &Run, engine: &Engine, prompt: &str, candidates: usize) -> anyhow::Result<Request> {
    let mut stop = arguments.generation.stop.clone();
    let tokens = if arguments.chat {
        let system = arguments.system.iter().map(|system| Message::new("system", system));
        let messages: Vec<Message> = system.chain([Message::new("user", prompt)]).collect();
        if let Some(builtin) = engine.chat_template()?.origin() {
            stop.extend(builtin.stop_strings().iter().map(|stop| (*stop).to_owned()));
        }
        engine.chat_tokens(&messages, &RenderOptions::default())?
    } else {
        engine.prompt_tokens(prompt)
    };
    let sampling = resolve::sampling(&arguments.sampling, engine.default_sampling())?;
    Ok(Request {
        max_tokens: arguments.generation.max_tokens,
        stop,
        logprobs: arguments.generation.logprobs,
        candidates,
        ..Request::new(tokens, sampling)
    })
}

/// Writes the completion as it grows, and nothing else.
fn stream(engine: &Engine, request: Request, language: Language) -> anyhow::Result<()> {
    let mut progress = Some(Prefill::new(language));
    let mut out = io::stdout().lock();
    let mut failed = None;
    engine.generate(request, &mut |event| {
        if let Event::Text { text, .. } = &event {
            // The bar goes before the first letter comes.
            progress = None;
            if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                failed = Some(error);
                return Control::Cancel;
            }
        }
        progress.as_mut().map_or(Control::Continue, |progress| progress.see(&event))
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    // On a terminal the shell's prompt should not stick to the text; in a pipe the text stays as it is.
    if out.is_terminal() {
        writeln!(out)?;
    }
    Ok(())
}

/// Shows how far a long prompt is read.
pub(crate) struct Prefill {
    progress: Progress,
}

impl Prefill {
    /// A bar that appears where reading takes its time.
    pub(crate) fn new(language: Language) -> Self {
        Self { progress: Progress::new(language, language.reading_prompt(), Unit::Tokens, None) }
    }

    /// Takes note of an event.
    pub(crate) fn see(&mut self, event: &Event<'_>) -> Control {
        if let Event::Prefill { done, total } = event {
            self.progress.set_of(*done as u64, *total as u64);
        }
        Control::Continue
    }
}

fn as_json(loaded: &Loaded, completion: &Completion) -> Value {
    let (usage, timings) = (&completion.usage, &completion.timings);
    json!({
        "model": loaded.name,
        "candidates": completion.candidates.iter().map(candidate_json).collect::<Vec<_>>(),
        "seed": completion.seed,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "load_seconds": loaded.time.as_secs_f64(),
        "first_token_seconds": timings.to_first_token().as_secs_f64(),
        "prefill_tokens_per_second": timings.prefill_tokens_per_second(usage),
        "decode_tokens_per_second": timings.decode_tokens_per_second(usage, completion.candidates.len()),
    })
}

fn candidate_json(candidate: &CandidateText) -> Value {
    let ids: Vec<u32> = candidate.tokens.iter().map(|token| token.token).collect();
    let mut value = json!({ "text": candidate.text, "finish_reason": candidate.reason.as_str(), "tokens": ids });
    if candidate.tokens.iter().any(|token| token.logprobs.is_some()) {
        value["logprobs"] = candidate.tokens.iter().map(token_json).collect();
    }
    value
}

fn token_json(token: &TokenOutput) -> Value {
    let alternative = |other: &Alternative| json!({ "token": other.token, "text": String::from_utf8_lossy(&other.bytes), "logprob": other.logprob });
    json!({
        "token": token.token,
        "text": String::from_utf8_lossy(&token.bytes),
        "logprob": token.logprobs.as_ref().map(|logprobs| logprobs.logprob),
        "top": token.logprobs.iter().flat_map(|logprobs| &logprobs.top).map(alternative).collect::<Vec<_>>(),
    })
}
