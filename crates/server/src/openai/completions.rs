//! `/v1/completions`: from prompts to texts that continue them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_engine::{Completion, TokenOutput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flexible::{Prompts, TextOrList};
use super::parameters::{FINGERPRINT, Heading, Parameters, StreamOptions, Usage, finish_reason, finite, wants_usage};
use super::structure::logit_bias;
use crate::http::{JsonBody, Narrator, SseWriter, blocking, json, stream};
use crate::nfc::nfc;
use crate::service::{GenerationEvent, Served};
use crate::{ApiError, App, Caller, ErrorBody};

/// The most tokens of a text where the request does not say, as the API defines it.
const DEFAULT_MAX_TOKENS: u32 = 16;
/// Prompts of one request.
const MOST_PROMPTS: usize = 128;
/// Alternatives that the API allows at each token.
const MOST_LOGPROBS: u32 = 5;

/// Prompts to continue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompletionRequest {
    /// Name of a model of `/v1/models`.
    model: String,
    /// What to continue.
    prompt: Prompts,
    /// Answer piece by piece, as server-sent events.
    stream: Option<bool>,
    /// What is wanted of the stream.
    stream_options: Option<StreamOptions>,
    /// Begin each text with its prompt.
    echo: Option<bool>,
    /// Texts for each prompt.
    #[schema(minimum = 1)]
    n: Option<u32>,
    /// The most tokens of each text; 16 where absent.
    max_tokens: Option<u32>,
    /// Spread of the choice; 0 always takes the most probable token.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// Mass of the most probable tokens that are drawn from.
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// How many of the most probable tokens are drawn from; 0 for all.
    top_k: Option<u32>,
    /// Tokens less probable than this times the most probable one are dropped.
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f32>,
    /// Subtracted for every time that the text holds a token.
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f32>,
    /// Subtracted once from tokens that the text holds.
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f32>,
    /// Divides the logits of tokens of the text so far; 1 is off.
    #[schema(maximum = 10)]
    repetition_penalty: Option<f32>,
    /// The same seed gives the same text.
    seed: Option<i64>,
    /// Texts that end the text and are no part of it.
    stop: Option<TextOrList>,
    /// Report the log-probability of each token and of so many alternatives.
    #[schema(maximum = 5)]
    logprobs: Option<u32>,
    /// What is added to the logits of tokens, by their ids: -100 to 100.
    logit_bias: Option<BTreeMap<String, f32>>,
    /// The client's name for its user; not looked at.
    #[allow(dead_code, reason = "clients send it, and it changes nothing")]
    user: Option<String>,
}

/// Texts, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextCompletion<'a> {
    id: &'a str,
    /// Always `text_completion`.
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<TextChoice<'a>>,
    /// Absent from the pieces of a stream, unless they were asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    system_fingerprint: &'static str,
}

/// One text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextChoice<'a> {
    text: &'a str,
    /// Counts through the texts of the first prompt, then of the second, and so on.
    index: usize,
    logprobs: Option<TextLogprobs>,
    /// `stop` or `length`; null while the text goes on.
    finish_reason: Option<&'static str>,
}

/// Log-probabilities of a text, in the API's older shape.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct TextLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Where each token begins, in characters from the begin of the text.
    text_offset: Vec<usize>,
}

/// Continues prompts.
#[utoipa::path(post, path = "/v1/completions", operation_id = "createCompletion", tag = "openai", request_body = CompletionRequest,
    responses(
        (status = 200, body = TextCompletion, description = "With `stream`: `text/event-stream` of the same objects"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, &body.model)?;
    let streams = body.stream.unwrap_or(false);
    let include_usage = wants_usage(streams, body.stream_options)?;
    let (parameters, echo) = (body.parameters()?, body.echo.unwrap_or(false));
    let reader = model.clone();
    let prompts = blocking(move || prompts(body.prompt, &reader, echo)).await?;
    let candidates = parameters.n.unwrap_or(1) as usize;
    let (mut generations, mut echoes) = (Vec::new(), Vec::new());
    for (tokens, text) in prompts {
        let request = parameters.clone().request(tokens, &model, Vec::new())?;
        let generation = app.start(&caller, &model, request).await;
        generations.push(generation.map_err(|error| match error.code {
            "context_length_exceeded" => error.with_param("prompt"),
            _ => error,
        })?);
        echoes.push(text);
    }
    let heading = Heading::new("cmpl", &caller.request_id, &model);
    if streams {
        return Ok(stream(generations, TextStream::new(heading, candidates, echoes, include_usage)));
    }
    let (mut usage, mut completions) = (Usage::default(), Vec::new());
    for generation in generations {
        let completion: Completion = generation.complete().await?;
        usage.add(completion.usage);
        completions.push(completion);
    }
    for (completion, echo) in completions.iter_mut().zip(&echoes) {
        completion.candidates.iter_mut().for_each(|candidate| candidate.text.insert_str(0, echo));
    }
    let all = completions
        .iter()
        .zip(&echoes)
        .flat_map(|(completion, echo)| completion.candidates.iter().map(|candidate| (candidate, echo.chars().count())));
    let choices = all.enumerate().map(|(index, (candidate, mut offset))| TextChoice {
        text: &candidate.text,
        index,
        logprobs: logprobs(&candidate.tokens, &mut offset),
        finish_reason: Some(finish_reason(candidate.reason)),
    });
    let choices = choices.collect();
    Ok(json(StatusCode::OK, &text_completion(&heading, choices, Some(Some(usage)))))
}

impl CompletionRequest {
    fn parameters(&self) -> Result<Parameters, ApiError> {
        if self.logprobs.is_some_and(|count| count > MOST_LOGPROBS) {
            let message = format!("logprobs must be between 0 and {MOST_LOGPROBS}");
            return Err(ApiError::invalid_value("logprobs", message));
        }
        Ok(Parameters {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            stop: self.stop.clone(),
            n: self.n,
            max_tokens: Some(self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
            logprobs: self.logprobs.map(|count| count as usize),
            logit_bias: self.logit_bias.as_ref().map(logit_bias).transpose()?.unwrap_or_default(),
            constraint: None,
        })
    }
}

/// The tokens of each prompt, and its text where that is to be repeated.
fn prompts(prompts: Prompts, model: &Served, echo: bool) -> Result<Vec<(Vec<u32>, String)>, ApiError> {
    let text = model.text();
    let of_text = |prompt: String| {
        let prompt = nfc(prompt);
        (text.prompt_tokens(&prompt), if echo { prompt } else { String::new() })
    };
    let of_tokens = |tokens: Vec<u32>| {
        let shown = if echo { text.tokenizer().decode(&tokens, false) } else { String::new() };
        (tokens, shown)
    };
    let all: Vec<_> = match prompts {
        Prompts::Text(prompt) => vec![of_text(prompt)],
        Prompts::Texts(prompts) => prompts.into_iter().map(of_text).collect(),
        Prompts::Tokens(tokens) => vec![of_tokens(tokens)],
        Prompts::TokenLists(lists) => lists.into_iter().map(of_tokens).collect(),
    };
    if all.len() > MOST_PROMPTS {
        return Err(ApiError::invalid_value("prompt", format!("prompt may hold at most {MOST_PROMPTS} prompts")));
    }
    Ok(all)
}

fn text_completion<'a>(
    heading: &'a Heading,
    choices: Vec<TextChoice<'a>>,
    usage: Option<Option<Usage>>,
) -> TextCompletion<'a> {
    TextCompletion {
        id: &heading.id,
        object: "text_completion",
        created: heading.created,
        model: &heading.model,
        choices,
        usage,
        system_fingerprint: FINGERPRINT,
    }
}

/// Log-probabilities of the next tokens of a text; `offset` counts the characters before them.
fn logprobs(tokens: &[TokenOutput], offset: &mut usize) -> Option<TextLogprobs> {
    let mut all = TextLogprobs::default();
    for token in tokens {
        let Some(logprobs) = &token.logprobs else { continue };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        all.text_offset.push(*offset);
        // A character belongs to the token with its first byte.
        *offset += token.bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        all.tokens.push(text(&token.bytes));
        all.token_logprobs.push(finite(logprobs.logprob));
        all.top_logprobs.push(logprobs.top.iter().map(|other| (text(&other.bytes), finite(other.logprob))).collect());
    }
    (!all.tokens.is_empty()).then_some(all)
}

/// Tells of texts in pieces.
struct TextStream {
    heading: Heading,
    candidates: usize,
    echoes: Vec<String>,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    include_usage: bool,
    usage: Usage,
}

impl TextStream {
    fn new(heading: Heading, candidates: usize, echoes: Vec<String>, include_usage: bool) -> Self {
        let offsets = echoes.iter().flat_map(|echo| vec![echo.chars().count(); candidates]).collect();
        Self { heading, candidates, echoes, offsets, include_usage, usage: Usage::default() }
    }

    fn piece(&self, choices: Vec<TextChoice<'_>>, usage: Option<Usage>, out: &mut SseWriter) {
        out.data(&text_completion(&self.heading, choices, self.include_usage.then_some(usage)));
    }
}

impl Narrator for TextStream {
    fn begin(&mut self, out: &mut SseWriter) {
        for (prompt, echo) in self.echoes.iter().enumerate().filter(|(_, echo)| !echo.is_empty()) {
            for candidate in 0..self.candidates {
                let index = prompt * self.candidates + candidate;
                self.piece(vec![TextChoice { text: echo, index, logprobs: None, finish_reason: None }], None, out);
            }
        }
    }

    fn event(&mut self, prompt: usize, event: GenerationEvent, out: &mut SseWriter) {
        match event {
            GenerationEvent::Text { candidate, text, tokens, .. } => {
                let index = prompt * self.candidates + candidate;
                let logprobs = self.offsets.get_mut(index).and_then(|offset| logprobs(&tokens, offset));
                if !text.is_empty() || logprobs.is_some() {
                    self.piece(vec![TextChoice { text: &text, index, logprobs, finish_reason: None }], None, out);
                }
            }
            GenerationEvent::Finished { candidate, reason } => {
                let index = prompt * self.candidates + candidate;
                let finish_reason = Some(finish_reason(reason));
                self.piece(vec![TextChoice { text: "", index, logprobs: None, finish_reason }], None, out);
            }
            GenerationEvent::Done { usage, .. } => self.usage.add(usage),
            GenerationEvent::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut SseWriter) {
        if self.include_usage {
            self.piece(Vec::new(), Some(self.usage), out);
        }
        out.mark("[DONE]");
    }
}
