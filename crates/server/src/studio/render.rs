//! From a document to what a model is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use saem_engine::chat::Message;
use saem_engine::constraint::Constraint;
use saem_engine::{Request, Sampling, repetition_penalty_from_clova};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{Document, GenerationType, Mode, Speaker, Turn, is_name};
use crate::clova::rendering;
use crate::http::{JsonBody, blocking, json};
use crate::nfc::nfc;
use crate::service::Served;
use crate::{ApiError, App, Caller, ErrorBody};

/// A document to render.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StudioRenderRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenderRequest {
    document: Document,
    /// Values of variables; where one is absent, the document's own.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Which of the document's variants.
    #[serde(default)]
    variant: Option<usize>,
}

/// What a model is asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioRendered)]
pub(crate) struct Rendered {
    /// The model that it is for.
    model: String,
    /// The free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn>>,
    /// Tokens of it, as the model gets it.
    tokens: usize,
    /// Tokens that prompt and answer may have together.
    context: usize,
    /// The variables that the document uses, in the order of their first use.
    variables: Vec<String>,
}

/// What a model is to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A text.
    Text(String),
    /// A conversation.
    Chat(Vec<Turn>),
}

/// Renders a document, for a look at what a model would get and how long it is.
#[utoipa::path(post, path = "/api/studio/render", operation_id = "studioRender", tag = "studio", request_body = RenderRequest,
    responses((status = 200, body = Rendered), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn render(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<RenderRequest>,
) -> Result<Response, ApiError> {
    let document = body.document.checked()?.variant(body.variant)?;
    let model = served(&app, &caller, &document)?;
    let names = document.used_variables();
    let given = composed(body.variables);
    let own = |name: &str| document.variables.iter().find(|variable| variable.name == name);
    let values = names.iter().map(|name| {
        let value = given.get(name).cloned().or_else(|| own(name).map(|variable| variable.value.clone()));
        (name.clone(), value.unwrap_or_default())
    });
    let asked = document.ask(&values.collect());
    let tokens = tokens(&model, asked.clone()).await?.len();
    let (prompt, messages) = match asked {
        Asked::Text(prompt) => (Some(prompt), None),
        Asked::Chat(messages) => (None, Some(messages)),
    };
    let (name, context) = (model.name().to_owned(), model.limits().context);
    Ok(json(StatusCode::OK, &Rendered { model: name, prompt, messages, tokens, context, variables: names }))
}

/// The model of a document, if this caller may use it.
///
/// # Errors
/// As [`App::model`].
pub(crate) fn served(app: &App, caller: &Caller, document: &Document) -> Result<Arc<Served>, ApiError> {
    let first = app.service().models().first().map(|model| model.name()).unwrap_or_default();
    let name = if document.model.is_empty() { first } else { &document.model };
    app.model(caller, name).map_err(|error| error.with_param("document.model"))
}

/// Values with names and texts composed.
pub(crate) fn composed(values: BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.into_iter().map(|(name, value)| (nfc(name), nfc(value))).collect()
}

/// What is asked, in the model's tokens.
///
/// # Errors
/// Where the model has no template, or it fails.
pub(crate) async fn tokens(model: &Served, asked: Asked) -> Result<Vec<u32>, ApiError> {
    let text = Arc::clone(model.text());
    blocking(move || match asked {
        Asked::Text(prompt) => Ok(text.prompt_tokens(&prompt)),
        Asked::Chat(turns) => {
            let messages: Vec<Message> =
                turns.into_iter().map(|turn| Message::new(turn.role.name(), turn.content)).collect();
            if messages.is_empty() {
                return Err(ApiError::invalid_value("document.messages", "The conversation has no message"));
            }
            Ok(text.chat_tokens(&messages, &rendering())?)
        }
    })
    .await
}

/// The request to the engine for what a document asks. Choices are compiled, so that the engine finds them ready.
///
/// # Errors
/// Where a template, a parameter or the choices cannot be used.
pub(crate) async fn request(model: &Arc<Served>, document: &Document, asked: Asked) -> Result<Request, ApiError> {
    let is_chat = matches!(asked, Asked::Chat(_));
    let prompt = tokens(model, asked).await?;
    let parameters = &document.parameters;
    let sampling = Sampling {
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k as usize,
        repetition_penalty: repetition_penalty_from_clova(parameters.repeat_penalty)?,
        seed: parameters.seed,
        ..Sampling::default()
    };
    let mut stop = parameters.stop.clone();
    let separator = document.examples.separator.trim();
    if !is_chat && document.generation == GenerationType::Examples && !separator.is_empty() {
        stop.push(separator.to_owned());
    }
    if is_chat {
        stop.extend(model.text().chat_stop_strings());
    }
    let constraint = match document.choices.as_slice() {
        [] => None,
        choices => {
            let unusable = |error| ApiError::constraint(&error, "document.choices");
            let constraint = Constraint::choice(choices).map_err(unusable)?;
            let (constraints, prepared) = (Arc::clone(model.constraints()), constraint.clone());
            blocking(move || constraints.prepare(&prepared).map_err(unusable)).await?;
            Some(constraint)
        }
    };
    Ok(Request {
        max_tokens: Some(parameters.max_tokens as usize),
        candidates: parameters.candidates as usize,
        stop,
        constraint,
        ..Request::new(prompt, sampling)
    })
}

impl Document {
    /// The names between double braces, in the order of their first use.
    pub(crate) fn used_variables(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for text in self.templates() {
            expand(text, &mut |name| {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                String::new()
            });
        }
        names
    }

    /// What a model is asked, with these values. A variable without one is empty.
    pub(crate) fn ask(&self, values: &BTreeMap<String, String>) -> Asked {
        let fill = |text: &str| expand(text, &mut |name| values.get(name).cloned().unwrap_or_default());
        let examples = (self.generation == GenerationType::Examples).then_some(&self.examples);
        match self.mode {
            Mode::Text => {
                let mut prompt = fill(&self.prompt);
                if let Some(examples) = examples {
                    if !prompt.is_empty() && !prompt.ends_with('\n') {
                        prompt.push('\n');
                    }
                    let (before_input, before_output) = (&examples.input_prefix, &examples.output_prefix);
                    for row in &examples.rows {
                        let (input, output, separator) = (&row.input, &row.output, &examples.separator);
                        prompt += &format!("{before_input}{input}\n{before_output}{output}{separator}");
                    }
                    // A blank at the end of a prompt is a token that the answer would begin with.
                    let before_output = before_output.trim_end();
                    prompt += &format!("{before_input}{}\n{before_output}", fill(&examples.input));
                }
                Asked::Text(prompt + &self.parameters.start)
            }
            Mode::Chat => {
                let turn = |role, content: String| Turn { role, content };
                let system = (!self.system.is_empty()).then(|| turn(Speaker::System, fill(&self.system)));
                let rows = examples.iter().flat_map(|examples| &examples.rows).flat_map(|row| {
                    [turn(Speaker::User, row.input.clone()), turn(Speaker::Assistant, row.output.clone())]
                });
                let messages = self.messages.iter().map(|message| turn(message.role, fill(&message.content)));
                let input = examples.map(|examples| turn(Speaker::User, fill(&examples.input)));
                Asked::Chat(system.into_iter().chain(rows).chain(messages).chain(input).collect())
            }
        }
    }

    /// Texts that may hold variables and are part of what is asked.
    fn templates(&self) -> Vec<&str> {
        let input = (self.generation == GenerationType::Examples).then_some(self.examples.input.as_str());
        match self.mode {
            Mode::Text => std::iter::once(self.prompt.as_str()).chain(input).collect(),
            Mode::Chat => {
                let messages = self.messages.iter().map(|turn| turn.content.as_str());
                std::iter::once(self.system.as_str()).chain(messages).chain(input).collect()
            }
        }
    }
}

/// The text with each `{{name}}` replaced by its value. Values are not looked at again, and braces around what is no
/// name stay.
pub(crate) fn expand(text: &str, value: &mut dyn FnMut(&str) -> String) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        expanded.push_str(before);
        match after.split_once("}}").filter(|(name, _)| is_name(name.trim())) {
            Some((name, after)) => {
                expanded.push_str(&value(name.trim()));
                rest = after;
            }
            None => {
                // The second brace may be the first of a name's.
                expanded.push('{');
                rest = rest.get(before.len() + 1..).unwrap_or_default();
            }
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(value: serde_json::Value) -> Document {
        serde_json::from_value(value).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_in_braces_are_replaced_once_and_everything_else_stays() {
        let fill = |text: &str| expand(text, &mut |name| format!("<{name}>"));
        assert_eq!(fill("{{a}} {{ 후기 }}{{b_1}}"), "<a> <후기><b_1>");
        assert_eq!(fill("{{{a}}} {{1a}} {{a b}} {a} }} {{"), "{<a>} {{1a}} {{a b}} {a} }} {{");
        assert_eq!(fill("{{ {{a}}"), "{{ <a>");
        assert_eq!(expand("{{a}}", &mut |_| "{{a}}".into()), "{{a}}");
    }

    #[test]
    fn free_text_is_rendered_as_documented() {
        let plain = document(json!({"mode": "text", "prompt": "요약: {{글}}", "parameters": {"start": "\n->"}}));
        assert_eq!(plain.ask(&values(&[("글", "봄")])), Asked::Text("요약: 봄\n->".into()));
        let shots = document(json!({
            "mode": "text", "generation": "examples", "prompt": "분류하세요.", "variables": [],
            "examples": {"input_prefix": "문장: ", "output_prefix": "분류: ", "separator": "\n###\n",
                "rows": [{"input": "재밌다 {{x}}", "output": "긍정"}], "input": "{{input}}"}
        }));
        assert_eq!(shots.used_variables(), ["input"]);
        assert_eq!(
            shots.ask(&values(&[("input", "지루하다")])),
            Asked::Text("분류하세요.\n문장: 재밌다 {{x}}\n분류: 긍정\n###\n문장: 지루하다\n분류:".into())
        );
    }

    #[test]
    fn a_conversation_is_rendered_as_documented() {
        let chat = document(json!({
            "system": "{{tone}}", "generation": "examples",
            "messages": [{"role": "user", "content": "{{q}} {{tone}}"}],
            "examples": {"rows": [{"input": "a", "output": "b"}], "input": "{{z}}"}
        }));
        assert_eq!(chat.used_variables(), ["tone", "q", "z"]);
        let Asked::Chat(turns) = chat.ask(&values(&[("tone", "kind"), ("q", "?"), ("z", "!")])) else { panic!() };
        let told: Vec<(&str, &str)> = turns.iter().map(|turn| (turn.role.name(), turn.content.as_str())).collect();
        assert_eq!(told, [("system", "kind"), ("user", "a"), ("assistant", "b"), ("user", "? kind"), ("user", "!")]);
    }
}
