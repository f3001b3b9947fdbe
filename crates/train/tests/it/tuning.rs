//! Tuning against Hugging Face's `peft` (scripts/tuning-fixtures.py), and against itself on quantised weights.

use std::path::{Path, PathBuf};

use saem_formats::{Source, safetensors};
use saem_kernels::gemm::Precision;
use saem_kernels::gradient::AdamW;
use saem_kernels::{DataType, ThreadPool};
use saem_model::{Config, convert};
use saem_train::{Batch, Buffers, Decoder, Frozen, Layout, Lora, Method, Objective, Prompt, Recompute, Target};

const FIRST_TEXT: usize = 25;
const TARGETS: usize = 6;
const BETA: f64 = 0.3;
/// Of the texts, where labels are told apart.
const LABELS: [u32; 2] = [2, 0];
const TOKENS: usize = 160;

fn fixtures(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("tests/fixtures")
}

fn lora(rank: usize, alpha: f64, targets: &[Target]) -> Method {
    Method::Lora(Lora { rank, alpha, targets: targets.to_vec(), last_layers: None, magnitudes: false })
}

fn dora(rank: usize, alpha: f64, targets: &[Target]) -> Method {
    Method::Lora(Lora { rank, alpha, targets: targets.to_vec(), last_layers: None, magnitudes: true })
}

fn last(layers: usize, method: Method) -> Method {
    match method {
        Method::Lora(lora) => Method::Lora(Lora { last_layers: Some(layers), ..lora }),
        other => other,
    }
}

fn cases() -> Vec<(&'static str, Method)> {
    let prompt = |rows, encoder| Method::Prompt(Prompt { rows, encoder });
    vec![
        ("llama-lora", lora(4, 8.0, &Target::ALL)),
        ("gemma3-lora", lora(4, 12.0, &[Target::Query, Target::Value, Target::Down])),
        ("qwen2-lora", lora(2, 2.0, &Target::ALL)),
        ("gemma3-lora-last", last(3, lora(4, 8.0, &Target::ALL))),
        ("qwen2-dpo", lora(3, 6.0, &Target::ALL)),
        ("qwen2-lora-classify", lora(2, 4.0, &Target::ALL)),
        ("gemma2-head-classify", Method::Head),
        ("llama-p-tuning", prompt(4, Some(16))),
        ("granite-p-tuning", prompt(3, Some(24))),
        ("gemma3-prompt", prompt(5, None)),
        ("llama-dora", dora(4, 8.0, &Target::ALL)),
        ("qwen2-dora", dora(3, 6.0, &Target::ALL)),
        ("gemma3-dora", dora(2, 4.0, &[Target::Query, Target::Key, Target::Down])),
        ("llama-prefix", Method::Prefix(4)),
        ("gemma3-prefix", Method::Prefix(3)),
    ]
}

/// A decoder that is tuned, and a batch of which little is learnt.
struct Case {
    decoder: Decoder,
    weights: Vec<f32>,
    batch: Batch,
    /// DPO's beta, where the texts are a pair.
    beta: Option<f64>,
}

impl Case {
    fn new(source: &Source, texts: [&[u32]; 2], method: &Method) -> Self {
        let config = Config::from_source(source).unwrap();
        let layout = Layout::with(&config, config.has_norm_biases(source), method).unwrap();
        let frozen = Frozen::read(&layout, source, &config).unwrap();
        let mut batch = Batch::default();
        for text in texts {
            let start = batch.tokens.len();
            let rows = layout.soft_rows();
            batch.tokens.extend((config.vocabulary..config.vocabulary + rows).map(|row| row as u32));
            batch.tokens.extend(text);
            let target =
                |at: usize| text.get(at + 1).copied().filter(|_| at + 1 >= text.len() - TARGETS && at + 1 < text.len());
            batch.targets.extend((0..rows).map(|_| None).chain((0..text.len()).map(target)));
            batch.documents.push(start..batch.tokens.len());
        }
        Self {
            weights: vec![0.0; layout.len()],
            decoder: Decoder { config, layout, frozen, precision: Precision::F32 },
            batch,
            beta: None,
        }
    }

    /// As a classifier of the two texts.
    fn classifier(self, source: &Source, method: &Method) -> Self {
        let Self { decoder: Decoder { config, precision, .. }, mut batch, .. } = self;
        let layout = Layout::classifier(&config, config.has_norm_biases(source), method, 3).unwrap();
        let frozen = Frozen::read(&layout, source, &config).unwrap();
        batch.targets.fill(None);
        for (text, label) in batch.documents.iter().zip(LABELS) {
            batch.targets[text.end - 1] = Some(label);
        }
        let weights = vec![0.0; layout.len()];
        Self { decoder: Decoder { config, layout, frozen, precision }, weights, batch, beta: None }
    }

    fn of(name: &str, method: &Method) -> (Self, safetensors::SafeTensors) {
        let directory = fixtures("model").join(name.split('-').next().unwrap());
        let tokens: Vec<u32> = serde_json::from_slice(&std::fs::read(directory.join("tokens.json")).unwrap()).unwrap();
        let mut texts = [&tokens[..FIRST_TEXT], &tokens[FIRST_TEXT..]];
        let beta = name.ends_with("-dpo").then_some(BETA);
        if beta.is_some() {
            texts.reverse();
        }
        let source = Source::open(&directory).unwrap();
        let mut case = Self { beta, ..Self::new(&source, texts, method) };
        if name.ends_with("-classify") {
            case = case.classifier(&source, method);
        }
        let expected = fixtures("train").join("tuning").join(format!("{name}.safetensors"));
        let expected = safetensors::SafeTensors::open(expected).unwrap();
        for (trained, slot) in case.decoder.layout.parameters() {
            let first = values(&expected, &trained.name);
            case.weights[slot].copy_from_slice(&first);
        }
        (case, expected)
    }

    /// The mean loss and its gradients.
    fn gradients(&self, threads: usize, recompute: Recompute) -> (f64, Vec<f32>) {
        let pool = ThreadPool::new(threads).unwrap();
        let mut buffers = Buffers::new(&self.decoder, TOKENS, recompute).unwrap();
        let mut gradients = vec![0.0; self.weights.len()];
        if let Some(beta) = self.beta {
            let (batch, factors) = (&self.batch, (beta, 1.0));
            let found =
                self.decoder.preferences(&pool, &self.weights, Some(&mut gradients), batch, factors, &mut buffers);
            return (found.unwrap().loss, gradients);
        }
        let count = self.batch.target_count();
        let objective = Objective { factor: 1.0 / count as f32, ..Objective::default() };
        let sum = self.decoder.gradients(&pool, &self.weights, &mut gradients, &self.batch, &objective, &mut buffers);
        (sum.unwrap() / count as f64, gradients)
    }
}

fn values(file: &safetensors::SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor_bytes(file.required(name).unwrap());
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
}

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let length = square(&mut expected.iter().map(|x| f64::from(*x)));
    let pairs = found.iter().zip(expected);
    (square(&mut pairs.map(|(x, y)| f64::from(*x) - f64::from(*y))) / length.max(1e-14)).sqrt()
}

#[test]
fn gradients_are_those_of_peft() {
    for (name, method) in cases() {
        let (case, expected) = Case::of(name, &method);
        let (loss, gradients) = case.gradients(2, Recompute::None);
        let right = f64::from(values(&expected, "loss")[0]);
        assert!((loss / right - 1.0).abs() < 1e-5, "{name}: loss {loss}, expected {right}");
        let mut worst = (0.0, "");
        for (trained, slot) in case.decoder.layout.parameters() {
            let relative = distance(&gradients[slot], &values(&expected, &format!("gradient.{}", trained.name)));
            worst = if relative > worst.0 { (relative, &trained.name) } else { worst };
        }
        println!("{name}: loss {loss:.6}, worst gradient {:.1e} ({})", worst.0, worst.1);
        assert!(worst.0 < 2e-5, "{name}: the gradient of {} is {:.1e} away", worst.1, worst.0);
    }
}

/// How fast the loss grows along the gradient is the gradient's length; the lengths of a DoRA's rows, which the backward
/// pass takes for constants, are not part of this.
#[test]
fn gradients_are_those_of_finite_differences() {
    for (name, method) in cases().into_iter().filter(|(name, _)| !name.ends_with("-dora")) {
        let (mut case, _) = Case::of(name, &method);
        let (_, gradients) = case.gradients(1, Recompute::None);
        let length = gradients.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let (first, step) = (case.weights.clone(), 2e-3);
        let [above, below] = [step, -step].map(|step| {
            let moved = first.iter().zip(&gradients).map(|(x, d)| x + (step * f64::from(*d) / length) as f32);
            case.weights = moved.collect();
            case.gradients(1, Recompute::None).0
        });
        let relative = ((above - below) / (2.0 * step) / length - 1.0).abs();
        println!("{name}: {relative:.1e}");
        assert!(relative < 5e-3, "{name}: {relative:e}");
    }
}

#[test]
fn twenty_steps_of_adamw_follow_peft() {
    for (name, method) in cases() {
        let (mut case, expected) = Case::of(name, &method);
        let pool = ThreadPool::new(1).unwrap();
        let len = case.weights.len();
        let (mut mean, mut square) = (vec![0.0; len], vec![0.0; len]);
        let right = values(&expected, "losses");
        let first = f64::from(right[0]);
        for (step, right) in (1..).zip(&right) {
            let (loss, gradients) = case.gradients(1, Recompute::None);
            let distance = (loss - f64::from(*right)).abs() / first;
            assert!(distance < 1e-4, "{name}, step {step}: {loss}, expected {right}");
            let adam = AdamW {
                rate: 1e-2,
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: 0.1,
                step,
                gradient_scale: 1.0,
            };
            adam.step(&pool, &mut case.weights, &gradients, &mut mean, &mut square);
        }
        assert!(right.last() < right.first(), "{name} learns");
    }
}

#[test]
fn neither_threads_nor_recomputation_change_a_bit() {
    for (name, method) in cases() {
        let (case, _) = Case::of(name, &method);
        let (loss, gradients) = case.gradients(1, Recompute::None);
        for (threads, recompute) in [(2, Recompute::None), (3, Recompute::Full)] {
            let (other, others) = case.gradients(threads, recompute);
            assert_eq!(loss.to_bits(), other.to_bits(), "{name}, {threads} threads, {recompute:?}");
            assert!(gradients == others, "{name}, {threads} threads, {recompute:?}");
        }
    }
}

/// Weights that stay quantised give the gradients of the same weights in floats; so do those of a file whose query and key
/// rows lie in another order.
#[test]
fn quantised_weights_tune_as_their_floats_do() {
    let folder = tempfile::tempdir().unwrap();
    let pool = ThreadPool::new(2).unwrap();
    for (base, stored) in [("llama", DataType::Q8_0), ("llama", DataType::Q4_0), ("gemma3", DataType::Bf16)] {
        let directory = fixtures("model").join(base);
        let tokens: Vec<u32> = serde_json::from_slice(&std::fs::read(directory.join("tokens.json")).unwrap()).unwrap();
        let original = Source::open(&directory).unwrap();
        let quantised = folder.path().join(format!("{base}-{}.gguf", stored.name()));
        convert(&original, &quantised, Some(stored), &pool, &mut |_, _| {}).unwrap();
        let quantised = Source::open(&quantised).unwrap();
        let floats = folder.path().join(format!("{base}-{}", stored.name()));
        convert(&quantised, &floats, Some(DataType::F32), &pool, &mut |_, _| {}).unwrap();
        let floats = Source::open(&floats).unwrap();
        let targets = [Target::Value, Target::AttentionOutput, Target::Gate, Target::Up, Target::Down];
        for method in [lora(3, 6.0, &targets), dora(3, 6.0, &targets)] {
            let [(loss, gradients), (expected_loss, expected)] = [&quantised, &floats].map(|source| {
                let mut case = Case::new(source, [&tokens[..FIRST_TEXT], &tokens[FIRST_TEXT..]], &method);
                case.weights.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32).sin() * 0.1);
                case.gradients(2, Recompute::None)
            });
            let relative = distance(&gradients, &expected);
            println!("{base} as {}: {relative:.1e}", stored.name());
            assert!((loss / expected_loss - 1.0).abs() < 1e-6 && relative < 2e-6, "{base} as {}", stored.name());
        }
    }
}

/// Matrices that stay packed are those that each product would pack.
#[test]
fn matrices_that_are_kept_packed_change_nothing() {
    for (name, method) in cases() {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut case = Case::of(name, &method).0;
            case.decoder.precision = precision;
            let expected = case.gradients(2, Recompute::None);
            let frozen = std::mem::take(&mut case.decoder.frozen);
            case.decoder.frozen = frozen.keep_packed(&case.decoder.layout, precision);
            assert!(case.decoder.frozen.packed_bytes() > 0);
            // The second time all are there already.
            for _ in 0..2 {
                let (loss, gradients) = case.gradients(2, Recompute::None);
                // As bf16 numbers, a few rows are multiplied exactly only where nothing was packed.
                let bound = if precision == Precision::F32 { 0.0 } else { 2.0_f64.powi(-6) };
                let far = distance(&gradients, &expected.1);
                let what = format!("{name}, {precision:?}: {loss}, {}, {far:e}", expected.0);
                assert!((loss / expected.0 - 1.0).abs() <= bound && far <= bound, "{what}");
            }
        }
    }
}

/// What texts begin with alike is passed once for all of them, and that changes nothing: not with windows, with positions that
/// are learnt, with rows before the texts, or with what they begin with itself changed.
#[test]
fn a_shared_beginning_is_as_if_each_text_had_it() {
    const COMMON: usize = 12;
    let prompt = |rows, encoder| Method::Prompt(Prompt { rows, encoder });
    for (base, method) in [
        ("llama", lora(3, 6.0, &Target::ALL)),
        ("llama", Method::Full),
        ("llama", prompt(4, Some(16))),
        ("llama", Method::Prefix(4)),
        ("gemma2", prompt(3, None)),
        ("gemma3", lora(2, 4.0, &Target::ALL)),
        ("gemma3", prompt(5, Some(8))),
        ("gemma3", Method::Prefix(2)),
        ("opt", lora(2, 4.0, &[Target::Query, Target::Value])),
        ("opt", prompt(3, None)),
    ] {
        let directory = fixtures("model").join(base);
        let tokens: Vec<u32> = serde_json::from_slice(&std::fs::read(directory.join("tokens.json")).unwrap()).unwrap();
        let source = Source::open(&directory).unwrap();
        let common = &tokens[..COMMON];
        let own = [&tokens[COMMON..COMMON + 9], &tokens[20..27], &tokens[25..]];
        let texts = own.map(|own| [common, own].concat());
        let [mut case, other] = [0, 1].map(|at| Case::new(&source, [&texts[at], &texts[at + 1]], &method));
        let third = other.batch.documents[1].clone();
        let start = case.batch.tokens.len();
        case.batch.tokens.extend(&other.batch.tokens[third.clone()]);
        case.batch.targets.extend(&other.batch.targets[third.clone()]);
        case.batch.documents.push(start..start + third.len());
        case.weights.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.7).sin() * 0.1);
        let (loss, gradients) = case.gradients(2, Recompute::None);

        let rows = case.decoder.layout.soft_rows() + COMMON;
        let mut shared = Batch { first_is_shared: true, ..Batch::default() };
        shared.tokens.extend(&case.batch.tokens[..rows]);
        shared.targets.resize(rows, None);
        shared.documents.push(0..rows);
        for document in &case.batch.documents {
            let start = shared.tokens.len();
            shared.tokens.extend(&case.batch.tokens[document.start + rows..document.end]);
            shared.targets.extend(&case.batch.targets[document.start + rows..document.end]);
            shared.documents.push(start..shared.tokens.len());
        }
        case.batch = shared;
        let (found, others) = case.gradients(2, Recompute::None);
        let relative = distance(&others, &gradients);
        println!("{base}, {method:?}: loss {found}, {:.1e} away, gradients {relative:.1e}", (found / loss - 1.0).abs());
        assert!((found / loss - 1.0).abs() < 1e-6 && relative < 5e-6, "{base}, {method:?}: {relative:e}");
        let (again, same) = case.gradients(1, Recompute::Full);
        assert!(again.to_bits() == found.to_bits() && same == others, "{base}, {method:?}: threads change nothing");
    }
}
