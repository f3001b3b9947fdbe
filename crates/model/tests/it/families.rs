//! Configurations of published models, as their `config.json` spells them.

use saem_kernels::ops::Activation;
use saem_model::Config;
use saem_model::config::{Gating, NormPosition, RopeScaling};
use serde_json::json;

/// EXAONE 3.5 2.4B.
#[test]
fn exaone_3_5() {
    let config = Config::from_hf(&json!({
        "model_type": "exaone", "activation_function": "silu", "head_dim": 80, "hidden_size": 2560,
        "intermediate_size": 7168, "layer_norm_epsilon": 1e-5, "max_position_embeddings": 32768,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_layers": 30, "rope_theta": 1000000.0,
        "rope_scaling": {
            "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "tie_word_embeddings": true, "vocab_size": 102400
    }))
    .unwrap();
    assert_eq!((config.layers.len(), config.head_dim, config.tied), (30, 80, true));
    assert_eq!(config.norm_epsilon, 1e-5);
    let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
    assert_eq!(config.ropes[0].scaling, scaling);
}

/// EXAONE 4.0 32B: three layers with a window and rotation, one with neither. 1.2B: rotation everywhere.
#[test]
fn exaone_4() {
    let mut json = json!({
        "model_type": "exaone4", "hidden_act": "silu", "head_dim": 128, "hidden_size": 5120,
        "intermediate_size": 27392, "max_position_embeddings": 131072, "num_attention_heads": 40,
        "num_hidden_layers": 64, "num_key_value_heads": 8, "reorder_and_qk_norm": true, "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 1000000, "sliding_window": 4096, "sliding_window_pattern": "LLLG",
        "tie_word_embeddings": false, "vocab_size": 102400
    });
    let config = Config::from_hf(&json).unwrap();
    assert_eq!(config.norm_position, NormPosition::Post);
    assert!(config.qk_norm);
    for (index, layer) in config.layers.iter().enumerate() {
        let global = index % 4 == 3;
        assert_eq!((layer.window, layer.rope), if global { (None, None) } else { (Some(4096), Some(0)) });
    }
    json["sliding_window"] = json!(null);
    json["sliding_window_pattern"] = json!(null);
    let config = Config::from_hf(&json).unwrap();
    assert!(config.layers.iter().all(|layer| layer.window.is_none() && layer.rope == Some(0)));
}

/// K-EXAONE 236B-A23B.
#[test]
fn k_exaone() {
    let config = Config::from_hf(&json!({
        "model_type": "exaone_moe", "first_k_dense_replace": 1, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 6144, "intermediate_size": 18432, "max_position_embeddings": 262144,
        "moe_intermediate_size": 2048, "n_group": 1, "norm_topk_prob": true, "num_attention_heads": 64,
        "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 8,
        "num_shared_experts": 1, "rms_norm_eps": 1e-5, "rope_theta": 1000000, "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid", "sliding_window": 128, "sliding_window_pattern": "LLLG", "topk_group": 1,
        "topk_method": "noaux_tc", "vocab_size": 153600
    }))
    .unwrap();
    assert_eq!(config.norm_position, NormPosition::Pre);
    let moe = config.moe.unwrap();
    assert_eq!((moe.experts, moe.used, moe.shared_intermediate, moe.scale), (128, 8, 2048, 2.5));
    assert_eq!(moe.gating, Gating::Sigmoid);
    assert!(moe.correction_bias && !config.layers[0].sparse && config.layers[1].sparse);
}

/// HyperCLOVA X SEED Think 14B: logits are multiplied.
#[test]
fn hyperclova_x_think() {
    let config = Config::from_hf(&json!({
        "model_type": "hyperclovax", "attention_bias": false, "attention_multiplier": 0.0078125,
        "embedding_multiplier": 10.0, "head_dim": 128, "hidden_act": "silu", "hidden_size": 6144,
        "intermediate_size": 14336, "logits_scaling": 0.125, "max_position_embeddings": 131072, "mlp_bias": false,
        "num_attention_heads": 48, "num_hidden_layers": 38, "num_key_value_heads": 8, "residual_multiplier": 1.0,
        "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 100000000, "tie_word_embeddings": false,
        "use_post_norm": true, "vocab_size": 110592
    }))
    .unwrap();
    assert_eq!(config.norm_position, NormPosition::Both);
    assert_eq!((config.logits_multiplier, config.embedding_multiplier), (0.125, 10.0));
    assert_eq!(config.attention_scale, 1.0 / 128.0);
    assert_eq!(config.ropes[0].theta, 1e8);
}

/// Granite stores the inverse.
#[test]
fn granite() {
    let config = Config::from_hf(&json!({
        "model_type": "granite", "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 2, "max_position_embeddings": 64, "vocab_size": 64, "logits_scaling": 8.0
    }))
    .unwrap();
    assert_eq!(config.logits_multiplier, 0.125);
}

/// Kanana 1.5 2.1B with the scaling its card gives for 128K.
#[test]
fn kanana_with_yarn() {
    let config = Config::from_hf(&json!({
        "model_type": "llama", "head_dim": 128, "hidden_size": 1792, "intermediate_size": 8064,
        "max_position_embeddings": 32768, "num_attention_heads": 24, "num_hidden_layers": 32,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 8000000.0, "vocab_size": 128259,
        "rope_scaling": {
            "factor": 4.4, "original_max_position_embeddings": 32768, "type": "yarn", "beta_fast": 64, "beta_slow": 2
        }
    }))
    .unwrap();
    let RopeScaling::Yarn { factor, beta_fast, attention_factor, truncate, .. } = config.ropes[0].scaling else {
        panic!("{:?}", config.ropes)
    };
    assert_eq!((factor, beta_fast, truncate), (4.4, 64.0, true));
    assert!((attention_factor - (1.0 + 0.1 * 4.4_f32.ln())).abs() < 1e-6);
    // Heads need not add up to the width.
    assert_eq!(config.query_width(), 3072);
}

/// Gemma 3 4B: the decoder is one level down and leaves out what is usual.
#[test]
fn gemma_3_multimodal() {
    let config = Config::from_hf(&json!({
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024
        },
        "vision_config": { "hidden_size": 1152 }
    }))
    .unwrap();
    assert_eq!((config.heads, config.kv_heads, config.head_dim, config.tied), (8, 4, 256, true));
    assert_eq!(config.activation, Activation::GeluTanh);
    assert_eq!(config.embedding_multiplier, 2560_f32.sqrt());
    let [global, local] = &config.ropes[..] else { panic!("{:?}", config.ropes) };
    assert_eq!((global.theta, &global.scaling), (1e6, &RopeScaling::Linear { factor: 8.0 }));
    assert_eq!((local.theta, &local.scaling), (1e4, &RopeScaling::None));
    assert_eq!((config.layers[4].window, config.layers[4].rope), (Some(1024), Some(1)));
    assert_eq!((config.layers[5].window, config.layers[5].rope), (None, Some(0)));
}

/// SmolLM2: a Llama whose head size and key heads are left to arithmetic.
#[test]
fn smollm2() {
    let config = Config::from_hf(&json!({
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "max_position_embeddings": 8192,
        "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
        "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true, "vocab_size": 49152
    }))
    .unwrap();
    assert_eq!((config.head_dim, config.kv_width()), (64, 192));
}
