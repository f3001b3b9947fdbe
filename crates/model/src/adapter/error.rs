//! Why an adapter cannot be loaded.

use std::path::PathBuf;

use saem_formats::FormatError;
use saem_kernels::KernelError;

/// What is wrong with an adapter's files, or between them and the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A file cannot be opened or breaks its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What lies at the path is something else.
    #[error("{} is no adapter: {reason}", path.display())]
    NotAnAdapter {
        /// The path that was asked for.
        path: PathBuf,
        /// What was looked for and not found.
        reason: &'static str,
    },
    /// A field of the adapter's configuration has a value of the wrong kind or out of all proportion.
    #[error("{}: {field} is {value}: {reason}", path.display())]
    Field {
        /// The file that holds the field.
        path: PathBuf,
        /// Its name.
        field: &'static str,
        /// Its value, shortened.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
    /// An adapter whose factors depend on the weights, for a model of which only the shape is known.
    #[error("{}: use_dora is true, and the lengths of rows need the model's weights", path.display())]
    NeedsWeights {
        /// The adapter's file.
        path: PathBuf,
    },
    /// An adapter that does more than Saem knows.
    #[error("{}: {field} = {value} is not supported", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// An adapter for models of another family.
    #[error("{} is an adapter for {found} models, and this model is {expected}", path.display())]
    Architecture {
        /// The adapter's file.
        path: PathBuf,
        /// The family that the file names.
        found: String,
        /// The model's.
        expected: &'static str,
    },
    /// A tensor that belongs to the others is not in the file.
    #[error("{}: tensor {tensor} is missing", path.display())]
    MissingTensor {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor for a part that the model does not have, or that adapters cannot change here.
    #[error(
        "{}: tensor {tensor} changes nothing that adapters of this model can change (the query, key, value, output, gate, \
         up and down projections of its {layers} layers)",
        path.display()
    )]
    UnknownTensor {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Layers of the model.
        layers: usize,
    },
    /// A tensor has another shape than model and configuration ask for.
    #[error("{}: tensor {tensor} has shape {found:?} (expected {expected:?})", path.display())]
    Shape {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Shape by the model and the adapter's configuration, outermost dimension first.
        expected: Vec<usize>,
        /// Shape in the file, outermost dimension first.
        found: Vec<usize>,
    },
    /// The rank of a LoRA is 0 or larger than the model, or the place that was made for adapters, allows.
    #[error("{}: tensor {tensor} has rank {rank} (allowed: 1 to {limit})", path.display())]
    Rank {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The rank.
        rank: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// A tensor holds infinities or values that are no numbers.
    #[error("{}: tensor {tensor} holds values that are not finite; the file may be damaged", path.display())]
    NotFinite {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// More memory than adapters may have.
    #[error("{} takes more than the {limit} bytes that are left for adapters", path.display())]
    TooLarge {
        /// The adapter's file.
        path: PathBuf,
        /// Bytes that are left.
        limit: usize,
    },
    /// A tensor's data do not fit its shape and type, or memory is short.
    #[error("{}: {source}", path.display())]
    Kernel {
        /// The adapter's file.
        path: PathBuf,
        /// What does not fit.
        source: KernelError,
    },
}

/// A value as it may be shown: cut to a line's length.
pub(super) fn shown(value: impl ToString) -> String {
    cut(value.to_string(), 60)
}

/// A tensor's name as it may be shown. Real ones have up to about a hundred characters.
pub(super) fn shown_name(name: &str) -> String {
    cut(name.to_owned(), 160)
}

fn cut(mut value: String, longest: usize) -> String {
    if let Some((end, _)) = value.char_indices().nth(longest) {
        value.truncate(end);
        value.push('…');
    }
    value
}
