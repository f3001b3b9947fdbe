//! Which licences the user has accepted, so that each is asked for once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::lock::Lock;
use crate::manifest::now;
use crate::{HubError, atomic};

/// Identifiers of licences that bind nobody to anything before they pass the model on.
const PERMISSIVE: [&str; 14] = [
    "apache-2.0",
    "apache 2.0",
    "apache license 2.0",
    "mit",
    "mit license",
    "isc",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "unlicense",
    "zlib",
];

/// Whether a licence that the catalogue does not know needs no acceptance.
pub(crate) fn is_permissive(identifier: &str) -> bool {
    PERMISSIVE.iter().any(|known| known.eq_ignore_ascii_case(identifier))
}

/// When the licence was accepted.
pub(crate) fn accepted_at(home: &Path, identifier: &str) -> Result<Option<String>, HubError> {
    Ok(read(home)?.remove(&identifier.to_ascii_lowercase()))
}

/// Records that the licence is accepted now, and returns the moment.
pub(crate) fn accept(home: &Path, identifier: &str) -> Result<String, HubError> {
    let _lock = Lock::acquire(&home.join("locks").join("licences"))?;
    let mut accepted = read(home)?;
    let moment = accepted.entry(identifier.to_ascii_lowercase()).or_insert_with(now).clone();
    let path = home.join("licences.json");
    let mut text =
        serde_json::to_vec_pretty(&accepted).map_err(|source| HubError::Json { path: path.clone(), source })?;
    text.push(b'\n');
    atomic::write(&path, &text)?;
    Ok(moment)
}

fn read(home: &Path) -> Result<BTreeMap<String, String>, HubError> {
    let path = home.join("licences.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| HubError::Json { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(HubError::Io { action: "read", path, source }),
    }
}
