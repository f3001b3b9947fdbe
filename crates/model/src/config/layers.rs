//! Which layers see only a window.

use saem_formats::gguf;
use serde_json::Value;

use super::Fields;
use crate::ModelError;
use crate::error::invalid;

/// For each layer, whether it is a sliding (local) one.
///
/// By a list (`layer_types` of a `config.json`, an array in a GGUF file), else by a period `n`, which makes every
/// n-th layer a global one, else by a pattern such as `LLLG`; `period` is what the family assumes where the file is
/// silent. A period of 1 or 0 makes all layers global.
pub(crate) fn sliding_layers(fields: &Fields<'_>, layers: usize, period: usize) -> Result<Vec<bool>, ModelError> {
    if let Some(types) = fields.json_field("layer_types") {
        return by_names(types, layers);
    }
    if let Some(array) = fields.gguf("attention.sliding_window_pattern").and_then(gguf::Value::as_array) {
        let field = || fields.spelling("sliding_window_pattern");
        let sliding: Vec<bool> = match (array.bools(), array.u64s()) {
            (Some(sliding), _) => sliding,
            (None, Some(numbers)) => numbers.into_iter().map(|number| number != 0).collect(),
            (None, None) => return Err(invalid(field(), "an array", "truth values are needed")),
        };
        if sliding.len() < layers {
            return Err(invalid(field(), format!("{} entries", sliding.len()), format!("{layers} are needed")));
        }
        return Ok(sliding.into_iter().take(layers).collect());
    }
    if let Some(pattern) = fields.word("sliding_window_pattern") {
        let letters = pattern.as_bytes();
        if letters.is_empty() || letters.iter().any(|letter| !matches!(letter, b'L' | b'G')) {
            return Err(invalid("sliding_window_pattern", pattern, "letters L and G are needed"));
        }
        return Ok(letters.iter().cycle().take(layers).map(|letter| *letter == b'L').collect());
    }
    let period = fields.count("sliding_window_pattern")?.unwrap_or(period);
    Ok((1..=layers).map(|number| period > 1 && number % period != 0).collect())
}

fn by_names(types: &Value, layers: usize) -> Result<Vec<bool>, ModelError> {
    let names = types.as_array().ok_or_else(|| invalid("layer_types", types, "a list is needed"))?;
    if names.len() < layers {
        return Err(invalid("layer_types", format!("{} entries", names.len()), format!("{layers} are needed")));
    }
    names
        .iter()
        .take(layers)
        .map(|name| match name.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(ModelError::Unsupported { what: "the layer type", value: name.to_string() }),
        })
        .collect()
}
