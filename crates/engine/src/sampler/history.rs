//! What a text already holds, and the penalties that follow from it.

use std::collections::{HashMap, VecDeque};

use crate::Sampling;

/// How often a token was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// In the part of the text that counts for the repetition penalty.
    text: u32,
    /// In the output.
    output: u32,
}

/// The tokens of one sequence, counted. Empty and free of cost where no penalty is on.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    seen: HashMap<u32, Seen>,
    /// The last tokens, oldest first; kept only under a window.
    recent: VecDeque<u32>,
}

impl History {
    /// Counts one more token of the text.
    pub(super) fn push(&mut self, sampling: &Sampling, token: u32, is_output: bool) {
        if !sampling.has_penalties() {
            return;
        }
        let seen = self.seen.entry(token).or_default();
        seen.text += 1;
        seen.output += u32::from(is_output);
        if sampling.repetition_window > 0 {
            self.recent.push_back(token);
            if self.recent.len() > sampling.repetition_window
                && let Some(left) = self.recent.pop_front()
                && let Some(seen) = self.seen.get_mut(&left)
            {
                seen.text -= 1;
            }
        }
    }

    /// Applies all penalties to `logits`.
    pub(super) fn penalise(&self, sampling: &Sampling, logits: &mut [f32]) {
        for (token, seen) in &self.seen {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            if seen.text > 0 {
                *logit = if *logit > 0.0 {
                    *logit / sampling.repetition_penalty
                } else {
                    *logit * sampling.repetition_penalty
                };
            }
            if seen.output > 0 {
                *logit -= sampling.frequency_penalty * seen.output as f32 + sampling.presence_penalty;
            }
        }
    }
}
