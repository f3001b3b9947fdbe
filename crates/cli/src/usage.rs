//! A command line that cannot be understood, explained in the user's language.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::language::Language;

/// What to print for clap's refusal. English is clap's own text.
pub(crate) fn explain(error: &Error, language: Language) -> String {
    match language {
        Language::English => error.render().to_string(),
        Language::Korean => korean(error).unwrap_or_else(|| error.render().to_string()),
    }
}

fn korean(error: &Error) -> Option<String> {
    let language = Language::Korean;
    let get = |kind| error.get(kind).map(shown);
    let argument = get(ContextKind::InvalidArg).unwrap_or_default();
    let value = get(ContextKind::InvalidValue).unwrap_or_default();
    let mut lines = Vec::new();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            lines.push(language.usage_unknown_argument(&argument));
            lines.extend(get(ContextKind::SuggestedArg).map(|names| language.similar_hint(&names)));
        }
        ErrorKind::InvalidSubcommand => {
            let command = get(ContextKind::InvalidSubcommand).unwrap_or_default();
            lines.push(language.usage_unknown_command(&command));
            lines.extend(get(ContextKind::SuggestedSubcommand).map(|names| language.similar_hint(&names)));
        }
        ErrorKind::MissingRequiredArgument => lines.push(language.usage_missing(&argument)),
        ErrorKind::InvalidValue if value.is_empty() => lines.push(language.usage_no_value(&argument)),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            lines.push(language.usage_bad_value(&argument, &value));
            let possible = get(ContextKind::ValidValue).filter(|values| !values.is_empty());
            lines.extend(possible.map(|values| language.usage_possible(&values)));
        }
        ErrorKind::ArgumentConflict => {
            lines.push(language.usage_conflict(&argument, &get(ContextKind::PriorArg).unwrap_or_default()));
        }
        _ => return None,
    }
    lines.push(language.usage_help(&command(error)));
    Some(format!("saem: {}\n", lines.join("\n  ")))
}

/// `saem run` of a usage line such as `Usage: saem run [OPTIONS] [PROMPT]`.
fn command(error: &Error) -> String {
    let usage = error.get(ContextKind::Usage).map(shown).unwrap_or_default();
    let words: Vec<&str> =
        usage.split_whitespace().skip_while(|word| *word != "saem").take_while(|word| is_command(word)).collect();
    if !words.is_empty() {
        return words.join(" ");
    }
    // Some refusals come without a usage line; the command is the first word then.
    match std::env::args().nth(1).filter(|word| is_command(word)) {
        Some(word) => format!("saem {word}"),
        None => "saem".to_owned(),
    }
}

fn is_command(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn shown(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::StyledStrs(texts) => texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        ContextValue::Number(number) => number.to_string(),
        ContextValue::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}
