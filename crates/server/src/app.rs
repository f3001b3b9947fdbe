//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use saem_engine::Request;

use crate::log::LogRecorder;
use crate::service::{Generation, Recorder, Served, Service};
use crate::{ApiError, Caller, Metrics, Settings};

/// Models, settings and counters of a server; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    settings: Settings,
    metrics: Arc<Metrics>,
    recorders: Arc<[Arc<dyn Recorder>]>,
    draining: AtomicBool,
}

impl App {
    /// A server's state. Log and metrics are always told how requests end; `recorders` are told too.
    #[must_use]
    pub fn new(service: Service, settings: Settings, recorders: Vec<Arc<dyn Recorder>>) -> Self {
        let metrics = Arc::new(Metrics::new());
        let own: [Arc<dyn Recorder>; 2] = [Arc::clone(&metrics) as Arc<dyn Recorder>, Arc::new(LogRecorder)];
        let recorders = own.into_iter().chain(recorders).collect();
        Self(Arc::new(Inner { service, settings, metrics, recorders, draining: AtomicBool::new(false) }))
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

    /// Starts a request on behalf of `caller`.
    ///
    /// # Errors
    /// As [`Served::start`]; 503 `shutting_down` while draining.
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
        model.start(caller, request, &self.0.recorders).await
    }
}
