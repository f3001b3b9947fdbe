//! `/v1/chat/completions` piece by piece.

use saem_engine::tools::{ToolCallParser, ToolEvent};
use serde::Serialize;

use super::chat::{ChatLogprobs, chat_finish_reason, logprobs};
use super::parameters::{FINGERPRINT, Heading, Usage};
use super::structure::{Functions, ToolCallKind, call_id};
use crate::http::{Narrator, SseWriter};
use crate::service::GenerationEvent;

/// Tells of a conversation's answer in chunks.
pub(super) struct ChatStream {
    heading: Heading,
    choices: usize,
    include_usage: bool,
    usage: Usage,
    /// One for each choice, where functions may be called.
    parsers: Vec<ToolCallParser>,
}

/// A piece of an answer.
#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [ChunkChoice<'a>],
    /// Absent where it was not asked for; null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

/// What is new.
#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallDelta<'a>; 1]>,
}

/// What is new of a call.
#[derive(Serialize)]
struct CallDelta<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<ToolCallKind>,
    function: FunctionDelta<'a>,
}

#[derive(Serialize)]
struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> Delta<'a> {
    fn call(call: CallDelta<'a>) -> Self {
        Self { tool_calls: Some([call]), ..Self::default() }
    }
}

impl ChatStream {
    pub(super) fn new(heading: Heading, choices: usize, include_usage: bool, functions: Option<&Functions>) -> Self {
        let parsers = functions.map(|functions| vec![functions.parser(); choices]).unwrap_or_default();
        Self { heading, choices, include_usage, usage: Usage::default(), parsers }
    }

    /// Passes text through the choice's parser, and all that it holds back where the text is at its `end`.
    /// The log-probabilities of the text's tokens go with the first chunk, or into one of their own where the parser
    /// holds everything back.
    fn parsed(
        &mut self,
        choice: usize,
        text: &str,
        mut logprobs: Option<ChatLogprobs>,
        end: bool,
        out: &mut SseWriter,
    ) {
        let mut events = Vec::new();
        if let Some(parser) = self.parsers.get_mut(choice) {
            let mut tell = |event| events.push(event);
            parser.push(text, &mut tell);
            if end {
                parser.finish(&mut tell);
            }
        }
        for event in &events {
            let delta = match event {
                ToolEvent::Text(text) => Delta { content: Some(text), ..Delta::default() },
                ToolEvent::Begin { index, name } => Delta::call(CallDelta {
                    index: *index,
                    id: Some(call_id()),
                    kind: Some(ToolCallKind::Function),
                    function: FunctionDelta { name: Some(name), arguments: "" },
                }),
                ToolEvent::Arguments { index, text } => Delta::call(CallDelta {
                    index: *index,
                    id: None,
                    kind: None,
                    function: FunctionDelta { name: None, arguments: text },
                }),
                _ => continue,
            };
            let choice = ChunkChoice { index: choice, delta, logprobs: logprobs.take(), finish_reason: None };
            self.chunk(&[choice], None, out);
        }
        if logprobs.is_some() {
            let choice = ChunkChoice { index: choice, delta: Delta::default(), logprobs, finish_reason: None };
            self.chunk(&[choice], None, out);
        }
    }

    fn chunk(&self, choices: &[ChunkChoice<'_>], usage: Option<Usage>, out: &mut SseWriter) {
        out.data(&Chunk {
            id: &self.heading.id,
            object: "chat.completion.chunk",
            created: self.heading.created,
            model: &self.heading.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage: self.include_usage.then_some(usage),
        });
    }
}

impl Narrator for ChatStream {
    fn begin(&mut self, out: &mut SseWriter) {
        for index in 0..self.choices {
            let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
            self.chunk(&[ChunkChoice { index, delta, logprobs: None, finish_reason: None }], None, out);
        }
    }

    fn event(&mut self, _: usize, event: GenerationEvent, out: &mut SseWriter) {
        match event {
            GenerationEvent::Text { candidate: index, text, tokens, .. } => {
                let logprobs = logprobs(&tokens);
                if !self.parsers.is_empty() {
                    return self.parsed(index, &text, logprobs, false, out);
                }
                if text.is_empty() && logprobs.is_none() {
                    return;
                }
                let delta = Delta { content: Some(&text), ..Delta::default() };
                self.chunk(&[ChunkChoice { index, delta, logprobs, finish_reason: None }], None, out);
            }
            GenerationEvent::Finished { candidate: index, reason } => {
                self.parsed(index, "", None, true, out);
                let calls = self.parsers.get(index).is_some_and(|parser| parser.calls() > 0);
                let finish_reason = Some(chat_finish_reason(reason, calls));
                let delta = Delta::default();
                self.chunk(&[ChunkChoice { index, delta, logprobs: None, finish_reason }], None, out);
            }
            GenerationEvent::Done { usage, .. } => self.usage.add(usage),
            GenerationEvent::Failed { .. } => {}
        }
    }

    fn end(&mut self, out: &mut SseWriter) {
        if self.include_usage {
            self.chunk(&[], Some(self.usage), out);
        }
        out.mark("[DONE]");
    }
}
