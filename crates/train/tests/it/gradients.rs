//! Losses, gradients and steps against PyTorch's (scripts/gradient-fixtures.py), for every switch of the decoder.
//!
//! PyTorch computed in f64, this crate computes in f32: a gradient's distance is that of f32 arithmetic, at most 1e-5 of
//! the gradient's length for each parameter, and the loss agrees to 1e-6. Products with an error of 2⁻¹⁶
//! are 32 to 256 times as far away, those with one of 2⁻⁸ as much again.

use std::path::{Path, PathBuf};

use saem_formats::{Source, safetensors};
use saem_kernels::ThreadPool;
use saem_kernels::gemm::Precision;
use saem_kernels::gradient::{AdamW, square_sum};
use saem_kernels::simd::Isa;
use saem_model::Config;
use saem_train::{Batch, Buffers, Decoder, Frozen, Layout, Objective, Recompute};

const FAMILIES: [&str; 16] = [
    "llama",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "exaone4",
    "exaone4-full",
    "hyperclovax",
    "granite",
    "starcoder2",
    "qwen3_moe",
    "exaone_moe",
    "opt",
    "opt-relu",
];
/// Weight of the loss for an uneven use of experts, as in the fixtures.
const BALANCE: f32 = 0.5;
/// How far a loss and a gradient may be from PyTorch's.
const BOUNDS: [(Precision, f64, f64); 3] =
    [(Precision::F32, 1e-6, 1e-5), (Precision::Split, 1e-5, 5e-4), (Precision::Bf16, 1e-2, 2e-1)];
const FIRST_TEXT: usize = 25;
/// Tokens of long texts, and the z-loss that is learnt with them.
const LONG: [usize; 2] = [200, 100];
const LONG_Z: f32 = 0.01;
const TOKENS: usize = 40;

fn fixtures(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("tests/fixtures")
}

type Texts = (Vec<u32>, Vec<u32>);

struct Case {
    decoder: Decoder,
    weights: Vec<f32>,
    batch: Batch,
    /// Weight of the squared logarithm of each softmax's sum.
    z: f32,
    expected: safetensors::SafeTensors,
}

impl Case {
    fn open(name: &str) -> Self {
        Self::of_texts(name, "", 0.0, |tokens| (tokens[..FIRST_TEXT].to_vec(), tokens[FIRST_TEXT..].to_vec()))
    }

    /// With texts that are longer than windows and than what kernels take at a time, in an order that does not repeat.
    fn open_long(name: &str) -> Self {
        Self::of_texts(name, "-long", LONG_Z, |tokens| {
            let token = |place: usize| tokens[(place * place + place / 40) % tokens.len()];
            let [first, all] = [LONG[0], LONG[0] + LONG[1]];
            ((0..first).map(token).collect(), (first..all).map(token).collect())
        })
    }

    fn of_texts(name: &str, kind: &str, z: f32, texts: impl Fn(&[u32]) -> Texts) -> Self {
        let directory = fixtures("model").join(name);
        let source = Source::open(&directory).unwrap();
        let config = Config::from_source(&source).unwrap();
        let layout = Layout::new(&config, config.has_norm_biases(&source)).unwrap();
        let mut weights = vec![0.0; layout.len()];
        for (parameter, slot) in layout.parameters() {
            parameter.own().unwrap().read(&source, &config, &mut weights[slot]).unwrap();
        }
        let tokens: Vec<u32> = serde_json::from_slice(&std::fs::read(directory.join("tokens.json")).unwrap()).unwrap();
        let mut batch = Batch::default();
        let (first, second) = texts(&tokens);
        batch.push(&first);
        batch.push(&second);
        let expected = fixtures("train").join(format!("{name}{kind}.safetensors"));
        let expected = safetensors::SafeTensors::open(expected).unwrap();
        Self {
            decoder: Decoder { config, layout, frozen: Frozen::default(), precision: Precision::F32 },
            weights,
            batch,
            z,
            expected,
        }
    }

    fn expected(&self, name: &str) -> Vec<f32> {
        let bytes = self.expected.tensor_bytes(self.expected.required(name).unwrap());
        bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
    }

    fn objective(&self) -> Objective {
        Objective { factor: 1.0 / self.batch.target_count() as f32, z: self.z, balance: BALANCE }
    }

    /// The mean loss and its gradients.
    fn gradients(&self, threads: usize, recompute: Recompute) -> (f64, Vec<f32>) {
        let pool = ThreadPool::new(threads).unwrap();
        let mut buffers = Buffers::new(&self.decoder, self.batch.tokens.len(), recompute).unwrap();
        let mut gradients = vec![0.0; self.weights.len()];
        let (objective, count) = (self.objective(), self.batch.target_count() as f64);
        let sum = self.decoder.gradients(&pool, &self.weights, &mut gradients, &self.batch, &objective, &mut buffers);
        (sum.unwrap() / count, gradients)
    }

    /// How far the loss is from PyTorch's, and the worst gradient, both relatively.
    fn distance(&self) -> (f64, f64, String) {
        let (loss, gradients) = self.gradients(2, Recompute::None);
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let total = square(&mut gradients.iter().map(|x| f64::from(*x)));
        let mut worst = (0.0, String::new());
        for (parameter, slot) in self.decoder.layout.parameters() {
            // No gradient moves the correction of a router.
            if slot.start >= self.decoder.layout.by_gradient().end {
                continue;
            }
            let expected = self.expected(&parameter.name);
            let length = square(&mut expected.iter().map(|x| f64::from(*x)));
            let pairs = gradients[slot].iter().zip(&expected);
            let distance = square(&mut pairs.map(|(x, y)| f64::from(*x) - f64::from(*y)));
            // The bias of a key that is not rotated shifts all scores of a query alike, so its gradient is zero but for
            // rounding, which is measured by the length of all gradients.
            let length = if length < 1e-12 * total { total } else { length };
            let relative = (distance / length).sqrt();
            if relative > worst.0 {
                worst = (relative, parameter.name.clone());
            }
        }
        let expected = f64::from(self.expected("loss")[0]);
        ((loss / expected - 1.0).abs(), worst.0, worst.1)
    }
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let long = ["llama", "mistral", "gemma2", "exaone4", "qwen3_moe"].map(|name| (name, Case::open_long(name)));
    for (name, mut case) in FAMILIES.map(|name| (name, Case::open(name))).into_iter().chain(long) {
        for (precision, loss_bound, bound) in BOUNDS {
            // Among so many tokens there is one for which a router finds two experts as good as each other but for rounding.
            if case.z > 0.0 && name.ends_with("moe") && precision != Precision::F32 {
                continue;
            }
            case.decoder.precision = precision;
            let (found, worst, parameter) = case.distance();
            let length = case.batch.tokens.len();
            println!(
                "{name}, {length} tokens, {precision:?}: loss {found:.1e}, worst gradient {worst:.1e} ({parameter})"
            );
            assert!(found < loss_bound, "{name}, {precision:?}: the loss is {found:e} away");
            assert!(worst < bound, "{name}, {precision:?}: the gradient of {parameter} is {worst:.1e} away");
        }
    }
}

#[test]
fn the_likeliest_token_has_the_least_loss() {
    for name in ["llama", "gemma2"] {
        let case = Case::open(name);
        let pool = ThreadPool::new(1).unwrap();
        let mut buffers = Buffers::new(&case.decoder, TOKENS, Recompute::None).unwrap();
        let all: Vec<(usize, u32)> =
            (0..case.decoder.config.vocabulary as u32).map(|token| (case.batch.tokens.len() - 1, token)).collect();
        let losses = case.decoder.losses(&pool, &case.weights, &case.batch, &all, &mut buffers).unwrap();
        let least = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
        let likeliest = case.decoder.likeliest(&pool, &case.weights, &case.batch, &mut buffers).unwrap();
        assert_eq!(likeliest as usize, least, "{name}");
    }
}

#[test]
fn neither_threads_nor_recomputation_change_a_bit() {
    for name in ["llama", "gemma2", "exaone4", "starcoder2", "qwen3_moe", "exaone_moe", "opt"] {
        let case = Case::open(name);
        let (loss, gradients) = case.gradients(1, Recompute::None);
        for (threads, recompute) in [(2, Recompute::None), (2, Recompute::Selective), (3, Recompute::Full)] {
            let (other, others) = case.gradients(threads, recompute);
            assert_eq!(loss.to_bits(), other.to_bits(), "{name}, {threads} threads, {recompute:?}");
            assert!(gradients == others, "{name}, {threads} threads, {recompute:?}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_gradients_but_for_rounding() {
    let case = Case::open("gemma2");
    let (_, expected) = case.gradients(1, Recompute::None);
    let pool = ThreadPool::new(1).unwrap();
    let length = square_sum(&pool, &expected);
    for isa in Isa::available() {
        let (_, found) = isa.scope(|| case.gradients(1, Recompute::None));
        let distance: Vec<f32> = found.iter().zip(&expected).map(|(x, y)| x - y).collect();
        let relative = (square_sum(&pool, &distance) / length).sqrt();
        assert!(relative < 1e-5, "{isa}: {relative:e}");
    }
}

#[test]
fn fifty_steps_of_adamw_follow_pytorch() {
    for name in FAMILIES.into_iter().filter(|name| !name.ends_with("moe")) {
        let mut case = Case::open(name);
        let pool = ThreadPool::new(2).unwrap();
        let mut buffers = Buffers::new(&case.decoder, TOKENS, Recompute::None).unwrap();
        let len = case.weights.len();
        let (mut mean, mut square) = (vec![0.0; len], vec![0.0; len]);
        let objective = case.objective();
        let expected = case.expected("losses");
        for (step, expected) in (1..).zip(&expected) {
            let mut gradients = vec![0.0; len];
            let decoder = &case.decoder;
            let sum = decoder.gradients(&pool, &case.weights, &mut gradients, &case.batch, &objective, &mut buffers);
            let loss = sum.unwrap() / case.batch.target_count() as f64;
            let relative = (loss / f64::from(*expected) - 1.0).abs();
            assert!(relative < 1e-4, "{name}, step {step}: {loss}, expected {expected}");
            let adam = AdamW {
                rate: 1e-3,
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: 0.1,
                step,
                gradient_scale: 1.0,
            };
            adam.step(&pool, &mut case.weights, &gradients, &mut mean, &mut square);
        }
        assert!(expected.last() < expected.first(), "{name} learns");
    }
}
