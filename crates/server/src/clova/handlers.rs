//! The handlers of the completion API and of the explorer's tools.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use saem_engine::chat::{Message, RenderOptions};
use saem_engine::{FinishReason, ModelText, Request, Sampling};

use super::chat::request_of;
use super::chat_v1::TextPlan;
use super::completion::{CompletionRequest, CompletionResult, Output, PROBABLE_TOKENS, spelt};
use super::explorer::{
    Count, CountV1Request, CountV1Result, CountV3Request, CountV3Result, Counted, CountedMessage, CountedMessageV3,
    CountedPart, CountedText, PlainMessage, SlidingRequest, SlidingResult, SummarizationRequest, SummarizationResult,
    count_messages, countable, slide,
};
use super::lexical::vectors;
use super::messages::{Dialect, to_engine};
use super::segmentation::{SegmentationRequest, SegmentationResult, Settings, segment, sentences_of};
use super::status::{Envelope, Failure, answer};
use super::summary::{MAX_PARTS, SUMMARY_TOKENS, line, prompts};
use super::target::{Target, rendering, resolve};
use crate::http::{JsonBody, blocking};
use crate::nfc::nfc;
use crate::service::{Generation, Served};
use crate::{ApiError, App, Caller};

/// Parts of a text that are summarised at the same time.
const SUMMARIES_AT_ONCE: usize = 4;

/// Continues a text, as in 2021.
#[utoipa::path(post, path = "/v1/completions/{model}", tag = "clova", request_body = CompletionRequest,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<CompletionResult>), (status = "4XX", body = Failure)))]
pub(crate) async fn complete(
    State(app): State<App>,
    caller: Caller,
    Target(model): Target,
    JsonBody(request): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    let plan = request.plan()?;
    let (text, whole) = (Arc::clone(model.text()), nfc(request.prompt()));
    let prompt = blocking(move || Ok(text.prompt_tokens(&whole))).await?;
    let spelling = |token: &u32| model.text().tokenizer().token_bytes(*token).map(spelt).unwrap_or_default();
    let input_tokens = prompt.iter().map(spelling).collect();
    let logprobs = match (request.include_probs, request.include_tokens) {
        (Some(true), _) => Some(PROBABLE_TOKENS),
        (_, Some(true)) => Some(0),
        _ => None,
    };
    let engine =
        Request { max_tokens: Some(plan.max_tokens), stop: plan.stop, logprobs, ..Request::new(prompt, plan.sampling) };
    let completion = app.start(&caller, &model, engine).await?.complete().await?;
    let candidate = completion.candidates.first();
    let output = Output {
        text: completion.text(),
        tokens: candidate.map_or(&[], |candidate| &candidate.tokens),
        reason: candidate.map_or(FinishReason::Cancelled, |candidate| candidate.reason),
        input_tokens,
        output_length: completion.usage.completion_tokens,
        seed: completion.seed,
    };
    Ok(answer(CompletionResult::new(&request, output)))
}

/// How conversations are counted: without the beginning of an answer.
fn counting() -> RenderOptions {
    RenderOptions { add_generation_prompt: false, ..rendering() }
}

fn tokens_of(text: &ModelText, messages: &[Message], options: &RenderOptions) -> Result<usize, ApiError> {
    Ok(text.chat_tokens(messages, options)?.len())
}

/// Counts the tokens of a conversation, or of a text (version 1).
#[utoipa::path(post, path = "/v1/api-tools/chat-tokenize/{model}", tag = "clova", request_body = CountV1Request,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<CountV1Result>), (status = "4XX", body = Failure)))]
pub(crate) async fn count_v1(
    Target(model): Target,
    JsonBody(request): JsonBody<CountV1Request>,
) -> Result<Response, ApiError> {
    let text = Arc::clone(model.text());
    blocking(move || {
        let messages = match request.counted()? {
            Counted::Messages(messages) => messages,
            Counted::Text(words) => {
                let num_tokens = text.tokenizer().encode(&nfc(words.to_owned()), false, false).len();
                return Ok(answer(CountedText { num_tokens }));
            }
        };
        let converted = to_engine(messages, Dialect::V1)?;
        let counts = count_messages(&converted, &mut |part| tokens_of(&text, part, &counting()))?;
        let counted = messages.iter().zip(counts).map(|(message, count)| {
            Ok(CountedMessage { role: message.role, content: message.content.text("messages")?, count })
        });
        Ok(answer(CountV1Result { messages: counted.collect::<Result<_, ApiError>>()? }))
    })
    .await
}

/// Counts the tokens of a conversation and of functions (version 3).
#[utoipa::path(post, path = "/v3/api-tools/chat-tokenize/{model}", tag = "clova", request_body = CountV3Request,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<CountV3Result>), (status = "4XX", body = Failure)))]
pub(crate) async fn count_v3(
    Target(model): Target,
    JsonBody(request): JsonBody<CountV3Request>,
) -> Result<Response, ApiError> {
    let text = Arc::clone(model.text());
    blocking(move || {
        let messages = countable(&request.messages)?;
        let converted = to_engine(messages, Dialect::V3)?;
        let counts = count_messages(&converted, &mut |part| tokens_of(&text, part, &counting()))?;
        let counted = messages.iter().zip(counts).map(|(message, count)| {
            let part = CountedPart { kind: "text", text: message.content.text("messages")?, count };
            Ok(CountedMessageV3 { role: message.role, content: vec![part] })
        });
        let counted = counted.collect::<Result<Vec<_>, ApiError>>()?;
        let tools = match &request.tools {
            Some(tools) => {
                let tools = serde_json::to_value(tools).map_err(|_| ApiError::internal())?;
                let with_tools = RenderOptions { tools: Some(tools), ..counting() };
                let without = tokens_of(&text, &converted, &counting())?;
                let count = tokens_of(&text, &converted, &with_tools)?.saturating_sub(without);
                Some(Count { count })
            }
            None => None,
        };
        let response_format = request.response_format.as_ref().map(|_| Count { count: 0 });
        Ok(answer(CountV3Result { messages: counted, tools, response_format }))
    })
    .await
}

/// Leaves out the oldest turns of a conversation until it fits.
#[utoipa::path(post, path = "/v1/api-tools/sliding/chat-messages/{model}", tag = "clova", request_body = SlidingRequest,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Envelope<SlidingResult>), (status = "4XX", body = Failure)))]
pub(crate) async fn slide_window(
    Target(model): Target,
    JsonBody(request): JsonBody<SlidingRequest>,
) -> Result<Response, ApiError> {
    let budget = model.limits().context.saturating_sub(request.reserved()?);
    let text = Arc::clone(model.text());
    blocking(move || {
        let converted = to_engine(&request.messages, Dialect::V1)?;
        let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
        // With the beginning of the answer: what fits here fits when it is sent.
        let remaining = slide(&roles, budget, &mut |numbers| {
            let part: Vec<Message> = numbers.iter().filter_map(|number| converted.get(*number).cloned()).collect();
            tokens_of(&text, &part, &rendering())
        })?;
        let messages = remaining
            .into_iter()
            .filter_map(|number| request.messages.get(number))
            .map(|message| Ok(PlainMessage { role: message.role, content: message.content.text("messages")? }));
        Ok(answer(SlidingResult { messages: messages.collect::<Result<_, ApiError>>()? }))
    })
    .await
}

/// The sentences of a text and the ranges of them that are paragraphs. What sentences are about is told by their
/// embeddings where a sentence encoder is served, else by their words.
async fn paragraphs(
    app: &App,
    caller: &Caller,
    text: &str,
    settings: Settings,
) -> Result<(Vec<String>, Vec<Range<usize>>), ApiError> {
    let sentences: Vec<String> = sentences_of(text, &settings)?.into_iter().map(str::to_owned).collect();
    let embedder = app.service().embedders().iter().find(|embedder| caller.allows_model(embedder.name()));
    let embedded = match embedder {
        Some(embedder) => Some(app.embed(caller, embedder, sentences.clone()).await?),
        None => None,
    };
    blocking(move || {
        let vectors = match embedded {
            Some(embedded) => embedded.vectors.iter().map(|vector| vector.to_vec()).collect(),
            None => vectors(&sentences.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        let lengths: Vec<usize> = sentences.iter().map(|sentence| sentence.chars().count()).collect();
        let ranges = ranges(&segment(&lengths, &vectors, &settings), sentences.len());
        Ok((sentences, ranges))
    })
    .await
}

/// The ranges of sentences that begin at `starts`.
fn ranges(starts: &[usize], sentences: usize) -> Vec<Range<usize>> {
    let ends = starts.iter().skip(1).copied().chain([sentences]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// Parts a text into paragraphs by topic.
#[utoipa::path(post, path = "/v1/api-tools/segmentation", tag = "clova", request_body = SegmentationRequest,
    responses((status = 200, body = Envelope<SegmentationResult>), (status = "4XX", body = Failure)))]
pub(crate) async fn segmentation(
    State(app): State<App>,
    caller: Caller,
    JsonBody(request): JsonBody<SegmentationRequest>,
) -> Result<Response, ApiError> {
    let settings = request.settings()?;
    let text = nfc(request.text);
    let (sentences, ranges) = paragraphs(&app, &caller, &text, settings).await?;
    let tokenizer = app.service().models().first().map(|model| model.text().shared_tokenizer());
    let count = move || Ok(tokenizer.map_or(0, |tokenizer| tokenizer.encode(&text, false, false).len()));
    let input_tokens = blocking(count).await?;
    let topic_seg = ranges.iter().map(|range| sentences.get(range.clone()).unwrap_or_default().to_vec()).collect();
    let span = ranges.into_iter().map(Iterator::collect).collect();
    Ok(answer(SegmentationResult { topic_seg, span, input_tokens }))
}

/// Summarises texts, part by part.
#[utoipa::path(post, path = "/v1/api-tools/summarization/v2", tag = "clova", request_body = SummarizationRequest,
    responses((status = 200, body = Envelope<SummarizationResult>), (status = "4XX", body = Failure)))]
pub(crate) async fn summarize(
    State(app): State<App>,
    caller: Caller,
    JsonBody(request): JsonBody<SummarizationRequest>,
) -> Result<Response, ApiError> {
    let (text, settings) = request.plan()?;
    let text = nfc(text);
    // The path names no model, so it is the one that names of CLOVA Studio lead to.
    let model = app.model(&caller, &resolve(&app, "HCX-005")?)?;
    let is_parted = settings.is_some();
    let parts: Vec<Vec<String>> = match settings {
        None => vec![vec![text.clone()]],
        Some(settings) => {
            let (sentences, ranges) = paragraphs(&app, &caller, &text, settings).await?;
            ranges.into_iter().map(|range| sentences.get(range).unwrap_or_default().to_vec()).collect()
        }
    };
    let (model_text, room) = (Arc::clone(model.text()), model.limits().context.saturating_sub(SUMMARY_TOKENS));
    let (prompts, input_tokens) = blocking(move || {
        let parts: Vec<Vec<&str>> = parts.iter().map(|part| part.iter().map(String::as_str).collect()).collect();
        let count = &mut |messages: &[Message]| Ok(model_text.chat_tokens(messages, &rendering())?);
        let input_tokens = model_text.tokenizer().encode(&text, false, false).len();
        Ok((prompts(&parts, is_parted, room, count)?, input_tokens))
    })
    .await?;
    if prompts.len() > MAX_PARTS {
        let message = format!("`segMaxSize` makes {} parts (allowed: 1 to {MAX_PARTS})", prompts.len());
        return Err(ApiError::invalid_value("segMaxSize", message));
    }
    let mut running: VecDeque<Generation> = VecDeque::new();
    let mut lines = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        if running.len() == SUMMARIES_AT_ONCE
            && let Some(oldest) = running.pop_front()
        {
            lines.push(line(oldest.complete().await?.text()));
        }
        running.push_back(app.start(&caller, &model, summary_request(&model, prompt)).await?);
    }
    for generation in running {
        lines.push(line(generation.complete().await?.text()));
    }
    Ok(answer(SummarizationResult { text: lines.join("\n"), input_tokens }))
}

/// A summary is the same every time: the most probable tokens, and no line twice.
fn summary_request(model: &Served, prompt: Vec<u32>) -> Request {
    let sampling = Sampling { repetition_penalty: 1.1, ..Sampling::greedy() };
    request_of(model, prompt, TextPlan { sampling, max_tokens: SUMMARY_TOKENS, stop: Vec::new() })
}
