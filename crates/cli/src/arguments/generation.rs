//! Flags of whatever generates text.

use std::path::PathBuf;

use clap::Args;

/// How much text, and where it ends.
#[derive(Debug, Args)]
pub(crate) struct GenerationFlags {
    /// Most tokens of the completion [default: until the model ends it]
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// End the completion before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// How many completions
    #[arg(long = "n", value_name = "N")]
    pub(crate) candidates: Option<usize>,
    /// Report the log-probabilities of each token and of N alternatives (with --json)
    #[arg(long, value_name = "N", requires = "json")]
    pub(crate) logprobs: Option<usize>,
}

/// What the text must be.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ConstraintFlags {
    /// Write a JSON value of the schema in FILE
    #[arg(long, value_name = "FILE", help_heading = "Form of the text")]
    pub(crate) json_schema: Option<PathBuf>,
    /// Write a text that matches this regular expression from beginning to end
    #[arg(long, value_name = "EXPRESSION", help_heading = "Form of the text")]
    pub(crate) regex: Option<String>,
    /// Write one of these texts, separated by commas (repeatable)
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', help_heading = "Form of the text")]
    pub(crate) choice: Vec<String>,
}

/// How the next token is chosen. What is not said here, the model's own files say.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SamplingFlags {
    /// Spread of the choice; 0 always takes the most probable token
    #[arg(long, value_name = "X", help_heading = "Sampling")]
    pub(crate) temperature: Option<f32>,
    /// Choose among the N most probable tokens; 0 for all
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) top_k: Option<usize>,
    /// Choose among the most probable tokens that together have probability X
    #[arg(long, value_name = "X", help_heading = "Sampling")]
    pub(crate) top_p: Option<f32>,
    /// Drop tokens less probable than X times the most probable one
    #[arg(long, value_name = "X", help_heading = "Sampling")]
    pub(crate) min_p: Option<f32>,
    /// Make tokens of the text so far less probable; 1 is off
    #[arg(long, value_name = "X", help_heading = "Sampling")]
    pub(crate) repetition_penalty: Option<f32>,
    /// The repetition penalty on CLOVA Studio's scale, 0 to 10; 5 is 1.1
    #[arg(long, value_name = "X", help_heading = "Sampling", conflicts_with = "repetition_penalty")]
    pub(crate) clova_repeat_penalty: Option<f32>,
    /// Subtract X for every time a token was generated, -2 to 2
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling")]
    pub(crate) frequency_penalty: Option<f32>,
    /// Subtract X once from tokens that were generated, -2 to 2
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling")]
    pub(crate) presence_penalty: Option<f32>,
    /// Same seed, same text
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) seed: Option<u64>,
}
