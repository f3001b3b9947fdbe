//! Embeddings, and what they cost in tokens.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::explorer::CountedText;
use super::status::{Envelope, Failure, answer, text_empty};
use crate::http::{JsonBody, blocking};
use crate::nfc::nfc;
use crate::service::Embedder;
use crate::{ApiError, App, Caller};

/// Numbers of every embedding of CLOVA Studio.
pub(crate) const SIZE: usize = 1024;
/// CLOVA Studio's names of its own encoders.
const NAMES: [&str; 4] = ["v2", "bge-m3", "clir-emb-dolphin", "clir-sts-dolphin"];

/// A text to embed, or to count for that.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaEmbeddingRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingRequest {
    /// The text.
    text: String,
}

impl EmbeddingRequest {
    fn text(self) -> Result<String, ApiError> {
        if self.text.trim().is_empty() {
            return Err(text_empty("text"));
        }
        Ok(nfc(self.text))
    }
}

/// A vector.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaEmbeddingResult)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EmbeddingResult {
    /// 1,024 numbers. Where the model makes fewer, zeros follow.
    embedding: Vec<f32>,
    /// Tokens of the text.
    input_tokens: usize,
}

/// A vector of [`SIZE`] numbers, for clients and databases that count on it. Zeros at the end change neither lengths
/// nor angles nor distances.
fn padded(mut embedding: Vec<f32>) -> Vec<f32> {
    if embedding.len() < SIZE {
        embedding.resize(SIZE, 0.0);
    }
    embedding
}

/// The sentence encoder that a name means: CLOVA Studio's own names mean the first.
pub(crate) fn embedder(app: &App, caller: &Caller, name: &str) -> Result<Arc<Embedder>, ApiError> {
    let first = app.service().embedders().first().filter(|_| NAMES.contains(&name));
    let name = first.map_or(name, |embedder| embedder.name());
    app.embedder(caller, name).cloned()
}

/// Turns a text into a vector.
#[utoipa::path(post, path = "/v1/api-tools/embedding/{model}", operation_id = "clovaEmbedding", tag = "clova", request_body = EmbeddingRequest,
    params(("model" = String, Path, description = "A name of CLOVA Studio's or of a served sentence encoder")),
    responses((status = 200, body = Envelope<EmbeddingResult>), (status = "4XX", body = Failure)))]
pub(crate) async fn embed(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<Vec<(String, String)>>,
    JsonBody(request): JsonBody<EmbeddingRequest>,
) -> Result<Response, ApiError> {
    let name = path.first().map_or("", |(_, name)| name);
    let embedder = embedder(&app, &caller, name)?;
    let found = app.embed(&caller, &embedder, vec![request.text()?]).await?;
    let embedding = padded(found.vectors.first().map(|vector| vector.to_vec()).unwrap_or_default());
    Ok(answer(EmbeddingResult { embedding, input_tokens: found.tokens.iter().sum() }))
}

/// Counts the tokens of a text as the sentence encoder does.
#[utoipa::path(post, path = "/v1/api-tools/embedding/v2/tokenize", operation_id = "clovaEmbeddingTokens", tag = "clova", request_body = EmbeddingRequest,
    responses((status = 200, body = Envelope<CountedText>), (status = "4XX", body = Failure)))]
pub(crate) async fn count(
    State(app): State<App>,
    caller: Caller,
    JsonBody(request): JsonBody<EmbeddingRequest>,
) -> Result<Response, ApiError> {
    let embedder = embedder(&app, &caller, "v2")?;
    let text = request.text()?;
    blocking(move || Ok(answer(CountedText { num_tokens: embedder.count_tokens(&text) }))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_the_documented_size() {
        let vector = padded(vec![0.6, 0.8]);
        assert_eq!((vector.len(), vector.iter().map(|x| x * x).sum::<f32>()), (1024, 1.0));
        assert_eq!(padded(vec![1.0; 2000]).len(), 2000);
    }
}
