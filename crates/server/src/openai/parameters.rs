//! What both kinds of completion have in common: sampling and its ranges, usage, names of answers.

use saem_engine::constraint::Constraint;
use saem_engine::{FinishReason, Request, Sampling};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flexible::TextOrList;
use crate::nfc::nfc;
use crate::service::Served;
use crate::{ApiError, RequestId};

/// Fields of a request that say how tokens are chosen. Where one is absent, the model's own advice holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<u32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<TextOrList>,
    pub(crate) n: Option<u32>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) logprobs: Option<usize>,
    pub(crate) logit_bias: Vec<(u32, f32)>,
    pub(crate) constraint: Option<Constraint>,
}

impl Parameters {
    /// The request to the engine for a prompt of these tokens, checked as far as it can be without the engine.
    pub(crate) fn request(self, prompt: Vec<u32>, model: &Served, stop: Vec<String>) -> Result<Request, ApiError> {
        let advice = model.text().default_sampling();
        if self.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
            return Err(ApiError::invalid_value("temperature", "temperature must be between 0 and 2"));
        }
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(advice.temperature),
            // 0 is allowed by the API and means what the least positive number means: the most probable token.
            top_p: self.top_p.map_or(advice.top_p, |top_p| if top_p == 0.0 { f32::MIN_POSITIVE } else { top_p }),
            top_k: self.top_k.map_or(advice.top_k, |top_k| top_k as usize),
            min_p: self.min_p.unwrap_or(advice.min_p),
            frequency_penalty: self.frequency_penalty.unwrap_or(advice.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(advice.presence_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(advice.repetition_penalty),
            seed: self.seed.map(i64::cast_unsigned).or(advice.seed),
            ..advice.clone()
        };
        sampling.validate()?;
        let own = self.stop.map(TextOrList::into_list).unwrap_or_default();
        Ok(Request {
            max_tokens: self.max_tokens.map(|tokens| tokens as usize),
            stop: own.into_iter().map(nfc).chain(stop).collect(),
            logprobs: self.logprobs,
            candidates: self.n.unwrap_or(1) as usize,
            logit_bias: self.logit_bias,
            constraint: self.constraint,
            ..Request::new(prompt, sampling)
        })
    }
}

/// What is wanted of a stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// End with a chunk that has no choices and tells the tokens taken.
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
}

/// `stream_options.include_usage`, which makes sense for streams only.
pub(crate) fn wants_usage(stream: bool, options: Option<StreamOptions>) -> Result<bool, ApiError> {
    if options.is_some() && !stream {
        return Err(ApiError::invalid_value("stream_options", "stream_options is allowed only where stream is true"));
    }
    Ok(options.and_then(|options| options.include_usage).unwrap_or(false))
}

/// Tokens that a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    prompt_tokens: usize,
    /// Generated tokens of all choices.
    completion_tokens: usize,
    /// Both.
    total_tokens: usize,
    /// Of the prompt's tokens.
    prompt_tokens_details: PromptTokens,
}

/// Of the prompt's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PromptTokens {
    /// Tokens whose keys and values were in the cache.
    cached_tokens: usize,
}

impl Usage {
    /// Adds what another generation of the same answer took.
    pub(crate) fn add(&mut self, usage: saem_engine::Usage) {
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
        self.prompt_tokens_details.cached_tokens += usage.cached_tokens;
    }
}

/// Why a choice ended, in the API's words.
pub(crate) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length | FinishReason::ContextFull => "length",
        _ => "stop",
    }
}

/// What every chunk of an answer repeats.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

impl Heading {
    pub(crate) fn new(prefix: &str, request: &RequestId, model: &Served) -> Self {
        let created = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        Self { id: format!("{prefix}-{request}"), created, model: model.name().to_owned() }
    }
}

/// Names the software; an answer can be repeated with the same seed by the same one.
pub(crate) const FINGERPRINT: &str = concat!("saem-", env!("CARGO_PKG_VERSION"));

/// JSON knows no infinity; this is what OpenAI's API says instead.
pub(crate) fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}
