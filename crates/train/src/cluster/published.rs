//! Training runs whose size, devices and duration are published: what plans are held against.

use serde::Serialize;

use super::hardware;
use super::layout::{Layout, Recomputation, Sharding, Work};
use super::search::{self, Arrangement};
use super::shape::Shape;

/// A published run.
#[derive(Clone, Copy, Debug)]
struct Published {
    run: &'static str,
    hardware: &'static str,
    devices: u64,
    /// Layers, width, heads, rows of the embedding.
    shape: (u64, u64, u64, u64),
    parameters: f64,
    tokens: f64,
    sequence: u64,
    /// Tokens in a step.
    batch: f64,
    /// Devices that share a layer, stages, their parts, and what copies share, where these are published.
    layout: Option<(u64, u64, u64, Sharding)>,
    recompute: Recomputation,
    /// How long it took, in all.
    days: f64,
    source: &'static str,
}

/// Runs from beginning to end, with everything that happens in weeks of training.
const RUNS: &[Published] = &[
    Published {
        run: "HyperCLOVA 82B",
        hardware: "a100-80g",
        devices: 1024,
        shape: (64, 10240, 80, 50257),
        parameters: 82e9,
        tokens: 150e9,
        sequence: 2048,
        batch: 1024.0 * 2048.0,
        layout: None,
        recompute: Recomputation::Full,
        days: 13.4,
        source: "Kim et al. 2021 (arXiv 2109.04650)",
    },
    Published {
        run: "GPT-3 175B (Megatron-LM)",
        hardware: "a100-80g",
        devices: 1024,
        shape: (96, 12288, 96, 51200),
        parameters: 175e9,
        tokens: 300e9,
        sequence: 2048,
        batch: 1536.0 * 2048.0,
        layout: Some((8, 8, 1, Sharding::None)),
        recompute: Recomputation::Full,
        days: 34.0,
        source: "Narayanan et al. 2021 (arXiv 2104.04473), section 5.1: from its measured speed",
    },
    Published {
        run: "1T (Megatron-LM)",
        hardware: "a100-80g",
        devices: 3072,
        shape: (128, 25600, 160, 51200),
        parameters: 1.008e12,
        tokens: 450e9,
        sequence: 2048,
        batch: 3072.0 * 2048.0,
        layout: Some((8, 64, 1, Sharding::None)),
        recompute: Recomputation::Full,
        days: 84.0,
        source: "Narayanan et al. 2021 (arXiv 2104.04473), section 5.1: from its measured speed",
    },
    Published {
        run: "BLOOM 176B",
        hardware: "a100-80g",
        devices: 384,
        shape: (70, 14336, 112, 250_880),
        parameters: 176e9,
        tokens: 366e9,
        sequence: 2048,
        batch: 2048.0 * 2048.0,
        layout: Some((4, 12, 1, Sharding::Optimizer)),
        recompute: Recomputation::Full,
        days: 117.5,
        source: "Luccioni et al. 2022 (arXiv 2211.02001): 1,082,990 hours of a device",
    },
    Published {
        run: "Llama 2 70B",
        hardware: "a100-80g",
        devices: 2048,
        shape: (80, 8192, 64, 32000),
        parameters: 69e9,
        tokens: 2e12,
        sequence: 4096,
        batch: 4.2e6,
        layout: None,
        recompute: Recomputation::Selective,
        days: 35.0,
        source: "Touvron et al. 2023 (arXiv 2307.09288), table 2: 1,720,320 hours of a device, taken as 2,048 devices",
    },
    Published {
        run: "Llama 3.1 405B",
        hardware: "h100",
        devices: 16384,
        shape: (126, 16384, 128, 128_256),
        parameters: 405e9,
        tokens: 15.6e12,
        sequence: 8192,
        batch: 16.8e6,
        layout: Some((8, 16, 8, Sharding::Optimizer)),
        recompute: Recomputation::Selective,
        days: 78.4,
        source: "Llama 3.1's model card: 30.84 million hours of a device, taken as 16,384 devices (arXiv 2407.21783)",
    },
    Published {
        run: "PaLM 540B",
        hardware: "tpu-v4",
        devices: 6144,
        shape: (118, 18432, 48, 256_000),
        parameters: 540e9,
        tokens: 780e9,
        sequence: 2048,
        batch: 2048.0 * 2048.0,
        layout: Some((12, 1, 1, Sharding::Weights)),
        recompute: Recomputation::Full,
        days: 57.0,
        source: "Chowdhery et al. 2022 (arXiv 2204.02311): 8,404,992 hours of a chip",
    },
];

/// How much longer than planned published runs took, at the least and at the most ([`checks`]).
pub(crate) const SPREAD: std::ops::RangeInclusive<f64> = 0.9..=2.0;

/// A published run beside what the plan says to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Whose run.
    pub run: &'static str,
    /// On what.
    pub hardware: &'static str,
    /// How many.
    pub devices: u64,
    /// Parameters.
    pub parameters: f64,
    /// Tokens.
    pub tokens: f64,
    /// Days that it took.
    pub days: f64,
    /// Days that the plan says.
    pub planned: f64,
    /// Share of the peak that the published days come to.
    pub utilisation: f64,
    /// Where it is published.
    pub source: &'static str,
}

/// All of them.
#[must_use]
pub fn checks() -> Vec<Check> {
    RUNS.iter().filter_map(check).collect()
}

fn check(run: &Published) -> Option<Check> {
    let device = hardware::find(run.hardware)?;
    let (layers, hidden, heads, vocabulary) = run.shape;
    let shape = Shape::new(layers, hidden, heads, vocabulary, run.sequence).with_parameters(run.parameters);
    let sequences = (run.batch / run.sequence as f64).round() as u64;
    let work = Work { shape: &shape, sequence: run.sequence, sequences, recompute: Some(run.recompute) };
    let published = |(tensor, pipeline, chunks, sharding)| {
        let data = run.devices / (tensor * pipeline);
        Layout { data, tensor, pipeline, chunks, sharding, micro_batch: 1, recompute: run.recompute }
    };
    let layout = run.layout.map(published).or_else(|| search::fastest(&work, device, run.devices))?;
    let planned = Arrangement::new(&work, device, &layout, run.tokens, None).days;
    let [products, attention] = super::layout::operations(&shape, run.sequence);
    let operations = (products + attention) * run.tokens;
    let peak = run.devices as f64 * device.operations * run.days * 86400.0;
    Some(Check {
        run: run.run,
        hardware: run.hardware,
        devices: run.devices,
        parameters: run.parameters,
        tokens: run.tokens,
        days: run.days,
        planned,
        utilisation: operations / peak,
        source: run.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_runs_took_what_the_range_says() {
        let checks = checks();
        assert_eq!(checks.len(), RUNS.len());
        for check in &checks {
            let ratio = check.days / check.planned;
            println!(
                "{}: {:.1} days, planned {:.1}: {ratio:.2}; {:.3}",
                check.run, check.days, check.planned, check.utilisation
            );
        }
        for check in &checks {
            let ratio = check.days / check.planned;
            assert!(SPREAD.contains(&ratio), "{check:?}");
        }
        // The paper's figures give 20 % of the peak, which attention's operations make 21.
        let [hyperclova, others @ ..] = checks.as_slice() else { unreachable!() };
        assert!((0.19..0.22).contains(&hyperclova.utilisation), "{hyperclova:?}");
        // All others are within a fifth of the plan.
        assert!(others.iter().all(|check| (check.days / check.planned).ln().abs() < 1.2_f64.ln()));
    }
}
