//! Answers that come piece by piece, as server-sent events.
//!
//! An event is written whole or not at all, and its text consists of whole characters, since the engine hands out no
//! others: a syllable is never split. What is ready at one time goes out as one piece, so a client that reads slowly
//! gets fewer and larger pieces, not a growing queue of small ones.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_core::Stream;
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep};

use crate::ApiError;
use crate::service::{Generation, GenerationEvent};

/// A comment is sent after so long a silence, so that proxies keep the connection and a broken one is noticed.
const SILENCE: Duration = Duration::from_secs(15);
/// Bytes after which a piece goes out though more is ready.
const PIECE: usize = 16 << 10;

/// Collects events until they are sent.
#[derive(Debug, Default)]
pub struct SseWriter {
    buffer: BytesMut,
}

impl SseWriter {
    /// Writes `data: <JSON>`.
    pub fn data(&mut self, data: &impl Serialize) {
        self.event(None, None, data);
    }

    /// Writes an event with its id and name, as far as it has them.
    pub fn event(&mut self, id: Option<&str>, name: Option<&str>, data: &impl Serialize) {
        let begin = self.buffer.len();
        for (field, value) in [("id:", id), ("event:", name)] {
            if let Some(value) = value {
                self.buffer.extend_from_slice(field.as_bytes());
                // A line feed would end the field; ids and names are ours and have none.
                self.buffer.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
                self.buffer.put_u8(b'\n');
            }
        }
        self.buffer.extend_from_slice(b"data: ");
        // JSON has no raw line feeds, so one line is enough.
        if serde_json::to_writer((&mut self.buffer).writer(), data).is_err() {
            self.buffer.truncate(begin);
            return;
        }
        self.buffer.extend_from_slice(b"\n\n");
    }

    /// Writes `data: <text>`, for marks such as `[DONE]`; the text has one line.
    pub fn mark(&mut self, text: &str) {
        self.buffer.extend_from_slice(b"data: ");
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(b"\n\n");
    }

    /// What was written, as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.buffer).unwrap_or_default()
    }

    fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

/// Turns what happens to requests into the events of one API.
pub trait Narrator: Send + Unpin + 'static {
    /// Before anything else.
    fn begin(&mut self, _out: &mut SseWriter) {}

    /// Something happened to generation number `index`. `Failed` does not come here.
    fn event(&mut self, index: usize, event: GenerationEvent, out: &mut SseWriter);

    /// All generations are done.
    fn end(&mut self, out: &mut SseWriter);

    /// A generation failed; nothing follows.
    fn failed(&mut self, error: &ApiError, out: &mut SseWriter) {
        out.data(&error.body());
    }
}

/// A response that tells of `generations` while they run. When the client hangs up they are dropped, and so cancelled.
pub fn stream(generations: Vec<Generation>, mut narrator: impl Narrator) -> Response {
    let mut out = SseWriter::default();
    narrator.begin(&mut out);
    let generations = generations.into_iter().map(Some).collect();
    let silence = Box::pin(sleep(SILENCE));
    let body = Body::from_stream(Pieces { generations, narrator, out, silence, ended: false });
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Pieces<N> {
    generations: Vec<Option<Generation>>,
    narrator: N,
    out: SseWriter,
    silence: Pin<Box<Sleep>>,
    ended: bool,
}

impl<N: Narrator> Pieces<N> {
    /// Writes what is ready.
    fn collect(&mut self, context: &mut Context<'_>) {
        let Self { generations, narrator, out, .. } = self;
        for (index, slot) in generations.iter_mut().enumerate() {
            while let Some(generation) = slot {
                match Pin::new(generation).poll_next(context) {
                    Poll::Ready(Some(GenerationEvent::Failed { error })) => {
                        narrator.failed(&error, out);
                        self.ended = true;
                        return;
                    }
                    Poll::Ready(Some(event)) => narrator.event(index, event, out),
                    Poll::Ready(None) => *slot = None,
                    Poll::Pending => break,
                }
                if out.buffer.len() > PIECE {
                    // The rest is still there when this piece has gone.
                    context.waker().wake_by_ref();
                    return;
                }
            }
        }
        if generations.iter().all(Option::is_none) {
            narrator.end(out);
            self.ended = true;
        }
    }
}

impl<N: Narrator> Stream for Pieces<N> {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pieces = &mut *self;
        if !pieces.ended {
            pieces.collect(context);
        }
        if !pieces.out.buffer.is_empty() {
            pieces.silence.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(Some(Ok(pieces.out.take())));
        }
        if pieces.ended {
            // What is left of other generations ends with the response.
            pieces.generations.clear();
            return Poll::Ready(None);
        }
        if pieces.silence.as_mut().poll(context).is_ready() {
            pieces.silence.as_mut().reset(Instant::now() + SILENCE);
            // The timer that fired must be asked again to fire again.
            let _ = pieces.silence.as_mut().poll(context);
            return Poll::Ready(Some(Ok(Bytes::from_static(b": still here\n\n"))));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_block_of_lines() {
        let mut out = SseWriter::default();
        out.event(Some("7"), Some("tok\nen"), &serde_json::json!({"text": "샘\n물"}));
        out.mark("[DONE]");
        assert_eq!(out.as_str(), "id:7\nevent:token\ndata: {\"text\":\"샘\\n물\"}\n\ndata: [DONE]\n\n");
    }
}
