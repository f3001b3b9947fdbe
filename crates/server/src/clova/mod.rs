//! CLOVA Studio's APIs, as its clients use them: from the completions of 2021 to Chat Completions version 3.
//!
//! Each route exists three times: bare, below `/testapp` and below `/serviceapp`, since clients of different years
//! write either. Names of CLOVA Studio's models lead to served models ([`ModelNames`]); an application's id at the end
//! of a path and a second key are taken and mean nothing. What a client and NAVER's documents disagree on, and what
//! is different here, is written in `docs/reference/clova-api.md`.
//!
//! Types and their checks ([`chat_v1`], [`chat_v3`], [`calling`], [`completion`], [`explorer`], [`segmentation`]) know nothing of
//! HTTP; [`chat`] and [`handlers`] bring them to the engine; [`status`] gives answers and errors their envelope.

mod calling;
mod chat;
mod chat_v1;
mod chat_v3;
mod completion;
mod embedding;
mod explorer;
mod handlers;
mod lexical;
mod messages;
mod model_names;
mod openai_shape;
mod parameters;
mod segmentation;
mod sentences;
mod status;
mod summary;
mod target;

use axum::Router;
use axum::routing::{get, post};
use utoipa::OpenApi;

use crate::App;

pub use model_names::ModelNames;
pub(crate) use status::reshape;
pub(crate) use target::rendering;

/// The routes, under all of their names.
pub(crate) fn routes() -> Router<App> {
    let tools = Router::new()
        .route("/v1/api-tools/chat-tokenize/{model}", post(handlers::count_v1))
        .route("/v1/api-tools/chat-tokenize/{model}/{app}", post(handlers::count_v1))
        .route("/v3/api-tools/chat-tokenize/{model}", post(handlers::count_v3))
        .route("/v1/api-tools/sliding/chat-messages/{model}", post(handlers::slide_window))
        .route("/v1/api-tools/sliding/chat-messages/{model}/{app}", post(handlers::slide_window))
        .route("/v1/api-tools/embedding/v2/tokenize", post(embedding::count))
        .route("/v1/api-tools/embedding/{model}", post(embedding::embed))
        .route("/v1/api-tools/embedding/{model}/", post(embedding::embed))
        .route("/v1/api-tools/embedding/{model}/{app}", post(embedding::embed))
        .route("/v1/api-tools/segmentation", post(handlers::segmentation))
        .route("/v1/api-tools/segmentation/{app}", post(handlers::segmentation))
        .route("/v1/api-tools/summarization/v2", post(handlers::summarize))
        .route("/v1/api-tools/summarization/v2/{app}", post(handlers::summarize));
    let all = tools
        .route("/v1/completions/{model}", post(handlers::complete))
        .route("/v1/tasks/{task}/completions", post(handlers::complete))
        .route("/v1/tasks/{task}/completions/{model}", post(handlers::complete))
        .route("/v1/chat-completions/{model}", post(chat::chat_v1))
        .route("/v1/tasks/{task}/chat-completions", post(chat::chat_v1))
        .route("/v2/tasks/{task}/chat-completions", post(chat::chat_v1))
        .route("/v3/chat-completions/{model}", post(chat::chat_v3))
        .route("/v3/tasks/{task}/chat-completions", post(chat::chat_v3));
    let openai_shape = Router::new()
        .route("/v1/openai/chat/completions", post(openai_shape::chat))
        .route("/v1/openai/embeddings", post(openai_shape::embeddings))
        .route("/v1/openai/models", get(openai_shape::models))
        .route("/v1/openai/models/{*model}", get(openai_shape::model));
    Router::new().merge(openai_shape).merge(all.clone()).nest("/testapp", all.clone()).nest("/serviceapp", all)
}

/// The description of these routes.
#[derive(Debug, OpenApi)]
#[openapi(paths(
    chat::chat_v1,
    chat::chat_v3,
    embedding::embed,
    embedding::count,
    handlers::complete,
    handlers::count_v1,
    handlers::count_v3,
    handlers::slide_window,
    handlers::segmentation,
    handlers::summarize,
    openai_shape::chat,
    openai_shape::embeddings,
    openai_shape::models,
    openai_shape::model
))]
pub(crate) struct Description;
