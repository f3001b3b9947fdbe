//! Layouts that fit, and the best of them.

use serde::Serialize;

use super::Question;
use super::hardware::Hardware;
use super::layout::{Layout, Recomputation, Sharding, Work, operations};
use super::memory::Memory;
use super::published::SPREAD;

/// Sequences that a device works on at a time, at most.
const MICRO_BATCHES: [u64; 4] = [1, 2, 4, 8];
/// Parts in which the stage of a pipeline takes turns.
const CHUNKS: [u64; 4] = [1, 2, 4, 8];
const RECOMPUTATION: [Recomputation; 3] = [Recomputation::None, Recomputation::Selective, Recomputation::Full];
const SHARDING: [Sharding; 4] = [Sharding::None, Sharding::Optimizer, Sharding::Gradients, Sharding::Weights];
const DAY: f64 = 86400.0;

/// A layout with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Arrangement {
    /// Devices.
    pub devices: u64,
    /// Nodes that they are in.
    pub nodes: u64,
    /// How the model lies on them.
    #[serde(flatten)]
    pub layout: Layout,
    /// On the fullest device.
    pub memory: Memory,
    /// Share of the peak that goes into the model's operations, without what is computed twice.
    pub utilisation: f64,
    /// Seconds of a step.
    pub seconds_per_step: f64,
    /// Steps.
    pub steps: f64,
    /// Days of all steps.
    pub days: f64,
    /// Days if it goes as well as the best published run, beside its plan.
    pub days_least: f64,
    /// Days if it goes as the worst of them.
    pub days_most: f64,
    /// Kilowatt hours of the devices at their highest power.
    pub energy_kwh: f64,
    /// Dollars, where a price is known.
    pub cost: Option<f64>,
}

impl Arrangement {
    /// `tokens` in all; `utilisation` overrides the estimate.
    pub(crate) fn new(
        work: &Work<'_>,
        device: &Hardware,
        layout: &Layout,
        tokens: f64,
        utilisation: Option<f64>,
    ) -> Self {
        let devices = layout.devices();
        let [products, attention] = operations(work.shape, work.sequence);
        let batch = (work.sequences * work.sequence) as f64;
        let peak = devices as f64 * device.operations;
        let needed = (products + attention) * batch / peak;
        let seconds = utilisation.map_or_else(|| layout.seconds(work, device), |utilisation| needed / utilisation);
        let steps = (tokens / batch).ceil();
        let days = steps * seconds / DAY;
        // A utilisation that is given is taken at its word.
        let spread = if utilisation.is_some() { 1.0..=1.0 } else { SPREAD };
        let hours = days * 24.0 * devices as f64;
        Self {
            devices,
            nodes: devices.div_ceil(device.per_node),
            layout: *layout,
            memory: layout.memory(work, device),
            utilisation: needed / seconds,
            seconds_per_step: seconds,
            steps,
            days,
            days_least: days * spread.start(),
            days_most: days * spread.end(),
            energy_kwh: hours * device.watts / 1000.0,
            cost: device.price.map(|price| price * hours),
        }
    }
}

/// Stages that differ in how many layers the fullest has, the fewest first.
fn pipelines(layers: u64) -> Vec<u64> {
    let mut stages: Vec<u64> = (1..=layers).map(|each| layers.div_ceil(each)).collect();
    stages.sort_unstable();
    stages.dedup();
    stages
}

/// Devices that can share a layer: powers of two that divide the heads and stay within a node.
fn tensors(work: &Work<'_>, device: &Hardware) -> Vec<u64> {
    let fits = |tensor: &u64| *tensor <= device.per_node && work.shape.heads.is_multiple_of(*tensor);
    [1, 2, 4, 8, 16].into_iter().filter(fits).collect()
}

/// All layouts with these parts, and whatever else can be chosen.
fn choices<'a>(work: &'a Work<'_>, tensor: u64, pipeline: u64, data: u64) -> impl Iterator<Item = Layout> + 'a {
    let stage = work.shape.layers.div_ceil(pipeline);
    let batches = work.sequences.div_ceil(data);
    let sharding = SHARDING.into_iter().filter(move |sharding| match sharding {
        Sharding::None => true,
        Sharding::Optimizer => data > 1,
        // Gradients that are cut would be exchanged after every batch of a pipeline.
        Sharding::Gradients | Sharding::Weights => data > 1 && pipeline == 1,
    });
    let recomputation = RECOMPUTATION.into_iter().filter(|each| work.recompute.is_none_or(|asked| asked == *each));
    let chunks = CHUNKS.into_iter().filter(move |chunks| {
        // Turns need a batch for each stage, and layers to share out.
        *chunks == 1 || (pipeline > 1 && stage.is_multiple_of(*chunks) && batches >= pipeline)
    });
    sharding.flat_map(move |sharding| {
        let recomputation = recomputation.clone();
        chunks.clone().flat_map(move |chunks| {
            let recomputation = recomputation.clone();
            MICRO_BATCHES.into_iter().flat_map(move |micro_batch| {
                recomputation.clone().map(move |recompute| Layout {
                    data,
                    tensor,
                    pipeline,
                    chunks,
                    sharding,
                    micro_batch,
                    recompute,
                })
            })
        })
    })
}

/// The fastest layout on so many devices, if their memory holds any.
pub(crate) fn fastest(work: &Work<'_>, device: &Hardware, devices: u64) -> Option<Layout> {
    let mut best: Option<(f64, Layout)> = None;
    for tensor in tensors(work, device) {
        for pipeline in pipelines(work.shape.layers) {
            // Devices that are left over stand idle; but for a few of them it would be another layout.
            let data = devices / (tensor * pipeline);
            if data == 0 || data > work.sequences || 20 * data * tensor * pipeline < 19 * devices {
                continue;
            }
            for layout in choices(work, tensor, pipeline, data) {
                if layout.micro_batch * data > work.sequences || !layout.memory(work, device).fits() {
                    continue;
                }
                let seconds = layout.seconds(work, device);
                // Of two that are as fast the simpler one, which comes first.
                if best.is_none_or(|(least, _)| seconds < least * 0.999) {
                    best = Some((seconds, layout));
                }
            }
        }
    }
    best.map(|(_, layout)| layout)
}

/// The fewest devices whose memory holds it, and the fastest layout on them.
pub(crate) fn fewest(work: &Work<'_>, device: &Hardware) -> Option<Layout> {
    let mut least: Option<u64> = None;
    for tensor in tensors(work, device) {
        for pipeline in pipelines(work.shape.layers) {
            let parts = tensor * pipeline;
            // More copies take less memory each, so the number that fits is found by halving.
            let fits = |data: u64| {
                choices(work, tensor, pipeline, data)
                    .any(|layout| layout.micro_batch == 1 && layout.memory(work, device).fits())
            };
            let most = least.map_or(work.sequences, |least| (least / parts).min(work.sequences));
            if most == 0 || !fits(most) {
                continue;
            }
            let (mut too_few, mut enough) = (0, most);
            while enough - too_few > 1 {
                let middle = u64::midpoint(too_few, enough);
                if fits(middle) {
                    enough = middle;
                } else {
                    too_few = middle;
                }
            }
            least = Some(least.map_or(enough * parts, |least| least.min(enough * parts)));
        }
    }
    fastest(work, device, least?)
}

/// The fewest whole nodes, in steps of an eighth or so, that end within the days asked for, at the share of the peak that is
/// asked for, if any; or the fastest that there is.
pub(crate) fn within(
    work: &Work<'_>,
    device: &Hardware,
    tokens: f64,
    question: &Question,
    least: u64,
) -> Option<Layout> {
    let (node, days) = (device.per_node, question.days);
    let takes = |layout: &Layout| Arrangement::new(work, device, layout, tokens, question.utilisation).days;
    let mut nodes = least.div_ceil(node);
    let mut best: Option<(f64, Layout)> = None;
    let most = work.sequences.saturating_mul(work.shape.layers).saturating_mul(node);
    let alone = fastest(work, device, least);
    if let Some(layout) = alone {
        let found = takes(&layout);
        best = Some((found, layout));
        if found <= days {
            return Some(layout);
        }
    }
    while nodes * node <= most {
        if let Some(layout) = fastest(work, device, nodes * node) {
            let found = takes(&layout);
            // Twice the devices for a day less would be nobody's choice.
            if best.is_none_or(|(least, _)| found < least * 0.95) {
                best = Some((found, layout));
            }
            if found <= days {
                break;
            }
        }
        let step = 1 << nodes.ilog2().saturating_sub(2);
        nodes = (nodes + 1).next_multiple_of(step);
    }
    best.map(|(_, layout)| layout)
}
