//! Requests with adapters: each gets what it would get alone, shares the cache with its own kind only, and stays within
//! the room that was set aside.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use saem_engine::constraint::Constraint;
use saem_engine::sampler::{Sampler, Scratch, largest};
use saem_engine::{
    Adapter, AdapterError, AdapterRoom, Adapters, Completion, Engine, EngineError, EngineOptions, FinishReason, Limits,
    Request, Sampling, Worker,
};
use saem_formats::Source;
use saem_kernels::attention::{KvType, Span};
use saem_kernels::{DataType, ThreadPool};
use saem_model::{Batch, Config, KvCache, LoadOptions, Model, Workspace};

use crate::models::quiet;
use crate::toy::{Bytes, END, Toy, VOCABULARY, logits_after, mark};
use crate::worker::{Log, limits, prompt, sampling};

const ROOM: AdapterRoom = AdapterRoom { bytes: 256 << 10, rank: 8 };
const NAMES: [&str; 3] = ["llama-lora", "llama-rslora", "llama-prompt"];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

fn options() -> EngineOptions {
    EngineOptions {
        threads: 2,
        context: Some(200),
        batch_rows: 256,
        prompt_rows: 256,
        max_sequences: 8,
        adapters: ROOM,
        ..EngineOptions::default()
    }
}

fn engine(options: &EngineOptions) -> Engine {
    Engine::load(fixtures().join("llama"), options, &mut |_, _| {}).unwrap()
}

/// None, and one adapter of each kind.
fn adapters(engine: &Engine) -> Vec<Option<Arc<Adapter>>> {
    let adapters = engine.adapters().unwrap();
    let load = |name| adapters.load(name, fixtures().join("adapters").join(name)).unwrap();
    std::iter::once(None).chain(NAMES.map(|name| Some(load(name)))).collect()
}

fn request(adapter: Option<&Arc<Adapter>>, prompt: Vec<u32>, max_tokens: usize) -> Request {
    Request {
        adapter: adapter.cloned(),
        max_tokens: Some(max_tokens),
        ignore_end_tokens: true,
        ..Request::new(prompt, Sampling::greedy())
    }
}

fn tokens(completion: &Completion) -> Vec<u32> {
    completion.candidates[0].tokens.iter().map(|token| token.token).collect()
}

/// The greedy continuation by the model alone: each token from one pass over everything before it.
fn continuation(model: &Model, adapter: Option<&Adapter>, prompt: &[u32], count: usize) -> Vec<u32> {
    let first = model.config.vocabulary as u32;
    let rows = adapter.map_or(0, Adapter::virtual_tokens) as u32;
    let mut text: Vec<u32> = (first..first + rows).chain(prompt.iter().copied()).collect();
    let pool = ThreadPool::new(1).unwrap();
    let mut workspace = Workspace::new(&model.config, 256, 1);
    workspace.reserve_adapters(&model.config, ROOM.rank);
    let blocks: Vec<u32> = (0..8).collect();
    for _ in 0..count {
        let mut cache = KvCache::new(&model.config, KvType::F32, 8);
        let spans = [Span { first_row: 0, rows: text.len(), first_position: 0, blocks: &blocks }];
        let batch = Batch { tokens: &text, spans: &spans, adapters: &[adapter], logit_rows: &[text.len() - 1] };
        let logits = model.forward(&pool, &mut cache, &batch, &mut workspace).unwrap();
        text.push(largest(logits).unwrap().token);
    }
    text.split_off(rows as usize + prompt.len())
}

#[test]
fn texts_are_those_of_the_model_with_the_adapter() {
    let small = EngineOptions { batch_rows: 16, prompt_rows: 8, kv_type: KvType::F32, max_sequences: 3, ..options() };
    let engine = engine(&small);
    let source = Source::open(fixtures().join("llama")).unwrap();
    let model = Model::load(&source, &ThreadPool::new(1).unwrap(), &LoadOptions::default(), &mut |_, _| {}).unwrap();
    let given = adapters(&engine);
    let mut requests = Vec::new();
    for (index, length) in [40, 3, 17, 33, 70, 5, 9, 31].into_iter().enumerate() {
        let prompt: Vec<u32> = (0..length).map(|i| (i * 13 + index as u32 * 29 + 5) % 320).collect();
        requests.push(request(given[index % 4].as_ref(), prompt, 12));
    }
    let completions = engine.generate_many(requests.clone(), &mut |_, event| quiet(event)).unwrap();
    for (request, completion) in requests.iter().zip(&completions) {
        let expected = continuation(&model, request.adapter.as_deref(), &request.prompt, 12);
        assert_eq!(tokens(completion), expected, "{:?}", request.adapter);
        let before = request.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens());
        assert_eq!(completion.usage.prompt_tokens, before + request.prompt.len());
    }
}

/// With quantised weights nothing that else is in a pass changes a bit, guesses neither.
#[test]
fn a_crowd_gets_to_the_last_bit_what_each_gets_alone() {
    let engine = engine(&EngineOptions { quantize: Some(DataType::Q8_0), ..options() });
    let given = adapters(&engine);
    let mut requests = Vec::new();
    for (index, length) in [40, 40, 40, 40, 7, 12, 3, 25].into_iter().enumerate() {
        // The first four ask the same of different adapters.
        let prompt: Vec<u32> = (0..length).map(|i| (i * 11 + 3 * (index as u32 / 4)) % 320).collect();
        let request = Request { logprobs: Some(2), ..request(given[index % 4].as_ref(), prompt, 40) };
        requests.push(request);
    }
    let together = engine.generate_many(requests.clone(), &mut |_, event| quiet(event)).unwrap();
    let totals = engine.stats().totals;
    assert!(totals.drafted_tokens > 0, "nothing was guessed");
    for (index, (request, together)) in requests.into_iter().zip(together).enumerate() {
        for speculate in [true, false] {
            // Nothing may come from the cache.
            let tenant = 1 + 2 * index as u64 + u64::from(speculate);
            let alone = engine.generate(Request { tenant, speculate, ..request.clone() }, &mut quiet).unwrap();
            assert_eq!(alone.candidates, together.candidates, "request {index}, speculate {speculate}");
        }
    }
}

#[test]
fn blocks_are_shared_within_one_adapter_only() {
    let engine = engine(&options());
    let given = adapters(&engine);
    let prompt: Vec<u32> = (0..70).map(|i| i * 7 % 320).collect();
    let run = |adapter: Option<&Arc<Adapter>>| {
        let completion = engine.generate(request(adapter, prompt.clone(), 6), &mut quiet).unwrap();
        (tokens(&completion), completion.usage.cached_tokens)
    };
    let first: Vec<_> = given.iter().map(|adapter| run(adapter.as_ref())).collect();
    for (index, (text, cached)) in first.iter().enumerate() {
        assert_eq!(*cached, 0, "adapter {index}");
        assert!(first[..index].iter().all(|(other, _)| other != text), "the adapters say the same");
    }
    for (adapter, (text, _)) in given.iter().zip(&first) {
        assert_eq!(run(adapter.as_ref()), (text.clone(), 64));
    }
    // The same file once more is another adapter.
    let adapters = engine.adapters().unwrap();
    let again = adapters.load(NAMES[0], fixtures().join("adapters").join(NAMES[0])).unwrap();
    assert_eq!(run(Some(&again)), (first[1].0.clone(), 0));
    assert_eq!(run(given[1].as_ref()), (first[1].0.clone(), 64), "who holds the old one goes on with it");
}

#[test]
fn virtual_tokens_take_context() {
    let engine = engine(&options());
    let soft = adapters(&engine).pop().flatten().unwrap();
    let text = |length: u32| (0..length).map(|i| i * 7 % 320).collect::<Vec<u32>>();
    let error = engine.generate(request(Some(&soft), text(195), 1), &mut quiet).unwrap_err();
    assert!(matches!(error, EngineError::ContextOverflow { prompt: 200, context: 200, .. }), "{error}");
    let full = engine.generate(request(Some(&soft), text(194), 100), &mut quiet).unwrap();
    assert_eq!((full.usage.prompt_tokens, full.usage.completion_tokens), (199, 1));
    // Three candidates share prompt and virtual tokens; the first is what one alone is.
    let sampling = Sampling { seed: Some(5), temperature: 1.0, ..Sampling::default() };
    let base = Request { sampling, ..request(Some(&soft), text(37), 20) };
    let many = engine.generate(Request { candidates: 3, ..base.clone() }, &mut quiet).unwrap();
    let one = engine.generate(base, &mut quiet).unwrap();
    assert_eq!(many.candidates[0].text, one.candidates[0].text);
    assert!(many.candidates[1] != many.candidates[0] && many.candidates[2] != many.candidates[1]);
}

#[test]
fn constraints_hold_under_an_adapter() {
    let engine = engine(&options());
    for adapter in adapters(&engine) {
        let constraint = Constraint::regex("(spring|샘) water [0-9]{3,5}").unwrap();
        let prompt = engine.prompt_tokens("the");
        let request =
            Request { constraint: Some(constraint), ignore_end_tokens: false, ..request(adapter.as_ref(), prompt, 60) };
        let completion = engine.generate(request, &mut quiet).unwrap();
        let text = completion.text();
        let digits = text.strip_prefix("spring water ").or_else(|| text.strip_prefix("샘 water "));
        let digits = digits.unwrap_or_else(|| panic!("{text:?}"));
        assert!((3..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    }
}

/// One that tells labels apart, beside others: it says the label, whatever else is asked.
#[test]
fn labels_are_told_and_nothing_is_written() {
    let engine = engine(&EngineOptions { quantize: Some(DataType::Q8_0), ..options() });
    let mut given = adapters(&engine);
    let labels = engine.adapters().unwrap().load("labels", fixtures().join("adapters/llama-labels")).unwrap();
    given.push(Some(Arc::clone(&labels)));
    let prompt = |index: usize| (0..40).map(|i| (i * 11 + 31 * index as u32) % 320).collect::<Vec<u32>>();
    let asked = |index: usize| {
        let sampling = Sampling { seed: Some(3), temperature: 2.0, ..Sampling::default() };
        Request { sampling, logprobs: Some(5), max_tokens: None, ..request(Some(&labels), prompt(index), 1) }
    };
    let mut requests: Vec<Request> = (0..12).map(asked).collect();
    requests.extend(given.iter().take(4).map(|adapter| request(adapter.as_ref(), prompt(1), 20)));
    let together = engine.generate_many(requests.clone(), &mut |_, event| quiet(event)).unwrap();
    let mut told = std::collections::BTreeSet::new();
    for (index, (request, together)) in requests.into_iter().zip(&together).enumerate() {
        let alone = engine.generate(Request { tenant: 1 + index as u64, ..request.clone() }, &mut quiet).unwrap();
        assert_eq!(alone.candidates, together.candidates, "request {index}");
        if index >= 12 {
            assert_eq!(together.candidates[0].tokens.len(), 20);
            continue;
        }
        let [candidate] = &together.candidates[..] else { panic!("one candidate") };
        assert_eq!((candidate.reason, together.usage.completion_tokens), (FinishReason::Label, 1));
        let [token] = &candidate.tokens[..] else { panic!("one token: {:?}", candidate.tokens) };
        assert_eq!(labels.labels()[token.token as usize], candidate.text);
        let logprobs = token.logprobs.as_ref().unwrap();
        assert_eq!((logprobs.top.len(), &*logprobs.top[0].bytes), (3, candidate.text.as_bytes()));
        assert_eq!(logprobs.logprob, logprobs.top[0].logprob);
        let sum: f32 = logprobs.top.iter().map(|label| label.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "probabilities of labels sum to {sum}");
        told.insert(candidate.text.clone());
    }
    assert!(told.len() > 1, "always the same: {told:?}");
    let three = engine.generate(Request { candidates: 3, ..asked(0) }, &mut quiet).unwrap();
    assert!(three.candidates.iter().all(|candidate| candidate.text == together[0].text()));
    let constraint = Some(Constraint::regex("[a-z]+").unwrap());
    for (parameter, wrong) in [
        ("constraint", Request { constraint, ..asked(0) }),
        ("logit_bias", Request { logit_bias: vec![(1, 2.0)], ..asked(0) }),
    ] {
        let error = engine.generate(wrong, &mut quiet).unwrap_err();
        assert!(matches!(error, EngineError::Parameter { parameter: named, .. } if named == parameter), "{error}");
    }
    let nothing = engine.generate(Request { max_tokens: Some(0), ..asked(0) }, &mut quiet).unwrap();
    assert_eq!((nothing.text(), nothing.candidates[0].reason), ("", FinishReason::Length));
}

#[test]
fn adapters_stay_within_the_room_that_the_plan_counts() {
    let path = |name: &str| fixtures().join("adapters").join(name);
    let plan = |adapters| Engine::plan_for(fixtures().join("llama"), &EngineOptions { adapters, ..options() }).unwrap();
    let (without, with) = (plan(AdapterRoom::default()), plan(ROOM));
    assert_eq!(with.weight_bytes, without.weight_bytes + ROOM.bytes);
    assert!(with.workspace_bytes > without.workspace_bytes);
    // A rank above the model's width takes what the width takes: no adapter of the model has more.
    let of_rank = |rank| {
        let options = EngineOptions { adapters: AdapterRoom { bytes: 0, rank }, ..options() };
        Engine::plan_for(fixtures().join("llama"), &options).unwrap().workspace_bytes
    };
    assert!(of_rank(33) == of_rank(32) && of_rank(32) > of_rank(8));

    let config = Config::from_source(&Source::open(fixtures().join("llama")).unwrap()).unwrap();
    let bytes = Adapters::new(config.clone(), ROOM).load("one", path("llama-lora")).unwrap().byte_len() as u64;
    let adapters = Adapters::new(config.clone(), AdapterRoom { bytes: bytes + 700, rank: 4 });
    let rank = adapters.load("first", path("llama-rslora")).unwrap_err();
    assert!(matches!(rank, EngineError::Adapter(AdapterError::Rank { rank: 5, limit: 4, .. })), "{rank}");
    let first = adapters.load("first", path("llama-lora")).unwrap();
    assert_eq!((adapters.bytes(), adapters.get("first").unwrap().id()), (bytes, first.id()));
    let full = adapters.load("second", path("llama-lora")).unwrap_err();
    assert!(matches!(full, EngineError::Adapter(AdapterError::TooLarge { .. })), "{full}");
    adapters.load("soft", path("llama-prompt")).unwrap();
    assert_eq!(adapters.list().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["first", "soft"]);
    // A name that is gone is gone at once, its memory when the last user is.
    assert!(adapters.remove("first") && !adapters.remove("first") && adapters.get("first").is_none());
    assert!(matches!(
        adapters.load("second", path("llama-lora")),
        Err(EngineError::Adapter(AdapterError::TooLarge { .. }))
    ));
    drop(first);
    adapters.load("second", path("llama-lora")).unwrap();

    let none = Adapters::new(config, AdapterRoom::default());
    assert!(matches!(none.load("any", path("llama-prompt")), Err(EngineError::NoAdapters)));
}

#[test]
fn adapters_that_do_not_belong_to_the_model_are_refused() {
    let qwen = Config::from_source(&Source::open(fixtures().join("qwen2")).unwrap()).unwrap();
    let strange = Adapters::new(qwen, ROOM).load("any", fixtures().join("adapters/qwen2-lora")).unwrap();
    let engine = engine(&EngineOptions { adapters: AdapterRoom { rank: 4, ..ROOM }, ..options() });
    let error = engine.generate(request(Some(&strange), vec![1, 2], 2), &mut quiet).unwrap_err();
    assert!(matches!(error, EngineError::Parameter { parameter: "adapter", .. }), "{error}");
    let large = adapters(&self::engine(&options()))[2].clone().unwrap();
    let error = engine.generate(request(Some(&large), vec![1, 2], 2), &mut quiet).unwrap_err();
    assert!(error.to_string().contains("of rank 5 (allowed: ranks up to 4)"), "{error}");
    let toy = Box::new(Toy::new(20, 48, 14));
    let mut worker = Worker::new(toy, Arc::new(Bytes::new()), vec![END], limits()).unwrap();
    let error = worker.submit(request(Some(&large), vec![1, 2], 2)).unwrap_err();
    assert!(matches!(error, EngineError::NoAdapters), "{error}");
}

/// A text by the toy's rules, one token after the other.
fn alone(request: &Request, candidate: usize, context: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(&request.sampling, request.sampling.seed.unwrap(), candidate, &request.prompt);
    let before = request.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens());
    let id = request.adapter.as_ref().map_or(0, |adapter| adapter.id());
    let mut seen: Vec<u32> = mark(id).into_iter().collect();
    seen.extend((VOCABULARY..VOCABULARY + before).map(|token| token as u32).chain(request.prompt.iter().copied()));
    let most = context - before - request.prompt.len();
    let mut made = Vec::new();
    while made.len() < request.max_tokens.unwrap_or(most).min(most) {
        let token = sampler.sample(&logits_after(seen.iter().copied()), &mut Scratch::default()).unwrap();
        if token == END {
            break;
        }
        seen.push(token);
        made.push(token);
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Requests with and without adapters that begin alike, over a cache that is too small for all of them: the toy
    /// fails where a block of another adapter is read, and every text is what it is alone.
    #[test]
    fn any_schedule_keeps_adapters_apart(
        acts in prop::collection::vec((0_usize..4, 0_usize..4, 1_usize..50, 0_usize..40, 1_usize..3, 0_usize..8), 1..20),
        blocks in 14_usize..50,
    ) {
        let config = Config::from_source(&Source::open(fixtures().join("llama")).unwrap()).unwrap();
        let adapters = Arc::new(Adapters::new(config, ROOM));
        let given = [None].into_iter().chain(
            NAMES.map(|name| Some(adapters.load(name, fixtures().join("adapters").join(name)).unwrap())),
        );
        let given: Vec<Option<Arc<Adapter>>> = given.collect();
        let limits = Limits { context: 300, ..limits() };
        let toy = Toy::new(blocks, limits.batch_rows, limits.logit_rows()).with_adapters(Arc::clone(&adapters));
        let mut worker = Worker::new(Box::new(toy), Arc::new(Bytes::new()), vec![END], limits).unwrap();
        let mut log = Log::default();
        let mut requests = Vec::new();
        for (which, common, length, max_tokens, candidates, steps) in acts {
            let mut text = prompt(common * 45, 1);
            text.extend(prompt(length, 7));
            let request = Request {
                adapter: given[which].clone(),
                max_tokens: Some(max_tokens),
                candidates,
                // Penalties look at the last tokens of prompt and text, of which virtual ones are none.
                ..Request::new(
                    text,
                    Sampling { repetition_penalty: 1.5, repetition_window: 40, ..sampling(common as u64) },
                )
            };
            match worker.submit(request.clone()) {
                Ok(id) => requests.push((id, request)),
                Err(error) => prop_assert!(matches!(error, EngineError::CacheTooSmall { .. }), "{error}"),
            }
            for _ in 0..steps {
                worker.step(&mut |id, event| log.take(id, event));
            }
        }
        log.run(&mut worker);
        prop_assert!(log.errors.is_empty(), "{:?}", log.errors);
        for (id, request) in requests {
            for candidate in 0..request.candidates {
                let got = log.texts.remove(&(id, candidate)).unwrap();
                prop_assert_eq!(got.tokens, alone(&request, candidate, limits.context), "{:?}", request.adapter);
            }
        }
        prop_assert_eq!(worker.stats().blocks_used, 0);
    }
}
