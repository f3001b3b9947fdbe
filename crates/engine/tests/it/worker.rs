//! Many requests at once give what each gives alone, whatever joins, leaves, shares or is cut off.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use saem_engine::sampler::{Sampler, Scratch};
use saem_engine::{Control, EngineError, Event, FinishReason, Limits, Request, RequestId, Sampling, Usage, Worker};

use crate::toy::{Bytes, END, Says, Toy, logits_after};

pub(crate) fn limits() -> Limits {
    Limits {
        context: 400,
        model_context: 1000,
        batch_rows: 48,
        prompt_rows: 48,
        draft_rows: 8,
        max_sequences: 6,
        max_waiting: usize::MAX,
    }
}

pub(crate) fn worker_with(blocks: usize, limits: Limits) -> Worker {
    let toy = Toy::new(blocks, limits.batch_rows, limits.logit_rows());
    Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap()
}

pub(crate) fn prompt(length: usize, seed: u32) -> Vec<u32> {
    (0..length as u32).map(|i| (i * 7 + seed * 31 + i * i) % 256).collect()
}

pub(crate) fn sampling(seed: u64) -> Sampling {
    Sampling { seed: Some(seed), temperature: 0.8, top_k: 20, ..Sampling::default() }
}

/// What one candidate made.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
    pub(crate) reason: Option<FinishReason>,
}

/// Everything that was reported, by request and candidate.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) texts: HashMap<(RequestId, usize), Text>,
    pub(crate) usage: HashMap<RequestId, Usage>,
    pub(crate) prefill: HashMap<RequestId, Vec<usize>>,
    pub(crate) errors: Vec<(RequestId, EngineError)>,
}

impl Log {
    pub(crate) fn take(&mut self, id: RequestId, event: Event<'_>) -> Control {
        match event {
            Event::Prefill { done, .. } => self.prefill.entry(id).or_default().push(done),
            Event::Text { candidate, text, tokens } => {
                let entry = self.texts.entry((id, candidate)).or_default();
                assert_eq!(entry.reason, None, "text after the end");
                entry.text.push_str(text);
                entry.tokens.extend(tokens.iter().map(|token| token.token));
            }
            Event::Finished { candidate, reason } => {
                let old = self.texts.entry((id, candidate)).or_default().reason.replace(reason);
                assert_eq!(old, None, "finished twice");
            }
            Event::Done { usage, .. } => assert!(self.usage.insert(id, usage).is_none()),
            Event::Failed { error } => self.errors.push((id, error)),
            _ => {}
        }
        Control::Continue
    }

    pub(crate) fn run(&mut self, worker: &mut Worker) {
        while worker.step(&mut |id, event| self.take(id, event)) {}
    }
}

/// The same text without engine: one token after the other, no cache, no batch.
pub(crate) fn alone(request: &Request, candidate: usize, context: usize) -> (Vec<u32>, FinishReason) {
    alone_saying(|tokens| logits_after(tokens.iter().copied()), request, candidate, context)
}

/// [`alone`] with a toy of another opinion.
pub(crate) fn alone_saying(
    says: Says,
    request: &Request,
    candidate: usize,
    context: usize,
) -> (Vec<u32>, FinishReason) {
    let mut sampler = Sampler::new(&request.sampling, request.sampling.seed.unwrap(), candidate, &request.prompt);
    let mut tokens = request.prompt.clone();
    let mut out = Vec::new();
    let wanted = request.max_tokens.map_or(usize::MAX, |max| max + tokens.len());
    loop {
        if tokens.len() >= wanted.min(context) {
            let reason = if wanted > context { FinishReason::ContextFull } else { FinishReason::Length };
            return (out, reason);
        }
        let token = sampler.sample(&says(&tokens), &mut Scratch::default()).unwrap();
        tokens.push(token);
        if token == END {
            return (out, FinishReason::EndToken(END));
        }
        out.push(token);
    }
}

/// The text of toy tokens: bytes, and nothing for control tokens.
pub(crate) fn text_of(tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_crowd_gives_what_each_gives_alone(
        requests in prop::collection::vec((1_usize..150, 0_usize..60, 1_usize..4, any::<u64>(), 0_usize..6), 1..9),
        blocks in 24_usize..80,
    ) {
        let mut worker = worker_with(blocks, limits());
        let mut log = Log::default();
        let mut expected = Vec::new();
        for (length, max_tokens, candidates, seed, steps) in requests {
            let request = Request {
                max_tokens: Some(max_tokens),
                candidates,
                ..Request::new(prompt(length, seed as u32 % 50), sampling(seed))
            };
            match worker.submit(request.clone()) {
                Ok(id) => expected.push((id, request)),
                Err(error) => prop_assert!(matches!(error, EngineError::CacheTooSmall { .. }), "{error}"),
            }
            // Later requests arrive while earlier ones run.
            for _ in 0..steps {
                worker.step(&mut |id, event| log.take(id, event));
            }
        }
        log.run(&mut worker);
        prop_assert!(log.errors.is_empty());
        for (id, request) in expected {
            for candidate in 0..request.candidates {
                let (tokens, reason) = alone(&request, candidate, 400);
                let got = log.texts.remove(&(id, candidate)).unwrap();
                prop_assert_eq!(got.reason, Some(reason));
                prop_assert_eq!(&got.text, &text_of(&tokens));
                prop_assert_eq!(got.tokens, tokens);
            }
            prop_assert_eq!(log.usage[&id].prompt_tokens, request.prompt.len());
        }
        prop_assert_eq!(worker.sequences(), 0);
    }
}

#[test]
fn a_long_prompt_comes_in_chunks_beside_those_who_talk() {
    let mut worker = worker_with(60, limits());
    let mut log = Log::default();
    let first = Request { ignore_end_tokens: true, max_tokens: Some(30), ..Request::new(prompt(3, 1), sampling(1)) };
    let first = worker.submit(first).unwrap();
    worker.step(&mut |id, event| log.take(id, event));
    let long = Request { max_tokens: Some(1), ..Request::new(prompt(200, 2), sampling(2)) };
    let long = worker.submit(long).unwrap();
    let before = log.texts[&(first, 0)].tokens.len();
    for _ in 0..3 {
        worker.step(&mut |id, event| log.take(id, event));
    }
    assert_eq!(log.prefill[&long], [32, 64, 96], "whole blocks, and one row of 48 is the talker's");
    assert_eq!(log.texts[&(first, 0)].tokens.len(), before + 3);
    log.run(&mut worker);
    assert_eq!(log.prefill[&long].last(), Some(&200));
}

#[test]
fn the_context_is_a_border() {
    let mut worker = worker_with(20, Limits { context: 64, ..limits() });
    let error = worker.submit(Request::new(prompt(64, 0), sampling(0))).unwrap_err();
    assert!(matches!(error, EngineError::ContextOverflow { prompt: 64, context: 64, model_context: 1000 }));
    assert!(error.to_string().contains("64 tokens"), "{error}");
    let request = Request { ignore_end_tokens: true, ..Request::new(prompt(60, 0), sampling(0)) };
    let id = worker.submit(request.clone()).unwrap();
    let exact = worker.submit(Request { max_tokens: Some(4), ..request }).unwrap();
    let mut log = Log::default();
    log.run(&mut worker);
    assert_eq!(log.texts[&(id, 0)].reason, Some(FinishReason::ContextFull));
    assert_eq!(log.texts[&(exact, 0)].reason, Some(FinishReason::Length));
    assert_eq!(log.texts[&(id, 0)].tokens.len(), 4);
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let mut worker = worker_with(4, limits());
    let refuse = |worker: &mut Worker, request: Request| worker.submit(request).unwrap_err().to_string();
    let base = Request::new(prompt(5, 0), sampling(0));
    assert_eq!(refuse(&mut worker, Request { prompt: vec![], ..base.clone() }), "the prompt is empty");
    assert_eq!(refuse(&mut worker, Request { candidates: 7, ..base.clone() }), "n is 7 (allowed: 1 to 6)");
    assert_eq!(refuse(&mut worker, Request { candidates: 0, ..base.clone() }), "n is 0 (allowed: 1 to 6)");
    assert!(refuse(&mut worker, Request { logprobs: Some(5_000), ..base.clone() }).starts_with("logprobs is 5000"));
    assert!(refuse(&mut worker, Request { stop: vec![String::new()], ..base.clone() }).starts_with("stop is"));
    assert!(refuse(&mut worker, Request { prompt: vec![1, 999], ..base.clone() }).contains("token 999 at position 1"));
    // 400 tokens take 13 blocks, the cache has 4.
    assert!(refuse(&mut worker, base.clone()).contains("needs 13 blocks"));
    assert!(worker.submit(Request { max_tokens: Some(100), ..base }).is_ok());
}

#[test]
fn cancelling_from_the_callback_and_from_outside() {
    let mut worker = worker_with(60, limits());
    let flag = Arc::new(AtomicBool::new(false));
    let base = Request { ignore_end_tokens: true, max_tokens: Some(50), ..Request::new(prompt(9, 3), sampling(3)) };
    let by_callback = worker.submit(Request { candidates: 2, ..base.clone() }).unwrap();
    let by_flag = worker.submit(Request { cancel: Some(Arc::clone(&flag)), ..base.clone() }).unwrap();
    let other = worker.submit(base.clone()).unwrap();
    let queued = worker.submit(Request { candidates: 6, ..base }).unwrap();
    let mut log = Log::default();
    let mut steps = 0;
    while worker.step(&mut |id, event| {
        log.take(id, event);
        if id == by_callback && steps == 4 { Control::Cancel } else { Control::Continue }
    }) {
        steps += 1;
        flag.store(steps >= 7, Ordering::Relaxed);
        if steps == 2 {
            worker.cancel(queued);
        }
    }
    for (id, candidate, tokens) in [(by_callback, 0, 5), (by_callback, 1, 5), (by_flag, 0, 7), (queued, 5, 0)] {
        let text = &log.texts[&(id, candidate)];
        assert_eq!((text.reason, text.tokens.len()), (Some(FinishReason::Cancelled), tokens));
    }
    assert_eq!(log.texts[&(other, 0)].reason, Some(FinishReason::Length));
    assert_eq!(log.usage.len(), 4, "each is done exactly once");
    assert_eq!(worker.sequences(), 0);
}

#[test]
fn a_cancelled_prompt_stops_between_chunks() {
    let mut worker = worker_with(60, limits());
    let id = worker.submit(Request::new(prompt(300, 0), sampling(0))).unwrap();
    let mut log = Log::default();
    while worker.step(&mut |id, event| {
        let stop = matches!(event, Event::Prefill { done, .. } if done >= 96);
        log.take(id, event);
        if stop { Control::Cancel } else { Control::Continue }
    }) {}
    assert_eq!(log.prefill[&id], [32, 64, 96]);
    assert_eq!(log.texts[&(id, 0)].reason, Some(FinishReason::Cancelled));
}

#[test]
fn stop_strings_cut_the_text() {
    let mut worker = worker_with(60, limits());
    let base = Request { ignore_end_tokens: true, max_tokens: Some(40), ..Request::new(prompt(9, 8), sampling(5)) };
    let (tokens, _) = alone(&base, 0, 400);
    let text = text_of(&tokens);
    // A stop string out of the middle of the text, two characters long.
    let middle: String = text.chars().skip(10).take(2).collect();
    let at = text.find(&middle).unwrap();
    let id = worker.submit(Request { stop: vec![middle.clone()], ..base }).unwrap();
    let mut log = Log::default();
    log.run(&mut worker);
    let got = &log.texts[&(id, 0)];
    assert_eq!(got.reason, Some(FinishReason::StopString));
    assert_eq!(got.text, text[..at]);
    assert!(!got.text.contains(&middle));
}

#[test]
fn log_probabilities_come_with_bytes_and_alternatives() {
    let mut worker = worker_with(60, limits());
    let request = Request {
        logprobs: Some(4),
        max_tokens: Some(5),
        ignore_end_tokens: true,
        ..Request::new(prompt(9, 8), Sampling::greedy())
    };
    worker.submit(request).unwrap();
    let mut seen = 0;
    while worker.step(&mut |_, event| {
        if let Event::Text { tokens, .. } = event {
            for token in tokens {
                let logprobs = token.logprobs.as_ref().unwrap();
                assert_eq!(logprobs.top.len(), 4);
                assert_eq!(logprobs.top[0].token, token.token, "greedy takes the most probable");
                assert_eq!(logprobs.top[0].logprob, logprobs.logprob);
                assert!(logprobs.logprob < 0.0);
                assert_eq!(logprobs.top[0].bytes, token.bytes);
                seen += 1;
            }
        }
        Control::Continue
    }) {}
    assert_eq!(seen, 5);
}

#[test]
fn zero_tokens_only_compute_the_prompt() {
    let mut worker = worker_with(60, limits());
    let id = worker.submit(Request { max_tokens: Some(0), ..Request::new(prompt(70, 8), sampling(1)) }).unwrap();
    let mut log = Log::default();
    log.run(&mut worker);
    assert_eq!(log.texts[&(id, 0)], Text { reason: Some(FinishReason::Length), ..Text::default() });
    assert_eq!((log.usage[&id].completion_tokens, log.prefill[&id].last()), (0, Some(&70)));
}
