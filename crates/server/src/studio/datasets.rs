//! Datasets over HTTP: tables that models are tuned on.
//!
//! A table that comes in is read once, whatever its form and encoding, and kept as JSON lines in a folder of its own in Saem's
//! home, where the process that tunes finds it. What was found in it is told at once: broken rows, empty cells, rows that
//! are there twice, how the labels are balanced and how long the texts are.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use saem_store::{Dataset as Stored, NewDataset, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::document::is_name;
use super::report::{Column, ColumnKind, Notice, report};
use super::table::{Bounds, Fault, Format, Table};
use super::{refused, store};
use crate::http::{PathId, QueryOf, blocking, json, read_body};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody};

/// The folder of datasets in Saem's home.
const FOLDER: &str = "datasets";
/// The file with the rows.
const ROWS: &str = "rows.jsonl";
/// The most rows of one answer.
const MOST_LISTED: usize = 500;

/// What is known of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    format: Format,
    encoding: String,
    pub(crate) columns: Vec<Column>,
    faults: Vec<Fault>,
    faults_total: usize,
    notices: Vec<Notice>,
}

/// What a new dataset is called.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewQuery {
    /// Its name; `dataset` where absent.
    name: Option<String>,
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsQuery {
    /// How many to skip.
    offset: Option<usize>,
    /// How many: 1 to 500, 50 where absent.
    limit: Option<usize>,
}

/// A dataset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioDataset)]
pub(crate) struct Shown {
    id: String,
    name: String,
    created_at: String,
    /// How it came.
    format: Format,
    /// `utf-8`, `utf-16` or `cp949`.
    encoding: String,
    rows: i64,
    /// Bytes that it takes here.
    bytes: i64,
    columns: Vec<Column>,
    /// Rows that were left out, the first 100 of them.
    faults: Vec<Fault>,
    faults_total: usize,
    /// What to look at in the rows that are there.
    notices: Vec<Notice>,
}

/// Datasets, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioDatasets)]
pub(crate) struct Datasets {
    datasets: Vec<Shown>,
}

/// Rows in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioDatasetRows)]
pub(crate) struct Rows {
    /// Cells by the names of their columns.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Value>>,
    /// Rows in all.
    total: i64,
}

/// Takes a table to tune on: CSV (`text/csv`, `text/tab-separated-values`) or JSON lines (`application/x-ndjson`,
/// `application/jsonl`) or Parquet (`application/vnd.apache.parquet`), at most 64 MiB and 500,000 rows. Cells of JSON lines
/// and Parquet may be conversations.
#[utoipa::path(post, path = "/api/studio/datasets", operation_id = "studioCreateDataset", tag = "studio", params(NewQuery),
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
    let store = store(&app)?;
    store.has_room_for_dataset(caller.tenant_name()).await.map_err(refused)?;
    let id = store.fresh_id().map_err(refused)?;
    let folder = folder(&app, &id)?;
    let bytes = read_body(request, Bounds::DATASET.bytes).await?;
    let (about, rows, bytes, unless_made) = blocking(move || {
        // Whoever hung up meanwhile never hears of it: then the folder goes, once it is written.
        let unless_made = Temporary::new(&folder);
        let mut table = Table::read(&bytes, format, delimiter, Bounds::DATASET)?;
        table.columns = variables(std::mem::take(&mut table.columns));
        let (columns, notices) = report(&table);
        let written = write(&folder, &table, &columns).map_err(|error| failed(&error))?;
        let rows = i64::try_from(table.rows.len()).unwrap_or(i64::MAX);
        let (encoding, faults) = (table.encoding.to_owned(), table.faults);
        let about = About { format, encoding, columns, faults, faults_total: table.faults_total, notices };
        Ok((about, rows, written, unless_made))
    })
    .await?;
    let about = serde_json::to_value(&about).map_err(|_| ApiError::internal())?;
    let name = nfc(query.name.unwrap_or_else(|| "dataset".to_owned()));
    let new = NewDataset { id, name, about, rows, bytes };
    let made = store.create_dataset(caller.tenant_name(), new, &caller.origin()).await.map_err(refused)?;
    unless_made.keep();
    Ok(json(StatusCode::CREATED, &show(made)?))
}

/// Datasets of the caller's organisation.
#[utoipa::path(get, path = "/api/studio/datasets", operation_id = "studioListDatasets", tag = "studio",
    responses((status = 200, body = Datasets), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let found = store(&app)?.datasets(caller.tenant_name()).await.map_err(refused)?;
    let datasets = found.into_iter().map(show).collect::<Result<_, _>>()?;
    Ok(json(StatusCode::OK, &Datasets { datasets }))
}

/// Reads what is known of a dataset.
#[utoipa::path(get, path = "/api/studio/datasets/{id}", operation_id = "studioReadDataset", tag = "studio", params(("id" = String, Path)),
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &show(find(store(&app)?, &caller, &id).await?)?))
}

/// Removes a dataset with its rows. Tunings that were begun with it have rows of their own.
#[utoipa::path(delete, path = "/api/studio/datasets/{id}", operation_id = "studioRemoveDataset", tag = "studio",
    params(("id" = String, Path)), responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn remove(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let stored = find(store(&app)?, &caller, &id).await?;
    let folder = folder(&app, &stored.id)?;
    store(&app)?.remove_dataset(caller.tenant_name(), &stored.id, &caller.origin()).await.map_err(refused)?;
    discard(folder).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Rows of a dataset.
#[utoipa::path(get, path = "/api/studio/datasets/{id}/rows", operation_id = "studioDatasetRows", tag = "studio",
    params(("id" = String, Path), RowsQuery), responses((status = 200, body = Rows), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn rows(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    QueryOf(query): QueryOf<RowsQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(ApiError::invalid_value("limit", format!("limit must be between 1 and {MOST_LISTED}")));
    }
    let stored = find(store(&app)?, &caller, &id).await?;
    let (total, offset) = (stored.rows, query.offset.unwrap_or(0));
    let path = file(&app, &stored)?;
    let rows = blocking(move || {
        let lines = BufReader::new(File::open(&path).map_err(|error| failed(&error))?).lines();
        let row = |line: io::Result<String>| {
            let line = line.map_err(|error| failed(&error))?;
            serde_json::from_str(&line).map_err(|error| failed(&error.into()))
        };
        lines.skip(offset).take(limit).map(row).collect::<Result<Vec<Map<String, Value>>, ApiError>>()
    })
    .await?;
    Ok(json(StatusCode::OK, &Rows { rows, total }))
}

/// The names of columns as templates can name them: letters, digits and `_`.
fn variables(columns: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let letters = column.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' });
        let mut name: String = letters.take(60).collect();
        if !is_name(&name) {
            name.insert(0, '_');
        }
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(free.unwrap_or_default());
    }
    names
}

/// The dataset, if it is the caller's organisation's.
pub(crate) async fn find(store: &Store, caller: &Caller, id: &str) -> Result<Stored, ApiError> {
    let stored = store.dataset(id).await.map_err(refused)?;
    if stored.tenant == caller.tenant_name() {
        return Ok(stored);
    }
    Err(refused(StoreError::NotFound { kind: "dataset", id: stored.id }))
}

/// What is known of a dataset.
pub(crate) fn about(stored: &Stored) -> Result<About, ApiError> {
    serde_json::from_value(stored.about.clone()).map_err(|error| {
        tracing::error!(dataset = stored.id, error = %error, "a stored dataset cannot be read");
        ApiError::internal()
    })
}

/// The file with the rows of a dataset: a JSON object in each line.
pub(crate) fn file(app: &App, stored: &Stored) -> Result<PathBuf, ApiError> {
    Ok(folder(app, &stored.id)?.join(ROWS))
}

/// Where a dataset lies. Ids are letters and digits.
fn folder(app: &App, id: &str) -> Result<PathBuf, ApiError> {
    let home = app.settings().home.as_ref().ok_or_else(ApiError::records_unavailable)?;
    Ok(home.join(FOLDER).join(id))
}

/// Writes the rows of a table as JSON lines; bytes that they take. A folder that is there is whole.
fn write(folder: &Path, table: &Table, columns: &[Column]) -> io::Result<i64> {
    let part = folder.with_extension("part");
    fs::create_dir_all(&part)?;
    let written = (|| {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = BufWriter::with_capacity(1 << 20, options.open(part.join(ROWS))?);
        for (_, cells) in &table.rows {
            let value = |(column, cell): (&Column, &String)| {
                let nested = match column.kind {
                    ColumnKind::Messages => serde_json::from_str(cell).ok(),
                    _ => None,
                };
                (column.name.clone(), nested.unwrap_or_else(|| Value::from(cell.as_str())))
            };
            let row: Map<String, Value> = columns.iter().zip(cells).map(value).collect();
            serde_json::to_writer(&mut out, &row)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        let file = out.get_ref();
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&part, folder)?;
        Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
    })();
    if written.is_err() {
        // A full disk must not stay full of half a table.
        let _ = fs::remove_dir_all(&part);
    }
    written
}

/// Removes a folder that nobody knows of any more. Who still writes into it finds no place for another file.
pub(crate) async fn discard(folder: PathBuf) {
    let removed = blocking(move || {
        let mut tries = 50;
        loop {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => tries -= 1,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
                _ => return Ok(()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    // Whoever asked has what they asked for; the log knows what is left.
    let _ = removed.await;
}

/// A folder that goes when whoever wants it does, unless it is to be kept: a request ends where its browser hangs up.
pub(crate) struct Temporary(Option<PathBuf>);

impl Temporary {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(Some(folder.to_owned()))
    }

    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            tokio::spawn(discard(folder));
        }
    }
}

/// Files cannot be read or written: the log knows which and why.
pub(crate) fn failed(error: &io::Error) -> ApiError {
    tracing::error!(error = %error, "the files of datasets and tunings cannot be used");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ApiError::no_space(),
        _ => ApiError::internal(),
    }
}

fn show(stored: Stored) -> Result<Shown, ApiError> {
    let about = about(&stored)?;
    Ok(Shown {
        id: stored.id,
        name: stored.name,
        created_at: stored.created_at.to_string(),
        format: about.format,
        encoding: about.encoding,
        rows: stored.rows,
        bytes: stored.bytes,
        columns: about.columns,
        faults: about.faults,
        faults_total: about.faults_total,
        notices: about.notices,
    })
}

#[cfg(test)]
mod tests {
    use super::variables;

    #[test]
    fn columns_are_called_as_templates_can_call_them() {
        let names = ["후기", "review text", "review_text", "2021", ""].map(str::to_owned).to_vec();
        assert_eq!(variables(names), ["후기", "review_text", "review_text_2", "_2021", "_"]);
    }
}
