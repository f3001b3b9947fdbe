//! Models that answer: each has a thread of its own, and everybody else talks to it over channels.
//!
//! [`Service`] finds a [`Served`] model by name; [`Served::start`] hands a request to its thread and returns a
//! [`Generation`], a stream of owned events. Dropping the stream is how a request is cancelled: its blocks are free
//! before the next pass.

mod generation;
mod load;
mod record;
mod served;
mod thread;

use std::sync::Arc;

pub use generation::{Generation, GenerationEvent};
pub use load::{LoadError, ModelFile, ServiceOptions};
pub use record::{Finished, Outcome, Recorder};
pub use served::Served;

use crate::ApiError;

/// All models of a server.
#[derive(Debug, Default)]
pub struct Service {
    models: Vec<Arc<Served>>,
}

impl Service {
    /// A service of models that are loaded already. Of two models with one name, the first answers.
    #[must_use]
    pub fn new(models: Vec<Served>) -> Self {
        Self { models: models.into_iter().map(Arc::new).collect() }
    }

    /// The models in the order in which they were given.
    #[must_use]
    pub fn models(&self) -> &[Arc<Served>] {
        &self.models
    }

    /// The model of this name.
    ///
    /// # Errors
    /// 404 `model_not_found`.
    pub fn model(&self, name: &str) -> Result<&Arc<Served>, ApiError> {
        self.models.iter().find(|model| model.name() == name).ok_or_else(|| ApiError::unknown_model(name))
    }

    /// Whether every model's thread is there to take requests.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.models.iter().all(|model| model.is_alive())
    }
}
