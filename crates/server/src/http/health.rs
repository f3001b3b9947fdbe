//! Whether the server lives, whether it should get work, and what it has done.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::App;

/// State of the server or of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `draining` or `model_stopped`.
    status: &'static str,
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).route("/metrics", get(metrics))
}

/// The process answers; where it does not, restart it.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200, body = Health)))]
pub(crate) async fn live() -> Response {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// The server takes requests; where it does not, send them elsewhere.
#[utoipa::path(get, path = "/health/ready", tag = "operation",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let (status, word) = match () {
        () if app.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        () if !app.service().is_alive() => (StatusCode::SERVICE_UNAVAILABLE, "model_stopped"),
        () => (StatusCode::OK, "ok"),
    };
    json(status, &Health { status: word })
}

/// Counters and gauges in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let text = app.metrics().encode(app.service());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
