//! What comes back from a model's thread.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use saem_engine::{CandidateText, Completion, FinishReason, Timings, TokenOutput, Usage};
use tokio::sync::mpsc::UnboundedReceiver;

use super::record::{Outcome, Record};
use crate::ApiError;

/// Something that happened to a request.
#[derive(Debug)]
pub enum GenerationEvent {
    /// A candidate's text grew by whole characters.
    Text {
        /// Which candidate, from 0.
        candidate: usize,
        /// The new text; empty where tokens made none.
        text: String,
        /// The tokens that made it, where the request asks for log-probabilities; else none.
        tokens: Vec<TokenOutput>,
        /// How many tokens made it.
        count: usize,
    },
    /// A candidate is complete.
    Finished {
        /// Which candidate, from 0.
        candidate: usize,
        /// Why.
        reason: FinishReason,
    },
    /// All candidates are complete; the last event of a request that went well.
    Done {
        /// Tokens taken.
        usage: Usage,
        /// Where the time went.
        timings: Timings,
    },
    /// The request failed; its last event.
    Failed {
        /// What the client is told.
        error: ApiError,
    },
}

/// A request at work: a stream of [`GenerationEvent`]s that ends after `Done` or `Failed`.
///
/// Dropping it cancels the request; the engine sees that before its next pass and frees what the request held.
#[derive(Debug)]
pub struct Generation {
    events: UnboundedReceiver<GenerationEvent>,
    cancel: Arc<AtomicBool>,
    candidates: usize,
    seed: u64,
    ended: bool,
    record: Record,
}

impl Generation {
    pub(super) fn new(
        events: UnboundedReceiver<GenerationEvent>,
        cancel: Arc<AtomicBool>,
        candidates: usize,
        record: Record,
    ) -> Self {
        Self { events, cancel, candidates, seed: 0, ended: false, record }
    }

    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// The engine did not take the request, so nothing ended.
    pub(super) fn refused(&mut self) {
        self.ended = true;
    }

    /// The seed that the request draws with, its own or a fresh one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Texts that are made for the prompt.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// Waits for the end and returns all of it.
    ///
    /// # Errors
    /// What the request failed with.
    pub async fn complete(mut self) -> Result<Completion, ApiError> {
        let empty = CandidateText { text: String::new(), tokens: Vec::new(), reason: FinishReason::Cancelled };
        let mut candidates = vec![empty; self.candidates];
        while let Some(event) = self.next().await {
            match event {
                GenerationEvent::Text { candidate, text, tokens, .. } => {
                    if let Some(candidate) = candidates.get_mut(candidate) {
                        candidate.text.push_str(&text);
                        candidate.tokens.extend(tokens);
                    }
                }
                GenerationEvent::Finished { candidate, reason } => {
                    if let Some(candidate) = candidates.get_mut(candidate) {
                        candidate.reason = reason;
                    }
                }
                GenerationEvent::Done { usage, timings } => {
                    return Ok(Completion { candidates, seed: self.seed, usage, timings });
                }
                GenerationEvent::Failed { error } => return Err(error),
            }
        }
        Err(ApiError::internal())
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<GenerationEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => event,
            // The thread is gone without a word.
            Poll::Ready(None) => GenerationEvent::Failed { error: ApiError::internal() },
            Poll::Pending => return Poll::Pending,
        };
        match &event {
            GenerationEvent::Text { count, .. } => self.record.produced(*count),
            GenerationEvent::Finished { .. } => {}
            GenerationEvent::Done { usage, timings } => {
                self.ended = true;
                self.record.end(Outcome::Done, Some((*usage, *timings)));
            }
            GenerationEvent::Failed { .. } => {
                self.ended = true;
                self.record.end(Outcome::Failed, None);
            }
        }
        Poll::Ready(Some(event))
    }
}

impl Stream for Generation {
    type Item = GenerationEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<GenerationEvent>> {
        self.poll_event(context)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if !self.ended {
            self.record.end(Outcome::Cancelled, None);
        }
    }
}
