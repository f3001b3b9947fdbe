//! What of a model is trained.

use saem_model::Role;
use serde::{Deserialize, Serialize};

/// What of a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// All weights.
    Full,
    /// Thin matrices beside some of the weights, which stay.
    Lora(Lora),
    /// Rows before every text; all weights stay.
    Prompt(Prompt),
    /// So many keys and values in every layer before every text (prefix tuning, Li and Liang 2021, arXiv 2101.00190); all
    /// weights stay.
    Prefix(usize),
    /// Nothing of the model: the head that tells labels apart is trained alone.
    Head,
}

/// LoRA (Hu et al. 2021, arXiv 2106.09685): to a projection `W x` is added `alpha / rank * B (A x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Rows of each A, columns of each B.
    pub rank: usize,
    /// The factor on the product, times the rank.
    pub alpha: f64,
    /// The projections.
    pub targets: Vec<Target>,
    /// Of how many layers, the last ones; all of them where nothing is said. No gradient has to go further down.
    pub last_layers: Option<usize>,
    /// Whether each row of a changed weight has a length of its own that is trained (DoRA, Liu et al. 2024, arXiv
    /// 2402.09353): the projection becomes `m / |W + scale B A| * (W + scale B A) x`, row by row.
    pub magnitudes: bool,
}

impl Lora {
    /// The factor on the product.
    #[must_use]
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }

    /// Whether it changes this projection of one of so many layers.
    pub(crate) fn changes(&self, role: Role, layer: usize, layers: usize) -> bool {
        self.targets.iter().any(|target| target.role() == role)
            && self.last_layers.is_none_or(|last| layer + last >= layers)
    }
}

/// Soft prompts: the rows are trained as they are (Lester et al. 2021, arXiv 2104.08691), or made by an encoder that is
/// trained with them (p-tuning, Liu et al. 2021, arXiv 2103.10385).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// How many rows.
    pub rows: usize,
    /// The inner width of the encoder, if there is one.
    pub encoder: Option<usize>,
}

/// A projection that a LoRA may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Target {
    Query,
    Key,
    Value,
    AttentionOutput,
    Gate,
    Up,
    Down,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::AttentionOutput, Self::Gate, Self::Up, Self::Down];

    /// The role of the projection's matrix.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Query => Role::Query,
            Self::Key => Role::Key,
            Self::Value => Role::Value,
            Self::AttentionOutput => Role::AttentionOutput,
            Self::Gate => Role::Gate,
            Self::Up => Role::Up,
            Self::Down => Role::Down,
        }
    }
}
