//! One way to read a field of either kind of metadata.
//!
//! Fields go by their Hugging Face names; a table gives the GGUF key. A family's function therefore serves both
//! formats, and says so where they differ.

use saem_formats::gguf;
use serde_json::Value;

use crate::ModelError;
use crate::error::invalid;

/// Hugging Face name of a field and the end of its GGUF key, which starts with the architecture's name.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("attention_multiplier", "attention.scale"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("embedding_multiplier", "embedding_scale"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("first_k_dense_replace", "leading_dense_block_count"),
    ("head_dim", "attention.key_length"),
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("logits_scaling", "logit_scale"),
    ("max_position_embeddings", "context_length"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("n_group", "expert_group_count"),
    ("norm_epsilon", "attention.layer_norm_epsilon"),
    ("norm_topk_prob", "expert_weights_norm"),
    ("num_attention_heads", "attention.head_count"),
    ("num_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("num_hidden_layers", "block_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("num_nextn_predict_layers", "nextn_predict_layers"),
    ("num_shared_experts", "expert_shared_count"),
    ("residual_multiplier", "residual_scale"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_local_base_freq", "rope.freq_base_swa"),
    ("rope_theta", "rope.freq_base"),
    ("routed_scaling_factor", "expert_weights_scale"),
    ("shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
    ("sliding_window", "attention.sliding_window"),
    ("sliding_window_pattern", "attention.sliding_window_pattern"),
    ("topk_group", "expert_group_used_count"),
    ("vocab_size", "vocab_size"),
];

/// Other spellings of a field in older or remote-code configurations.
const ALIASES: &[(&str, &str)] = &[
    ("hidden_act", "hidden_activation"),
    ("hidden_act", "activation_function"),
    ("intermediate_size", "ffn_dim"),
    ("num_experts", "num_local_experts"),
    ("num_experts", "n_routed_experts"),
    ("num_hidden_layers", "num_layers"),
    ("num_shared_experts", "n_shared_experts"),
    ("rms_norm_eps", "layer_norm_epsilon"),
    ("sliding_window_pattern", "_sliding_window_pattern"),
];

/// The metadata of a checkpoint, with the values that the family assumes where a `config.json` is silent.
#[derive(Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// Keys `{architecture}.*` of a GGUF file.
    Gguf { metadata: &'a gguf::Metadata, architecture: &'a str, defaults: &'static [(&'static str, f64)] },
    /// A `config.json`, or the part of it that describes the decoder.
    HuggingFace { value: &'a Value, defaults: &'static [(&'static str, f64)] },
}

/// A field as found: either kind, or a number of the family's defaults.
enum Found<'a> {
    Gguf(gguf::Value<'a>),
    Json(&'a Value),
    Default(f64),
}

impl Found<'_> {
    fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Gguf(value) => value.as_u64(),
            // Some writers put 4096.0 for 4096.
            Self::Json(value) => value.as_u64().or_else(|| value.as_f64().and_then(whole)),
            Self::Default(value) => whole(*value),
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            // Some writers put 8 for 8.0.
            Self::Gguf(value) => value.as_f64().or_else(|| value.as_i64().map(|number| number as f64)),
            Self::Json(value) => value.as_f64(),
            Self::Default(value) => Some(*value),
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Gguf(value) => value.as_bool(),
            Self::Json(value) => value.as_bool(),
            Self::Default(value) => Some(*value != 0.0),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Gguf(value) => value.to_string(),
            Self::Json(value) => value.to_string(),
            Self::Default(value) => value.to_string(),
        }
    }
}

fn whole(value: f64) -> Option<u64> {
    ((0.0..=9e15).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

impl<'a> Fields<'a> {
    /// Whether these are the metadata of a GGUF file.
    pub(crate) fn is_gguf(&self) -> bool {
        matches!(self, Self::Gguf { .. })
    }

    /// The `config.json`, where this is one.
    pub(crate) fn json(&self) -> Option<&'a Value> {
        match self {
            Self::Gguf { .. } => None,
            Self::HuggingFace { value, .. } => Some(value),
        }
    }

    /// The GGUF value under `{architecture}.{suffix}`, where this is a GGUF file.
    pub(crate) fn gguf(&self, suffix: &str) -> Option<gguf::Value<'a>> {
        match self {
            Self::Gguf { metadata, architecture, .. } => metadata.get(&format!("{architecture}.{suffix}")),
            Self::HuggingFace { .. } => None,
        }
    }

    /// How this format spells a field, for messages.
    pub(crate) fn spelling(&self, name: &str) -> String {
        match self {
            Self::Gguf { architecture, .. } => {
                let suffix = KEYS.iter().find(|(field, _)| *field == name).map_or(name, |(_, suffix)| suffix);
                format!("{architecture}.{suffix}")
            }
            Self::HuggingFace { .. } => name.to_owned(),
        }
    }

    fn find(&self, name: &str) -> Option<Found<'a>> {
        let (found, defaults) = match self {
            Self::Gguf { defaults, .. } => {
                let suffix = KEYS.iter().find(|(field, _)| *field == name).map_or(name, |(_, suffix)| suffix);
                (self.gguf(suffix).map(Found::Gguf), *defaults)
            }
            Self::HuggingFace { value, defaults } => {
                let aliases = ALIASES.iter().filter(|(field, _)| *field == name).map(|(_, alias)| *alias);
                let found = std::iter::once(name)
                    .chain(aliases)
                    .find_map(|name| value.get(name).filter(|value| !value.is_null()))
                    .map(Found::Json);
                (found, *defaults)
            }
        };
        found.or_else(|| defaults.iter().find(|(field, _)| *field == name).map(|(_, value)| Found::Default(*value)))
    }

    /// A count, where the field is there.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let Some(found) = self.find(name) else { return Ok(None) };
        // Some GGUF files store one number for each layer even where all are equal.
        if let Found::Gguf(gguf::Value::Array(numbers)) = found
            && let Some(numbers) = numbers.u64s()
        {
            let Some((first, rest)) = numbers.split_first() else { return Ok(None) };
            if rest.iter().any(|number| number != first) {
                return Err(ModelError::Unsupported { what: "a number for each layer of", value: self.spelling(name) });
            }
            return Ok(usize::try_from(*first).ok());
        }
        let number = found.as_u64().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| invalid(self.spelling(name), found.shown(), "a whole number is needed"))
    }

    /// A count that must be there.
    pub(crate) fn needed(&self, name: &str) -> Result<usize, ModelError> {
        self.count(name)?.ok_or_else(|| ModelError::MissingField { field: self.spelling(name) })
    }

    /// A real number, where the field is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, ModelError> {
        let Some(found) = self.find(name) else { return Ok(None) };
        match found.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(invalid(self.spelling(name), found.shown(), "a finite number is needed")),
        }
    }

    /// As [`Fields::number`], in the precision that the forward pass uses.
    pub(crate) fn float(&self, name: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.number(name)?.map(|number| number as f32))
    }

    /// A switch; absent is `otherwise`.
    pub(crate) fn flag(&self, name: &str, otherwise: bool) -> Result<bool, ModelError> {
        let Some(found) = self.find(name) else { return Ok(otherwise) };
        found.as_bool().ok_or_else(|| invalid(self.spelling(name), found.shown(), "true or false is needed"))
    }

    /// A word of a `config.json`.
    pub(crate) fn word(&self, name: &str) -> Option<&'a str> {
        match self.find(name)? {
            Found::Json(value) => value.as_str(),
            Found::Gguf(value) => value.as_str(),
            Found::Default(_) => None,
        }
    }

    /// A whole field of a `config.json`, absent where it is null.
    pub(crate) fn json_field(&self, name: &str) -> Option<&'a Value> {
        match self.find(name)? {
            Found::Json(value) => Some(value),
            _ => None,
        }
    }
}
