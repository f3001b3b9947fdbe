//! A configuration as `config.json`, in the spelling that transformers 4 and 5 both read.

use saem_formats::gguf::Metadata;
use saem_kernels::DataType;
use saem_kernels::ops::Activation;
use serde_json::{Map, Value, json};

use crate::ModelError;
use crate::config::{Config, Moe, Rope, RopeScaling};
use crate::families::Family;

/// Names the type that the weights are stored in.
pub(super) fn set_type(json: &mut Value, data_type: Option<DataType>) {
    let name = match data_type {
        Some(DataType::F16) => "float16",
        Some(DataType::Bf16) => "bfloat16",
        _ => "float32",
    };
    let Some(fields) = json.as_object_mut() else { return };
    let spelled = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    fields.insert(spelled.to_owned(), json!(name));
}

/// The `config.json` of a GGUF file's model.
pub(super) fn write(config: &Config, metadata: &Metadata, data_type: Option<DataType>) -> Result<Value, ModelError> {
    let family = config.family;
    let mut json = json!({
        "architectures": [family.spec().class],
        "model_type": family.hf_name(),
        "vocab_size": config.vocabulary,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": config.tied,
    });
    set_type(&mut json, data_type);
    let Some(fields) = json.as_object_mut() else { return Ok(json) };
    let spelling = |usual: &str| {
        match (family, usual) {
            (Family::Exaone, "num_hidden_layers") => "num_layers",
            (Family::Exaone, "rms_norm_eps") => "layer_norm_epsilon",
            (Family::Exaone | Family::Opt, "hidden_act") => "activation_function",
            (Family::Starcoder2, "rms_norm_eps") => "norm_epsilon",
            (Family::Gemma2 | Family::Gemma3, "hidden_act") => "hidden_activation",
            (Family::Qwen2, "attention_bias") | (Family::Qwen3 | Family::Qwen3Moe, "mlp_bias") => "",
            (Family::Starcoder2, "attention_bias") => "use_bias",
            _ => usual,
        }
        .to_owned()
    };
    for (name, value) in [
        ("num_hidden_layers", json!(config.layers.len())),
        ("rms_norm_eps", number(config.norm_epsilon)),
        ("hidden_act", json!(activation(config.activation))),
        ("attention_bias", json!(config.attention_bias)),
        ("mlp_bias", json!(config.feed_forward_bias)),
    ] {
        let name = spelling(name);
        if !name.is_empty() {
            fields.insert(name, value);
        }
    }
    for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        let token = metadata.u32(&format!("tokenizer.ggml.{key}_token_id"));
        fields.insert(name.to_owned(), json!(token));
    }
    rope(config, fields)?;
    windows(config, fields);
    factors(config, fields);
    if let Some(moe) = &config.moe {
        experts(config, moe, fields);
    }
    Ok(json)
}

/// What transformers calls an activation.
pub(super) fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::GeluErf => "gelu",
        Activation::Relu => "relu",
    }
}

/// A number as short as its f32 value allows: `1e-5`, not `9.999999747378752e-6`.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}

fn rope(config: &Config, fields: &mut Map<String, Value>) -> Result<(), ModelError> {
    let Some(rope) = config.ropes.first() else { return Ok(()) };
    fields.insert("rope_theta".into(), json!(rope.theta));
    if let Some(local) = config.ropes.get(1) {
        fields.insert("rope_local_base_freq".into(), json!(local.theta));
    }
    if rope.rotary != config.head_dim {
        fields.insert("partial_rotary_factor".into(), json!(rope.rotary as f64 / config.head_dim as f64));
    }
    let scaling = match &rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": number(*factor) }),
        RopeScaling::Factors(factors) => llama3(&fit_llama3(rope, factors)?),
        RopeScaling::Llama3 { .. } => llama3(&rope.scaling),
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, truncate } => json!({
            "rope_type": "yarn",
            "factor": number(*factor),
            "beta_fast": number(*beta_fast),
            "beta_slow": number(*beta_slow),
            "original_max_position_embeddings": *original as u64,
            "attention_factor": number(*attention_factor),
            "truncate": truncate,
        }),
    };
    fields.insert("rope_scaling".into(), scaling);
    Ok(())
}

fn llama3(scaling: &RopeScaling) -> Value {
    let RopeScaling::Llama3 { factor, low, high, original } = scaling else { return Value::Null };
    json!({
        "rope_type": "llama3",
        "factor": number(*factor),
        "low_freq_factor": number(*low),
        "high_freq_factor": number(*high),
        "original_max_position_embeddings": *original as u64,
    })
}

/// Finds the parameters that GGUF's list of factors was computed from. The corners of the ramp are 1 and 4 in every
/// published model; the original context follows from any factor on the ramp.
fn fit_llama3(rope: &Rope, factors: &[f32]) -> Result<RopeScaling, ModelError> {
    let failed = || ModelError::Conversion("the stored rope factors are not those of Llama 3's scaling".into());
    let factor = factors.last().copied().filter(|factor| *factor > 1.0).ok_or_else(failed)?;
    let plain = Rope { scaling: RopeScaling::None, ..rope.clone() };
    let (low, high) = (1.0, 4.0);
    let on_ramp = factors.iter().zip(plain.inverse_frequencies());
    let guesses = on_ramp.filter(|(found, _)| **found > 1.0 && **found < factor).map(|(found, frequency)| {
        let smooth = (1.0 / found - 1.0 / factor) / (1.0 - 1.0 / factor);
        2.0 * std::f32::consts::PI / frequency * (smooth * (high - low) + low)
    });
    // Without a factor on the ramp, any power of two between the neighbours does.
    for original in guesses.chain((8..20).map(|power| (1_u32 << power) as f32)) {
        let scaling = RopeScaling::Llama3 { factor, low, high, original: original.round() };
        let fitted = Rope { scaling: scaling.clone(), ..rope.clone() }.llama3_factors().unwrap_or_default();
        if fitted.iter().zip(factors).all(|(fitted, stored)| (fitted / stored - 1.0).abs() < 1e-4) {
            return Ok(scaling);
        }
    }
    Err(failed())
}

fn windows(config: &Config, fields: &mut Map<String, Value>) {
    let window = config.layers.iter().find_map(|layer| layer.window);
    fields.insert("sliding_window".into(), json!(window));
    if matches!(config.family, Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe) {
        fields.insert("use_sliding_window".into(), json!(window.is_some()));
    }
    let in_lists = !matches!(config.family, Family::Llama | Family::Mistral | Family::Starcoder2 | Family::Exaone);
    if in_lists && (window.is_some() || config.family == Family::Exaone4) {
        let kind = |windowed: bool| if windowed { "sliding_attention" } else { "full_attention" };
        let kinds: Vec<_> = config.layers.iter().map(|layer| kind(layer.window.is_some())).collect();
        fields.insert("layer_types".into(), json!(kinds));
    }
}

fn factors(config: &Config, fields: &mut Map<String, Value>) {
    match config.family {
        Family::Gemma2 | Family::Gemma3 => {
            let scalar = config.attention_scale.powi(-2).round();
            fields.insert("query_pre_attn_scalar".into(), json!(scalar as u64));
            fields.insert("attn_logit_softcapping".into(), config.attention_soft_cap.map_or(Value::Null, number));
            fields.insert("final_logit_softcapping".into(), config.logit_soft_cap.map_or(Value::Null, number));
        }
        Family::HyperClovaX | Family::Granite => {
            let logits = config.logits_multiplier;
            let logits = if config.family == Family::Granite { logits.recip() } else { logits };
            fields.insert("embedding_multiplier".into(), number(config.embedding_multiplier));
            fields.insert("residual_multiplier".into(), number(config.residual_multiplier));
            fields.insert("attention_multiplier".into(), number(config.attention_scale));
            fields.insert("logits_scaling".into(), number(logits));
            if config.family == Family::HyperClovaX {
                fields.insert("use_post_norm".into(), json!(config.norm_position.after()));
            }
        }
        Family::Opt => {
            fields.insert("ffn_dim".into(), json!(config.intermediate));
            fields.insert("word_embed_proj_dim".into(), json!(config.hidden));
            fields.insert("enable_bias".into(), json!(config.attention_bias));
        }
        _ => {}
    }
}

fn experts(config: &Config, moe: &Moe, fields: &mut Map<String, Value>) {
    fields.insert("num_experts".into(), json!(moe.experts));
    fields.insert("num_experts_per_tok".into(), json!(moe.used));
    fields.insert("moe_intermediate_size".into(), json!(moe.intermediate));
    fields.insert("norm_topk_prob".into(), json!(moe.normalize));
    let dense: Vec<usize> =
        (0..).zip(&config.layers).filter(|(_, layer)| !layer.sparse).map(|(index, _)| index).collect();
    if config.family == Family::Qwen3Moe {
        fields.insert("decoder_sparse_step".into(), json!(1));
        fields.insert("mlp_only_layers".into(), json!(dense));
        return;
    }
    let kinds: Vec<_> = config.layers.iter().map(|layer| if layer.sparse { "sparse" } else { "dense" }).collect();
    fields.insert("mlp_layer_types".into(), json!(kinds));
    fields.insert("first_k_dense_replace".into(), json!(dense.len()));
    fields.insert("num_shared_experts".into(), json!(moe.shared_intermediate.div_ceil(moe.intermediate)));
    fields.insert("routed_scaling_factor".into(), number(moe.scale));
    fields.insert("n_group".into(), json!(moe.groups));
    fields.insert("topk_group".into(), json!(moe.groups_used));
}
