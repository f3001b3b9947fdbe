//! Chat Completions, version 3: what `strands-clova` sends and reads, with functions and structured outputs.

use saem_engine::FinishReason;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::chat_v1::TextPlan;
use super::messages::{ChatMessage, FunctionKind, Role, ToolCall};
use super::parameters::{above, sampling, stop, within};
use super::status::parameter;
use crate::ApiError;

/// The most tokens that any model of CLOVA Studio makes.
const MAX_TOKENS: u32 = 32_768;
/// Tokens where neither field is given.
const DEFAULT_MAX_TOKENS: u32 = 512;
/// The same for a request with functions, whose answer must not be cut.
const DEFAULT_MAX_TOKENS_OF_TOOLS: u32 = 1024;

/// A request.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaChatV3Request)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChatV3Request {
    /// The conversation.
    pub(crate) messages: Vec<ChatMessage>,
    /// Above 0 to 1; 0.8.
    #[serde(default)]
    pub(crate) top_p: Option<f32>,
    /// 0 to 128; 0 is off.
    #[serde(default)]
    pub(crate) top_k: Option<u32>,
    /// 1 to 32,768; 512, or 1,024 with `tools`. What exceeds the context is cut to it.
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
    /// The same under the name of the models that think; only one of the two can be given.
    #[serde(default)]
    pub(crate) max_completion_tokens: Option<u32>,
    /// 0 (greedy) to 1; 0.5.
    #[serde(default)]
    pub(crate) temperature: Option<f32>,
    /// Above 0 to 2; 1.1. The multiplicative penalty itself.
    #[serde(default)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Strings that end the answer and are no part of it.
    #[serde(default)]
    pub(crate) stop: Option<Vec<String>>,
    /// 0 (drawn) to 4,294,967,295; 0.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
    /// Taken and without effect: the server has no filter, so no answer has `aiFilter`.
    #[serde(default)]
    #[allow(dead_code, reason = "taken and without effect")]
    pub(crate) include_ai_filters: Option<bool>,
    /// Whether to think first.
    #[serde(default)]
    pub(crate) thinking: Option<Thinking>,
    /// Functions that the model may call.
    #[serde(default)]
    pub(crate) tools: Option<Vec<Tool>>,
    /// Whether it may, or which one it must.
    #[serde(default)]
    pub(crate) tool_choice: Option<ToolChoice>,
    /// The form of the answer.
    #[serde(default)]
    pub(crate) response_format: Option<ResponseFormat>,
    /// Ask for events, as `Accept: text/event-stream` does. Who asks in this way puts the tokens together on their
    /// own, so the `result` event leaves the text out.
    #[serde(default)]
    pub(crate) stream: Option<bool>,
}

/// Whether to think first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaThinking)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thinking {
    /// How much.
    pub(crate) effort: Effort,
}

/// How much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaEffort)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effort {
    /// Not at all.
    None,
    /// A little.
    Low,
    /// More.
    Medium,
    /// Much.
    High,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaTool)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// Always `function`.
    #[serde(rename = "type", default)]
    pub(crate) kind: FunctionKind,
    /// The function.
    pub(crate) function: FunctionDefinition,
}

/// The name, purpose and parameters of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaFunctionDefinition)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionDefinition {
    /// Its name.
    pub(crate) name: String,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: String,
    /// A JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) parameters: Option<Map<String, Value>>,
}

/// Whether the model may call functions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaToolChoice)]
#[serde(untagged, expecting = "expected \"auto\", \"none\" or {\"type\": \"function\", \"function\": {\"name\": ...}}")]
pub(crate) enum ToolChoice {
    /// Let the model choose, or forbid it.
    Mode(ToolMode),
    /// This function.
    Function(ForcedTool),
}

/// `auto` or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaToolMode)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolMode {
    /// The model chooses.
    Auto,
    /// No call.
    None,
}

/// The function that must be called.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaForcedTool)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForcedTool {
    /// Always `function`.
    #[serde(rename = "type", default)]
    pub(crate) kind: FunctionKind,
    /// Which.
    pub(crate) function: ForcedFunction,
}

/// The name of the function that must be called.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaForcedFunction)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForcedFunction {
    /// Its name.
    pub(crate) name: String,
}

/// The form of the answer.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ClovaResponseFormat)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponseFormat {
    /// Always `json`.
    #[serde(rename = "type")]
    pub(crate) kind: FormatKind,
    /// A JSON schema of an object.
    #[schema(value_type = Object)]
    pub(crate) schema: Map<String, Value>,
}

/// The only form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaFormatKind)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatKind {
    /// JSON of a schema.
    Json,
}

impl ChatV3Request {
    /// Checks all ranges, and what cannot go together.
    ///
    /// # Errors
    /// [`ApiError`] for the first field that is wrong.
    pub(crate) fn plan(&self) -> Result<TextPlan, ApiError> {
        let temperature = within("temperature", self.temperature.unwrap_or(0.5), 0.0, 1.0)?;
        let penalty = above("repetitionPenalty", self.repetition_penalty.unwrap_or(1.1), 0.0, 2.0)?;
        let max_tokens = match (self.max_tokens, self.max_completion_tokens) {
            (Some(_), Some(_)) => {
                return Err(parameter("maxCompletionTokens", "cannot be given beside maxTokens"));
            }
            (Some(tokens), None) => within("maxTokens", tokens, 1, MAX_TOKENS)?,
            (None, Some(tokens)) => within("maxCompletionTokens", tokens, 1, MAX_TOKENS)?,
            (None, None) if self.offers_tools() => DEFAULT_MAX_TOKENS_OF_TOOLS,
            (None, None) => DEFAULT_MAX_TOKENS,
        };
        self.check_tools()?;
        Ok(TextPlan {
            sampling: sampling(self.top_p, self.top_k, temperature, penalty, self.seed)?,
            max_tokens: max_tokens as usize,
            stop: stop("stop", self.stop.clone())?,
        })
    }

    /// Whether the model may call anything.
    #[must_use]
    pub(crate) fn offers_tools(&self) -> bool {
        let none = matches!(self.tool_choice, Some(ToolChoice::Mode(ToolMode::None)));
        !none && self.tools.as_ref().is_some_and(|tools| !tools.is_empty())
    }

    fn check_tools(&self) -> Result<(), ApiError> {
        let tools = self.tools.as_deref().unwrap_or_default();
        for (index, tool) in tools.iter().enumerate() {
            let name = &tool.function.name;
            let field = || format!("tools[{index}].function.name");
            // OpenAI's rule, which templates and grammars count on.
            let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
            if name.is_empty() || name.len() > 64 || !name.chars().all(letters) {
                let reason = "must have 1 to 64 of the characters a-z, A-Z, 0-9, _ and -";
                return Err(parameter(field(), reason));
            }
            if tools.iter().take(index).any(|earlier| earlier.function.name == *name) {
                return Err(parameter(field(), format!("is there twice: {name}")));
            }
        }
        match &self.tool_choice {
            Some(ToolChoice::Function(forced)) => {
                let name = &forced.function.name;
                if !tools.iter().any(|tool| tool.function.name == *name) {
                    let reason = format!("is not among tools: {name}");
                    return Err(parameter("toolChoice.function.name", reason));
                }
            }
            Some(ToolChoice::Mode(_)) if tools.is_empty() => {
                return Err(parameter("toolChoice", "is given without tools"));
            }
            _ => {}
        }
        if self.response_format.is_some() && self.offers_tools() {
            return Err(parameter("responseFormat", "cannot be given beside tools"));
        }
        Ok(())
    }
}

/// Who spoke, and what.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaAnswerV3)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnswerV3 {
    /// Always the assistant.
    pub(crate) role: Role,
    /// The text; empty where functions are called.
    pub(crate) content: String,
    /// The functions that are called, or what is new of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Vec<CallOut>>,
}

/// A call, or a part of one in a stream.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCallOut)]
#[serde(untagged)]
pub(crate) enum CallOut {
    /// A call.
    Whole(ToolCall),
    /// The beginning of one.
    Begun(BegunCall),
    /// More of its arguments.
    Piece(CallPiece),
}

/// The beginning of a call.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaBegunCall)]
pub(crate) struct BegunCall {
    /// What the result refers to.
    pub(crate) id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub(crate) kind: FunctionKind,
    /// Which function.
    pub(crate) function: BegunFunction,
}

/// The function of a call that begins.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaBegunFunction)]
pub(crate) struct BegunFunction {
    /// Its name.
    pub(crate) name: String,
}

/// More arguments of the call that began last.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaCallPiece)]
pub(crate) struct CallPiece {
    /// Always `function`.
    #[serde(rename = "type")]
    pub(crate) kind: FunctionKind,
    /// The arguments.
    pub(crate) function: FunctionPiece,
}

/// A piece of the text of arguments.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaFunctionPiece)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FunctionPiece {
    /// Whole characters of a JSON object.
    pub(crate) partial_json: String,
}

impl AnswerV3 {
    /// A text.
    pub(crate) fn new(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into(), tool_calls: None }
    }
}

/// Why the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaFinishV3)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinishV3 {
    /// The limit of tokens, or the end of the context.
    Length,
    /// A string of `stop`, or the model's own end.
    Stop,
    /// Functions are called.
    ToolCalls,
}

impl From<FinishReason> for FinishV3 {
    fn from(reason: FinishReason) -> Self {
        match reason.as_str() {
            "stop" => Self::Stop,
            _ => Self::Length,
        }
    }
}

/// Tokens that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaUsageV3)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageV3 {
    /// Of the prompt, those of the chat template included.
    pub(crate) prompt_tokens: usize,
    /// Of the answer.
    pub(crate) completion_tokens: usize,
    /// Both.
    pub(crate) total_tokens: usize,
}

impl From<saem_engine::Usage> for UsageV3 {
    fn from(usage: saem_engine::Usage) -> Self {
        let (prompt_tokens, completion_tokens) = (usage.prompt_tokens, usage.completion_tokens);
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// A whole answer, and the data of a `token` or `result` event. In a `token` event the reason and the usage are null.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = ClovaChatV3Result)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatV3Result {
    /// The answer, or what is new of it.
    pub(crate) message: AnswerV3,
    /// Why it ended.
    pub(crate) finish_reason: Option<FinishV3>,
    /// When: seconds since 1970.
    pub(crate) created: u64,
    /// The seed that was given or drawn.
    pub(crate) seed: u64,
    /// Tokens that were taken.
    pub(crate) usage: Option<UsageV3>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    /// The body that `strands-clova` sends when it is given nothing but a text.
    const STRANDS: &str = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"temperature":0.7,
        "maxTokens":4096,"topP":0.8,"topK":0,"repetitionPenalty":1.1,"stop":[],"seed":0,"includeAiFilters":true,
        "stream":true}"#;

    fn request(change: &str) -> Result<ChatV3Request, ApiError> {
        parse(format!(r#"{{"messages":[{{"role":"user","content":"안녕"}}]{change}}}"#).as_bytes())
    }

    fn refused(change: &str) -> ApiError {
        request(change).and_then(|request| request.plan()).unwrap_err()
    }

    fn field(change: &str) -> String {
        refused(change).param.unwrap_or_default()
    }

    #[test]
    fn the_clients_body_is_taken() {
        let plan = parse::<ChatV3Request>(STRANDS.as_bytes()).unwrap().plan().unwrap();
        assert_eq!((plan.max_tokens, plan.sampling.temperature, plan.sampling.top_p), (4096, 0.7, 0.8));
        assert_eq!(request("").unwrap().plan().unwrap().max_tokens, 512);
    }

    #[test]
    fn every_range_has_two_ends() {
        for (field, good, bad) in [
            ("temperature", "0", "-0.1"),
            ("temperature", "1", "1.01"),
            ("topK", "0", "129"),
            ("topP", "1", "0"),
            ("repetitionPenalty", "2", "2.1"),
            ("repetitionPenalty", "0.1", "0"),
            ("maxTokens", "1", "0"),
            ("maxCompletionTokens", "32768", "32769"),
            ("seed", "0", "-1"),
            ("stop", "[]", "\"a\""),
        ] {
            assert!(request(&format!(r#","{field}":{good}"#)).unwrap().plan().is_ok(), "{field} {good}");
            let error = refused(&format!(r#","{field}":{bad}"#));
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
        }
        assert_eq!(field(r#","repeatPenalty":5"#), "repeatPenalty");
        assert_eq!(field(r#","maxTokens":5,"maxCompletionTokens":5"#), "maxCompletionTokens");
        assert_eq!(field(r#","thinking":{"effort":"huge"}"#), "thinking.effort");
    }

    const TOOLS: &str =
        r#","tools":[{"function":{"name":"weather","description":"날씨","parameters":{"type":"object"}}}]"#;

    #[test]
    fn functions_are_checked() {
        let request_of = |choice: &str| request(&format!("{TOOLS},\"toolChoice\":{choice}")).unwrap();
        assert!(request(TOOLS).unwrap().offers_tools());
        assert_eq!(request(TOOLS).unwrap().plan().unwrap().max_tokens, 1024);
        assert!(request_of("\"auto\"").plan().is_ok());
        assert!(!request_of("\"none\"").offers_tools());
        let forced = request_of(r#"{"type":"function","function":{"name":"weather"}}"#);
        assert!(forced.plan().is_ok());
        let other = format!(r#"{TOOLS},"toolChoice":{{"function":{{"name":"travel"}}}}"#);
        assert_eq!(refused(&other).message, "`toolChoice.function.name` is not among tools: travel");
        assert_eq!(field(r#","toolChoice":"auto""#), "toolChoice");
        let required = refused(&format!("{TOOLS},\"toolChoice\":\"required\""));
        assert!(required.message.contains("expected \"auto\""), "{required}");
        assert_eq!(field(r#","tools":[{"function":{"name":"날씨"}}]"#), "tools[0].function.name");
        let twice = r#","tools":[{"function":{"name":"a"}},{"function":{"name":"a"}}]"#;
        assert_eq!(field(twice), "tools[1].function.name");
    }

    #[test]
    fn a_form_and_functions_do_not_go_together() {
        let format = r#","responseFormat":{"type":"json","schema":{"type":"object"}}"#;
        assert!(request(format).unwrap().plan().is_ok());
        assert_eq!(field(&format!("{TOOLS}{format}")), "responseFormat");
        assert_eq!(field(r#","responseFormat":{"type":"json_schema","schema":{}}"#), "responseFormat.type");
        assert_eq!(field(r#","responseFormat":{"type":"json"}"#), "responseFormat.schema");
        assert_eq!(field(r#","responseFormat":{"type":"json","schema":[]}"#), "responseFormat.schema");
    }

    #[test]
    fn events_have_the_documented_form() {
        let usage = saem_engine::Usage { prompt_tokens: 20, cached_tokens: 0, completion_tokens: 5 };
        let mut result = ChatV3Result {
            message: AnswerV3::new("안"),
            finish_reason: None,
            created: 1_744_710_905,
            seed: 3,
            usage: None,
        };
        let token = serde_json::to_string(&result).unwrap();
        assert_eq!(
            token,
            r#"{"message":{"role":"assistant","content":"안"},"finishReason":null,"created":1744710905,"seed":3,"usage":null}"#
        );
        result.usage = Some(usage.into());
        result.finish_reason = Some(FinishReason::Length.into());
        let text = serde_json::to_string(&result).unwrap();
        let tail = r#""finishReason":"length","created":1744710905,"seed":3,"usage":{"promptTokens":20,"completionTokens":5,"totalTokens":25}}"#;
        assert!(text.ends_with(tail), "{text}");
    }
}
