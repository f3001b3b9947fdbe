//! Choosing the next token. What the parameters mean, and in which order, is documented at [`Sampling`].
//!
//! A vocabulary of 150,000 costs more to sort than to multiply, so nothing here sorts it: top-k keeps the best in one
//! pass, top-p sorts as many of the best as hold the mass (first 64, then eight times as many, and so on), min-p and
//! the plain draw need no order at all.

mod history;
mod select;
mod softmax;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use history::History;
use select::by_rank;
pub use select::{Candidate, largest, select_top};
use softmax::{Weights, exp, sum_of_exponentials};

use crate::Sampling;
use crate::constraint::{ConstraintError, Guide, only_token, restrict};
use crate::random::Random;

/// Buffers of a vocabulary's size, shared by the samplers of all sequences.
#[derive(Debug, Default)]
pub struct Scratch {
    logits: Vec<f32>,
    weights: Weights,
    kept: Vec<Candidate>,
    ranked: Vec<Candidate>,
}

/// Chooses the tokens of one sequence. Its choices depend on the logits it is shown and on nothing else of the batch.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    history: History,
    /// Added to the logits of these tokens.
    bias: Arc<[(u32, f32)]>,
    /// What the text must be.
    guide: Option<Box<Guide>>,
    /// Why the guide gave up.
    failure: Option<ConstraintError>,
}

impl Sampler {
    /// The sampler of candidate `candidate` of a request with this `seed`, which has the text `prompt` so far.
    #[must_use]
    pub fn new(sampling: &Sampling, seed: u64, candidate: usize, prompt: &[u32]) -> Self {
        let mut history = History::default();
        for token in prompt {
            history.push(sampling, *token, false);
        }
        let (bias, guide, failure) = (Arc::default(), None, None);
        Self { sampling: sampling.clone(), random: Random::new(seed, candidate), history, bias, guide, failure }
    }

    /// The same with a bias on some tokens.
    #[must_use]
    pub(crate) fn with_bias(self, bias: Arc<[(u32, f32)]>) -> Self {
        Self { bias, ..self }
    }

    /// The same for a text that must have a form.
    #[must_use]
    pub(crate) fn with_guide(self, guide: Option<Box<Guide>>) -> Self {
        Self { guide, ..self }
    }

    /// Chooses a token and remembers it. `None` where the logits of the tokens that may come hold no finite largest
    /// number, and where the text's constraint failed (see `take_failure`).
    pub fn sample(&mut self, logits: &[f32], scratch: &mut Scratch) -> Option<u32> {
        let token = self.changed(logits, scratch)?;
        self.history.push(&self.sampling, token, true);
        if let Some(Err(failure)) = self.guide.as_mut().map(|guide| guide.take(token)) {
            self.failure = Some(failure);
            return None;
        }
        Some(token)
    }

    /// Whether the text fulfils its constraint and can only end.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.guide.as_ref().is_some_and(|guide| guide.is_complete())
    }

    /// Why no token was chosen, where it was the constraint's fault.
    pub(crate) fn take_failure(&mut self) -> Option<ConstraintError> {
        self.failure.take()
    }

    /// Chooses after penalties, bias and constraint have changed the logits. Where nothing changes them they are not
    /// copied.
    fn changed(&mut self, logits: &[f32], scratch: &mut Scratch) -> Option<u32> {
        let mask = match self.guide.as_mut().map(|guide| guide.allowed()).transpose() {
            Ok(mask) => mask,
            Err(failure) => {
                self.failure = Some(failure);
                return None;
            }
        };
        if let Some(only) = mask.and_then(only_token) {
            // Nothing is left to choose.
            return Some(only);
        }
        if mask.is_none() && self.bias.is_empty() && !self.sampling.has_penalties() {
            return self.choose(logits, scratch);
        }
        let mut changed = std::mem::take(&mut scratch.logits);
        changed.clear();
        changed.extend_from_slice(logits);
        if let Some(mask) = mask {
            restrict(&mut changed, mask);
        }
        self.history.penalise(&self.sampling, &mut changed);
        for (token, bias) in &*self.bias {
            if let Some(logit) = changed.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        let token = self.choose(&changed, scratch);
        scratch.logits = changed;
        token
    }

    fn choose(&mut self, logits: &[f32], scratch: &mut Scratch) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let few = temperature > 0.0 && top_k > 0 && top_k < logits.len();
        let best = if few {
            select_top(logits, top_k, &mut scratch.kept);
            scratch.kept.first().copied()
        } else {
            largest(logits)
        };
        let best = best.filter(|best| best.logit.is_finite())?;
        if temperature == 0.0 {
            return Some(best.token);
        }
        let inverse = (1.0 / temperature).min(f32::MAX);
        let weight = |candidate: &Candidate| f64::from(exp((candidate.logit - best.logit) * inverse));
        let Scratch { weights, kept, ranked, .. } = scratch;
        if few {
            if top_p < 1.0 {
                let total: f64 = kept.iter().map(weight).sum();
                ranked.clone_from(kept);
                if let Some(last) = last_of_nucleus(ranked, weight, f64::from(top_p) * total) {
                    kept.retain(|candidate| by_rank(candidate, &last).is_le());
                }
            }
        } else if top_p < 1.0 {
            let total = weights.compute(logits, best.logit, inverse);
            // All tokens below their share of what may be left out are less than that together: the set is above.
            let least = (1.0 - f64::from(top_p)) * total / logits.len() as f64;
            weights.above(least, logits, kept);
            ranked.clone_from(kept);
            if let Some(last) = last_of_nucleus(ranked, weight, f64::from(top_p) * total) {
                kept.retain(|candidate| by_rank(candidate, &last).is_le());
            }
        } else {
            let total = weights.compute(logits, best.logit, inverse);
            if min_p == 0.0 {
                return weights.walk(self.random.uniform() * total);
            }
            weights.above(f64::from(min_p), logits, kept);
        }
        // The best token's weight is 1, so this keeps it whatever min-p is.
        kept.retain(|candidate| weight(candidate) >= f64::from(min_p));
        let total: f64 = kept.iter().map(weight).sum();
        let mut target = self.random.uniform() * total;
        let chosen = kept.iter().find(|candidate| {
            target -= weight(candidate);
            target < 0.0
        });
        chosen.or(kept.last()).map(|candidate| candidate.token)
    }
}

/// The last candidate, in the order of rank, of the smallest set of best ones with a mass of at least `target`.
///
/// Found by halving: the better half either holds the target, or is taken whole. So nothing is sorted, and the time is
/// linear however many candidates the set has.
fn last_of_nucleus(
    mut candidates: &mut [Candidate],
    weight: impl Fn(&Candidate) -> f64,
    mut target: f64,
) -> Option<Candidate> {
    while candidates.len() > 1 {
        let half = candidates.len() / 2;
        candidates.select_nth_unstable_by(half, by_rank);
        let (better, worse) = candidates.split_at_mut(half);
        let mass: f64 = better.iter().map(&weight).sum();
        if mass >= target {
            candidates = better;
        } else {
            target -= mass;
            candidates = worse;
        }
    }
    candidates.first().copied()
}

/// Natural logarithms of probabilities, from the model's own logits: before penalties and temperature, as OpenAI's API
/// defines them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogProbabilities {
    /// Of the chosen token.
    pub chosen: f32,
    /// Of the most probable tokens, best first.
    pub top: Vec<(u32, f32)>,
}

impl LogProbabilities {
    /// The log-probabilities of `chosen` and of the `count` most probable tokens.
    #[must_use]
    pub fn compute(logits: &[f32], chosen: u32, count: usize, scratch: &mut Scratch) -> Self {
        let Some(log_sum) = log_sum_exp(logits) else { return Self::default() };
        let of = |logit: f32| (f64::from(logit) - log_sum) as f32;
        select_top(logits, count, &mut scratch.kept);
        Self {
            chosen: logits.get(chosen as usize).map_or(f32::NEG_INFINITY, |logit| of(*logit)),
            top: scratch.kept.iter().map(|candidate| (candidate.token, of(candidate.logit))).collect(),
        }
    }
}

/// `ln(sum(exp(logits)))`: what is subtracted from a logit to make it a log-probability. `None` where the logits hold
/// no finite largest number.
#[must_use]
pub fn log_sum_exp(logits: &[f32]) -> Option<f64> {
    let best = largest(logits).filter(|best| best.logit.is_finite())?;
    Some(f64::from(best.logit) + sum_of_exponentials(logits, best.logit).ln())
}
