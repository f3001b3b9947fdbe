//! The parameters of a dense decoder, one by one: what training keeps, changes and writes.

use saem_formats::Source;

use crate::ModelError;
use crate::config::{Config, Norm};
use crate::families::Role;
use crate::families::names::{fill, hf_pattern};
use crate::weights::{Part, Tensors};

/// Where a parameter stands in the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Place {
    TokenEmbedding,
    Output,
    OutputNorm,
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    AttentionPostNorm,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    FeedForwardPostNorm,
}

impl Place {
    const fn role(self) -> Role {
        match self {
            Self::TokenEmbedding => Role::TokenEmbedding,
            Self::Output => Role::Output,
            Self::OutputNorm => Role::OutputNorm,
            Self::AttentionNorm => Role::AttentionNorm,
            Self::Query => Role::Query,
            Self::Key => Role::Key,
            Self::Value => Role::Value,
            Self::QueryNorm => Role::QueryNorm,
            Self::KeyNorm => Role::KeyNorm,
            Self::AttentionOutput => Role::AttentionOutput,
            Self::AttentionPostNorm => Role::AttentionPostNorm,
            Self::FeedForwardNorm => Role::FeedForwardNorm,
            Self::Gate => Role::Gate,
            Self::Up => Role::Up,
            Self::Down => Role::Down,
            Self::FeedForwardPostNorm => Role::FeedForwardPostNorm,
        }
    }

    /// Whether this is the weight or the bias of a norm.
    #[must_use]
    pub fn is_norm(self) -> bool {
        self.role().is_norm()
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a Hugging Face checkpoint of the family.
    pub name: String,
    /// What it is for.
    pub place: Place,
    /// In which layer, if in one.
    pub layer: Option<usize>,
    /// A bias rather than a weight.
    pub is_bias: bool,
    /// Outermost dimension first; rows of a matrix are outputs.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values of this parameter in a checkpoint (Hugging Face's order of rows, norm weights as stored there).
    ///
    /// # Errors
    /// Where the checkpoint lacks it or has another shape. GGUF files order rows differently: convert them first.
    pub fn read(&self, source: &Source, config: &Config) -> Result<Vec<f32>, ModelError> {
        let tensors = Tensors::new(source, config.family);
        let part = if self.is_bias { Part::Bias } else { Part::Weight };
        let stored = tensors.needed(self.place.role(), self.layer, part)?;
        stored.expect(&self.shape)?;
        stored.to_flat_f32()
    }
}

impl Config {
    /// All parameters: the embedding, layer by layer, the last norm, the output matrix where it is not the embedding.
    /// `norm_biases` says whether layer norms have biases (RMS norms never do).
    ///
    /// # Errors
    /// [`ModelError::ExpertsNotTrainable`] where a layer has experts.
    pub fn parameters(&self, norm_biases: bool) -> Result<Vec<Parameter>, ModelError> {
        if self.layers.iter().any(|layer| layer.sparse) {
            return Err(ModelError::ExpertsNotTrainable);
        }
        let mut list =
            List { config: self, layer: None, norm_biases: norm_biases && self.norm == Norm::Layer, found: Vec::new() };
        let (hidden, query, kv, inner) = (self.hidden, self.query_width(), self.kv_width(), self.intermediate);
        let (before, after) = (self.norm_position.before(), self.norm_position.after());
        list.weight(Place::TokenEmbedding, &[self.vocabulary, hidden]);
        for layer in 0..self.layers.len() {
            list.layer = Some(layer);
            list.norm(before, Place::AttentionNorm, hidden);
            list.linear(Place::Query, query, hidden, self.attention_bias);
            list.linear(Place::Key, kv, hidden, self.attention_bias);
            list.linear(Place::Value, kv, hidden, self.attention_bias);
            if self.qk_norm {
                list.weight(Place::QueryNorm, &[self.head_dim]);
                list.weight(Place::KeyNorm, &[self.head_dim]);
            }
            list.linear(Place::AttentionOutput, hidden, query, self.output_bias);
            list.norm(after, Place::AttentionPostNorm, hidden);
            list.norm(before, Place::FeedForwardNorm, hidden);
            if self.gated {
                list.linear(Place::Gate, inner, hidden, self.feed_forward_bias);
            }
            list.linear(Place::Up, inner, hidden, self.feed_forward_bias);
            list.linear(Place::Down, hidden, inner, self.feed_forward_bias);
            list.norm(after, Place::FeedForwardPostNorm, hidden);
        }
        list.layer = None;
        list.norm(true, Place::OutputNorm, hidden);
        if !self.tied {
            list.weight(Place::Output, &[self.vocabulary, hidden]);
        }
        Ok(list.found)
    }

    /// Whether a checkpoint's layer norms have biases.
    #[must_use]
    pub fn has_norm_biases(&self, source: &Source) -> bool {
        Tensors::new(source, self.family).find(Role::OutputNorm, None, Part::Bias).is_some()
    }
}

struct List<'a> {
    config: &'a Config,
    layer: Option<usize>,
    norm_biases: bool,
    found: Vec<Parameter>,
}

impl List<'_> {
    fn push(&mut self, place: Place, is_bias: bool, shape: &[usize]) {
        let layer: Vec<usize> = self.layer.into_iter().collect();
        let suffix = if is_bias { ".bias" } else { ".weight" };
        let name = fill(hf_pattern(self.config.family, place.role()), &layer) + suffix;
        self.found.push(Parameter { name, place, layer: self.layer, is_bias, shape: shape.to_vec() });
    }

    fn weight(&mut self, place: Place, shape: &[usize]) {
        self.push(place, false, shape);
    }

    fn linear(&mut self, place: Place, rows: usize, columns: usize, bias: bool) {
        self.push(place, false, &[rows, columns]);
        if bias {
            self.push(place, true, &[rows]);
        }
    }

    fn norm(&mut self, wanted: bool, place: Place, width: usize) {
        if wanted {
            self.push(place, false, &[width]);
            if self.norm_biases {
                self.push(place, true, &[width]);
            }
        }
    }
}
