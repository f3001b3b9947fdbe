//! Where each parameter is: in the flat buffer of what is trained, or among what stays as it is.
//!
//! Weights that are trained, their gradients and the optimizer's means have the same layout, so that a step, a checksum
//! or a copy is one pass over memory. Parameters begin at multiples of a cache line; what lies between them stays zero.
//!
//! Which parameters are trained is the whole difference between the methods: all of the decoder's own, or only what a
//! [`Method`] adds to them. The passes are the same.

use std::collections::HashMap;
use std::ops::Range;

use saem_model::config::Moe;
use saem_model::{Classifier, Config, ModelError, Parameter, Role};

use crate::method::{Lora, Method};

/// Floats in a cache line.
const ALIGN: usize = 16;

/// The place of a parameter in the buffer of what is trained.
pub(crate) type Slot = Range<usize>;

/// Where one of the decoder's own parameters is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In the buffer of what is trained.
    Trained(Slot),
    /// Among what stays: its number there.
    Frozen(usize),
}

impl Place {
    /// Where its gradient belongs, if it has one.
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Trained(slot) => Some(slot.clone()),
            Self::Frozen(_) => None,
        }
    }
}

/// A matrix and its bias, and what a LoRA adds to its product.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Place,
    pub(crate) bias: Option<Place>,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) thin: Option<Thin>,
}

/// Two thin matrices: `y += scale * B (A x)`.
#[derive(Clone, Debug)]
pub(crate) struct Thin {
    /// `[rank, inputs]`.
    pub(crate) a: Slot,
    /// `[outputs, rank]`.
    pub(crate) b: Slot,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
    pub(crate) magnitude: Option<Magnitude>,
}

/// The lengths of a changed weight's rows: `y = m / |W + scale * B A| * (W + scale * B A) x`.
#[derive(Clone, Debug)]
pub(crate) struct Magnitude {
    /// `[outputs]`.
    pub(crate) slot: Slot,
    /// Where the lengths that the rows would have are, among those of all weights.
    pub(crate) norms: Range<usize>,
}

/// A norm's weight and bias.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Place,
    pub(crate) bias: Option<Place>,
}

/// The parameters of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Option<Norm>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) query_norm: Option<Place>,
    pub(crate) key_norm: Option<Place>,
    pub(crate) attention_output: Linear,
    pub(crate) attention_post_norm: Option<Norm>,
    pub(crate) feed_forward_norm: Option<Norm>,
    pub(crate) feed_forward: FeedForward,
    pub(crate) feed_forward_post_norm: Option<Norm>,
}

/// What every token passes, or some experts for each.
#[derive(Clone, Debug)]
pub(crate) enum FeedForward {
    Dense(Dense),
    Sparse(Sparse),
}

/// `down(activation(gate x) * up x)`, or `down(activation(up x))`.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// A router, its experts, and the one that every token passes.
#[derive(Clone, Debug)]
pub(crate) struct Sparse {
    pub(crate) router: Linear,
    pub(crate) correction: Option<Place>,
    pub(crate) experts: Vec<Dense>,
    pub(crate) shared: Option<Dense>,
}

/// Rows that stand before every text where otherwise rows of the embedding would be.
#[derive(Clone, Debug)]
pub(crate) struct Soft {
    pub(crate) rows: usize,
    /// `[rows, hidden]`: the rows themselves, or what the encoder makes them of.
    pub(crate) table: Slot,
    /// Three matrices with rectifiers between them.
    pub(crate) encoder: Option<[Linear; 3]>,
}

/// Keys and values of every layer that stand before those of every text.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    pub(crate) rows: usize,
    /// `[rows, layers, key and value, kv width]`, keys as attention sees them.
    pub(crate) table: Slot,
}

/// A parameter that is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Its name in files: Hugging Face's, or `peft`'s for what a method adds.
    pub name: String,
    /// Outermost dimension first; rows of a matrix are outputs.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: Kind,
}

impl Trained {
    /// Whether it has rows: what has none is kept in floats whatever matrices are kept in.
    pub(crate) fn is_matrix(&self) -> bool {
        self.shape.len() > 1
    }

    /// The decoder's own parameter that it is, if it is one.
    #[must_use]
    pub fn own(&self) -> Option<&Parameter> {
        if let Kind::Own(parameter) = &self.kind { Some(parameter) } else { None }
    }

    /// Whether it is one of the thin matrices of a LoRA.
    pub(crate) fn is_lora(&self) -> bool {
        matches!(self.kind, Kind::LoraA(..) | Kind::LoraB(..))
    }
}

/// What a trained parameter is, and so what it begins as.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One of the decoder's own.
    Own(Parameter),
    /// The first matrix of a LoRA, of a projection of some role and layer.
    LoraA(Role, usize),
    /// The second, which begins as zeros.
    LoraB(Role, usize),
    /// The lengths of the changed weight's rows, which begin as they are.
    Magnitude(Role, usize),
    /// Rows before every text.
    Soft,
    /// Keys and values before every text.
    Prefix,
    /// The matrix that tells labels apart by the last token's stream.
    Score,
    /// A matrix or bias of the encoder that makes them, of so many inputs.
    Encoder(usize),
}

/// Where all parameters of a decoder are.
#[derive(Clone, Debug)]
pub struct Layout {
    trained: Vec<Trained>,
    slots: Vec<Slot>,
    frozen: Vec<Parameter>,
    pub(crate) embedding: Place,
    /// One row for each position, where they are learnt.
    pub(crate) positions: Option<Place>,
    /// The embedding, where the two are one; or the matrix that tells labels apart.
    pub(crate) output: Place,
    /// Its rows: the vocabulary, or the labels.
    pub(crate) outputs: usize,
    pub(crate) is_classifier: bool,
    pub(crate) output_norm: Norm,
    pub(crate) layers: Vec<Layer>,
    pub(crate) soft: Option<Soft>,
    /// Where parameters begin that no gradient moves.
    by_gradient: usize,
    pub(crate) prefix: Option<Prefix>,
    /// The projections whose rows have magnitudes.
    pub(crate) magnitudes: Vec<Linear>,
    len: usize,
}

impl Layout {
    /// The layout of a decoder of which everything is trained. `norm_biases`: see [`Config::parameters`].
    ///
    /// # Errors
    /// Where the configuration contradicts itself.
    pub fn new(config: &Config, norm_biases: bool) -> Result<Self, ModelError> {
        Self::with(config, norm_biases, &Method::Full)
    }

    /// The layout of a decoder that is tuned by this method.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn with(config: &Config, norm_biases: bool, method: &Method) -> Result<Self, ModelError> {
        Self::build(config, norm_biases, method, None)
    }

    /// The layout of a decoder that learns to tell so many labels apart: in place of the output matrix it has one row for
    /// each of them, which is trained beside what the method trains.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn classifier(config: &Config, norm_biases: bool, method: &Method, labels: usize) -> Result<Self, ModelError> {
        Self::build(config, norm_biases, method, Some(labels))
    }

    fn build(config: &Config, norm_biases: bool, method: &Method, labels: Option<usize>) -> Result<Self, ModelError> {
        let mut own = config.parameters(norm_biases);
        if labels.is_some() {
            own.retain(|parameter| parameter.role != Role::Output);
        }
        // What counts move and not gradients stands last, so that a prefix of the buffer is all that has a gradient.
        own.sort_by_key(|parameter| parameter.role == Role::RouterCorrection);
        let mut flat = Flat::default();
        let mut frozen = Vec::new();
        let score = labels.map(|labels| {
            let (name, shape) = (Classifier::SCORE.to_owned(), vec![labels, config.hidden]);
            Place::Trained(flat.push(Trained { name, shape, kind: Kind::Score }))
        });
        let mut by_gradient = None;
        let mut places = HashMap::with_capacity(own.len());
        for parameter in own {
            let key = (parameter.role, parameter.layer, parameter.expert, parameter.is_bias);
            if parameter.role == Role::RouterCorrection {
                by_gradient.get_or_insert(flat.len);
            }
            let place = match method {
                Method::Full => {
                    let (name, shape) = (parameter.name.clone(), parameter.shape.clone());
                    Place::Trained(flat.push(Trained { name, shape, kind: Kind::Own(parameter.clone()) }))
                }
                _ => {
                    frozen.push(parameter.clone());
                    Place::Frozen(frozen.len() - 1)
                }
            };
            places.insert(key, (place, parameter));
        }
        let lora = if let Method::Lora(lora) = method { Some(lora) } else { None };
        let layers = config.layers.len();
        let mut find = Find { places: &places, lora, layers, flat: &mut flat, expert: None, magnitudes: Vec::new() };
        let layers = config
            .layers
            .iter()
            .enumerate()
            .map(|(index, of_layer)| {
                let layer = Some(index);
                Ok(Layer {
                    attention_norm: find.norm(Role::AttentionNorm, layer),
                    query: find.linear(Role::Query, layer)?,
                    key: find.linear(Role::Key, layer)?,
                    value: find.linear(Role::Value, layer)?,
                    query_norm: find.place(Role::QueryNorm, layer, false),
                    key_norm: find.place(Role::KeyNorm, layer, false),
                    attention_output: find.linear(Role::AttentionOutput, layer)?,
                    attention_post_norm: find.norm(Role::AttentionPostNorm, layer),
                    feed_forward_norm: find.norm(Role::FeedForwardNorm, layer),
                    feed_forward: match config.moe.as_ref().filter(|_| of_layer.sparse) {
                        None => FeedForward::Dense(find.dense([Role::Gate, Role::Up, Role::Down], layer)?),
                        Some(moe) => FeedForward::Sparse(find.sparse(moe, layer)?),
                    },
                    feed_forward_post_norm: find.norm(Role::FeedForwardPostNorm, layer),
                })
            })
            .collect::<Result<_, ModelError>>()?;
        let embedding = find.linear(Role::TokenEmbedding, None)?.weight;
        let positions = find.place(Role::PositionEmbedding, None, false);
        let output = score.or_else(|| find.place(Role::Output, None, false)).unwrap_or_else(|| embedding.clone());
        let missing = || ModelError::MissingTensor { name: "output norm".into() };
        let output_norm = find.norm(Role::OutputNorm, None).ok_or_else(missing)?;
        let magnitudes = find.magnitudes;
        let soft = if let Method::Prompt(prompt) = method {
            Some(flat.soft(prompt.rows, prompt.encoder, config.hidden))
        } else {
            None
        };
        let prefix = if let Method::Prefix(rows) = method {
            let shape = vec![*rows, 2 * config.layers.len() * config.kv_width()];
            let table = flat.push(Trained { name: "prompt_embeddings".to_owned(), shape, kind: Kind::Prefix });
            Some(Prefix { rows: *rows, table })
        } else {
            None
        };
        let Flat { trained, slots, len } = flat;
        let by_gradient = by_gradient.filter(|_| frozen.is_empty()).unwrap_or(len);
        Ok(Self {
            embedding,
            positions,
            output,
            outputs: labels.unwrap_or(config.vocabulary),
            is_classifier: labels.is_some(),
            output_norm,
            layers,
            soft,
            prefix,
            magnitudes,
            by_gradient,
            len,
            slots,
            trained,
            frozen,
        })
    }

    /// Floats of a buffer with this layout.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The part of a buffer that holds gradients. What follows is moved by counts: the corrections of routers.
    #[must_use]
    pub fn by_gradient(&self) -> Range<usize> {
        0..self.by_gradient
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

    /// What is trained and its places, in the order of the buffer.
    pub fn parameters(&self) -> impl Iterator<Item = (&Trained, Range<usize>)> {
        self.trained.iter().zip(self.slots.iter().cloned())
    }

    /// The decoder's own parameters that stay as they are.
    #[must_use]
    pub fn frozen(&self) -> &[Parameter] {
        &self.frozen
    }

    /// Rows and columns of the matrices among them that products are computed with.
    pub(crate) fn frozen_factors(&self) -> impl Iterator<Item = [usize; 2]> {
        let is_factor = |index: usize, role: Role| match role {
            Role::PositionEmbedding => false,
            Role::TokenEmbedding => matches!(self.output, Place::Frozen(output) if output == index),
            _ => true,
        };
        let factors =
            self.frozen.iter().enumerate().filter(move |(index, parameter)| is_factor(*index, parameter.role));
        factors.filter_map(|(_, parameter)| parameter.shape[..].try_into().ok())
    }

    /// The decoder's own parameters.
    pub fn own(&self) -> impl Iterator<Item = &Parameter> {
        self.trained.iter().filter_map(Trained::own).chain(&self.frozen)
    }

    /// Rows before every text, of a soft prompt or a prefix.
    #[must_use]
    pub fn soft_rows(&self) -> usize {
        self.soft.as_ref().map_or(0, |soft| soft.rows) + self.prefix.as_ref().map_or(0, |prefix| prefix.rows)
    }

    /// Whether an encoder makes the rows before every text.
    pub(crate) fn has_encoder(&self) -> bool {
        self.soft.as_ref().is_some_and(|soft| soft.encoder.is_some())
    }

    /// The largest rank of a LoRA.
    pub(crate) fn rank(&self) -> usize {
        let rank = |trained: &Trained| match trained.kind {
            Kind::LoraA(..) => trained.shape.first().copied(),
            _ => None,
        };
        self.trained.iter().filter_map(rank).max().unwrap_or(0)
    }

    /// Rows of all weights whose rows have magnitudes.
    pub(crate) fn magnitude_rows(&self) -> usize {
        self.magnitudes.iter().map(|linear| linear.outputs).sum()
    }

    /// Floats for a product of such a weight with as many rows as there are tokens, and for those that its lengths are
    /// computed from.
    pub(crate) fn magnitude_room(&self, tokens: usize) -> usize {
        let rank = self.rank();
        let widest = self.magnitudes.iter().map(|linear| linear.outputs).max();
        widest.map_or(0, |widest| widest * tokens.max(rank) + rank * rank)
    }

    /// The lowest layer that the gradient has to go through: nothing below it is trained. Where that is the head alone, one
    /// more than there are.
    pub(crate) fn first_layer(&self) -> usize {
        let lowest = |trained: &Trained| match trained.kind {
            Kind::LoraA(_, layer) | Kind::LoraB(_, layer) | Kind::Magnitude(_, layer) => layer,
            Kind::Score => self.layers.len(),
            Kind::Own(_) | Kind::Soft | Kind::Prefix | Kind::Encoder(_) => 0,
        };
        self.trained.iter().map(lowest).min().unwrap_or(self.layers.len())
    }

    /// Whether anything that is trained lies before the first layer, so that the gradient has to go through all of them.
    pub(crate) fn trains_input(&self) -> bool {
        self.soft.is_some() || self.embedding.slot().is_some()
    }
}

/// A flat buffer in the making.
#[derive(Default)]
struct Flat {
    trained: Vec<Trained>,
    slots: Vec<Slot>,
    len: usize,
}

impl Flat {
    fn push(&mut self, trained: Trained) -> Slot {
        let start = self.len;
        let slot = start..start + trained.shape.iter().product::<usize>();
        self.len = slot.end.next_multiple_of(ALIGN);
        self.trained.push(trained);
        self.slots.push(slot.clone());
        slot
    }

    /// Rows before every text, under the names of `peft`'s prompt encoder where they have one.
    fn soft(&mut self, rows: usize, encoder: Option<usize>, hidden: usize) -> Soft {
        let name = if encoder.is_some() { "embedding.weight" } else { "prompt_embeddings" };
        let table = self.push(Trained { name: name.to_owned(), shape: vec![rows, hidden], kind: Kind::Soft });
        let encoder = encoder.map(|inner| {
            [(0, hidden, inner), (2, inner, inner), (4, inner, hidden)].map(|(number, inputs, outputs)| {
                let kind = || Kind::Encoder(inputs);
                let name = format!("mlp_head.{number}.weight");
                let weight = self.push(Trained { name, shape: vec![outputs, inputs], kind: kind() });
                let name = format!("mlp_head.{number}.bias");
                let bias = self.push(Trained { name, shape: vec![outputs], kind: kind() });
                let (weight, bias) = (Place::Trained(weight), Some(Place::Trained(bias)));
                Linear { weight, bias, outputs, inputs, thin: None }
            })
        });
        Soft { rows, table, encoder }
    }
}

/// A decoder's own parameters by role, layer, expert, and whether they are biases.
type Places = HashMap<(Role, Option<usize>, Option<usize>, bool), (Place, Parameter)>;

struct Find<'a> {
    places: &'a Places,
    lora: Option<&'a Lora>,
    /// How many there are.
    layers: usize,
    flat: &'a mut Flat,
    /// The expert whose parameters are looked for.
    expert: Option<usize>,
    /// Projections with magnitudes, so far.
    magnitudes: Vec<Linear>,
}

impl Find<'_> {
    fn place(&self, role: Role, layer: Option<usize>, is_bias: bool) -> Option<Place> {
        Some(self.places.get(&(role, layer, self.expert, is_bias))?.0.clone())
    }

    fn norm(&self, role: Role, layer: Option<usize>) -> Option<Norm> {
        Some(Norm { weight: self.place(role, layer, false)?, bias: self.place(role, layer, true) })
    }

    fn dense(&mut self, [gate, up, down]: [Role; 3], layer: Option<usize>) -> Result<Dense, ModelError> {
        Ok(Dense { gate: self.linear(gate, layer).ok(), up: self.linear(up, layer)?, down: self.linear(down, layer)? })
    }

    fn sparse(&mut self, moe: &Moe, layer: Option<usize>) -> Result<Sparse, ModelError> {
        let router = self.linear(Role::Router, layer)?;
        let correction = self.place(Role::RouterCorrection, layer, false);
        let mut experts = Vec::with_capacity(moe.experts);
        for expert in 0..moe.experts {
            self.expert = Some(expert);
            experts.push(self.dense([Role::ExpertGate, Role::ExpertUp, Role::ExpertDown], layer)?);
        }
        self.expert = None;
        let shared = match moe.shared_intermediate {
            0 => None,
            _ => Some(self.dense([Role::SharedGate, Role::SharedUp, Role::SharedDown], layer)?),
        };
        Ok(Sparse { router, correction, experts, shared })
    }

    fn linear(&mut self, role: Role, layer: Option<usize>) -> Result<Linear, ModelError> {
        let missing = || ModelError::MissingTensor { name: format!("{role:?} of layer {layer:?}") };
        let (weight, parameter) = self.places.get(&(role, layer, self.expert, false)).ok_or_else(missing)?;
        let [outputs, inputs] = parameter.shape.as_slice() else { return Err(missing()) };
        let (outputs, inputs) = (*outputs, *inputs);
        let bias = self.place(role, layer, true);
        let changed = self.lora.zip(layer).filter(|(lora, layer)| lora.changes(role, *layer, self.layers));
        let thin = changed.map(|(lora, layer)| {
            let module = parameter.name.trim_end_matches(".weight");
            let name = |half: &str| format!("base_model.model.{module}.lora_{half}.weight");
            let (rank, scale) = (lora.rank, lora.scale());
            let a = Trained { name: name("A"), shape: vec![rank, inputs], kind: Kind::LoraA(role, layer) };
            let b = Trained { name: name("B"), shape: vec![outputs, rank], kind: Kind::LoraB(role, layer) };
            let (a, b) = (self.flat.push(a), self.flat.push(b));
            let magnitude = lora.magnitudes.then(|| {
                let name = format!("base_model.model.{module}.lora_magnitude_vector");
                let kind = Kind::Magnitude(role, layer);
                let slot = self.flat.push(Trained { name, shape: vec![outputs], kind });
                let start = self.magnitudes.iter().map(|linear| linear.outputs).sum();
                Magnitude { slot, norms: start..start + outputs }
            });
            Thin { a, b, rank, scale, magnitude }
        });
        let linear = Linear { weight: weight.clone(), bias, outputs, inputs, thin };
        if linear.thin.as_ref().is_some_and(|thin| thin.magnitude.is_some()) {
            self.magnitudes.push(linear.clone());
        }
        Ok(linear)
    }
}
