//! The engine over every decoder family, with the tiny checkpoints of the model crate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saem_engine::perplexity::logits_for;
use saem_engine::sampler::largest;
use saem_engine::{
    Control, Decoder, Engine, EngineOptions, Event, Forward, Plan, Request, Sampling, Vocabulary, Worker,
};
use saem_formats::Source;
use saem_kernels::ThreadPool;
use saem_kernels::attention::KvType;
use saem_model::{LoadOptions, Model, describe};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

/// Small chunks and several sequences, so that everything is cut somewhere.
fn options() -> EngineOptions {
    EngineOptions {
        threads: 2,
        context: Some(100),
        kv_type: KvType::F32,
        batch_rows: 16,
        max_sequences: 4,
        ..EngineOptions::default()
    }
}

fn decoder(directory: &Path, options: &EngineOptions) -> (Decoder, Plan) {
    let source = Source::open(directory).unwrap();
    let plan = Plan::new(&describe(&source).unwrap(), options).unwrap();
    let pool = ThreadPool::new(options.threads).unwrap();
    let model = Model::load(&source, &pool, &LoadOptions::default(), &mut |_, _| {}).unwrap();
    (Decoder::new(model, pool, &plan).unwrap(), plan)
}

struct NoText;

impl Vocabulary for NoText {
    fn bytes(&self, _: u32) -> &[u8] {
        &[]
    }

    fn is_control(&self, _: u32) -> bool {
        false
    }
}

/// The greedy continuation, each token from one pass over everything before it.
fn continuation(forward: &mut dyn Forward, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..count {
        let mut next = 0;
        logits_for(forward, &tokens, tokens.len() - 1, &mut |_, logits| {
            next = largest(logits).unwrap().token;
            Ok(())
        })
        .unwrap();
        tokens.push(next);
    }
    tokens.split_off(prompt.len())
}

/// Chunked prompts, shared blocks and mixed passes give the tokens of whole passes, in every family.
#[test]
fn a_crowd_of_sequences_in_every_family() {
    let mut families = 0;
    let mut entries: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for directory in entries.into_iter().filter(|path| path.join("config.json").exists()) {
        let (served, plan) = decoder(&directory, &options());
        let (mut whole, _) = decoder(&directory, &EngineOptions { batch_rows: 128, threads: 1, ..options() });
        let vocabulary = served.vocabulary() as u32;
        let mut worker = Worker::new(Box::new(served), Arc::new(NoText), Vec::new(), plan.limits).unwrap();
        let mut expected = HashMap::new();
        for (index, length) in [40, 3, 64, 17, 31, 70].into_iter().enumerate() {
            let prompt: Vec<u32> = (0..length).map(|i| (i * 13 + index as u32 * 29 + 5) % vocabulary).collect();
            let candidates = if index % 2 == 0 { 2 } else { 1 };
            let request =
                Request { candidates, max_tokens: Some(6), ..Request::new(prompt.clone(), Sampling::greedy()) };
            let id = worker.submit(request).unwrap();
            let tokens = continuation(&mut whole, &prompt, 6);
            (0..candidates).for_each(|candidate| {
                expected.insert((id, candidate), tokens.clone());
            });
        }
        let mut got: HashMap<_, Vec<u32>> = HashMap::new();
        while worker.step(&mut |id, event| {
            match event {
                Event::Text { candidate, tokens, .. } => {
                    got.entry((id, candidate)).or_default().extend(tokens.iter().map(|token| token.token));
                }
                Event::Failed { error } => panic!("{}: {error}", directory.display()),
                _ => {}
            }
            Control::Continue
        }) {}
        assert_eq!(got, expected, "{}", directory.display());
        families += 1;
    }
    assert!(families >= 10, "{families}");
}

/// A checkpoint of Hugging Face's with its own tokenizer, through the front door.
#[test]
fn a_hugging_face_folder_is_served() {
    let engine = Engine::load(fixtures().join("llama"), &options(), &mut |_, _| {}).unwrap();
    let request = Request { max_tokens: Some(5), ..Request::new(engine.prompt_tokens("the"), Sampling::default()) };
    let mut prefill = 0;
    let completion = engine
        .generate(request, &mut |event| {
            if let Event::Prefill { done, .. } = event {
                prefill = done;
            }
            Control::Continue
        })
        .unwrap();
    assert_eq!(prefill, completion.usage.prompt_tokens);
    assert!(completion.usage.completion_tokens <= 5);
}
