//! How a model is laid out on many devices, and how long a step takes there.
//!
//! The time of a step is that of its products at the device's efficiency, made longer by what devices that share a layer
//! tell each other, by the pipeline's filling and emptying, and by the exchange of gradients where work does not hide
//! it:
//!
//! ```text
//! batch   = operations / (peak × efficiency) + 4 or 6 all-reduces of s b h for each layer + what a stage sends
//! step    = batch × (batches + (stages - 1) / chunks) + what is left of the exchange of gradients
//! ```

use serde::{Deserialize, Serialize};

use super::hardware::Hardware;
use super::memory::Memory;
use super::shape::Shape;

/// What devices with the same layers share of their states (Rajbhandari et al. 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharding {
    /// Nothing.
    None,
    /// The optimizer's states (ZeRO-1).
    Optimizer,
    /// Gradients too (ZeRO-2).
    Gradients,
    /// Weights too (ZeRO-3).
    Weights,
}

/// What is computed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recomputation {
    /// Nothing: even attention's squares are kept.
    None,
    /// Attention's squares, as fused attention does by itself.
    Selective,
    /// Every layer.
    Full,
}

/// A layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Copies of the model, each with its own part of the batch.
    pub data: u64,
    /// Devices that share each layer.
    pub tensor: u64,
    /// Stages of layers.
    pub pipeline: u64,
    /// Parts in which a stage takes turns, so that the pipeline fills sooner (Narayanan et al. 2021, section 2.2).
    pub chunks: u64,
    /// What the copies share.
    pub sharding: Sharding,
    /// Sequences that a device works on at a time.
    pub micro_batch: u64,
    /// What is computed twice.
    pub recompute: Recomputation,
}

/// Products of a narrow model are less efficient: the share is `hidden / (hidden + NARROW)` of the device's. From the
/// smallest and largest rows of Megatron-LM's table.
const NARROW: f64 = 900.0;
/// Share of a link that collective operations reach.
const LINK: f64 = 0.75;
/// Bytes of a number that is sent.
const SENT: f64 = 2.0;

/// What is to be trained, as layouts see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) sequence: u64,
    /// Sequences in a step.
    pub(crate) sequences: u64,
    /// What is computed twice, where there is no choice.
    pub(crate) recompute: Option<Recomputation>,
}

/// Operations for a token, forward and backward: 6 for each parameter of a product, and 12 layers hidden sequence of
/// attention (Narayanan et al. 2021, equation 3, without its recomputation).
pub(crate) fn operations(shape: &Shape, sequence: u64) -> [f64; 2] {
    let attention = 12.0 * (shape.layers * shape.hidden * sequence) as f64;
    [6.0 * shape.parameters, attention]
}

impl Layout {
    /// Devices in all.
    #[must_use]
    pub fn devices(&self) -> u64 {
        self.data * self.tensor * self.pipeline
    }

    /// Batches that each device works through in a step.
    pub(crate) fn micro_batches(&self, work: &Work<'_>) -> u64 {
        work.sequences.div_ceil(self.data * self.micro_batch).max(1)
    }

    pub(crate) fn memory(&self, work: &Work<'_>, device: &Hardware) -> Memory {
        Memory::new(work.shape, self, work.sequence, self.micro_batches(work), device.memory)
    }

    /// Seconds of a step.
    pub(crate) fn seconds(&self, work: &Work<'_>, device: &Hardware) -> f64 {
        let shape = work.shape;
        let (tensor, data) = (self.tensor as f64, self.data as f64);
        let layers = shape.layers.div_ceil(self.pipeline) as f64;
        let batches = self.micro_batches(work) as f64;
        let tokens = (self.micro_batch * work.sequence) as f64;
        let numbers = tokens * shape.hidden as f64;

        let [products, attention] = operations(shape, work.sequence);
        let embedding = 6.0 * shape.embedding_parameters();
        let of_layers = (products - embedding + attention) / shape.layers as f64 * layers;
        let again = match self.recompute {
            Recomputation::None => 1.0,
            // Attention's own products once more: a third of what forward and backward take of them.
            Recomputation::Selective => 1.0 + attention / 3.0 / (products - embedding + attention),
            Recomputation::Full => 4.0 / 3.0,
        };
        // The last stage has the output matrix too; stages are cut so that this is shared out.
        let of_output = embedding / self.pipeline as f64;
        let hidden = shape.hidden as f64;
        let rate = device.operations * device.efficiency * hidden / (hidden + NARROW);
        let computing = tokens * (of_layers * again + of_output) / tensor / rate;

        let within = device.link / 2.0 * LINK;
        let between = device.network * LINK;
        let bus = |devices: u64| if devices <= device.per_node { within } else { between };
        let reduces = if self.recompute == Recomputation::Full { 6.0 } else { 4.0 };
        let telling = reduces * layers * 2.0 * (tensor - 1.0) / tensor * SENT * numbers / bus(self.tensor);
        let chunks = self.chunks as f64;
        let sending = if self.pipeline > 1 { 2.0 * chunks * SENT * numbers / tensor / between } else { 0.0 };
        let mut batch = computing + telling + sending;

        let parameters = (layers * shape.layer_parameters() + shape.embedding_parameters()) / tensor;
        let share = (data - 1.0) / data * SENT * parameters / bus(self.devices());
        if self.sharding == Sharding::Weights && self.data > 1 {
            // Weights are gathered for the forward and the backward pass, gradients are scattered: while it computes.
            batch = batch.max(3.0 * share);
        }
        let exchange = if self.sharding == Sharding::Weights { 0.0 } else { 2.0 * share };
        let hides = 2.0 / 3.0 * batch;
        batch * (batches + (self.pipeline as f64 - 1.0) / chunks) + (exchange - hides).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::hardware;

    /// Narayanan et al. 2021 (Megatron-LM), table 1: layers, hidden, heads, tensor, pipeline, devices, sequences in a
    /// step, operations a second on each device in 10¹², with full recomputation.
    const MEGATRON: [(u64, u64, u64, u64, u64, u64, u64, f64); 10] = [
        (24, 2304, 24, 1, 1, 32, 512, 137.0),
        (30, 3072, 32, 2, 1, 64, 512, 138.0),
        (36, 4096, 32, 4, 1, 128, 512, 142.0),
        (40, 6144, 48, 8, 1, 256, 1024, 135.0),
        (48, 8192, 64, 8, 2, 512, 1536, 138.0),
        (60, 10240, 80, 8, 4, 1024, 1792, 140.0),
        (80, 12288, 96, 8, 8, 1536, 2304, 148.0),
        (96, 16384, 128, 8, 16, 1920, 2160, 155.0),
        (105, 20480, 128, 8, 35, 2520, 2520, 163.0),
        (128, 25600, 160, 8, 64, 3072, 3072, 163.0),
    ];

    #[test]
    fn operations_are_megatrons_formula() {
        for (layers, hidden, heads, ..) in MEGATRON {
            let shape = Shape::new(layers, hidden, heads, 51200, 2048);
            let [products, attention] = operations(&shape, 2048);
            let (l, h, s, v) = (layers as f64, hidden as f64, 2048.0, 51200.0);
            // 96 B s l h² (1 + s/6h + V/16lh) with recomputation is 72 B s l h² (1 + s/6h + V/12lh) without.
            let formula = 72.0 * l * h * h * (1.0 + s / (6.0 * h) + v / (12.0 * l * h));
            assert!(((products + attention) / formula - 1.0).abs() < 5e-3, "{shape:?}");
        }
    }

    #[test]
    fn steps_take_as_long_as_megatrons() {
        let device = hardware::find("a100-80g").unwrap();
        for (layers, hidden, heads, tensor, pipeline, devices, sequences, published) in MEGATRON {
            let shape = Shape::new(layers, hidden, heads, 51200, 2048);
            let layout = Layout {
                data: devices / tensor / pipeline,
                tensor,
                pipeline,
                chunks: 1,
                sharding: Sharding::None,
                micro_batch: 1,
                recompute: Recomputation::Full,
            };
            let work = Work { shape: &shape, sequence: 2048, sequences, recompute: None };
            let [products, attention] = operations(&shape, 2048);
            // Their operations count the recomputation of layers, not of the output.
            let counted = (products + attention - 6.0 * shape.embedding_parameters()) * 4.0 / 3.0
                + 6.0 * shape.embedding_parameters();
            let found = counted * (sequences * 2048) as f64 / devices as f64 / layout.seconds(&work, device) / 1e12;
            println!("{:.1}B: {found:.0}, published {published}", shape.parameters / 1e9);
            assert!((found / published - 1.0).abs() < 0.12, "{:.1}B: {found} and {published}", shape.parameters / 1e9);
        }
    }

    #[test]
    fn steps_take_as_long_as_korthikantis() {
        // Their table 5: seconds of a step with full recomputation, and with sequences cut and attention alone again.
        let device = hardware::find("a100-80g").unwrap();
        for (layers, hidden, heads, pipeline, chunks, sequences, micro_batch, full, selective) in [
            (48, 6144, 64, 1, 1, 4, 4, 1.42, 1.10),
            (96, 12288, 96, 8, 3, 64, 1, 18.13, 13.75),
            (105, 20480, 128, 35, 3, 280, 1, 49.05, 37.83),
            (128, 25600, 160, 64, 1, 512, 1, 94.42, 71.49),
        ] {
            let shape = Shape::new(layers, hidden, heads, 51200, 2048);
            for (recompute, published) in [(Recomputation::Full, full), (Recomputation::Selective, selective)] {
                let sharding = Sharding::None;
                let layout = Layout { data: 1, tensor: 8, pipeline, chunks, sharding, micro_batch, recompute };
                let work = Work { shape: &shape, sequence: 2048, sequences, recompute: None };
                let found = layout.seconds(&work, device);
                println!("{:.0}B {recompute:?}: {found:.2} s, published {published}", shape.parameters / 1e9);
                assert!((found / published - 1.0).abs() < 0.18, "{recompute:?}: {found} and {published}");
            }
        }
    }
}
