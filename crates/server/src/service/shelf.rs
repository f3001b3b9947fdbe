//! Models that are not served, and could be.

use std::path::Path;

use super::{LoadError, Planned, Service};

/// A sentence in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

/// A model that writes texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// What [`Shelf::open`] takes.
    pub name: String,
    /// What it is good for; empty where that is not known.
    pub about: Words,
    /// The name of its licence.
    pub licence: Option<String>,
    /// Whether its files are on this machine.
    pub is_here: bool,
    /// Bytes that serving it takes: planned where its files are here, guessed by their size where they are not.
    pub bytes: Option<u64>,
}

/// Where a server finds models beside those that it was started with.
pub trait Shelf: std::fmt::Debug + Send + Sync {
    /// The models, those on this machine first. Reads the heads of files, so call it where waiting is allowed.
    fn models(&self) -> Vec<Shelved>;

    /// Loads a model whose files are on this machine, under its name. Nothing is downloaded.
    ///
    /// # Errors
    /// Where it is not here, or as [`Service::plan`] and [`Planned::load`](super::Planned::load).
    fn open(&self, name: &str) -> Result<Service, ShelfError>;

    /// Plans a model that came while the server runs, at this path, under this name.
    ///
    /// # Errors
    /// As [`Service::plan`].
    fn plan_at(&self, path: &Path, name: &str) -> Result<Planned, ShelfError>;
}

/// A model that cannot be taken from the shelf.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// Its files are not on this machine.
    #[error("{name} is not on this machine")]
    NotHere {
        /// Which.
        name: String,
    },
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}
