//! Flags of `saem plan`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use saem_train::cluster::{hardware, parse_bytes, parse_count};

/// `saem plan`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "On this machine: memory by kind, time, and what makes a run fit.

  saem plan recipe.toml
  saem plan --params 600M --sequence 2048 --memory 24GiB

On other machines: how many devices a model takes, laid out how, for how long, for how much.

  saem plan --params 600B --tokens 600B --images 250M --hardware a100-80g,h100,tpu-v4,rtx4090
  saem plan --params 82B --tokens 150B --hardware a100-80g --devices 1024

By your own runs: what loss a size is worth.

  saem plan --fit runs/1m runs/4m runs/16m runs/64m

Formulas and sources are in docs/concepts/plan.md. Sizes: 600M, 1.3B, 2T; 24GiB, 900MB.")]
pub(crate) struct Plan {
    /// A recipe of a run on this machine
    pub(crate) recipe: Option<PathBuf>,
    /// Parameters of the model
    #[arg(long, value_name = "COUNT", value_parser = parse_count, conflicts_with = "recipe")]
    pub(crate) params: Option<f64>,
    /// Tokens of text [default: 20 for each parameter]
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub(crate) tokens: Option<f64>,
    /// Images beside the text, 1,024 tokens each
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub(crate) images: Option<f64>,
    /// Tokens of a sequence [default: 2048]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) sequence: Option<f64>,
    /// Tokens that the model knows [default: 51200; on this machine 64000]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) vocabulary: Option<f64>,
    /// Tokens in a step [default: as GPT-3 of this size; on this machine 16k]
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub(crate) batch_tokens: Option<f64>,
    /// Memory of this machine that the run may take, such as 24GiB [default: what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "hardware", help_heading = "This machine")]
    pub(crate) memory: Option<u64>,
    /// Threads that are measured [default: as many as there are processors]
    #[arg(long, value_name = "N", help_heading = "This machine")]
    pub(crate) threads: Option<usize>,
    /// Do not measure the machine, which takes some seconds, and say no times
    #[arg(long, help_heading = "This machine")]
    pub(crate) no_measurement: bool,
    /// Accept the licence of the recipe's model without being asked, if it has to be downloaded
    #[arg(long, alias = "accept-license", help_heading = "This machine")]
    pub(crate) accept_licence: bool,
    /// Fit a law of loss to the folders of runs of several sizes
    #[arg(long, value_name = "RUN", num_args = 1.., conflicts_with_all = ["recipe", "params", "memory"])]
    pub(crate) fit: Vec<PathBuf>,
    /// Devices, separated by commas; `all` for all that are known [default: a100-80g,h100,tpu-v4,rtx4090]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = devices(), hide_possible_values = true,
        help_heading = "Devices")]
    pub(crate) hardware: Vec<String>,
    /// How many devices there are [default: as many as end in time]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Devices")]
    pub(crate) devices: Option<f64>,
    /// Days that it may take [default: 90]
    #[arg(long, value_name = "N", help_heading = "Devices")]
    pub(crate) days: Option<f64>,
    /// What is computed twice: none, selective or full [default: whatever is fastest]
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(["none", "selective", "full"]),
        hide_possible_values = true, help_heading = "Devices")]
    pub(crate) recompute: Option<String>,
    /// Share of the devices' peak that is reached, such as 0.4 [default: an estimate]
    #[arg(long, value_name = "X", help_heading = "Devices")]
    pub(crate) utilisation: Option<f64>,
    /// Dollars an hour for a device [default: a published price]
    #[arg(long, value_name = "X", help_heading = "Devices")]
    pub(crate) price: Option<f64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Accepts the names of devices.
fn devices() -> PossibleValuesParser {
    let names = hardware::all().iter().map(|device| device.name);
    PossibleValuesParser::new(names.chain(["all", "a100", "v100", "3090", "4090"]))
}
