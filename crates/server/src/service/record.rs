//! How requests ended, for logs, metrics and bills.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saem_engine::{Timings, Usage};

use super::Served;
use crate::Caller;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With all of its text.
    Done,
    /// By an error of the engine.
    Failed,
    /// Because nobody waited for it any more.
    Cancelled,
}

impl Outcome {
    /// A word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A request that the engine took and that is over.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Who asked.
    pub caller: &'a Caller,
    /// Whom.
    pub model: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens taken. Of a request that did not end well: its prompt, and the tokens that reached the client.
    pub usage: Usage,
    /// Where the time went, if it ended well.
    pub timings: Option<Timings>,
    /// From the request to its end.
    pub elapsed: Duration,
}

/// Somebody who wants to know how requests end. Called on the runtime's threads, so it must not wait.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// A request is over.
    fn finished(&self, finished: &Finished<'_>);
}

/// What becomes a [`Finished`].
#[derive(Debug)]
pub(super) struct Record {
    caller: Caller,
    model: Arc<Served>,
    begun: Instant,
    usage: Usage,
    recorders: Arc<[Arc<dyn Recorder>]>,
}

impl Record {
    pub(super) fn new(
        caller: Caller,
        model: Arc<Served>,
        prompt_tokens: usize,
        recorders: Arc<[Arc<dyn Recorder>]>,
    ) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        Self { caller, model, begun: Instant::now(), usage, recorders }
    }

    pub(super) fn produced(&mut self, tokens: usize) {
        self.usage.completion_tokens += tokens;
    }

    pub(super) fn end(&self, outcome: Outcome, known: Option<(Usage, Timings)>) {
        let finished = Finished {
            caller: &self.caller,
            model: self.model.name(),
            outcome,
            usage: known.map_or(self.usage, |(usage, _)| usage),
            timings: known.map(|(_, timings)| timings),
            elapsed: self.begun.elapsed(),
        };
        self.recorders.iter().for_each(|recorder| recorder.finished(&finished));
    }
}
