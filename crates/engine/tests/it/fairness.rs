//! Nobody waits for ever, nobody is crowded out, and texts keep flowing beside long prompts.

use std::collections::HashMap;

use saem_engine::{Control, EngineError, Event, FinishReason, Limits, Request, RequestId};

use crate::worker::{Log, limits, prompt, sampling, worker_with};

/// A request of `tenant` for exactly `tokens` tokens.
fn request(tenant: u64, seed: u32, length: usize, tokens: usize) -> Request {
    let sampling = sampling(u64::from(seed));
    Request {
        tenant,
        ignore_end_tokens: true,
        max_tokens: Some(tokens),
        ..Request::new(prompt(length, seed), sampling)
    }
}

#[test]
fn one_request_does_not_wait_for_a_hundred_of_another_tenant() {
    let mut worker = worker_with(60, Limits { max_sequences: 2, ..limits() });
    let crowd: Vec<RequestId> = (0..100).map(|seed| worker.submit(request(1, seed, 20, 10)).unwrap()).collect();
    let mut started = Vec::new();
    let mut alone = None;
    for steps in 0.. {
        if steps == 30 {
            alone = Some(worker.submit(request(2, 100, 20, 10)).unwrap());
        }
        let busy = worker.step(&mut |id, event| {
            if matches!(event, Event::Prefill { .. }) {
                started.push(id);
            }
            Control::Continue
        });
        if !busy {
            break;
        }
    }
    let place = started.iter().position(|id| Some(*id) == alone).unwrap();
    assert!(place <= 12, "{place} requests of the crowd went before");
    started.remove(place);
    assert_eq!(started, crowd, "one tenant's requests keep their order");
}

#[test]
fn a_large_request_is_not_starved_by_small_ones_and_new_tenants() {
    // The large one needs all of the cache; new tenants bring small ones all the time.
    let mut worker = worker_with(8, Limits { context: 256, max_sequences: 3, ..limits() });
    let mut next = 0_u32;
    let mut large = None;
    let mut started_after = None;
    for step in 0..2_000 {
        if step % 2 == 0 {
            next += 1;
            worker.submit(request(u64::from(next), next, 20, 6)).unwrap();
        }
        if step == 20 {
            large = Some(worker.submit(request(0, 7, 200, 50)).unwrap());
        }
        worker.step(&mut |id, event| {
            if Some(id) == large && matches!(event, Event::Done { .. }) {
                started_after.get_or_insert(step);
            }
            Control::Continue
        });
    }
    assert!(started_after.is_some_and(|step| step < 400), "{started_after:?}");
}

#[test]
fn who_decodes_gets_a_token_in_every_pass() {
    let limits = Limits { prompt_rows: 32, batch_rows: 256, ..limits() };
    let mut worker = worker_with(100, limits);
    let talkers: Vec<RequestId> = (0..3).map(|seed| worker.submit(request(0, seed, 5, 60)).unwrap()).collect();
    worker.step(&mut |_, _| Control::Continue);
    for seed in 0..3 {
        worker.submit(request(1, 10 + seed, 300, 2)).unwrap();
    }
    let mut beside = 0;
    for _ in 0..50 {
        let rows = worker.stats().totals.rows;
        let mut got: HashMap<RequestId, usize> = HashMap::new();
        worker.step(&mut |id, event| {
            if let Event::Text { tokens, .. } = event {
                *got.entry(id).or_default() += tokens.len();
            }
            Control::Continue
        });
        assert!(talkers.iter().all(|id| got.get(id) == Some(&1)), "{got:?}");
        let rows = worker.stats().totals.rows - rows;
        assert!(rows <= 32 + 6, "{rows} rows in one pass");
        beside += usize::from(rows > 6);
    }
    assert!(beside >= 28, "900 prompt rows, 32 at a time, passed in {beside} passes");
    let mut log = Log::default();
    log.run(&mut worker);
}

#[test]
fn a_full_queue_refuses_and_takes_again() {
    let mut worker = worker_with(60, Limits { max_sequences: 2, max_waiting: 3, ..limits() });
    // Two find a place at once, three wait.
    let first = worker.submit(request(0, 0, 10, 5)).unwrap();
    for seed in 1..5 {
        worker.submit(request(0, seed, 10, 5)).unwrap();
    }
    for _ in 0..2 {
        let error = worker.submit(request(1, 5, 10, 5)).unwrap_err();
        assert!(matches!(error, EngineError::QueueFull { waiting: 3 | 5 }), "{error}");
        worker.step(&mut |_, _| Control::Continue);
    }
    let stats = worker.stats();
    assert_eq!((stats.running, stats.waiting), (2, 3));
    worker.cancel(first);
    worker.step(&mut |_, _| Control::Continue);
    assert_eq!(worker.stats().waiting, 2);
    let late = worker.submit(request(1, 5, 10, 5)).unwrap();
    let mut log = Log::default();
    log.run(&mut worker);
    assert_eq!(log.texts[&(late, 0)].reason, Some(FinishReason::Length));
    let stats = worker.stats();
    assert_eq!((stats.running, stats.waiting, stats.blocks_used, stats.totals.requests), (0, 0, 0, 6));
}

#[test]
fn lines_of_one_tenant_take_turns_and_none_fills_the_queue() {
    let mut worker = worker_with(60, Limits { max_sequences: 2, max_waiting: 8, ..limits() });
    let of = |line, seed| Request { line: Some(line), line_waiting: Some(2), ..request(1, seed, 20, 10) };
    // Two find a place at once, two wait.
    let crowd: Vec<RequestId> = (0..4).map(|seed| worker.submit(of(1, seed)).unwrap()).collect();
    worker.step(&mut |_, _| Control::Continue);
    let error = worker.submit(of(1, 4)).unwrap_err();
    assert!(matches!(error, EngineError::LineFull { waiting: 2 }), "{error}");
    let other = worker.submit(of(2, 5)).unwrap();
    let mut ended = Vec::new();
    while worker.step(&mut |id, event| {
        if matches!(event, Event::Done { .. }) {
            ended.push(id);
        }
        Control::Continue
    }) {}
    let place = |id| ended.iter().position(|ended| *ended == id).unwrap();
    assert!(place(other) < place(crowd[3]), "whoever got nothing yet goes before: {ended:?}");
    assert!(worker.submit(of(1, 4)).is_ok());
}
