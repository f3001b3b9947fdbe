//! A sentence encoder as handlers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use saem_encoder::{Embeddings, SentenceEncoder};
use tokio::sync::Semaphore;

use crate::ApiError;

/// Texts that are computed between two looks at whether somebody still waits for them.
const AT_ONCE: usize = 64;

/// A sentence encoder, and the queue in front of it.
#[derive(Debug)]
pub struct Embedder {
    name: String,
    encoder: SentenceEncoder,
    created: u64,
    /// The encoder uses all of its threads for one batch, so batches take turns, first come, first served.
    turn: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// A place in the queue, left by dropping it.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Embedder {
    /// An encoder under the name that requests use; `max_waiting` requests may wait for it.
    #[must_use]
    pub fn new(name: String, encoder: SentenceEncoder, max_waiting: usize) -> Self {
        let created = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        Self { name, encoder, created, turn: Semaphore::new(1), waiting: AtomicUsize::new(0), max_waiting }
    }

    /// The name that requests use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was loaded, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Tokens of a text.
    #[must_use]
    pub fn count_tokens(&self, text: &str) -> usize {
        self.encoder.count_tokens(text)
    }

    /// The vectors of texts, a few texts at a time between those of others. Who stops waiting costs at most one turn.
    ///
    /// # Errors
    /// 429 `queue_full` where too many wait already.
    pub async fn encode(self: &Arc<Self>, texts: Vec<String>) -> Result<Embeddings, ApiError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.waiting);
        if before >= self.max_waiting {
            let message = format!("{before} requests wait already; try again");
            return Err(ApiError::rate_limited("queue_full", message, 1));
        }
        let mut all = Embeddings::default();
        let texts = Arc::new(texts);
        for start in (0..texts.len()).step_by(AT_ONCE) {
            let turn = self.turn.acquire().await.map_err(|_| ApiError::internal())?;
            let (embedder, texts) = (Arc::clone(self), Arc::clone(&texts));
            let part = tokio::task::spawn_blocking(move || {
                let part: Vec<&str> = texts.iter().skip(start).take(AT_ONCE).map(String::as_str).collect();
                embedder.encoder.encode(&part)
            });
            let part = part.await.map_err(|_| ApiError::internal())?;
            drop(turn);
            all.vectors.extend(part.vectors);
            all.tokens.extend(part.tokens);
        }
        Ok(all)
    }
}
