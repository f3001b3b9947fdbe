//! From a tuning to a model that is served, and a project that asks it.

use std::path::{Path, PathBuf};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_engine::AdapterRoom;
use saem_store::{Store, Tuning, TuningState};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::compare::as_tuned;
use super::folder::Folder;
use super::routes::{Record, Shown, find, home, record, show};
use super::tuner;
use crate::http::{JsonBody, PathId, blocking, json};
use crate::nfc::nfc;
use crate::studio::datasets::failed;
use crate::studio::document::{Document, Speaker, Turn, Variable};
use crate::studio::{refused, store};
use crate::{ApiError, App, Caller, ErrorBody};

/// Longest name in characters.
const LONGEST_NAME: usize = 64;

/// Bytes that the adapters take which were tuned on this model and published, of whatever organisation. They are served
/// as soon as the server is, so a plan has to count them.
pub async fn published_bytes(store: &Store, home: &Path, base: &str) -> u64 {
    let Ok(tunings) = store.served_tunings().await else { return 0 };
    let is_of = |tuning: &&Tuning| record(tuning).is_ok_and(|record| record.task.base == base);
    let paths: Vec<PathBuf> =
        tunings.iter().filter(is_of).filter_map(|tuning| Folder::of(home, &tuning.id).adapter()).collect();
    AdapterRoom::for_files(paths.iter().map(PathBuf::as_path)).bytes
}

/// What a tuned model is called.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioPublishTuning)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishRequest {
    /// Letters, digits, `-`, `_` and `.`; the model is then called by its base's name, a colon and this.
    name: String,
}

/// Serves the result of a tuning beside its base, from now on and after the next start, for the caller's organisation.
/// A project that asks it is made, from which an app can be published.
#[utoipa::path(post, path = "/api/studio/tunings/{id}/publish", operation_id = "studioPublishTuning", tag = "studio",
    params(("id" = String, Path)), request_body = PublishRequest,
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn publish(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonBody(body): JsonBody<PublishRequest>,
) -> Result<Response, ApiError> {
    let name = nfc(body.name.trim().to_owned());
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || name.chars().count() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(ApiError::invalid_value("name", "name must be 1 to 64 letters, digits, `-`, `_` or `.`"));
    }
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    let record = record(&stored)?;
    let unready = || {
        let message = "Only what is tuned to its end, and is not served yet, can be published";
        ApiError::conflict("tuning_state", message)
    };
    if stored.state != TuningState::Done || stored.served_as.is_some() {
        return Err(unready());
    }
    let full = format!("{}:{name}", record.task.base);
    tuner::serve(&app, home(&app)?, &stored, &full).await?;
    let made = async {
        let folder = Folder::of(home(&app)?, &stored.id);
        let sample = blocking(move || folder.held_out_rows(0, 1).map_err(|error| failed(&error))).await?;
        // The project of an earlier publication asks for the name that it had then.
        let earlier = match &stored.project {
            Some(project) => {
                store.project(project).await.ok().filter(|known| known.current.document["model"] == full.as_str())
            }
            None => None,
        };
        let project = match earlier {
            Some(project) => project.id,
            None => {
                let document = asking(&full, &record, sample.first());
                let document = document.to_value()?;
                let origin = caller.origin();
                let made = store.create_project(caller.tenant_name(), &stored.name, &document, &origin).await;
                made.map_err(refused)?.id
            }
        };
        let is_first = store.serve_tuning(&stored.id, &full, &project, &caller.origin()).await.map_err(refused)?;
        if is_first { Ok(()) } else { Err(unready()) }
    }
    .await;
    if let Err(error) = made {
        app.service().withdraw(&full);
        return Err(error);
    }
    let stored = store.tuning(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(&app, stored).await?))
}

/// Serves a tuned model no longer. Apps and projects that ask it stay, and find no model.
#[utoipa::path(delete, path = "/api/studio/tunings/{id}/publish", operation_id = "studioWithdrawTuning", tag = "studio",
    params(("id" = String, Path)), responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn withdraw(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Response, ApiError> {
    let store = store(&app)?;
    let stored = find(store, &caller, &id).await?;
    let unpublished = || ApiError::conflict("tuning_state", "The tuning is not published");
    let name = stored.served_as.as_ref().ok_or_else(unpublished)?;
    let project = stored.project.clone().unwrap_or_default();
    if !store.serve_tuning(&stored.id, "", &project, &caller.origin()).await.map_err(refused)? {
        return Err(unpublished());
    }
    app.service().withdraw(name);
    let stored = store.tuning(&stored.id).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &show(&app, stored).await?))
}

/// The document that asks a tuned model as it was tuned, with the values of a row to try.
fn asking(model: &str, record: &Record, sample: Option<&Map<String, Value>>) -> Document {
    let document = Document { model: model.to_owned(), ..as_tuned(record) };
    if record.task.chat.is_some() {
        let question = Turn { role: Speaker::User, content: "{{question}}".to_owned() };
        let variable = Variable { name: "question".to_owned(), ..Variable::default() };
        return Document { messages: vec![question], variables: vec![variable], ..document };
    }
    let document = Document { prompt: record.task.prompt.clone(), ..document };
    let value = |name: &str| sample.and_then(|row| row.get(name)?.as_str()).unwrap_or_default().to_owned();
    let variable = |name: String| Variable { value: value(&name), name, ..Variable::default() };
    Document { variables: document.used_variables().into_iter().map(variable).collect(), ..document }
}
