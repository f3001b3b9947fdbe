//! CLOVA Studio's envelope, `{"status": {"code", "message"}, "result": ...}`, and its error codes.
//!
//! Handlers return [`ApiError`] as all handlers of the server do. What turns it into CLOVA Studio's shape is one layer
//! around the whole router ([`reshape`]), so that a refused key, an unknown path or a body that is no JSON looks right
//! too.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiError;
use crate::http::json;

/// The header in which CLOVA Studio's clients name their requests.
pub(crate) const CLOVA_REQUEST_ID: &str = "x-ncp-clovastudio-request-id";

/// Code of a field without text.
const TEXT_EMPTY: &str = "text_empty";
/// Code of something that is there at CLOVA Studio and not here.
const UNSUPPORTED: &str = "unsupported_function";

/// The head of every answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaStatus)]
pub(crate) struct Status {
    /// `20000`, or a code of five digits whose first three are those of HTTP.
    pub(crate) code: String,
    /// `OK`, or what is wrong and where.
    pub(crate) message: String,
}

/// An answer that went well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Clova)]
pub(crate) struct Envelope<T> {
    /// Always `20000`, `OK`.
    pub(crate) status: Status,
    /// What was asked for.
    pub(crate) result: T,
}

impl<T> Envelope<T> {
    /// Wraps a result.
    pub(crate) fn ok(result: T) -> Self {
        Self { status: Status { code: "20000".into(), message: "OK".into() }, result }
    }
}

/// A response with a result.
pub(crate) fn answer(result: impl Serialize) -> Response {
    json(StatusCode::OK, &Envelope::ok(result))
}

/// An answer that did not go well: a status without a result. It is also the data of an `error` event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaFailure)]
pub(crate) struct Failure {
    /// What is wrong.
    pub(crate) status: Status,
}

/// A field whose value is not allowed.
pub(crate) fn parameter(field: impl Into<String>, reason: impl AsRef<str>) -> ApiError {
    let field = field.into();
    let message = format!("`{field}` {}", reason.as_ref());
    ApiError::invalid_value(field, message)
}

/// A field that has no text.
pub(crate) fn text_empty(field: impl Into<String>) -> ApiError {
    let field = field.into();
    let message = format!("`{field}` has no text");
    ApiError::invalid(TEXT_EMPTY, field, message)
}

/// Something that CLOVA Studio has and this server, or the model that it serves, has not.
pub(crate) fn unsupported(field: impl Into<String>, what: impl Into<String>) -> ApiError {
    ApiError::invalid(UNSUPPORTED, field, what)
}

/// A text that is too long.
pub(crate) fn too_long(field: impl Into<String>, reason: impl Into<String>) -> ApiError {
    ApiError::invalid("context_length_exceeded", field, reason)
}

/// The status, code and words of CLOVA Studio for an error.
pub(crate) fn failure(error: &ApiError) -> (StatusCode, Failure) {
    let http = error.status;
    let (http, code, words) = match (http.as_u16(), error.code) {
        (_, "model_not_found") => (StatusCode::BAD_REQUEST, "40080", "Model not found"),
        (400, "invalid_json") => (http, "40000", "Bad request"),
        (400, "context_length_exceeded") => (http, "40003", "Context length exceeded"),
        (400, TEXT_EMPTY) => (http, "40004", "Text empty"),
        (400, UNSUPPORTED | "unsupported_parameter") => (http, "40009", "Unsupported function"),
        (400, "invalid_schema") => (http, "40055", "Invalid response format schema"),
        (400, _) => (http, "40001", "Invalid parameter"),
        (401, _) => (http, "40104", "Invalid key"),
        (403, _) => (http, "40300", "Forbidden"),
        (404, _) => (http, "40400", "Not found"),
        (405, _) => (http, "40500", "Method not allowed"),
        (408, _) => (http, "40800", "Request timeout"),
        (413, _) => (http, "41300", "Request body size exceeded"),
        (415, _) => (http, "41500", "MediaType error"),
        (429, "queue_full") => (http, "42902", "Too many requests - overloaded"),
        (429, _) => (http, "42901", "Too many requests - rate exceeded"),
        (503, _) => (http, "50300", "Service unavailable"),
        _ => (http, "50000", "Internal server error"),
    };
    (http, Failure { status: Status { code: code.into(), message: format!("{words}: {}", error.message) } })
}

/// Whether a path belongs to CLOVA Studio's API. OpenAI's paths below `/v1/openai` keep OpenAI's errors.
fn is_clova(path: &str) -> bool {
    let path = ["/testapp", "/serviceapp"].iter().find_map(|app| path.strip_prefix(app)).unwrap_or(path);
    let begins =
        ["/v1/completions/", "/v1/chat-completions/", "/v3/chat-completions/", "/v1/api-tools/", "/v3/api-tools/"];
    let tasks = ["/v1/tasks/", "/v2/tasks/", "/v3/tasks/"];
    begins.iter().chain(&tasks).any(|begin| path.starts_with(begin))
}

/// The layer around the router: takes CLOVA Studio's request id for the server's, sends it back, and gives errors on
/// CLOVA Studio's paths their shape.
pub(crate) async fn reshape(mut request: Request, next: Next) -> Response {
    if !is_clova(request.uri().path()) && !request.headers().contains_key(CLOVA_REQUEST_ID) {
        return next.run(request).await;
    }
    let clova = is_clova(request.uri().path());
    let id = request.headers().get(CLOVA_REQUEST_ID).cloned();
    if let Some(id) = &id
        && !request.headers().contains_key(crate::REQUEST_ID)
    {
        request.headers_mut().insert(crate::REQUEST_ID, id.clone());
    }
    let mut response = next.run(request).await;
    if clova && let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let (status, body) = failure(&error);
        let shaped = json(status, &body);
        // Everything but the body stays: request id, Retry-After, the challenge.
        let length = response.headers_mut().remove(header::CONTENT_LENGTH);
        drop(length);
        *response.status_mut() = status;
        *response.body_mut() = shaped.into_body();
    }
    if let Some(id) = response.headers().get(crate::REQUEST_ID).cloned() {
        response.headers_mut().insert(CLOVA_REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: &ApiError) -> (u16, String) {
        let (http, body) = failure(error);
        (http.as_u16(), body.status.code)
    }

    #[test]
    fn every_error_has_a_code_of_naver() {
        assert_eq!(code(&parameter("topP", "is 2")), (400, "40001".into()));
        assert_eq!(code(&ApiError::invalid("unknown_parameter", "topQ", "?")), (400, "40001".into()));
        assert_eq!(code(&ApiError::invalid("invalid_json", "", "?")), (400, "40000".into()));
        assert_eq!(code(&text_empty("text")), (400, "40004".into()));
        assert_eq!(code(&too_long("text", "9 of 8")), (400, "40003".into()));
        assert_eq!(code(&unsupported("thinking", "no")), (400, "40009".into()));
        assert_eq!(code(&ApiError::unknown_model("x")), (400, "40080".into()));
        assert_eq!(code(&ApiError::unauthorized("?")), (401, "40104".into()));
        assert_eq!(code(&ApiError::rate_limited("queue_full", "?", 1)), (429, "42902".into()));
        assert_eq!(code(&ApiError::internal()), (500, "50000".into()));
        let body = serde_json::to_string(&failure(&text_empty("text")).1).unwrap();
        assert_eq!(body, r#"{"status":{"code":"40004","message":"Text empty: `text` has no text"}}"#);
        let envelope = serde_json::to_string(&Envelope::ok(1)).unwrap();
        assert_eq!(envelope, r#"{"status":{"code":"20000","message":"OK"},"result":1}"#);
    }

    #[test]
    fn the_two_apis_are_told_apart_by_their_paths() {
        for path in [
            "/v1/completions/LK-D2",
            "/testapp/v1/chat-completions/HCX-003",
            "/serviceapp/v1/tasks/abc/completions/LK-B",
            "/v3/chat-completions/HCX-005",
            "/v1/api-tools/segmentation",
        ] {
            assert!(is_clova(path), "{path}");
        }
        for path in ["/v1/completions", "/v1/chat/completions", "/v1/openai/chat/completions", "/v1/models", "/"] {
            assert!(!is_clova(path), "{path}");
        }
    }
}
