//! `/v1/models`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::json;
use crate::service::{Embedder, Served};
use crate::{ApiError, App, Caller, ErrorBody};

/// A model that is served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// The name that requests use.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// When it was loaded, in seconds since 1970.
    created: u64,
    /// Always `saem`.
    owned_by: &'static str,
    /// The most tokens of prompt and answer together; absent for a sentence encoder, which takes any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<usize>,
}

/// All models that are served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    /// Always `list`.
    object: &'static str,
    /// The models.
    data: Vec<Model>,
}

impl Model {
    fn new(name: &str, created: u64, max_model_len: Option<usize>) -> Self {
        Self { id: name.to_owned(), object: "model", created, owned_by: "saem", max_model_len }
    }
}

fn describe(model: &Served) -> Model {
    Model::new(model.name(), model.created(), Some(model.limits().context))
}

fn describe_embedder(embedder: &Embedder) -> Model {
    Model::new(embedder.name(), embedder.created(), None)
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", tag = "openai", responses((status = 200, body = Models)))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Response {
    let served = app.service().all_models();
    let models = served.iter().filter(|model| model.is_for(caller.tenant_name())).map(|model| describe(model));
    let all = models.chain(app.service().embedders().iter().map(|embedder| describe_embedder(embedder)));
    let data = all.filter(|model| caller.allows_model(&model.id)).collect();
    json(StatusCode::OK, &Models { object: "list", data })
}

/// Describes a model.
#[utoipa::path(get, path = "/v1/models/{model}", operation_id = "retrieveModel", tag = "openai",
    params(("model" = String, Path, description = "Name of the model; it may have slashes")),
    responses((status = 200, body = Model), (status = 404, body = ErrorBody)))]
pub(crate) async fn retrieve(
    State(app): State<App>,
    caller: Caller,
    Path(model): Path<String>,
) -> Result<Response, ApiError> {
    let described = match app.embedder(&caller, &model) {
        Ok(embedder) => describe_embedder(embedder),
        Err(_) => describe(&*app.model(&caller, &model)?),
    };
    Ok(json(StatusCode::OK, &described))
}
