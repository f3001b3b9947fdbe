//! A configuration as the metadata of a GGUF file, under the keys that llama.cpp reads.

use saem_formats::WriteError;
use saem_formats::gguf::{Value, Writer};
use saem_kernels::DataType;

use super::config_json::activation;
use crate::config::{Config, Gating, Moe, Norm, RopeScaling, yarn_magnitude};
use crate::families::Family;

/// `general.file_type`: llama.cpp's number for a file whose matrices are mostly of this type.
pub(super) fn file_type(data_type: DataType) -> Option<u32> {
    Some(match data_type {
        DataType::F32 => 0,
        DataType::F16 => 1,
        DataType::Q4_0 => 2,
        DataType::Q4_1 => 3,
        DataType::Q8_0 => 7,
        DataType::Q5_0 => 8,
        DataType::Q5_1 => 9,
        DataType::Q2K => 10,
        DataType::Q3K => 11,
        DataType::Q4K => 14,
        DataType::Q5K => 16,
        DataType::Q6K => 18,
        DataType::Iq4Nl => 25,
        DataType::Iq4Xs => 30,
        DataType::Bf16 => 32,
    })
}

/// Writes everything but the tokenizer.
pub(super) fn write(config: &Config, name: &str, writer: &mut Writer) -> Result<(), WriteError> {
    let architecture = config.family.gguf_name();
    writer.add_metadata("general.architecture", Value::from(architecture))?;
    writer.add_metadata("general.type", Value::from("model"))?;
    writer.add_metadata("general.name", Value::from(name))?;
    writer.add_metadata("general.quantization_version", Value::U32(2))?;
    let mut keys = Keys { writer, architecture };
    keys.count("vocab_size", config.vocabulary)?;
    keys.count("context_length", config.context)?;
    keys.count("embedding_length", config.hidden)?;
    keys.count("block_count", config.layers.len())?;
    keys.count("feed_forward_length", config.intermediate)?;
    keys.count("attention.head_count", config.heads)?;
    keys.count("attention.head_count_kv", config.kv_heads)?;
    keys.count("attention.key_length", config.head_dim)?;
    keys.count("attention.value_length", config.head_dim)?;
    let epsilon = match config.norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer => "attention.layer_norm_epsilon",
    };
    keys.float(epsilon, config.norm_epsilon)?;
    keys.rope(config)?;
    keys.windows(config)?;
    keys.factors(config)?;
    if config.family == Family::Opt {
        keys.put("hidden_act", Value::from(activation(config.activation)))?;
    }
    config.moe.as_ref().map_or(Ok(()), |moe| keys.experts(config, moe))
}

struct Keys<'a> {
    writer: &'a mut Writer,
    architecture: &'static str,
}

impl Keys<'_> {
    fn put(&mut self, key: &str, value: Value<'_>) -> Result<(), WriteError> {
        self.writer.add_metadata(&format!("{}.{key}", self.architecture), value)
    }

    fn count(&mut self, key: &str, number: usize) -> Result<(), WriteError> {
        // Every number of a configuration is far below this limit.
        self.put(key, Value::U32(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn float(&mut self, key: &str, number: f32) -> Result<(), WriteError> {
        self.put(key, Value::F32(number))
    }

    /// The first rotation; the second differs only in its base. Llama 3's scaling is a tensor.
    fn rope(&mut self, config: &Config) -> Result<(), WriteError> {
        let Some(rope) = config.ropes.first() else { return Ok(()) };
        self.count("rope.dimension_count", rope.rotary)?;
        self.float("rope.freq_base", rope.theta as f32)?;
        if let Some(local) = config.ropes.get(1) {
            self.float("rope.freq_base_swa", local.theta as f32)?;
        }
        match &rope.scaling {
            RopeScaling::None | RopeScaling::Llama3 { .. } | RopeScaling::Factors(_) => Ok(()),
            RopeScaling::Linear { factor } => {
                self.put("rope.scaling.type", Value::from("linear"))?;
                self.float("rope.scaling.factor", *factor)
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, truncate } => {
                self.put("rope.scaling.type", Value::from("yarn"))?;
                self.float("rope.scaling.factor", *factor)?;
                self.count("rope.scaling.original_context_length", *original as usize)?;
                self.float("rope.scaling.yarn_beta_fast", *beta_fast)?;
                self.float("rope.scaling.yarn_beta_slow", *beta_slow)?;
                self.float("rope.scaling.attn_factor", attention_factor / yarn_magnitude(*factor, 1.0))?;
                // llama.cpp always rounds the ramp's ends and does not know this key.
                if *truncate { Ok(()) } else { self.put("rope.scaling.yarn_truncate", Value::Bool(false)) }
            }
        }
    }

    fn windows(&mut self, config: &Config) -> Result<(), WriteError> {
        let Some(window) = config.layers.iter().find_map(|layer| layer.window) else { return Ok(()) };
        self.count("attention.sliding_window", window)?;
        let sliding: Vec<bool> = config.layers.iter().map(|layer| layer.window.is_some()).collect();
        let is_period = |period: usize| (1..).zip(&sliding).all(|(number, found)| (number % period != 0) == *found);
        // Readers know the usual periods; Gemma's want another one as a number, EXAONE's always a list.
        match config.family {
            Family::Gemma2 if is_period(2) => Ok(()),
            Family::Gemma3 if is_period(6) => Ok(()),
            Family::Llama | Family::Mistral | Family::Starcoder2 => Ok(()),
            Family::Gemma2 | Family::Gemma3 => match (2..=config.layers.len()).find(|period| is_period(*period)) {
                Some(period) => self.count("attention.sliding_window_pattern", period),
                None => self.pattern(&sliding),
            },
            _ => self.pattern(&sliding),
        }
    }

    fn pattern(&mut self, sliding: &[bool]) -> Result<(), WriteError> {
        self.writer.add_array(&format!("{}.attention.sliding_window_pattern", self.architecture), sliding)
    }

    /// Multipliers and caps.
    fn factors(&mut self, config: &Config) -> Result<(), WriteError> {
        if let Some(cap) = config.attention_soft_cap {
            self.float("attn_logit_softcapping", cap)?;
        }
        if let Some(cap) = config.logit_soft_cap {
            self.float("final_logit_softcapping", cap)?;
        }
        let usual_scale = (config.head_dim as f32).sqrt().recip();
        match config.family {
            // The only readers that know the key here are Saem's.
            Family::Gemma2 | Family::Gemma3 if config.attention_scale != usual_scale => {
                self.float("attention.scale", config.attention_scale)
            }
            Family::HyperClovaX | Family::Granite => {
                self.float("attention.scale", config.attention_scale)?;
                self.float("embedding_scale", config.embedding_multiplier)?;
                self.float("residual_scale", config.residual_multiplier)?;
                if config.family == Family::Granite {
                    return self.float("logit_scale", config.logits_multiplier.recip());
                }
                self.put("use_post_norm", Value::Bool(config.norm_position.after()))?;
                self.float("logit_scale", config.logits_multiplier)
            }
            _ => Ok(()),
        }
    }

    fn experts(&mut self, config: &Config, moe: &Moe) -> Result<(), WriteError> {
        self.count("expert_count", moe.experts)?;
        self.count("expert_used_count", moe.used)?;
        self.count("expert_feed_forward_length", moe.intermediate)?;
        self.put("expert_weights_norm", Value::Bool(moe.normalize))?;
        self.float("expert_weights_scale", moe.scale)?;
        self.count("expert_gating_func", if moe.gating == Gating::Softmax { 1 } else { 2 })?;
        if moe.shared_intermediate > 0 {
            self.count("expert_shared_count", moe.shared_intermediate.div_ceil(moe.intermediate))?;
            self.count("expert_shared_feed_forward_length", moe.shared_intermediate)?;
        }
        if moe.groups > 1 {
            self.count("expert_group_count", moe.groups)?;
            self.count("expert_group_used_count", moe.groups_used)?;
        }
        let dense = config.layers.iter().take_while(|layer| !layer.sparse).count();
        if dense > 0 { self.count("leading_dense_block_count", dense) } else { Ok(()) }
    }
}
