//! The pre-tokenisers that GGUF files name, as `tokenizer.json` spells them out.

use serde_json::{Value, json};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How other files write the contractions at the start of these expressions.
const CONTRACTIONS: (&str, &str) =
    ("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", "(?i:'s|'t|'re|'ve|'m|'ll|'d)");

/// How a byte-level tokenizer divides text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Division {
    /// By an expression of its own.
    Expression(&'static str),
    /// By GPT-2's, which the `ByteLevel` step has built in.
    Gpt2,
    /// Digits one by one, then GPT-2's.
    DigitsThenGpt2,
}

/// Names in `tokenizer.ggml.pre`, the first of each kind being the one written, and whether whole pieces that are
/// tokens are not merged.
const NAMES: [(&[&str], Division, bool); 5] = [
    (&["llama-bpe", "llama3", "llama-v3", "falcon3"], Division::Expression(LLAMA3), true),
    (&["qwen2", "deepseek-r1-qwen"], Division::Expression(QWEN2), false),
    (&["gpt-4o", "kanana2", "llama4"], Division::Expression(GPT4O), false),
    (&["gpt-2", "exaone4"], Division::Gpt2, false),
    (&["smollm", "exaone", "starcoder", "refact"], Division::DigitsThenGpt2, false),
];

/// The name of the pre-tokeniser in a `tokenizer.json`, where it has one.
pub(super) fn name_of(tokenizer: &Value) -> Option<&'static str> {
    let found = division(tokenizer.get("pre_tokenizer")?)?;
    let (names, _, _) = NAMES.iter().find(|(_, division, _)| division.equals(&found))?;
    names.first().copied()
}

/// The steps that a name stands for, and whether whole pieces that are tokens are not merged.
pub(super) fn spelled_out(name: &str) -> Option<(Value, bool)> {
    let (_, division, ignore_merges) = NAMES.iter().find(|(names, _, _)| names.contains(&name))?;
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
        })
    };
    let steps = match division {
        Division::Gpt2 => return Some((byte_level(true), *ignore_merges)),
        Division::DigitsThenGpt2 => json!([{ "type": "Digits", "individual_digits": true }, byte_level(true)]),
        Division::Expression(expression) => json!([
            { "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false },
            byte_level(false),
        ]),
    };
    Some((json!({ "type": "Sequence", "pretokenizers": steps }), *ignore_merges))
}

/// What a `tokenizer.json` does.
enum Found {
    Expression(String),
    Gpt2,
    DigitsThenGpt2,
}

impl Division {
    fn equals(self, found: &Found) -> bool {
        match (self, found) {
            (Self::Expression(expression), Found::Expression(found)) => expression == found,
            (Self::Gpt2, Found::Gpt2) | (Self::DigitsThenGpt2, Found::DigitsThenGpt2) => true,
            _ => false,
        }
    }
}

fn division(pre_tokenizer: &Value) -> Option<Found> {
    let one = std::slice::from_ref(pre_tokenizer);
    let steps = pre_tokenizer.get("pretokenizers").and_then(Value::as_array).map_or(one, Vec::as_slice);
    let kind = |step: &Value| step.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (last, before) = steps.split_last()?;
    if kind(last) != "ByteLevel" || last.get("add_prefix_space").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let gpt2 = last.get("use_regex").and_then(Value::as_bool).unwrap_or(true);
    match (before, gpt2) {
        ([], true) => Some(Found::Gpt2),
        ([step], true) if kind(step) == "Digits" && step.get("individual_digits")?.as_bool()? => {
            Some(Found::DigitsThenGpt2)
        }
        ([step], false) if kind(step) == "Split" => {
            let expression = step.get("pattern")?.get("Regex")?.as_str()?;
            Some(Found::Expression(expression.replace(CONTRACTIONS.0, CONTRACTIONS.1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for (names, _, _) in NAMES {
            let (steps, _) = spelled_out(names[0]).unwrap();
            assert_eq!(name_of(&json!({ "pre_tokenizer": steps })), Some(names[0]));
        }
        assert_eq!(name_of(&json!({ "pre_tokenizer": { "type": "Metaspace" } })), None);
    }
}
