//! `/v1/chat/completions` piece by piece.

use serde::Serialize;

use super::chat::{ChatLogprobs, logprobs};
use super::parameters::{FINGERPRINT, Heading, Usage, finish_reason};
use crate::http::{Narrator, SseWriter};
use crate::service::GenerationEvent;

/// Tells of a conversation's answer in chunks.
pub(super) struct ChatStream {
    heading: Heading,
    choices: usize,
    include_usage: bool,
    usage: Usage,
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
}

impl ChatStream {
    pub(super) fn new(heading: Heading, choices: usize, include_usage: bool) -> Self {
        Self { heading, choices, include_usage, usage: Usage::default() }
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
            let delta = Delta { role: Some("assistant"), content: Some("") };
            self.chunk(&[ChunkChoice { index, delta, logprobs: None, finish_reason: None }], None, out);
        }
    }

    fn event(&mut self, _: usize, event: GenerationEvent, out: &mut SseWriter) {
        match event {
            GenerationEvent::Text { candidate: index, text, tokens, .. } => {
                let logprobs = logprobs(&tokens);
                if text.is_empty() && logprobs.is_none() {
                    return;
                }
                let delta = Delta { role: None, content: Some(&text) };
                self.chunk(&[ChunkChoice { index, delta, logprobs, finish_reason: None }], None, out);
            }
            GenerationEvent::Finished { candidate: index, reason } => {
                let finish_reason = Some(finish_reason(reason));
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
