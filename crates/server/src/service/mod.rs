//! Models that answer: each has a thread of its own, and everybody else talks to it over channels.
//!
//! [`Service`] finds a [`Served`] model by name; [`Served::start`] hands a request to its thread and returns a
//! [`Generation`], a stream of owned events. Dropping the stream is how a request is cancelled: its blocks are free
//! before the next pass.

mod embedder;
mod generation;
mod keep;
mod load;
mod record;
mod served;
mod shelf;
mod thread;

use std::sync::{Arc, PoisonError, RwLock};

pub use embedder::Embedder;
pub use generation::{Generation, GenerationEvent};
pub use load::{AdapterFile, LoadError, ModelFile, Planned, ServiceOptions};
pub use record::{Finished, Outcome, Recorder};
pub use served::Served;
pub use shelf::{Shelf, ShelfError, Shelved, Words};

use crate::ApiError;

/// All models of a server.
#[derive(Debug, Default)]
pub struct Service {
    models: Vec<Arc<Served>>,
    /// Models that came while it served: with adapters, or from the shelf.
    later: RwLock<Vec<Arc<Served>>>,
    embedders: Vec<Arc<Embedder>>,
    shelf: Option<Arc<dyn Shelf>>,
}

impl Service {
    /// A service of models that are loaded already. Of two models with one name, the first answers.
    #[must_use]
    pub fn new(models: Vec<Served>) -> Self {
        Self { models: models.into_iter().map(Arc::new).collect(), ..Self::default() }
    }

    /// The same with sentence encoders.
    #[must_use]
    pub fn with_embedders(self, embedders: Vec<Embedder>) -> Self {
        Self { embedders: embedders.into_iter().map(Arc::new).collect(), ..self }
    }

    /// The same, where more models can be had.
    #[must_use]
    pub fn with_shelf(self, shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// Models that were just loaded, for one organisation only.
    pub(crate) fn into_models_of(self, owner: &str) -> impl Iterator<Item = Served> {
        self.models.into_iter().filter_map(Arc::into_inner).map(move |model| model.owned_by(owner))
    }

    /// Where more models can be had.
    #[must_use]
    pub fn shelf(&self) -> Option<&Arc<dyn Shelf>> {
        self.shelf.as_ref()
    }

    /// The models in the order in which they were given.
    #[must_use]
    pub fn models(&self) -> &[Arc<Served>] {
        &self.models
    }

    /// These, and after them those that came while it served.
    #[must_use]
    pub fn all_models(&self) -> Vec<Arc<Served>> {
        let later = self.later.read().unwrap_or_else(PoisonError::into_inner);
        self.models.iter().chain(later.iter()).map(Arc::clone).collect()
    }

    /// Serves one more model. False where there is one of its name already.
    pub fn add(&self, model: impl Into<Arc<Served>>) -> bool {
        let model = model.into();
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        let is_free = !self.models.iter().chain(later.iter()).any(|known| known.name() == model.name());
        if is_free {
            later.push(model);
        }
        is_free
    }

    /// Serves a model no longer that came while it served; requests at work go on. False where there is none of the name.
    pub fn withdraw(&self, name: &str) -> bool {
        let mut later = self.later.write().unwrap_or_else(PoisonError::into_inner);
        let before = later.len();
        later.retain(|model| model.name() != name);
        later.len() < before
    }

    /// The model of this name.
    ///
    /// # Errors
    /// 404 `model_not_found`; 400 where the model makes vectors and writes no texts.
    pub fn model(&self, name: &str) -> Result<Arc<Served>, ApiError> {
        let found = self.all_models().into_iter().find(|model| model.name() == name);
        found.ok_or_else(|| match self.embedders.iter().any(|embedder| embedder.name() == name) {
            true => {
                ApiError::invalid_value("model", format!("The model `{name}` makes embeddings and writes no texts"))
            }
            false => ApiError::unknown_model(name),
        })
    }

    /// The sentence encoders in the order in which they were given.
    #[must_use]
    pub fn embedders(&self) -> &[Arc<Embedder>] {
        &self.embedders
    }

    /// The sentence encoder of this name.
    ///
    /// # Errors
    /// 404 `model_not_found`; 400 where the model writes texts and makes no vectors.
    pub fn embedder(&self, name: &str) -> Result<&Arc<Embedder>, ApiError> {
        let found = self.embedders.iter().find(|embedder| embedder.name() == name);
        found.ok_or_else(|| match self.model(name) {
            Ok(_) => ApiError::invalid_value("model", format!("The model `{name}` makes no embeddings")),
            Err(error) => error,
        })
    }

    /// Writes the computed prompts of every model to where [`ServiceOptions::prompts`] said, for the next start.
    ///
    /// # Errors
    /// The first model's that cannot be written; the others are.
    pub async fn keep(&self) -> std::io::Result<()> {
        let mut kept = Ok(());
        for model in &self.models {
            kept = kept.and(model.keep().await);
        }
        kept
    }

    /// Whether every model's thread is there to take requests.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.models.iter().all(|model| model.is_alive())
    }
}
