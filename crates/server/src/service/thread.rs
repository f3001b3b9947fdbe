//! The thread that computes: it owns the worker, and no request can bring it down.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use saem_engine::{Control, EngineError, Event, Request, RequestId, Worker};
use tokio::sync::{mpsc, oneshot};

use super::generation::GenerationEvent;
use super::keep::Keeper;
use crate::ApiError;

/// What the thread is asked to do.
pub(super) enum Command {
    /// Run a request. The reply is the seed it draws with.
    Submit {
        request: Box<Request>,
        events: mpsc::UnboundedSender<GenerationEvent>,
        reply: oneshot::Sender<Result<u64, EngineError>>,
    },
    /// Write the computed prompts. The reply is the number of blocks.
    Keep { keeper: Arc<Keeper>, reply: oneshot::Sender<std::io::Result<usize>> },
}

/// What the thread is doing, for whoever watches it. Written between two passes, read at any time.
#[derive(Debug)]
pub struct Status {
    alive: AtomicBool,
    panics: AtomicU64,
    running: AtomicUsize,
    waiting: AtomicUsize,
    blocks_used: AtomicUsize,
    blocks_kept: AtomicUsize,
}

impl Status {
    pub(super) fn new(worker: &Worker) -> Self {
        let zero = || AtomicUsize::new(0);
        let (alive, panics) = (AtomicBool::new(true), AtomicU64::new(0));
        let status = Self { alive, panics, running: zero(), waiting: zero(), blocks_used: zero(), blocks_kept: zero() };
        status.take(worker);
        status
    }

    fn take(&self, worker: &Worker) {
        let stats = worker.stats();
        self.running.store(stats.running, Ordering::Relaxed);
        self.waiting.store(stats.waiting, Ordering::Relaxed);
        self.blocks_used.store(stats.blocks_used, Ordering::Relaxed);
        self.blocks_kept.store(stats.blocks_kept, Ordering::Relaxed);
    }

    /// Whether the thread runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Sequences at work.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Requests that wait to start.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Blocks of the cache that requests hold.
    #[must_use]
    pub fn blocks_used(&self) -> usize {
        self.blocks_used.load(Ordering::Relaxed)
    }

    /// Blocks of the cache that nobody holds and that are kept for later requests.
    #[must_use]
    pub fn blocks_kept(&self) -> usize {
        self.blocks_kept.load(Ordering::Relaxed)
    }

    /// Passes that ended in a panic, which cost the requests of that pass.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

/// Says that the thread is gone, however it went.
struct Alive<'a>(&'a Status);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.alive.store(false, Ordering::Relaxed);
    }
}

/// Where the events of a request go.
struct Listener {
    events: mpsc::UnboundedSender<GenerationEvent>,
    /// Tokens are copied only for those who look at them.
    wants_tokens: bool,
}

impl Listener {
    /// Passes an event on. Nobody waits here: the channel has no bound, and what can pile up in it is bounded by the
    /// tokens of the request.
    fn tell(&self, event: GenerationEvent) -> Control {
        self.events.send(event).map_or(Control::Cancel, |()| Control::Continue)
    }
}

/// Takes commands and makes passes until all senders are gone and all requests are done.
pub(super) fn run(mut worker: Worker, commands: &Receiver<Command>, status: &Status) {
    let _alive = Alive(status);
    let mut listeners: HashMap<RequestId, Listener> = HashMap::new();
    loop {
        if listeners.is_empty() {
            // Nothing to do: sleep until somebody asks, or until nobody can ask any more.
            let Ok(command) = commands.recv() else { return };
            take(command, &mut worker, &mut listeners);
        }
        while let Ok(command) = commands.try_recv() {
            take(command, &mut worker, &mut listeners);
        }
        let pass = catch_unwind(AssertUnwindSafe(|| worker.step(&mut |id, event| deliver(&mut listeners, id, event))));
        match pass {
            // Every request has had its last event.
            Ok(false) => listeners.clear(),
            Ok(true) => {}
            Err(_) => {
                // Which of the requests in the pass is to blame is not known, so all of them end; the model does not.
                tracing::error!(requests = listeners.len(), "a pass panicked; its requests are lost");
                status.panics.fetch_add(1, Ordering::Relaxed);
                worker.reset();
                for (_, listener) in listeners.drain() {
                    listener.tell(GenerationEvent::Failed { error: ApiError::internal() });
                }
            }
        }
        status.take(&worker);
    }
}

fn take(command: Command, worker: &mut Worker, listeners: &mut HashMap<RequestId, Listener>) {
    let (request, events, reply) = match command {
        Command::Submit { request, events, reply } => (request, events, reply),
        Command::Keep { keeper, reply } => {
            let _ = reply.send(keeper.keep(worker));
            return;
        }
    };
    if reply.is_closed() {
        // The client is gone already.
        return;
    }
    let wants_tokens = request.logprobs.is_some();
    let submitted = catch_unwind(AssertUnwindSafe(|| worker.submit(*request)));
    let answer = match submitted {
        Ok(Ok(id)) => {
            listeners.insert(id, Listener { events, wants_tokens });
            Ok(worker.seed(id).unwrap_or_default())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(EngineError::Pass { reason: "taking the request panicked".to_owned() }),
    };
    // Whoever does not wait any more has set the request's cancel flag.
    let _ = reply.send(answer);
}

fn deliver(listeners: &mut HashMap<RequestId, Listener>, id: RequestId, event: Event<'_>) -> Control {
    let Some(listener) = listeners.get(&id) else { return Control::Cancel };
    let event = match event {
        Event::Text { candidate, text, tokens } => {
            let count = tokens.len();
            let tokens = if listener.wants_tokens { tokens.to_vec() } else { Vec::new() };
            GenerationEvent::Text { candidate, text: text.to_owned(), tokens, count }
        }
        Event::Finished { candidate, reason } => GenerationEvent::Finished { candidate, reason },
        Event::Done { usage, timings } => {
            let control = listener.tell(GenerationEvent::Done { usage, timings });
            listeners.remove(&id);
            return control;
        }
        Event::Failed { error } => {
            let control = listener.tell(GenerationEvent::Failed { error: error.into() });
            listeners.remove(&id);
            return control;
        }
        _ => return Control::Continue,
    };
    listener.tell(event)
}
