//! The description of the APIs for machines, made from the types that the handlers use.

use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use crate::{clova, http, openai, studio};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Saem",
        description = "Language models on your own machine, behind the APIs that your clients know.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        http::health::live,
        http::health::ready,
        http::health::metrics,
        openai::models::list,
        openai::models::retrieve,
        openai::chat::create,
        openai::completions::create,
        openai::embeddings::create,
        openai::tokens::tokenize,
        openai::tokens::detokenize
    )
)]
struct Api;

/// The OpenAPI document of everything that [`router`](crate::router) answers.
#[must_use]
pub fn document() -> Document {
    Api::openapi().merge_from(clova::Description::openapi()).merge_from(studio::Description::openapi())
}
