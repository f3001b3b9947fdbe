//! All routes in one place.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use crate::{ApiError, App, clova, document, http, openai, pages, studio};

/// Everything that the server answers.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(http::health_routes())
        .merge(openai::routes())
        .merge(clova::routes())
        .merge(studio::routes())
        .merge(pages::routes())
        .route("/openapi.json", get(|| async { http::json(axum::http::StatusCode::OK, &document()) }))
        .fallback(
            |request: Request| async move { ApiError::unknown_path(request.method().as_str(), request.uri().path()) },
        )
        .method_not_allowed_fallback(|request: Request| async move {
            ApiError::wrong_method(request.method().as_str(), request.uri().path())
        })
        .layer(from_fn_with_state(app.clone(), http::guard))
        .layer(from_fn(clova::reshape))
        .with_state(app)
}
