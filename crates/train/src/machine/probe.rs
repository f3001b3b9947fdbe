//! How long the passes of a recipe take: some of its layers are run on the first of its own examples.
//!
//! What a product reaches depends on how few tokens there are, on widths, on the format of weights that stay and on thin
//! matrices beside them; for tunings, whose passes are short, no constant tells it.

use std::time::{Duration, Instant};

use saem_formats::Source;
use saem_kernels::{Arena, Block, ThreadPool};
use saem_model::Config;

use super::Choice;
use crate::TrainError;
use crate::buffers::Buffers;
use crate::pass::{Batch, Decoder, Objective};
use crate::random::Random;
use crate::recipe::Recipe;

/// Layers that are run, and besides the first alone: for what is not in layers, and since it is of its own kind with some
/// experts.
const LAYERS: usize = 8;
/// How long both are run in turns, since other processes of the machine come and go, and how often at least.
const TIME: Duration = Duration::from_secs(3);
const TURNS: usize = 3;
/// What weights are drawn for: what they are does not matter to the time.
const WEIGHTS: u64 = 21;

/// Seconds of passes over these batches, of up to `rows` tokens.
pub(super) fn seconds(
    recipe: &Recipe,
    source: &Source,
    (config, norm_biases): (&Config, bool),
    (choice, rows): (Choice, usize),
    batches: &[Batch],
    pool: &ThreadPool,
) -> Result<f64, TrainError> {
    let layers = config.layers.len();
    let some = LAYERS.min(layers);
    let of = |count: usize| {
        let mut config = config.clone();
        config.layers.truncate(count);
        let layout = recipe.layout(&config, norm_biases)?;
        let frozen = recipe.frozen(&layout, source, &config)?;
        let decoder = Decoder { layout, config, frozen, precision: recipe.train.precision };
        Slice::new(decoder, recipe.beta(), choice, rows)
    };
    let mut slices = [of(1)?, of(some)?];
    let (begun, mut turns, mut fastest) = (Instant::now(), 0, [f64::INFINITY; 2]);
    while turns < TURNS || begun.elapsed() < TIME {
        for (slice, fastest) in slices.iter_mut().zip(&mut fastest) {
            *fastest = fastest.min(slice.seconds(batches, pool)?);
        }
        turns += 1;
    }
    let [first, more] = fastest;
    let each = (more - first) / (some - 1).max(1) as f64;
    Ok(first + each.max(0.0) * (layers - 1) as f64)
}

/// The first layers of a decoder, ready to learn.
struct Slice {
    decoder: Decoder,
    beta: Option<f64>,
    weights: Block<f32>,
    gradients: Block<f32>,
    buffers: Buffers,
}

impl Slice {
    fn new(decoder: Decoder, beta: Option<f64>, choice: Choice, rows: usize) -> Result<Self, TrainError> {
        let len = decoder.layout.len();
        let (mut weights, gradients, buffers): (Block<f32>, _, _) = Arena::fitting(|arena| {
            (arena.take(len), arena.take(len), Buffers::within(arena, &decoder, rows, choice.recompute))
        })?;
        let mut random = Random::new(0, WEIGHTS);
        weights.fill_with(|| random.unit() as f32 * 0.04 - 0.02);
        Ok(Self { decoder, beta, weights, gradients, buffers })
    }

    fn seconds(&mut self, batches: &[Batch], pool: &ThreadPool) -> Result<f64, TrainError> {
        let Self { decoder, beta, weights, gradients, buffers } = self;
        let begun = Instant::now();
        for batch in batches {
            match *beta {
                Some(beta) => {
                    decoder.preferences(pool, &*weights, Some(gradients), batch, (beta, 1.0), buffers)?;
                }
                None => {
                    decoder.gradients(pool, &*weights, gradients, batch, &Objective::default(), buffers)?;
                }
            }
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}
