//! Guessing changes the time of a text and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use saem_engine::{Engine, EngineError, Limits, Request, Sampling, Worker};

use crate::models::{load, quiet};
use crate::toy::{Bytes, END, Says, Toy, copying, logits_after};
use crate::worker::{Log, Text, alone_saying, limits, prompt, text_of};

/// A worker over a toy with an opinion, and the counter of its rows.
fn worker(says: Says, draft_rows: usize) -> (Worker, Arc<std::sync::atomic::AtomicUsize>) {
    let limits = Limits { draft_rows, ..limits() };
    let toy = Toy::new(80, limits.batch_rows, limits.logit_rows()).saying(says);
    let rows = toy.rows();
    (Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap(), rows)
}

/// Every way to choose: greedy, drawn, under penalties of each kind.
fn sampling() -> impl Strategy<Value = Sampling> {
    let penalties = prop_oneof![Just((1.0, 0.0, 0.0)), Just((1.3, 0.0, 0.0)), Just((1.0, 0.7, 0.4))];
    (any::<u64>(), prop_oneof![Just(0.0), Just(0.7), Just(1.5)], 0_usize..40, penalties).prop_map(
        |(seed, temperature, top_k, (repetition_penalty, frequency_penalty, presence_penalty))| Sampling {
            seed: Some(seed),
            temperature,
            top_k,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            ..Sampling::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn guessing_changes_no_text(
        requests in prop::collection::vec((1_usize..80, 0_usize..90, 1_usize..3, sampling(), 0_usize..8, 0_u8..8), 1..7),
        draft_rows in 0_usize..15,
    ) {
        let (mut worker, _) = worker(copying, draft_rows);
        let mut log = Log::default();
        let mut expected = Vec::new();
        for (length, max_tokens, candidates, sampling, steps, chance) in requests {
            let request = Request {
                max_tokens: (max_tokens < 80).then_some(max_tokens),
                candidates,
                speculate: chance > 0,
                // A stop string that may end a text in the middle of a guess.
                stop: if chance == 1 { vec!["~".to_owned()] } else { Vec::new() },
                ..Request::new(prompt(length, u32::from(chance)), sampling)
            };
            match worker.submit(request.clone()) {
                Ok(id) => expected.push((id, request)),
                Err(error) => prop_assert!(matches!(error, EngineError::CacheTooSmall { .. }), "{error}"),
            }
            for _ in 0..steps {
                worker.step(&mut |id, event| log.take(id, event));
            }
        }
        log.run(&mut worker);
        prop_assert!(log.errors.is_empty());
        for (id, request) in expected {
            for candidate in 0..request.candidates {
                let (tokens, reason) = alone_saying(copying, &request, candidate, 400);
                let got = log.texts.remove(&(id, candidate)).unwrap();
                let whole = text_of(&tokens);
                if let Some(at) = request.stop.first().and_then(|stop| whole.find(stop.as_str())) {
                    prop_assert_eq!(&got.text, &whole[..at]);
                } else {
                    prop_assert_eq!(got, Text { text: whole, tokens, reason: Some(reason) });
                }
            }
        }
        prop_assert_eq!(worker.stats().blocks_used, 0);
    }
}

/// Passes and rows of a text of 200 tokens.
fn passes(says: Says, speculate: bool) -> (u64, usize) {
    let (mut worker, rows) = worker(says, 14);
    let request = Request {
        speculate,
        ignore_end_tokens: true,
        max_tokens: Some(200),
        ..Request::new(prompt(40, 1), Sampling { seed: Some(1), ..Sampling::greedy() })
    };
    let expected = alone_saying(says, &request, 0, 400).0;
    let id = worker.submit(request).unwrap();
    let mut log = Log::default();
    log.run(&mut worker);
    if !expected.contains(&END) {
        assert_eq!(log.texts[&(id, 0)].tokens[..expected.len()], expected);
    }
    let totals = worker.stats().totals;
    assert_eq!(totals.completion_tokens, 200);
    assert!(totals.accepted_tokens <= totals.drafted_tokens);
    (totals.passes, rows.load(Ordering::Relaxed))
}

#[test]
fn a_text_that_copies_takes_a_fraction_of_the_passes() {
    let (with, rows) = passes(copying, true);
    let (without, _) = passes(copying, false);
    assert_eq!(without, 200);
    // Each eighth token is a surprise, and two more must agree before the next guess.
    assert!(with < 85, "{with} passes, {rows} rows");
}

#[test]
fn a_text_that_never_repeats_costs_hardly_a_row_more() {
    let never: Says = |tokens| {
        let mut logits = logits_after(tokens.iter().copied());
        // Goes round in pairs that come again, each time followed by something else.
        let next = tokens.len() % 3;
        let likely = if next < 2 { 7 + next } else { 20 + (tokens.len() * 5) % 211 };
        logits[likely] += 50.0;
        logits
    };
    let (with, rows) = passes(never, true);
    let (without, plain) = passes(never, false);
    assert!(with <= without, "{with} passes");
    assert!(rows < plain * 3 / 2, "{rows} rows instead of {plain}");
}

/// Checks that tokens and log-probabilities are the same to the last bit with and without guesses.
fn compare(engine: &Engine, prompt: &str, sampling: &Sampling, tenant: u64) {
    let request = Request {
        max_tokens: Some(16),
        logprobs: Some(0),
        // Nothing may come from the cache: the prompt is computed in passes of the same rows each time.
        tenant,
        ..Request::new(engine.prompt_tokens(prompt), sampling.clone())
    };
    let with = engine.generate(request.clone(), &mut quiet).unwrap();
    let without = engine.generate(Request { speculate: false, tenant: tenant + 1, ..request }, &mut quiet).unwrap();
    assert_eq!(with.candidates, without.candidates, "{prompt:?} under {sampling:?}");
}

#[test]
fn real_models_say_the_same_to_the_last_bit() {
    let prompts: serde_json::Value =
        serde_json::from_str(include_str!("../../../../bench/texts/prompts.json")).unwrap();
    let prompts: Vec<&str> = ["ko", "en"]
        .into_iter()
        .flat_map(|language| prompts[language].as_array().unwrap())
        .map(|prompt| prompt.as_str().unwrap())
        .collect();
    assert_eq!(prompts.len(), 30);
    let drawn = Sampling { seed: Some(7), temperature: 0.8, top_p: 0.9, ..Sampling::default() };
    let penalised = Sampling { repetition_penalty: 1.1, ..Sampling::greedy() };
    // Every prompt with the small model; every tenth with the larger one, for the time it takes.
    for (name, step) in [("smollm2-135m.gguf", 1), ("qwen0.5b.gguf", 10)] {
        let Some(engine) = load(name, 1) else { return };
        for (tenant, prompt) in (0..).step_by(6).zip(&prompts).step_by(step) {
            compare(&engine, prompt, &Sampling::greedy(), tenant);
            if tenant % 30 == 0 {
                compare(&engine, prompt, &drawn, tenant + 2);
                compare(&engine, prompt, &penalised, tenant + 4);
            }
        }
        let totals = engine.stats().totals;
        println!("{name}: {} tokens guessed, {} right", totals.drafted_tokens, totals.accepted_tokens);
        assert!(totals.accepted_tokens > 0);
    }
}
