//! Gemma 2 and 3: norms on both sides, scaled embeddings, GeGLU, local and global layers.

use saem_kernels::ops::Activation;

use super::llama::activation;
use super::{Role, Spec};
use crate::ModelError;
use crate::config::{Config, Fields, NormPosition, RopeScaling, read_rope, sliding_layers};

pub(super) const GEMMA2: Spec = Spec {
    gguf: "gemma2",
    hugging_face: &["gemma2"],
    class: "Gemma2ForCausalLM",
    interleaved: false,
    norm_offset: 1.0,
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("head_dim", 256.0),
        ("sliding_window", 4096.0),
        ("attn_logit_softcapping", 50.0),
        ("final_logit_softcapping", 30.0),
    ],
    configure: gemma2,
    names: NAMES,
};

pub(super) const GEMMA3: Spec = Spec {
    gguf: "gemma3",
    hugging_face: &["gemma3_text", "gemma3"],
    class: "Gemma3ForCausalLM",
    interleaved: false,
    norm_offset: 1.0,
    // Multimodal checkpoints leave out what is the class's default.
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("head_dim", 256.0),
        ("num_attention_heads", 8.0),
        ("num_key_value_heads", 4.0),
        ("max_position_embeddings", 131_072.0),
        ("vocab_size", 262_208.0),
    ],
    configure: gemma3,
    names: NAMES,
};

const NAMES: &[(Role, &str)] = &[
    (Role::AttentionPostNorm, "model.layers.{}.post_attention_layernorm"),
    (Role::FeedForwardNorm, "model.layers.{}.pre_feedforward_layernorm"),
    (Role::FeedForwardPostNorm, "model.layers.{}.post_feedforward_layernorm"),
];

fn gemma2(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    gemma(fields, config, 46)?;
    config.attention_soft_cap = fields.float("attn_logit_softcapping")?;
    config.logit_soft_cap = fields.float("final_logit_softcapping")?;
    let window = fields.count("sliding_window")?;
    let sliding = sliding_layers(fields, config.layers.len(), 2)?;
    for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
        layer.window = window.filter(|_| sliding);
    }
    Ok(())
}

fn gemma3(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    gemma(fields, config, 62)?;
    config.qk_norm = true;
    config.attention_soft_cap = fields.float("attn_logit_softcapping")?;
    config.logit_soft_cap = fields.float("final_logit_softcapping")?;
    // Local layers rotate by another base, and never with the global layers' scaling.
    let mut global = read_rope(fields, "full_attention", 1_000_000.0, config.head_dim)?;
    let mut local = match fields.json().and_then(|config| config.get("rope_parameters")) {
        Some(_) => read_rope(fields, "sliding_attention", 10_000.0, config.head_dim)?,
        None => global.clone(),
    };
    if let Some(theta) = fields.number("rope_local_base_freq")? {
        local.theta = theta;
    } else if fields.json().is_none_or(|config| config.get("rope_parameters").is_none()) {
        local.theta = 10_000.0;
    }
    if fields.json().is_none_or(|config| config.get("rope_parameters").is_none()) {
        local.scaling = RopeScaling::None;
    }
    global.rotary = config.head_dim;
    local.rotary = config.head_dim;
    config.ropes = vec![global, local];
    let window = fields.count("sliding_window")?;
    let sliding = sliding_layers(fields, config.layers.len(), 6)?;
    for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
        if sliding && let Some(window) = window {
            layer.window = Some(window);
            layer.rope = Some(1);
        }
    }
    Ok(())
}

/// What both have in common. `wide_heads` is the number of layers of the one size that scales attention by
/// `hidden / heads`, which GGUF files do not say.
fn gemma(fields: &Fields<'_>, config: &mut Config, wide_heads: usize) -> Result<(), ModelError> {
    config.norm_position = NormPosition::Both;
    config.embedding_multiplier = (config.hidden as f32).sqrt();
    config.activation = activation(fields, Activation::GeluTanh)?;
    config.tied = fields.flag("tie_word_embeddings", true)?;
    if fields.is_gguf() {
        if config.layers.len() == wide_heads && config.heads > 0 {
            config.attention_scale = ((config.hidden / config.heads) as f32).sqrt().recip();
        }
        // Not written by llama.cpp, but by Saem where the checkpoint has an unusual one.
        if let Some(scale) = fields.float("attention_multiplier")? {
            config.attention_scale = scale;
        }
    } else if let Some(scalar) = fields.float("query_pre_attn_scalar")? {
        config.attention_scale = scalar.sqrt().recip();
    }
    Ok(())
}
