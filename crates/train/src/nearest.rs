//! The name that somebody meant.

/// Names further away than this, as Jaro and Winkler measure it, are no guess.
const NEAR: f64 = 0.7;

/// The nearest of the names that a reader of TOML or JSON expected, from its message: `unknown field`, `unknown variant`.
#[must_use]
pub fn nearest_name(message: &str) -> Option<String> {
    let after = ["unknown field ", "unknown variant "].iter().find_map(|start| message.split_once(start))?.1;
    let mut quoted = after.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    let distance = |name: &&str| strsim::jaro_winkler(found, name);
    let best = quoted.map(|name| (distance(&name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= NEAR).then(|| best.1.to_owned())
}

/// Names in `config.json` that decide what a new model is.
const SHAPE: [&str; 36] = [
    "architectures",
    "attention_bias",
    "attention_multiplier",
    "attn_logit_softcapping",
    "embedding_multiplier",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "layer_types",
    "logits_scaling",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "model_type",
    "norm_epsilon",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_layers",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "vocab_size",
];
/// Letters that a slip of the fingers changes.
const SLIP: usize = 2;

/// Finds names of a new model's shape that are nearly one that counts. Checkpoints carry many names that do not count, so a
/// name that is like none of them is let be.
///
/// # Errors
/// The message of a reader, so that [`nearest_name`] finds what was meant.
pub(crate) fn check_shape<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    for name in names {
        let slips = |known: &&&str| strsim::osa_distance(name, known) <= SLIP;
        if let (false, Some(known)) = (SHAPE.contains(&name.as_str()), SHAPE.iter().find(slips)) {
            return Err(format!("[model.config] unknown field `{name}`, expected `{known}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let message = |found: &str| {
            format!(
                "unknown field `{found}`, expected one of `steps`, `sequence`, `batch`, `micro_batch`, `learning_rate`"
            )
        };
        for (found, meant) in [
            ("step", "steps"),
            ("sequnce", "sequence"),
            ("microbatch", "micro_batch"),
            ("learning-rate", "learning_rate"),
        ] {
            assert_eq!(nearest_name(&message(found)).as_deref(), Some(meant));
        }
        assert_eq!(nearest_name(&message("xyz")), None);
        let variant = "TOML parse error\n1 | x\nunknown variant `cosin`, expected one of `constant`, `cosine`, `wsd`\n";
        assert_eq!(nearest_name(variant).as_deref(), Some("cosine"));
        assert_eq!(nearest_name("unknown field `modl`, expected `model`").as_deref(), Some("model"));
        assert_eq!(nearest_name("missing field `steps`"), None);
    }

    #[test]
    fn slips_in_a_shape_are_found_and_other_names_let_be() {
        let check = |name: &str| check_shape(&[name.to_owned()]);
        for (slip, meant) in [("hiden_size", "hidden_size"), ("num_attention_head", "num_attention_heads")] {
            assert_eq!(nearest_name(&check(slip).unwrap_err()).as_deref(), Some(meant));
        }
        for name in SHAPE.into_iter().chain(["use_cache", "pretraining_tp", "torch_dtype", "qkv_bias", "use_bias"]) {
            check(name).unwrap();
        }
    }
}
