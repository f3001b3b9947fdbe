//! Tunings over HTTP: planned, started, watched, stopped, gone on with, removed.

use std::path::{Path, PathBuf};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use saem_store::{NewTuning, Store, StoreError, Tuning as Stored, TuningState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::folder::{Folder, Metric};
use super::task::Task;
use super::tuner;
use crate::http::{JsonBody, PathId, QueryOf, blocking, json};
use crate::nfc::nfc;
use crate::studio::datasets::{self, Temporary, discard, failed};
use crate::studio::{refused, store};
use crate::{ApiError, App, Caller, ErrorBody};

/// Most steps of one answer; where there are more, some between them are left out.
const MOST_METRICS: usize = 2000;
/// Steps whose time says how long the others will take.
const RECENT: usize = 20;

/// What is kept of a tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) task: Task,
    /// The name of the dataset, which may be removed.
    pub(crate) dataset_name: String,
    /// Rows that are learnt from.
    pub(crate) rows: usize,
    /// Rows that are held out.
    pub(crate) held_out: usize,
    /// Steps in all.
    pub(crate) steps: u64,
}

/// A tuning to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioNewTuning)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRequest {
    /// What it is called.
    name: String,
    task: Task,
}

/// A tuning.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioTuning)]
pub(crate) struct Shown {
    id: String,
    name: String,
    /// `queued`, `running`, `stopping`, `stopped`, `done` or `failed`.
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    task: Task,
    dataset_name: String,
    /// Rows that are learnt from.
    rows: usize,
    /// Rows that are measured and compared with.
    held_out: usize,
    /// Steps in all.
    steps: u64,
    /// The last step.
    last: Option<Metric>,
    /// Seconds until the end, going by the last steps.
    seconds_left: Option<f64>,
    /// What came of it: `adapter`, which is served beside its base, or `model`, which is served by itself.
    result: Option<&'static str>,
    /// Where the result lies, below `$SAEM_HOME`.
    path: Option<String>,
    /// The model that is served of it.
    model: Option<String>,
    /// The project that asks this model.
    project: Option<String>,
}

/// Tunings, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioTunings)]
pub(crate) struct Tunings {
    tunings: Vec<Shown>,
}

/// Which steps.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsQuery {
    /// Those after this one; all where absent.
    after: Option<u64>,
}

/// Steps in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioTuningMetrics)]
pub(crate) struct Metrics {
    metrics: Vec<Metric>,
}

/// What a tuning would take.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioTuningPlan)]
pub(crate) struct Plan {
    /// Bytes by kind, such as `weights`, `gradients`, `optimizer`, `activations`.
    memory: Vec<Part>,
    /// All bytes.
    total: u64,
    /// Numbers that are trained.
    parameters: Option<u64>,
    /// Rows that are learnt from.
    rows: usize,
    /// Rows that are measured with.
    held_out: usize,
    /// Steps in all.
    steps: u64,
    /// What became of the rows that are learnt from.
    data: Option<DataReport>,
}

/// What became of rows.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = StudioTuningData)]
#[serde(default)]
pub(crate) struct DataReport {
    /// Rows that can be learnt from.
    examples: u64,
    /// Rows that are longer than the longest that was asked for, and lose their end.
    cut: u64,
    /// Rows that were left out.
    refused: u64,
    /// Tokens of all.
    tokens: u64,
    /// Those of them that are learnt.
    learnt_tokens: u64,
    /// Tokens of the shortest row, the median, the one that 95 of 100 do not exceed, and the longest.
    lengths: Vec<u64>,
}

/// Bytes of one kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioMemoryPart)]
pub(crate) struct Part {
    kind: String,
    bytes: u64,
}

/// Says what a tuning would take of memory, without beginning it.
#[utoipa::path(post, path = "/api/studio/tunings/plan", operation_id = "studioPlanTuning", tag = "studio", request_body = Task,
    responses((status = 200, body = Plan), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn plan(
    State(app): State<App>,
    caller: Caller,
    JsonBody(task): JsonBody<Task>,
) -> Result<Response, ApiError> {
    let (program, home) = works(&app)?;
    let (program, home) = (program.to_owned(), home.to_owned());
    let begun = prepare(&app, &caller, task).await?;
    // One at a time: each reads a table, and some a model.
    let _turn = app.plans().lock().await;
    let id = store(&app)?.fresh_id().map_err(refused)?;
    let folder = Folder::at(&home.join("runs").join(format!("{}{id}", tuner::PLAN)));
    let _removed = Temporary::new(folder.path());
    let threads = tuner::threads(begun.task.parameters.threads);
    let record = begun.write(folder.clone()).await?;
    let said = tuner::plan(&program, &folder, threads).await?;
    let told: Value = serde_json::from_slice(&said).map_err(|error| {
        tracing::error!(error = %error, "saem tune printed a plan that cannot be read");
        ApiError::internal()
    })?;
    Ok(json(StatusCode::OK, &planned(&told, &record)))
}

/// The plan that `saem tune` printed.
fn planned(told: &Value, record: &Record) -> Plan {
    let plan = told.get("plan").unwrap_or(told);
    let bytes = |kind: &str| plan.get(kind).and_then(Value::as_u64);
    let part =
        |kind: &&str| bytes(kind).filter(|bytes| *bytes > 0).map(|bytes| Part { kind: (*kind).to_owned(), bytes });
    let memory: Vec<Part> = KINDS.iter().filter_map(part).collect();
    Plan {
        total: memory.iter().map(|part| part.bytes).sum(),
        memory,
        parameters: bytes("parameters"),
        rows: record.rows,
        held_out: record.held_out,
        steps: record.steps,
        data: told.pointer("/data/train").cloned().and_then(|data| serde_json::from_value(data).ok()),
    }
}

/// What of memory a plan names, in the order in which it is shown.
const KINDS: [&str; 9] =
    ["frozen", "weights", "gradients", "optimizer", "activations", "logits", "working", "texts", "program"];

/// Begins a tuning. One runs at a time; others wait.
#[utoipa::path(post, path = "/api/studio/tunings", operation_id = "studioCreateTuning", tag = "studio", request_body = NewRequest,
    responses((status = 201, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<NewRequest>,
) -> Result<Response, ApiError> {
    let home = works(&app)?.1.to_owned();
    let begun = prepare(&app, &caller, body.task).await?;
    let store = store(&app)?;
    let id = store.fresh_id().map_err(refused)?;
    let folder = Folder::of(&home, &id);
    let unless_made = Temporary::new(folder.path());
    let record = begun.write(folder).await?;
    let task = serde_json::to_value(&record).map_err(|_| ApiError::internal())?;
    let new = NewTuning { id, name: nfc(body.name), task, key: caller.key_id().to_owned() };
    let made = store.create_tuning(caller.tenant_name(), new, &caller.origin()).await.map_err(refused)?;
    unless_made.keep();
    app.tunings().notify_one();
    Ok(json(StatusCode::CREATED, &show(&app, made).await?))
}

/// Tunings of the caller's organisation.
#[utoipa::path(get, path = "/api/studio/tunings", operation_id = "studioListTunings", tag = "studio",
    responses((status = 200, body = Tunings), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let mut tunings = Vec::new();
    for stored in store(&app)?.tunings(caller.tenant_name()).await.map_err(refused)? {
        tunings.push(show(&app, stored).await?);
    }
    Ok(json(StatusCode::OK, &Tunings { tunings }))
}

/// Reads a tuning: how far it is, and what came of it.
#[utoipa::path(get, path = "/api/studio/tunings/{id}", operation_id = "studioReadTuning", tag = "studio", params(("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let stored = find(store(&app)?, &caller, &id).await?;
    Ok(json(StatusCode::OK, &show(&app, stored).await?))
}

/// Steps of a tuning.
#[utoipa::path(get, path = "/api/studio/tunings/{id}/metrics", operation_id = "studioTuningMetrics", tag = "studio",
    params(("id" = String, Path), MetricsQuery), responses((status = 200, body = Metrics), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn metrics(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<MetricsQuery>,
) -> Result<Response, ApiError> {
    let stored = find(store(&app)?, &caller, &id).await?;
    let folder = Folder::of(home(&app)?, &stored.id);
    let after = query.after.unwrap_or(0);
    let mut metrics = blocking(move || folder.metrics(after).map_err(|error| failed(&error))).await?;
    if metrics.len() > MOST_METRICS {
        let (stride, last) = (metrics.len().div_ceil(MOST_METRICS), metrics.len() - 1);
        let mut place = 0;
        metrics.retain(|metric| {
            let is_shown = place % stride == 0 || place == last || metric.validation_loss.is_some();
            place += 1;
            is_shown
        });
    }
    Ok(json(StatusCode::OK, &Metrics { metrics }))
}

/// Goes on with a tuning that was stopped or failed, from where it wrote down what it had learnt.
#[utoipa::path(post, path = "/api/studio/tunings/{id}/start", operation_id = "studioStartTuning", tag = "studio",
    params(("id" = String, Path)), responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn start(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    if !store.queue_tuning(&stored.id, caller.key_id(), &caller.origin()).await.map_err(refused)? {
        return Err(ApiError::conflict("tuning_state", "The tuning is neither stopped nor failed"));
    }
    app.tunings().notify_one();
    let stored = store.tuning(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(&app, stored).await?))
}

/// Stops a tuning after its step. What it learnt so far is written down.
#[utoipa::path(post, path = "/api/studio/tunings/{id}/stop", operation_id = "studioStopTuning", tag = "studio",
    params(("id" = String, Path)), responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn stop(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    if !store.stop_tuning(&stored.id, &caller.origin()).await.map_err(refused)? {
        return Err(ApiError::conflict("tuning_state", "The tuning neither runs nor waits"));
    }
    let stored = store.tuning(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(&app, stored).await?))
}

/// Removes a tuning with what came of it; the model that is served of it goes, too.
#[utoipa::path(delete, path = "/api/studio/tunings/{id}", operation_id = "studioRemoveTuning", tag = "studio",
    params(("id" = String, Path)), responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn remove(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    if matches!(stored.state, TuningState::Running | TuningState::Stopping) {
        return Err(ApiError::conflict("tuning_state", "The tuning runs; stop it first"));
    }
    let folder = Folder::of(home(&app)?, &stored.id);
    store.remove_tuning(caller.tenant_name(), &stored.id, &caller.origin()).await.map_err(refused)?;
    if let Some(name) = &stored.served_as {
        app.service().withdraw(name);
    }
    discard(folder.path().to_owned()).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A task that can be done, with what it needs.
struct Begun {
    task: Task,
    dataset_name: String,
    base: PathBuf,
    rows: PathBuf,
}

/// Looks whether a task can be done by this caller.
async fn prepare(app: &App, caller: &Caller, task: Task) -> Result<Begun, ApiError> {
    let dataset =
        datasets::find(store(app)?, caller, &task.dataset).await.map_err(|error| error.with_param("dataset"))?;
    let task = task.checked(&datasets::about(&dataset)?.columns)?;
    let model = app.model(caller, &task.base).map_err(|error| error.with_param("base"))?;
    let Some(base) = model.path().map(Path::to_owned) else {
        let message = format!("`{}` is a tuned model itself; choose the one that it was made of", task.base);
        return Err(ApiError::invalid_value("base", message));
    };
    Ok(Begun { task, rows: datasets::file(app, &dataset)?, dataset_name: dataset.name, base })
}

impl Begun {
    /// Writes the folder of the task.
    async fn write(self, folder: Folder) -> Result<Record, ApiError> {
        let Self { task, dataset_name, base, rows } = self;
        blocking(move || {
            let (split, steps) = folder.write(&task, &base, &rows).map_err(|error| failed(&error))?;
            Ok(Record { task, dataset_name, rows: split.train, held_out: split.held_out, steps })
        })
        .await
    }
}

/// The program that tunes, and Saem's home; where the server has both.
fn works(app: &App) -> Result<(&Path, &Path), ApiError> {
    let program = app.settings().program.as_deref().ok_or_else(ApiError::records_unavailable)?;
    Ok((program, home(app)?))
}

/// Saem's home.
pub(super) fn home(app: &App) -> Result<&Path, ApiError> {
    app.settings().home.as_deref().ok_or_else(ApiError::records_unavailable)
}

/// What is kept of a tuning.
pub(super) fn record(stored: &Stored) -> Result<Record, ApiError> {
    serde_json::from_value(stored.task.clone()).map_err(|error| {
        tracing::error!(tuning = stored.id, error = %error, "a stored tuning cannot be read");
        ApiError::internal()
    })
}

/// The tuning, if it is the caller's organisation's.
pub(super) async fn find(store: &Store, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
    let stored = store.tuning(id).await.map_err(refused)?;
    if stored.tenant == caller.tenant_name() {
        return Ok(stored);
    }
    Err(refused(StoreError::NotFound { kind: "tuning", id: stored.id }))
}

pub(super) async fn show(app: &App, stored: Stored) -> Result<Shown, ApiError> {
    let record = record(&stored)?;
    let folder = Folder::of(home(app)?, &stored.id);
    let (metrics, adapter, model) = blocking(move || {
        let metrics = folder.latest_metrics().map_err(|error| failed(&error))?;
        Ok((metrics, folder.adapter(), folder.model()))
    })
    .await?;
    let below = home(app)?;
    let relative = |path: PathBuf| path.strip_prefix(below).unwrap_or(&path).to_string_lossy().into_owned();
    let is_done = stored.state == TuningState::Done;
    let (adapter, model) = (adapter.filter(|_| is_done), model.filter(|_| is_done));
    let result = adapter.as_ref().map(|_| "adapter").or(model.as_ref().map(|_| "model"));
    let last = metrics.last().cloned();
    let steps_left = record.steps.saturating_sub(last.as_ref().map_or(0, |last| last.step));
    let seconds = seconds_per_step(&metrics).filter(|_| stored.state == TuningState::Running);
    Ok(Shown {
        state: stored.state.name(),
        reason: (!stored.reason.is_empty()).then_some(stored.reason),
        created_at: stored.created_at.to_string(),
        started_at: stored.started_at.map(|at| at.to_string()),
        ended_at: stored.ended_at.map(|at| at.to_string()),
        id: stored.id,
        name: stored.name,
        task: record.task,
        dataset_name: record.dataset_name,
        rows: record.rows,
        held_out: record.held_out,
        steps: record.steps,
        last,
        seconds_left: seconds.map(|seconds| seconds * steps_left as f64),
        result,
        path: adapter.or(model).map(relative),
        model: stored.served_as,
        project: stored.project,
    })
}

/// How long a step takes, going by the last ones.
fn seconds_per_step(metrics: &[Metric]) -> Option<f64> {
    let recent = metrics.windows(2).rev().take(RECENT).filter_map(|pair| {
        let [before, step] = pair else { return None };
        let tokens = step.tokens?.checked_sub(before.tokens?)?;
        Some(tokens as f64 / step.tokens_per_second.filter(|rate| *rate > 0.0)?)
    });
    let times: Vec<f64> = recent.collect();
    (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64)
}
