//! Who works on batches: in the background, through the ordinary queue, and behind everybody who waits.
//!
//! A batch has a line of its own in each queue, never more than a quarter of the places of its model, and begins no row
//! while anybody waits. What came of a row is on the disk before the next one begins in its place; a row that was at
//! work when the server ended has no answer, and is asked again by whoever takes the batch over.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use saem_engine::FinishReason;
use saem_store::{Batch, BatchRow, BatchState, Store};
use tokio::task::JoinSet;

use super::batches::{Task, about, task_of};
use super::render::{composed, request, served};
use super::store;
use crate::nfc::nfc;
use crate::openai::finish_reason;
use crate::service::Served;
use crate::{ApiError, App, Caller, RequestId};

/// How often it is looked for batches, and said that this server works on its own.
const LOOK: Duration = Duration::from_secs(5);
/// How long it is waited for others before it is looked again.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether a batch was cancelled.
const CHECK: Duration = Duration::from_millis(500);
/// Rows of one batch that are at work at once, at most.
const MOST_AT_WORK: usize = 4;
/// Rows that are read at once.
const PAGE: u32 = 100;

/// Works on batches until it is dropped.
pub(crate) async fn work(app: App) {
    let Ok(store) = store(&app).map(Arc::clone) else { return };
    let runner = RequestId::fresh().as_str().to_owned();
    let mut tasks: JoinSet<String> = JoinSet::new();
    let mut at_work: HashSet<String> = HashSet::new();
    let mut first = true;
    loop {
        match store.claim_batches(&runner, first).await {
            Ok(batches) => {
                first = false;
                for batch in batches {
                    if at_work.insert(batch.id.clone()) {
                        let (app, store, runner) = (app.clone(), Arc::clone(&store), runner.clone());
                        tasks.spawn(async move {
                            let id = batch.id.clone();
                            run(&app, &store, batch, &runner).await;
                            id
                        });
                    }
                }
            }
            Err(error) => tracing::error!(error = %error, "batches cannot be looked for"),
        }
        tokio::select! {
            () = app.batches().notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            Some(ended) = tasks.join_next() => {
                match ended {
                    Ok(id) => drop(at_work.remove(&id)),
                    // Which one panicked is not told: those that still run go on, and the lost one is found again.
                    Err(_) if tasks.is_empty() => at_work.clear(),
                    Err(_) => {}
                }
            }
        }
    }
}

/// Works on one batch until it has come to an end or is somebody else's.
async fn run(app: &App, store: &Arc<Store>, batch: Batch, runner: &str) {
    let rows = tokio::select! {
        rows = rows(app, store, &batch) => rows,
        // Rows that are at work are dropped, and so cancelled.
        () = lost(store, &batch.id, runner) => return,
    };
    let ended = match rows {
        Ok(()) => store.end_batch(&batch.id, BatchState::Done, "").await,
        Err(Stop::Failed(error)) => {
            tracing::warn!(batch = batch.id, error = error.message, "a batch failed");
            store.end_batch(&batch.id, BatchState::Failed, &error.message).await
        }
        // The records cannot be reached, or the server goes down: it stays as it is, and is found again.
        Err(Stop::Later) => {
            tokio::time::sleep(LOOK).await;
            return;
        }
    };
    if let Err(error) = ended {
        tracing::error!(batch = batch.id, error = %error, "the end of a batch cannot be written");
    }
}

/// Waits until a batch is cancelled, removed, or another server's.
async fn lost(store: &Store, id: &str, runner: &str) {
    loop {
        tokio::time::sleep(CHECK).await;
        // While the records cannot be reached nobody knows.
        if matches!(store.is_running(id, runner).await, Ok(false)) {
            return;
        }
    }
}

/// Why a batch does not go on.
enum Stop {
    /// It cannot.
    Failed(ApiError),
    /// Not now.
    Later,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        match error.status.as_u16() {
            503 => Self::Later,
            _ => Self::Failed(error),
        }
    }
}

/// What all rows of a batch share.
struct Job {
    app: App,
    store: Arc<Store>,
    batch: Batch,
    task: Task,
    columns: Vec<String>,
    /// Rows at work.
    at_work: AtomicUsize,
}

/// Asks every row that waits.
async fn rows(app: &App, store: &Arc<Store>, batch: &Batch) -> Result<(), Stop> {
    let columns = about(batch)?.columns;
    let Some(task) = task_of(batch)? else { return Err(ApiError::internal().into()) };
    let job = Arc::new(Job {
        app: app.clone(),
        store: Arc::clone(store),
        batch: batch.clone(),
        task,
        columns,
        at_work: AtomicUsize::new(0),
    });
    let later = |_| Stop::Later;
    let mut running: JoinSet<Result<(), Stop>> = JoinSet::new();
    let (mut page, mut last) = (VecDeque::new(), 0);
    loop {
        if page.is_empty() {
            page = store.batch_rows_after(&batch.id, last, true, PAGE).await.map_err(later)?.into();
        }
        let Some(row) = page.pop_front() else { break };
        last = row.number;
        job.wait_for_turn(row.number, &mut running).await?;
        let job = Arc::clone(&job);
        job.at_work.fetch_add(1, Ordering::Relaxed);
        running.spawn(async move {
            let done = job.ask(row).await;
            job.at_work.fetch_sub(1, Ordering::Relaxed);
            done
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or(Err(Stop::Later))?;
    }
    // Rows that failed are tried again where the batch was started again in the meantime.
    let left = store.batch_rows_after(&batch.id, 0, true, 1).await.map_err(later)?;
    if left.is_empty() { Ok(()) } else { Err(Stop::Later) }
}

impl Job {
    /// Waits until a place for the row of this number is free and nobody else waits.
    async fn wait_for_turn(&self, number: i64, running: &mut JoinSet<Result<(), Stop>>) -> Result<(), Stop> {
        let model = self.model(&self.caller().await?, number)?;
        loop {
            while let Some(ended) = running.try_join_next() {
                ended.unwrap_or(Err(Stop::Later))?;
            }
            let own = self.at_work.load(Ordering::Relaxed);
            let most = (model.limits().max_sequences / 4).clamp(1, MOST_AT_WORK);
            // Beside others it takes one place.
            let most = if model.status().running() > own { 1 } else { most };
            if own < most && model.status().waiting() == 0 && !self.app.is_draining() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks one row and writes what came of it.
    async fn ask(&self, mut row: BatchRow) -> Result<(), Stop> {
        match self.answer(&row).await {
            Ok((output, reason, usage)) => {
                let count = |tokens: usize| i64::try_from(tokens).unwrap_or(i64::MAX);
                (row.prompt_tokens, row.completion_tokens) =
                    (count(usage.prompt_tokens), count(usage.completion_tokens));
                row.gold = self.task.gold.as_ref().and_then(|column| self.cell(&row, column)).map(label);
                row.answer = row.gold.is_some().then(|| label(&output));
                (row.state, row.output, row.finish_reason) = ("done".into(), output, finish_reason(reason).into());
            }
            // What is wrong with one row is not wrong with the next; what is wrong with the server is.
            Err(error) if error.status.as_u16() != 503 && !is_final(&error) => {
                (row.state, row.error) = ("failed".into(), format!("{}: {}", error.code, error.message));
            }
            Err(error) => return Err(error.into()),
        }
        self.store.finish_row(&self.batch.id, &row).await.map_err(|_| Stop::Later)
    }

    async fn answer(&self, row: &BatchRow) -> Result<(String, FinishReason, saem_engine::Usage), ApiError> {
        let value =
            |(name, column): (&String, &String)| (name.clone(), self.cell(row, column).unwrap_or_default().to_owned());
        let values: BTreeMap<String, String> = composed(self.task.columns.iter().map(value).collect());
        loop {
            let caller = self.caller().await?;
            let model = self.model(&caller, row.number)?;
            let document = self.task.document(row.number);
            let engine = request(&model, document, document.ask(&values)).await?;
            let generation = match self.app.start(&caller, &model, engine).await {
                Ok(generation) => generation,
                // The key's allowance or the queue is used up: there is time.
                Err(error) if error.status.as_u16() == 429 => {
                    tokio::time::sleep(Duration::from_secs(error.retry_after.unwrap_or(1).into())).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let completion = generation.complete().await?;
            let reason = completion.candidates.first().map_or(FinishReason::Cancelled, |candidate| candidate.reason);
            return Ok((completion.text().to_owned(), reason, completion.usage));
        }
    }

    /// The one who started the batch, if its key still works.
    async fn caller(&self) -> Result<Caller, ApiError> {
        let access = self.app.access().ok_or_else(ApiError::records_unavailable)?;
        access.behalf(&self.batch.key, &self.batch.id).await
    }

    /// The model for the row of this number.
    fn model(&self, caller: &Caller, number: i64) -> Result<Arc<Served>, ApiError> {
        served(&self.app, caller, self.task.document(number))
    }

    fn cell<'a>(&self, row: &'a BatchRow, column: &str) -> Option<&'a str> {
        let place = self.columns.iter().position(|known| known == column)?;
        row.input.get(place)?.as_str()
    }
}

/// Whether an error is that of every row.
fn is_final(error: &ApiError) -> bool {
    matches!(error.status.as_u16(), 401 | 403 | 404) || error.code == "invalid_schema"
}

/// A text as labels are compared: composed, without blanks around it; nothing where it is too long for a label.
fn label(text: &str) -> String {
    let label = nfc(text.trim().to_owned());
    if label.len() > 256 { String::new() } else { label }
}
