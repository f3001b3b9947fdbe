//! Llama, the family that the others are described against, and two that differ from it by a few switches.

use saem_kernels::ops::{Activation, RopeStyle};

use super::{Family, Role, Spec};
use crate::ModelError;
use crate::config::{Config, Fields, LayerConfig, Norm, NormPosition, read_rope};
use crate::error::invalid;

pub(super) const LLAMA: Spec = Spec {
    gguf: "llama",
    hugging_face: &["llama"],
    class: "LlamaForCausalLM",
    interleaved: true,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6)],
    configure: llama,
    names: &[],
};

pub(super) const MISTRAL: Spec = Spec {
    gguf: "llama",
    hugging_face: &["mistral"],
    class: "MistralForCausalLM",
    interleaved: true,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6)],
    configure: windowed,
    names: &[],
};

pub(super) const STARCODER2: Spec = Spec {
    gguf: "starcoder2",
    hugging_face: &["starcoder2"],
    class: "Starcoder2ForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("norm_epsilon", 1e-5)],
    configure: starcoder2,
    names: &[(Role::Up, "model.layers.{}.mlp.c_fc"), (Role::Down, "model.layers.{}.mlp.c_proj")],
};

/// What families have in common, with Llama's switches for what they have not.
pub(crate) fn llama_like(family: Family, fields: &Fields<'_>) -> Result<Config, ModelError> {
    let hidden = fields.needed("hidden_size")?;
    let heads = fields.needed("num_attention_heads")?;
    let head_dim = match fields.count("head_dim")? {
        Some(head_dim) => head_dim,
        None => {
            hidden.checked_div(heads).ok_or_else(|| invalid(fields.spelling("num_attention_heads"), 0, "no heads"))?
        }
    };
    // Bounded here because the list below is as long.
    let layers = fields.needed("num_hidden_layers")?;
    if layers > 1 << 10 {
        return Err(invalid(fields.spelling("num_hidden_layers"), layers, "it is too large"));
    }
    let norm_epsilon = match fields.float("rms_norm_eps")? {
        Some(epsilon) => epsilon,
        None => fields
            .float("norm_epsilon")?
            .ok_or_else(|| ModelError::MissingField { field: fields.spelling("rms_norm_eps") })?,
    };
    Ok(Config {
        family,
        vocabulary: vocabulary(fields)?,
        hidden,
        context: fields.needed("max_position_embeddings")?,
        heads,
        kv_heads: fields.count("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        norm: Norm::Rms,
        norm_epsilon,
        norm_position: NormPosition::Pre,
        qk_norm: false,
        norm_offset: if fields.is_gguf() { 0.0 } else { family.spec().norm_offset },
        attention_bias: fields.flag("attention_bias", false)?,
        output_bias: fields.flag("attention_bias", false)?,
        feed_forward_bias: fields.flag("mlp_bias", false)?,
        attention_scale: (head_dim as f32).sqrt().recip(),
        attention_soft_cap: None,
        logit_soft_cap: None,
        embedding_multiplier: 1.0,
        residual_multiplier: 1.0,
        logits_multiplier: 1.0,
        rope_style: if fields.is_gguf() && family.spec().interleaved {
            RopeStyle::Interleaved
        } else {
            RopeStyle::Half
        },
        ropes: vec![read_rope(fields, "full_attention", 10_000.0, head_dim)?],
        learned_positions: None,
        activation: activation(fields, Activation::Silu)?,
        gated: true,
        intermediate: fields.needed("intermediate_size")?,
        moe: None,
        layers: vec![LayerConfig { window: None, rope: Some(0), sparse: false }; layers],
        tied: fields.flag("tie_word_embeddings", false)?,
    })
}

/// GGUF files have one name for Llama and Mistral; a window tells them apart.
fn llama(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    if fields.is_gguf() {
        windowed(fields, config)?;
        if config.layers.iter().any(|layer| layer.window.is_some()) {
            config.family = Family::Mistral;
        }
    }
    Ok(())
}

/// A window on every layer, where the file has one.
fn windowed(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    let window = fields.count("sliding_window")?;
    for layer in &mut config.layers {
        layer.window = window;
    }
    Ok(())
}

fn starcoder2(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    config.norm = Norm::Layer;
    config.gated = false;
    config.activation = activation(fields, Activation::GeluTanh)?;
    config.tied = fields.flag("tie_word_embeddings", true)?;
    let bias = fields.flag("use_bias", !fields.is_gguf())?;
    config.attention_bias = bias;
    config.output_bias = bias;
    config.feed_forward_bias = bias;
    windowed(fields, config)
}

/// The activation that the metadata name, or the family's.
pub(super) fn activation(fields: &Fields<'_>, otherwise: Activation) -> Result<Activation, ModelError> {
    match fields.word("hidden_act") {
        None => Ok(otherwise),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("gelu") => Ok(Activation::GeluErf),
        Some("relu") => Ok(Activation::Relu),
        Some(other) => Err(ModelError::Unsupported { what: "the activation", value: other.to_owned() }),
    }
}

/// The declared size of the vocabulary. GGUF files may leave it to the token list; 1 stands for "as many as there are
/// rows" until the tensors are seen.
fn vocabulary(fields: &Fields<'_>) -> Result<usize, ModelError> {
    if fields.is_gguf() { Ok(fields.count("vocab_size")?.unwrap_or(1)) } else { fields.needed("vocab_size") }
}
