//! Bodies of JSON: bounded in size and time, strict about fields, precise about what is wrong.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_path_to_error::Error as PathError;

use crate::{ApiError, App};

/// How long a client may take to send a body, and this much longer for each megabyte that is allowed: 64 take nine minutes on the
/// slowest line.
const BODY_TIME: Duration = Duration::from_secs(30);
const MEGABYTE_TIME: Duration = Duration::from_secs(8);

/// A body of JSON as `T`.
///
/// Types deny unknown fields, so that a misspelt or unsupported field is an error with its name and not a surprise in
/// the answer. The content type is required: a web page can send `text/plain` anywhere without asking, JSON it cannot.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::not_json());
        }
        let bytes = read_body(request, app.settings().body_bytes).await?;
        // Derived readers take a list for an object; the API does not.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(ApiError::invalid("invalid_type", "", "The body must be a JSON object"));
        }
        parse(&bytes).map(Self)
    }
}

/// The bytes of a body, if they are no more than `limit` and come in time.
///
/// # Errors
/// 413 `body_too_large`, 408 `request_timeout`.
pub(crate) async fn read_body(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    let time = BODY_TIME + MEGABYTE_TIME * u32::try_from(declared.unwrap_or(limit) >> 20).unwrap_or(u32::MAX);
    match tokio::time::timeout(time, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Too long, or cut off: whoever cut it off reads no answer.
        Ok(Err(_)) => Err(ApiError::too_large(limit)),
        Err(_) => Err(ApiError::too_slow()),
    }
}

/// Reads JSON strictly.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| explain(&error))?;
    reader.end().map_err(|error| ApiError::invalid("invalid_json", "", format!("The body is not JSON: {error}")))?;
    Ok(value)
}

fn explain(error: &PathError<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    let text = inner.to_string();
    if !inner.is_data() {
        return ApiError::invalid("invalid_json", "", format!("The body is not JSON: {text}"));
    }
    // serde has no types for its two commonest complaints; their wording is part of its documented `Error` trait.
    let quoted = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let path = match error.path().to_string() {
        path if path == "." => String::new(),
        path => path,
    };
    let inside = |field: &str| match path.as_str() {
        "" => field.to_owned(),
        path if path == field || path.ends_with(&format!(".{field}")) => path.to_owned(),
        path => format!("{path}.{field}"),
    };
    if let Some(field) = quoted("unknown field `") {
        let param = inside(field);
        return ApiError::invalid("unknown_parameter", &param, format!("Unknown or unsupported parameter: `{param}`"));
    }
    if let Some(field) = quoted("missing field `") {
        let param = inside(field);
        return ApiError::invalid("missing_required_parameter", &param, format!("Missing parameter: `{param}`"));
    }
    let place = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
    let at = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    ApiError::invalid("invalid_type", path, format!("{at}{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code)]
        list: Vec<Inner>,
        #[allow(dead_code)]
        count: Option<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code)]
        role: String,
    }

    fn error(text: &str) -> (&'static str, Option<String>) {
        let error = parse::<Outer>(text.as_bytes()).unwrap_err();
        (error.code, error.param)
    }

    #[test]
    fn the_field_is_named_wherever_it_is() {
        assert_eq!(error(r#"{"list":[],"best":1}"#), ("unknown_parameter", Some("best".into())));
        assert_eq!(
            error(r#"{"list":[{"role":"a"},{"role":"b","x":1}]}"#),
            ("unknown_parameter", Some("list[1].x".into()))
        );
        assert_eq!(error("{}"), ("missing_required_parameter", Some("list".into())));
        assert_eq!(error(r#"{"list":[{}]}"#), ("missing_required_parameter", Some("list[0].role".into())));
        assert_eq!(error(r#"{"list":[],"count":-1}"#), ("invalid_type", Some("count".into())));
        assert_eq!(error(r#"{"list":[{"role":7}]}"#), ("invalid_type", Some("list[0].role".into())));
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["", "{", "{\"list\":[]} x", "\u{fffd}", "{\"list\":[NaN]}"] {
            assert_eq!(error(text).0, "invalid_json", "{text}");
        }
        assert_eq!(error(&"[".repeat(100_000)).0, "invalid_type", "depth is bounded before the stack is");
    }
}
