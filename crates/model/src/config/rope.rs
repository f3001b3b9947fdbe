//! Reading the rotation of positions from metadata.

use saem_formats::gguf;
use serde_json::Value;

use super::{Fields, Rope, RopeScaling};
use crate::ModelError;
use crate::error::invalid;

/// The rotation of a model, or of its layers of one kind (`full_attention`, `sliding_attention`) where it has two.
///
/// `theta` is the base where the file has none.
pub(crate) fn read_rope(fields: &Fields<'_>, kind: &str, theta: f64, head_dim: usize) -> Result<Rope, ModelError> {
    match fields.json() {
        Some(config) => from_json(fields, config, kind, theta, head_dim),
        None => from_gguf(fields, theta, head_dim),
    }
}

fn from_gguf(fields: &Fields<'_>, theta: f64, head_dim: usize) -> Result<Rope, ModelError> {
    let theta = fields.number("rope_theta")?.unwrap_or(theta);
    let rotary = fields.count("rope.dimension_count")?.unwrap_or(head_dim);
    let number =
        |suffix: &str, otherwise: f32| -> Result<f32, ModelError> { Ok(fields.float(suffix)?.unwrap_or(otherwise)) };
    let kind = fields.gguf("rope.scaling.type").and_then(gguf::Value::as_str);
    let factor = match fields.float("rope.scaling.factor")? {
        Some(factor) => factor,
        None => number("rope.scale_linear", 1.0)?,
    };
    let scaling = match kind {
        // Files older than the key `rope.scaling.type` have only a linear factor.
        None | Some("linear") if factor != 1.0 => RopeScaling::Linear { factor },
        None | Some("none" | "linear") => RopeScaling::None,
        Some("yarn") => RopeScaling::Yarn {
            factor,
            beta_fast: number("rope.scaling.yarn_beta_fast", 32.0)?,
            beta_slow: number("rope.scaling.yarn_beta_slow", 1.0)?,
            original: match fields.float("rope.scaling.original_context_length")? {
                Some(original) => original,
                None => fields.needed("max_position_embeddings")? as f32,
            },
            attention_factor: number("rope.scaling.attn_factor", 1.0)? * yarn_magnitude(factor, 1.0),
            // Not a key of llama.cpp, which always rounds.
            truncate: fields.flag("rope.scaling.yarn_truncate", true)?,
        },
        Some(other) => return Err(ModelError::Unsupported { what: "the rope scaling", value: other.to_owned() }),
    };
    Ok(Rope { theta, rotary, scaling })
}

fn from_json(fields: &Fields<'_>, config: &Value, kind: &str, theta: f64, head_dim: usize) -> Result<Rope, ModelError> {
    // transformers 5 writes `rope_parameters`, in some families one for each kind of layer; before it was
    // `rope_scaling` beside `rope_theta`.
    let object = |value: Option<&'_ Value>| value.filter(|value| value.is_object()).cloned();
    let parameters = match object(config.get("rope_parameters")) {
        Some(parameters) => object(parameters.get(kind)).unwrap_or(parameters),
        None => object(config.get("rope_scaling")).unwrap_or(Value::Null),
    };
    let number = |name: &str| -> Result<Option<f64>, ModelError> {
        match parameters.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(invalid(format!("rope_parameters.{name}"), value, "a finite number is needed")),
            },
        }
    };
    let float = |name: &str, otherwise: f32| Ok::<_, ModelError>(number(name)?.map_or(otherwise, |x| x as f32));
    let theta = match number("rope_theta")? {
        Some(theta) => theta,
        None => fields.number("rope_theta")?.unwrap_or(theta),
    };
    let partial = match number("partial_rotary_factor")? {
        Some(factor) => factor,
        None => fields.number("partial_rotary_factor")?.unwrap_or(1.0),
    };
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(invalid("partial_rotary_factor", partial, "a number above 0 and up to 1 is needed"));
    }
    let rotary = (head_dim as f64 * partial) as usize;
    let original = || -> Result<f32, ModelError> {
        if let Some(original) = fields.float("original_max_position_embeddings")? {
            return Ok(original);
        }
        match number("original_max_position_embeddings")? {
            Some(original) => Ok(original as f32),
            None => Ok(fields.needed("max_position_embeddings")? as f32),
        }
    };
    let factor = || number("factor")?.map(|x| x as f32).ok_or(ModelError::MissingField { field: "rope factor".into() });
    let kind = parameters.get("rope_type").or_else(|| parameters.get("type")).and_then(Value::as_str);
    let scaling = match kind {
        // Dynamic scaling changes nothing within the trained context, and Saem does not go beyond it.
        None | Some("default" | "dynamic") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: factor()? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: factor()?,
            low: float("low_freq_factor", 1.0)?,
            high: float("high_freq_factor", 4.0)?,
            original: original()?,
        },
        Some("yarn") => {
            let original = original()?;
            let factor = match number("factor")? {
                Some(factor) => factor as f32,
                None => fields.needed("max_position_embeddings")? as f32 / original,
            };
            let nonzero = |name| Ok::<_, ModelError>(number(name)?.filter(|x| *x != 0.0).map(|x| x as f32));
            let attention_factor = match (number("attention_factor")?, nonzero("mscale")?, nonzero("mscale_all_dim")?) {
                (Some(factor), ..) => factor as f32,
                (None, Some(scale), Some(all)) => yarn_magnitude(factor, scale) / yarn_magnitude(factor, all),
                _ => yarn_magnitude(factor, 1.0),
            };
            RopeScaling::Yarn {
                factor,
                beta_fast: nonzero("beta_fast")?.unwrap_or(32.0),
                beta_slow: nonzero("beta_slow")?.unwrap_or(1.0),
                original,
                attention_factor,
                truncate: parameters.get("truncate").and_then(Value::as_bool).unwrap_or(true),
            }
        }
        Some(other) => return Err(ModelError::Unsupported { what: "the rope scaling", value: other.to_owned() }),
    };
    Ok(Rope { theta, rotary, scaling })
}

/// YaRN's factor on cosines and sines for a context scaled by `factor`.
pub(crate) fn yarn_magnitude(factor: f32, scale: f32) -> f32 {
    if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
}
