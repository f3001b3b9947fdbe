//! What a client is told when something goes wrong.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use saem_engine::EngineError;
use saem_engine::chat::TemplateError;
use saem_engine::constraint::ConstraintError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::response;

/// Seconds after which a full queue is worth another try.
const QUEUE_SECONDS: u32 = 2;

/// An answer that is an error: HTTP status, stable code, the field that is wrong.
///
/// As a response it has the shape of OpenAI's API; other APIs take the parts and make their own. Messages hold what
/// the client sent and nothing of the server: no path, no address, no stack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Status of the response.
    pub status: StatusCode,
    /// OpenAI's coarse class, such as `invalid_request_error`.
    pub kind: &'static str,
    /// What exactly; clients may compare it, so it never changes.
    pub code: &'static str,
    /// The field that is wrong, as a path: `messages[0].content`.
    pub param: Option<String>,
    /// For people, in English.
    pub message: String,
    /// Seconds after which the same request may succeed.
    pub retry_after: Option<u32>,
}

/// Body of every error of the OpenAI API.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// For people, in English.
    pub message: String,
    /// Coarse class: `invalid_request_error`, `rate_limit_error`, `server_error` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The field that is wrong.
    pub param: Option<String>,
    /// What exactly; stable.
    pub code: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after: None }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn invalid(code: &'static str, param: impl Into<String>, message: impl Into<String>) -> Self {
        let param = Some(param.into()).filter(|param: &String| !param.is_empty());
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message) }
    }

    /// 400: the value of a field is not among those that are allowed.
    #[must_use]
    pub fn invalid_value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid("invalid_value", param, message)
    }

    /// 400: the field exists in the API and is not supported here, or not for this model.
    #[must_use]
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid("unsupported_parameter", param, message)
    }

    /// 404: no model has this name.
    #[must_use]
    pub fn unknown_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist or is not served here");
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message);
        Self { param: Some("model".into()), ..error }
    }

    /// 403: the model exists, and this key is not for it.
    #[must_use]
    pub fn model_not_allowed(name: &str) -> Self {
        let error = Self::forbidden("model_not_allowed", format!("This key may not use the model `{name}`"));
        Self { param: Some("model".into()), ..error }
    }

    /// 503: keys cannot be checked or records not be written, so nobody is let in.
    #[must_use]
    pub fn records_unavailable() -> Self {
        let message = "The server cannot reach its records; try again";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "records_unavailable", message);
        Self { retry_after: Some(5), ..error }
    }

    /// 404: nothing that the caller may know of has this id.
    #[must_use]
    pub fn not_found(kind: &str, id: &str) -> Self {
        let message = format!("There is no {kind} `{id}`");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "not_found", message)
    }

    /// 409: it cannot be done as things stand now.
    #[must_use]
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "invalid_request_error", code, message)
    }

    /// 404: no route has this path.
    #[must_use]
    pub fn unknown_path(method: &str, path: &str) -> Self {
        let message = format!("Unknown request: {method} {path}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "unknown_url", message)
    }

    /// 405: the path exists, but not with this method.
    #[must_use]
    pub fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("{path} does not answer to {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_allowed", message)
    }

    /// 401: no key, or none that is known.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message)
    }

    /// 401: not the administrator's password.
    #[must_use]
    pub fn wrong_password() -> Self {
        let message = "This is not the administrator's password";
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "wrong_password", message)
    }

    /// 403: known, but not allowed to do this.
    #[must_use]
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", code, message)
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "body_too_large", message)
    }

    /// 408: the body did not come in time.
    #[must_use]
    pub fn too_slow() -> Self {
        let message = "The body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "request_timeout", message)
    }

    /// 415: the body is not declared as JSON.
    #[must_use]
    pub fn not_json() -> Self {
        let message = "The header content-type must be application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", "unsupported_media_type", message)
    }

    /// 400: answers cannot be held to what this field says; 429 where they cannot be now.
    #[must_use]
    pub fn constraint(error: &ConstraintError, param: &str) -> Self {
        match error {
            ConstraintError::Busy { .. } => Self::rate_limited("constraints_busy", error.to_string(), 1),
            _ => Self::invalid("invalid_schema", param, error.to_string()),
        }
    }

    /// 415: the body is not declared as a table.
    #[must_use]
    pub fn no_table() -> Self {
        let message = "The header content-type must be text/csv, text/tab-separated-values, application/x-ndjson or \
             application/vnd.apache.parquet";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", "unsupported_media_type", message)
    }

    /// 429: too much was asked for; try again after so many seconds.
    #[must_use]
    pub fn rate_limited(code: &'static str, message: impl Into<String>, retry_after: u32) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code, message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 503: the server is going down.
    #[must_use]
    pub fn draining() -> Self {
        let message = "The server is shutting down; try again";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "shutting_down", message);
        Self { retry_after: Some(5), ..error }
    }

    /// 500: a mistake of the server. What it was is in the log under the request's id.
    #[must_use]
    pub fn internal() -> Self {
        let message = "The server failed on this request; its log knows more under the id in the header x-request-id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message)
    }

    /// 507: the disk is full.
    #[must_use]
    pub fn no_space() -> Self {
        let message = "The server's disk is full";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "server_error", "no_space", message)
    }

    /// 503: the model's thread is gone.
    #[must_use]
    pub fn engine_gone(model: &str) -> Self {
        let message = format!("The model `{model}` has stopped");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "model_stopped", message)
    }

    /// The error with another field's name: the same rule speaks of `max_tokens` in one API and of `maxTokens` in
    /// another.
    #[must_use]
    pub fn with_param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The body in OpenAI's shape.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                kind: self.kind.to_owned(),
                param: self.param.clone(),
                code: Some(self.code.to_owned()),
            },
        }
    }

    /// The headers that belong to the error, whatever the shape of its body.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let retry = self.retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds)));
        let challenge = (self.status == StatusCode::UNAUTHORIZED)
            .then_some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        retry.into_iter().chain(challenge).collect()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = response::json(self.status, &self.body());
        answer.headers_mut().extend(self.headers());
        // Another API's layer can give the error its own shape.
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::Parameter { parameter, .. } => Self::invalid_value(parameter, text),
            EngineError::EmptyPrompt => Self::invalid_value("prompt", text),
            EngineError::UnknownToken { .. } => Self::invalid_value("prompt", text),
            EngineError::ContextOverflow { .. } | EngineError::CacheTooSmall { .. } => {
                Self::invalid("context_length_exceeded", "messages", text)
            }
            EngineError::QueueFull { .. } => Self::rate_limited("queue_full", text, QUEUE_SECONDS),
            EngineError::LineFull { .. } => Self::rate_limited("queue_share_full", text, QUEUE_SECONDS),
            EngineError::Constraint(_) => Self::invalid_value("response_format", text),
            EngineError::Template(error) => error.into(),
            _ => {
                tracing::error!(error = text, "the engine failed");
                Self::internal()
            }
        }
    }
}

impl From<TemplateError> for ApiError {
    fn from(error: TemplateError) -> Self {
        Self::invalid("chat_template_failed", "messages", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_server_tells_nothing_of_it() {
        let error = ApiError::from(EngineError::Pass { reason: "at /home/me/model.gguf".into() });
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.message.contains("/home"), "{}", error.message);
    }

    #[test]
    fn a_value_out_of_range_names_its_field() {
        let error = saem_engine::Sampling { top_p: 7.0, ..Default::default() }.validate().unwrap_err();
        let error = ApiError::from(error);
        assert_eq!(
            (error.status, error.code, error.param.as_deref()),
            (StatusCode::BAD_REQUEST, "invalid_value", Some("top_p"))
        );
    }

    #[test]
    fn retry_after_is_a_header() {
        let response = ApiError::rate_limited("queue_full", "full", 3).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "3");
    }
}
