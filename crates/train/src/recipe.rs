//! A recipe: everything that decides a run, in one TOML file.
//!
//! ```toml
//! [model]
//! tokenizer = "smollm2-135m"
//! [model.config]              # Hugging Face's names
//! model_type = "llama"
//! hidden_size = 256
//! intermediate_size = 768
//! num_hidden_layers = 4
//! num_attention_heads = 4
//!
//! [data]
//! train = ["texts"]
//!
//! [train]
//! steps = 1000
//! sequence = 256
//! batch = 8
//! learning_rate = 1e-3
//! ```

use std::path::{Path, PathBuf};

use saem_kernels::gemm::Precision;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::buffers::Recompute;
use crate::schedule::Schedule;

/// A recipe; see the module.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub model: ModelRecipe,
    /// On what.
    pub data: DataRecipe,
    /// How.
    pub train: TrainRecipe,
}

/// What is trained: a new model of some shape, or all weights of one that there is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// A model to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Whose tokenizer a new model gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// The shape of a new model, as in `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<toml::Table>,
}

/// What a run learns from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Files and directories, beside the recipe where they are relative.
    pub train: Vec<PathBuf>,
    /// Texts that are not learnt from, but measured with.
    #[serde(default)]
    pub validation: Vec<PathBuf>,
    /// Where no such texts are named: the share of the others that is held out for it.
    #[serde(default)]
    pub validation_share: f64,
    /// Which string of a JSONL line is the text.
    #[serde(default = "defaults::field")]
    pub field: String,
}

/// How a run learns.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe {
    /// Steps of the optimizer.
    pub steps: u64,
    /// Tokens of a sequence.
    #[serde(default = "defaults::sequence")]
    pub sequence: usize,
    /// Sequences in a step.
    #[serde(default = "defaults::batch")]
    pub batch: usize,
    /// Sequences in memory at a time; a step takes as many turns as it needs.
    #[serde(default = "defaults::micro_batch")]
    pub micro_batch: usize,
    /// The highest learning rate.
    #[serde(default = "defaults::learning_rate")]
    pub learning_rate: f64,
    /// How it goes on after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps in which it rises.
    #[serde(default)]
    pub warm_up: u64,
    /// The share of it that is left at the end.
    #[serde(default = "defaults::final_share")]
    pub final_share: f64,
    /// AdamW's decay of weights (matrices only).
    #[serde(default = "defaults::weight_decay")]
    pub weight_decay: f64,
    /// AdamW's decay of the mean of gradients.
    #[serde(default = "defaults::beta1")]
    pub beta1: f64,
    /// AdamW's decay of the mean of their squares.
    #[serde(default = "defaults::beta2")]
    pub beta2: f64,
    /// The longest that the gradient may be; longer ones are shortened to it. 0 for no limit.
    #[serde(default = "defaults::clip")]
    pub clip: f64,
    /// Weight of the squared logarithm of each softmax's sum.
    #[serde(default)]
    pub z_loss: f64,
    /// What is computed twice to save memory.
    #[serde(default)]
    pub recompute: Recompute,
    /// How exactly matrices are multiplied, where the processor has bf16 tiles.
    #[serde(default, with = "PrecisionName")]
    pub precision: Precision,
    /// Decides the first weights of a new model, the order of the texts, and what is held out.
    #[serde(default)]
    pub seed: u64,
    /// Steps between measurements with held-out texts.
    #[serde(default = "defaults::evaluate_every")]
    pub evaluate_every: u64,
    /// Steps between checkpoints.
    #[serde(default = "defaults::checkpoint_every")]
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    #[serde(default = "defaults::keep")]
    pub keep: usize,
}

/// [`Precision`], as recipes name it.
#[derive(Deserialize, Serialize)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Split,
    Bf16,
}

mod defaults {
    pub(super) fn field() -> String {
        "text".to_owned()
    }
    pub(super) fn sequence() -> usize {
        256
    }
    pub(super) fn batch() -> usize {
        8
    }
    pub(super) fn micro_batch() -> usize {
        8
    }
    pub(super) fn learning_rate() -> f64 {
        3e-4
    }
    pub(super) fn final_share() -> f64 {
        0.1
    }
    pub(super) fn weight_decay() -> f64 {
        0.1
    }
    pub(super) fn beta1() -> f64 {
        0.9
    }
    pub(super) fn beta2() -> f64 {
        0.95
    }
    pub(super) fn clip() -> f64 {
        1.0
    }
    pub(super) fn evaluate_every() -> u64 {
        100
    }
    pub(super) fn checkpoint_every() -> u64 {
        100
    }
    pub(super) fn keep() -> usize {
        2
    }
}

impl Recipe {
    /// Reads a recipe; paths in it become absolute.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with what is wrong and where.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        let wrong = |problem: String| TrainError::Recipe { path: path.to_owned(), problem };
        let mut recipe: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let beside = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let beside = beside.parent().unwrap_or(Path::new(""));
        let DataRecipe { train, validation, .. } = &mut recipe.data;
        for file in train.iter_mut().chain(validation) {
            *file = beside.join(&*file);
        }
        recipe.check().map_err(wrong)?;
        Ok(recipe)
    }

    /// The recipe as TOML, nothing left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), String> {
        let Self { model, data, train } = self;
        match (&model.base, &model.config, &model.tokenizer) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => {
                return Err("[model] base brings its own shape and tokenizer: leave config and tokenizer out".into());
            }
            (None, _, _) => {
                return Err(
                    "[model] wants either base (a model to go on from) or both tokenizer and config (a new one)".into(),
                );
            }
        }
        if data.train.is_empty() {
            return Err("[data] train names no file".into());
        }
        let counts = [
            ("steps", train.steps),
            ("sequence", train.sequence as u64),
            ("batch", train.batch as u64),
            ("micro_batch", train.micro_batch as u64),
            ("evaluate_every", train.evaluate_every),
            ("checkpoint_every", train.checkpoint_every),
            ("keep", train.keep as u64),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("[train] {name} must be at least 1"));
        }
        let shares = [
            ("[data] validation_share", data.validation_share, 0.0, 0.5),
            ("[train] learning_rate", train.learning_rate, f64::MIN_POSITIVE, 10.0),
            ("[train] final_share", train.final_share, 0.0, 1.0),
            ("[train] weight_decay", train.weight_decay, 0.0, 10.0),
            ("[train] beta1", train.beta1, 0.0, 0.9999),
            ("[train] beta2", train.beta2, 0.0, 0.999_999),
            ("[train] clip", train.clip, 0.0, 1e9),
            ("[train] z_loss", train.z_loss, 0.0, 1.0),
        ];
        match shares.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, value, least, most)) => Err(format!("{name} is {value}, and must be from {least} to {most}")),
            None => Ok(()),
        }
    }
}
