//! What can go wrong between a caller and the records.

use std::io;
use std::path::PathBuf;

/// Why the store could not do what it was asked for. No variant carries a secret or the password of a database URL.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location is neither a path nor a `postgres://` URL.
    #[error("{location} is no database that Saem knows: a path or postgres://...")]
    Location {
        /// The location, without its password.
        location: String,
    },

    /// A file or directory of the embedded database could not be made or opened.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// The database refused or could not be reached.
    #[error("the database {location} failed")]
    Database {
        /// The location, without its password.
        location: String,
        /// The driver's reason.
        source: sqlx::Error,
    },

    /// The tables could not be brought up to date, for example since a newer Saem made them.
    #[error("the tables of {location} could not be brought up to date")]
    Migration {
        /// The location, without its password.
        location: String,
        /// The driver's reason.
        source: sqlx::migrate::MigrateError,
    },

    /// A row holds what this version cannot read.
    #[error("{what} cannot be read: {reason}")]
    Damaged {
        /// The row.
        what: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Nothing has this id.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// `key`, `app`, `project`, for example.
        kind: &'static str,
        /// What was asked for.
        id: String,
    },

    /// The key was revoked or replaced before, so it cannot be rotated.
    #[error("key {id} is revoked or was replaced already")]
    KeyInactive {
        /// The key.
        id: String,
    },

    /// An app of this tenant has the name already.
    #[error("an app named {name} exists already")]
    AppExists {
        /// The name.
        name: String,
    },

    /// The organisation has as many of them as it may.
    #[error("there are {most} {kind} already; remove some first")]
    TooMany {
        /// `projects`, for example.
        kind: &'static str,
        /// How many there may be.
        most: i64,
    },

    /// A value is out of its range.
    #[error("{field}: {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },

    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {reason}")]
    Random {
        /// Its reason.
        reason: String,
    },

    /// The password could not be hashed or its stored hash not be read.
    #[error("the password could not be processed: {reason}")]
    Password {
        /// The reason.
        reason: String,
    },
}

/// Results of this crate.
pub(crate) type Result<T> = std::result::Result<T, StoreError>;
