//! What bench/train.py measures: `speed MODEL BATCH SEQUENCE THREADS STEPS [full] [split|bf16]` prints one JSON object.
//!
//! MODEL is the text of a `config.json`, whose weights are all trained, or the path of a model, whose weights stay and
//! before whose texts 32 rows are trained (p-tuning). Tokens are random, every sequence is one text. The seconds are those
//! of whole steps: forward, backward, clipping, AdamW.

use std::time::Instant;

use saem_formats::Source;
use saem_kernels::gemm::Precision;
use saem_kernels::gradient::{AdamW, square_sum};
use saem_kernels::{Arena, ThreadPool};
use saem_model::Config;
use saem_train::{
    Algorithm, Batch, Buffers, Decoder, Frozen, Layout, Method, Objective, Plan, Prompt, Recompute, WeightFormat,
};

/// Rows of p-tuning.
const ROWS: usize = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, batch, sequence, threads, steps, flags @ ..] = arguments.as_slice() else {
        return Err("speed MODEL BATCH SEQUENCE THREADS STEPS [full] [split|bf16]".into());
    };
    let (batch, sequence, threads): (usize, usize, usize) = (batch.parse()?, sequence.parse()?, threads.parse()?);
    let steps: u64 = steps.parse()?;
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let recompute = if has("full") { Recompute::Full } else { Recompute::None };
    let precision = match (has("split"), has("bf16")) {
        (true, _) => Precision::Split,
        (_, true) => Precision::Bf16,
        _ => Precision::F32,
    };
    let decoder = decoder(model, precision)?;
    let soft = decoder.layout.soft_rows();
    let (rows, len) = (batch * (sequence + soft), decoder.layout.len());
    let plan = Plan::new(&decoder, rows, recompute, (Algorithm::AdamW, WeightFormat::F32), 4 * rows as u64);
    let pool = ThreadPool::new(threads)?;
    let mut buffers = Buffers::new(&decoder, rows, recompute)?;
    let mut state: u64 = 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let zeros = || Arena::fitting(|arena| arena.take::<f32>(len));
    let mut weights = zeros()?;
    weights.fill_with(|| (random() as f32 / (1_u64 << 31) as f32 - 0.5) * 0.07);
    let (mut gradients, mut mean, mut square) = (zeros()?, zeros()?, zeros()?);
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for step in 1..=steps {
        let mut texts = Batch::default();
        for _ in 0..batch {
            let tokens: Vec<u32> = (0..sequence).map(|_| random() as u32 % decoder.config.vocabulary as u32).collect();
            let start = texts.tokens.len();
            texts.tokens.extend((0..soft).map(|row| (decoder.config.vocabulary + row) as u32));
            texts.targets.extend((0..soft).map(|_| None));
            texts.push(&tokens);
            if let Some(document) = texts.documents.last_mut() {
                document.start = start;
            }
        }
        let begin = Instant::now();
        let objective = Objective { factor: 1.0 / texts.target_count() as f32, ..Objective::default() };
        gradients.fill(0.0);
        let loss = decoder.gradients(&pool, &weights, &mut gradients, &texts, &objective, &mut buffers)?;
        let norm = square_sum(&pool, &gradients).sqrt();
        for (parameter, slot) in decoder.layout.parameters() {
            let adam = AdamW {
                rate: 1e-4,
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: if parameter.shape.len() > 1 { 0.1 } else { 0.0 },
                step,
                gradient_scale: (1.0 / norm).min(1.0) as f32,
            };
            let (mean, square) = (&mut mean[slot.clone()], &mut square[slot.clone()]);
            adam.step(&pool, &mut weights[slot.clone()], &gradients[slot], mean, square);
        }
        seconds.push(begin.elapsed().as_secs_f64());
        losses.push(loss / texts.target_count() as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    // Once the peak is known, for it takes memory.
    let limits = saem_kernels::measure::limits(&pool);
    let peak: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0) * 1024;
    println!(
        "{}",
        serde_json::json!({
            "f32_peak": limits.f32_operations, "seconds": seconds, "losses": losses, "peak": peak, "plan": plan, "planned": plan.total(),
            "operations_per_step": plan.operations_per_token * rows as f64,
        })
    );
    Ok(())
}

/// The decoder of a `config.json`, all of it trained; or of a model's file, of which nothing is.
fn decoder(model: &str, precision: Precision) -> Result<Decoder, Box<dyn std::error::Error>> {
    if model.starts_with('{') {
        let config = Config::from_hf(&serde_json::from_str(model)?)?;
        return Ok(Decoder { layout: Layout::new(&config, true)?, config, frozen: Frozen::default(), precision });
    }
    let source = Source::open(std::path::Path::new(model))?;
    let config = Config::from_source(&source)?;
    let method = Method::Prompt(Prompt { rows: ROWS, encoder: Some(config.hidden) });
    let layout = Layout::with(&config, config.has_norm_biases(&source), &method)?;
    let frozen = Frozen::read(&layout, &source, &config)?;
    Ok(Decoder { config, layout, frozen, precision })
}
