//! What a request may say about sampling: fields, ranges, defaults, presets and CLOVA Studio's penalty scale.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EngineError;

/// How the next token is chosen from the model's logits.
///
/// The steps, in the order in which Hugging Face's `generate` takes them (each works on what the one before left):
///
/// 1. **penalties** on the raw logits: repetition, then frequency and presence;
/// 2. **temperature**: logits are divided by it (0: the largest logit wins, ties go to the lowest id, nothing below
///    applies);
/// 3. **top-k**: the `top_k` largest remain (ties at the border: lowest ids);
/// 4. **top-p**: of their softmax, the smallest set of most probable tokens whose mass is at least `top_p` remains;
/// 5. **min-p**: tokens less probable than `min_p` times the most probable one are dropped;
/// 6. one draw from what remains, in proportion to the probabilities.
///
/// At least one token always remains. [`Default`] is OpenAI's: temperature 1, everything else off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy. 0 to 100.
    pub temperature: f32,
    /// Tokens that remain in step 3; 0 switches it off.
    pub top_k: usize,
    /// Mass that remains in step 4, above 0 and up to 1; 1 switches it off.
    pub top_p: f32,
    /// Least probability relative to the largest, 0 to 1; 0 switches step 5 off.
    pub min_p: f32,
    /// Logits of tokens already in the text are divided by this when positive and multiplied when negative (the CTRL
    /// paper's rule). Above 0 and up to 10; 1 switches it off. The text is the prompt and the output.
    pub repetition_penalty: f32,
    /// Of the text, only so many last tokens count for `repetition_penalty`; 0 means all.
    pub repetition_window: usize,
    /// Subtracted from a token's logit once for every time the output already holds it. -2 to 2; 0 switches it off.
    pub frequency_penalty: f32,
    /// Subtracted from the logits of all tokens which the output already holds. -2 to 2; 0 switches it off.
    pub presence_penalty: f32,
    /// Seed of the draws; a fresh one is taken (and reported) where it is absent.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
        }
    }
}

impl Sampling {
    /// Always the most probable token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// The "Consistency" preset: the same answer for every seed.
    #[must_use]
    pub fn consistency() -> Self {
        Self::greedy()
    }

    /// The "Creativity" preset: different answers for different seeds, without the long tail of improbable tokens.
    #[must_use]
    pub fn creativity() -> Self {
        Self { temperature: 1.0, top_p: 0.95, min_p: 0.05, presence_penalty: 0.3, ..Self::default() }
    }

    /// What Saem samples with where neither the user nor the model's files say anything.
    #[must_use]
    pub fn fallback() -> Self {
        Self { temperature: 0.7, top_p: 0.95, ..Self::default() }
    }

    /// The fallback, overridden by what a Hugging Face `generation_config.json` says.
    ///
    /// `do_sample: false` means greedy. Values outside the ranges above are passed over: a model's file must not make
    /// every request to it fail.
    #[must_use]
    pub fn from_generation_config(config: &Value) -> Self {
        let mut sampling = Self::fallback();
        let float = |key: &str| config.get(key).and_then(Value::as_f64).map(|value| value as f32);
        sampling.merge(
            float("temperature"),
            config.get("top_k").and_then(Value::as_u64),
            float("top_p"),
            float("min_p"),
            float("repetition_penalty"),
        );
        if config.get("do_sample").and_then(Value::as_bool) == Some(false) {
            sampling.temperature = 0.0;
        }
        sampling
    }

    /// The fallback, overridden by the `general.sampling.*` keys of a GGUF file. `number` looks a key up.
    #[must_use]
    pub fn from_gguf(number: &dyn Fn(&str) -> Option<f64>) -> Self {
        let get = |key: &str| number(&format!("general.sampling.{key}"));
        let mut sampling = Self::fallback();
        sampling.merge(
            get("temp").map(|value| value as f32),
            get("top_k").filter(|value| (0.0..=1e9).contains(value)).map(|value| value as u64),
            get("top_p").map(|value| value as f32),
            get("min_p").map(|value| value as f32),
            get("penalty_repeat").map(|value| value as f32),
        );
        sampling
    }

    fn merge(
        &mut self,
        temperature: Option<f32>,
        top_k: Option<u64>,
        top_p: Option<f32>,
        min_p: Option<f32>,
        repetition_penalty: Option<f32>,
    ) {
        let mut take = |change: &dyn Fn(&mut Self)| {
            let mut changed = self.clone();
            change(&mut changed);
            if changed.validate().is_ok() {
                *self = changed;
            }
        };
        if let Some(value) = temperature {
            take(&|sampling| sampling.temperature = value);
        }
        if let Some(value) = top_k {
            take(&|sampling| sampling.top_k = usize::try_from(value).unwrap_or(0));
        }
        if let Some(value) = top_p {
            take(&|sampling| sampling.top_p = value);
        }
        if let Some(value) = min_p {
            take(&|sampling| sampling.min_p = value);
        }
        if let Some(value) = repetition_penalty {
            take(&|sampling| sampling.repetition_penalty = value);
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`EngineError::Parameter`] for the first field outside its range.
    pub fn validate(&self) -> Result<(), EngineError> {
        within("temperature", self.temperature, 0.0..=100.0)?;
        within("top_p", self.top_p, f32::MIN_POSITIVE..=1.0)?;
        within("min_p", self.min_p, 0.0..=1.0)?;
        within("repetition_penalty", self.repetition_penalty, f32::MIN_POSITIVE..=10.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
        within("presence_penalty", self.presence_penalty, -2.0..=2.0)
    }

    /// Whether any penalty changes the logits.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

fn within(parameter: &'static str, value: f32, range: RangeInclusive<f32>) -> Result<(), EngineError> {
    if range.contains(&value) {
        return Ok(());
    }
    let start = if *range.start() == f32::MIN_POSITIVE { "above 0".into() } else { range.start().to_string() };
    let expected = format!("{start} to {}", range.end());
    Err(EngineError::Parameter { parameter, value: value.to_string(), expected })
}

/// The repetition penalty for CLOVA Studio's legacy `repeatPenalty`, 0 to 10 with 5 as its default.
///
/// NAVER documents the scale but not its mapping. Its later API has the multiplicative penalty itself with 1.1 as the
/// default, so Saem lets the two defaults coincide and 0 mean "off": `1 + value / 50`, that is 0 -> 1.0, 5 -> 1.1,
/// 10 -> 1.2.
///
/// # Errors
/// [`EngineError::Parameter`] outside 0 to 10.
pub fn repetition_penalty_from_clova(value: f32) -> Result<f32, EngineError> {
    within("repeatPenalty", value, 0.0..=10.0)?;
    Ok(1.0 + value / 50.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_name_the_parameter_and_the_value() {
        let bad = |change: &dyn Fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            sampling.validate().unwrap_err().to_string()
        };
        assert_eq!(bad(&|s| s.top_p = 95.0), "top_p is 95 (allowed: above 0 to 1)");
        assert_eq!(bad(&|s| s.temperature = -0.5), "temperature is -0.5 (allowed: 0 to 100)");
        for text in [
            bad(&|s| s.top_p = 0.0),
            bad(&|s| s.temperature = f32::NAN),
            bad(&|s| s.temperature = f32::INFINITY),
            bad(&|s| s.min_p = 1.5),
            bad(&|s| s.repetition_penalty = 0.0),
            bad(&|s| s.frequency_penalty = 2.5),
            bad(&|s| s.presence_penalty = -3.0),
        ] {
            assert!(text.contains("allowed"), "{text}");
        }
    }

    #[test]
    fn a_generation_config_overrides_the_fallback() {
        let qwen =
            json!({"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05});
        let sampling = Sampling::from_generation_config(&qwen);
        assert_eq!((sampling.top_k, sampling.top_p, sampling.repetition_penalty), (20, 0.8, 1.05));
        assert_eq!(Sampling::from_generation_config(&json!({"do_sample": false})).temperature, 0.0);
        let nonsense = json!({"temperature": -1.0, "top_p": 7, "top_k": "many", "min_p": null});
        assert_eq!(Sampling::from_generation_config(&nonsense), Sampling::fallback());
        let gguf = Sampling::from_gguf(&|key| (key == "general.sampling.top_k").then_some(64.0));
        assert_eq!(gguf.top_k, 64);
    }

    #[test]
    fn clova_scale() {
        assert_eq!(repetition_penalty_from_clova(0.0).unwrap(), 1.0);
        assert_eq!(repetition_penalty_from_clova(5.0).unwrap(), 1.1);
        assert_eq!(repetition_penalty_from_clova(10.0).unwrap(), 1.2);
        assert!(repetition_penalty_from_clova(10.5).is_err());
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(serde_json::from_value::<Sampling>(json!({"topp": 0.5})).is_err());
        assert_eq!(serde_json::from_value::<Sampling>(json!({"top_p": 0.5})).unwrap().top_p, 0.5);
    }
}
