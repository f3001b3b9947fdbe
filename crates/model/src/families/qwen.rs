//! Qwen 2, 2.5 and 3, dense and mixture of experts.

use super::Spec;
use crate::ModelError;
use crate::config::{Config, Fields, Gating, Moe};

pub(super) const QWEN2: Spec = Spec {
    gguf: "qwen2",
    hugging_face: &["qwen2"],
    class: "Qwen2ForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6), ("max_window_layers", 28.0)],
    configure: qwen2,
    names: &[],
};

pub(super) const QWEN3: Spec = Spec {
    gguf: "qwen3",
    hugging_face: &["qwen3"],
    class: "Qwen3ForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6), ("max_window_layers", 28.0), ("head_dim", 128.0)],
    configure: qwen3,
    names: &[],
};

pub(super) const QWEN3_MOE: Spec = Spec {
    gguf: "qwen3moe",
    hugging_face: &["qwen3_moe"],
    class: "Qwen3MoeForCausalLM",
    interleaved: false,
    norm_offset: 0.0,
    defaults: &[("rms_norm_eps", 1e-6), ("max_window_layers", 0.0)],
    configure: qwen3_moe,
    names: &[],
};

fn qwen2(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    // Biases on queries, keys and values, never on the output.
    config.attention_bias = true;
    config.output_bias = false;
    windows(fields, config)
}

fn qwen3(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    config.qk_norm = true;
    windows(fields, config)
}

fn qwen3_moe(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    qwen3(fields, config)?;
    config.moe = Some(Moe {
        experts: fields.needed("num_experts")?,
        used: fields.needed("num_experts_per_tok")?,
        intermediate: fields.needed("moe_intermediate_size")?,
        shared_intermediate: 0,
        gating: Gating::Softmax,
        // GGUF files of this family do not say so, but are always normalised.
        normalize: fields.flag("norm_topk_prob", fields.is_gguf())?,
        scale: 1.0,
        groups: 1,
        groups_used: 1,
        correction_bias: false,
    });
    let step = fields.count("decoder_sparse_step")?.unwrap_or(1).max(1);
    let dense: Vec<u64> = fields
        .json_field("mlp_only_layers")
        .and_then(serde_json::Value::as_array)
        .map(|layers| layers.iter().filter_map(serde_json::Value::as_u64).collect())
        .unwrap_or_default();
    for (index, layer) in config.layers.iter_mut().enumerate() {
        layer.sparse = (index + 1).is_multiple_of(step) && !dense.contains(&(index as u64));
    }
    Ok(())
}

/// Windows are switched on by a flag of their own, and then only in the upper layers.
fn windows(fields: &Fields<'_>, config: &mut Config) -> Result<(), ModelError> {
    // GGUF files that say which layers have windows are Saem's own.
    let in_gguf = fields.gguf("attention.sliding_window_pattern").is_some();
    if !in_gguf && !fields.flag("use_sliding_window", false)? {
        return Ok(());
    }
    let window = fields.count("sliding_window")?;
    let sliding: Vec<bool> = if in_gguf || fields.json_field("layer_types").is_some() {
        crate::config::sliding_layers(fields, config.layers.len(), 0)?
    } else {
        let first = fields.count("max_window_layers")?.unwrap_or(0);
        (0..config.layers.len()).map(|index| index >= first).collect()
    };
    for (layer, sliding) in config.layers.iter_mut().zip(sliding) {
        layer.window = window.filter(|_| sliding);
    }
    Ok(())
}
