//! Loading fixtures and running prompts.

use std::path::{Path, PathBuf};

use saem_formats::Source;
use saem_formats::safetensors::SafeTensors;
use saem_kernels::attention::{KvType, Span};
use saem_kernels::{DataType, ThreadPool};
use saem_model::{Adapter, Batch, KvCache, LoadOptions, Model, Workspace};

/// Every family's fixture.
pub(crate) const FAMILIES: [&str; 17] = [
    "llama",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma2",
    "gemma3",
    "exaone",
    "exaone4",
    "exaone4-full",
    "exaone_moe",
    "hyperclovax",
    "granite",
    "starcoder2",
    "opt",
    "opt-relu",
];

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// One thread: these models are too small to share, and tests run beside each other.
pub(crate) fn pool() -> ThreadPool {
    ThreadPool::new(1).unwrap()
}

pub(crate) fn load(source: &Source, quantize: Option<DataType>) -> Model {
    Model::load(source, &pool(), &LoadOptions { quantize }, &mut |_, _| {}).unwrap()
}

/// A fixture's model, prompt and expected logits `[tokens, vocabulary]`.
pub(crate) fn open(name: &str) -> (Source, Vec<u32>, Vec<f32>) {
    let directory = fixture(name);
    let tokens = std::fs::read(directory.join("tokens.json")).unwrap();
    (Source::open(&directory).unwrap(), serde_json::from_slice(&tokens).unwrap(), expected(&directory))
}

/// The logits that a fixture's directory holds.
pub(crate) fn expected(directory: &Path) -> Vec<f32> {
    let expected = SafeTensors::open(directory.join("expected.safetensors")).unwrap();
    let bytes = expected.tensor_bytes(expected.required("logits").unwrap());
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Runs sequences in chunks: each step is a list of (sequence, tokens) that go through the model in one batch. Returns
/// each sequence's logits, all rows.
pub(crate) fn run(model: &Model, kv_type: KvType, steps: &[Vec<(usize, &[u32])>]) -> Vec<Vec<f32>> {
    run_on(&pool(), model, kv_type, steps)
}

pub(crate) fn run_on(
    pool: &ThreadPool,
    model: &Model,
    kv_type: KvType,
    steps: &[Vec<(usize, &[u32])>],
) -> Vec<Vec<f32>> {
    run_adapted(pool, model, kv_type, &[], steps)
}

/// As [`run_on`], with an adapter or none for each sequence, or none for all.
pub(crate) fn run_adapted(
    pool: &ThreadPool,
    model: &Model,
    kv_type: KvType,
    adapters: &[Option<&Adapter>],
    steps: &[Vec<(usize, &[u32])>],
) -> Vec<Vec<f32>> {
    const BLOCKS: usize = 8;
    let sequences = steps.iter().flatten().map(|(sequence, _)| sequence + 1).max().unwrap_or(0);
    let rows = steps.iter().map(|step| step.iter().map(|(_, tokens)| tokens.len()).sum()).max().unwrap_or(0);
    let mut cache = KvCache::new(&model.config, kv_type, BLOCKS * sequences);
    let mut workspace = Workspace::new(&model.config, rows, rows);
    let rank = adapters.iter().flatten().map(|adapter| adapter.rank()).max().unwrap_or(0);
    workspace.reserve_adapters(&model.config, rank);
    // Blocks of a sequence lie scattered, as they do in a used cache.
    let blocks: Vec<Vec<u32>> = (0..sequences)
        .map(|sequence| (0..BLOCKS).rev().map(|block| (block * sequences + sequence) as u32).collect())
        .collect();
    let mut positions = vec![0; sequences];
    let mut logits = vec![Vec::new(); sequences];
    for step in steps {
        let mut tokens = Vec::new();
        let mut spans = Vec::new();
        let mut given = Vec::new();
        for (sequence, part) in step {
            given.extend(adapters.get(*sequence));
            let (first_row, first_position) = (tokens.len(), positions[*sequence]);
            spans.push(Span { first_row, rows: part.len(), first_position, blocks: &blocks[*sequence] });
            tokens.extend_from_slice(part);
            positions[*sequence] += part.len();
        }
        let logit_rows: Vec<usize> = (0..tokens.len()).collect();
        let batch = Batch { tokens: &tokens, spans: &spans, adapters: &given, logit_rows: &logit_rows };
        let found = model.forward(pool, &mut cache, &batch, &mut workspace).unwrap();
        let mut rows = found.chunks_exact(model.config.vocabulary);
        for (sequence, part) in step {
            logits[*sequence].extend(rows.by_ref().take(part.len()).flatten());
        }
    }
    logits
}

/// Logits of one pass over a prompt.
pub(crate) fn one_pass(model: &Model, kv_type: KvType, tokens: &[u32]) -> Vec<f32> {
    run(model, kv_type, &[vec![(0, tokens)]]).remove(0)
}

/// Root of the mean squared difference, relative to that of the expected values.
pub(crate) fn mean_distance(found: &[f32], expected: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let difference = square(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

/// Largest difference, relative to the largest expected value.
pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    difference.fold(0.0_f32, |most, value| if value.is_nan() { f32::INFINITY } else { most.max(value) }) / largest
}
