//! CLOVA Studio's own route in OpenAI's shape, `/v1/openai`: what `langchain-naver` speaks.
//!
//! The body is OpenAI's with a few fields of CLOVA Studio's. They are translated here, the defaults become CLOVA
//! Studio's, and the rest is the work of the route that it is modelled on.

use axum::extract::{Path, State};
use axum::response::Response;
use saem_engine::repetition_penalty_from_clova;
use serde_json::{Map, Value, json};

use super::embedding::{SIZE as EMBEDDING_SIZE, embedder};
use super::parameters::within;
use super::status::{parameter, unsupported};
use super::target::resolve;
use crate::http::{JsonBody, parse};
use crate::{ApiError, App, Caller, openai};

/// Tokens of an answer where the body does not say.
const DEFAULT_MAX_TOKENS: u32 = 512;

/// Answers a conversation in OpenAI's shape.
#[utoipa::path(post, path = "/v1/openai/chat/completions", operation_id = "clovaOpenaiChat", tag = "clova", request_body = Object,
    responses((status = 200, body = Object, description = "As of `/v1/chat/completions`"),
        (status = "4XX", body = crate::ErrorBody)))]
pub(crate) async fn chat(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let body = translated(body, &|name| resolve(&app, name))?;
    let bytes = serde_json::to_vec(&body).map_err(|_| ApiError::internal())?;
    openai::chat::create(State(app), caller, JsonBody(parse(&bytes)?)).await
}

/// Turns texts into vectors in OpenAI's shape, of 1,024 numbers where the body asks for them as CLOVA Studio makes them.
#[utoipa::path(post, path = "/v1/openai/embeddings", operation_id = "clovaOpenaiEmbeddings", tag = "clova", request_body = Object,
    responses((status = 200, body = Object, description = "As of `/v1/embeddings`"),
        (status = "4XX", body = crate::ErrorBody)))]
pub(crate) async fn embeddings(
    State(app): State<App>,
    caller: Caller,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    if let Some(Value::String(name)) = body.get_mut("model") {
        *name = embedder(&app, &caller, name)?.name().to_owned();
    }
    let bytes = serde_json::to_vec(&body).map_err(|_| ApiError::internal())?;
    openai::embeddings::padded(app, caller, parse(&bytes)?, EMBEDDING_SIZE).await
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/openai/models", operation_id = "clovaOpenaiModels", tag = "clova",
    responses((status = 200, body = Object, description = "As of `/v1/models`")))]
pub(crate) async fn models(State(app): State<App>, caller: Caller) -> Response {
    openai::models::list(State(app), caller).await
}

/// Describes a model, by its own name or one of CLOVA Studio's.
#[utoipa::path(get, path = "/v1/openai/models/{model}", operation_id = "clovaOpenaiModel", tag = "clova",
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served model")),
    responses((status = 200, body = Object, description = "As of `/v1/models/{model}`"),
        (status = 404, body = crate::ErrorBody)))]
pub(crate) async fn model(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let name = resolve(&app, &name)?;
    openai::models::retrieve(State(app), caller, Path(name)).await
}

/// The body as the route that it is modelled on takes it.
fn translated(
    mut body: Map<String, Value>,
    resolve: &dyn Fn(&str) -> Result<String, ApiError>,
) -> Result<Map<String, Value>, ApiError> {
    if let Some(Value::String(name)) = body.get_mut("model") {
        *name = resolve(name)?;
    }
    if let Some(penalty) = taken(&mut body, "repeat_penalty") {
        if body.contains_key("repetition_penalty") {
            return Err(parameter("repeat_penalty", "cannot be given beside repetition_penalty"));
        }
        let penalty = penalty.as_f64().ok_or_else(|| parameter("repeat_penalty", "is no number"))?;
        let penalty = within("repeat_penalty", penalty as f32, 0.0, 10.0)?;
        body.insert("repetition_penalty".into(), json!(repetition_penalty_from_clova(penalty)?));
    }
    let effort = taken(&mut body, "reasoning_effort");
    if effort.is_some_and(|effort| effort != "none") {
        return Err(unsupported("reasoning_effort", "`reasoning_effort` can only be none here"));
    }
    if !["max_tokens", "max_completion_tokens"].iter().any(|field| body.get(*field).is_some_and(|v| !v.is_null())) {
        body.insert("max_completion_tokens".into(), json!(DEFAULT_MAX_TOKENS));
    }
    for (field, value) in [("temperature", 0.5), ("top_p", 0.8), ("repetition_penalty", 1.1)] {
        let entry = body.entry(field).or_insert(Value::Null);
        if entry.is_null() {
            *entry = json!(value);
        }
    }
    Ok(body)
}

/// A field that is there and not null, no longer in the body.
fn taken(body: &mut Map<String, Value>, field: &str) -> Option<Value> {
    body.remove(field).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: Value) -> Result<Value, ApiError> {
        let Value::Object(body) = body else { unreachable!() };
        translated(body, &|name| if name == "HCX-005" { Ok("tiny".into()) } else { Err(ApiError::unknown_model(name)) })
            .map(Value::Object)
    }

    #[test]
    fn fields_of_clova_become_openais() {
        let body =
            of(json!({"model": "HCX-005", "repeat_penalty": 5, "reasoning_effort": "none", "top_k": 3})).unwrap();
        assert_eq!(body["model"], "tiny");
        assert!((body["repetition_penalty"].as_f64().unwrap() - 1.1).abs() < 1e-6);
        assert_eq!((&body["top_k"], &body["max_completion_tokens"]), (&json!(3), &json!(512)));
        assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.8)));
        assert!(body.get("repeat_penalty").is_none() && body.get("reasoning_effort").is_none());
    }

    #[test]
    fn what_is_said_stays() {
        let body = of(json!({"model": "HCX-005", "temperature": 0, "max_tokens": 5, "stream": true})).unwrap();
        assert_eq!((&body["temperature"], &body["max_tokens"], &body["stream"]), (&json!(0), &json!(5), &json!(true)));
        assert!(body.get("max_completion_tokens").is_none());
    }

    #[test]
    fn mistakes_name_their_field() {
        let field = |extra: Value| {
            let mut body = json!({"model": "HCX-005"});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            of(body).unwrap_err().param.unwrap_or_default()
        };
        assert_eq!(field(json!({"repeat_penalty": 11})), "repeat_penalty");
        assert_eq!(field(json!({"repeat_penalty": "5"})), "repeat_penalty");
        assert_eq!(field(json!({"repeat_penalty": 5, "repetition_penalty": 1.1})), "repeat_penalty");
        assert_eq!(field(json!({"reasoning_effort": "high"})), "reasoning_effort");
        assert_eq!(field(json!({"model": "gpt-4"})), "model");
    }
}
