//! Messages as clients write them, and as templates read them.

use std::fmt;

use saem_engine::chat::Message;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

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
}

impl Role {
    /// The role as templates know it.
    fn in_templates(self) -> &'static str {
        match self {
            Self::System | Self::Developer => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
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

/// The messages as a template takes them.
pub(crate) fn to_engine(messages: Vec<ChatMessage>) -> Result<Vec<Message>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid_value("messages", "messages must have at least one message"));
    }
    let convert = |(index, message): (usize, ChatMessage)| {
        let Some(content) = message.content.map(Content::into_text).or(message.refusal) else {
            let param = format!("messages[{index}].content");
            return Err(ApiError::invalid_value(param, "a message of this role needs content"));
        };
        let mut extra = Map::new();
        if let Some(name) = message.name {
            extra.insert("name".into(), Value::String(nfc(name)));
        }
        Ok(Message { role: message.role.in_templates().to_owned(), content: Value::String(nfc(content)), extra })
    };
    messages.into_iter().enumerate().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Message>, ApiError> {
        to_engine(crate::http::parse(text.as_bytes())?)
    }

    #[test]
    fn parts_are_joined_and_composed() {
        let text = r#"[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"ᄉ"},{"type":"text","text":"샘"}]}]"#;
        let messages = read(text).unwrap();
        assert_eq!(messages[0].role, "system");
        assert_eq!(messages[1].content, "ᄉ\n샘");
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
