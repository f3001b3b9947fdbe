//! What a run takes on this machine, whether it fits, and what makes it fit.
//!
//! [`MachinePlan::new`] is given what was asked and how much memory there is. It tries what was asked, then less and less
//! comfortable ways to the same step: fewer sequences in memory at a time cost a little speed, layers that are computed
//! again cost a third. The first that fits is taken, and the reason is said; if none does, how much is missing.

mod available;
mod probe;
mod recipe;
mod speed;

pub(crate) use available::resident_memory;
pub use available::{available_memory, peak_memory};
pub(crate) use recipe::refuse_what_does_not_fit;
pub use recipe::{plan_of_size, plan_recipe};
pub use speed::Machine;

use serde::Serialize;

use crate::buffers::Recompute;
use crate::optimizer::Algorithm;
use crate::plan::Plan;
use crate::recipe::WeightFormat;

/// What can be chosen without changing what is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Sequences in memory at a time.
    pub micro_batch: usize,
    /// What is computed twice.
    pub recompute: Recompute,
    /// How weights follow from gradients.
    pub optimizer: Algorithm,
    /// What weights are between steps.
    pub weights: WeightFormat,
}

/// Why a choice was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// What was asked for fits.
    AsAsked,
    /// It fits with fewer sequences in memory at a time.
    SmallerMicroBatch,
    /// It fits where layers are computed twice.
    Recompute,
    /// It fits where the optimizer keeps its means in 8 bits, too.
    Optimizer,
    /// It fits where weights are bf16 numbers, too.
    Weights,
    /// Nothing fits; the plan is the least there is.
    NothingFits,
}

/// One way that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Which.
    #[serde(flatten)]
    pub choice: Choice,
    /// All bytes.
    pub total: u64,
    /// Whether there are as many.
    pub fits: bool,
    /// Seconds of a step, where the machine was measured.
    pub seconds_per_step: Option<f64>,
}

/// How long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// What the machine was measured to do.
    #[serde(flatten)]
    pub machine: Machine,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Seconds of a step.
    pub seconds_per_step: f64,
    /// Hours of all steps, where it is known how many there are.
    pub hours: Option<f64>,
}

/// The plan of a run on this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachinePlan {
    /// `machine`, to tell it from other plans.
    pub kind: &'static str,
    /// Which step it speaks of.
    pub step: Step,
    /// Bytes by kind, and operations.
    pub plan: Plan,
    /// All bytes.
    pub total: u64,
    /// Bytes that there are, where that is known.
    pub limit: Option<u64>,
    /// Whether it fits.
    pub fits: bool,
    /// Bytes that are missing.
    pub missing: u64,
    /// How.
    pub choice: Choice,
    /// Why.
    pub reason: Reason,
    /// All that was tried, in this order.
    pub tried: Vec<Tried>,
    /// How long it takes, where the machine was measured.
    pub speed: Option<Speed>,
    /// Where nothing fits: what would if thin matrices were trained instead of all weights.
    pub lora: Option<LoraPlan>,
}

/// Tuning with a LoRA of all projections instead of all weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoraPlan {
    /// Rank of the thin matrices.
    pub rank: usize,
    /// Bits of a weight that stays.
    pub bits: f64,
    /// How.
    #[serde(flatten)]
    pub choice: Choice,
    /// All bytes.
    pub total: u64,
    /// Whether there are as many.
    pub fits: bool,
}

/// A step, as far as plans are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Tokens of a sequence, or of the longest example.
    pub sequence: usize,
    /// Sequences or examples in a step.
    pub batch: usize,
    /// Tokens that it passes, and those of them whose logits it computes.
    pub tokens: [usize; 2],
    /// Whether they were counted in the data. Otherwise every sequence is as long as it may be.
    pub is_counted: bool,
    /// Steps in all, where that is known.
    pub steps: Option<u64>,
}

impl Step {
    /// A step of sequences of one length, all of which is learnt.
    #[must_use]
    pub fn new(sequence: usize, batch: usize, steps: Option<u64>) -> Self {
        Self { sequence, batch, tokens: [sequence * batch; 2], is_counted: false, steps }
    }

    /// Passes that it takes: sequences stand in memory whole, examples one behind the other.
    fn passes(&self, choice: Choice) -> usize {
        if self.is_counted {
            self.tokens[0].div_ceil((choice.micro_batch * self.sequence).max(1))
        } else {
            self.batch.div_ceil(choice.micro_batch.max(1))
        }
    }
}

impl MachinePlan {
    /// Finds what fits into `limit` bytes; `plan` says what a choice takes.
    #[must_use]
    pub fn new(
        asked: Choice,
        step: Step,
        limit: Option<u64>,
        machine: Option<Machine>,
        plan: &dyn Fn(Choice) -> Plan,
    ) -> Self {
        let fits = |total: u64| limit.is_none_or(|limit| total <= limit);
        let mut tried = Vec::new();
        let mut best: Option<(Choice, Reason)> = None;
        // Weights that are trained beside others that stay are floats.
        let weights = |weights| plan(Choice { weights, ..asked }).weights;
        let has_halves = weights(WeightFormat::Bf16) < weights(asked.weights);
        for (choice, reason) in ways(asked, step.batch, has_halves) {
            let found = plan(choice);
            let seconds_per_step = machine.map(|machine| machine.seconds(&found, step.passes(choice), step.tokens));
            tried.push(Tried { choice, total: found.total(), fits: fits(found.total()), seconds_per_step });
            if fits(found.total()) {
                best = Some((choice, reason));
                break;
            }
        }
        let least = || tried.iter().min_by_key(|tried| tried.total).map_or(asked, |tried| tried.choice);
        let (choice, reason) = best.unwrap_or_else(|| (least(), Reason::NothingFits));
        let found = plan(choice);
        let total = found.total();
        let speed = machine.map(|machine| {
            let seconds_per_step = machine.seconds(&found, step.passes(choice), step.tokens);
            let hours = step.steps.map(|steps| seconds_per_step * steps as f64 / 3600.0);
            Speed { machine, tokens_per_second: step.tokens[0] as f64 / seconds_per_step, seconds_per_step, hours }
        });
        let missing = limit.map_or(0, |limit| total.saturating_sub(limit));
        let kind = "machine";
        let fits = fits(total);
        Self { kind, step, plan: found, total, limit, fits, missing, choice, reason, tried, speed, lora: None }
    }
}

/// What was asked, then what takes less memory, the fastest first.
fn ways(asked: Choice, batch: usize, has_halves: bool) -> Vec<(Choice, Reason)> {
    let most = asked.micro_batch.min(batch).max(1);
    let halves = || std::iter::successors(Some(most), |count| (*count > 1).then(|| count / 2));
    let mut ways = vec![(Choice { micro_batch: most, ..asked }, Reason::AsAsked)];
    ways.extend(halves().skip(1).map(|micro_batch| (Choice { micro_batch, ..asked }, Reason::SmallerMicroBatch)));
    let more: &[Recompute] = match asked.recompute {
        Recompute::None => &[Recompute::Selective, Recompute::Full],
        Recompute::Selective => &[Recompute::Full],
        Recompute::Full => &[],
    };
    for recompute in more {
        let choice = |micro_batch| (Choice { micro_batch, recompute: *recompute, ..asked }, Reason::Recompute);
        ways.extend(halves().map(choice));
    }
    // The last resorts: they change what is learnt, if by little.
    let mut least = Choice { recompute: Recompute::Full, ..asked };
    if asked.optimizer == Algorithm::AdamW {
        least.optimizer = Algorithm::AdamW8bit;
        ways.extend(halves().map(|micro_batch| (Choice { micro_batch, ..least }, Reason::Optimizer)));
    }
    if has_halves {
        least.weights = WeightFormat::Bf16;
        ways.extend(halves().map(|micro_batch| (Choice { micro_batch, ..least }, Reason::Weights)));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 bytes of states; a sequence takes 100, or 50 or 10 where layers are computed twice, in part or wholly.
    fn plan(choice: Choice) -> Plan {
        let each = match choice.recompute {
            Recompute::None => 100,
            Recompute::Selective => 50,
            Recompute::Full => 10,
        };
        let optimizer = if choice.optimizer == Algorithm::AdamW8bit { 125 } else { 500 };
        let weights = if choice.weights == WeightFormat::Bf16 { 250 } else { 500 };
        Plan { weights, optimizer, activations: each * choice.micro_batch as u64, ..Plan::default() }
    }

    fn choose(limit: u64) -> MachinePlan {
        let (optimizer, weights) = (Algorithm::AdamW, WeightFormat::F32);
        let asked = Choice { micro_batch: 8, recompute: Recompute::None, optimizer, weights };
        MachinePlan::new(asked, Step::new(10, 8, Some(1)), Some(limit), None, &plan)
    }

    #[test]
    fn the_fastest_way_that_fits_is_taken() {
        for (limit, micro_batch, recompute, reason, total) in [
            (1800, 8, Recompute::None, Reason::AsAsked, 1800),
            (1799, 4, Recompute::None, Reason::SmallerMicroBatch, 1400),
            (1100, 1, Recompute::None, Reason::SmallerMicroBatch, 1100),
            (1099, 1, Recompute::Selective, Reason::Recompute, 1050),
            (1049, 4, Recompute::Full, Reason::Recompute, 1040),
            (1010, 1, Recompute::Full, Reason::Recompute, 1010),
            (1009, 8, Recompute::Full, Reason::Optimizer, 705),
            (635, 1, Recompute::Full, Reason::Optimizer, 635),
            (634, 8, Recompute::Full, Reason::Weights, 455),
            (385, 1, Recompute::Full, Reason::Weights, 385),
            (384, 1, Recompute::Full, Reason::NothingFits, 385),
        ] {
            let found = choose(limit);
            let choice = found.choice;
            assert_eq!(
                (choice.micro_batch, choice.recompute, found.reason),
                (micro_batch, recompute, reason),
                "{limit}"
            );
            assert_eq!((found.total, found.fits), (total, total <= limit));
            assert_eq!(found.missing, total.saturating_sub(limit));
        }
        assert_eq!(choose(0).tried.len(), 20);
    }
}
