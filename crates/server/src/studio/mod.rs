//! Studio: what the pages for people who do not program keep on the server.
//!
//! A [`document`](document::Document) is the state of a playground: mode, model, parameters, prompt, examples,
//! variables. [`render`] makes of it what a model is asked, in one place, so that a page, a batch and an app cannot
//! differ. [`projects`] keeps documents with their versions; [`apps`] publishes one behind an address with a key of its
//! own, and [`run`] answers there; [`batches`] take a [`table`] through one, worked on by [`runner`] and
//! measured by [`score`]. [`datasets`] are tables that models are tuned on, with a [`report`] of what is in them, and [`tuning`] tunes. [`plan`] says what any
//! size would take on other machines. [`engines`] are the models that
//! could be asked, and [`session`] is who asks.

pub(crate) mod apps;
pub(crate) mod batches;
pub(crate) mod datasets;
pub(crate) mod document;
pub(crate) mod download;
pub(crate) mod engines;
pub(crate) mod plan;
pub(crate) mod projects;
pub(crate) mod render;
mod report;
pub(crate) mod run;
pub(crate) mod runner;
mod score;
pub(crate) mod session;
mod table;
pub(crate) mod tuning;

pub use tuning::published_bytes;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use saem_store::{Store, StoreError};
use utoipa::OpenApi;

use crate::{ApiError, App, access};

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/studio/session", get(session::read).post(session::sign_in).delete(session::sign_out))
        .route("/api/studio/password", post(session::set_password))
        .route("/api/studio/engines", get(engines::list))
        .route("/api/studio/engines/load", post(engines::load))
        .route("/api/studio/render", post(render::render))
        .route("/api/studio/projects", get(projects::list).post(projects::create))
        .route(
            "/api/studio/projects/{id}",
            get(projects::read).put(projects::save).patch(projects::change).delete(projects::remove),
        )
        .route("/api/studio/projects/{id}/duplicate", post(projects::duplicate))
        .route("/api/studio/projects/{id}/versions", get(projects::versions))
        .route("/api/studio/projects/{id}/versions/{version}", get(projects::version))
        .route("/api/studio/projects/{id}/versions/{version}/restore", post(projects::restore))
        .route("/api/studio/apps", get(apps::list).post(apps::create))
        .route("/api/studio/apps/{id}", get(apps::read).put(apps::change).delete(apps::remove))
        .route("/api/studio/apps/{id}/publish", post(apps::publish))
        .route("/api/studio/apps/{id}/keys", post(apps::new_key))
        .route("/api/studio/apps/{id}/usage", get(apps::usage))
        .route("/api/studio/apps/{id}/calls", get(apps::calls).delete(apps::forget))
        .route("/api/studio/batches", get(batches::list).post(batches::create))
        .route("/api/studio/batches/{id}", get(batches::read).delete(batches::remove))
        .route("/api/studio/batches/{id}/start", post(batches::start))
        .route("/api/studio/batches/{id}/cancel", post(batches::cancel))
        .route("/api/studio/batches/{id}/rows", get(batches::rows))
        .route("/api/studio/batches/{id}/download", get(download::download))
        .route("/api/studio/datasets", get(datasets::list).post(datasets::create))
        .route("/api/studio/datasets/{id}", get(datasets::read).delete(datasets::remove))
        .route("/api/studio/datasets/{id}/rows", get(datasets::rows))
        .route("/api/studio/plan", post(plan::plan))
        .route("/api/studio/tunings", get(tuning::routes::list).post(tuning::routes::create))
        .route("/api/studio/tunings/plan", post(tuning::routes::plan))
        .route("/api/studio/tunings/{id}", get(tuning::routes::read).delete(tuning::routes::remove))
        .route("/api/studio/tunings/{id}/metrics", get(tuning::routes::metrics))
        .route("/api/studio/tunings/{id}/start", post(tuning::routes::start))
        .route("/api/studio/tunings/{id}/stop", post(tuning::routes::stop))
        .route("/api/studio/tunings/{id}/compare", post(tuning::compare::compare))
        .route("/api/studio/tunings/{id}/publish", post(tuning::publish::publish).delete(tuning::publish::withdraw))
        .route(run::PATH, post(run::run))
}

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(paths(
    session::read,
    session::sign_in,
    session::sign_out,
    session::set_password,
    engines::list,
    engines::load,
    render::render,
    projects::list,
    projects::create,
    projects::read,
    projects::save,
    projects::change,
    projects::remove,
    projects::duplicate,
    projects::versions,
    projects::version,
    projects::restore,
    apps::list,
    apps::create,
    apps::read,
    apps::change,
    apps::remove,
    apps::publish,
    apps::new_key,
    apps::usage,
    apps::calls,
    apps::forget,
    batches::list,
    batches::create,
    batches::read,
    batches::remove,
    batches::start,
    batches::cancel,
    batches::rows,
    download::download,
    datasets::list,
    datasets::create,
    datasets::read,
    datasets::remove,
    datasets::rows,
    plan::plan,
    tuning::routes::plan,
    tuning::routes::list,
    tuning::routes::create,
    tuning::routes::read,
    tuning::routes::remove,
    tuning::routes::metrics,
    tuning::routes::start,
    tuning::routes::stop,
    tuning::compare::compare,
    tuning::publish::publish,
    tuning::publish::withdraw,
    run::run
))]
pub(crate) struct Description;

/// The records, where the server has any.
pub(crate) fn store(app: &App) -> Result<&Arc<Store>, ApiError> {
    app.access().map(|access| access.store()).ok_or_else(ApiError::records_unavailable)
}

/// What the records refuse, in the words of the API.
pub(crate) fn refused(error: StoreError) -> ApiError {
    match &error {
        StoreError::NotFound { kind, id } => ApiError::not_found(kind, id),
        StoreError::Invalid { field, expected } => ApiError::invalid_value(*field, format!("{field}: {expected}")),
        StoreError::AppExists { .. } => ApiError::conflict("app_exists", error.to_string()).with_param("name"),
        StoreError::TooMany { .. } => ApiError::conflict("too_many", error.to_string()),
        _ => access::failed(error),
    }
}
