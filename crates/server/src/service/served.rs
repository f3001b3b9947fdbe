//! One model as handlers see it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use saem_engine::constraint::Constraints;
use saem_engine::{Adapter, Adapters, EngineError, Limits, ModelText, Plan, Request, Worker};
use tokio::sync::{mpsc as channel, oneshot};

use super::generation::Generation;
use super::keep::Keeper;
use super::record::{Record, Recorder};
use super::thread::{Command, Status, run};
use crate::{ApiError, Caller};

/// A model, its limits, and the way to its thread.
#[derive(Debug)]
pub struct Served {
    name: String,
    text: Arc<ModelText>,
    constraints: Arc<Constraints>,
    plan: Plan,
    created: u64,
    commands: mpsc::Sender<Command>,
    keeper: Option<Arc<Keeper>>,
    adapter: Option<Arc<Adapter>>,
    adapters: Option<Arc<Adapters>>,
    path: Option<Arc<Path>>,
    owner: Option<Arc<str>>,
    status: Arc<Status>,
}

impl Served {
    /// Starts the model's thread, which ends when this value is dropped and its last request is done.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn new(name: String, worker: Worker, text: Arc<ModelText>, plan: Plan) -> std::io::Result<Self> {
        let constraints = Arc::clone(worker.constraints());
        let adapters = worker.adapters().cloned();
        let (commands, receiver) = mpsc::channel();
        let status = Arc::new(Status::new(&worker));
        let shared = Arc::clone(&status);
        std::thread::Builder::new().name(format!("saem-{name}")).spawn(move || run(worker, &receiver, &shared))?;
        let created = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        let (keeper, adapter, path, owner) = (None, None, None, None);
        Ok(Self { name, text, constraints, plan, created, commands, keeper, adapter, adapters, path, owner, status })
    }

    /// The same model under another name, with an adapter for every request. Both share the thread, the cache and the
    /// queue.
    #[must_use]
    pub fn with_adapter(&self, name: String, adapter: Arc<Adapter>) -> Self {
        Self {
            name,
            text: Arc::clone(&self.text),
            constraints: Arc::clone(&self.constraints),
            plan: self.plan.clone(),
            created: self.created,
            commands: self.commands.clone(),
            keeper: None,
            adapter: Some(adapter),
            adapters: None,
            path: None,
            owner: None,
            status: Arc::clone(&self.status),
        }
    }

    /// The same model with the adapter at this path, under a name of its own, for one organisation only. The file is read
    /// on the thread that asks. Who drops the value gives the adapter's memory back once no request uses it any more.
    ///
    /// # Errors
    /// [`EngineError::NoAdapters`] where no memory was set aside, also for what is an adapted model itself, and
    /// [`EngineError::Adapter`] where the adapter cannot be read, does not fit or takes more than is left.
    pub fn adapted(&self, name: String, path: &Path, owner: &str) -> Result<Self, EngineError> {
        let adapters = self.adapters.as_ref().ok_or(EngineError::NoAdapters)?;
        let adapter = adapters.load(name.clone(), path)?;
        // What serves it holds it; the name would hold it for good.
        adapters.remove(&name);
        Ok(Self { owner: Some(owner.into()), ..self.with_adapter(name, adapter) })
    }

    /// The same, for one organisation only.
    pub(super) fn owned_by(self, owner: &str) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }

    /// The same, read from this file or folder.
    pub(super) fn read_from(self, path: &Path) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    /// The file or folder that the model was read from; none for one with an adapter.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether this organisation may know of the model.
    #[must_use]
    pub fn is_for(&self, tenant: &str) -> bool {
        self.owner.as_deref().is_none_or(|owner| owner == tenant)
    }

    /// Whether this is another model with an adapter.
    #[must_use]
    pub fn is_adapted(&self) -> bool {
        self.adapter.is_some()
    }

    /// The same, whose computed prompts are kept.
    pub(super) fn kept_by(self, keeper: Keeper) -> Self {
        Self { keeper: Some(Arc::new(keeper)), ..self }
    }

    /// Writes the computed prompts to where they are kept, if they are.
    pub(super) async fn keep(&self) -> std::io::Result<()> {
        let Some(keeper) = self.keeper.clone() else { return Ok(()) };
        let (reply, answer) = oneshot::channel();
        let gone = || std::io::Error::other("the model has stopped");
        self.commands.send(Command::Keep { keeper, reply }).map_err(|_| gone())?;
        let blocks = answer.await.map_err(|_| gone())??;
        tracing::info!(model = self.name, blocks, "kept prompts");
        Ok(())
    }

    /// The name that requests use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokenizer, chat template and default sampling.
    #[must_use]
    pub fn text(&self) -> &Arc<ModelText> {
        &self.text
    }

    /// Compiles constraints for the model's tokens. That takes time, so do it where waiting is allowed, before
    /// [`Served::start`]: the model's thread then finds them ready.
    #[must_use]
    pub fn constraints(&self) -> &Arc<Constraints> {
        &self.constraints
    }

    /// The memory that the model takes.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Sizes that bound every request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.plan.limits
    }

    /// When it was loaded, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }

    /// What its thread is doing.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Whether its thread takes requests.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.status.is_alive()
    }

    /// Queues a request and waits until the engine has taken it, which it does between two passes. `recorders` are
    /// told how it ended.
    ///
    /// Log-probabilities are what makes events carry tokens beside text; ask for them with 0 alternatives to get the
    /// tokens alone.
    ///
    /// # Errors
    /// Where the request does not fit the engine, or the model's thread is gone.
    pub async fn start(
        self: &Arc<Self>,
        caller: &Caller,
        mut request: Request,
        recorders: &Arc<[Arc<dyn Recorder>]>,
    ) -> Result<Generation, ApiError> {
        let cancel = Arc::new(AtomicBool::new(false));
        request.cancel = Some(Arc::clone(&cancel));
        request.adapter.clone_from(&self.adapter);
        let record = Record::new(caller.clone(), Arc::clone(self), request.prompt.len(), Arc::clone(recorders));
        let candidates = request.candidates;
        let (events, receiver) = channel::unbounded_channel();
        let (reply, answer) = oneshot::channel::<Result<u64, EngineError>>();
        // Made before the answer is awaited: whoever stops waiting drops it, and the request is cancelled.
        let mut generation = Generation::new(receiver, cancel, candidates, record);
        let gone = || ApiError::engine_gone(&self.name);
        self.commands.send(Command::Submit { request: Box::new(request), events, reply }).map_err(|_| gone())?;
        match answer.await {
            Ok(Ok(seed)) => {
                generation.set_seed(seed);
                Ok(generation)
            }
            Ok(Err(error)) => {
                generation.refused();
                Err(error.into())
            }
            Err(_) => Err(gone()),
        }
    }
}
