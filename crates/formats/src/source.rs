//! Chooses the reader for a path.

use std::fs;
use std::path::{Path, PathBuf};

use crate::gguf::{Gguf, parse_part_name};
use crate::hf::{CONFIG_FILE, Checkpoint};
use crate::mapped_file::MappedFile;
use crate::safetensors::{INDEX_FILE, MODEL_FILE};
use crate::{FormatError, Lookalike};

/// An open model of either kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one or two of them")]
pub enum Source {
    /// A GGUF file, or the files of a split one.
    Gguf(Gguf),
    /// A Hugging Face folder with safetensors.
    HuggingFace(Checkpoint),
}

impl Source {
    /// Opens the model at `path`:
    ///
    /// - a `.gguf` file (any part of a split one), whatever its name ends in, since its first bytes tell;
    /// - a folder with `config.json` and safetensors files;
    /// - a `.safetensors` file or `model.safetensors.index.json` beside its `config.json`;
    /// - a folder that holds exactly one GGUF model.
    ///
    /// # Errors
    /// Where there is no model, more than one, or a file of it is missing or broken.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let kind = fs::metadata(path).map_err(|source| FormatError::io(path, source))?;
        if kind.is_dir() {
            return Self::open_directory(path);
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_index = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".safetensors.index.json"));
        if path.file_name().is_some_and(|name| name == CONFIG_FILE) {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return Self::open_directory(directory);
        }
        if extension.eq_ignore_ascii_case("safetensors") || is_index {
            return Checkpoint::open(path).map(Self::HuggingFace);
        }
        if extension.eq_ignore_ascii_case("gguf") {
            return Gguf::open(path).map(Self::Gguf);
        }
        let file = MappedFile::open(path)?;
        if file.bytes().starts_with(b"GGUF") {
            return Gguf::open(path).map(Self::Gguf);
        }
        // A download cache may name files by their hash: the length of a JSON header and its first brace.
        if matches!(file.bytes(), [_, _, _, _, 0, 0, 0, 0, b'{', ..]) {
            return Checkpoint::open(path).map(Self::HuggingFace);
        }
        Err(FormatError::UnknownFormat { path: path.to_owned(), lookalike: Lookalike::of(file.bytes()) })
    }

    fn open_directory(directory: &Path) -> Result<Self, FormatError> {
        let has = |name: &str| directory.join(name).is_file();
        if has(INDEX_FILE) || has(MODEL_FILE) {
            return Checkpoint::open(directory).map(Self::HuggingFace);
        }
        let mut models = gguf_models(directory)?;
        match (models.pop(), models.is_empty()) {
            (Some(model), true) => Gguf::open(model).map(Self::Gguf),
            (Some(last), false) => {
                models.push(last);
                let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let files = models.into_iter().filter_map(name).collect();
                Err(FormatError::SeveralModels { directory: directory.to_owned(), files })
            }
            // config.json alone: say which weights are missing.
            (None, _) if has(CONFIG_FILE) => {
                Err(FormatError::MissingFile { directory: directory.to_owned(), file: MODEL_FILE.to_owned() })
            }
            (None, _) => Err(FormatError::NoModel { directory: directory.to_owned() }),
        }
    }

    /// The first file of the model's weights.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Gguf(gguf) => gguf.path(),
            Self::HuggingFace(checkpoint) => checkpoint.weights.path(),
        }
    }

    /// Bytes of all tensors together.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        match self {
            Self::Gguf(gguf) => gguf.weight_bytes(),
            Self::HuggingFace(checkpoint) => checkpoint.weights.weight_bytes(),
        }
    }
}

/// The GGUF models of a folder, sorted; of a split one, the first part.
fn gguf_models(directory: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let io = |source| FormatError::io(directory, source);
    let mut models = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if is_gguf && path.is_file() && parse_part_name(name).is_none_or(|(_, number, _)| number == 0) {
            models.push(path);
        }
    }
    models.sort();
    Ok(models)
}
