//! Flags of `saem pretrain` and `saem tune`.

use std::path::PathBuf;

use clap::Args;

/// `saem pretrain`.
#[derive(Debug, Args)]
#[command(after_help = "A recipe says what is trained, on which texts and how:

  [model]
  tokenizer = \"smollm2-135m\"          or: base = \"MODEL\", to go on from a model
  [model.config]                      a new model, in the words of config.json
  model_type = \"llama\"
  hidden_size = 256
  intermediate_size = 768
  num_hidden_layers = 4
  num_attention_heads = 4
  [data]
  train = [\"texts\"]                   files and folders: column \"text\" of .jsonl, .csv, .parquet;
                                      tokens (.bin, .idx); others whole
  [train]
  steps = 1000

The run is a folder: recipe.toml, metrics.jsonl, checkpoints and, in the end, model.
Ctrl-C ends it after a checkpoint; --resume goes on from the last one, to the same weights.")]
pub(crate) struct Pretrain {
    #[command(flatten)]
    pub(crate) flags: TrainFlags,
}

/// `saem tune`.
#[derive(Debug, Args)]
#[command(after_help = "A recipe says which model is tuned, how, and what rows of a file become:

  [model]
  base = \"gemma3-270m\"               a GGUF file stays quantised
  [tune]
  method = \"lora\"                    or dora, dpo, p-tuning, prefix, prompt, head, full
  [data]
  train = [\"reviews.jsonl\"]          .jsonl, .csv (also with .zst behind it) or .parquet
  prompt = \"Review: {{text}}\\nFeeling:\"
  answer = \" {{label}}\"              what is learnt; or chat = \"messages\", or text = \"text\"
  label = \"label\"                    where answers are one of a few: accuracy is measured
  labels = { 0 = \"bad\", 1 = \"good\" }
  validation_share = 0.1
  [train]
  epochs = 1

The run is a folder: recipe.toml, data.json, metrics.jsonl, checkpoints and, in the end, adapter (or model).
Ctrl-C ends it after a checkpoint; --resume goes on from the last one, to the same weights.")]
pub(crate) struct Tune {
    #[command(flatten)]
    pub(crate) flags: TrainFlags,
}

/// What both take.
#[derive(Debug, Args)]
pub(crate) struct TrainFlags {
    /// The recipe, a TOML file
    pub(crate) recipe: PathBuf,
    /// The run's folder [default: $SAEM_HOME/runs/ and the recipe's name]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) run: Option<PathBuf>,
    /// Go on with the run in the folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Show what the run takes of memory, and stop
    #[arg(long)]
    pub(crate) plan: bool,
    /// Threads [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Accept the model's licence without being asked, if it has to be downloaded
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
    /// Print each step as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
