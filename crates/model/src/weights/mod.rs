//! A model's weights, packed for the processor at hand.

mod load;
pub(crate) mod tensors;

use saem_kernels::Matrix;

use crate::ModelError;
use crate::adapter::Target;
use crate::config::{Config, RopeScaling};
use crate::error::invalid;
use crate::families::{Family, Role};

pub use load::LoadOptions;
pub(crate) use tensors::{Part, Tensors, WRAPPINGS};

/// A decoder ready to run. Load one with [`Model::load`].
#[derive(Debug)]
pub struct Model {
    /// Its architecture.
    pub config: Config,
    pub(crate) weights: Weights,
}

#[derive(Debug)]
pub(crate) struct Weights {
    /// `[vocabulary, hidden]`; the output matrix, too, where there is no other.
    pub(crate) embedding: Matrix,
    pub(crate) output: Option<Matrix>,
    /// `[positions, hidden]`, where they are learnt; else empty.
    pub(crate) positions: Vec<f32>,
    pub(crate) output_norm: NormWeights,
    pub(crate) layers: Vec<LayerWeights>,
}

#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Option<NormWeights>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// `[head_dim]`, for every head.
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) output: Linear,
    pub(crate) attention_post_norm: Option<NormWeights>,
    pub(crate) feed_forward_norm: Option<NormWeights>,
    pub(crate) feed_forward: FeedForward,
    pub(crate) feed_forward_post_norm: Option<NormWeights>,
}

impl LayerWeights {
    /// The projection that a LoRA may change, where the layer has it.
    pub(crate) fn linear(&self, target: Target) -> Option<&Linear> {
        let dense = match &self.feed_forward {
            FeedForward::Dense(dense) => Some(dense),
            FeedForward::Sparse(_) => None,
        };
        match target {
            Target::Query => Some(&self.query),
            Target::Key => Some(&self.key),
            Target::Value => Some(&self.value),
            Target::Output => Some(&self.output),
            Target::Gate => dense?.gate.as_ref(),
            Target::Up => Some(&dense?.up),
            Target::Down => Some(&dense?.down),
        }
    }
}

/// A matrix, with a bias where the model has one.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(crate) struct NormWeights {
    pub(crate) weight: Vec<f32>,
    /// Of a layer norm.
    pub(crate) bias: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(crate) enum FeedForward {
    Dense(Dense),
    Sparse(Sparse),
}

#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) gate: Option<Linear>,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

#[derive(Debug)]
pub(crate) struct Sparse {
    /// `[experts, hidden]` in f32.
    pub(crate) router: Matrix,
    /// `[experts]`, added when experts are chosen.
    pub(crate) correction: Option<Vec<f32>>,
    pub(crate) experts: Vec<Expert>,
    /// The expert that every token passes.
    pub(crate) shared: Option<Dense>,
}

#[derive(Debug)]
pub(crate) struct Expert {
    pub(crate) gate: Matrix,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
}

impl Model {
    /// Bytes of memory that the weights hold.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let mut bytes = 0;
        self.weights.each(|matrix| bytes += matrix.byte_len());
        bytes
    }

    /// Bytes of weights that a decoded token reads: all but the embedding matrix, of which one row is read (unless it
    /// is the output matrix), and the experts that the token is not sent to.
    #[must_use]
    pub fn bytes_per_token(&self) -> usize {
        let mut bytes = self.weights.output.as_ref().unwrap_or(&self.weights.embedding).byte_len();
        for layer in &self.weights.layers {
            let mut experts = 0;
            layer.each(&mut |matrix| bytes += matrix.byte_len(), &mut |matrix| experts += matrix.byte_len());
            if let Some(moe) = &self.config.moe {
                bytes += experts / moe.experts * moe.used;
            }
        }
        bytes
    }
}

impl Weights {
    fn each(&self, mut visit: impl FnMut(&Matrix)) {
        visit(&self.embedding);
        self.output.iter().for_each(&mut visit);
        let visit = std::cell::RefCell::new(visit);
        for layer in &self.layers {
            layer.each(&mut |matrix| visit.borrow_mut()(matrix), &mut |matrix| visit.borrow_mut()(matrix));
        }
    }
}

impl LayerWeights {
    /// Visits every matrix; those of experts apart.
    fn each(&self, visit: &mut dyn FnMut(&Matrix), expert: &mut dyn FnMut(&Matrix)) {
        for linear in [&self.query, &self.key, &self.value, &self.output] {
            visit(&linear.matrix);
        }
        match &self.feed_forward {
            FeedForward::Dense(dense) => dense.each(visit),
            FeedForward::Sparse(sparse) => {
                visit(&sparse.router);
                for one in &sparse.experts {
                    [&one.gate, &one.up, &one.down].into_iter().for_each(&mut *expert);
                }
                if let Some(shared) = &sparse.shared {
                    shared.each(visit);
                }
            }
        }
    }
}

impl Dense {
    fn each(&self, visit: &mut dyn FnMut(&Matrix)) {
        for linear in self.gate.iter().chain([&self.up, &self.down]) {
            visit(&linear.matrix);
        }
    }
}

/// Completes a configuration by what only the tensors tell.
pub(crate) fn complete(config: &mut Config, source: &saem_formats::Source) -> Result<(), ModelError> {
    let tensors = Tensors::new(source, config.family);
    let embedding = tensors.needed(Role::TokenEmbedding, None, Part::Weight)?;
    let rows = embedding.shape.first().copied().unwrap_or(0);
    if tensors.is_gguf() {
        config.vocabulary = rows;
        config.tied = tensors.find(Role::Output, None, Part::Weight).is_none();
        let has = |role| tensors.find(role, Some(0), Part::Bias).is_some();
        config.attention_bias |= has(Role::Query);
        config.output_bias |= has(Role::AttentionOutput);
        config.feed_forward_bias |= has(Role::Up);
        if config.moe.is_some() {
            // Which layers are dense is not always in the metadata.
            for (index, layer) in config.layers.iter_mut().enumerate() {
                layer.sparse = tensors.find(Role::Router, Some(index), Part::Weight).is_some();
            }
        }
        stored_rope_factors(config, &tensors)?;
        let tokens = tensors.tokens();
        if tokens > rows {
            return Err(ModelError::Vocabulary { tokens, rows });
        }
    } else if rows != config.vocabulary {
        let reason = format!("the embedding matrix has {rows} rows");
        return Err(invalid("vocab_size", config.vocabulary, reason));
    }
    config.check()
}

/// GGUF files hold Llama 3's scaling as one factor for each frequency.
fn stored_rope_factors(config: &mut Config, tensors: &Tensors<'_>) -> Result<(), ModelError> {
    if matches!(config.family, Family::Gemma2 | Family::Gemma3) {
        return Ok(());
    }
    if let Some(tensor) = tensors.rope_factors()
        && let Some(rope) = config.ropes.first_mut()
    {
        rope.scaling = RopeScaling::Factors(tensor.to_f32(rope.rotary / 2)?);
    }
    Ok(())
}
