//! What a download tells, and asks, whoever started it.

use std::ops::ControlFlow;

use crate::catalogue::Licence;

/// The terms of a model about to be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The model's name.
    pub model: &'a str,
    /// Identifier of the licence: the catalogue's key, else what the source says.
    pub identifier: &'a str,
    /// What the catalogue knows of it.
    pub licence: Option<&'a Licence>,
    /// Whether the download goes on only if it is accepted now.
    pub ask: bool,
}

/// Something worth a quiet line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another process fetches the same model; this one waits for it.
    Waiting,
    /// A source cannot be used and the next one is tried.
    NextSource {
        /// Why, in English, for logs.
        reason: String,
    },
    /// An earlier attempt had fetched this many bytes; they are checked and kept.
    Resuming {
        /// Bytes that are here already.
        bytes: u64,
    },
    /// The connection broke and is opened again.
    Retrying {
        /// Why, in English, for logs.
        reason: String,
    },
}

/// Receives the progress of a download.
///
/// Every method has a default that ignores what it is told and accepts nothing.
pub trait Observer {
    /// Shows the licence. The answer counts only where `terms.ask` is set.
    fn accept(&mut self, terms: &Terms<'_>) -> bool {
        let _ = terms;
        false
    }

    /// `total` bytes (where known) are about to be fetched under this name, in one or several files.
    fn begin(&mut self, name: &str, total: Option<u64>) {
        let _ = (name, total);
    }

    /// `done` bytes of the total are here. Breaking stops the download; what has arrived is kept.
    fn progress(&mut self, done: u64) -> ControlFlow<()> {
        let _ = done;
        ControlFlow::Continue(())
    }

    /// Something else happened.
    fn event(&mut self, event: Event) {
        let _ = event;
    }

    /// Every byte is here and verified.
    fn finish(&mut self) {}
}

/// Ignores everything and accepts no licence.
impl Observer for () {}
