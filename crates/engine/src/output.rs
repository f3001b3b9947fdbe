//! What comes out of a request: events while it runs, a completion when it is done.

use std::time::Duration;

use crate::EngineError;

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenOutput {
    /// Its id; of a label ([`Adapter::labels`](crate::Adapter::labels)) the number.
    pub token: u32,
    /// The bytes it stands for, possibly part of a character.
    pub bytes: Box<[u8]>,
    /// Its log-probability and the best alternatives, where the request asks for them.
    pub logprobs: Option<TokenLogprobs>,
}

/// Log-probabilities at one position: from the model's own logits, before penalties and temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token that was chosen.
    pub logprob: f32,
    /// Of the most probable tokens, best first; the chosen one may be among them.
    pub top: Vec<Alternative>,
}

/// A token that could have been chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// Its id.
    pub token: u32,
    /// The bytes it stands for.
    pub bytes: Box<[u8]>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model produced this end token.
    EndToken(u32),
    /// One of the request's stop strings appeared.
    StopString,
    /// The text fulfils the request's constraint and nothing can follow.
    Constraint,
    /// The adapter tells labels apart, and told one.
    Label,
    /// The request's maximum of tokens was reached.
    Length,
    /// The context is full; the text could have gone on.
    ContextFull,
    /// The request was cancelled.
    Cancelled,
}

impl FinishReason {
    /// OpenAI's word for it: `stop` or `length`; a cancelled request is `cancelled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndToken(_) | Self::StopString | Self::Constraint | Self::Label => "stop",
            Self::Length | Self::ContextFull => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Tokens that a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, the virtual ones of a soft prompt included.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were already in the cache.
    pub cached_tokens: usize,
    /// Generated tokens of all candidates, end tokens and the tokens of stop strings included.
    pub completion_tokens: usize,
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From submission to the first pass.
    pub queued: Duration,
    /// From the first pass to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

impl Timings {
    /// From submission to the first token.
    #[must_use]
    pub fn to_first_token(&self) -> Duration {
        self.queued + self.prefill
    }

    /// Prompt tokens computed in a second.
    #[must_use]
    pub fn prefill_tokens_per_second(&self, usage: &Usage) -> f64 {
        rate(usage.prompt_tokens - usage.cached_tokens.min(usage.prompt_tokens), self.prefill)
    }

    /// Tokens generated in a second, the first one of each candidate not counted: it belongs to the prefill.
    #[must_use]
    pub fn decode_tokens_per_second(&self, usage: &Usage, candidates: usize) -> f64 {
        rate(usage.completion_tokens.saturating_sub(candidates), self.decode)
    }
}

pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// Something that happened to a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A part of the prompt was computed.
    Prefill {
        /// Tokens done so far, cached ones included.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A candidate's text grew.
    Text {
        /// Which candidate, from 0.
        candidate: usize,
        /// Whole characters; may be empty where a token made none.
        text: &'a str,
        /// The tokens that made it.
        tokens: &'a [TokenOutput],
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
        /// Why.
        error: EngineError,
    },
}

/// What the receiver of an event wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    #[default]
    Continue,
    /// End this request; its candidates finish as [`FinishReason::Cancelled`].
    Cancel,
}

/// The text of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateText {
    /// The text, without stop string and end token.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<TokenOutput>,
    /// Why it ended.
    pub reason: FinishReason,
}

/// A finished request.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// One text for each candidate.
    pub candidates: Vec<CandidateText>,
    /// The seed that was used, chosen by the request or fresh.
    pub seed: u64,
    /// Tokens taken.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
}

impl Completion {
    /// The text of the first candidate.
    #[must_use]
    pub fn text(&self) -> &str {
        self.candidates.first().map_or("", |candidate| &candidate.text)
    }
}
