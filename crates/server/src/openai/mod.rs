//! The API of OpenAI, as its clients use it.

pub(crate) mod chat;
mod chat_stream;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod flexible;
mod messages;
pub(crate) mod models;
mod parameters;
mod structure;
pub(crate) mod tokens;

use axum::Router;
use axum::routing::{get, post};

use crate::App;

pub(crate) use messages::instruct;
pub(crate) use parameters::{Usage, finish_reason};
pub(crate) use structure::call_id;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::retrieve))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
}
