//! The first weights: drawn, or read from the model that a run goes on from.

use saem_formats::Source;
use serde_json::Value;

use crate::TrainError;
use crate::frozen::Weights;
use crate::layout::{Kind, Linear};
use crate::magnitude::first_magnitudes;
use crate::master::Values;
use crate::pass::Decoder;
use crate::random::Random;

/// What the first weights are drawn for.
const WEIGHTS: u64 = 3;
/// What the rows of a prompt are drawn for.
const SOFT: u64 = 5;
/// What the matrix that tells labels apart is drawn for.
const SCORE: u64 = 7;
/// Deviation of the first weights, where the shape does not say another.
const DEVIATION: f64 = 0.02;

/// The first weights of a new model: matrices normal, those that write to the stream narrower the more layers there are
/// (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), norms one, biases zero.
pub(crate) fn draw(decoder: &Decoder, config: &Value, seed: u64, weights: &mut [f32]) {
    use saem_model::Role;
    let deviation = config.get("initializer_range").and_then(Value::as_f64).unwrap_or(DEVIATION);
    let narrow = deviation / (2.0 * decoder.config.layers.len() as f64).sqrt();
    let mut random = Random::new(seed, WEIGHTS);
    for (trained, slot) in decoder.layout.parameters() {
        let Kind::Own(parameter) = &trained.kind else { continue };
        let values = &mut weights[slot];
        match parameter.role {
            _ if parameter.is_bias => {}
            Role::RouterCorrection => {}
            role if role.is_norm() => values.fill(1.0 - decoder.config.norm_offset),
            role => {
                let writes = matches!(role, Role::AttentionOutput | Role::Down | Role::ExpertDown | Role::SharedDown);
                let deviation = if writes { narrow } else { deviation };
                values.iter_mut().for_each(|value| *value = (random.normal() * deviation) as f32);
            }
        }
    }
}

/// The first weights of what goes on from a model: its own where they are trained; what a method adds is drawn as `peft`
/// draws it, except that rows of a prompt are rows of the embedding (Lester et al. 2021, section 3.1), which are where
/// the model expects its input.
pub(crate) fn go_on(decoder: &Decoder, source: &Source, seed: u64, weights: &mut [f32]) -> Result<(), TrainError> {
    let Decoder { config, layout, frozen, .. } = decoder;
    let mut random = Random::new(seed, WEIGHTS);
    let mut uniform = |values: &mut [f32], inputs: usize| {
        let bound = 1.0 / (inputs as f64).sqrt();
        values.iter_mut().for_each(|value| *value = ((2.0 * random.unit() - 1.0) * bound) as f32);
    };
    for (trained, slot) in layout.parameters() {
        let values = &mut weights[slot.clone()];
        match &trained.kind {
            Kind::Own(parameter) => parameter.read(source, config, values)?,
            // Kaiming's uniform distribution with a slope of the root of 5.
            Kind::LoraA(..) => uniform(values, trained.shape.last().copied().unwrap_or(1)),
            Kind::LoraB(..) => {}
            Kind::Magnitude(..) => {
                let has = |linear: &&Linear| {
                    let magnitude = linear.thin.as_ref().and_then(|thin| thin.magnitude.as_ref());
                    magnitude.is_some_and(|magnitude| magnitude.slot == slot)
                };
                if let Some(linear) = layout.magnitudes.iter().find(has) {
                    first_magnitudes(Weights { trained: Values::NONE, frozen }, linear, values);
                }
            }
            Kind::Encoder(inputs) => uniform(values, *inputs),
            Kind::Score => {
                let mut random = Random::new(seed, SCORE);
                values.iter_mut().for_each(|value| *value = (random.normal() * DEVIATION) as f32);
            }
            // Keys and values of tokens, once there are buffers to compute them in.
            Kind::Prefix => {}
            // An encoder begins with anything.
            Kind::Soft if layout.has_encoder() => {
                let mut random = Random::new(seed, SOFT);
                values.iter_mut().for_each(|value| *value = random.normal() as f32);
            }
            Kind::Soft => {
                let mut random = Random::new(seed, SOFT);
                let weights = Weights { trained: Values::NONE, frozen };
                // As the rows of a text come to the first layer.
                let multiplier = config.embedding_multiplier / config.prompt_multiplier();
                for row in values.chunks_exact_mut(config.hidden) {
                    weights.row(&layout.embedding, random.below(config.vocabulary), row);
                    row.iter_mut().for_each(|value| *value *= multiplier);
                }
            }
        }
    }
    Ok(())
}
