//! Names of tensors in either format.

use super::Family;

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Role {
    TokenEmbedding,
    /// One row for each position, where they are learnt.
    PositionEmbedding,
    Output,
    OutputNorm,
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    AttentionPostNorm,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    FeedForwardPostNorm,
    Router,
    /// Bias of the choice of experts.
    RouterCorrection,
    /// Experts: in GGUF files one tensor for all, in checkpoints one for each.
    ExpertGate,
    ExpertUp,
    ExpertDown,
    SharedGate,
    SharedUp,
    SharedDown,
}

impl Role {
    /// Every role, in the order in which tensors are loaded and written: outside the layers, then within a layer.
    pub(crate) const OUTSIDE: [Self; 4] =
        [Self::TokenEmbedding, Self::PositionEmbedding, Self::OutputNorm, Self::Output];
    /// See [`Role::OUTSIDE`].
    pub(crate) const LAYER: [Self; 21] = [
        Self::AttentionNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::AttentionOutput,
        Self::AttentionPostNorm,
        Self::FeedForwardNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::FeedForwardPostNorm,
        Self::Router,
        Self::RouterCorrection,
        Self::ExpertGate,
        Self::ExpertUp,
        Self::ExpertDown,
        Self::SharedGate,
        Self::SharedUp,
        Self::SharedDown,
    ];

    /// Whether the tensor is a norm's weight.
    #[must_use]
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            Self::OutputNorm
                | Self::AttentionNorm
                | Self::QueryNorm
                | Self::KeyNorm
                | Self::AttentionPostNorm
                | Self::FeedForwardNorm
                | Self::FeedForwardPostNorm
        )
    }

    /// Whether its matrix makes what stands before the activation of a feed-forward layer.
    #[must_use]
    pub fn is_inside(self) -> bool {
        use Role::{ExpertGate, ExpertUp, Gate, Router, SharedGate, SharedUp, Up};
        matches!(self, Gate | Up | Router | ExpertGate | ExpertUp | SharedGate | SharedUp)
    }

    /// Whether there is one for each expert of a layer; in GGUF files one tensor holds them all.
    #[must_use]
    pub fn is_expert(self) -> bool {
        matches!(self, Self::ExpertGate | Self::ExpertUp | Self::ExpertDown)
    }
}

/// Pattern of the GGUF name, without `.weight` or `.bias`; `{}` is the layer.
pub(crate) fn gguf_pattern(role: Role) -> &'static str {
    match role {
        Role::TokenEmbedding => "token_embd",
        Role::PositionEmbedding => "position_embd",
        Role::Output => "output",
        Role::OutputNorm => "output_norm",
        Role::AttentionNorm => "blk.{}.attn_norm",
        Role::Query => "blk.{}.attn_q",
        Role::Key => "blk.{}.attn_k",
        Role::Value => "blk.{}.attn_v",
        Role::QueryNorm => "blk.{}.attn_q_norm",
        Role::KeyNorm => "blk.{}.attn_k_norm",
        Role::AttentionOutput => "blk.{}.attn_output",
        Role::AttentionPostNorm => "blk.{}.post_attention_norm",
        Role::FeedForwardNorm => "blk.{}.ffn_norm",
        Role::Gate => "blk.{}.ffn_gate",
        Role::Up => "blk.{}.ffn_up",
        Role::Down => "blk.{}.ffn_down",
        Role::FeedForwardPostNorm => "blk.{}.post_ffw_norm",
        Role::Router => "blk.{}.ffn_gate_inp",
        Role::RouterCorrection => "blk.{}.exp_probs_b",
        Role::ExpertGate => "blk.{}.ffn_gate_exps",
        Role::ExpertUp => "blk.{}.ffn_up_exps",
        Role::ExpertDown => "blk.{}.ffn_down_exps",
        Role::SharedGate => "blk.{}.ffn_gate_shexp",
        Role::SharedUp => "blk.{}.ffn_up_shexp",
        Role::SharedDown => "blk.{}.ffn_down_shexp",
    }
}

/// Pattern of the Hugging Face name, without `.weight` or `.bias`; the first `{}` is the layer, a second the expert.
pub(crate) fn hf_pattern(family: Family, role: Role) -> &'static str {
    if let Some((_, pattern)) = family.spec().names.iter().find(|(named, _)| *named == role) {
        return pattern;
    }
    match role {
        Role::TokenEmbedding => "model.embed_tokens",
        Role::PositionEmbedding => "model.embed_positions",
        Role::Output => "lm_head",
        Role::OutputNorm => "model.norm",
        Role::AttentionNorm => "model.layers.{}.input_layernorm",
        Role::Query => "model.layers.{}.self_attn.q_proj",
        Role::Key => "model.layers.{}.self_attn.k_proj",
        Role::Value => "model.layers.{}.self_attn.v_proj",
        Role::QueryNorm => "model.layers.{}.self_attn.q_norm",
        Role::KeyNorm => "model.layers.{}.self_attn.k_norm",
        Role::AttentionOutput => "model.layers.{}.self_attn.o_proj",
        // Llama has no norms after its sub-layers; families that do name them.
        Role::AttentionPostNorm => "model.layers.{}.self_attn.post_norm",
        Role::FeedForwardPostNorm => "model.layers.{}.mlp.post_norm",
        Role::FeedForwardNorm => "model.layers.{}.post_attention_layernorm",
        Role::Gate => "model.layers.{}.mlp.gate_proj",
        Role::Up => "model.layers.{}.mlp.up_proj",
        Role::Down => "model.layers.{}.mlp.down_proj",
        Role::Router => "model.layers.{}.mlp.gate",
        Role::RouterCorrection => "model.layers.{}.mlp.e_score_correction_bias",
        Role::ExpertGate => "model.layers.{}.mlp.experts.{}.gate_proj",
        Role::ExpertUp => "model.layers.{}.mlp.experts.{}.up_proj",
        Role::ExpertDown => "model.layers.{}.mlp.experts.{}.down_proj",
        Role::SharedGate => "model.layers.{}.mlp.shared_experts.gate_proj",
        Role::SharedUp => "model.layers.{}.mlp.shared_experts.up_proj",
        Role::SharedDown => "model.layers.{}.mlp.shared_experts.down_proj",
    }
}

/// Fills the places of a pattern, in order.
pub(crate) fn fill(pattern: &str, numbers: &[usize]) -> String {
    let mut name = String::with_capacity(pattern.len() + 12);
    let mut numbers = numbers.iter();
    let mut parts = pattern.split("{}");
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if let Some(number) = numbers.next() {
            name.push_str(&number.to_string());
        }
        name.push_str(part);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_order() {
        assert_eq!(fill("a.{}.b.{}.c", &[3, 12]), "a.3.b.12.c");
        assert_eq!(fill("a", &[3]), "a");
    }

    #[test]
    fn no_two_roles_share_a_name() {
        let roles = || Role::OUTSIDE.into_iter().chain(Role::LAYER);
        for family in Family::ALL {
            let mut names: Vec<_> = roles().map(|role| hf_pattern(family, role)).collect();
            // EXAONE 4.0 has no norm before the feed-forward layer, so Llama's name for it is free for another.
            if matches!(family, Family::Exaone4) {
                names.retain(|name| *name != "model.layers.{}.post_attention_layernorm");
            }
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{family:?}");
        }
        let mut names: Vec<_> = roles().map(gguf_pattern).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
