//! What the cache knows is not computed again, and nobody notices but by the time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use saem_engine::{EngineError, FinishReason, Limits, Request, Worker};

use crate::toy::{Bytes, END, Toy};
use crate::worker::{Log, Text, alone, limits, prompt, sampling, text_of, worker_with};

/// Runs a request to its end; the tokens it made and those that the cache had.
fn run(worker: &mut Worker, request: Request) -> (Vec<u32>, usize) {
    let id = worker.submit(request).unwrap();
    let mut log = Log::default();
    log.run(worker);
    (log.texts.remove(&(id, 0)).unwrap_or_default().tokens, log.usage[&id].cached_tokens)
}

#[test]
fn a_long_prompt_seen_before_costs_less_than_a_fortieth() {
    let limits = Limits { context: 2000, model_context: 2000, batch_rows: 512, ..limits() };
    let toy = Toy::new(200, limits.batch_rows, limits.logit_rows());
    let rows = toy.rows();
    let mut worker = Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap();
    let request = Request { max_tokens: Some(1), ..Request::new(prompt(1500, 4), sampling(1)) };
    let (first, cached) = run(&mut worker, request.clone());
    assert_eq!((cached, rows.swap(0, Ordering::Relaxed)), (0, 1500));
    let (second, cached) = run(&mut worker, request.clone());
    // 46 whole blocks of 32; what is left is less than a block.
    assert_eq!((cached, rows.swap(0, Ordering::Relaxed)), (1472, 28));
    assert_eq!(first, second);
    let other = Request { tenant: 1, ..request };
    assert_eq!(run(&mut worker, other), (first, 0), "another tenant shares nothing");
    let totals = worker.stats().totals;
    assert_eq!((totals.requests, totals.prefix_hits, totals.cached_tokens, totals.prompt_tokens), (3, 1, 1472, 4500));
}

#[test]
fn a_conversation_computes_only_what_is_new() {
    let mut worker = worker_with(60, limits());
    let mut conversation = prompt(50, 1);
    for turn in 0..4_u32 {
        let request = Request {
            max_tokens: Some(20),
            ignore_end_tokens: true,
            ..Request::new(conversation.clone(), sampling(u64::from(turn)))
        };
        let expected = alone(&request, 0, 400).0;
        // All of the turn before but its last token, which was never fed back, in whole blocks.
        let known = if turn == 0 { 0 } else { (conversation.len() - 8) / 32 * 32 };
        assert_eq!(run(&mut worker, request), (expected.clone(), known), "turn {turn}");
        conversation.extend(expected);
        conversation.extend(prompt(7, turn));
    }
}

#[test]
fn of_many_that_begin_alike_one_is_computed() {
    let limits = Limits { batch_rows: 256, ..limits() };
    let toy = Toy::new(100, limits.batch_rows, limits.logit_rows());
    let rows = toy.rows();
    let mut worker = Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap();
    let mut log = Log::default();
    let requests = (0..6).map(|tail| {
        let mut tokens = prompt(200, 1);
        tokens.extend(prompt(20, 2 + tail));
        Request { max_tokens: Some(1), ..Request::new(tokens, sampling(0)) }
    });
    for request in requests {
        worker.submit(request).unwrap();
    }
    worker.step(&mut |id, event| log.take(id, event));
    assert_eq!(worker.stats().running, 5, "the first is done; the others wait for its blocks");
    log.run(&mut worker);
    // 192 positions are whole blocks in common.
    assert_eq!(rows.load(Ordering::Relaxed), 220 + 5 * 28);
    assert_eq!(log.usage.values().map(|usage| usage.cached_tokens).sum::<usize>(), 5 * 192);
}

#[test]
fn what_is_kept_gives_way_the_oldest_first() {
    // Eight blocks; a text of 100 tokens leaves three full ones.
    let mut worker = worker_with(8, Limits { context: 256, ..limits() });
    let mut run = |length, seed| {
        let request = Request { max_tokens: Some(2), ..Request::new(prompt(length, seed), sampling(0)) };
        run(&mut worker, request).1
    };
    assert_eq!([run(100, 1), run(100, 2), run(100, 1)], [0, 0, 96]);
    // Four more blocks are needed: the last ones of text 2, which has rested longest, go first.
    assert_eq!([run(100, 3), run(100, 1), run(100, 2)], [0, 96, 32]);
    assert_eq!([run(250, 4), run(100, 1)], [0, 0]);
}

/// A step of a random schedule.
#[derive(Clone, Debug)]
enum Act {
    Submit { family: u32, common: usize, length: usize, max_tokens: usize, candidates: usize, tenant: u64 },
    Cancel(prop::sample::Index),
    Step(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let submit = (0_u32..3, 0_usize..4, 1_usize..60, 0_usize..60, 1_usize..4, 0_u64..2).prop_map(
        |(family, common, length, max_tokens, candidates, tenant)| Act::Submit {
            family,
            common: common * 45,
            length,
            max_tokens,
            candidates,
            tenant,
        },
    );
    prop_oneof![
        4 => submit,
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        4 => (1_usize..12).prop_map(Act::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    /// Requests that begin alike come, go and are cancelled in any order over a cache that is too small for all: each
    /// gives what it gives without cache, batch and engine, and in the end every block is accounted for.
    #[test]
    fn any_schedule_gives_the_same_texts_and_keeps_the_books(
        acts in prop::collection::vec(act(), 1..40),
        blocks in 12_usize..50,
    ) {
        let mut worker = worker_with(blocks, limits());
        let mut log = Log::default();
        let mut requests = Vec::new();
        for act in acts {
            match act {
                Act::Submit { family, common, length, max_tokens, candidates, tenant } => {
                    let mut tokens = prompt(common, family);
                    tokens.extend(prompt(length, 7 + length as u32));
                    let sampling = sampling(u64::from(family));
                    let max_tokens = Some(max_tokens);
                    let request = Request { max_tokens, candidates, tenant, ..Request::new(tokens, sampling) };
                    match worker.submit(request.clone()) {
                        Ok(id) => requests.push((id, request, false)),
                        Err(error) => prop_assert!(matches!(error, EngineError::CacheTooSmall { .. }), "{error}"),
                    }
                }
                Act::Cancel(index) if !requests.is_empty() => {
                    let (id, _, cancelled) = index.get(&requests);
                    worker.cancel(*id);
                    let id = *id;
                    let _ = cancelled;
                    requests.iter_mut().filter(|(other, ..)| *other == id).for_each(|entry| entry.2 = true);
                }
                Act::Cancel(_) => {}
                Act::Step(steps) => {
                    for _ in 0..steps {
                        worker.step(&mut |id, event| log.take(id, event));
                        let stats = worker.stats();
                        prop_assert!(stats.blocks_used + stats.blocks_kept <= blocks);
                    }
                }
            }
        }
        log.run(&mut worker);
        prop_assert!(log.errors.is_empty(), "{:?}", log.errors);
        for (id, request, cancelled) in requests {
            for candidate in 0..request.candidates {
                let (tokens, reason) = alone(&request, candidate, 400);
                let got = log.texts.remove(&(id, candidate)).unwrap();
                if cancelled && got.reason == Some(FinishReason::Cancelled) {
                    prop_assert!(tokens.starts_with(&got.tokens));
                    continue;
                }
                prop_assert_eq!(got, Text { text: text_of(&tokens), tokens, reason: Some(reason) });
            }
            prop_assert_eq!(log.usage[&id].prompt_tokens, if log.usage[&id].prompt_tokens > 0 { request.prompt.len() } else { 0 });
        }
        let stats = worker.stats();
        prop_assert_eq!((stats.running, stats.waiting, stats.blocks_used), (0, 0, 0));
        // All of the cache can still be had at once.
        worker.idle_forward().unwrap();
        prop_assert_eq!(worker.stats().blocks_kept, 0);
    }
}
