//! Fields that are a text or a list of texts: read by hand, since serde's untagged enums forget where a mistake is.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrList {
    /// One.
    #[allow(dead_code, reason = "names the shape in the OpenAPI document")]
    Text(String),
    /// Several.
    List(Vec<String>),
}

impl TextOrList {
    pub(crate) fn into_list(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::List(list) => list,
        }
    }
}

impl<'de> Deserialize<'de> for TextOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = TextOrList;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOrList, E> {
                Ok(TextOrList::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<TextOrList, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(TextOrList::List)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// What `/v1/completions` continues: one text or token list, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Prompts {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// One list of token ids.
    Tokens(Vec<u32>),
    /// Several lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Prompts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a list of token ids, or a list of either")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Prompts, E> {
                Ok(Prompts::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompts, A::Error> {
                // The first element tells what the others must be.
                let Some(first) = list.next_element::<Element>()? else {
                    return Err(A::Error::invalid_length(0, &"at least one prompt"));
                };
                match first {
                    Element::Text(text) => rest(list, text).map(Prompts::Texts),
                    Element::Token(token) => rest(list, token).map(Prompts::Tokens),
                    Element::Tokens(tokens) => rest(list, tokens).map(Prompts::TokenLists),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

fn rest<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(mut list: A, first: T) -> Result<Vec<T>, A::Error> {
    let mut all = vec![first];
    while let Some(next) = list.next_element()? {
        all.push(next);
    }
    Ok(all)
}

/// An element of a list of prompts.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Element;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a token id or a list of token ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
                let token = u32::try_from(token).map_err(|_| E::invalid_value(Unexpected::Unsigned(token), &self))?;
                Ok(Element::Token(token))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Element, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Element::Tokens)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, json};

    #[test]
    fn prompts_have_four_shapes() {
        let read = |value: serde_json::Value| serde_json::from_value::<Prompts>(value);
        assert_eq!(read(json!("a")).unwrap(), Prompts::Text("a".into()));
        assert_eq!(read(json!(["a", "b"])).unwrap(), Prompts::Texts(vec!["a".into(), "b".into()]));
        assert_eq!(read(json!([1, 2])).unwrap(), Prompts::Tokens(vec![1, 2]));
        assert_eq!(read(json!([[1], [2, 3]])).unwrap(), Prompts::TokenLists(vec![vec![1], vec![2, 3]]));
        for bad in
            [json!([]), json!(["a", 1]), json!([1, "a"]), json!([-1]), json!([4_294_967_296_u64]), json!({}), json!(1)]
        {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn stops_are_one_or_several() {
        assert_eq!(from_str::<TextOrList>("\"a\"").unwrap().into_list(), ["a"]);
        assert_eq!(from_str::<TextOrList>("[\"a\",\"b\"]").unwrap().into_list(), ["a", "b"]);
        assert!(from_str::<TextOrList>("[1]").is_err());
    }
}
