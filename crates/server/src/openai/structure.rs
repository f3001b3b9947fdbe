//! What an answer must be: `response_format`, `tools`, `tool_choice` and `logit_bias`.

use std::collections::BTreeMap;

use saem_engine::ModelText;
use saem_engine::constraint::Constraint;
use saem_engine::random::fresh_seed;
use saem_engine::tools::{
    Tool, ToolCallParser, ToolChoice, ToolError, ToolEvent, ToolSyntax, constraint, parse_choice, parse_tools,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::ApiError;

/// The field that schemas come in.
pub(crate) const SCHEMA: &str = "response_format.json_schema.schema";

/// The form of an answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponseFormat {
    /// What kind of form.
    #[serde(rename = "type")]
    kind: FormatKind,
    /// The schema, for `json_schema`.
    json_schema: Option<JsonSchema>,
}

/// Kinds of forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormatKind {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// A JSON value of a schema.
    JsonSchema,
}

/// A schema and what it is called.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonSchema {
    /// A name, for the client's own use.
    #[allow(dead_code, reason = "the API asks for it, and it changes nothing")]
    name: String,
    /// What the value is for; not looked at.
    #[allow(dead_code, reason = "clients send it, and it changes nothing")]
    description: Option<String>,
    /// The schema; any object where it is absent.
    #[schema(value_type = Option<Object>)]
    schema: Option<Value>,
    /// Answers always fulfil the schema, strict or not.
    #[allow(dead_code, reason = "clients send it, and it changes nothing")]
    strict: Option<bool>,
}

impl ResponseFormat {
    pub(crate) fn constraint(&self) -> Result<Option<Constraint>, ApiError> {
        match (self.kind, &self.json_schema) {
            (FormatKind::Text, None) => Ok(None),
            (FormatKind::JsonObject, None) => Ok(Some(Constraint::json_object())),
            (FormatKind::JsonSchema, Some(format)) => match &format.schema {
                None => Ok(Some(Constraint::json_object())),
                Some(schema) => {
                    Constraint::json_schema(schema).map(Some).map_err(|error| ApiError::constraint(&error, SCHEMA))
                }
            },
            (FormatKind::JsonSchema, None) => {
                let message = "response_format.json_schema is missing";
                Err(ApiError::invalid("missing_required_parameter", "response_format.json_schema", message))
            }
            (_, Some(_)) => {
                let message = "json_schema is allowed only where type is json_schema";
                Err(ApiError::invalid_value("response_format.json_schema", message))
            }
        }
    }
}

/// What is added to the logits of tokens, which JSON names by strings.
pub(crate) fn logit_bias(bias: &BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>, ApiError> {
    let token = |(name, bias): (&String, &f32)| {
        let token = name.parse().map_err(|_| ApiError::invalid_value("logit_bias", format!("`{name}` is no token id")));
        token.map(|token| (token, *bias))
    };
    bias.iter().map(token).collect()
}

/// The functions of a request, and how the model is to call them.
#[derive(Clone, Debug)]
pub(crate) struct Functions {
    pub(crate) tools: Vec<Tool>,
    pub(crate) syntax: ToolSyntax,
    choice: ToolChoice,
    parallel: bool,
}

impl Functions {
    /// Reads the fields of a request; `None` where no function can be called.
    pub(crate) fn read(
        tools: Option<&Value>,
        choice: Option<&Value>,
        parallel: Option<bool>,
        text: &ModelText,
    ) -> Result<Option<Self>, ApiError> {
        let list = tools.map(parse_tools).transpose().map_err(|error| wrong(&error))?.unwrap_or_default();
        let choice = parse_choice(choice, &list).map_err(|error| wrong(&error))?;
        if list.is_empty() || choice == ToolChoice::None {
            return Ok(None);
        }
        let syntax = ToolSyntax::of_template(text.chat_template()?);
        Ok(Some(Self { tools: list, syntax, choice, parallel: parallel.unwrap_or(true) }))
    }

    pub(crate) fn constraint(&self) -> Result<Option<Constraint>, ApiError> {
        constraint(self.syntax, &self.tools, &self.choice, self.parallel).map_err(|error| wrong(&error))
    }

    pub(crate) fn parser(&self) -> ToolCallParser {
        ToolCallParser::new(self.syntax)
    }
}

fn wrong(error: &ToolError) -> ApiError {
    let field = match error {
        ToolError::Field { field, .. } => field.clone(),
        _ => "tools".to_owned(),
    };
    ApiError::invalid_value(field, error.to_string())
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    /// Names the call; the function's answer refers to it.
    pub(crate) id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub(crate) kind: ToolCallKind,
    /// What is called.
    pub(crate) function: FunctionCall,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolCallKind {
    /// Of a function.
    Function,
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionCall {
    /// The function.
    pub(crate) name: String,
    /// A JSON object, as text.
    pub(crate) arguments: String,
}

/// A fresh name for a call.
pub(crate) fn call_id() -> String {
    format!("call_{:016x}", fresh_seed())
}

/// What is said and what is called in a whole answer.
pub(crate) fn read_calls(mut parser: ToolCallParser, answer: &str) -> (String, Vec<ToolCall>) {
    let (mut said, mut calls) = (String::new(), Vec::<ToolCall>::new());
    let mut tell = |event| match event {
        ToolEvent::Text(text) => said.push_str(&text),
        ToolEvent::Begin { name, .. } => calls.push(ToolCall {
            id: call_id(),
            kind: ToolCallKind::Function,
            function: FunctionCall { name, arguments: String::new() },
        }),
        ToolEvent::Arguments { text, .. } => {
            if let Some(call) = calls.last_mut() {
                call.function.arguments.push_str(&text);
            }
        }
        _ => {}
    };
    parser.push(answer, &mut tell);
    parser.finish(&mut tell);
    (said, calls)
}
