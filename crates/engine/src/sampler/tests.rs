//! Each step against its definition, written the slow way, and the draws against their probabilities.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

/// The tokens that may be drawn and their probabilities, straight from the documentation of [`Sampling`], in f64.
fn reference(logits: &[f32], sampling: &Sampling) -> Vec<(u32, f64)> {
    let mut tokens: Vec<(u32, f64)> = (0_u32..).zip(logits.iter().map(|logit| f64::from(*logit))).collect();
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let max = tokens[0].1;
    for token in &mut tokens {
        token.1 = ((token.1 - max) / f64::from(sampling.temperature)).exp();
    }
    if sampling.top_k > 0 {
        tokens.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        let total: f64 = tokens.iter().map(|token| token.1).sum();
        let mut mass = 0.0;
        let wanted = tokens.iter().position(|token| {
            mass += token.1;
            mass >= f64::from(sampling.top_p) * total
        });
        tokens.truncate(wanted.map_or(tokens.len(), |last| last + 1));
    }
    tokens.retain(|token| token.1 >= f64::from(sampling.min_p));
    let total: f64 = tokens.iter().map(|token| token.1).sum();
    tokens.iter().map(|token| (token.0, token.1 / total)).collect()
}

fn draws(logits: &[f32], sampling: &Sampling, seed: u64, count: usize) -> HashMap<u32, usize> {
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(sampling, seed, 0, &[]);
    let mut counts = HashMap::new();
    for _ in 0..count {
        // Without penalties the history does not matter, so one stream gives independent draws.
        *counts.entry(sampler.sample(logits, &mut scratch).unwrap()).or_insert(0) += 1;
    }
    counts
}

/// Pearson's statistic against the reference must stay under its mean plus four and a half standard deviations, and
/// nothing outside the reference's support may ever come up.
fn assert_follows_the_reference(logits: &[f32], sampling: &Sampling, count: usize) {
    let expected = reference(logits, sampling);
    let counts = draws(logits, sampling, 11, count);
    let support: BTreeSet<u32> = expected.iter().map(|(token, _)| *token).collect();
    assert!(counts.keys().all(|token| support.contains(token)), "{sampling:?}: a token outside the support");
    let (mut statistic, mut freedom) = (0.0, -1.0);
    let (mut rare_expected, mut rare_seen) = (0.0, 0.0);
    for (token, probability) in expected {
        let mean = probability * count as f64;
        let seen = counts.get(&token).copied().unwrap_or(0) as f64;
        if mean < 8.0 {
            // Too rare for the statistic on their own: counted as one class.
            (rare_expected, rare_seen) = (rare_expected + mean, rare_seen + seen);
        } else {
            statistic += (seen - mean) * (seen - mean) / mean;
            freedom += 1.0;
        }
    }
    if rare_expected >= 8.0 {
        statistic += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
        freedom += 1.0;
    }
    let freedom: f64 = f64::max(freedom, 1.0);
    assert!(statistic < freedom + 4.5 * (2.0 * freedom).sqrt(), "{sampling:?}: {statistic} with {freedom} degrees");
}

/// A made-up distribution with the shape of a language model's: a few peaks over a long tail.
fn peaked(vocabulary: usize) -> Vec<f32> {
    let mut random = Random::new(3, 0);
    (0..vocabulary).map(|_| (random.uniform().powi(4) * 14.0 - 6.0) as f32).collect()
}

#[test]
fn draws_follow_the_documented_distribution() {
    let base = Sampling::default();
    for (vocabulary, count) in [(7, 20_000), (300, 20_000), (3_000, 3_000)] {
        let logits = peaked(vocabulary);
        for sampling in [
            base.clone(),
            Sampling { temperature: 0.5, ..base.clone() },
            Sampling { temperature: 3.0, ..base.clone() },
            Sampling { top_k: 5, ..base.clone() },
            Sampling { top_p: 0.6, ..base.clone() },
            Sampling { top_p: 0.999, temperature: 2.0, ..base.clone() },
            Sampling { min_p: 0.2, ..base.clone() },
            Sampling { top_k: 40, top_p: 0.9, min_p: 0.05, temperature: 0.8, ..base.clone() },
            Sampling { top_p: 0.9, min_p: 0.1, ..base.clone() },
        ] {
            assert_follows_the_reference(&logits, &sampling, count);
        }
    }
}

proptest! {
    /// The set of tokens that can be drawn is the reference's, up to one token where rounding decides the border.
    #[test]
    fn the_support_is_the_documented_one(
        logits in prop::collection::vec(-8.0_f32..8.0, 1..400),
        top_k in 0_usize..50,
        top_p in 0.01_f32..=1.0,
        min_p in 0.0_f32..1.0,
        temperature in 0.1_f32..4.0,
        seed in any::<u64>(),
    ) {
        let sampling = Sampling { top_k, top_p, min_p, temperature, ..Sampling::default() };
        let allowed = reference(&logits, &sampling);
        let mut looser = sampling.clone();
        looser.top_p = (top_p * 1.000_01).min(1.0);
        looser.min_p = min_p * 0.999_99;
        let rounded = reference(&logits, &looser);
        let mut scratch = Scratch::default();
        let mut sampler = Sampler::new(&sampling, seed, 0, &[]);
        for _ in 0..20 {
            let token = sampler.sample(&logits, &mut scratch).unwrap();
            prop_assert!(allowed.iter().chain(&rounded).any(|(other, _)| *other == token));
        }
    }

    #[test]
    fn any_bits_are_survived(
        bits in prop::collection::vec(any::<u32>(), 0..200),
        top_p in 0.01_f32..=1.0,
        top_k in 0_usize..10,
        temperature in prop_oneof![Just(0.0_f32), Just(1e-40), Just(1e-20), Just(100.0)],
        repetition_penalty in 0.1_f32..3.0,
    ) {
        let logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let sampling = Sampling { temperature, top_p, top_k, repetition_penalty, ..Sampling::default() };
        let mut sampler = Sampler::new(&sampling, 1, 0, &[0, 1, 2, 9_999_999]);
        if let Some(token) = sampler.sample(&logits, &mut Scratch::default()) {
            prop_assert!((token as usize) < logits.len());
            prop_assert!(logits[token as usize] > f32::NEG_INFINITY);
        }
    }
}

#[test]
fn greedy_takes_the_lowest_of_equals() {
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(&Sampling::greedy(), 0, 0, &[]);
    assert_eq!(sampler.sample(&[1.0, 3.0, 3.0, f32::NAN, 2.0], &mut scratch), Some(1));
    assert_eq!(sampler.sample(&[-0.0, 0.0], &mut scratch), Some(0));
}

#[test]
fn top_k_one_is_greedy_and_top_p_near_zero_too() {
    let logits = peaked(1_000);
    let best = largest(&logits).unwrap().token;
    for sampling in [
        Sampling { top_k: 1, temperature: 5.0, ..Sampling::default() },
        Sampling { top_p: 1e-6, temperature: 5.0, ..Sampling::default() },
        Sampling { min_p: 1.0, temperature: 5.0, ..Sampling::default() },
        Sampling { temperature: 1e-39, ..Sampling::default() },
    ] {
        assert_eq!(draws(&logits, &sampling, 5, 200), HashMap::from([(best, 200)]), "{sampling:?}");
    }
}

#[test]
fn logits_without_a_finite_maximum_are_refused() {
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(&Sampling::default(), 0, 0, &[]);
    for logits in [&[][..], &[f32::NAN; 3], &[f32::NEG_INFINITY; 2], &[0.0, f32::INFINITY]] {
        assert_eq!(sampler.sample(logits, &mut scratch), None);
    }
}

/// The rules of the CTRL paper (repetition) and of OpenAI's documentation (frequency, presence), on numbers by hand.
#[test]
fn penalties_by_hand() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        temperature: 0.0,
        ..Sampling::default()
    };
    let mut history = History::default();
    for (token, is_output) in [(0, false), (1, true), (1, true), (2, true), (77, false)] {
        history.push(&sampling, token, is_output);
    }
    let mut logits = [4.0, -1.0, 3.0, 5.0];
    history.penalise(&sampling, &mut logits);
    assert_eq!(logits, [2.0, -2.0 - 1.0 - 0.25, 1.5 - 0.5 - 0.25, 5.0]);
}

#[test]
fn a_window_forgets() {
    let sampling = Sampling { repetition_penalty: 2.0, repetition_window: 2, ..Sampling::default() };
    let mut history = History::default();
    for token in [0, 1, 1, 2] {
        history.push(&sampling, token, false);
    }
    let mut logits = [4.0, 4.0, 4.0];
    history.penalise(&sampling, &mut logits);
    assert_eq!(logits, [4.0, 2.0, 2.0]);
}

#[test]
fn a_seed_fixes_the_draws_and_candidates_differ() {
    let logits = peaked(500);
    let text = |seed, candidate| {
        let mut sampler = Sampler::new(&Sampling::default(), seed, candidate, &[]);
        let mut scratch = Scratch::default();
        (0..40).map(|_| sampler.sample(&logits, &mut scratch).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(text(9, 0), text(9, 0));
    assert_ne!(text(9, 0), text(9, 1));
    assert_ne!(text(9, 0), text(10, 0));
}

#[test]
fn log_probabilities_are_a_log_softmax() {
    let logits = peaked(2_000);
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let computed = LogProbabilities::compute(&logits, 17, 5, &mut Scratch::default());
    assert!((f64::from(computed.chosen) - (f64::from(logits[17]) - total.ln())).abs() < 1e-5);
    assert_eq!(computed.top.len(), 5);
    assert!(computed.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    let best = largest(&logits).unwrap();
    assert_eq!(computed.top[0].0, best.token);
    assert!((f64::from(computed.top[0].1) - (f64::from(best.logit) - total.ln())).abs() < 1e-5);
}
