//! The shape of a decoder that has so many parameters.

use serde::{Deserialize, Serialize};

/// A decoder in the form of GPT-3: a feed-forward four times as wide as the stream, tied matrices.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Shape {
    /// Layers.
    pub layers: u64,
    /// Width of the stream.
    pub hidden: u64,
    /// Heads of attention.
    pub heads: u64,
    /// Width of the feed-forward.
    pub feed_forward: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Parameters in all.
    pub parameters: f64,
}

/// Layers for each width grow slowly with size. The published ladders (GPT-3, HyperCLOVA, Megatron-LM) have widths of 64
/// times their layers at 0.1 billion parameters, 128 at 13, 160 at 82 and 200 at 1,000.
const ASPECT: f64 = 128.0;
const ASPECT_AT: f64 = 13e9;
const ASPECT_POWER: f64 = 0.11;
/// What a departure from this counts beside one from the parameters asked for.
const ASPECT_WEIGHT: f64 = 0.2;
/// The deepest decoder that is proposed.
const DEEPEST: u64 = 256;

impl Shape {
    /// `layers`, `hidden` and `vocabulary` decide the parameters: 12 hidden² for each layer and the embedding, biases,
    /// norms and positions (Narayanan et al. 2021, arXiv 2104.04473, equation 2).
    #[must_use]
    pub fn new(layers: u64, hidden: u64, heads: u64, vocabulary: u64, positions: u64) -> Self {
        let (l, h, v, s) = (layers as f64, hidden as f64, vocabulary as f64, positions as f64);
        let parameters = 12.0 * l * h * h + 13.0 * l * h + (v + s) * h;
        Self { layers, hidden, heads, feed_forward: 4 * hidden, vocabulary, parameters }
    }

    /// The same, where the number of parameters is known: other forms of feed-forward and of attention have another.
    #[must_use]
    pub fn with_parameters(self, parameters: f64) -> Self {
        Self { parameters, ..self }
    }

    /// The shape that comes nearest to so many parameters and to the proportions of published ladders.
    #[must_use]
    pub fn near(parameters: f64, vocabulary: u64, positions: u64) -> Self {
        let aspect = ASPECT * (parameters / ASPECT_AT).powf(ASPECT_POWER);
        let far = |shape: &Self| {
            let size = (shape.parameters / parameters).ln().abs();
            let form = (shape.hidden as f64 / shape.layers as f64 / aspect).ln().abs();
            size + ASPECT_WEIGHT * form
        };
        let candidates = (1..=DEEPEST).filter(|layers| *layers < 8 || layers % 2 == 0).flat_map(|layers| {
            let width = (aspect * layers as f64) as u64;
            let step = step(width);
            let around = width.max(step) / step;
            (around.saturating_sub(1).max(1)..=around + 1).map(move |steps| {
                let hidden = steps * step;
                let head = if hidden < 2048 { 64 } else { 128 };
                Self::new(layers, hidden, hidden / head, vocabulary, positions)
            })
        });
        let first = Self::new(1, 64, 1, vocabulary, positions);
        candidates.fold(first, |best, shape| if far(&shape) < far(&best) { shape } else { best })
    }

    /// Parameters of one layer.
    #[must_use]
    pub fn layer_parameters(&self) -> f64 {
        (self.parameters - self.embedding_parameters()).max(0.0) / self.layers as f64
    }

    /// Parameters of the embedding, which is the output matrix too.
    #[must_use]
    pub fn embedding_parameters(&self) -> f64 {
        (self.vocabulary * self.hidden) as f64
    }
}

/// Widths that heads and tensor parts divide well.
fn step(width: u64) -> u64 {
    match width {
        ..1024 => 64,
        1024..2048 => 128,
        2048..4096 => 256,
        4096..8192 => 512,
        _ => 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Narayanan et al. 2021, table 1: layers, hidden, heads, billions.
    const MEGATRON: [(u64, u64, u64, f64); 10] = [
        (24, 2304, 24, 1.7),
        (30, 3072, 32, 3.6),
        (36, 4096, 32, 7.5),
        (40, 6144, 48, 18.4),
        (48, 8192, 64, 39.1),
        (60, 10240, 80, 76.1),
        (80, 12288, 96, 145.6),
        (96, 16384, 128, 310.1),
        (105, 20480, 128, 529.6),
        (128, 25600, 160, 1008.0),
    ];

    #[test]
    fn parameters_are_those_of_megatrons_table() {
        for (layers, hidden, heads, billions) in MEGATRON {
            let shape = Shape::new(layers, hidden, heads, 51200, 2048);
            assert!((shape.parameters / 1e9 - billions).abs() < 0.06, "{billions}: {shape:?}");
        }
    }

    #[test]
    fn shapes_have_the_size_asked_for_and_the_proportions_of_published_ladders() {
        for parameters in [1e6, 20e6, 137e6, 600e6, 1.3e9, 6.9e9, 13e9, 39e9, 82e9, 175e9, 300e9, 600e9, 1e12, 5e12] {
            let shape = Shape::near(parameters, 51200, 2048);
            // The embedding alone has more than the smallest ones.
            if parameters > 50e6 {
                assert!((shape.parameters / parameters).ln().abs() < 0.06, "{parameters:e}: {shape:?}");
                assert_eq!(shape.hidden % shape.heads, 0);
            }
        }
        // HyperCLOVA and Megatron-LM: no more than 1.4 times as deep or as flat.
        let ladder = [(24, 1536, 0.76e9), (24, 2048, 1.3e9), (32, 4096, 6.9e9), (40, 5120, 13e9), (64, 10240, 82e9)];
        let ladder =
            ladder.into_iter().chain(MEGATRON.map(|(layers, hidden, _, billions)| (layers, hidden, billions * 1e9)));
        for (layers, hidden, parameters) in ladder {
            let shape = Shape::near(parameters, 51200, 2048);
            let depth = shape.layers as f64 / layers as f64;
            let width = shape.hidden as f64 / hidden as f64;
            assert!((0.71..1.4).contains(&depth) && (0.8..1.25).contains(&width), "{parameters:e}: {shape:?}");
        }
    }
}
