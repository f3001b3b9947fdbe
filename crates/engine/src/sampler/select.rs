//! Finding the largest of many logits without sorting them all.

use std::cmp::Ordering;

/// Logits that are looked at together before any of them is looked at alone.
const CHUNK: usize = 64;

/// A token and its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token's id.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
}

/// Larger logits first, ties by lower id. Logits here are never NaN.
pub(super) fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.token.cmp(&b.token))
}

/// Whether any logit is above `threshold`; compiles to a few vector instructions.
fn any_above(chunk: &[f32], threshold: f32) -> bool {
    chunk.iter().fold(0, |any, &logit| any | u32::from(logit > threshold)) != 0
}

/// The largest logit and the lowest token that has it. `None` where no logit is a number above minus infinity.
#[must_use]
pub fn largest(logits: &[f32]) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    let mut threshold = f32::NEG_INFINITY;
    for (index, chunk) in logits.chunks(CHUNK).enumerate() {
        if !any_above(chunk, threshold) {
            continue;
        }
        for (offset, &logit) in chunk.iter().enumerate() {
            if logit > threshold {
                threshold = logit;
                best = Some(Candidate { token: (index * CHUNK + offset) as u32, logit });
            }
        }
    }
    best
}

/// Puts the `count` largest logits into `kept`, best first. NaN and minus infinity are passed over.
///
/// One pass: whatever beats the worst of the best so far is collected, and when twice `count` have come together the
/// lesser half is thrown away. Later tokens must be strictly better, which keeps the lower id of a tie.
pub fn select_top(logits: &[f32], count: usize, kept: &mut Vec<Candidate>) {
    kept.clear();
    if count == 0 {
        return;
    }
    let capacity = count.saturating_mul(2).max(2 * CHUNK);
    let mut threshold = f32::NEG_INFINITY;
    for (index, chunk) in logits.chunks(CHUNK).enumerate() {
        if !any_above(chunk, threshold) {
            continue;
        }
        for (offset, &logit) in chunk.iter().enumerate() {
            if logit > threshold {
                kept.push(Candidate { token: (index * CHUNK + offset) as u32, logit });
                if kept.len() == capacity {
                    kept.select_nth_unstable_by(count - 1, by_rank);
                    kept.truncate(count);
                    threshold = kept.last().map_or(threshold, |worst| worst.logit);
                }
            }
        }
    }
    if kept.len() > count {
        kept.select_nth_unstable_by(count - 1, by_rank);
        kept.truncate(count);
    }
    kept.sort_unstable_by(by_rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(logits: &[f32]) -> Vec<Candidate> {
        let numbers = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        let mut all: Vec<Candidate> = numbers.map(|(token, &logit)| Candidate { token: token as u32, logit }).collect();
        all.sort_by(by_rank);
        all
    }

    proptest! {
        /// Few distinct values, so that ties are everywhere.
        #[test]
        fn agrees_with_sorting(values in prop::collection::vec(0_u8..40, 0..700), count in 0_usize..90) {
            let logits: Vec<f32> = values
                .iter()
                .map(|&v| match v { 0 => f32::NAN, 1 => f32::NEG_INFINITY, 2 => -0.0, v => f32::from(v) - 20.0 })
                .collect();
            let expected = sorted(&logits);
            let mut kept = Vec::new();
            select_top(&logits, count, &mut kept);
            prop_assert_eq!(&kept[..], &expected[..count.min(expected.len())]);
            prop_assert_eq!(largest(&logits), expected.first().copied());
        }
    }
}
