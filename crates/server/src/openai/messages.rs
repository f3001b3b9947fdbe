//! Messages as clients write them, and as templates read them.

use std::fmt;

use saem_engine::chat::Message;
use saem_engine::tools::{ToolSyntax, instructions};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::structure::{Functions, ToolCall};
use crate::ApiError;
use crate::nfc::nfc;

/// One message of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatMessage {
    /// Who speaks.
    role: Role,
    /// The text.
    content: Option<Content>,
    /// The name of the speaker, for templates that know names.
    name: Option<String>,
    /// Comes back from clients that repeat an answer as they got it.
    refusal: Option<String>,
    /// Calls that the model made.
    tool_calls: Option<Vec<ToolCall>>,
    /// Which call a function's answer belongs to.
    tool_call_id: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Instructions.
    System,
    /// The newer word for instructions.
    Developer,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// A function, with its answer.
    Tool,
}

impl Role {
    /// The role as templates know it.
    fn in_templates(self) -> &'static str {
        match self {
            Self::System | Self::Developer => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// The text of a message, whole or in parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    /// Whole.
    Text(String),
    /// In parts, which are joined by line feeds.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// Always `text`.
    #[serde(rename = "type")]
    kind: PartKind,
    /// The text.
    text: String,
}

/// Kinds of parts.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartKind {
    /// Text.
    Text,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Content;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of parts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let texts: Vec<String> = parts.into_iter().map(|Part { kind: PartKind::Text, text }| text).collect();
                texts.join("\n")
            }
        }
    }
}

/// The messages as a template takes them. Where the template knows nothing of calls, `functions` are described to the
/// model in a message of their own, and calls and their answers become plain text.
pub(crate) fn to_engine(messages: Vec<ChatMessage>, functions: Option<&Functions>) -> Result<Vec<Message>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid_value("messages", "messages must have at least one message"));
    }
    let plain = functions.filter(|functions| functions.syntax == ToolSyntax::Json);
    let mut all = Vec::with_capacity(messages.len() + 1);
    for (index, message) in messages.into_iter().enumerate() {
        all.push(convert(index, message, plain.is_some())?);
    }
    if let Some(functions) = plain {
        instruct(&mut all, &instructions(&functions.tools));
    }
    Ok(all)
}

/// Adds to the system message, or puts one in front: not every template takes two.
pub(crate) fn instruct(messages: &mut Vec<Message>, instructions: &str) {
    match messages.first_mut().filter(|message| message.role == "system") {
        Some(system) => {
            let own = system.content.as_str().unwrap_or_default();
            system.content = Value::String(format!("{own}\n\n{instructions}"));
        }
        None => messages.insert(0, Message::new("system", instructions)),
    }
}

fn convert(index: usize, message: ChatMessage, plain: bool) -> Result<Message, ApiError> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let calls = message.tool_calls.unwrap_or_default();
    if !calls.is_empty() && message.role != Role::Assistant {
        return Err(ApiError::invalid_value(at("tool_calls"), "only the assistant calls functions"));
    }
    if message.tool_call_id.is_some() != (message.role == Role::Tool) {
        let message = "belongs to messages of the role `tool`, and to each of them";
        return Err(ApiError::invalid_value(at("tool_call_id"), message));
    }
    let content = message.content.map(Content::into_text).or(message.refusal);
    if content.is_none() && calls.is_empty() {
        return Err(ApiError::invalid_value(at("content"), "a message of this role needs content"));
    }
    let content = nfc(content.unwrap_or_default());
    let mut extra = Map::new();
    if let Some(name) = message.name {
        extra.insert("name".into(), Value::String(nfc(name)));
    }
    let mut called = Vec::with_capacity(calls.len());
    for (number, call) in calls.into_iter().enumerate() {
        // Templates write the arguments themselves, so they get the value and not its text.
        let arguments: Value = serde_json::from_str(&call.function.arguments).map_err(|_| {
            ApiError::invalid_value(at(&format!("tool_calls[{number}].function.arguments")), "must be JSON")
        })?;
        let function = json!({"name": call.function.name, "arguments": arguments});
        called.push(if plain { function } else { json!({"id": call.id, "type": "function", "function": function}) });
    }
    if plain {
        let role = if message.role == Role::Tool { "user" } else { message.role.in_templates() };
        let calls = called.iter().map(Value::to_string);
        let lines: Vec<String> = Some(content).filter(|content| !content.is_empty()).into_iter().chain(calls).collect();
        return Ok(Message { extra, ..Message::new(role, lines.join("\n")) });
    }
    if !called.is_empty() {
        extra.insert("tool_calls".into(), Value::Array(called));
    }
    if let Some(id) = message.tool_call_id {
        extra.insert("tool_call_id".into(), Value::String(id));
    }
    Ok(Message { role: message.role.in_templates().to_owned(), content: Value::String(content), extra })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Message>, ApiError> {
        to_engine(crate::http::parse(text.as_bytes())?, None)
    }

    #[test]
    fn parts_are_joined_and_composed() {
        let text = r#"[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"ᄉ"},{"type":"text","text":"샘"}]}]"#;
        let messages = read(text).unwrap();
        assert_eq!(messages[0].role, "system");
        assert_eq!(messages[1].content, "ᄉ\n샘");
    }

    #[test]
    fn who_knows_no_syntax_is_told_in_words() {
        let mut messages = vec![Message::new("system", "be kind"), Message::new("user", "a")];
        instruct(&mut messages, "call f");
        assert_eq!(messages[0], Message::new("system", "be kind\n\ncall f"));
        let mut messages = vec![Message::new("user", "a")];
        instruct(&mut messages, "call f");
        assert_eq!((messages[0].role.as_str(), messages.len()), ("system", 2));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let param = |text: &str| read(text).unwrap_err().param.unwrap();
        assert_eq!(param("[]"), "messages");
        assert_eq!(param(r#"[{"role":"user"}]"#), "messages[0].content");
        let image = r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]"#;
        assert!(param(image).starts_with("[0].content[0]"), "{}", param(image));
        assert_eq!(param(r#"[{"role":"root","content":""}]"#), "[0].role");
    }
}
