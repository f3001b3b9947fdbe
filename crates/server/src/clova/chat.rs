//! The handlers of Chat Completions, version 1 and version 3, and how they stream.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use saem_engine::constraint::Constraint;
use saem_engine::{FinishReason, Request, Usage};
use serde::Serialize;
use serde_json::Value;

use super::calling::{Offer, Reader};
use super::chat_v1::{AnswerMessage, ChatV1Request, ChatV1Result, ChatV1Token, TextPlan};
use super::chat_v3::{AnswerV3, ChatV3Request, ChatV3Result, Effort, FinishV3, ResponseFormat};
use super::messages::{Dialect, to_engine};
use super::parameters::wants_stream;
use super::status::{Envelope, Failure, answer, failure, unsupported};
use super::target::{Target, accept, conversation, rendering};
use crate::http::{JsonBody, Narrator, SseWriter, blocking, stream};
use crate::service::{GenerationEvent, Served};
use crate::{ApiError, App, Caller};

/// The field that schemas come in.
const SCHEMA: &str = "responseFormat.schema";

/// A request of the engine.
pub(crate) fn request_of(model: &Served, prompt: Vec<u32>, plan: TextPlan) -> Request {
    let mut stop = plan.stop;
    stop.extend(model.text().chat_stop_strings());
    Request { max_tokens: Some(plan.max_tokens), stop, ..Request::new(prompt, plan.sampling) }
}

/// Answers a conversation (version 1).
#[utoipa::path(post, path = "/v1/chat-completions/{model}", tag = "clova", request_body = ChatV1Request,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<ChatV1Result>), (status = "4XX", body = Failure)))]
pub(crate) async fn chat_v1(
    State(app): State<App>,
    caller: Caller,
    Target(model): Target,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChatV1Request>,
) -> Result<Response, ApiError> {
    let plan = request.plan()?;
    let messages = to_engine(&request.messages, Dialect::V1)?;
    let prompt = conversation(&model, messages, rendering()).await?;
    let generation = app.start(&caller, &model, request_of(&model, prompt, plan)).await?;
    let seed = generation.seed();
    if wants_stream(request.stream, accept(&headers)) {
        let narrator = V1Narrator { told: Told::new(&caller, request.stream), seed };
        return Ok(stream(vec![generation], narrator));
    }
    let completion = generation.complete().await?;
    let candidate = completion.candidates.first();
    let reason = candidate.map_or(FinishReason::Cancelled, |candidate| candidate.reason);
    Ok(answer(result_v1(completion.text(), reason, completion.usage, seed)))
}

fn result_v1(text: &str, reason: FinishReason, usage: Usage, seed: u64) -> ChatV1Result {
    ChatV1Result {
        message: AnswerMessage::new(text),
        stop_reason: reason.into(),
        input_length: usage.prompt_tokens,
        output_length: usage.completion_tokens,
        seed,
    }
}

/// Answers a conversation (version 3).
#[utoipa::path(post, path = "/v3/chat-completions/{model}", tag = "clova", request_body = ChatV3Request,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<ChatV3Result>), (status = "4XX", body = Failure)))]
pub(crate) async fn chat_v3(
    State(app): State<App>,
    caller: Caller,
    Target(model): Target,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChatV3Request>,
) -> Result<Response, ApiError> {
    let plan = request.plan()?;
    if request.thinking.as_ref().is_some_and(|thinking| thinking.effort != Effort::None) {
        return Err(unsupported("thinking.effort", "`thinking.effort` can only be none here"));
    }
    let mut messages = to_engine(&request.messages, Dialect::V3)?;
    let offer = Offer::new(&request, model.text(), &mut messages)?;
    let mut options = rendering();
    options.tools = offer.as_ref().and_then(|offer| offer.for_template.clone());
    let prompt = conversation(&model, messages, options).await?;
    let mut engine = request_of(&model, prompt, plan);
    engine.constraint = match (&request.response_format, &offer) {
        (Some(format), _) => Some(form(format)?),
        (None, Some(offer)) => offer.constraint.clone(),
        (None, None) => None,
    };
    if let Some(constraint) = engine.constraint.clone() {
        let constraints = Arc::clone(model.constraints());
        blocking(move || constraints.prepare(&constraint).map_err(|error| ApiError::constraint(&error, SCHEMA)))
            .await?;
    }
    let generation = app.start(&caller, &model, engine).await?;
    let (seed, created) = (generation.seed(), now());
    let mut reader = offer.as_ref().map(Offer::reader);
    if wants_stream(request.stream, accept(&headers)) {
        let narrator = V3Narrator { told: Told::new(&caller, request.stream), reader, seed, created };
        return Ok(stream(vec![generation], narrator));
    }
    let completion = generation.complete().await?;
    let candidate = completion.candidates.first();
    let reason = candidate.map_or(FinishReason::Cancelled, |candidate| candidate.reason);
    let message = match &mut reader {
        Some(reader) => {
            reader.push(completion.text());
            reader.finish();
            reader.answer()
        }
        None => AnswerV3::new(completion.text()),
    };
    Ok(answer(ChatV3Result {
        finish_reason: Some(finish(&message, reason)),
        message,
        created,
        seed,
        usage: Some(completion.usage.into()),
    }))
}

/// The form of an answer as the engine holds to it.
fn form(format: &ResponseFormat) -> Result<Constraint, ApiError> {
    let schema = Value::Object(format.schema.clone());
    Constraint::json_schema(&schema).map_err(|error| ApiError::constraint(&error, SCHEMA))
}

/// An answer that calls ends for that reason, unless it was cut.
fn finish(message: &AnswerV3, reason: FinishReason) -> FinishV3 {
    match FinishV3::from(reason) {
        FinishV3::Stop if message.tool_calls.is_some() => FinishV3::ToolCalls,
        finish => finish,
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs())
}

/// What a stream has told so far.
#[derive(Debug)]
struct Told {
    /// The id of every event.
    id: String,
    /// The whole text, for the `result` event; `None` where the client puts it together itself.
    text: Option<String>,
    reason: FinishReason,
    usage: Usage,
}

impl Told {
    fn new(caller: &Caller, stream_field: Option<bool>) -> Self {
        Self {
            id: caller.request_id.as_str().to_owned(),
            text: (stream_field != Some(true)).then(String::new),
            reason: FinishReason::Cancelled,
            usage: Usage::default(),
        }
    }

    /// Takes an event; returns the new text, if there is any.
    fn take(&mut self, event: GenerationEvent) -> Option<String> {
        match event {
            GenerationEvent::Text { text, .. } if !text.is_empty() => {
                if let Some(whole) = &mut self.text {
                    whole.push_str(&text);
                }
                return Some(text);
            }
            GenerationEvent::Finished { reason, .. } => self.reason = reason,
            GenerationEvent::Done { usage, .. } => self.usage = usage,
            GenerationEvent::Text { .. } | GenerationEvent::Failed { .. } => {}
        }
        None
    }

    fn write(&self, name: &str, data: &impl Serialize, out: &mut SseWriter) {
        out.event(Some(&self.id), Some(name), data);
    }

    /// The last two events: the result, and the mark that nothing follows.
    fn end(&self, result: &impl Serialize, out: &mut SseWriter) {
        self.write("result", result, out);
        self.write("signal", &serde_json::json!({"data": "[DONE]"}), out);
    }

    fn fail(&self, error: &ApiError, out: &mut SseWriter) {
        self.write("error", &failure(error).1, out);
    }
}

#[derive(Debug)]
struct V1Narrator {
    told: Told,
    seed: u64,
}

impl Narrator for V1Narrator {
    fn event(&mut self, _: usize, event: GenerationEvent, out: &mut SseWriter) {
        if let Some(text) = self.told.take(event) {
            self.told.write("token", &ChatV1Token { message: AnswerMessage::new(text) }, out);
        }
    }

    fn end(&mut self, out: &mut SseWriter) {
        let text = self.told.text.as_deref().unwrap_or_default();
        self.told.end(&result_v1(text, self.told.reason, self.told.usage, self.seed), out);
    }

    fn failed(&mut self, error: &ApiError, out: &mut SseWriter) {
        self.told.fail(error, out);
    }
}

#[derive(Debug)]
struct V3Narrator {
    told: Told,
    reader: Option<Reader>,
    seed: u64,
    created: u64,
}

impl V3Narrator {
    fn message(&self, message: AnswerV3) -> ChatV3Result {
        ChatV3Result { message, finish_reason: None, created: self.created, seed: self.seed, usage: None }
    }
}

impl Narrator for V3Narrator {
    fn event(&mut self, _: usize, event: GenerationEvent, out: &mut SseWriter) {
        let Some(text) = self.told.take(event) else { return };
        let messages = self.reader.as_mut().map_or_else(|| vec![AnswerV3::new(&text)], |reader| reader.push(&text));
        for message in messages {
            self.told.write("token", &self.message(message), out);
        }
    }

    fn end(&mut self, out: &mut SseWriter) {
        for message in self.reader.as_mut().map(Reader::finish).unwrap_or_default() {
            self.told.write("token", &self.message(message), out);
        }
        let mut answer = match &self.reader {
            Some(reader) => reader.answer(),
            None => AnswerV3::new(self.told.text.as_deref().unwrap_or_default()),
        };
        if self.told.text.is_none() {
            answer.content.clear();
        }
        let finish_reason = finish(&answer, self.told.reason);
        let mut result = self.message(answer);
        result.finish_reason = Some(finish_reason);
        result.usage = Some(self.told.usage.into());
        self.told.end(&result, out);
    }

    fn failed(&mut self, error: &ApiError, out: &mut SseWriter) {
        self.told.fail(error, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saem_engine::Timings;

    fn text(text: &str) -> GenerationEvent {
        GenerationEvent::Text { candidate: 0, text: text.into(), tokens: Vec::new(), count: 1 }
    }

    fn told(stream_field: Option<bool>) -> Told {
        let id = crate::RequestId::from_header(Some(&"abc".parse().unwrap()));
        Told::new(&Caller::anonymous(id), stream_field)
    }

    fn narrate(narrator: &mut impl Narrator) -> String {
        let mut out = SseWriter::default();
        for event in [
            text("안"),
            text(""),
            text("녕"),
            GenerationEvent::Finished { candidate: 0, reason: FinishReason::EndToken(2) },
            GenerationEvent::Done {
                usage: Usage { prompt_tokens: 20, cached_tokens: 0, completion_tokens: 5 },
                timings: Timings::default(),
            },
        ] {
            narrator.event(0, event, &mut out);
        }
        narrator.end(&mut out);
        out.as_str().to_owned()
    }

    #[test]
    fn version_1_streams_as_documented() {
        let mut narrator = V1Narrator { told: told(None), seed: 3 };
        let expected = "id:abc\nevent:token\ndata: {\"message\":{\"role\":\"assistant\",\"content\":\"안\"}}\n\n\
            id:abc\nevent:token\ndata: {\"message\":{\"role\":\"assistant\",\"content\":\"녕\"}}\n\n\
            id:abc\nevent:result\ndata: {\"message\":{\"role\":\"assistant\",\"content\":\"안녕\"},\
            \"stopReason\":\"stop_before\",\"inputLength\":20,\"outputLength\":5,\"seed\":3}\n\n\
            id:abc\nevent:signal\ndata: {\"data\":\"[DONE]\"}\n\n";
        assert_eq!(narrate(&mut narrator), expected);
    }

    #[test]
    fn who_puts_the_tokens_together_gets_the_text_once() {
        let result = |field| {
            let mut narrator = V3Narrator { told: told(field), reader: None, seed: 3, created: 7 };
            let out = narrate(&mut narrator);
            out.split("event:result\ndata: ").nth(1).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(
            result(None),
            r#"{"message":{"role":"assistant","content":"안녕"},"finishReason":"stop","created":7,"seed":3,"usage":{"promptTokens":20,"completionTokens":5,"totalTokens":25}}"#
        );
        assert!(
            result(Some(true)).starts_with(r#"{"message":{"role":"assistant","content":""},"finishReason":"stop""#)
        );
    }

    #[test]
    fn a_failure_is_an_event_of_its_own() {
        let mut out = SseWriter::default();
        V3Narrator { told: told(None), reader: None, seed: 3, created: 7 }.failed(&ApiError::internal(), &mut out);
        assert!(
            out.as_str().starts_with("id:abc\nevent:error\ndata: {\"status\":{\"code\":\"50000\""),
            "{}",
            out.as_str()
        );
    }
}
