//! The grammar of an answer that calls functions.

use std::fmt::Write as _;

use serde_json::Value;

use super::{MAX_CALLS, Tool, ToolChoice, ToolError, ToolSyntax};
use crate::constraint::{Constraint, checked_schema};

/// What an answer must be, given the functions and the choice; `None` where it may be any text.
///
/// With [`ToolChoice::Auto`] the text before a call is free, and a call that begins is a correct one. `parallel`
/// allows up to [`MAX_CALLS`] calls in one answer, except in [`ToolSyntax::Json`], which has no way to write two.
///
/// # Errors
/// [`ToolError`] where the schema of a function's parameters cannot be kept, or the chosen function does not exist.
pub fn constraint(
    syntax: ToolSyntax,
    tools: &[Tool],
    choice: &ToolChoice,
    parallel: bool,
) -> Result<Option<Constraint>, ToolError> {
    let chosen: Vec<&Tool> = match choice {
        ToolChoice::None => return Ok(None),
        ToolChoice::Auto | ToolChoice::Required => tools.iter().collect(),
        ToolChoice::Named(name) => tools.iter().filter(|tool| tool.name == *name).collect(),
    };
    if chosen.is_empty() {
        return match choice {
            ToolChoice::Auto => Ok(None),
            _ => Err(ToolError::field("tool_choice", "no such function")),
        };
    }
    // A named function is called once.
    let repeat = parallel && !matches!(choice, ToolChoice::Named(_));
    let is_free = *choice == ToolChoice::Auto;
    let mut grammar = start(syntax, is_free, repeat);
    let (before, after) = match syntax {
        // The mark itself stands at the end of the free text, or before the first call.
        ToolSyntax::Hermes => ("\n", "\n</tool_call>"),
        ToolSyntax::HyperClovaX | ToolSyntax::Json => ("", ""),
    };
    let mut alternatives = Vec::with_capacity(chosen.len());
    for (index, tool) in chosen.into_iter().enumerate() {
        let schema = checked_schema(&tool.parameters)
            .map_err(|error| ToolError::Parameters { name: tool.name.clone(), error })?;
        let head = literal(&format!("{before}{{\"name\": {}, \"arguments\": ", Value::from(tool.name.as_str())));
        let tail = literal(&format!("}}{after}"));
        let _infallible =
            writeln!(grammar, "call{index}: {head} arguments{index} {tail}\narguments{index}: %json {schema}");
        alternatives.push(format!("call{index}"));
    }
    let _infallible = writeln!(grammar, "call: {}", alternatives.join(" | "));
    Ok(Some(Constraint::trusted_grammar(grammar)))
}

/// The rule `start`, which ends in calls.
fn start(syntax: ToolSyntax, is_free: bool, repeat: bool) -> String {
    let more = |separator: &str| match repeat {
        true => format!(" ({separator} call){{0,{}}}", MAX_CALLS - 1),
        false => String::new(),
    };
    match syntax {
        ToolSyntax::Hermes => {
            let calls = format!("call{}", more("\"\\n<tool_call>\""));
            free_or(is_free, "<tool_call>", "\"<tool_call>\"", &calls)
        }
        ToolSyntax::HyperClovaX => {
            let calls = format!("\"[\" call{} \"]\"", more("\", \""));
            // Where the prompt has opened the turn for calls already, the array comes at once.
            free_or(is_free, "-> tool/function_call\n", "\" -> tool/function_call\\n\"?", &calls)
        }
        ToolSyntax::Json if is_free => "start: (TEXT | call)?\nTEXT: /[^{](?s:.*)/\n".to_owned(),
        ToolSyntax::Json => "start: call\n".to_owned(),
    }
}

/// Calls after `mark`, which free text may come before.
fn free_or(is_free: bool, mark: &str, opening: &str, calls: &str) -> String {
    if !is_free {
        return format!("start: {opening} {calls}\n");
    }
    let mark = mark.replace('/', "\\/").replace('\n', "\\n");
    // Text without the mark to the end, or text that the mark ends.
    format!(
        "start: (TEXT | lead {calls})?\n\
         TEXT: /(?s:.+)/ & ~/(?s:.*){mark}(?s:.*)/\n\
         lead[lazy]: /(?s:.*){mark}/\n"
    )
}

/// A string of Lark, which is one of JSON.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}
