//! What can be wrong with a model on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::{WriteError, gguf, safetensors};

/// A model that cannot be opened: which file, where in it, and what is wrong.
///
/// The text of each variant is English and complete; a program that speaks another language matches on the variants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Nothing lies at the path that was asked for.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A model folder lacks one of its files.
    #[error("{file} is missing in {}", directory.display())]
    MissingFile {
        /// The model's folder.
        directory: PathBuf,
        /// Name of the missing file.
        file: String,
    },
    /// The operating system refused to open, read or map a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The path is a folder, a pipe or a device where a file is needed.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file that is read whole is larger than such a file may be.
    #[error("{} has {bytes} bytes; at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is accepted.
        limit: u64,
    },
    /// A JSON file that is not JSON, or not of the expected shape.
    #[error("{}: line {line}, column {column}: {message}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, from 1 (0 where the file as a whole is wrong).
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// A text file (a chat template) that is not UTF-8.
    #[error("{}: byte {offset}: the text is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where the first broken character starts.
        offset: usize,
    },
    /// A GGUF file that breaks its format.
    #[error("{}: byte {offset}: {problem}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        problem: Box<gguf::Problem>,
    },
    /// A safetensors file or its index that breaks the format.
    #[error("{}: byte {offset}: {problem}", path.display())]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        problem: Box<safetensors::Problem>,
    },
    /// The file is neither GGUF nor safetensors.
    #[error(
        "{} is not a model that Saem reads (GGUF or safetensors){}",
        path.display(),
        lookalike.map(|kind| format!("; it looks like {kind}")).unwrap_or_default()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What the first bytes suggest.
        lookalike: Option<Lookalike>,
    },
    /// A folder without anything to load.
    #[error("{} holds no model: neither config.json with *.safetensors nor one *.gguf", directory.display())]
    NoModel {
        /// The folder.
        directory: PathBuf,
    },
    /// A folder with several models, of which none is preferred.
    #[error("{} holds several models ({}); name one of them", directory.display(), files.join(", "))]
    SeveralModels {
        /// The folder.
        directory: PathBuf,
        /// File names of the candidates, sorted.
        files: Vec<String>,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl FormatError {
    /// The file or folder that the error is about, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NotFound { path }
            | Self::Io { path, .. }
            | Self::NotAFile { path }
            | Self::TooLarge { path, .. }
            | Self::Json { path, .. }
            | Self::NotUtf8 { path, .. }
            | Self::Gguf { path, .. }
            | Self::SafeTensors { path, .. }
            | Self::UnknownFormat { path, .. } => Some(path),
            Self::MissingFile { directory, .. }
            | Self::NoModel { directory }
            | Self::SeveralModels { directory, .. } => Some(directory),
            Self::Write(_) => None,
        }
    }

    /// The error for a failed system call on `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::NotFound { path: path.to_owned() }
        } else {
            Self::Io { path: path.to_owned(), source }
        }
    }

    /// The error for a file that belongs to a model's folder: a missing one is named as such.
    pub(crate) fn in_directory(self) -> Self {
        match self {
            Self::NotFound { path } => match (path.parent(), path.file_name()) {
                (Some(directory), Some(file)) => {
                    Self::MissingFile { directory: directory.to_owned(), file: file.to_string_lossy().into_owned() }
                }
                _ => Self::NotFound { path },
            },
            other => other,
        }
    }
}

/// What a file that is no model seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookalike {
    /// An empty file, often a download that was cut off.
    Empty,
    /// The small text that Git keeps in place of a large file: `git lfs pull` was not run.
    GitLfsPointer,
    /// A web page, often an error page that was saved under the model's name.
    WebPage,
    /// A zip archive, often a PyTorch checkpoint (`.pt`, `.bin`).
    Zip,
    /// A Python pickle, which Saem never reads because it can run code.
    Pickle,
    /// A llama.cpp file from before GGUF.
    OldGgml,
    /// JSON or other text.
    Text,
}

impl Lookalike {
    /// Guesses from the first bytes of a file.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        let text = start.trim_ascii_start();
        let page = |tag: &[u8]| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
        Some(match start {
            [] => Self::Empty,
            _ if start.starts_with(b"version https://git-lfs") => Self::GitLfsPointer,
            _ if page(b"<!doctype") || page(b"<html") => Self::WebPage,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            [0x80, 2..=5, ..] => Self::Pickle,
            _ if [b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|magic| start.starts_with(*magic)) => Self::OldGgml,
            _ if start.iter().take(64).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => Self::Text,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Lookalike {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "an empty file",
            Self::GitLfsPointer => "a Git LFS pointer (run `git lfs pull`)",
            Self::WebPage => "a web page (was an error page saved instead of the model?)",
            Self::Zip => "a zip archive or PyTorch checkpoint (convert it to safetensors)",
            Self::Pickle => "a Python pickle (convert it to safetensors)",
            Self::OldGgml => "a GGML file from before GGUF (convert it again)",
            Self::Text => "a text file",
        })
    }
}

/// Untrusted text as it may be shown: escaped, in quotes, and cut to a line's length.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 96;
    let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes));
    let mut shown: String = text.escape_debug().collect();
    if bytes.len() > LONGEST {
        shown.push('…');
    }
    shown
}
