//! Batches over HTTP: a table comes in, goes through a prompt, and goes out with its answers.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use saem_engine::constraint::Constraint;
use saem_store::{Batch as Stored, BatchRow, BatchState, NewBatch, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
const SAMPLE: u32 = 5;
/// The most variants that a row goes through.
const MOST_WAYS: usize = 4;
/// The most rows of one answer.
pub(super) const MOST_LISTED: u32 = 500;

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
    /// The variants that each row goes through, where they are several: their letters, and the documents of those after
    /// the first.
    #[serde(default)]
    pub(crate) letters: Vec<String>,
    #[serde(default)]
    pub(crate) beside: Vec<Document>,
}

impl Task {
    /// How often each row of the table is asked.
    pub(crate) fn ways(&self) -> i64 {
        1 + self.beside.len() as i64
    }

    /// The document for a row of this number; see [`Store::start_batch`].
    pub(crate) fn document(&self, number: i64) -> &Document {
        let way = usize::try_from((number - 1).rem_euclid(self.ways())).unwrap_or_default();
        way.checked_sub(1).and_then(|way| self.beside.get(way)).unwrap_or(&self.document)
    }

    fn documents(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.document).chain(&self.beside)
    }
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
    /// Several of them, so that each row goes through each: `A` is the document itself, `B` its first variant, and so
    /// on.
    #[schema(max_items = 4)]
    variants: Option<Vec<String>>,
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
    /// Where the task has a column with labels, and one variant.
    score: Option<Score>,
    /// The same, for each of several variants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    scores: Vec<ScoreOf>,
}

/// How right one of several variants is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioScoreOf)]
pub(crate) struct ScoreOf {
    /// Its letter.
    variant: String,
    score: Option<Score>,
}

/// One of several variants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchVariant)]
pub(crate) struct ShownVariant {
    /// Its letter.
    variant: String,
    model: String,
}

/// What one of several variants made of a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchAnswer)]
pub(crate) struct ShownAnswer {
    /// Its letter.
    variant: String,
    /// `waiting`, `done` or `failed`.
    state: String,
    output: Option<String>,
    /// `stop` or `length`.
    finish_reason: Option<String>,
    /// What went wrong.
    error: Option<String>,
    /// Whether the answer is the right label, where the task has a column with them.
    correct: Option<bool>,
}

/// What is done with each row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioBatchTask)]
pub(crate) struct ShownTask {
    project: String,
    version: i64,
    variant: Option<usize>,
    /// Where rows go through several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    variants: Vec<ShownVariant>,
    model: String,
    columns: BTreeMap<String, String>,
    choices: Vec<String>,
    gold: Option<String>,
}

/// How many answers are in each state: one for each row, and where there are several variants one for each of them.
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
    /// `waiting`, `done` or `failed`; with several variants `failed` or `waiting` where one of them is.
    state: String,
    output: Option<String>,
    /// `stop` or `length`.
    finish_reason: Option<String>,
    /// What went wrong.
    error: Option<String>,
    /// Whether the answer is the right label, where the task has a column with them.
    correct: Option<bool>,
    /// What each made of it, where there are several variants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    answers: Vec<ShownAnswer>,
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
/// `application/jsonl`) or Parquet (`application/vnd.apache.parquet`), at most 8 MiB.
#[utoipa::path(post, path = "/api/studio/batches", operation_id = "studioCreateBatch", tag = "studio", params(NewQuery),
    request_body(content((String = "text/csv"), (String = "text/tab-separated-values"), (String = "application/x-ndjson"), (String = "application/jsonl"),
        (Vec<u8> = "application/vnd.apache.parquet"))),
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
    let ways = task.as_ref().map_or(1, Task::ways);
    let task = task.map(|task| stored_form(&task)).transpose()?;
    let started = store.start_batch(&stored.id, task.as_ref(), ways, caller.key_id(), &caller.origin()).await;
    if !started.map_err(refused)? {
        return Err(ApiError::conflict("batch_state", "The batch runs already"));
    }
    app.batches().notify_one();
    let stored = store.batch(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(store, stored, true).await?))
}

/// The variants of a task by their letters: all of them, and the numbers that documents give them.
fn lettered(variants: &[String]) -> Result<Vec<Option<usize>>, ApiError> {
    let wrong = |field: String| ApiError::invalid_value(field, "variants must be different ones of A, B, C and D");
    if !(1..=MOST_WAYS).contains(&variants.len()) {
        return Err(wrong("variants".to_owned()));
    }
    let number = |(at, letter): (usize, &String)| {
        let known = ["A", "B", "C", "D"].iter().position(|known| known == letter);
        let fresh = known.filter(|_| variants.iter().take(at).all(|other| other != letter));
        Ok(fresh.ok_or_else(|| wrong(format!("variants[{at}]")))?.checked_sub(1))
    };
    variants.iter().enumerate().map(number).collect()
}

/// As it is kept.
fn stored_form(task: &Task) -> Result<Value, ApiError> {
    let text = serde_json::to_string(task).map_err(|_| ApiError::internal())?;
    serde_json::from_str(&text).map_err(|_| ApiError::internal())
}

async fn task(app: &App, caller: &Caller, stored: &Stored, body: StartRequest) -> Result<Task, ApiError> {
    let about = about(stored)?;
    let Some(project) = body.project else {
        return Err(ApiError::invalid("missing_required_parameter", "project", "Missing parameter: `project`"));
    };
    let letters = body.variants.unwrap_or_default();
    let wanted = match (letters.as_slice(), body.variant) {
        ([], variant) => vec![variant],
        (_, Some(_)) => return Err(ApiError::invalid_value("variant", "variant and variants exclude each other")),
        (letters, None) => lettered(letters)?,
    };
    let mut documents = Vec::with_capacity(wanted.len());
    let (mut project, mut version) = (project, body.version);
    for variant in &wanted {
        let (id, taken, document) = take(app, caller, &project, version, *variant).await?;
        // All of one version, whoever saves meanwhile.
        (project, version) = (id, Some(taken));
        documents.push(document);
    }
    let unknown = |field: String, column: &str| {
        let message = format!("The table has no column `{column}`");
        ApiError::invalid_value(field, message)
    };
    let mut given: BTreeMap<String, String> =
        body.columns.into_iter().map(|(name, column)| (nfc(name), nfc(column))).collect();
    let mut columns = BTreeMap::new();
    let names: BTreeSet<String> = documents.iter().flat_map(Document::used_variables).collect();
    for name in names {
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
    let choices: Option<Vec<String>> =
        body.choices.map(|choices| choices.into_iter().map(|choice| nfc(choice.trim().to_owned())).collect());
    for document in &mut documents {
        if let Some(choices) = &choices {
            document.choices.clone_from(choices);
        }
        if !document.choices.is_empty() {
            Constraint::choice(&document.choices).map_err(|error| ApiError::constraint(&error, "choices"))?;
        }
        // One answer for each row.
        document.parameters.candidates = 1;
    }
    let mut documents = documents.into_iter();
    let (Some(document), Some(version)) = (documents.next(), version) else { return Err(ApiError::internal()) };
    let beside: Vec<Document> = documents.collect();
    // One alone is `variant`.
    let variant = wanted.first().copied().flatten().filter(|_| beside.is_empty());
    let letters = if beside.is_empty() { Vec::new() } else { letters };
    Ok(Task { project, version, variant, columns, gold, document, letters, beside })
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
    let (columns, task) = (about(&stored)?.columns, task_of(&stored)?);
    let ways = task.as_ref().map_or(1, Task::ways);
    let total = match query.state.as_deref() {
        None => stored.rows,
        Some(state @ ("waiting" | "done" | "failed")) => {
            store.batch_rows_in(&stored.id, ways, state).await.map_err(refused)?
        }
        Some(_) => return Err(ApiError::invalid_value("state", "state must be waiting, done or failed")),
    };
    let offset = i64::from(query.offset.unwrap_or(0));
    let rows = store.batch_rows(&stored.id, ways, query.state.as_deref(), offset, limit).await.map_err(refused)?;
    let letters = task.map(|task| task.letters).unwrap_or_default();
    let rows = rows.chunks(letters.len().max(1)).map(|rows| shown_row(rows, &letters, &columns)).collect();
    Ok(json(StatusCode::OK, &Rows { rows, total }))
}

/// The cells of a row by the names of their columns.
pub(super) fn named(input: &Value, columns: &[String]) -> Map<String, Value> {
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

pub(super) async fn find(store: &Store, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
    let stored = store.batch(id).await.map_err(refused)?;
    if stored.tenant == caller.tenant_name() {
        return Ok(stored);
    }
    Err(refused(StoreError::NotFound { kind: "batch", id: stored.id }))
}

/// Whether a row that is done was answered by its label; nothing where it has none.
pub(super) fn is_correct(row: &BatchRow) -> Option<bool> {
    (row.state == "done" && row.gold.is_some()).then(|| row.gold == row.answer)
}

/// A row of the table as it is shown, from what each way made of it.
fn shown_row(rows: &[BatchRow], letters: &[String], columns: &[String]) -> ShownRow {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let answer = |(row, letter): (&BatchRow, &String)| ShownAnswer {
        variant: letter.clone(),
        output: (row.state == "done").then(|| row.output.clone()),
        state: row.state.clone(),
        finish_reason: text(&row.finish_reason),
        error: text(&row.error),
        correct: is_correct(row),
    };
    let mut answers: Vec<ShownAnswer> = rows.iter().zip(letters.iter().chain([&String::new()])).map(answer).collect();
    let ways = answers.len().max(1) as i64;
    let state = ["failed", "waiting", "done"].into_iter().find(|state| answers.iter().any(|one| one.state == *state));
    let mut row = ShownRow {
        row: rows.first().map_or(0, |row| (row.number - 1) / ways + 1),
        line: rows.first().map_or(0, |row| row.line),
        input: rows.first().map(|row| named(&row.input, columns)).unwrap_or_default(),
        state: state.unwrap_or("waiting").to_owned(),
        output: None,
        finish_reason: None,
        error: None,
        correct: None,
        answers: Vec::new(),
    };
    match (letters, answers.pop()) {
        ([], Some(only)) => {
            row = ShownRow {
                output: only.output,
                finish_reason: only.finish_reason,
                error: only.error,
                correct: only.correct,
                ..row
            };
        }
        (_, last) => row.answers = answers.into_iter().chain(last).collect(),
    }
    row
}

async fn show(store: &Store, stored: Stored, whole: bool) -> Result<Shown, ApiError> {
    let (about, task) = (about(&stored)?, task_of(&stored)?);
    let progress = store.batch_progress(&stored.id).await.map_err(refused)?;
    let sample = match whole {
        true => {
            let ways = task.as_ref().map_or(1, Task::ways);
            let rows = store.batch_rows(&stored.id, ways, None, 0, SAMPLE).await.map_err(refused)?;
            let firsts = rows.iter().filter(|row| (row.number - 1) % ways == 0);
            Some(firsts.map(|row| named(&row.input, &about.columns)).collect())
        }
        false => None,
    };
    let mut scores = match task.as_ref().filter(|task| task.gold.is_some()) {
        Some(task) => scores(store, &stored.id, task).await?,
        None => Vec::new(),
    };
    let score = match scores.as_slice() {
        [only] if only.variant.is_empty() => scores.pop().and_then(|only| only.score),
        _ => None,
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
        task: task.map(shown_task),
        progress: ShownProgress { waiting: progress.waiting, done: progress.done, failed: progress.failed },
        usage: ShownUsage { prompt_tokens: progress.prompt_tokens, completion_tokens: progress.completion_tokens },
        score,
        scores,
    })
}

fn shown_task(task: Task) -> ShownTask {
    let named = task.letters.iter().zip(task.documents());
    let variants = named.map(|(letter, document)| (letter.clone(), document.model.clone()));
    let variants = variants.map(|(variant, model)| ShownVariant { variant, model }).collect();
    ShownTask {
        variants,
        project: task.project,
        version: task.version,
        variant: task.variant,
        model: task.document.model,
        columns: task.columns,
        choices: task.document.choices,
        gold: task.gold,
    }
}

/// How right each variant is; where there is one, it has no letter.
async fn scores(store: &Store, id: &str, task: &Task) -> Result<Vec<ScoreOf>, ApiError> {
    let labels = store.batch_labels(id, task.ways()).await.map_err(refused)?;
    let score = |way: i64| {
        let of_way = labels.iter().filter(|(found, ..)| *found == way);
        let pairs: Vec<_> = of_way.map(|(_, gold, answer, count)| (gold.clone(), answer.clone(), *count)).collect();
        Score::of(&pairs, &task.document.choices)
    };
    let letter = |way: i64| usize::try_from(way).ok().and_then(|way| task.letters.get(way)).cloned();
    Ok((0..task.ways()).map(|way| ScoreOf { variant: letter(way).unwrap_or_default(), score: score(way) }).collect())
}
