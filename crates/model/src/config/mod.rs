//! The switches of the decoder.
//!
//! A [`Config`] says everything about a model that its weights do not: sizes, where norms stand, how positions are
//! rotated, what each layer sees. The forward pass reads switches only; it does not know any family by name.

mod check;
mod fields;
mod layers;
mod rope;

use saem_formats::{Source, gguf};
use saem_kernels::ops::{Activation, RopeStyle};

pub(crate) use fields::Fields;
pub(crate) use layers::sliding_layers;
pub(crate) use rope::{read_rope, yarn_magnitude};

use crate::ModelError;
use crate::families::{self, Family};

/// A decoder's architecture. Build it with [`Config::from_source`], [`Config::from_gguf`] or [`Config::from_hf`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family, which also knows the names of tensors.
    pub family: Family,
    /// Rows of the embedding matrix; a tokenizer may have fewer tokens.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Positions that the model was trained for.
    pub context: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; `heads` is a multiple.
    pub kv_heads: usize,
    /// Elements in a head; `heads * head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// RMS or layer normalisation.
    pub norm: Norm,
    /// Added to the mean square (RMS) or the variance (layer norm).
    pub norm_epsilon: f32,
    /// Where a layer's norms stand.
    pub norm_position: NormPosition,
    /// Whether queries and keys pass an RMS norm over each head before the rotation.
    pub qk_norm: bool,
    /// Added to every norm weight on load: Gemma's checkpoints store `weight - 1` (its GGUF files do not).
    pub norm_offset: f32,
    /// Whether the query, key and value projections have biases.
    pub attention_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub feed_forward_bias: bool,
    /// Factor on `q . k`.
    pub attention_scale: f32,
    /// `cap * tanh(score / cap)` on attention scores.
    pub attention_soft_cap: Option<f32>,
    /// `cap * tanh(logit / cap)` on logits.
    pub logit_soft_cap: Option<f32>,
    /// Factor on embedding rows.
    pub embedding_multiplier: f32,
    /// Factor on what a sub-layer adds to the residual stream.
    pub residual_multiplier: f32,
    /// Factor on logits. HyperCLOVA X stores this factor, Granite its inverse.
    pub logits_multiplier: f32,
    /// Which elements of a head are rotated together.
    pub rope_style: RopeStyle,
    /// Rotations that layers choose from: one, or a global and a local one; none where positions are learnt.
    pub ropes: Vec<Rope>,
    /// Where positions are learnt, and not rotated: rows of their table before that of the first one. The table has a row for
    /// each position of the context, which is added to what goes into the first layer.
    pub learned_positions: Option<usize>,
    /// The non-linearity of the feed-forward layers.
    pub activation: Activation,
    /// `down(activation(gate x) * up x)` rather than `down(activation(up x))`.
    pub gated: bool,
    /// Inner width of the dense feed-forward layers.
    pub intermediate: usize,
    /// The sparse feed-forward layers, where there are any.
    pub moe: Option<Moe>,
    /// What differs from layer to layer.
    pub layers: Vec<LayerConfig>,
    /// Whether the embedding matrix is the output matrix, too.
    pub tied: bool,
}

/// Kind of normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// By the root of the mean square, times a weight.
    Rms,
    /// By mean and variance, times a weight, plus a bias where the file has one.
    Layer,
}

/// Where norms stand in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPosition {
    /// On the input of each sub-layer (Llama).
    Pre,
    /// On the output of each sub-layer, before it is added (EXAONE 4.0).
    Post,
    /// On both ("peri" or "sandwich": Gemma 2 and 3, HyperCLOVA X SEED Think).
    Both,
}

impl NormPosition {
    /// Whether sub-layers norm their input.
    #[must_use]
    pub fn before(self) -> bool {
        self != Self::Post
    }

    /// Whether sub-layers norm their output.
    #[must_use]
    pub fn after(self) -> bool {
        self != Self::Pre
    }
}

/// One rotation of queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Elements of a head that are rotated, from its start; even.
    pub rotary: usize,
    /// Change of the frequencies for contexts beyond the first training.
    pub scaling: RopeScaling,
}

/// How frequencies are changed. Formulas: `modeling_rope_utils.py` of Hugging Face transformers.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Low ones divided by `factor`, high ones kept, a ramp between (Llama 3.1, EXAONE).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f32,
        /// Wavelengths above `original / low` are low frequencies.
        low: f32,
        /// Wavelengths below `original / high` are high frequencies.
        high: f32,
        /// Context of the first training.
        original: f32,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071): a ramp over dimensions, and cosines scaled.
    Yarn {
        /// The divisor of low frequencies.
        factor: f32,
        /// Rotations within `original` above which a frequency is kept.
        beta_fast: f32,
        /// Rotations within `original` below which a frequency is divided.
        beta_slow: f32,
        /// Context of the first training.
        original: f32,
        /// Factor on cosines and sines.
        attention_factor: f32,
        /// Whether the ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
    /// Each divided by its own factor: how GGUF files store [`RopeScaling::Llama3`] (tensor `rope_freqs.weight`).
    Factors(Vec<f32>),
}

/// What one layer does differently from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// Positions that a query sees, itself included; all where absent.
    pub window: Option<usize>,
    /// Index into [`Config::ropes`]; no rotation where absent.
    pub rope: Option<usize>,
    /// Whether the feed-forward layer is [`Config::moe`].
    pub sparse: bool,
}

/// A mixture-of-experts feed-forward layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Moe {
    /// Experts in a layer.
    pub experts: usize,
    /// Experts that a token is sent to.
    pub used: usize,
    /// Inner width of an expert.
    pub intermediate: usize,
    /// Inner width of the expert that every token passes; 0 where there is none.
    pub shared_intermediate: usize,
    /// How router outputs become scores.
    pub gating: Gating,
    /// Whether the chosen scores are divided by their sum.
    pub normalize: bool,
    /// Factor on the chosen scores.
    pub scale: f32,
    /// Groups that experts are divided into; 1 for none.
    pub groups: usize,
    /// Groups that a token's experts may come from.
    pub groups_used: usize,
    /// Whether a stored bias is added to scores when experts are chosen (and not when they are weighted).
    pub correction_bias: bool,
}

/// How a router's outputs become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gating {
    /// Softmax over all experts (Qwen).
    Softmax,
    /// Each on its own (DeepSeek-V3, K-EXAONE).
    Sigmoid,
}

impl Config {
    /// The configuration of a checkpoint: its metadata, completed by what only its tensors tell (the size of the
    /// vocabulary, whether the output matrix is tied, whether there are biases, stored rope factors).
    ///
    /// # Errors
    /// Where metadata are missing, absurd, or of an architecture that is not supported.
    pub fn from_source(source: &Source) -> Result<Self, ModelError> {
        let mut config = match source {
            Source::Gguf(file) => Self::from_gguf(file.metadata())?,
            Source::HuggingFace(checkpoint) => Self::from_hf(&checkpoint.config.config)?,
        };
        crate::weights::complete(&mut config, source)?;
        Ok(config)
    }

    /// The configuration in a GGUF file's metadata.
    ///
    /// # Errors
    /// As [`Config::from_source`].
    pub fn from_gguf(metadata: &gguf::Metadata) -> Result<Self, ModelError> {
        let name = metadata
            .str("general.architecture")
            .ok_or_else(|| ModelError::MissingField { field: "general.architecture".into() })?;
        let family = Family::from_gguf_name(name)?;
        Self::read(family, &Fields::Gguf { metadata, architecture: name, defaults: family.spec().defaults })
    }

    /// The configuration in a Hugging Face `config.json`.
    ///
    /// # Errors
    /// As [`Config::from_source`].
    pub fn from_hf(config: &serde_json::Value) -> Result<Self, ModelError> {
        let name = config
            .get("model_type")
            .and_then(serde_json::Value::as_str)
            .ok_or_else(|| ModelError::MissingField { field: "model_type".into() })?;
        let family = Family::from_hf_name(name)?;
        // Multimodal checkpoints keep the decoder's fields one level down.
        let value = config.get("text_config").filter(|value| value.is_object()).unwrap_or(config);
        Self::read(family, &Fields::HuggingFace { value, defaults: family.spec().defaults })
    }

    fn read(family: Family, fields: &Fields<'_>) -> Result<Self, ModelError> {
        let mut config = families::llama_like(family, fields)?;
        (family.spec().configure)(fields, &mut config)?;
        config.check()?;
        Ok(config)
    }

    /// The factor on a soft prompt's rows before the first layer: Gemma multiplies the rows of its embedding matrix, the
    /// others whatever goes into the first layer.
    #[must_use]
    pub fn prompt_multiplier(&self) -> f32 {
        match self.family {
            Family::Gemma2 | Family::Gemma3 => 1.0,
            _ => self.embedding_multiplier,
        }
    }

    /// The row of a position in the table of those that are learnt.
    #[must_use]
    pub fn position_row(&self, position: usize) -> Option<usize> {
        self.learned_positions.map(|before| before + position)
    }

    /// Width of all query heads together.
    #[must_use]
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// The widest feed-forward layer that a token passes.
    #[must_use]
    pub fn widest_intermediate(&self) -> usize {
        let dense = if self.layers.iter().any(|layer| !layer.sparse) { self.intermediate } else { 0 };
        let sparse = self.moe.as_ref().map_or(0, |moe| moe.intermediate.max(moe.shared_intermediate));
        dense.max(sparse)
    }
}
