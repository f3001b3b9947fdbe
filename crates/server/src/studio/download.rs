//! What a batch gives back: its table, with a few columns more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use saem_store::{BatchRow, BatchState};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::batches::{MOST_LISTED, about, find, is_correct, named, task_of};
use super::store;
use super::table::Format;
use crate::http::{PathId, QueryOf};
use crate::{ApiError, App, Caller, ErrorBody};

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DownloadQuery {
    /// `csv` or `jsonl`; as it came where absent, and `csv` where it came as Parquet.
    format: Option<Format>,
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
    let (about, task) = (about(&stored)?, task_of(&stored)?);
    let is_scored = task.as_ref().is_some_and(|task| task.gold.is_some());
    let letters = task.map(|task| task.letters).unwrap_or_default();
    let ways = letters.len().max(1);
    if query.format == Some(Format::Parquet) {
        return Err(ApiError::invalid_value("format", "format must be csv or jsonl"));
    }
    let format = query.format.unwrap_or(about.format);
    // One page is read while the one before it goes out.
    let (pages, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let names = names_beside(&about.columns, &letters, is_scored);
        let mut next = match format {
            Format::Csv | Format::Parquet => {
                let head: Vec<&str> = about.columns.iter().chain(&names).map(String::as_str).collect();
                // The mark tells Excel that it is UTF-8.
                format!("\u{feff}{}", line(&head))
            }
            Format::Jsonl => String::new(),
        };
        let mut last = 0;
        loop {
            // No page ends between two answers to one row.
            let page = MOST_LISTED / ways as u32 * ways as u32;
            match store.batch_rows_after(&stored.id, last, false, page).await {
                Ok(rows) => {
                    let Some(end) = rows.last() else { break };
                    last = end.number;
                    rows.chunks(ways).for_each(|rows| write(rows, &about.columns, &names, format, &mut next));
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
        Format::Csv | Format::Parquet => ("text/csv; charset=utf-8", "attachment; filename=\"batch.csv\""),
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

/// What is told of an answer; the last only where there are labels to hold it against.
const TOLD: [&str; 4] = ["output", "finish_reason", "error", "correct"];

/// Names of the new columns, which the table does not have; where there are several variants, of each.
fn names_beside(columns: &[String], letters: &[String], is_scored: bool) -> Vec<String> {
    let free = |name: String| {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| !columns.contains(name)).unwrap_or_default()
    };
    let told = TOLD.iter().take(if is_scored { 4 } else { 3 });
    match letters {
        [] => told.map(|told| free((*told).to_owned())).collect(),
        letters => {
            let of = |letter: &String| told.clone().map(move |told| format!("{told}_{letter}")).collect::<Vec<_>>();
            letters.iter().flat_map(of).map(free).collect()
        }
    }
}

/// Writes a row of the table: what each variant made of it.
fn write(rows: &[BatchRow], columns: &[String], names: &[String], format: Format, out: &mut String) {
    let Some(first) = rows.first() else { return };
    let told = |row: &BatchRow| {
        let text = |text: &String| Value::from(text.as_str());
        let correct = is_correct(row).map_or(Value::Null, Value::from);
        let all = [text(&row.output), text(&row.finish_reason), text(&row.error), correct];
        all.into_iter().take(names.len() / rows.len())
    };
    let told = rows.iter().flat_map(told);
    match format {
        Format::Csv | Format::Parquet => {
            let cells = first.input.as_array().map(Vec::as_slice).unwrap_or_default();
            // A spreadsheet computes what begins like a formula, and answers are not to be trusted with that.
            let safe = |told: Value| match told {
                Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let new: Vec<String> = told.map(safe).collect();
            let own = cells.iter().map(|cell| cell.as_str().unwrap_or_default());
            let all: Vec<&str> = own.chain(new.iter().map(String::as_str)).collect();
            out.push_str(&line(&all));
        }
        Format::Jsonl => {
            let mut fields = named(&first.input, columns);
            fields.extend(names.iter().cloned().zip(told));
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
