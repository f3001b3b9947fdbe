//! `/v1/embeddings`: texts as vectors.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saem_encoder::DIMENSIONS;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flexible::TextOrList;
use crate::http::{JsonBody, json};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody};

/// Texts that the API takes at once.
const MOST_TEXTS: usize = 2048;

/// Texts to turn into vectors.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingsRequest {
    /// Name of a sentence encoder of `/v1/models`.
    model: String,
    /// A text, or up to 2,048.
    input: TextOrList,
    /// How vectors are written; `float` where absent.
    encoding_format: Option<Encoding>,
    /// Numbers of a vector; only as many as the model makes.
    dimensions: Option<usize>,
    /// The client's name for its user; not looked at.
    #[allow(dead_code, reason = "clients send it, and it changes nothing")]
    user: Option<String>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// Base64 of 32-bit floats, little-endian.
    Base64,
}

/// Vectors.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Vectors<'a> {
    /// Always `list`.
    object: &'static str,
    /// One for each text, in the order of the texts.
    data: Vec<Embedding>,
    model: &'a str,
    usage: EmbeddingUsage,
}

/// The vector of a text, of length 1.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    /// Always `embedding`.
    object: &'static str,
    /// Number of the text, from 0.
    index: usize,
    embedding: Vector,
}

/// The numbers of a vector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    /// As a list.
    Numbers(Vec<f32>),
    /// As Base64.
    Base64(String),
}

/// Tokens that were taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    /// Of the texts.
    prompt_tokens: usize,
    /// The same: nothing is generated.
    total_tokens: usize,
}

impl Vector {
    fn new(numbers: &[f32], dimensions: usize, encoding: Encoding) -> Self {
        let zeros = std::iter::repeat_n(0.0, dimensions.saturating_sub(numbers.len()));
        let numbers = numbers.iter().copied().chain(zeros);
        match encoding {
            Encoding::Float => Self::Numbers(numbers.collect()),
            Encoding::Base64 => Self::Base64(STANDARD.encode(numbers.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())),
        }
    }
}

/// Turns texts into vectors: texts that mean the same lie close to each other.
#[utoipa::path(post, path = "/v1/embeddings", operation_id = "createEmbedding", tag = "openai", request_body = EmbeddingsRequest,
    responses((status = 200, body = Vectors), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 429, body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<EmbeddingsRequest>,
) -> Result<Response, ApiError> {
    padded(app, caller, body, DIMENSIONS).await
}

/// As [`create`]; `dimensions` may also be `most`, and then zeros follow the model's own numbers: they change neither
/// lengths nor angles nor distances, and clients that count on a size get it.
pub(crate) async fn padded(
    app: App,
    caller: Caller,
    body: EmbeddingsRequest,
    most: usize,
) -> Result<Response, ApiError> {
    let embedder = app.embedder(&caller, &body.model)?.clone();
    let dimensions = body.dimensions.unwrap_or(DIMENSIONS);
    if dimensions != DIMENSIONS && dimensions != most {
        let message = format!("dimensions can only be {DIMENSIONS}, which this model makes");
        return Err(ApiError::invalid_value("dimensions", message));
    }
    let texts = checked(body.input.into_list())?;
    let found = app.embed(&caller, &embedder, texts).await?;
    let encoding = body.encoding_format.unwrap_or_default();
    let data = found.vectors.iter().enumerate().map(|(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: Vector::new(vector, dimensions, encoding),
    });
    let tokens = found.tokens.iter().sum();
    let usage = EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens };
    Ok(json(StatusCode::OK, &Vectors { object: "list", data: data.collect(), model: embedder.name(), usage }))
}

/// Texts that can be embedded: some, not too many, none of them empty.
fn checked(texts: Vec<String>) -> Result<Vec<String>, ApiError> {
    if texts.is_empty() || texts.len() > MOST_TEXTS {
        let message = format!("input has {} texts (allowed: 1 to {MOST_TEXTS})", texts.len());
        return Err(ApiError::invalid_value("input", message));
    }
    if let Some(position) = texts.iter().position(String::is_empty) {
        return Err(ApiError::invalid_value(format!("input[{position}]"), "A text of input is empty"));
    }
    Ok(texts.into_iter().map(nfc).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_holds_the_same_floats() {
        let Vector::Base64(text) = Vector::new(&[1.0, -0.5], 2, Encoding::Base64) else { unreachable!() };
        assert_eq!(text, "AACAPwAAAL8=");
        let json = serde_json::to_string(&Vector::new(&[1.0, -0.5], 3, Encoding::Float)).unwrap();
        assert_eq!(json, "[1.0,-0.5,0.0]");
    }

    #[test]
    fn empty_texts_are_named() {
        let refused = |texts: &[&str]| checked(texts.iter().map(ToString::to_string).collect()).unwrap_err();
        assert_eq!(refused(&["a", ""]).param.as_deref(), Some("input[1]"));
        assert_eq!(refused(&[]).param.as_deref(), Some("input"));
        assert_eq!(refused(&["a"; 2049]).param.as_deref(), Some("input"));
    }
}
