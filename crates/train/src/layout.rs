//! Where each parameter lies in one flat buffer.
//!
//! Weights, gradients and the optimizer's means have the same layout, so that a step, a checksum or a copy is one pass
//! over memory. Parameters begin at multiples of a cache line; what lies between them stays zero.

use std::ops::Range;

use saem_model::{Config, ModelError, Parameter, Role};

/// Floats in a cache line.
const ALIGN: usize = 16;

/// A parameter's place.
pub(crate) type Slot = Range<usize>;

/// A matrix and its bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Slot,
    pub(crate) bias: Option<Slot>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
}

/// A norm's weight and bias.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Slot,
    pub(crate) bias: Option<Slot>,
}

/// The parameters of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Option<Norm>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) query_norm: Option<Slot>,
    pub(crate) key_norm: Option<Slot>,
    pub(crate) attention_output: Linear,
    pub(crate) attention_post_norm: Option<Norm>,
    pub(crate) feed_forward_norm: Option<Norm>,
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) feed_forward_post_norm: Option<Norm>,
}

/// All parameters of a decoder.
#[derive(Clone, Debug)]
pub struct Layout {
    parameters: Vec<Parameter>,
    slots: Vec<Slot>,
    pub(crate) embedding: Slot,
    /// The embedding, where the two are one.
    pub(crate) output: Slot,
    pub(crate) output_norm: Norm,
    pub(crate) layers: Vec<Layer>,
    len: usize,
}

impl Layout {
    /// The layout of a dense decoder. `norm_biases`: see [`Config::parameters`].
    ///
    /// # Errors
    /// [`ModelError::ExpertsNotTrainable`].
    pub fn new(config: &Config, norm_biases: bool) -> Result<Self, ModelError> {
        let parameters = config.parameters(norm_biases)?;
        let mut len = 0;
        let slots: Vec<Slot> = parameters
            .iter()
            .map(|parameter| {
                let start = len;
                len = (start + parameter.elements()).next_multiple_of(ALIGN);
                start..start + parameter.elements()
            })
            .collect();
        let find = Find { parameters: &parameters, slots: &slots };
        let layers = (0..config.layers.len())
            .map(|index| {
                let layer = Some(index);
                Ok(Layer {
                    attention_norm: find.norm(Role::AttentionNorm, layer),
                    query: find.linear(Role::Query, layer)?,
                    key: find.linear(Role::Key, layer)?,
                    value: find.linear(Role::Value, layer)?,
                    query_norm: find.slot(Role::QueryNorm, layer, false),
                    key_norm: find.slot(Role::KeyNorm, layer, false),
                    attention_output: find.linear(Role::AttentionOutput, layer)?,
                    attention_post_norm: find.norm(Role::AttentionPostNorm, layer),
                    feed_forward_norm: find.norm(Role::FeedForwardNorm, layer),
                    gate: find.linear(Role::Gate, layer).ok(),
                    up: find.linear(Role::Up, layer)?,
                    down: find.linear(Role::Down, layer)?,
                    feed_forward_post_norm: find.norm(Role::FeedForwardPostNorm, layer),
                })
            })
            .collect::<Result<_, ModelError>>()?;
        let embedding = find.linear(Role::TokenEmbedding, None)?.weight;
        let output = find.slot(Role::Output, None, false).unwrap_or_else(|| embedding.clone());
        let missing = || ModelError::MissingTensor { name: "output norm".into() };
        let output_norm = find.norm(Role::OutputNorm, None).ok_or_else(missing)?;
        Ok(Self { embedding, output, output_norm, layers, len, slots, parameters })
    }

    /// Floats of a buffer with this layout.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to train.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Numbers that are trained.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.slots.iter().map(Range::len).sum()
    }

    /// Parameters and their places, in the order of the buffer.
    pub fn parameters(&self) -> impl Iterator<Item = (&Parameter, Range<usize>)> {
        self.parameters.iter().zip(self.slots.iter().cloned())
    }
}

struct Find<'a> {
    parameters: &'a [Parameter],
    slots: &'a [Slot],
}

impl Find<'_> {
    fn position(&self, role: Role, layer: Option<usize>, is_bias: bool) -> Option<usize> {
        let fits = |p: &Parameter| p.role == role && p.layer == layer && p.is_bias == is_bias;
        self.parameters.iter().position(fits)
    }

    fn slot(&self, role: Role, layer: Option<usize>, is_bias: bool) -> Option<Slot> {
        self.slots.get(self.position(role, layer, is_bias)?).cloned()
    }

    fn norm(&self, role: Role, layer: Option<usize>) -> Option<Norm> {
        Some(Norm { weight: self.slot(role, layer, false)?, bias: self.slot(role, layer, true) })
    }

    fn linear(&self, role: Role, layer: Option<usize>) -> Result<Linear, ModelError> {
        let missing = || ModelError::MissingTensor { name: format!("{role:?} of layer {layer:?}") };
        let index = self.position(role, layer, false).ok_or_else(missing)?;
        let (parameter, weight) = self.parameters.get(index).zip(self.slots.get(index)).ok_or_else(missing)?;
        let [outputs, inputs] = parameter.shape.as_slice() else { return Err(missing()) };
        let (outputs, inputs) = (*outputs, *inputs);
        Ok(Linear { weight: weight.clone(), bias: self.slot(role, layer, true), outputs, inputs })
    }
}
