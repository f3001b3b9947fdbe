//! OPT (Zhang et al. 2022, arXiv 2205.01068): GPT-3's decoder, with learnt positions, layer norms and biases. With GELU instead
//! of ReLU, which its configurations may ask for, it is the shape of HyperCLOVA (2021), too.

use saem_kernels::ops::Activation;

use super::llama::activation;
use super::{Role, Spec};
use crate::ModelError;
use crate::config::{Config, Fields, Norm};

/// Rows of the table of positions before that of the first one.
const OFFSET: usize = 2;

/// llama.cpp has no such architecture; Saem writes GGUF files of it under this name.
pub(super) const OPT: Spec = Spec {
    gguf: "opt",
    hugging_face: &["opt"],
    class: "OPTForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("norm_epsilon", 1e-5)],
    configure: opt,
    names: &[
        (Role::TokenEmbedding, "model.decoder.embed_tokens"),
        (Role::PositionEmbedding, "model.decoder.embed_positions"),
        (Role::OutputNorm, "model.decoder.final_layer_norm"),
        (Role::AttentionNorm, "model.decoder.layers.{}.self_attn_layer_norm"),
        (Role::Query, "model.decoder.layers.{}.self_attn.q_proj"),
        (Role::Key, "model.decoder.layers.{}.self_attn.k_proj"),
        (Role::Value, "model.decoder.layers.{}.self_attn.v_proj"),
        (Role::AttentionOutput, "model.decoder.layers.{}.self_attn.out_proj"),
        (Role::FeedForwardNorm, "model.decoder.layers.{}.final_layer_norm"),
        (Role::Up, "model.decoder.layers.{}.fc1"),
        (Role::Down, "model.decoder.layers.{}.fc2"),
    ],
};

fn opt(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    if !fields.is_gguf() {
        // The two smallest of Meta's models differ from the others.
        for (name, usual) in [("do_layer_norm_before", true), ("_remove_final_layer_norm", false)] {
            if fields.flag(name, usual)? != usual {
                return Err(ModelError::Unsupported { what: name, value: (!usual).to_string() });
            }
        }
        if let Some(width) = fields.count("word_embed_proj_dim")?.filter(|width| *width != config.hidden) {
            return Err(ModelError::Unsupported { what: "word_embed_proj_dim", value: width.to_string() });
        }
    }
    config.norm = Norm::Layer;
    config.gated = false;
    config.activation = activation(fields, if fields.is_gguf() { Activation::GeluErf } else { Activation::Relu })?;
    config.tied = fields.flag("tie_word_embeddings", true)?;
    let bias = fields.flag("enable_bias", !fields.is_gguf())?;
    config.attention_bias = bias;
    config.output_bias = bias;
    config.feed_forward_bias = bias;
    config.ropes.clear();
    config.learned_positions = Some(OFFSET);
    for layer in &mut config.layers {
        layer.rope = None;
    }
    Ok(())
}
