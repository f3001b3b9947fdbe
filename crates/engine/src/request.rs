//! What is asked of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use saem_model::Adapter;

use crate::constraint::Constraint;
use crate::{EngineError, Sampling, StopMatcher};

/// Alternatives that a request may ask for at each position.
pub const MAX_LOGPROBS: usize = 100;

/// Tokens that a request may bias.
pub const MAX_LOGIT_BIAS: usize = 1024;

/// One prompt and what to make of it. The fields beside the prompt have defaults:
///
/// ```
/// use saem_engine::{Request, Sampling};
/// let request = Request { max_tokens: Some(80), ..Request::new(vec![1, 2, 3], Sampling::greedy()) };
/// assert_eq!(request.candidates, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    /// The tokens to continue.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens of each candidate; where absent, the context is the limit.
    pub max_tokens: Option<usize>,
    /// Strings that end the text and are no part of it; see [`StopMatcher`].
    pub stop: Vec<String>,
    /// Report the log-probability of each token and of so many alternatives.
    pub logprobs: Option<usize>,
    /// What is added to the logits of these tokens before each draw, -100 to 100, after the penalties: with 1 a token
    /// becomes e times as probable against others, with -100 it practically never comes. One that is named twice gets
    /// both.
    pub logit_bias: Vec<(u32, f32)>,
    /// What the text must be. It ends where the constraint allows it, and where nothing else is left
    /// ([`FinishReason::Constraint`](crate::FinishReason::Constraint)); any other end may cut it short.
    pub constraint: Option<Constraint>,
    /// Texts for the same prompt, which share its keys and values. Candidate `i` draws from random stream `i`.
    pub candidates: usize,
    /// On whose behalf. Keys and values of common beginnings are shared among the requests of one tenant only, so that
    /// no tenant can learn from the time of an answer what another one asked.
    pub tenant: u64,
    /// Whose turn it takes: requests of one line come one after the other, and lines get even parts of the engine. The
    /// tenant's where absent.
    pub line: Option<u64>,
    /// The most requests of the same line that may wait when this one comes; as many as the queue holds where absent.
    pub line_waiting: Option<usize>,
    /// What changes the model for this request: see [`Adapters`](crate::Adapters). With one that tells labels apart
    /// ([`Adapter::labels`]) the text is the most probable label, however tokens would be chosen; it takes no constraint
    /// and no bias.
    pub adapter: Option<Arc<Adapter>>,
    /// Guess tokens that the text has had before and check several in one pass. The text is the same either way (see
    /// the crate's documentation for weights that are not quantised).
    pub speculate: bool,
    /// Go on after an end token as after any other (for measurements).
    pub ignore_end_tokens: bool,
    /// Set from anywhere, it ends the request before the next pass.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Request {
    /// One candidate for `prompt`, as long as the context allows.
    #[must_use]
    pub fn new(prompt: Vec<u32>, sampling: Sampling) -> Self {
        Self {
            prompt,
            sampling,
            max_tokens: None,
            stop: Vec::new(),
            logprobs: None,
            logit_bias: Vec::new(),
            constraint: None,
            candidates: 1,
            tenant: 0,
            line: None,
            line_waiting: None,
            adapter: None,
            speculate: true,
            ignore_end_tokens: false,
            cancel: None,
        }
    }

    /// The line that it stands in.
    pub(crate) fn line(&self) -> u64 {
        self.line.unwrap_or(self.tenant)
    }

    /// Tokens that stand before the prompt: those of a soft prompt.
    pub(crate) fn virtual_tokens(&self) -> usize {
        self.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Checks everything that does not depend on the cache.
    pub(crate) fn validate(&self, limits: &Limits, vocabulary: usize) -> Result<StopMatcher, EngineError> {
        self.sampling.validate()?;
        let range = |parameter, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(EngineError::Parameter { parameter, value: value.to_string(), expected: format!("{least} to {most}") })
        };
        range("n", self.candidates, 1, limits.max_sequences)?;
        range("logprobs", self.logprobs.unwrap_or(0), 0, MAX_LOGPROBS)?;
        self.validate_bias(vocabulary)?;
        self.validate_label()?;
        if self.prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let room = usize::from(self.max_tokens != Some(0));
        let prompt = self.virtual_tokens() + self.prompt.len();
        if prompt + room > limits.context {
            let (context, model_context) = (limits.context, limits.model_context);
            return Err(EngineError::ContextOverflow { prompt, context, model_context });
        }
        if let Some(position) = self.prompt.iter().position(|token| *token as usize >= vocabulary) {
            let token = self.prompt.get(position).copied().unwrap_or_default();
            return Err(EngineError::UnknownToken { token, position, vocabulary });
        }
        StopMatcher::new(&self.stop)
    }

    /// Refuses what would change a text that is none.
    fn validate_label(&self) -> Result<(), EngineError> {
        let labels = self.adapter.as_ref().map_or(&[][..], |adapter| adapter.labels());
        let asked = [("constraint", self.constraint.is_some()), ("logit_bias", !self.logit_bias.is_empty())];
        match asked.into_iter().find(|(_, is_asked)| *is_asked && !labels.is_empty()) {
            Some((parameter, _)) => {
                let expected = "nothing: this model does not write, it tells labels apart".to_owned();
                Err(EngineError::Parameter { parameter, value: "given".to_owned(), expected })
            }
            None => Ok(()),
        }
    }

    fn validate_bias(&self, vocabulary: usize) -> Result<(), EngineError> {
        let refuse =
            |value: String, expected: String| Err(EngineError::Parameter { parameter: "logit_bias", value, expected });
        if self.logit_bias.len() > MAX_LOGIT_BIAS {
            return refuse(format!("{} tokens", self.logit_bias.len()), format!("at most {MAX_LOGIT_BIAS} tokens"));
        }
        for (token, bias) in &self.logit_bias {
            if !(-100.0..=100.0).contains(bias) {
                return refuse(format!("{bias} for token {token}"), "-100 to 100".to_owned());
            }
            if *token as usize >= vocabulary {
                return refuse(format!("for token {token}"), format!("tokens 0 to {}", vocabulary.saturating_sub(1)));
            }
        }
        Ok(())
    }
}

/// What an engine was set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Positions of one sequence, prompt and output together.
    pub context: usize,
    /// The context that the model was made for.
    pub model_context: usize,
    /// Rows of one pass.
    pub batch_rows: usize,
    /// Rows of prompts in a pass in which others decode: the fewer, the more evenly their texts flow.
    pub prompt_rows: usize,
    /// Guessed tokens in one pass; 0 to guess none.
    pub draft_rows: usize,
    /// Sequences (candidates) at work at once.
    pub max_sequences: usize,
    /// Requests that may wait for a place; one more is refused.
    pub max_waiting: usize,
}

impl Limits {
    /// Rows of one pass whose logits are wanted, at most: one for each sequence, and one for each guessed token.
    #[must_use]
    pub fn logit_rows(&self) -> usize {
        self.max_sequences + self.draft_rows
    }
}
