//! Batches over HTTP: a table comes in, goes through a prompt, and goes out with its answers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_core::Stream;
use saem_engine::constraint::Constraint;
use saem_store::{Batch as Stored, BatchRow, BatchState, NewBatch, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::apps::take;
use super::document::Document;
use super::score::Score;
use super::table::{Bounds, Fault, Format, Table};
use super::{refused, store};
use crate::http::{JsonBody, PathId, QueryOf, blocking, json, read_body};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody};

/// Rows that are shown of a draft.
const SAMPLE: usize = 5;
/// The most rows of one answer.
const MOST_LISTED: u32 = 500;

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) format: Format,
    pub(crate) encoding: String,
    pub(crate) columns: Vec<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_total: usize,
}

/// What is done with each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) project: String,
    pub(crate) version: i64,
    pub(crate) variant: Option<usize>,
    /// The column of each variable.
    pub(crate) columns: BTreeMap<String, String>,
    /// The column with the right labels.
    pub(crate) gold: Option<String>,
    pub(crate) document: Document,
}

/// What is to be done with a batch. Without fields, a batch that has come to an end goes on with what is left.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = StudioBatchStart)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartRequest {
    /// The project whose prompt is asked.
    project: Option<String>,
    /// Its version; the current one where absent.
    version: Option<i64>,
    /// Which of the document's variants.
    variant: Option<usize>,
    /// The column of each variable; of the same name where absent.
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// What may be answered; as the document says where absent.
    choices: Option<Vec<String>>,
    /// The column with the right labels.
    gold: Option<String>,
}

/// What a new batch is called.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewQuery {
    /// Its name; `batch` where absent.
    name: Option<String>,
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsQuery {
    /// How many to skip.
    offset: Option<u32>,
    /// How many: 1 to 500, 100 where absent.
    limit: Option<u32>,
    /// `waiting`, `done` or `failed`; all where absent.
    state: Option<String>,
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DownloadQuery {
    /// `csv` or `jsonl`; as it came where absent.
    format: Option<Format>,
}

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatch)]
pub(crate) struct Shown {
    id: String,
    name: String,
    /// `draft`, `running`, `done`, `cancelled` or `failed`.
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    format: Format,
    /// `utf-8`, `utf-16` or `cp949`.
    encoding: String,
    columns: Vec<String>,
    rows: i64,
    /// Rows that were left out, the first 100 of them.
    faults: Vec<Fault>,
    faults_total: usize,
    /// The first rows; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    sample: Option<Vec<Map<String, Value>>>,
    task: Option<ShownTask>,
    progress: ShownProgress,
    usage: ShownUsage,
    /// Where the task has a column with labels.
    score: Option<Score>,
}

/// What is done with each row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchTask)]
pub(crate) struct ShownTask {
    project: String,
    version: i64,
    variant: Option<usize>,
    model: String,
    columns: BTreeMap<String, String>,
    choices: Vec<String>,
    gold: Option<String>,
}

/// How many rows are in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchProgress)]
pub(crate) struct ShownProgress {
    waiting: i64,
    done: i64,
    failed: i64,
}

/// Tokens that were taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchUsage)]
pub(crate) struct ShownUsage {
    prompt_tokens: i64,
    completion_tokens: i64,
}

/// Batches, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatches)]
pub(crate) struct Batches {
    batches: Vec<Shown>,
}

/// A row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchRow)]
pub(crate) struct ShownRow {
    /// Its number, from 1.
    row: i64,
    /// The line of the file where it begins.
    line: i64,
    /// Its cells by the names of their columns.
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    /// `waiting`, `done` or `failed`.
    state: String,
    output: Option<String>,
    /// `stop` or `length`.
    finish_reason: Option<String>,
    /// What went wrong.
    error: Option<String>,
}

/// Rows in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchRows)]
pub(crate) struct Rows {
    rows: Vec<ShownRow>,
    /// Rows in this state.
    total: i64,
}

/// Takes a table: CSV (`text/csv`, `text/tab-separated-values`) or JSON lines (`application/x-ndjson`,
/// `application/jsonl`), at most 8 MiB.
#[utoipa::path(post, path = "/api/studio/batches", operation_id = "studioCreateBatch", tag = "studio", params(NewQuery),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 201, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    QueryOf(query): QueryOf<NewQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (format, delimiter) = Format::of(request.headers())?;
    let bytes = read_body(request, Bounds::BATCH.bytes).await?;
    let table = blocking(move || Table::read(&bytes, format, delimiter, Bounds::BATCH)).await?;
    let about = About {
        format,
        encoding: table.encoding.to_owned(),
        columns: table.columns,
        faults: table.faults,
        faults_total: table.faults_total,
    };
    let new = NewBatch {
        name: nfc(query.name.unwrap_or_else(|| "batch".to_owned())),
        about: serde_json::to_value(&about).map_err(|_| ApiError::internal())?,
        rows: table.rows.into_iter().map(|(line, cells)| (line, Value::from(cells))).collect(),
    };
    let made = store(&app)?.create_batch(caller.tenant_name(), new, &caller.origin()).await.map_err(refused)?;
    Ok(json(StatusCode::CREATED, &show(store(&app)?, made, true).await?))
}

/// Batches of the caller's organisation.
#[utoipa::path(get, path = "/api/studio/batches", operation_id = "studioListBatches", tag = "studio",
    responses((status = 200, body = Batches), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let mut batches = Vec::new();
    for stored in store.batches(caller.tenant_name()).await.map_err(refused)? {
        batches.push(show(store, stored, false).await?);
    }
    Ok(json(StatusCode::OK, &Batches { batches }))
}

/// Reads a batch: how far it is, and how right.
#[utoipa::path(get, path = "/api/studio/batches/{id}", operation_id = "studioReadBatch", tag = "studio", params(("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    Ok(json(StatusCode::OK, &show(store, stored, true).await?))
}

/// Starts a batch, or goes on with one that came to an end.
#[utoipa::path(post, path = "/api/studio/batches/{id}/start", operation_id = "studioStartBatch", tag = "studio",
    params(("id" = String, Path)), request_body = StartRequest,
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<StartRequest>,
) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    let task = match stored.state {
        BatchState::Draft => Some(task(&app, &caller, &stored, body).await?),
        _ if body.project.is_some() || body.choices.is_some() || body.gold.is_some() => {
            return Err(ApiError::conflict("batch_state", "The batch has a task already; upload the table again"));
        }
        _ => None,
    };
    let started = store.start_batch(&stored.id, task.as_ref(), caller.key_id(), &caller.origin()).await;
    if !started.map_err(refused)? {
        return Err(ApiError::conflict("batch_state", "The batch runs already"));
    }
    app.batches().notify_one();
    let stored = store.batch(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(store, stored, true).await?))
}

async fn task(app: &App, caller: &Caller, stored: &Stored, body: StartRequest) -> Result<Value, ApiError> {
    let about = about(stored)?;
    let Some(project) = body.project else {
        return Err(ApiError::invalid("missing_required_parameter", "project", "Missing parameter: `project`"));
    };
    let (project, version, mut document) = take(app, caller, &project, body.version, body.variant).await?;
    let unknown = |field: String, column: &str| {
        let message = format!("The table has no column `{column}`");
        ApiError::invalid_value(field, message)
    };
    let mut given: BTreeMap<String, String> =
        body.columns.into_iter().map(|(name, column)| (nfc(name), nfc(column))).collect();
    let mut columns = BTreeMap::new();
    for name in document.used_variables() {
        let column = given.remove(&name);
        if let Some(column) = column.as_ref().filter(|column| !about.columns.contains(column)) {
            return Err(unknown(format!("columns.{name}"), column));
        }
        let column = column.unwrap_or_else(|| name.clone());
        if !about.columns.contains(&column) {
            let message = format!("No column gives a value to the variable `{name}`");
            return Err(ApiError::invalid("missing_variable", format!("columns.{name}"), message));
        }
        columns.insert(name, column);
    }
    if let Some(name) = given.keys().next() {
        let message = format!("The prompt has no variable `{name}`");
        return Err(ApiError::invalid("unknown_variable", format!("columns.{name}"), message));
    }
    let gold = body.gold.map(nfc);
    if let Some(column) = gold.as_ref().filter(|column| !about.columns.contains(column)) {
        return Err(unknown("gold".to_owned(), column));
    }
    if let Some(choices) = body.choices {
        document.choices = choices.into_iter().map(|choice| nfc(choice.trim().to_owned())).collect();
    }
    if !document.choices.is_empty() {
        Constraint::choice(&document.choices).map_err(|error| ApiError::constraint(&error, "choices"))?;
    }
    // One answer for each row.
    document.parameters.candidates = 1;
    let task = Task { project, version, variant: body.variant, columns, gold, document };
    let text = serde_json::to_string(&task).map_err(|_| ApiError::internal())?;
    serde_json::from_str(&text).map_err(|_| ApiError::internal())
}

/// Stops a batch. What is answered stays.
#[utoipa::path(post, path = "/api/studio/batches/{id}/cancel", operation_id = "studioCancelBatch", tag = "studio",
    params(("id" = String, Path)), responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn cancel(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    if !store.end_batch(&stored.id, BatchState::Cancelled, "").await.map_err(refused)? {
        return Err(ApiError::conflict("batch_state", "The batch does not run"));
    }
    let stored = store.batch(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(store, stored, true).await?))
}

/// Removes a batch with its rows.
#[utoipa::path(delete, path = "/api/studio/batches/{id}", operation_id = "studioRemoveBatch", tag = "studio",
    params(("id" = String, Path)), responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn remove(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    store(&app)?.remove_batch(caller.tenant_name(), &id, &caller.origin()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Rows of a batch.
#[utoipa::path(get, path = "/api/studio/batches/{id}/rows", operation_id = "studioBatchRows", tag = "studio",
    params(("id" = String, Path), RowsQuery), responses((status = 200, body = Rows), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn rows(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<RowsQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(ApiError::invalid_value("limit", format!("limit must be between 1 and {MOST_LISTED}")));
    }
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    let progress = store.batch_progress(&stored.id).await.map_err(refused)?;
    let total = match query.state.as_deref() {
        None => stored.rows,
        Some("waiting") => progress.waiting,
        Some("done") => progress.done,
        Some("failed") => progress.failed,
        Some(_) => return Err(ApiError::invalid_value("state", "state must be waiting, done or failed")),
    };
    let columns = about(&stored)?.columns;
    let offset = i64::from(query.offset.unwrap_or(0));
    let rows = store.batch_rows(&stored.id, query.state.as_deref(), offset, limit).await.map_err(refused)?;
    let rows = rows.into_iter().map(|row| shown_row(row, &columns)).collect();
    Ok(json(StatusCode::OK, &Rows { rows, total }))
}

/// The table with its answers.
#[utoipa::path(get, path = "/api/studio/batches/{id}/download", operation_id = "studioDownloadBatch", tag = "studio",
    params(("id" = String, Path), DownloadQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn download(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<DownloadQuery>,
) -> Result<Response, ApiError> {
    let store = Arc::clone(store(&app)?);
    let stored = find(&store, &caller, &id).await?;
    if stored.state == BatchState::Draft {
        return Err(ApiError::conflict("batch_state", "The batch was not started yet"));
    }
    let about = about(&stored)?;
    let format = query.format.unwrap_or(about.format);
    // One page is read while the one before it goes out.
    let (pages, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let names = names_beside(&about.columns);
        let mut next = match format {
            Format::Csv => {
                let head: Vec<&str> = about.columns.iter().chain(&names).map(String::as_str).collect();
                // The mark tells Excel that it is UTF-8.
                format!("\u{feff}{}", line(&head))
            }
            Format::Jsonl => String::new(),
        };
        let mut last = 0;
        loop {
            match store.batch_rows_after(&stored.id, last, false, MOST_LISTED).await {
                Ok(rows) => {
                    let Some(end) = rows.last() else { break };
                    last = end.number;
                    rows.iter().for_each(|row| write(row, &about.columns, &names, format, &mut next));
                }
                Err(error) => {
                    // Ends the response without its end, so that half a table is not taken for a whole one.
                    let _ = pages.send(Err(std::io::Error::other(error.to_string()))).await;
                    return;
                }
            }
            if pages.send(Ok(Bytes::from(std::mem::take(&mut next)))).await.is_err() {
                return;
            }
        }
        let _ = pages.send(Ok(Bytes::from(next))).await;
    });
    let (kind, file) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"batch.csv\""),
        Format::Jsonl => ("application/x-ndjson; charset=utf-8", "attachment; filename=\"batch.jsonl\""),
    };
    let mut response = Response::new(Body::from_stream(Pages(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(file));
    Ok(response)
}

struct Pages(mpsc::Receiver<std::io::Result<Bytes>>);

impl Stream for Pages {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Names of the new columns, which the table does not have.
fn names_beside(columns: &[String]) -> [String; 3] {
    ["output", "finish_reason", "error"].map(|name| {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !columns.contains(name)).unwrap_or_default()
    })
}

fn write(row: &BatchRow, columns: &[String], names: &[String; 3], format: Format, out: &mut String) {
    let told = [&row.output, &row.finish_reason, &row.error];
    match format {
        Format::Csv => {
            let cells = row.input.as_array().map(Vec::as_slice).unwrap_or_default();
            // A spreadsheet computes what begins like a formula, and answers are not to be trusted with that.
            let safe = |text: &String| match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                true => format!("'{text}"),
                false => text.clone(),
            };
            let new = told.map(safe);
            let own = cells.iter().map(|cell| cell.as_str().unwrap_or_default());
            let all: Vec<&str> = own.chain(new.iter().map(String::as_str)).collect();
            out.push_str(&line(&all));
        }
        Format::Jsonl => {
            let mut fields = named(&row.input, columns);
            for (name, text) in names.iter().zip(told) {
                fields.insert(name.clone(), Value::from(text.as_str()));
            }
            out.push_str(&Value::from(fields).to_string());
            out.push('\n');
        }
    }
}

/// A line of CSV.
fn line(cells: &[&str]) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Writing to memory does not fail, and cells are UTF-8.
    let _ = writer.write_record(cells);
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The cells of a row by the names of their columns.
fn named(input: &Value, columns: &[String]) -> Map<String, Value> {
    let cells = input.as_array().map(Vec::as_slice).unwrap_or_default();
    columns.iter().cloned().zip(cells.iter().cloned()).collect()
}

/// What is known of a batch's table.
pub(crate) fn about(stored: &Stored) -> Result<About, ApiError> {
    serde_json::from_value(stored.about.clone()).map_err(|error| unread(stored, &error))
}

/// What is done with the rows of a batch that was started.
pub(crate) fn task_of(stored: &Stored) -> Result<Option<Task>, ApiError> {
    serde_json::from_value(stored.task.clone()).map_err(|error| unread(stored, &error))
}

fn unread(stored: &Stored, error: &serde_json::Error) -> ApiError {
    tracing::error!(batch = stored.id, error = %error, "a stored batch cannot be read");
    ApiError::internal()
}

async fn find(store: &Store, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
    let stored = store.batch(id).await.map_err(refused)?;
    if stored.tenant == caller.tenant_name() {
        return Ok(stored);
    }
    Err(refused(StoreError::NotFound { kind: "batch", id: stored.id }))
}

fn shown_row(row: BatchRow, columns: &[String]) -> ShownRow {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let is_done = row.state == "done";
    ShownRow {
        row: row.number,
        line: row.line,
        input: named(&row.input, columns),
        output: is_done.then_some(row.output),
        state: row.state,
        finish_reason: text(row.finish_reason),
        error: text(row.error),
    }
}

async fn show(store: &Store, stored: Stored, whole: bool) -> Result<Shown, ApiError> {
    let (about, task) = (about(&stored)?, task_of(&stored)?);
    let progress = store.batch_progress(&stored.id).await.map_err(refused)?;
    let sample = match whole {
        true => {
            let rows = store.batch_rows_after(&stored.id, 0, false, SAMPLE as u32).await.map_err(refused)?;
            Some(rows.iter().map(|row| named(&row.input, &about.columns)).collect())
        }
        false => None,
    };
    let score = match task.as_ref().filter(|task| task.gold.is_some()) {
        Some(task) => {
            let pairs = store.batch_labels(&stored.id).await.map_err(refused)?;
            Score::of(&pairs, &task.document.choices)
        }
        None => None,
    };
    Ok(Shown {
        state: stored.state.name(),
        reason: (!stored.reason.is_empty()).then_some(stored.reason),
        created_at: stored.created_at.to_string(),
        started_at: stored.started_at.map(|at| at.to_string()),
        ended_at: stored.ended_at.map(|at| at.to_string()),
        id: stored.id,
        name: stored.name,
        format: about.format,
        encoding: about.encoding,
        columns: about.columns,
        rows: stored.rows,
        faults: about.faults,
        faults_total: about.faults_total,
        sample,
        task: task.map(|task| ShownTask {
            project: task.project,
            version: task.version,
            variant: task.variant,
            model: task.document.model,
            columns: task.columns,
            choices: task.document.choices,
            gold: task.gold,
        }),
        progress: ShownProgress { waiting: progress.waiting, done: progress.done, failed: progress.failed },
        usage: ShownUsage { prompt_tokens: progress.prompt_tokens, completion_tokens: progress.completion_tokens },
        score,
    })
}
