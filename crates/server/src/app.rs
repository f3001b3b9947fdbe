//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use saem_encoder::Embeddings;
use saem_engine::{Request, Usage};
use tokio::sync::{Mutex, Notify};

use crate::log::LogRecorder;
use crate::service::{Embedder, Finished, Generation, Outcome, Recorder, Served, Service};
use crate::{Access, ApiError, Caller, Metrics, Settings};

/// Parts of a queue, of which one key may take one.
const SHARES: usize = 4;

/// Models, settings and counters of a server; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    settings: Settings,
    metrics: Arc<Metrics>,
    recorders: Arc<[Arc<dyn Recorder>]>,
    access: Option<Arc<Access>>,
    draining: AtomicBool,
    batches: Notify,
    tunings: Notify,
    plans: Mutex<()>,
    loading: Mutex<()>,
}

impl App {
    /// A server's state. Log and metrics are always told how requests end; `recorders` are told too.
    #[must_use]
    pub fn new(service: Service, settings: Settings, recorders: Vec<Arc<dyn Recorder>>) -> Self {
        Self::build(service, settings, recorders, None)
    }

    /// A server whose requests pass `access`, which hears how they end.
    #[must_use]
    pub fn with_access(
        service: Service,
        settings: Settings,
        mut recorders: Vec<Arc<dyn Recorder>>,
        access: Arc<Access>,
    ) -> Self {
        recorders.push(Arc::clone(&access) as Arc<dyn Recorder>);
        Self::build(service, settings, recorders, Some(access))
    }

    fn build(
        service: Service,
        settings: Settings,
        recorders: Vec<Arc<dyn Recorder>>,
        access: Option<Arc<Access>>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let own: [Arc<dyn Recorder>; 2] = [Arc::clone(&metrics) as Arc<dyn Recorder>, Arc::new(LogRecorder)];
        let recorders = own.into_iter().chain(recorders).collect();
        Self(Arc::new(Inner {
            service,
            settings,
            metrics,
            recorders,
            access,
            draining: AtomicBool::new(false),
            batches: Notify::new(),
            tunings: Notify::new(),
            plans: Mutex::default(),
            loading: Mutex::default(),
        }))
    }

    /// The models.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// How the server is set up.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Who may pass, where that is asked.
    pub(crate) fn access(&self) -> Option<&Arc<Access>> {
        self.0.access.as_ref()
    }

    /// The model of this name, if this caller may use it.
    ///
    /// # Errors
    /// 404 `model_not_found`, 403 `model_not_allowed`.
    pub fn model(&self, caller: &Caller, name: &str) -> Result<Arc<Served>, ApiError> {
        let model = self.service().model(name)?;
        if !model.is_for(caller.tenant_name()) {
            return Err(ApiError::unknown_model(name));
        }
        if caller.allows_model(model.name()) { Ok(model) } else { Err(caller.refused(name)) }
    }

    /// The sentence encoder of this name, if this caller may use it.
    ///
    /// # Errors
    /// As [`Service::embedder`]; 403 `model_not_allowed`.
    pub fn embedder(&self, caller: &Caller, name: &str) -> Result<&Arc<Embedder>, ApiError> {
        let embedder = self.service().embedder(name)?;
        if caller.allows_model(embedder.name()) { Ok(embedder) } else { Err(caller.refused(name)) }
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// From now on no request is started; those at work go on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is going down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Told where a batch is started.
    pub(crate) fn batches(&self) -> &Notify {
        &self.0.batches
    }

    /// Told where a tuning is started.
    pub(crate) fn tunings(&self) -> &Notify {
        &self.0.tunings
    }

    /// Held while a tuning is planned: one at a time.
    pub(crate) fn plans(&self) -> &Mutex<()> {
        &self.0.plans
    }

    /// Held while a model is loaded: one at a time.
    pub(crate) fn loading(&self) -> &Mutex<()> {
        &self.0.loading
    }

    /// Starts a request on behalf of `caller`.
    ///
    /// # Errors
    /// As [`Served::start`]; 503 `shutting_down` while draining; 429 `rate_limit_exceeded` where the caller's key has
    /// used up its allowance, or `queue_share_full` where too many of its requests wait.
    pub async fn start(
        &self,
        caller: &Caller,
        model: &Arc<Served>,
        mut request: Request,
    ) -> Result<Generation, ApiError> {
        if self.is_draining() {
            return Err(ApiError::draining());
        }
        request.tenant = caller.tenant;
        request.line = caller.line();
        request.line_waiting = self.line_waiting(caller, model.limits().max_waiting).await?;
        let caller = caller.admitted(model.name(), most_tokens(&request, model.limits().context)).await?;
        model.start(&caller, request, &self.0.recorders).await
    }

    /// The most requests of this caller's key that may wait in a queue of this length, so that one key cannot fill it
    /// and have everybody else refused. Whoever has the only key has the whole queue.
    async fn line_waiting(&self, caller: &Caller, queue: usize) -> Result<Option<usize>, ApiError> {
        let (Some(access), Some(_)) = (self.access(), caller.line()) else { return Ok(None) };
        let most = self.settings().waiting_per_key;
        if most.is_some() {
            return Ok(most);
        }
        Ok(access.has_several_keys().await?.then_some((queue / SHARES).max(1)))
    }

    /// The vectors of texts, on behalf of `caller`.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn embed(
        &self,
        caller: &Caller,
        embedder: &Arc<Embedder>,
        texts: Vec<String>,
    ) -> Result<Embeddings, ApiError> {
        if self.is_draining() {
            return Err(ApiError::draining());
        }
        let begun = Instant::now();
        // No token is shorter than a character, but for the two at the ends.
        let most = texts.iter().map(|text| text.chars().count() + 2).sum();
        let caller = caller.admitted(embedder.name(), most).await?;
        let embeddings = embedder.encode(texts).await?;
        let finished = Finished {
            caller: &caller,
            model: embedder.name(),
            outcome: Outcome::Done,
            usage: Usage { prompt_tokens: embeddings.tokens.iter().sum(), ..Usage::default() },
            timings: None,
            elapsed: begun.elapsed(),
        };
        self.0.recorders.iter().for_each(|recorder| recorder.finished(&finished));
        Ok(embeddings)
    }
}

/// The most tokens that a request may take: its prompt once, and the longest answer of each candidate.
fn most_tokens(request: &Request, context: usize) -> usize {
    let prompt = request.prompt.len();
    let room = context.saturating_sub(prompt);
    let answer = request.max_tokens.map_or(room, |most| most.min(room));
    prompt.saturating_add(answer.saturating_mul(request.candidates))
}

#[cfg(test)]
mod tests {
    use saem_engine::Sampling;

    use super::*;

    #[test]
    fn the_longest_answer_is_bounded_by_the_context() {
        let mut request = Request::new(vec![0; 100], Sampling::default());
        assert_eq!(most_tokens(&request, 512), 512);
        request.max_tokens = Some(10);
        request.candidates = 3;
        assert_eq!(most_tokens(&request, 512), 130);
        request.max_tokens = Some(1_000_000);
        assert_eq!(most_tokens(&request, 512), 100 + 3 * 412);
    }
}
