//! Which model a path means, and how a conversation becomes tokens.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use saem_engine::chat::{Message, RenderOptions};

use crate::http::blocking;
use crate::service::Served;
use crate::{ApiError, App, Caller};

/// The model of a path: by the name at its end, or by the task that a tuning made.
#[derive(Debug)]
pub(crate) struct Target(pub(crate) Arc<Served>);

impl FromRequestParts<App> for Target {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::unknown_model(""))?;
        let param = |name: &str| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        let name = match (param("task"), param("model")) {
            (Some(task), _) => app.settings().clova_models.resolve_task(task, &names(&served(app)))?.to_owned(),
            (None, model) => resolve(app, model.unwrap_or_default())?,
        };
        let Ok(caller) = Caller::from_request_parts(parts, app).await;
        app.model(&caller, &name).map(Self)
    }
}

fn served(app: &App) -> Vec<Arc<Served>> {
    app.service().all_models()
}

fn names(served: &[Arc<Served>]) -> Vec<&str> {
    served.iter().map(|model| model.name()).collect()
}

/// The served model that a name of CLOVA Studio's means.
pub(crate) fn resolve(app: &App, name: &str) -> Result<String, ApiError> {
    app.settings().clova_models.resolve(name, &names(&served(app))).map(str::to_owned)
}

/// The header that says how the answer is to come.
pub(crate) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok())
}

/// The tokens of a conversation.
pub(crate) async fn conversation(
    model: &Served,
    messages: Vec<Message>,
    options: RenderOptions,
) -> Result<Vec<u32>, ApiError> {
    let text = Arc::clone(model.text());
    blocking(move || Ok(text.chat_tokens(&messages, &options)?)).await
}

/// How templates are asked to write: without thinking, which CLOVA Studio's answers keep apart from the text.
pub(crate) fn rendering() -> RenderOptions {
    let variables = [("enable_thinking", false.into()), ("skip_reasoning", true.into())];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    RenderOptions { variables, ..RenderOptions::default() }
}
