//! `/v1/chat/completions`: from messages to choices.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_engine::chat::RenderOptions;
use saem_engine::tools::ToolSyntax;
use saem_engine::{Completion, FinishReason, TokenOutput};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::chat_stream::ChatStream;
use super::flexible::TextOrList;
use super::messages::{ChatMessage, to_engine};
use super::parameters::{FINGERPRINT, Heading, Parameters, StreamOptions, Usage, finish_reason, finite, wants_usage};
use super::structure::{Functions, ResponseFormat, SCHEMA, ToolCall, logit_bias, read_calls};
use crate::http::{JsonBody, blocking, json, stream};
use crate::{ApiError, App, Caller, ErrorBody};

/// Alternatives that the API allows at each token.
const MOST_TOP_LOGPROBS: u32 = 20;

/// A conversation to continue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    /// Name of a model of `/v1/models`.
    model: String,
    /// The conversation so far.
    messages: Vec<ChatMessage>,
    /// Answer piece by piece, as server-sent events.
    stream: Option<bool>,
    /// What is wanted of the stream.
    stream_options: Option<StreamOptions>,
    /// Choices to make.
    #[schema(minimum = 1)]
    n: Option<u32>,
    /// The most tokens of each choice; the older name.
    #[schema(minimum = 1)]
    max_tokens: Option<u32>,
    /// The most tokens of each choice.
    #[schema(minimum = 1)]
    max_completion_tokens: Option<u32>,
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
    /// Subtracted for every time that the answer holds a token.
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f32>,
    /// Subtracted once from tokens that the answer holds.
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f32>,
    /// Divides the logits of tokens of the text so far; 1 is off.
    #[schema(maximum = 10)]
    repetition_penalty: Option<f32>,
    /// The same seed gives the same answer.
    seed: Option<i64>,
    /// Texts that end the answer and are no part of it.
    stop: Option<TextOrList>,
    /// Report the log-probability of each token.
    logprobs: Option<bool>,
    /// Report so many alternatives of each token; needs `logprobs`.
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// What is added to the logits of tokens, by their ids: -100 to 100.
    logit_bias: Option<BTreeMap<String, f32>>,
    /// The form of the answer.
    response_format: Option<ResponseFormat>,
    /// Functions that the model may call.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Value>,
    /// `none`, `auto`, `required`, or the name of a function in OpenAI's form.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    /// Whether one answer may hold several calls; true where absent.
    parallel_tool_calls: Option<bool>,
    /// The client's name for its user; not looked at.
    #[allow(dead_code, reason = "clients send it, and it changes nothing")]
    user: Option<String>,
    /// Variables of the chat template, such as `enable_thinking`.
    chat_template_kwargs: Option<Map<String, Value>>,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion<'a> {
    id: &'a str,
    /// Always `chat.completion`.
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<ChatChoice>,
    usage: Usage,
    system_fingerprint: &'static str,
}

/// One of the choices of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    index: usize,
    message: Answer,
    logprobs: Option<ChatLogprobs>,
    /// `stop`, `length` or `tool_calls`.
    finish_reason: &'static str,
}

/// What the model says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// Always `assistant`.
    role: &'static str,
    content: Option<String>,
    /// Always null: models refuse in their own words.
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
}

/// Log-probabilities of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    /// Of each token.
    content: Vec<TokenLogprob>,
    /// Always null.
    refusal: Option<Vec<TokenLogprob>>,
}

/// A token and what could have stood in its place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenLogprob {
    token: String,
    logprob: f32,
    /// The bytes of the token, which can be a part of a character.
    bytes: Vec<u8>,
    top_logprobs: Vec<TopLogprob>,
}

/// A token that could have been chosen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// Continues a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "openai", request_body = ChatRequest,
    responses(
        (status = 200, body = ChatCompletion, description = "With `stream`: `text/event-stream` of `chat.completion.chunk`"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, &body.model)?;
    let streams = body.stream.unwrap_or(false);
    let include_usage = wants_usage(streams, body.stream_options)?;
    let functions =
        Functions::read(body.tools.as_ref(), body.tool_choice.as_ref(), body.parallel_tool_calls, model.text())?;
    let parameters = body.parameters(functions.as_ref())?;
    let messages = to_engine(body.messages, functions.as_ref())?;
    // Models that know calls are shown the functions by their templates; the others are told in a message.
    let tools = body.tools.filter(|_| functions.as_ref().is_some_and(|known| known.syntax != ToolSyntax::Json));
    let variables = body.chat_template_kwargs.unwrap_or_default().into_iter().collect();
    let constraint = parameters.constraint.clone();
    let reader = model.clone();
    let prompt = blocking(move || {
        if let Some(constraint) = &constraint {
            reader.constraints().prepare(constraint).map_err(|error| ApiError::constraint(&error, SCHEMA))?;
        }
        let options = RenderOptions { variables, tools, ..RenderOptions::default() };
        reader.text().chat_tokens(&messages, &options).map_err(ApiError::from)
    });
    let prompt = prompt.await?;
    let request = parameters.request(prompt, &model, model.text().chat_stop_strings())?;
    let heading = Heading::new("chatcmpl", &caller.request_id, &model);
    let generation = app.start(&caller, &model, request).await?;
    if streams {
        let narrator = ChatStream::new(heading, generation.candidates(), include_usage, functions.as_ref());
        return Ok(stream(vec![generation], narrator));
    }
    let completion = generation.complete().await?;
    Ok(json(StatusCode::OK, &answer(&heading, completion, functions.as_ref())))
}

impl ChatRequest {
    fn parameters(&self, functions: Option<&Functions>) -> Result<Parameters, ApiError> {
        let max_tokens = match (self.max_tokens, self.max_completion_tokens) {
            (Some(old), Some(new)) if old != new => {
                let message = "max_tokens is the older name of max_completion_tokens; set one of them";
                return Err(ApiError::invalid_value("max_tokens", message));
            }
            (old, new) => new.or(old),
        };
        if max_tokens == Some(0) {
            let field = if self.max_tokens.is_some() { "max_tokens" } else { "max_completion_tokens" };
            return Err(ApiError::invalid_value(field, format!("{field} must be at least 1")));
        }
        let logprobs = match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (false, Some(1..)) => {
                return Err(ApiError::invalid_value("top_logprobs", "top_logprobs needs logprobs to be true"));
            }
            (_, Some(top)) if top > MOST_TOP_LOGPROBS => {
                let message = format!("top_logprobs must be between 0 and {MOST_TOP_LOGPROBS}");
                return Err(ApiError::invalid_value("top_logprobs", message));
            }
            (wanted, top) => wanted.then_some(top.unwrap_or(0) as usize),
        };
        let called = functions.map(Functions::constraint).transpose()?.flatten();
        let formed = self.response_format.as_ref().map(ResponseFormat::constraint).transpose()?.flatten();
        if functions.is_some() && formed.is_some() {
            let message = "response_format and tools cannot be combined; set tool_choice to none";
            return Err(ApiError::unsupported("response_format", message));
        }
        Ok(Parameters {
            constraint: called.or(formed),
            logit_bias: self.logit_bias.as_ref().map(logit_bias).transpose()?.unwrap_or_default(),
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
            max_tokens,
            logprobs,
        })
    }
}

fn answer<'a>(heading: &'a Heading, completion: Completion, functions: Option<&Functions>) -> ChatCompletion<'a> {
    let mut usage = Usage::default();
    usage.add(completion.usage);
    let choices = completion.candidates.into_iter().enumerate().map(|(index, candidate)| {
        let (content, tool_calls) = match functions {
            Some(functions) => read_calls(functions.parser(), &candidate.text),
            None => (candidate.text, Vec::new()),
        };
        let content = Some(content).filter(|content| tool_calls.is_empty() || !content.is_empty());
        ChatChoice {
            index,
            logprobs: logprobs(&candidate.tokens),
            finish_reason: chat_finish_reason(candidate.reason, !tool_calls.is_empty()),
            message: Answer { role: "assistant", content, refusal: None, tool_calls },
        }
    });
    ChatCompletion {
        id: &heading.id,
        object: "chat.completion",
        created: heading.created,
        model: &heading.model,
        choices: choices.collect(),
        usage,
        system_fingerprint: FINGERPRINT,
    }
}

/// Why a choice ended: calls are the reason unless the limit was.
pub(super) fn chat_finish_reason(reason: FinishReason, calls: bool) -> &'static str {
    match finish_reason(reason) {
        "stop" if calls => "tool_calls",
        reason => reason,
    }
}

/// The log-probabilities of tokens; `None` where the engine was not asked for any.
pub(super) fn logprobs(tokens: &[TokenOutput]) -> Option<ChatLogprobs> {
    let content: Vec<TokenLogprob> = tokens
        .iter()
        .filter_map(|token| {
            let logprobs = token.logprobs.as_ref()?;
            let top = logprobs.top.iter().map(|other| TopLogprob {
                token: String::from_utf8_lossy(&other.bytes).into_owned(),
                logprob: finite(other.logprob),
                bytes: other.bytes.to_vec(),
            });
            Some(TokenLogprob {
                token: String::from_utf8_lossy(&token.bytes).into_owned(),
                logprob: finite(logprobs.logprob),
                bytes: token.bytes.to_vec(),
                top_logprobs: top.collect(),
            })
        })
        .collect();
    (!content.is_empty()).then_some(ChatLogprobs { content, refusal: None })
}
