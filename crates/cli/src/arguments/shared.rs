//! Flags that several commands share.

use clap::Args;
use clap::builder::PossibleValuesParser;
use saem_kernels::DataType;

/// Which model.
#[derive(Debug, Args)]
pub(crate) struct ModelFlag {
    /// A name (see `saem list`) or a path [default: $SAEM_MODEL, else qwen2.5-coder-1.5b]
    #[arg(long = "model", short = 'm', value_name = "MODEL")]
    pub(crate) name: Option<String>,
    /// Accept the model's licence without being asked, if it has to be downloaded
    #[arg(long, alias = "accept-license")]
    pub(crate) accept_licence: bool,
}

/// How a model is loaded.
#[derive(Debug, Args)]
pub(crate) struct LoadFlags {
    /// Threads [default: all cores]
    #[arg(long, short = 't', value_name = "N", help_heading = "Loading")]
    pub(crate) threads: Option<usize>,
    /// Most tokens of prompt and answer together [default: 4096, or the model's if that is less]
    #[arg(long, short = 'c', value_name = "N", help_heading = "Loading")]
    pub(crate) context: Option<usize>,
    /// How keys and values are cached: f16, q8_0 or f32 [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(["f16", "q8_0", "f32"]),
        hide_possible_values = true, help_heading = "Loading")]
    pub(crate) kv_type: Option<String>,
    /// Quantise the weights while loading: q8_0, q6_k, q5_k, q4_k, ...
    #[arg(long, short = 'q', value_name = "TYPE", value_parser = data_types(), hide_possible_values = true,
        help_heading = "Loading")]
    pub(crate) quantize: Option<String>,
}

/// Names of the types that weights can be stored in.
pub(crate) fn data_type_names() -> Vec<&'static str> {
    DataType::ALL.iter().map(|data_type| data_type.name()).collect()
}

/// Accepts the names of [`data_type_names`].
pub(crate) fn data_types() -> PossibleValuesParser {
    PossibleValuesParser::new(data_type_names())
}
