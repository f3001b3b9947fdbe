//! Bytes on the fullest device of a layout.
//!
//! States follow Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054): 16-bit weights and gradients, and 12 bytes for each
//! parameter of AdamW in 32 bits. Activations follow Korthikanti et al. 2022 (arXiv 2205.05198) with sequences cut
//! among the devices that share a layer.

use serde::Serialize;

use super::layout::{Layout, Recomputation, Sharding};
use super::shape::Shape;

/// Bytes of a weight or gradient in 16 bits.
const HALF: f64 = 2.0;
/// AdamW for each parameter: the weight in 32 bits and both means.
const STATES: f64 = 12.0;
/// What the driver, the communication library and temporary buffers take. An assumption.
const WORKING: f64 = 2e9;

/// Bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Weights, in 16 bits.
    pub weights: f64,
    /// Their gradients, in 16 bits.
    pub gradients: f64,
    /// The weights in 32 bits and both means.
    pub optimizer: f64,
    /// What is kept for the backward pass.
    pub activations: f64,
    /// Logits and their gradients, where a device has them.
    pub logits: f64,
    /// Driver, communication, temporary buffers.
    pub working: f64,
    /// All of it.
    pub total: f64,
    /// What the device has.
    pub limit: f64,
}

impl Memory {
    /// The fullest device: the first stage of a pipeline, which keeps the most batches, or the last, which has the
    /// logits.
    #[must_use]
    pub fn new(shape: &Shape, layout: &Layout, sequence: u64, micro_batches: u64, limit: f64) -> Self {
        let stages = [true, false].map(|first| Self::stage(shape, layout, sequence, micro_batches, limit, first));
        if stages[0].total >= stages[1].total { stages[0] } else { stages[1] }
    }

    fn stage(shape: &Shape, layout: &Layout, sequence: u64, micro_batches: u64, limit: f64, first: bool) -> Self {
        let (tensor, data) = (layout.tensor as f64, layout.data as f64);
        let layers = shape.layers.div_ceil(layout.pipeline) as f64;
        let parameters = (layers * shape.layer_parameters() + shape.embedding_parameters()) / tensor;
        let part = |from: Sharding| if layout.sharding >= from { data } else { 1.0 };
        let weights = HALF * parameters / part(Sharding::Weights);
        let gradients = HALF * parameters / part(Sharding::Gradients);
        let optimizer = STATES * parameters / part(Sharding::Optimizer);
        let alone = layout.pipeline == 1;
        // One forward, one backward: the first stage has as many batches under way as there are stages.
        let kept = if first { layout.pipeline.min(micro_batches) } else { 1 } as f64;
        // Interleaved stages have some more (Korthikanti et al. 2022, section 4.2.3).
        let more = if layout.chunks > 1 && first { (layout.pipeline - 1) as f64 / layout.chunks as f64 } else { 0.0 };
        let layer = layer_activations(shape, layout, sequence, layout.recompute);
        let again = match layout.recompute {
            Recomputation::Full => layer_activations(shape, layout, sequence, Recomputation::Selective),
            _ => 0.0,
        };
        // A layer's weights are gathered from all devices while it works, and the next one's beside it.
        let gathered =
            if layout.sharding == Sharding::Weights { 2.0 * HALF * shape.layer_parameters() / tensor } else { 0.0 };
        let logits = if alone || !first {
            4.0 * (sequence * layout.micro_batch * shape.vocabulary) as f64 / tensor
        } else {
            0.0
        };
        let activations = layers * (kept + more) * layer + again;
        let working = WORKING + gathered;
        let total = weights + gradients + optimizer + activations + logits + working;
        Self { weights, gradients, optimizer, activations, logits, working, total, limit }
    }

    /// Whether the device holds it.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.total <= self.limit
    }
}

/// Bytes that one layer keeps of one batch: `sbh (34 + 5 a s / h)`, without the squares of attention `34 sbh`, and with
/// everything computed again its input alone, `2 sbh`; divided by the devices that share the layer (table 2 there).
fn layer_activations(shape: &Shape, layout: &Layout, sequence: u64, recompute: Recomputation) -> f64 {
    let (s, b, h, a) = (sequence as f64, layout.micro_batch as f64, shape.hidden as f64, shape.heads as f64);
    let each = match recompute {
        Recomputation::None => 34.0 + 5.0 * a * s / h,
        Recomputation::Selective => 34.0,
        Recomputation::Full => 2.0,
    };
    s * b * h * each / layout.tensor as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(tensor: u64, pipeline: u64, data: u64, sharding: Sharding, recompute: Recomputation) -> Layout {
        Layout { data, tensor, pipeline, chunks: 1, sharding, micro_batch: 1, recompute }
    }

    #[test]
    fn activations_are_those_of_korthikanti() {
        // Their factors 5as/h: 80 for GPT-3 (h 12288, a 96, s 2048) and 64 for MT-NLG (h 20480, a 128).
        let gpt3 = Shape::new(96, 12288, 96, 51200, 2048);
        let one = layout(1, 1, 1, Sharding::None, Recomputation::None);
        let sbh = 2048.0 * 12288.0;
        let bytes = |recompute| layer_activations(&gpt3, &one, 2048, recompute);
        assert_eq!(bytes(Recomputation::None), sbh * (34.0 + 80.0));
        assert_eq!(bytes(Recomputation::Selective), sbh * 34.0);
        assert_eq!(bytes(Recomputation::Full), sbh * 2.0);
        // Selective recomputation saves 70 % of GPT-3's and 65 % of MT-NLG's activations (section 5 there).
        assert!((1.0_f64 - bytes(Recomputation::Selective) / bytes(Recomputation::None) - 0.70).abs() < 0.005);
        let mtnlg = Shape::new(105, 20480, 128, 51200, 2048);
        let share = layer_activations(&mtnlg, &one, 2048, Recomputation::Selective)
            / layer_activations(&mtnlg, &one, 2048, Recomputation::None);
        assert!((1.0 - share - 0.65).abs() < 0.005);
    }

    #[test]
    fn sharded_states_are_those_of_zero() {
        // Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 devices take 120, 31.4, 16.6 and 1.9 GB.
        let shape = Shape { layers: 1, hidden: 1, heads: 1, feed_forward: 4, vocabulary: 0, parameters: 7.5e9 };
        for (sharding, gigabytes) in [
            (Sharding::None, 120.0),
            (Sharding::Optimizer, 31.4),
            (Sharding::Gradients, 16.6),
            (Sharding::Weights, 1.9),
        ] {
            let layout = layout(1, 1, 64, sharding, Recomputation::Full);
            let memory = Memory::new(&shape, &layout, 1, 1, 80e9);
            let states = (memory.weights + memory.gradients + memory.optimizer) / 1e9;
            assert!((states - gigabytes).abs() < 0.05, "{sharding:?}: {states}");
        }
    }

    #[test]
    fn mt_nlg_needs_recomputation_and_gpt3_fits_64_devices() {
        // Both of Korthikanti et al., table 3: they train on devices of 80 GB with these parts.
        let gpt3 = Shape::new(96, 12288, 96, 51200, 2048);
        let memory = |recompute| Memory::new(&gpt3, &layout(8, 8, 1, Sharding::None, recompute), 2048, 64, 80e9);
        assert!(memory(Recomputation::Selective).fits() && memory(Recomputation::Full).fits());
        assert!(!memory(Recomputation::None).fits());
        let mtnlg = Shape::new(105, 20480, 128, 51200, 2048);
        let memory = |recompute| Memory::new(&mtnlg, &layout(8, 35, 1, Sharding::None, recompute), 2048, 280, 80e9);
        assert!(memory(Recomputation::Selective).fits() && !memory(Recomputation::None).fits());
    }
}
