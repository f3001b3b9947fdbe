//! Families trained under maximal update parametrisation, whose four multipliers stay in the checkpoint: HyperCLOVA X
//! SEED Think and Granite.

use super::{Role, Spec};
use crate::ModelError;
use crate::config::{Config, Fields, NormPosition};

/// llama.cpp has no such architecture; Saem writes GGUF files of it under this name, with the keys that Granite's
/// files have, except that `logit_scale` multiplies.
pub(super) const HYPERCLOVAX: Spec = Spec {
    gguf: "hyperclovax",
    hugging_face: &["hyperclovax"],
    class: "HyperCLOVAXForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6)],
    configure: hyperclovax,
    names: &[
        (Role::AttentionPostNorm, "model.layers.{}.post_norm1"),
        (Role::FeedForwardPostNorm, "model.layers.{}.post_norm2"),
    ],
};

pub(super) const GRANITE: Spec = Spec {
    gguf: "granite",
    hugging_face: &["granite"],
    class: "GraniteForCausalLM",
    interleaved: true,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6)],
    configure: granite,
    names: &[],
};

fn hyperclovax(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    multipliers(fields, config)?;
    config.logits_multiplier = fields.float("logits_scaling")?.unwrap_or(1.0);
    if fields.flag("use_post_norm", true)? {
        config.norm_position = NormPosition::Both;
    }
    Ok(())
}

/// Granite divides by the number that it stores for logits.
fn granite(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    multipliers(fields, config)?;
    config.logits_multiplier = fields.float("logits_scaling")?.unwrap_or(1.0).recip();
    Ok(())
}

fn multipliers(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    config.embedding_multiplier = fields.float("embedding_multiplier")?.unwrap_or(1.0);
    config.residual_multiplier = fields.float("residual_multiplier")?.unwrap_or(1.0);
    // Zero is how GGUF files say "not set".
    if let Some(scale) = fields.float("attention_multiplier")?.filter(|scale| *scale != 0.0) {
        config.attention_scale = scale;
    }
    Ok(())
}
