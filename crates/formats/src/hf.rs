//! A Hugging Face model folder: its configuration, tokenizer and chat template as they are, and its weights.
//!
//! The files are read with a limit on their size and kept raw: what they mean is the business of the crates that use them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::FormatError;
use crate::mapped_file::read_bounded;
use crate::safetensors::SafeTensors;

/// The largest configuration file that is read; real ones have a few kilobytes.
const LARGEST_CONFIG: u64 = 4 << 20;
/// `tokenizer_config.json` lists every added token and carries the chat template.
const LARGEST_TOKENIZER_CONFIG: u64 = 32 << 20;
/// `tokenizer.json` of a vocabulary of 260,000 tokens has 33 MB.
const LARGEST_TOKENIZER: u64 = 512 << 20;
/// Real chat templates have a few kilobytes.
const LARGEST_TEMPLATE: u64 = 1 << 20;

/// The file that makes a folder a model.
pub const CONFIG_FILE: &str = "config.json";
/// The tokenizer of the `tokenizers` library.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The small files of a model folder.
#[derive(Clone, Debug)]
pub struct HfConfig {
    /// The folder that the files came from.
    pub directory: PathBuf,
    /// `config.json`.
    pub config: Value,
    /// `generation_config.json`, where there is one.
    pub generation_config: Option<Value>,
    /// The bytes of `tokenizer.json`, where there is one.
    pub tokenizer: Option<Vec<u8>>,
    /// The bytes of `tokenizer_config.json`, where there is one.
    pub tokenizer_config: Option<Vec<u8>>,
    /// `special_tokens_map.json`, where there is one.
    pub special_tokens_map: Option<Value>,
    /// Chat templates with their names; the usual one is called `default`.
    pub chat_templates: Vec<(String, String)>,
}

impl HfConfig {
    /// Reads the files of the folder. Only `config.json` must be there.
    ///
    /// # Errors
    /// Where `config.json` is missing, and where a file is too large, not JSON, or cannot be read.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, FormatError> {
        let directory = directory.as_ref();
        let tokenizer_config =
            optional(read_bounded(&directory.join("tokenizer_config.json"), LARGEST_TOKENIZER_CONFIG))?;
        Ok(Self {
            directory: directory.to_owned(),
            config: read_json(&directory.join(CONFIG_FILE), LARGEST_CONFIG).map_err(FormatError::in_directory)?,
            generation_config: optional(read_json(&directory.join("generation_config.json"), LARGEST_CONFIG))?,
            tokenizer: optional(read_bounded(&directory.join(TOKENIZER_FILE), LARGEST_TOKENIZER))?,
            special_tokens_map: optional(read_json(&directory.join("special_tokens_map.json"), LARGEST_CONFIG))?,
            chat_templates: chat_templates(directory, tokenizer_config.as_deref())?,
            tokenizer_config,
        })
    }

    /// The usual chat template: the one called `default`, or else the first.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        let default = self.chat_templates.iter().find(|(name, _)| name == "default");
        default.or_else(|| self.chat_templates.first()).map(|(_, template)| template.as_str())
    }

    /// The bytes of `tokenizer.json`.
    ///
    /// # Errors
    /// Where the folder has none.
    pub fn required_tokenizer(&self) -> Result<&[u8], FormatError> {
        self.tokenizer.as_deref().ok_or_else(|| FormatError::MissingFile {
            directory: self.directory.clone(),
            file: TOKENIZER_FILE.to_owned(),
        })
    }
}

/// A model folder with its weights.
#[derive(Debug)]
pub struct Checkpoint {
    /// Configuration, tokenizer and chat templates.
    pub config: HfConfig,
    /// The weights.
    pub weights: SafeTensors,
}

impl Checkpoint {
    /// Opens a folder with `config.json` and safetensors files, or such a file that lies beside its `config.json`.
    ///
    /// # Errors
    /// Where a file is missing or breaks its format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let directory = if path.is_dir() {
            path
        } else {
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
        };
        // The weights first: a wrong path should be reported as such, and not as a missing config.json.
        let weights = SafeTensors::open(path)?;
        Ok(Self { config: HfConfig::open(directory)?, weights })
    }
}

/// Reads a JSON file of at most `limit` bytes.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Value, FormatError> {
    parse_json(path, &read_bounded(path, limit)?)
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<Value, FormatError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        FormatError::Json {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            message: crate::error::shown(message.as_bytes()),
        }
    })
}

/// `None` for a file that does not exist.
fn optional<T>(read: Result<T, FormatError>) -> Result<Option<T>, FormatError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(FormatError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folder's chat templates, in the order of precedence of `transformers`: `chat_template.jinja`, then the older
/// `chat_template.json`, then the key `chat_template` of `tokenizer_config.json` (a text, or a list of named texts).
fn chat_templates(directory: &Path, tokenizer_config: Option<&[u8]>) -> Result<Vec<(String, String)>, FormatError> {
    let file = directory.join("chat_template.jinja");
    if let Some(bytes) = optional(read_bounded(&file, LARGEST_TEMPLATE))? {
        let template = String::from_utf8(bytes)
            .map_err(|error| FormatError::NotUtf8 { path: file, offset: error.utf8_error().valid_up_to() })?;
        return Ok(vec![("default".to_owned(), template)]);
    }
    if let Some(json) = optional(read_json(&directory.join("chat_template.json"), LARGEST_TEMPLATE))? {
        return Ok(templates_in(json.get("chat_template")));
    }
    let Some(bytes) = tokenizer_config else {
        return Ok(Vec::new());
    };
    let config = parse_json(&directory.join("tokenizer_config.json"), bytes)?;
    Ok(templates_in(config.get("chat_template")))
}

/// The templates in a `chat_template` value: a text, or a list of `{"name": .., "template": ..}`.
fn templates_in(value: Option<&Value>) -> Vec<(String, String)> {
    match value {
        Some(Value::String(template)) => vec![("default".to_owned(), template.clone())],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|item| {
                Some((item.get("name")?.as_str()?.to_owned(), item.get("template")?.as_str()?.to_owned()))
            })
            .collect(),
        _ => Vec::new(),
    }
}
