//! Where the records are: a file beside the models, or a Postgres server that several machines share.

use std::fmt;
use std::path::{Path, PathBuf, absolute};

use crate::StoreError;
use crate::error::Result;

/// A database that may hold the records.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file; made where it is missing.
    Sqlite(PathBuf),
    /// A `postgres://user:password@host/database` URL.
    Postgres(String),
}

impl Location {
    /// The location that the environment names: `$DATABASE_URL`, else `saem.db` in Saem's home.
    ///
    /// # Errors
    ///
    /// [`StoreError::Location`] where the URL is of another kind.
    pub fn from_env(home: &Path) -> Result<Self> {
        match std::env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => Self::parse(&url),
            _ => Ok(Self::Sqlite(home.join("saem.db"))),
        }
    }

    /// The location that a URL names: `postgres://...`, `postgresql://...`, `sqlite:path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Location`] for every other kind.
    pub fn parse(url: &str) -> Result<Self> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(url.to_owned())),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            _ => Err(StoreError::Location { location: without_password(url) }),
        }
    }

    /// The URL that the driver takes.
    pub(crate) fn url(&self) -> Result<String> {
        match self {
            Self::Postgres(url) => Ok(url.clone()),
            Self::Sqlite(path) => {
                let path = absolute(path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
                let text =
                    path.to_str().ok_or_else(|| StoreError::Location { location: path.display().to_string() })?;
                Ok(format!("sqlite://{}?mode=rwc", percent_encoded(text)))
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(formatter),
            Self::Postgres(url) => formatter.write_str(&without_password(url)),
        }
    }
}

/// Shows no password either.
impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Location({self})")
    }
}

/// `postgres://user:secret@host/db?password=secret` as `postgres://user@host/db`.
fn without_password(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password may itself hold an unescaped `@`; the last one ends it.
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        None => url.to_owned(),
    }
}

/// Everything but letters, digits and `/-._~` as `%XX`, so that a path may hold spaces, `?`, `#`, `%` and Hangul.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn no_password_is_ever_shown() {
        for url in [
            "postgres://saem:hunter2@db.local:5432/saem",
            "postgres://saem:hunter2@hunter2@db.local/saem",
            "postgresql://saem@db.local/saem?password=hunter2",
        ] {
            let location = Location::parse(url).unwrap();
            let shown = format!("{location} {location:?}");
            assert!(!shown.contains("hunter2") && shown.contains("db.local"), "{shown}");
        }
        let error = Location::parse("mysql://root:hunter2@db.local/saem").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("mysql://root@db.local/saem"), "{error}");
    }

    #[test]
    fn odd_paths_survive_the_url() {
        let url = Location::Sqlite("/tmp/샘 100%?#/a.db".into()).url().unwrap();
        assert_eq!(url, "sqlite:///tmp/%EC%83%98%20100%25%3F%23/a.db?mode=rwc");
    }
}
