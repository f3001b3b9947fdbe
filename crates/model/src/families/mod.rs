//! The families of decoders: for each, its names in either format and one function that sets its switches.
//!
//! A new family is an entry in [`Family::ALL`] and [`Family::spec`], a function in this folder, and, where its
//! Hugging Face checkpoints spell tensors differently from Llama's, a few entries in a name map.

mod exaone;
mod gemma;
mod llama;
pub(crate) mod names;
mod opt;
mod qwen;
mod scaled;

pub(crate) use llama::llama_like;
pub use names::Role;

use crate::ModelError;
use crate::config::{Config, Fields};

/// A family of decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Llama, SmolLM2, Kanana, HyperCLOVA X SEED Text, EXAONE 3.0 renamed.
    Llama,
    /// Llama with a window on every layer.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3.
    Qwen3,
    /// Qwen 3, mixture of experts.
    Qwen3Moe,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, the text decoder.
    Gemma3,
    /// EXAONE 3.5 and EXAONE Deep.
    Exaone,
    /// EXAONE 4.0.
    Exaone4,
    /// K-EXAONE.
    ExaoneMoe,
    /// HyperCLOVA X SEED Think.
    HyperClovaX,
    /// IBM Granite 3.
    Granite,
    /// StarCoder 2.
    Starcoder2,
    /// OPT, the shape of GPT-3 and of HyperCLOVA (2021).
    Opt,
}

/// What sets a family apart.
#[derive(Debug)]
pub(crate) struct Spec {
    /// `general.architecture` of its GGUF files; Saem's own where llama.cpp has none.
    pub gguf: &'static str,
    /// `model_type` in `config.json`; the first is written, all are read.
    pub hugging_face: &'static [&'static str],
    /// `architectures` in `config.json`.
    pub class: &'static str,
    /// Whether its GGUF files hold query and key rows in another order than its checkpoints, so that neighbouring
    /// elements are rotated together.
    pub interleaved: bool,
    /// What its checkpoints leave off norm weights; its GGUF files do not.
    pub norm_offset: f32,
    /// Numbers assumed where metadata are silent (the defaults of the family's configuration class).
    pub defaults: &'static [(&'static str, f64)],
    /// Changes a Llama-like configuration into the family's.
    pub configure: fn(&Fields<'_>, &mut Config) -> Result<(), ModelError>,
    /// Hugging Face names that differ from Llama's.
    pub names: &'static [(Role, &'static str)],
}

impl Family {
    /// All families.
    pub const ALL: [Self; 14] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::Gemma2,
        Self::Gemma3,
        Self::Exaone,
        Self::Exaone4,
        Self::ExaoneMoe,
        Self::HyperClovaX,
        Self::Granite,
        Self::Starcoder2,
        Self::Opt,
    ];

    pub(crate) fn spec(self) -> &'static Spec {
        match self {
            Self::Llama => &llama::LLAMA,
            Self::Mistral => &llama::MISTRAL,
            Self::Qwen2 => &qwen::QWEN2,
            Self::Qwen3 => &qwen::QWEN3,
            Self::Qwen3Moe => &qwen::QWEN3_MOE,
            Self::Gemma2 => &gemma::GEMMA2,
            Self::Gemma3 => &gemma::GEMMA3,
            Self::Exaone => &exaone::EXAONE,
            Self::Exaone4 => &exaone::EXAONE4,
            Self::ExaoneMoe => &exaone::EXAONE_MOE,
            Self::HyperClovaX => &scaled::HYPERCLOVAX,
            Self::Granite => &scaled::GRANITE,
            Self::Starcoder2 => &llama::STARCODER2,
            Self::Opt => &opt::OPT,
        }
    }

    /// The family's `general.architecture` in GGUF files.
    #[must_use]
    pub fn gguf_name(self) -> &'static str {
        self.spec().gguf
    }

    /// The family's `model_type` in `config.json`.
    #[must_use]
    pub fn hf_name(self) -> &'static str {
        self.spec().hugging_face.first().copied().unwrap_or_default()
    }

    /// The family's entry of `architectures` in `config.json`.
    #[must_use]
    pub fn hf_class(self) -> &'static str {
        self.spec().class
    }

    /// The family's class of models that tell labels apart, where transformers has one.
    #[must_use]
    pub fn classifier_class(self) -> Option<String> {
        let class = match self {
            Self::Gemma3 => "Gemma3TextForCausalLM",
            Self::Exaone | Self::ExaoneMoe | Self::HyperClovaX | Self::Granite => return None,
            _ => self.hf_class(),
        };
        Some(class.replace("ForCausalLM", "ForSequenceClassification"))
    }

    /// The family of GGUF files with this `general.architecture`.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn from_gguf_name(name: &str) -> Result<Self, ModelError> {
        // Mistral has Llama's name there; the first entry wins.
        Self::ALL.into_iter().find(|family| family.spec().gguf == name).ok_or_else(|| {
            let mut known: Vec<_> = Self::ALL.into_iter().map(Self::gguf_name).collect();
            known.dedup();
            ModelError::UnknownArchitecture { name: shortened(name), known }
        })
    }

    /// The family of checkpoints with this `model_type`.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`].
    pub fn from_hf_name(name: &str) -> Result<Self, ModelError> {
        Self::ALL.into_iter().find(|family| family.spec().hugging_face.contains(&name)).ok_or_else(|| {
            let known = Self::ALL.into_iter().map(Self::hf_name).collect();
            ModelError::UnknownArchitecture { name: shortened(name), known }
        })
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}
