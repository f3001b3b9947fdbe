//! Engines: the models that write, those that could be had beside them, and what fits in memory.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_train::available_memory;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tuning::tuner;
use crate::http::{JsonBody, blocking, json};
use crate::service::{Served, Shelf, ShelfError, Shelved};
use crate::{ApiError, App, Caller, ErrorBody};

/// Models, and the memory that they would have to fit in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioEngines)]
pub(crate) struct Engines {
    /// Bytes that are free for one more; absent where the system does not tell.
    memory: Option<u64>,
    engines: Vec<Engine>,
}

/// A model that writes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StudioEngine)]
pub(crate) struct Engine {
    name: String,
    /// `served`, `here` on this machine, or `away`: to be fetched with `saem pull`.
    state: &'static str,
    /// What it is good for.
    about: Option<About>,
    /// The name of its licence.
    licence: Option<String>,
    /// Bytes that serving it takes; of one that is away, a guess by the size of its files.
    bytes: Option<u64>,
    /// Whether that fits in what is free.
    fits: Option<bool>,
}

/// A sentence in both languages.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StudioWords)]
pub(crate) struct About {
    en: String,
    ko: String,
}

/// Which model to load.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioEngineLoad)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Its name in the list.
    name: String,
}

impl Engine {
    fn served(model: &Served) -> Self {
        Self {
            name: model.name().to_owned(),
            state: "served",
            about: None,
            licence: None,
            bytes: Some(model.plan().total_bytes()),
            fits: Some(true),
        }
    }

    fn shelved(model: Shelved, memory: Option<u64>) -> Self {
        let known = !model.about.en.is_empty();
        Self {
            name: model.name,
            state: if model.is_here { "here" } else { "away" },
            about: known.then_some(About { en: model.about.en, ko: model.about.ko }),
            licence: model.licence,
            bytes: model.bytes,
            fits: model.bytes.zip(memory).map(|(bytes, memory)| bytes <= memory),
        }
    }
}

/// What is served, then what is not.
async fn list_of(app: &App, caller: &Caller) -> Result<Engines, ApiError> {
    let shelf = app.service().shelf().cloned();
    let (memory, shelved) = blocking(move || {
        let shelved = shelf.as_deref().map(Shelf::models).unwrap_or_default();
        Ok((available_memory(), shelved))
    })
    .await?;
    let served = app.service().all_models();
    let bases: Vec<&Arc<Served>> = served.iter().filter(|model| !model.is_adapted()).collect();
    let mut engines: Vec<Engine> = bases.iter().map(|model| Engine::served(model)).collect();
    for model in shelved {
        match engines.iter_mut().find(|engine| engine.name == model.name) {
            Some(engine) => {
                let Engine { about, licence, .. } = Engine::shelved(model, None);
                (engine.about, engine.licence) = (about, licence);
            }
            None => engines.push(Engine::shelved(model, memory)),
        }
    }
    engines.retain(|engine| caller.allows_model(&engine.name));
    Ok(Engines { memory, engines })
}

/// Lists the models that write: those that are served, those on this machine, and those that could be fetched, each with
/// the memory that it takes and whether that is free.
#[utoipa::path(get, path = "/api/studio/engines", operation_id = "studioListEngines", tag = "studio",
    responses((status = 200, body = Engines), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &list_of(&app, &caller).await?))
}

/// Loads a model that is on this machine, beside those that are served, until the server stops. It must fit in what is
/// free. Asks for the scope `admin`.
#[utoipa::path(post, path = "/api/studio/engines/load", operation_id = "studioLoadEngine", tag = "studio",
    request_body = Load, responses((status = 200, body = Engine), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn load(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<Load>,
) -> Result<Response, ApiError> {
    // One at a time: what is free is only known where nobody else takes it.
    let _turn = app.loading().lock().await;
    let listed = list_of(&app, &caller).await?;
    let found = listed.engines.into_iter().find(|engine| engine.name == body.name);
    let engine = match found {
        Some(engine) if engine.state == "here" => engine,
        Some(engine) if engine.state == "served" => return Ok(json(StatusCode::OK, &engine)),
        Some(_) => return Err(ApiError::conflict("not_here", format!("Fetch it first: saem pull {}", body.name))),
        None => return Err(ApiError::unknown_model(&body.name).with_param("name")),
    };
    if engine.fits != Some(true) {
        return Err(no_memory(&engine.name));
    }
    let Some(shelf) = app.service().shelf().cloned() else { return Err(ApiError::unknown_model(&engine.name)) };
    let name = engine.name.clone();
    let loaded = blocking(move || shelf.open(&name).map_err(|error| not_loaded(&name, error))).await?;
    for model in loaded.all_models() {
        app.service().add(model);
    }
    tuner::restore_of(&app, &engine.name).await;
    let served = app.service().model(&engine.name)?;
    Ok(json(StatusCode::OK, &Engine { about: engine.about, licence: engine.licence, ..Engine::served(&served) }))
}

/// Loads a model that was made here, for one organisation, where it fits in what is free.
pub(super) async fn load_made(app: &App, path: PathBuf, name: String, owner: String) -> Result<Served, ApiError> {
    let _turn = app.loading().lock().await;
    let Some(shelf) = app.service().shelf().cloned() else { return Err(ApiError::unknown_model(&name)) };
    blocking(move || {
        let planned = shelf.plan_at(&path, &name).map_err(|error| not_loaded(&name, error))?;
        let bytes: u64 = planned.plans().map(|(_, plan)| plan.total_bytes()).sum();
        if available_memory().is_some_and(|memory| bytes > memory) {
            return Err(no_memory(&name));
        }
        let loaded = planned.load(&mut |_, _, _| {}).map_err(|error| not_loaded(&name, error.into()))?;
        loaded.into_models_of(&owner).next().ok_or_else(|| ApiError::unknown_model(&name))
    })
    .await
}

fn no_memory(name: &str) -> ApiError {
    ApiError::conflict("no_memory", format!("The model `{name}` does not fit in the memory that is free"))
}

fn not_loaded(name: &str, error: ShelfError) -> ApiError {
    match error {
        ShelfError::NotHere { name } => ApiError::unknown_model(&name).with_param("name"),
        ShelfError::Load(error) => {
            tracing::error!(model = name, error = %error, "a model cannot be loaded");
            ApiError::conflict("not_loaded", format!("The model `{name}` cannot be loaded"))
        }
    }
}
