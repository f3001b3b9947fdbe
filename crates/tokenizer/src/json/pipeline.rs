//! The steps around the model: normalisers, pre-tokenisers, post-processors.

use serde_json::Value;

use crate::TokenizerError;
use crate::charsmap::Charsmap;
use crate::normalize::Normalizer;
use crate::pretokenize::{Behaviour, Pattern, Prepend, Scanner, Stage};

/// Replacements in earnest are one character.
const LONGEST_REPLACEMENT: usize = 64;

/// A pipeline in earnest has five steps; each costs time for every text, and stack.
const MOST_STEPS: usize = 64;

pub(super) fn check_steps(what: &'static str, steps: usize) -> Result<(), TokenizerError> {
    if steps > MOST_STEPS {
        return Err(TokenizerError::Invalid {
            what,
            reason: format!("{steps} steps, at most {MOST_STEPS} are allowed"),
        });
    }
    Ok(())
}

/// The name in the field `type`.
pub(super) fn kind(value: &Value) -> &str {
    text(value, "type").unwrap_or("without type")
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

pub(super) fn flag(value: &Value, field: &str) -> Option<bool> {
    value.get(field)?.as_bool()
}

/// The list in a field, or an empty one.
pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn unsupported(component: &'static str, name: &str) -> TokenizerError {
    TokenizerError::Unsupported { component, name: name.to_owned() }
}

pub(super) fn missing(what: &'static str, field: &str) -> TokenizerError {
    TokenizerError::Invalid { what, reason: format!("`{field}` is missing or has the wrong type") }
}

/// The field `pattern`: `{"String": …}` or `{"Regex": …}`.
pub(super) fn pattern(value: &Value, what: &'static str) -> Result<Pattern, TokenizerError> {
    let pattern = value.get("pattern").ok_or_else(|| missing(what, "pattern"))?;
    match (text(pattern, "String"), text(pattern, "Regex")) {
        (Some(literal), _) => Pattern::literal(literal),
        (_, Some(expression)) => Pattern::regex(expression),
        _ => Err(missing(what, "pattern")),
    }
}

/// The field `content`: what a match is replaced by.
pub(super) fn content<'a>(value: &'a Value, what: &'static str) -> Result<&'a str, TokenizerError> {
    let content = text(value, "content").ok_or_else(|| missing(what, "content"))?;
    if content.len() > LONGEST_REPLACEMENT {
        return Err(TokenizerError::Invalid { what, reason: format!("a replacement of {} bytes", content.len()) });
    }
    Ok(content)
}

fn character(value: &Value, field: &str, what: &'static str) -> Result<char, TokenizerError> {
    let mut characters = text(value, field).unwrap_or_default().chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(missing(what, field)),
    }
}

/// The character that stands for spaces, and when it is put in front of a text; for pre-tokeniser and decoder.
pub(super) fn metaspace(value: &Value, what: &'static str) -> Result<(char, Prepend), TokenizerError> {
    let replacement = character(value, "replacement", what)?;
    let prepend = match (text(value, "prepend_scheme"), flag(value, "add_prefix_space")) {
        (Some("first"), _) => Prepend::First,
        (Some("never"), _) | (None, Some(false)) => Prepend::Never,
        (Some("always") | None, _) => Prepend::Always,
        (Some(other), _) => return Err(unsupported("prepend scheme", other)),
    };
    Ok((replacement, prepend))
}

/// Appends a normaliser to `steps`.
pub(super) fn normalizer(value: &Value, steps: &mut Vec<Normalizer>) -> Result<(), TokenizerError> {
    const WHAT: &str = "normalizer";
    steps.push(match kind(value) {
        "Sequence" => return list(value, "normalizers").iter().try_for_each(|value| normalizer(value, steps)),
        "NFC" => Normalizer::Nfc,
        "NFD" => Normalizer::Nfd,
        "NFKC" => Normalizer::Nfkc,
        "NFKD" => Normalizer::Nfkd,
        "Lowercase" => Normalizer::Lowercase,
        "Strip" => Normalizer::Strip {
            left: flag(value, "strip_left").unwrap_or(true),
            right: flag(value, "strip_right").unwrap_or(true),
        },
        "StripAccents" => Normalizer::StripAccents,
        "Nmt" => Normalizer::Nmt,
        "Prepend" => Normalizer::Prepend(text(value, "prepend").ok_or_else(|| missing(WHAT, "prepend"))?.to_owned()),
        "Replace" => {
            let by = content(value, WHAT)?;
            Normalizer::Replace { pattern: pattern(value, WHAT)?, by: by.to_owned() }
        }
        "ByteLevel" => Normalizer::SpellBytes,
        "Precompiled" => {
            let blob = text(value, "precompiled_charsmap").and_then(from_base64);
            let blob = blob.ok_or_else(|| missing(WHAT, "precompiled_charsmap"))?;
            if blob.is_empty() {
                return Ok(());
            }
            Normalizer::Precompiled(Charsmap::new(&blob)?)
        }
        other => return Err(unsupported("normalizer", other)),
    });
    Ok(())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

/// Appends a pre-tokeniser to `stages`.
pub(super) fn pre_tokenizer(value: &Value, stages: &mut Vec<Stage>) -> Result<(), TokenizerError> {
    const WHAT: &str = "pre-tokenizer";
    let split = |pattern, behaviour, invert| Stage::Split { pattern, behaviour, invert };
    match kind(value) {
        "Sequence" => {
            return list(value, "pretokenizers").iter().try_for_each(|value| pre_tokenizer(value, stages));
        }
        "ByteLevel" => {
            if flag(value, "add_prefix_space").unwrap_or(true) {
                stages.push(Stage::PrefixSpace);
            }
            if flag(value, "use_regex").unwrap_or(true) {
                stages.push(split(Pattern::Scanner(Scanner::Gpt2), Behaviour::Isolated, false));
            }
            stages.push(Stage::SpellBytes);
        }
        "Split" => stages.push(split(
            pattern(value, WHAT)?,
            behaviour(value)?.ok_or_else(|| missing(WHAT, "behavior"))?,
            flag(value, "invert").unwrap_or(false),
        )),
        "Digits" => {
            let single = flag(value, "individual_digits").unwrap_or(false);
            let behaviour = if single { Behaviour::Isolated } else { Behaviour::Contiguous };
            stages.push(split(Pattern::Numeric, behaviour, false));
        }
        "Punctuation" => {
            stages.push(split(Pattern::Punctuation, behaviour(value)?.unwrap_or(Behaviour::Isolated), false));
        }
        "Whitespace" => stages.push(split(Pattern::Words, Behaviour::Removed, true)),
        "WhitespaceSplit" => stages.push(split(Pattern::regex(r"\s")?, Behaviour::Removed, false)),
        "Metaspace" => {
            let (replacement, prepend) = metaspace(value, WHAT)?;
            stages.push(Stage::Metaspace { replacement, prepend, split: flag(value, "split").unwrap_or(true) });
        }
        other => return Err(unsupported("pre-tokenizer", other)),
    }
    Ok(())
}

fn behaviour(value: &Value) -> Result<Option<Behaviour>, TokenizerError> {
    Ok(Some(match text(value, "behavior") {
        None => return Ok(None),
        Some("Removed") => Behaviour::Removed,
        Some("Isolated") => Behaviour::Isolated,
        Some("MergedWithPrevious") => Behaviour::MergedWithPrevious,
        Some("MergedWithNext") => Behaviour::MergedWithNext,
        Some("Contiguous") => Behaviour::Contiguous,
        Some(other) => return Err(unsupported("split behavior", other)),
    }))
}

/// Adds the tokens that a post-processor puts before and after a single text.
pub(super) fn post_processor(value: &Value, around: &mut (Vec<u32>, Vec<u32>)) -> Result<(), TokenizerError> {
    const WHAT: &str = "post-processor";
    let (mut before, mut after) = (Vec::new(), Vec::new());
    match kind(value) {
        "Sequence" => {
            return list(value, "processors").iter().try_for_each(|value| post_processor(value, around));
        }
        "ByteLevel" => {}
        "TemplateProcessing" => {
            let mut texts = 0;
            for piece in list(value, "single") {
                if piece.get("Sequence").is_some() {
                    texts += 1;
                    continue;
                }
                let name = piece.get("SpecialToken").and_then(|token| text(token, "id"));
                let name = name.ok_or_else(|| missing(WHAT, "single"))?;
                let token = value.get("special_tokens").and_then(|tokens| tokens.get(name));
                let token = token.ok_or_else(|| missing(WHAT, "special_tokens"))?;
                for id in list(token, "ids") {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let side = if texts == 0 { &mut before } else { &mut after };
                    side.push(id.ok_or_else(|| missing(WHAT, "ids"))?);
                }
            }
            if texts != 1 {
                return Err(unsupported("post-processor", "TemplateProcessing without exactly one sequence"));
            }
        }
        "RobertaProcessing" | "BertProcessing" => {
            let id = |field| {
                let id = list(value, field).get(1).and_then(Value::as_u64);
                id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| missing(WHAT, field))
            };
            before.push(id("cls")?);
            after.push(id("sep")?);
        }
        other => return Err(unsupported("post-processor", other)),
    }
    before.append(&mut around.0);
    around.0 = before;
    around.1.append(&mut after);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes() {
        assert_eq!(from_base64("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(from_base64("").as_deref(), Some(&b""[..]));
        assert_eq!(from_base64("a b"), None);
    }

    #[test]
    fn templates_go_around_each_other() {
        let template = serde_json::json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel"},
            {"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2]},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "special_tokens": {"<s>": {"id": "<s>", "ids": [7, 8], "tokens": ["<s>", "x"]}}}
        ]});
        let mut around = Default::default();
        post_processor(&template, &mut around).unwrap();
        assert_eq!(around, (vec![7, 8, 1], vec![2]));
    }
}
