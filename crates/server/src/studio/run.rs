//! Calling an app: variables in, an answer out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use saem_engine::FinishReason;
use saem_store::{AppCall, Store};
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;

use super::apps::Definition;
use super::document::{Mode, Speaker, Turn};
use super::render::{Asked, composed, request, served};
use super::{refused, store};
use crate::http::{JsonBody, Narrator, PathId, SseWriter, json, stream};
use crate::nfc::nfc;
use crate::openai::{Usage, finish_reason};
use crate::service::GenerationEvent;
use crate::{ApiError, App, Caller, ErrorBody};

/// The pattern of the path under which apps are called.
pub(crate) const PATH: &str = "/v1/apps/{id}/run";

/// A call of an app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// A value for each variable of the app.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Turns after the app's own, where it is a conversation.
    #[serde(default)]
    messages: Vec<Turn>,
    /// Answer piece by piece, as server-sent events.
    #[serde(default)]
    stream: bool,
    /// The same seed gives the same answer.
    #[schema(maximum = 4_294_967_295_u64)]
    seed: Option<u64>,
}

/// An app's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAnswer {
    /// The request's id.
    id: String,
    app: String,
    version: i64,
    model: String,
    /// The answer.
    output: String,
    /// All answers, where the app gives several.
    outputs: Vec<String>,
    /// `stop` or `length`.
    finish_reason: &'static str,
    usage: Usage,
}

/// Calls an app.
#[utoipa::path(post, path = "/v1/apps/{id}/run", operation_id = "runApp", tag = "apps", params(("id" = String, Path)),
    request_body = RunRequest,
    responses(
        (status = 200, body = RunAnswer, description = "With `stream`: `text/event-stream` of pieces with `index` and `text`, and at the end `finish_reason` and `usage`"),
        (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn run(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<RunRequest>,
) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = store.app(&id, None).await.map_err(refused)?;
    // An app of another organisation, one that is not this key's, and none look the same.
    let definition =
        Definition::of(&stored).filter(|_| stored.tenant == caller.tenant_name() && caller.allows_app(&id));
    let Some(Definition { document, .. }) = definition else { return Err(ApiError::not_found("app", &id)) };
    let values = composed(body.variables);
    let used = document.used_variables();
    if let Some(name) = used.iter().find(|name| !values.contains_key(*name)) {
        let message = format!("The app needs a value for the variable `{name}`");
        return Err(ApiError::invalid("missing_variable", format!("variables.{name}"), message));
    }
    if let Some(name) = values.keys().find(|name| !used.contains(*name)) {
        let message = format!("The app has no variable `{name}`");
        return Err(ApiError::invalid("unknown_variable", format!("variables.{name}"), message));
    }
    let turns: Vec<Turn> = body.messages.into_iter().map(|turn| Turn { content: nfc(turn.content), ..turn }).collect();
    if !turns.is_empty() && document.mode == Mode::Text {
        return Err(ApiError::invalid_value("messages", "The app is no conversation and takes no messages"));
    }
    if turns.iter().any(|turn| turn.role == Speaker::System) {
        return Err(ApiError::invalid_value("messages", "Only the app itself gives instructions"));
    }
    let question = stored.does.store_prompts.then(|| value!({ "variables": values, "messages": turns }));
    let asked = match document.ask(&values) {
        Asked::Chat(own) => Asked::Chat(own.into_iter().chain(turns).collect()),
        asked => asked,
    };
    let model = served(&app, &caller, &document)?;
    let mut engine = request(&model, &document, asked).await?;
    if let Some(seed) = body.seed {
        engine.sampling.seed = Some(seed);
    }
    let call = |question| AppCall {
        app: id.clone(),
        key: caller.key_id().to_owned(),
        version: stored.version,
        question,
        output: String::new(),
        outcome: "cancelled".to_owned(),
        prompt_tokens: 0,
        completion_tokens: 0,
        millis: 0,
    };
    let mut log =
        question.map(|question| Log { store: Arc::clone(store), call: call(question), begun: Instant::now() });
    let caller = caller.for_app(&id);
    let generation = match app.start(&caller, &model, engine).await {
        Ok(generation) => generation,
        Err(error) => {
            log.iter_mut().for_each(|log| log.failed(error.code));
            return Err(error);
        }
    };
    if body.stream {
        let told = Told { log, reason: FinishReason::Cancelled, usage: Usage::default() };
        return Ok(stream(vec![generation], told));
    }
    let completion = generation.complete().await.inspect_err(|error| {
        log.iter_mut().for_each(|log| log.failed(error.code));
    })?;
    if let Some(log) = &mut log {
        log.call.output = completion.text().to_owned();
        log.done(completion.usage);
    }
    let mut usage = Usage::default();
    usage.add(completion.usage);
    let reason = completion.candidates.first().map_or(FinishReason::Cancelled, |candidate| candidate.reason);
    Ok(json(
        StatusCode::OK,
        &RunAnswer {
            id: caller.request_id.as_str().to_owned(),
            app: id,
            version: stored.version,
            model: model.name().to_owned(),
            output: completion.text().to_owned(),
            finish_reason: finish_reason(reason),
            usage,
            outputs: completion.candidates.into_iter().map(|candidate| candidate.text).collect(),
        },
    ))
}

/// A call that is to be kept, written down when it is over, however that comes.
struct Log {
    store: Arc<Store>,
    call: AppCall,
    begun: Instant,
}

impl Log {
    fn failed(&mut self, code: &str) {
        self.call.outcome = format!("failed: {code}");
    }

    fn done(&mut self, usage: saem_engine::Usage) {
        let count = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
        self.call.outcome = "done".to_owned();
        self.call.prompt_tokens = count(usage.prompt_tokens);
        self.call.completion_tokens = count(usage.completion_tokens);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.call.millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.store.record_call(self.call.clone());
    }
}

/// Tells of an answer in pieces.
struct Told {
    log: Option<Log>,
    reason: FinishReason,
    usage: Usage,
}

impl Narrator for Told {
    fn event(&mut self, _: usize, event: GenerationEvent, out: &mut SseWriter) {
        match event {
            GenerationEvent::Text { candidate, text, .. } if !text.is_empty() => {
                if let Some(log) = self.log.as_mut().filter(|_| candidate == 0) {
                    log.call.output.push_str(&text);
                }
                out.data(&value!({ "index": candidate, "text": text }));
            }
            GenerationEvent::Finished { candidate: 0, reason } => self.reason = reason,
            GenerationEvent::Done { usage, .. } => {
                self.log.iter_mut().for_each(|log| log.done(usage));
                self.usage.add(usage);
            }
            _ => {}
        }
    }

    fn end(&mut self, out: &mut SseWriter) {
        out.data(&value!({ "finish_reason": finish_reason(self.reason), "usage": self.usage }));
        out.mark("[DONE]");
    }

    fn failed(&mut self, error: &ApiError, out: &mut SseWriter) {
        self.log.iter_mut().for_each(|log| log.failed(error.code));
        out.data(&error.body());
    }
}

/// Whether pages of this origin may call the app of this path.
pub(crate) async fn allows_origin(app: &App, path: &str, origin: &str) -> bool {
    let id = path.strip_prefix("/v1/apps/").and_then(|rest| rest.strip_suffix("/run")).unwrap_or_default();
    let Ok(store) = store(app) else { return false };
    match store.app(id, None).await {
        Ok(stored) => stored.does.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        Err(_) => false,
    }
}

/// The answer to a browser that asks before it lets a page of an allowed origin call an app.
pub(crate) fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let sent = HeaderValue::from_static("authorization, content-type, x-request-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, sent);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of this origin read the answer.
pub(crate) fn open_to(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}
