//! Bounds on every number of a configuration.
//!
//! Metadata are untrusted: after this check, products of sizes cannot overflow and a workspace for one row takes
//! megabytes at most. That weights of such sizes exist is checked against the file when they are loaded.

use super::{Config, Rope, RopeScaling};
use crate::ModelError;
use crate::error::invalid;

impl Config {
    /// Refuses sizes that are zero, absurd or do not divide.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        bounded("hidden_size", self.hidden, 1 << 17)?;
        bounded("num_hidden_layers", self.layers.len(), 1 << 10)?;
        bounded("num_attention_heads", self.heads, 1 << 12)?;
        bounded("num_key_value_heads", self.kv_heads, 1 << 12)?;
        bounded("head_dim", self.head_dim, 1 << 12)?;
        bounded("heads * head_dim", self.query_width(), 1 << 18)?;
        bounded("intermediate_size", self.intermediate, 1 << 20)?;
        bounded("vocab_size", self.vocabulary, 1 << 22)?;
        bounded("max_position_embeddings", self.context, 1 << 28)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let reason = format!("{} query heads are not a multiple", self.heads);
            return Err(invalid("num_key_value_heads", self.kv_heads, reason));
        }
        within("the epsilon of norms", self.norm_epsilon, 0.0, 0.1)?;
        for (name, factor) in [
            ("attention_multiplier", self.attention_scale),
            ("embedding_multiplier", self.embedding_multiplier),
            ("residual_multiplier", self.residual_multiplier),
            ("logits_scaling", self.logits_multiplier),
        ] {
            within(name, factor, 1e-9, 1e6)?;
        }
        for (name, cap) in
            [("attn_logit_softcapping", self.attention_soft_cap), ("final_logit_softcapping", self.logit_soft_cap)]
        {
            if let Some(cap) = cap {
                within(name, cap, 1e-3, 1e6)?;
            }
        }
        for rope in &self.ropes {
            rope.check(self.head_dim)?;
        }
        for layer in &self.layers {
            if let Some(window) = layer.window {
                bounded("sliding_window", window, 1 << 28)?;
            }
            if layer.rope.is_some_and(|rope| rope >= self.ropes.len()) || layer.sparse && self.moe.is_none() {
                return Err(invalid("layer_types", format!("{layer:?}"), "a part of this layer is not described"));
            }
        }
        self.check_moe()
    }

    fn check_moe(&self) -> Result<(), ModelError> {
        let Some(moe) = &self.moe else { return Ok(()) };
        bounded("num_experts", moe.experts, 1 << 12)?;
        bounded("num_experts_per_tok", moe.used, moe.experts)?;
        bounded("moe_intermediate_size", moe.intermediate, 1 << 20)?;
        bounded("n_group", moe.groups, moe.experts)?;
        bounded("topk_group", moe.groups_used, moe.groups)?;
        if moe.shared_intermediate > 1 << 20 {
            return Err(invalid("shared_expert_intermediate_size", moe.shared_intermediate, "it is too large"));
        }
        if !moe.experts.is_multiple_of(moe.groups) {
            return Err(invalid("n_group", moe.groups, format!("{} experts are not a multiple", moe.experts)));
        }
        if moe.used > moe.groups_used * (moe.experts / moe.groups) {
            let reason = format!("{} experts are to be chosen from too few groups", moe.used);
            return Err(invalid("topk_group", moe.groups_used, reason));
        }
        within("routed_scaling_factor", moe.scale, 1e-6, 1e6)
    }
}

impl Rope {
    fn check(&self, head_dim: usize) -> Result<(), ModelError> {
        if !(self.theta > 1.0 && self.theta <= 1e15) {
            return Err(invalid("rope_theta", self.theta, "a number above 1 and up to 1e15 is needed"));
        }
        if self.rotary == 0 || !self.rotary.is_multiple_of(2) || self.rotary > head_dim {
            return Err(invalid("rope dimensions", self.rotary, format!("an even number up to {head_dim} is needed")));
        }
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => within("rope factor", *factor, 1e-3, 1e6),
            RopeScaling::Llama3 { factor, low, high, original } => {
                within("rope factor", *factor, 1e-3, 1e6)?;
                within("rope low_freq_factor", *low, 1e-3, 1e6)?;
                within("rope high_freq_factor", *high, 1e-3, 1e6)?;
                within("rope original_max_position_embeddings", *original, 1.0, 1e9)?;
                if high > low {
                    Ok(())
                } else {
                    Err(invalid("rope high_freq_factor", high, format!("it must be above low_freq_factor {low}")))
                }
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, .. } => {
                within("rope factor", *factor, 1e-3, 1e6)?;
                within("rope beta_fast", *beta_fast, 1e-6, 1e6)?;
                within("rope beta_slow", *beta_slow, 1e-6, 1e6)?;
                within("rope attention_factor", *attention_factor, 1e-3, 1e3)?;
                within("rope original_max_position_embeddings", *original, 1.0, 1e9)
            }
            RopeScaling::Factors(factors) => {
                if factors.len() != self.rotary / 2 {
                    let reason = format!("{} are needed", self.rotary / 2);
                    return Err(invalid("rope_freqs.weight", format!("{} factors", factors.len()), reason));
                }
                factors.iter().try_for_each(|factor| within("rope_freqs.weight", *factor, 1e-6, 1e6))
            }
        }
    }
}

fn bounded(field: &str, value: usize, limit: usize) -> Result<(), ModelError> {
    if (1..=limit).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, value, format!("a number from 1 to {limit} is needed")))
}

fn within(field: &str, value: f32, low: f32, high: f32) -> Result<(), ModelError> {
    // NaN is in no range.
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, value, format!("a number from {low} to {high} is needed")))
}
