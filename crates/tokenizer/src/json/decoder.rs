//! Decoders: what each token adds to a text, and the rules for its start.

use serde_json::Value;

use super::pipeline::{content, kind, list, metaspace, missing, pattern, text, unsupported};
use crate::decode::{Joining, Opening};
use crate::pretokenize::{Pattern, Prepend};
use crate::vocabulary::byte_of;
use crate::{TokenizerError, byte_level};

/// A step that looks at one token alone.
#[derive(Debug)]
enum Step {
    Replace { pattern: Pattern, by: String },
    ByteFallback,
    ByteLevel,
    Strip { character: char, start: usize, stop: usize },
    Spaces(char),
}

/// A decoder, reduced to what each token means by itself and what happens at the start.
#[derive(Debug)]
pub(super) struct Decoder {
    steps: Vec<Step>,
    pub(super) joining: Joining,
    /// Whether a step has joined the tokens, so that later ones see the whole text.
    fused: bool,
}

impl Decoder {
    pub(super) fn new(value: Option<&Value>) -> Result<Self, TokenizerError> {
        let joining = Joining { opening: Opening::Plain, spaced: value.is_none() };
        let mut decoder = Self { steps: Vec::new(), joining, fused: false };
        if let Some(value) = value {
            decoder.add(value)?;
        }
        Ok(decoder)
    }

    fn add(&mut self, value: &Value) -> Result<(), TokenizerError> {
        const WHAT: &str = "decoder";
        let number = |field| value.get(field).and_then(Value::as_u64).map_or(0, |number| number as usize);
        match kind(value) {
            "Sequence" => return list(value, "decoders").iter().try_for_each(|value| self.add(value)),
            "Fuse" => self.fused = true,
            "ByteLevel" if !self.fused => {
                self.steps.push(Step::ByteLevel);
                self.fused = true;
            }
            "ByteFallback" if !self.fused => self.steps.push(Step::ByteFallback),
            "Replace" if !self.fused => {
                let by = content(value, WHAT)?;
                self.steps.push(Step::Replace { pattern: pattern(value, WHAT)?, by: by.to_owned() });
            }
            "Metaspace" if !self.fused && self.joining.opening == Opening::Plain => {
                let (character, prepend) = metaspace(value, WHAT)?;
                self.steps.push(Step::Spaces(character));
                if prepend != Prepend::Never {
                    self.joining.opening = Opening::StripFirst { character };
                }
            }
            "Strip" => {
                let content = text(value, "content").unwrap_or_default();
                let mut characters = content.chars();
                let (Some(character), None) = (characters.next(), characters.next()) else {
                    return Err(missing(WHAT, "content"));
                };
                let (start, stop) = (number("start"), number("stop"));
                if !self.fused {
                    self.steps.push(Step::Strip { character, start, stop });
                } else if stop == 0 && self.joining.opening == Opening::Plain {
                    self.joining.opening = Opening::Strip { text: content.to_owned(), count: start };
                } else {
                    return Err(unsupported("decoder", "Strip at the end of the text"));
                }
            }
            other => {
                let order = if self.fused { " after the tokens are joined" } else { "" };
                return Err(unsupported("decoder", &format!("{other}{order}")));
            }
        }
        Ok(())
    }

    /// Appends what the token spelled `spelling` means within a text.
    pub(super) fn decode(&self, spelling: &str, out: &mut Vec<u8>) {
        let mut changed: Option<String> = None;
        for step in &self.steps {
            let text = changed.as_deref().unwrap_or(spelling);
            match step {
                Step::Replace { pattern, by } => changed = Some(pattern.replace(text, by, spelling.len() * 8 + 64)),
                Step::Spaces(character) => changed = Some(text.replace(*character, " ")),
                Step::Strip { character, start, stop } => {
                    let mut text = text;
                    for _ in 0..(*start).min(text.len()) {
                        text = text.strip_prefix(*character).unwrap_or(text);
                    }
                    for _ in 0..(*stop).min(text.len()) {
                        text = text.strip_suffix(*character).unwrap_or(text);
                    }
                    changed = Some(text.to_owned());
                }
                Step::ByteFallback => {
                    if let Some(byte) = byte_of(text.as_bytes()) {
                        out.push(byte);
                        return;
                    }
                }
                Step::ByteLevel => {
                    if !byte_level::unspell(text, out) {
                        out.extend_from_slice(text.as_bytes());
                    }
                    return;
                }
            }
        }
        out.extend_from_slice(changed.as_deref().unwrap_or(spelling).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(value: Value, spelling: &str) -> (Vec<u8>, Opening) {
        let decoder = Decoder::new(Some(&value)).unwrap();
        let mut out = Vec::new();
        decoder.decode(spelling, &mut out);
        (out, decoder.joining.opening)
    }

    #[test]
    fn llama_2_decodes_spaces_bytes_and_its_first_space() {
        let value = serde_json::json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        ]});
        let opening = Opening::Strip { text: " ".to_owned(), count: 1 };
        assert_eq!(decode(value.clone(), "▁a▁b"), (b" a b".to_vec(), opening.clone()));
        assert_eq!(decode(value, "<0xEA>"), (vec![0xEA], opening));
    }

    #[test]
    fn stripping_ends() {
        let value = serde_json::json!({"type": "Strip", "content": " ", "start": u64::MAX, "stop": u64::MAX});
        assert_eq!(decode(value, "  a ").0, b"a");
    }

    #[test]
    fn orders_that_need_the_whole_text_are_refused() {
        let value = serde_json::json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]});
        assert!(matches!(Decoder::new(Some(&value)), Err(TokenizerError::Unsupported { .. })));
        assert!(Decoder::new(Some(&serde_json::json!({"type": "CTC"}))).is_err());
    }
}
