//! Ctrl-C: stops an answer while there is one, and leaves otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::commands::INTERRUPTED;

/// Watches for Ctrl-C from its making on.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    /// An answer is being written.
    answering: Arc<AtomicBool>,
    /// It is to stop.
    stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over Ctrl-C.
    pub(super) fn watch() -> anyhow::Result<Self> {
        let interrupt = Self { answering: Arc::default(), stop: Arc::default() };
        let seen = interrupt.clone();
        ctrlc::set_handler(move || {
            // The second Ctrl-C during one answer finds `stop` set already.
            if !seen.answering.load(Ordering::Relaxed) || seen.stop.swap(true, Ordering::Relaxed) {
                // Ctrl-C outside an answer leaves, as it would without a handler.
                std::process::exit(INTERRUPTED);
            }
        })?;
        Ok(interrupt)
    }

    /// Marks the start of an answer and gives the flag that asks it to stop.
    pub(super) fn begin_answer(&self) -> Arc<AtomicBool> {
        self.stop.store(false, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        Arc::clone(&self.stop)
    }

    /// Marks its end.
    pub(super) fn end_answer(&self) {
        self.answering.store(false, Ordering::Relaxed);
    }
}
