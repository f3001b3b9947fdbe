//! Flags of `saem serve`.

use clap::Args;

use super::LoadFlags;

/// `saem serve`.
#[derive(Debug, Args)]
#[command(after_help = "The APIs are described at /openapi.json; /health/ready and /metrics are for operators.
Ctrl-C or SIGTERM lets answers come to their end; a second one does not wait.
The log goes to standard error; SAEM_LOG=off, error, warn, info or debug says how much of it.")]
pub(crate) struct Serve {
    /// A model to serve: a name (see `saem list`) or a path (repeatable) [default: $SAEM_MODEL, else qwen2.5-coder-1.5b]
    #[arg(long = "model", short = 'm', value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    /// An adapter of a model, a folder of peft or a GGUF file, served as a model of its own called MODEL:NAME
    /// (repeatable); without MODEL it belongs to the first model
    #[arg(long = "adapter", value_name = "[MODEL:]NAME=PATH")]
    pub(crate) adapters: Vec<String>,
    /// Accept the models' licences without being asked, if they have to be downloaded
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", hide_default_value = true)]
    pub(crate) host: String,
    /// The port; 0 takes any that is free [default: 8080]
    #[arg(long, value_name = "N", default_value_t = 8080, hide_default_value = true)]
    pub(crate) port: u16,
    /// A host name that clients may use beside localhost and addresses (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Texts that each model works on at once [default: 16]
    #[arg(long, value_name = "N", default_value_t = 16, hide_default_value = true, help_heading = "Loading")]
    pub(crate) max_sequences: usize,
    /// Requests of one key that may wait for each model [default: a quarter of the queue, once there are two keys]
    #[arg(long, value_name = "N")]
    pub(crate) waiting_per_key: Option<usize>,
    /// Memory that all models together may take, such as 8GB or 900MiB [default: as the plan says]
    #[arg(long, value_name = "SIZE", help_heading = "Loading")]
    pub(crate) memory: Option<String>,
    /// Keep computed prompts from one start to the next, in Saem's home, where they can be read
    #[arg(long)]
    pub(crate) keep_prompts: bool,
    #[command(flatten)]
    pub(crate) load: LoadFlags,
}
