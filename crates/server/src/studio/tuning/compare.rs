//! Base and tuned model side by side: both answer rows that neither has learnt from.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_store::{Tuning, TuningState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

use super::folder::Folder;
use super::routes::{Record, find, home, record};
use crate::http::{JsonBody, PathId, blocking, json};
use crate::service::Served;
use crate::studio::datasets::failed;
use crate::studio::document::{Document, Mode, Parameters, Speaker, Turn};
use crate::studio::render::{Asked, request};
use crate::studio::store;
use crate::{ApiError, App, Caller, ErrorBody};

/// The most rows of one answer.
const MOST_ROWS: usize = 16;
/// The longest answer in tokens, where it is free.
const LONGEST: u32 = 96;

/// Which rows that are held out.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioCompareRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareRequest {
    /// How many to skip.
    #[serde(default)]
    offset: usize,
    /// How many: 1 to 16, 4 where absent.
    limit: Option<usize>,
}

/// A row, and what both models say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioComparedRow)]
pub(crate) struct Compared {
    /// Its number among those that are held out, from 1.
    row: usize,
    /// What is asked; of a conversation its last question.
    prompt: String,
    /// What the dataset says is right.
    expected: String,
    base: String,
    tuned: String,
}

/// Rows in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioComparison)]
pub(crate) struct Comparison {
    rows: Vec<Compared>,
    /// Rows that are held out.
    total: usize,
    /// What may be answered; anything where empty.
    choices: Vec<String>,
}

/// Asks base and tuned model some of the rows that are held out.
#[utoipa::path(post, path = "/api/studio/tunings/{id}/compare", operation_id = "studioCompareTuning", tag = "studio",
    params(("id" = String, Path)), request_body = CompareRequest,
    responses((status = 200, body = Comparison), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn compare(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<CompareRequest>,
) -> Result<Response, ApiError> {
    let limit = body.limit.unwrap_or(4);
    if !(1..=MOST_ROWS).contains(&limit) {
        return Err(ApiError::invalid_value("limit", format!("limit must be between 1 and {MOST_ROWS}")));
    }
    let stored = find(store(&app)?, &caller, &id).await?;
    let record = record(&stored)?;
    let folder = Folder::of(home(&app)?, &stored.id);
    let base = app.model(&caller, &record.task.base).map_err(|error| error.with_param("base"))?;
    let tuned = match &stored.served_as {
        Some(name) => app.model(&caller, name)?,
        None => tuned(&stored, &folder, &base).await?,
    };
    let at = folder.clone();
    let rows = blocking(move || at.held_out_rows(body.offset, limit).map_err(|error| failed(&error))).await?;
    let document = document(&record);
    let as_tuned = as_tuned(&record);
    let mut compared = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let (asked, prompt, expected) = question(&record, row);
        let (before, after) = tokio::try_join!(
            answer(&app, &caller, &base, &document, asked.clone()),
            answer(&app, &caller, &tuned, &as_tuned, asked),
        )?;
        compared.push(Compared { row: body.offset + place + 1, prompt, expected, base: before, tuned: after });
    }
    let choices = document.choices.iter().map(|choice| choice.trim().to_owned()).collect();
    Ok(json(StatusCode::OK, &Comparison { rows: compared, total: record.held_out, choices }))
}

/// The tuned model, for as long as it is asked.
async fn tuned(stored: &Tuning, folder: &Folder, base: &Arc<Served>) -> Result<Arc<Served>, ApiError> {
    let adapter = folder.adapter().filter(|_| stored.state == TuningState::Done);
    let Some(path) = adapter else {
        return Err(ApiError::conflict(
            "tuning_state",
            "The tuning has no adapter that could be compared; publish its model first",
        ));
    };
    let (base, name, owner) = (Arc::clone(base), format!("{}:{}", base.name(), stored.id), stored.tenant.clone());
    blocking(move || Ok(Arc::new(base.adapted(name, &path, &owner)?))).await
}

/// How the tuned model is asked: as the base, but one that tells labels says no other word anyway.
pub(super) fn as_tuned(record: &Record) -> Document {
    let document = document(record);
    if record.task.tells_labels() { Document { choices: Vec::new(), ..document } } else { document }
}

/// How the base is asked: always the most probable token, and one of the labels where there are some.
fn document(record: &Record) -> Document {
    let choices = record.task.choices();
    let longest =
        choices.iter().map(String::len).max().map_or(LONGEST, |bytes| u32::try_from(bytes).unwrap_or(LONGEST) + 1);
    Document {
        mode: if record.task.chat.is_some() { Mode::Chat } else { Mode::Text },
        choices,
        parameters: Parameters {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            repeat_penalty: 0.0,
            max_tokens: longest,
            ..Parameters::default()
        },
        ..Document::default()
    }
}

/// What a row asks, the same to look at, and what is right.
fn question(record: &Record, row: &Map<String, Value>) -> (Asked, String, String) {
    let Some(column) = &record.task.chat else {
        let (prompt, answer) = record.task.example(row);
        return (Asked::Text(prompt.clone()), prompt, answer.trim().to_owned());
    };
    let turns: Vec<Turn> = row
        .get(column)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|turn| {
            let text = |field: &str| turn.get(field).and_then(Value::as_str);
            let role = match text("role")? {
                "system" => Speaker::System,
                "assistant" => Speaker::Assistant,
                _ => Speaker::User,
            };
            Some(Turn { role, content: text("content")?.to_owned() })
        })
        .collect();
    let (asked, expected) = match turns.split_last() {
        Some((last, before)) if last.role == Speaker::Assistant => (before.to_vec(), last.content.clone()),
        _ => (turns, String::new()),
    };
    let prompt = asked.last().map(|turn| turn.content.clone()).unwrap_or_default();
    (Asked::Chat(asked), prompt, expected)
}

async fn answer(
    app: &App,
    caller: &Caller,
    model: &Arc<Served>,
    document: &Document,
    asked: Asked,
) -> Result<String, ApiError> {
    let request = request(model, document, asked).await?;
    let completion = app.start(caller, model, request).await?.complete().await?;
    Ok(completion.text().trim().to_owned())
}
