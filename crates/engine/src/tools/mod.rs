//! Tool calls: from OpenAI's `tools` and `tool_choice` to text in a model's own syntax, and from that text back to
//! calls.
//!
//! A model calls a function by writing text: its chat template showed it how. Which way that is ([`ToolSyntax`]) is
//! read from the template. [`constraint`] makes sure that what the model writes is a call of a function that exists,
//! with arguments that fit its schema; [`ToolCallParser`] reads the text as it streams.
//!
//! ```
//! use saem_engine::tools::{ToolCallParser, ToolChoice, ToolEvent, ToolSyntax, constraint, parse_tools};
//! let tools = parse_tools(&serde_json::json!([{"type": "function", "function": {
//!     "name": "weather",
//!     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
//! }}]))?;
//! let must_call = constraint(ToolSyntax::Hermes, &tools, &ToolChoice::Required, false)?;
//! assert!(must_call.is_some());
//!
//! let mut parser = ToolCallParser::new(ToolSyntax::Hermes);
//! let mut events = Vec::new();
//! for piece in ["<tool_", "call>\n{\"name\": \"weather\", \"arg", "uments\": {\"city\": \"서울\"}}\n</tool_call>"] {
//!     parser.push(piece, &mut |event| events.push(event));
//! }
//! parser.finish(&mut |event| events.push(event));
//! assert_eq!(events[0], ToolEvent::Begin { index: 0, name: "weather".into() });
//! assert_eq!(events[1], ToolEvent::Arguments { index: 0, text: "{\"city\": \"서울\"}".into() });
//! # Ok::<(), saem_engine::tools::ToolError>(())
//! ```

mod grammar;
mod parser;
mod scanner;

use serde_json::{Value, json};

use crate::chat::ChatTemplate;
use crate::constraint::ConstraintError;

pub use grammar::constraint;
pub use parser::{ToolCallParser, ToolEvent};

/// Functions that one request may offer.
pub const MAX_TOOLS: usize = 128;
/// Calls that one answer may hold where parallel calls are allowed.
pub const MAX_CALLS: usize = 16;

/// How a model writes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolSyntax {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen 2.5 and 3, EXAONE 4.0.
    Hermes,
    /// A turn `assistant -> tool/function_call` that holds a JSON array: HyperCLOVA X SEED.
    HyperClovaX,
    /// A plain JSON object with `name` and `arguments`, for models that were trained on no syntax. They have to be
    /// told of the functions in a message (see [`instructions`]).
    Json,
}

impl ToolSyntax {
    /// The syntax that a chat template teaches.
    #[must_use]
    pub fn of_template(template: &ChatTemplate) -> Self {
        let source = template.source();
        // Other families write arguments between tags of the same name; those are no JSON.
        if source.contains("<tool_call>") && !source.contains("<arg_key>") && !source.contains("<function=") {
            return Self::Hermes;
        }
        if source.contains("tool/function_call") || source.contains("tool_list") {
            return Self::HyperClovaX;
        }
        Self::Json
    }
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-` and `.`, at most 64.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The schema of its arguments, an object.
    pub parameters: Value,
}

/// Whether the model calls, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It answers in text.
    None,
    /// It decides.
    #[default]
    Auto,
    /// It calls at least one function.
    Required,
    /// It calls this function.
    Named(String),
}

/// A field of `tools` or `tool_choice` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// A field that is missing or has the wrong form.
    #[error("{field}: {reason}")]
    Field {
        /// Where, as in `tools[0].function.name`.
        field: String,
        /// What is wrong there.
        reason: String,
    },
    /// Parameters whose schema cannot be kept.
    #[error("the parameters of the function `{name}`: {error}")]
    Parameters {
        /// The function.
        name: String,
        /// What is wrong with its schema.
        error: ConstraintError,
    },
}

impl ToolError {
    fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Field { field: field.into(), reason: reason.into() }
    }
}

/// Reads OpenAI's `tools`.
///
/// # Errors
/// [`ToolError::Field`] for the first field that is missing, of a wrong type, or out of range.
pub fn parse_tools(tools: &Value) -> Result<Vec<Tool>, ToolError> {
    let list = tools.as_array().ok_or_else(|| ToolError::field("tools", "must be an array"))?;
    if list.len() > MAX_TOOLS {
        return Err(ToolError::field("tools", format!("has {} entries (at most {MAX_TOOLS})", list.len())));
    }
    let mut read: Vec<Tool> = Vec::with_capacity(list.len());
    for (index, tool) in list.iter().enumerate() {
        let at = |rest: &str| format!("tools[{index}]{rest}");
        if tool.get("type").is_some_and(|kind| kind != "function") {
            return Err(ToolError::field(at(".type"), "only `function` is supported"));
        }
        let function = tool.get("function").ok_or_else(|| ToolError::field(at(".function"), "is missing"))?;
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
        if !is_name(name) {
            return Err(ToolError::field(at(".function.name"), "must be 1 to 64 letters, digits, `_`, `-` or `.`"));
        }
        if read.iter().any(|other| other.name == name) {
            return Err(ToolError::field(at(".function.name"), format!("`{name}` is there twice")));
        }
        let parameters = match function.get("parameters") {
            // As OpenAI's documentation says of a function without parameters.
            None | Some(Value::Null) => json!({"type": "object", "properties": {}, "additionalProperties": false}),
            Some(parameters @ Value::Object(_)) => parameters.clone(),
            Some(_) => return Err(ToolError::field(at(".function.parameters"), "must be an object")),
        };
        let description = function.get("description").and_then(Value::as_str).map(str::to_owned);
        read.push(Tool { name: name.to_owned(), description, parameters });
    }
    Ok(read)
}

/// Reads OpenAI's `tool_choice`; absent, it is `auto`.
///
/// # Errors
/// [`ToolError::Field`] where it is none of OpenAI's forms, or names a function that is not among `tools`.
pub fn parse_choice(choice: Option<&Value>, tools: &[Tool]) -> Result<ToolChoice, ToolError> {
    let forms = || ToolError::field("tool_choice", "must be `none`, `auto`, `required` or name a function");
    let choice = match choice {
        None | Some(Value::Null) => return Ok(ToolChoice::default()),
        Some(Value::String(word)) => match word.as_str() {
            "none" => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            "required" => ToolChoice::Required,
            _ => return Err(forms()),
        },
        Some(named) => {
            let name = named.pointer("/function/name").and_then(Value::as_str).ok_or_else(forms)?;
            ToolChoice::Named(name.to_owned())
        }
    };
    match &choice {
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(ToolError::field("tool_choice.function.name", format!("`{name}` is not among the tools")))
        }
        ToolChoice::Required if tools.is_empty() => {
            Err(ToolError::field("tool_choice", "`required` needs at least one tool"))
        }
        _ => Ok(choice),
    }
}

/// What to tell a model that was trained on no syntax for calls: the functions and how to call them.
#[must_use]
pub fn instructions(tools: &[Tool]) -> String {
    let lines = tools.iter().map(|tool| {
        json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters}).to_string()
    });
    format!(
        "You can call these functions:\n{}\nTo call one, answer with nothing but a JSON object: \
         {{\"name\": \"<name of the function>\", \"arguments\": {{<its arguments>}}}}",
        lines.collect::<Vec<_>>().join("\n")
    )
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Builtin;

    #[test]
    fn fields_that_are_wrong_are_named() {
        let refused = |tools: Value| parse_tools(&tools).unwrap_err().to_string();
        assert_eq!(refused(json!({})), "tools: must be an array");
        assert_eq!(refused(json!([{"type": "retrieval"}])), "tools[0].type: only `function` is supported");
        assert_eq!(refused(json!([{"type": "function"}])), "tools[0].function: is missing");
        assert!(refused(json!([{"function": {"name": "a b"}}])).starts_with("tools[0].function.name: must be"));
        let twice = json!([{"function": {"name": "a"}}, {"function": {"name": "a"}}]);
        assert_eq!(refused(twice), "tools[1].function.name: `a` is there twice");
        let many: Vec<Value> = (0..200).map(|i| json!({"function": {"name": format!("f{i}")}})).collect();
        assert_eq!(refused(many.into()), "tools: has 200 entries (at most 128)");
        assert!(
            refused(json!([{"function": {"name": "a", "parameters": 3}}])).contains("parameters: must be an object")
        );
    }

    #[test]
    fn choices_are_openais() {
        let tools = parse_tools(&json!([{"type": "function", "function": {"name": "f"}}])).unwrap();
        let choice = |value: Value| parse_choice(Some(&value), &tools);
        assert_eq!(parse_choice(None, &tools), Ok(ToolChoice::Auto));
        assert_eq!(choice(json!("required")), Ok(ToolChoice::Required));
        let named = |name| json!({"type": "function", "function": {"name": name}});
        assert_eq!(choice(named("f")), Ok(ToolChoice::Named("f".into())));
        assert!(choice(named("g")).unwrap_err().to_string().contains("`g` is not among the tools"));
        assert!(choice(json!("sometimes")).is_err());
        assert!(parse_choice(Some(&json!("required")), &[]).is_err());
    }

    #[test]
    fn templates_tell_their_syntax() {
        let of = |source: &str| ToolSyntax::of_template(&ChatTemplate::new(source).unwrap());
        assert_eq!(of("{{ '<tool_call>' }}"), ToolSyntax::Hermes);
        assert_eq!(of("{{ '<tool_call><arg_key>' }}"), ToolSyntax::Json);
        assert_eq!(of("{{ 'hello' }}"), ToolSyntax::Json);
        let clova = ChatTemplate::builtin(Builtin::HyperClovaX).unwrap();
        assert_eq!(ToolSyntax::of_template(&clova), ToolSyntax::HyperClovaX);
    }
}
