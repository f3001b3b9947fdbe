//! `/tokenize` and `/detokenize`: what a text costs, and what tokens say.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_engine::chat::{Message, RenderOptions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::messages::{ChatMessage, to_engine};
use crate::http::{JsonBody, blocking, json};
use crate::nfc::nfc;
use crate::{ApiError, App, Caller, ErrorBody};

/// A text or a conversation to cut into tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    /// Name of a model of `/v1/models`.
    model: String,
    /// The text; this or `messages`.
    prompt: Option<String>,
    /// A conversation, which is counted as `/v1/chat/completions` counts it.
    messages: Option<Vec<ChatMessage>>,
    /// End a conversation with the beginning of an answer; true where absent.
    add_generation_prompt: Option<bool>,
    /// Add the tokens that the model expects around a text; true where absent, as for `/v1/completions`.
    add_special_tokens: Option<bool>,
    /// Tell also what each token says.
    return_token_strs: Option<bool>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokenized {
    /// How many.
    count: usize,
    /// The most tokens of prompt and answer together.
    max_model_len: usize,
    /// Their ids.
    tokens: Vec<u32>,
    /// What each says, where that was asked for.
    token_strs: Option<Vec<String>>,
}

/// Tokens to turn into text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetokenizeRequest {
    /// Name of a model of `/v1/models`.
    model: String,
    /// The ids.
    tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Detokenized {
    /// The text.
    prompt: String,
}

/// Cuts a text or a conversation into tokens. Control tokens that a text spells out are recognised, as in `/v1/completions`.
#[utoipa::path(post, path = "/tokenize", tag = "tokens", request_body = TokenizeRequest,
    responses((status = 200, body = Tokenized), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn tokenize(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<TokenizeRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, &body.model)?;
    let subject = Subject::of(body.prompt, body.messages, body.add_special_tokens, body.add_generation_prompt)?;
    let tokenized = blocking(move || {
        let tokenizer = model.text().tokenizer();
        let tokens = match subject {
            Subject::Text { text, special } => tokenizer.encode(&text, special, true),
            Subject::Conversation { messages, begins_answer } => {
                let options = RenderOptions { add_generation_prompt: begins_answer, ..RenderOptions::default() };
                model.text().chat_tokens(&messages, &options)?
            }
        };
        let wanted = body.return_token_strs.unwrap_or(false);
        let token_strs =
            wanted.then(|| tokens.iter().map(|token| tokenizer.token_text(*token).unwrap_or_default()).collect());
        Ok(Tokenized { count: tokens.len(), max_model_len: model.limits().context, tokens, token_strs })
    });
    Ok(json(StatusCode::OK, &tokenized.await?))
}

/// What is cut into tokens.
enum Subject {
    Text { text: String, special: bool },
    Conversation { messages: Vec<Message>, begins_answer: bool },
}

impl Subject {
    fn of(
        prompt: Option<String>,
        messages: Option<Vec<ChatMessage>>,
        special: Option<bool>,
        begins_answer: Option<bool>,
    ) -> Result<Self, ApiError> {
        match (prompt, messages) {
            (Some(_), Some(_)) => Err(ApiError::invalid_value("messages", "messages cannot be given beside prompt")),
            (None, None) => {
                Err(ApiError::invalid("missing_required_parameter", "prompt", "Missing parameter: `prompt`"))
            }
            (Some(_), None) if begins_answer.is_some() => {
                Err(ApiError::invalid_value("add_generation_prompt", "add_generation_prompt is for messages"))
            }
            (None, Some(_)) if special.is_some() => {
                Err(ApiError::invalid_value("add_special_tokens", "add_special_tokens is for a prompt"))
            }
            (Some(prompt), None) => Ok(Self::Text { text: nfc(prompt), special: special.unwrap_or(true) }),
            (None, Some(messages)) => Ok(Self::Conversation {
                messages: to_engine(messages, None)?,
                begins_answer: begins_answer.unwrap_or(true),
            }),
        }
    }
}

/// Turns tokens into text.
#[utoipa::path(post, path = "/detokenize", tag = "tokens", request_body = DetokenizeRequest,
    responses((status = 200, body = Detokenized), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn detokenize(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<DetokenizeRequest>,
) -> Result<Response, ApiError> {
    let model = app.model(&caller, &body.model)?;
    let tokenizer = model.text().tokenizer();
    let size = tokenizer.vocabulary_len();
    if let Some(position) = body.tokens.iter().position(|token| *token as usize >= size) {
        let message = format!("token ids of this model are below {size}");
        return Err(ApiError::invalid_value(format!("tokens[{position}]"), message));
    }
    Ok(json(StatusCode::OK, &Detokenized { prompt: tokenizer.decode(&body.tokens, false) }))
}
