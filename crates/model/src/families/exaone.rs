//! LG AI Research's EXAONE 3.5, 4.0 and K-EXAONE.

use super::{Role, Spec};
use crate::ModelError;
use crate::config::{Config, Fields, Gating, Moe, NormPosition, sliding_layers};
use crate::error::invalid;

/// Llama's mathematics under other names.
pub(super) const EXAONE: Spec = Spec {
    gguf: "exaone",
    hugging_face: &["exaone"],
    class: "ExaoneForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-5)],
    configure: exaone,
    names: &[
        (Role::TokenEmbedding, "transformer.wte"),
        (Role::OutputNorm, "transformer.ln_f"),
        (Role::AttentionNorm, "transformer.h.{}.ln_1"),
        (Role::Query, "transformer.h.{}.attn.attention.q_proj"),
        (Role::Key, "transformer.h.{}.attn.attention.k_proj"),
        (Role::Value, "transformer.h.{}.attn.attention.v_proj"),
        (Role::AttentionOutput, "transformer.h.{}.attn.attention.out_proj"),
        (Role::FeedForwardNorm, "transformer.h.{}.ln_2"),
        (Role::Gate, "transformer.h.{}.mlp.c_fc_0"),
        (Role::Up, "transformer.h.{}.mlp.c_fc_1"),
        (Role::Down, "transformer.h.{}.mlp.c_proj"),
    ],
};

/// Norms on outputs only, QK-norm, three local layers to one global, which is not rotated.
pub(super) const EXAONE4: Spec = Spec {
    gguf: "exaone4",
    hugging_face: &["exaone4"],
    class: "Exaone4ForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-5)],
    configure: exaone4,
    names: &[
        (Role::AttentionPostNorm, "model.layers.{}.post_attention_layernorm"),
        (Role::FeedForwardPostNorm, "model.layers.{}.post_feedforward_layernorm"),
    ],
};

/// EXAONE 4.0's attention in pre-norm layers, with the router of DeepSeek-V3.
pub(super) const EXAONE_MOE: Spec = Spec {
    gguf: "exaone-moe",
    hugging_face: &["exaone_moe"],
    class: "ExaoneMoeForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-5)],
    configure: exaone_moe,
    names: &[],
};

fn exaone(_: &Fields<'_>, _: &mut Config) -> Result<(), ModelError> {
    Ok(())
}

fn exaone4(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    config.norm_position = NormPosition::Post;
    hybrid(fields, config)
}

fn exaone_moe(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    if fields.is_gguf() {
        // Layers for multi-token prediction stand at the end and are not part of the decoder.
        let extra = fields.count("num_nextn_predict_layers")?.unwrap_or(0);
        let layers = config.layers.len().checked_sub(extra).filter(|layers| *layers > 0);
        let field = || fields.spelling("num_nextn_predict_layers");
        config.layers.truncate(layers.ok_or_else(|| invalid(field(), extra, "no layers remain"))?);
    }
    hybrid(fields, config)?;
    let intermediate = fields.needed("moe_intermediate_size")?;
    let shared = match fields.count("shared_expert_intermediate_size")? {
        Some(width) => width,
        None => intermediate.saturating_mul(fields.count("num_shared_experts")?.unwrap_or(1)),
    };
    config.moe = Some(Moe {
        experts: fields.needed("num_experts")?,
        used: fields.needed("num_experts_per_tok")?,
        intermediate,
        shared_intermediate: shared,
        gating: Gating::Sigmoid,
        normalize: fields.flag("norm_topk_prob", true)?,
        scale: fields.float("routed_scaling_factor")?.unwrap_or(if fields.is_gguf() { 1.0 } else { 2.5 }),
        groups: fields.count("n_group")?.unwrap_or(1).max(1),
        groups_used: fields.count("topk_group")?.unwrap_or(1).max(1),
        correction_bias: true,
    });
    let kinds = fields.json_field("mlp_layer_types").and_then(serde_json::Value::as_array);
    let first = fields.count("first_k_dense_replace")?.unwrap_or(if fields.is_gguf() { 0 } else { 1 });
    for (index, layer) in config.layers.iter_mut().enumerate() {
        layer.sparse = match kinds.and_then(|kinds| kinds.get(index)).and_then(serde_json::Value::as_str) {
            Some(kind) => kind == "sparse",
            None => index >= first,
        };
    }
    Ok(())
}

/// QK-norm, and rotation on local layers only, unless there is no window at all (EXAONE 4.0 1.2B).
fn hybrid(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    config.qk_norm = true;
    let Some(window) = fields.count("sliding_window")?.filter(|window| *window > 0) else { return Ok(()) };
    let sliding = sliding_layers(fields, config.layers.len(), 4)?;
    for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
        layer.window = sliding.then_some(window);
        layer.rope = sliding.then_some(0);
    }
    Ok(())
}
