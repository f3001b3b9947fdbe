//! Messages of a conversation in CLOVA Studio's shape, and the same in the shape that chat templates know.

use std::fmt;

use saem_engine::chat::Message;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use utoipa::openapi::{Array, Object, OneOf, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::status::{parameter, text_empty, unsupported};
use crate::ApiError;
use crate::nfc::nfc;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaRole)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The instruction; at most one message.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a function (version 3 only).
    Tool,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ClovaChatMessage)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChatMessage {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said.
    pub(crate) content: Content,
    /// Functions that the model called, in a message of the assistant.
    #[serde(default)]
    pub(crate) tool_calls: Option<Vec<ToolCall>>,
    /// Which call this is the result of, in a message of a tool.
    #[serde(default)]
    pub(crate) tool_call_id: Option<String>,
}

/// A text, or a list of parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// A text.
    Text(String),
    /// Parts, in their order.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ClovaPart)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Part {
    /// What it is.
    #[serde(rename = "type")]
    pub(crate) kind: PartKind,
    /// The text of a text.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// The address of an image.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) image_url: Option<Value>,
    /// An image in Base64.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) data_uri: Option<Value>,
}

/// What a part of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = ClovaPartKind)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartKind {
    /// Text.
    Text,
    /// An image; understood, so that it can be refused by name.
    ImageUrl,
}

/// A call of a function. CLOVA Studio's arguments are an object, where OpenAI's are a text that holds one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaToolCall)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    /// What the result refers to.
    pub(crate) id: String,
    /// Always `function`.
    #[serde(rename = "type", default)]
    pub(crate) kind: FunctionKind,
    /// Which function, and with what.
    pub(crate) function: CalledFunction,
}

/// The only type of tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaFunctionKind)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FunctionKind {
    /// A function.
    #[default]
    Function,
}

/// The function of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClovaCalledFunction)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalledFunction {
    /// Its name.
    pub(crate) name: String,
    /// Its arguments by name.
    #[schema(value_type = Object)]
    pub(crate) arguments: Map<String, Value>,
}

impl PartialSchema for Content {
    fn schema() -> RefOr<Schema> {
        let parts = Array::new(Part::schema());
        RefOr::T(OneOf::builder().item(Object::with_type(Type::String)).item(parts).build().into())
    }
}

impl ToSchema for Content {}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand and not `untagged`, which would forget where in a part the mistake is.
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = Content;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}

impl Content {
    /// The text of all parts, one below the other, in composed characters. `path` names the message in an error.
    pub(crate) fn text(&self, path: &str) -> Result<String, ApiError> {
        let parts = match self {
            Self::Text(text) => return Ok(nfc(text.clone())),
            Self::Parts(parts) => parts,
        };
        let mut lines = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let field = |name: &str| format!("{path}.content[{index}].{name}");
            if part.kind == PartKind::ImageUrl {
                return Err(unsupported(field("type"), "only text is understood by the models that are served here"));
            }
            for (name, present) in [("imageUrl", part.image_url.is_some()), ("dataUri", part.data_uri.is_some())] {
                if present {
                    return Err(parameter(field(name), "does not belong to a text"));
                }
            }
            let text = part.text.as_deref();
            lines.push(text.ok_or_else(|| parameter(field("text"), "is missing"))?);
        }
        Ok(nfc(lines.join("\n")))
    }
}

/// What a version of the API allows in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Version 1: no functions.
    V1,
    /// Version 3.
    V3,
}

/// The messages as chat templates know them.
///
/// # Errors
/// [`ApiError`] naming the message: none at all, a second `system`, no text, an image, a call or a result of a
/// function where there cannot be one.
pub(crate) fn to_engine(messages: &[ChatMessage], dialect: Dialect) -> Result<Vec<Message>, ApiError> {
    if messages.is_empty() {
        return Err(text_empty("messages"));
    }
    let mut calls: Vec<&ToolCall> = Vec::new();
    let mut systems = 0;
    let mut converted = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let path = format!("messages[{index}]");
        let refuse = |field: &str, reason: &str| Err(parameter(format!("{path}.{field}"), reason));
        let text = message.content.text(&path)?;
        let called = message.tool_calls.as_deref().unwrap_or_default();
        systems += usize::from(message.role == Role::System);
        if systems > 1 {
            return refuse("role", "is a second system message; there can be one");
        }
        if dialect == Dialect::V1 && (message.role == Role::Tool || message.tool_calls.is_some()) {
            let field = if message.role == Role::Tool { "role" } else { "toolCalls" };
            return refuse(field, "functions belong to version 3 of the API");
        }
        if !called.is_empty() && message.role != Role::Assistant {
            return refuse("toolCalls", "belongs to a message of the assistant");
        }
        // Templates trim, so a text of spaces is none either.
        if text.trim().is_empty() && called.is_empty() && message.role != Role::Tool {
            return Err(text_empty(format!("{path}.content")));
        }
        let mut converted_message = Message::new(message.role.as_str(), text);
        match (message.role, &message.tool_call_id) {
            (Role::Tool, Some(id)) => {
                let Some(call) = calls.iter().find(|call| call.id == *id) else {
                    return refuse("toolCallId", "refers to no call of an earlier message");
                };
                let name = call.function.name.clone();
                converted_message.extra.insert("tool_call_id".into(), id.clone().into());
                converted_message.extra.insert("name".into(), name.into());
            }
            (Role::Tool, None) => return refuse("toolCallId", "is missing"),
            (_, Some(_)) => return refuse("toolCallId", "belongs to a message of a tool"),
            (_, None) => {}
        }
        if !called.is_empty() {
            converted_message.extra.insert("tool_calls".into(), json!(called));
            calls.extend(called);
        }
        converted.push(converted_message);
    }
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn messages(json: &str) -> Result<Vec<Message>, ApiError> {
        to_engine(&parse::<Vec<ChatMessage>>(json.as_bytes())?, Dialect::V3)
    }

    fn refused(json: &str) -> String {
        let error = messages(json).unwrap_err();
        format!("{} {} {error}", error.param.unwrap_or_default(), error.code, error = error.message)
    }

    #[test]
    fn texts_and_parts_are_the_same() {
        let plain = messages(r#"[{"role":"user","content":"안녕\n하세요"}]"#).unwrap();
        let parts = r#"[{"role":"user","content":[{"type":"text","text":"안녕"},{"type":"text","text":"하세요"}]}]"#;
        assert_eq!(messages(parts).unwrap(), plain);
        assert_eq!(plain, [Message::new("user", "안녕\n하세요")]);
    }

    #[test]
    fn the_place_of_a_mistake_is_told() {
        assert!(refused(r#"[{"role":"user","content":1}]"#).contains("a string or an array of parts"));
        let deep = refused(r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","txt":"a"}]}]"#);
        assert!(deep.contains("content[1].txt"), "{deep}");
        assert!(refused(r#"[{"role":"teacher","content":"a"}]"#).contains("`[0].role`: unknown variant"));
        assert!(refused(r#"[{"role":"user","content":[{"type":"text"}]}]"#).contains("messages[0].content[0].text"));
        let image = r#"[{"role":"user","content":[{"type":"image_url","imageUrl":{"url":"https://a/b.png"}}]}]"#;
        assert!(refused(image).starts_with("messages[0].content[0].type unsupported_function"), "{}", refused(image));
        assert!(refused("[]").starts_with("messages text_empty"));
        for empty in [r#"" \n""#, "[]"] {
            let body = format!(r#"[{{"role":"user","content":{empty}}}]"#);
            assert!(refused(&body).starts_with("messages[0].content text_empty"), "{body}");
        }
        let two = refused(r#"[{"role":"system","content":"a"},{"role":"system","content":"b"}]"#);
        assert!(two.contains("messages[1].role"), "{two}");
    }

    const CALL: &str = r#"{"role":"assistant","content":"","toolCalls":[{"id":"call_1","type":"function",
        "function":{"name":"weather","arguments":{"city":"서울"}}}]}"#;

    #[test]
    fn calls_and_results_belong_together() {
        let result = r#"{"role":"tool","toolCallId":"call_1","content":"{\"sky\": \"맑음\"}"}"#;
        let done = messages(&format!(r#"[{{"role":"user","content":"날씨?"}},{CALL},{result}]"#)).unwrap();
        assert_eq!(done[1].extra["tool_calls"][0]["function"]["arguments"]["city"], "서울");
        assert_eq!((&done[2].extra["tool_call_id"], &done[2].extra["name"]), (&json!("call_1"), &json!("weather")));
        assert!(refused(&format!("[{result},{CALL}]")).contains("messages[0].toolCallId"));
        assert!(refused(r#"[{"role":"tool","content":"a"}]"#).contains("toolCallId` is missing"));
        assert!(
            refused(r#"[{"role":"user","content":"a","toolCallId":"x"}]"#).contains("belongs to a message of a tool")
        );
    }

    #[test]
    fn version_1_has_no_functions() {
        let parsed = parse::<Vec<ChatMessage>>(format!("[{CALL}]").as_bytes()).unwrap();
        assert!(to_engine(&parsed, Dialect::V3).is_ok());
        let error = to_engine(&parsed, Dialect::V1).unwrap_err().to_string();
        assert!(error.contains("messages[0].toolCalls"), "{error}");
    }
}
