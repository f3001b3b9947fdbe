//! Chat Completions, version 1: what `langchain-community` sends and reads.

use saem_engine::{FinishReason, Sampling, repetition_penalty_from_clova};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::messages::{ChatMessage, Role};
use super::parameters::{above, sampling, stop, within};
use crate::ApiError;

/// The most tokens that version 1 makes.
pub(crate) const MAX_TOKENS: u32 = 4096;
/// Tokens where `maxTokens` is not given.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 100;

/// A request.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaChatV1Request)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChatV1Request {
    /// The conversation.
    pub(crate) messages: Vec<ChatMessage>,
    /// Above 0 to 1; 0.5.
    #[serde(default)]
    pub(crate) temperature: Option<f32>,
    /// 0 to 128; 0 is off.
    #[serde(default)]
    pub(crate) top_k: Option<u32>,
    /// Above 0 to 1; 0.8.
    #[serde(default)]
    pub(crate) top_p: Option<f32>,
    /// 0 to 10; 5. See [`repetition_penalty_from_clova`].
    #[serde(default)]
    pub(crate) repeat_penalty: Option<f32>,
    /// Strings that end the answer and are no part of it.
    #[serde(default)]
    pub(crate) stop_before: Option<Vec<String>>,
    /// 1 to 4,096; 100.
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
    /// Taken and without effect: the server has no filter, so no answer has `aiFilter`.
    #[serde(default)]
    #[allow(dead_code, reason = "taken and without effect")]
    pub(crate) include_ai_filters: Option<bool>,
    /// Always null: `langchain-community` sends it by mistake with each stream.
    #[serde(default, rename = "run_manager")]
    #[schema(ignore)]
    #[allow(dead_code, reason = "it means nothing")]
    run_manager: Option<()>,
    /// 0 (drawn) to 4,294,967,295; 0.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
    /// Ask for events, as `Accept: text/event-stream` does.
    #[serde(default)]
    pub(crate) stream: Option<bool>,
}

/// How a text is to be made, from any of the routes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextPlan {
    /// How tokens are chosen; the seed is always set.
    pub(crate) sampling: Sampling,
    /// The most tokens.
    pub(crate) max_tokens: usize,
    /// Strings that end the text.
    pub(crate) stop: Vec<String>,
}

impl ChatV1Request {
    /// Checks all ranges.
    ///
    /// # Errors
    /// `invalid_value` for the first field that is out of range.
    pub(crate) fn plan(&self) -> Result<TextPlan, ApiError> {
        let temperature = above("temperature", self.temperature.unwrap_or(0.5), 0.0, 1.0)?;
        let penalty = within("repeatPenalty", self.repeat_penalty.unwrap_or(5.0), 0.0, 10.0)?;
        let penalty = repetition_penalty_from_clova(penalty)?;
        let max_tokens = within("maxTokens", self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS), 1, MAX_TOKENS)?;
        Ok(TextPlan {
            sampling: sampling(self.top_p, self.top_k, temperature, penalty, self.seed)?,
            max_tokens: max_tokens as usize,
            stop: stop("stopBefore", self.stop_before.clone())?,
        })
    }
}

/// Who spoke, and what.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaAnswerMessage)]
pub(crate) struct AnswerMessage {
    /// Always the assistant.
    pub(crate) role: Role,
    /// The text.
    pub(crate) content: String,
}

impl AnswerMessage {
    /// A message of the assistant.
    pub(crate) fn new(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Why the text ended. A model's own end token is `stop_before` in NAVER's documents, not `end_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaStopReason)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopReason {
    /// `maxTokens`, or the end of the context.
    Length,
    /// A string of `stopBefore`, or the model's own end.
    StopBefore,
}

impl From<FinishReason> for StopReason {
    fn from(reason: FinishReason) -> Self {
        match reason.as_str() {
            "stop" => Self::StopBefore,
            _ => Self::Length,
        }
    }
}

/// A whole answer, and the data of a `result` event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaChatV1Result)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatV1Result {
    /// The answer.
    pub(crate) message: AnswerMessage,
    /// Why it ended.
    pub(crate) stop_reason: StopReason,
    /// Tokens of the prompt, those of the chat template included.
    pub(crate) input_length: usize,
    /// Tokens of the answer.
    pub(crate) output_length: usize,
    /// The seed that was given or drawn.
    pub(crate) seed: u64,
}

/// The data of a `token` event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaChatV1Token)]
pub(crate) struct ChatV1Token {
    /// What is new.
    pub(crate) message: AnswerMessage,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    /// The body that `langchain-community` sends when it is given nothing but a message.
    const LANGCHAIN: &str = r#"{"messages":[{"role":"user","content":"안녕"}],"temperature":0.5,"topK":0,"topP":0.8,
        "repeatPenalty":5.0,"maxTokens":100,"includeAiFilters":false,"seed":0,"run_manager":null,"stream":true}"#;

    fn plan(change: &str) -> Result<TextPlan, ApiError> {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"안녕"}}]{change}}}"#);
        parse::<ChatV1Request>(body.as_bytes())?.plan()
    }

    #[test]
    fn the_clients_defaults_are_the_servers() {
        let mut sent = parse::<ChatV1Request>(LANGCHAIN.as_bytes()).unwrap().plan().unwrap();
        let mut bare = plan("").unwrap();
        (sent.sampling.seed, bare.sampling.seed) = (None, None);
        assert_eq!(sent, bare);
        assert_eq!((bare.sampling.repetition_penalty, bare.max_tokens), (1.1, 100));
    }

    #[test]
    fn every_range_has_two_ends() {
        for (field, good, bad) in [
            ("temperature", "0.01", "0"),
            ("temperature", "1", "1.01"),
            ("topK", "128", "129"),
            ("topP", "1", "0"),
            ("topP", "0.01", "1.5"),
            ("repeatPenalty", "0", "-0.1"),
            ("repeatPenalty", "10", "10.5"),
            ("maxTokens", "1", "0"),
            ("maxTokens", "4096", "4097"),
            ("seed", "4294967295", "4294967296"),
            ("stopBefore", "[\"a\"]", "[\"\"]"),
        ] {
            assert!(plan(&format!(r#","{field}":{good}"#)).is_ok(), "{field} {good}");
            let error = plan(&format!(r#","{field}":{bad}"#)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
        }
        assert_eq!(plan(r#","stop":[]"#).unwrap_err().param.as_deref(), Some("stop"));
    }

    #[test]
    fn an_answer_has_the_fields_that_the_client_reads() {
        let result = ChatV1Result {
            message: AnswerMessage::new("네"),
            stop_reason: FinishReason::StopString.into(),
            input_length: 20,
            output_length: 5,
            seed: 7,
        };
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(
            json,
            r#"{"message":{"role":"assistant","content":"네"},"stopReason":"stop_before","inputLength":20,"outputLength":5,"seed":7}"#
        );
        assert_eq!(StopReason::from(FinishReason::ContextFull), StopReason::Length);
        assert_eq!(StopReason::from(FinishReason::EndToken(2)), StopReason::StopBefore);
    }
}
