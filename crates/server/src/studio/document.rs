//! The state of a playground, as projects keep it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ApiError;
use crate::nfc::nfc;
use saem_engine::StopMatcher;

/// Bytes of JSON that a page may keep for itself.
const LONGEST_UI: usize = 64 << 10;
/// The largest seed.
const MAX_SEED: u64 = 4_294_967_295;

/// The state of a playground. Every field may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioDocument)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Document {
    /// A conversation, or free text.
    pub(crate) mode: Mode,
    /// What is done with an answer; `examples` puts rows of input and output before the input.
    pub(crate) generation: GenerationType,
    /// Name of a model of `/v1/models`; the first one served where empty.
    #[schema(max_length = 256)]
    pub(crate) model: String,
    /// The system message of a conversation.
    pub(crate) system: String,
    /// The free text. May hold `{{variables}}`.
    pub(crate) prompt: String,
    /// The conversation. May hold `{{variables}}`.
    #[schema(max_items = 500)]
    pub(crate) messages: Vec<Turn>,
    /// Rows of input and output.
    pub(crate) examples: Examples,
    /// Variables with values to try.
    #[schema(max_items = 64)]
    pub(crate) variables: Vec<Variable>,
    /// How tokens are chosen.
    pub(crate) parameters: Parameters,
    /// The position of the switch that the parameters came from.
    pub(crate) preset: Option<Preset>,
    /// The answer must be one of these; anything where empty.
    #[schema(max_items = 1000)]
    pub(crate) choices: Vec<String>,
    /// What the document is compared with.
    #[schema(max_items = 3)]
    pub(crate) variants: Vec<Variant>,
    /// The page's own state, which the server does not read.
    #[schema(value_type = Object)]
    pub(crate) ui: Map<String, Value>,
}

/// A conversation, or free text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioMode)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// A conversation.
    #[default]
    Chat,
    /// Free text.
    Text,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Text => "text",
        }
    }
}

/// What is done with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioGenerationType)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GenerationType {
    /// It is appended, and the text goes on.
    Rolling,
    /// It is shown, and the prompt stays.
    #[default]
    OneTime,
    /// Several are shown beside each other.
    Multiple,
    /// Rows of input and output come before the input.
    Examples,
}

/// A switch with two positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioPreset)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// The same answer again.
    Consistency,
    /// Another answer each time.
    Creativity,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTurn)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// Who speaks.
    pub(crate) role: Speaker,
    /// What they say.
    pub(crate) content: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioSpeaker)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speaker {
    /// Instructions; only in what is rendered.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Rows of input and output, and how they are written in free text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioExamples)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Examples {
    /// Before each input.
    pub(crate) input_prefix: String,
    /// Before each output.
    pub(crate) output_prefix: String,
    /// After each row.
    pub(crate) separator: String,
    /// The rows.
    #[schema(max_items = 1000)]
    pub(crate) rows: Vec<Example>,
    /// The new input. May hold `{{variables}}`.
    pub(crate) input: String,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioExample)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Example {
    /// What comes in.
    pub(crate) input: String,
    /// What is to come out.
    pub(crate) output: String,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioVariable)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Variable {
    /// Letters, digits and `_`.
    #[schema(max_length = 64)]
    pub(crate) name: String,
    /// A value to try.
    pub(crate) value: String,
    /// What it is for.
    pub(crate) description: String,
}

/// How tokens are chosen, on CLOVA Studio's scales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioParameters)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parameters {
    /// Spread of the choice; 0 always takes the most probable token.
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) temperature: f32,
    /// Mass of the most probable tokens that are drawn from; above 0.
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) top_p: f32,
    /// How many of the most probable tokens are drawn from; 0 for all.
    #[schema(maximum = 128)]
    pub(crate) top_k: u32,
    /// The most tokens of an answer.
    #[schema(minimum = 1, maximum = 32768)]
    pub(crate) max_tokens: u32,
    /// Against repetition: 0 is off; `repetition_penalty` of the other APIs is 1 + this / 50.
    #[schema(minimum = 0, maximum = 10)]
    pub(crate) repeat_penalty: f32,
    /// Texts that end an answer.
    #[schema(max_items = 16)]
    pub(crate) stop: Vec<String>,
    /// The same seed gives the same answer.
    #[schema(maximum = 4_294_967_295_u64)]
    pub(crate) seed: Option<u64>,
    /// Answers to one prompt.
    #[schema(minimum = 1, maximum = 8)]
    pub(crate) candidates: u32,
    /// Put after free text, before the model writes.
    pub(crate) start: String,
    /// Put after an answer by the page.
    pub(crate) restart: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            temperature: 0.5,
            top_p: 0.8,
            top_k: 0,
            max_tokens: 100,
            repeat_penalty: 5.0,
            stop: Vec::new(),
            seed: None,
            candidates: 1,
            start: String::new(),
            restart: String::new(),
        }
    }
}

/// A document that differs in some fields. What is absent is as in the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioVariant)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Variant {
    /// What it is called.
    pub(crate) name: String,
    /// Another model.
    pub(crate) model: Option<String>,
    /// Another text.
    pub(crate) prompt: Option<String>,
    /// Another system message.
    pub(crate) system: Option<String>,
    /// Other parameters, all of them.
    pub(crate) parameters: Option<Parameters>,
}

impl Document {
    /// The document with its texts composed, if it is one.
    ///
    /// # Errors
    /// 400 with the field that is wrong, below `document`.
    pub(crate) fn checked(mut self) -> Result<Self, ApiError> {
        self.texts(&mut |text| *text = nfc(std::mem::take(text)));
        within("model", self.model.len(), 0, 256)?;
        within("messages", self.messages.len(), 0, 500)?;
        if self.messages.iter().any(|turn| turn.role == Speaker::System) {
            return Err(wrong("messages", "the system message has a field of its own: `system`"));
        }
        within("examples.rows", self.examples.rows.len(), 0, 1000)?;
        within("variables", self.variables.len(), 0, 64)?;
        for (index, variable) in self.variables.iter().enumerate() {
            if !is_name(&variable.name) {
                let field = format!("variables[{index}].name");
                return Err(wrong(&field, "must be 1 to 64 letters, digits and _, and begin with no digit"));
            }
            if self.variables.iter().take(index).any(|other| other.name == variable.name) {
                return Err(wrong(&format!("variables[{index}].name"), "is there twice"));
            }
        }
        within("choices", self.choices.len(), 0, 1000)?;
        within("variants", self.variants.len(), 0, 3)?;
        self.parameters.check("parameters")?;
        for (index, variant) in self.variants.iter().enumerate() {
            if let Some(parameters) = &variant.parameters {
                parameters.check(&format!("variants[{index}].parameters"))?;
            }
        }
        if Value::from(self.ui.clone()).to_string().len() > LONGEST_UI {
            return Err(wrong("ui", "must be at most 64 KiB of JSON"));
        }
        Ok(self)
    }

    /// The document as one of its variants.
    ///
    /// # Errors
    /// 400 where it has no such variant.
    pub(crate) fn variant(mut self, index: Option<usize>) -> Result<Self, ApiError> {
        let Some(index) = index else { return Ok(self) };
        let Some(variant) = self.variants.get(index).cloned() else {
            return Err(ApiError::invalid_value(
                "variant",
                format!("The document has {} variants", self.variants.len()),
            ));
        };
        self.model = variant.model.unwrap_or(self.model);
        self.prompt = variant.prompt.unwrap_or(self.prompt);
        self.system = variant.system.unwrap_or(self.system);
        self.parameters = variant.parameters.unwrap_or(self.parameters);
        Ok(self)
    }

    /// What is stored.
    ///
    /// # Errors
    /// Never: no map of it has keys that are no strings.
    pub(crate) fn to_value(&self) -> Result<Value, ApiError> {
        // By way of text, which writes 0.8 as it came in and not as the nearest float of twice the length.
        let text = serde_json::to_string(self).map_err(|_| ApiError::internal())?;
        serde_json::from_str(&text).map_err(|_| ApiError::internal())
    }

    /// What was stored.
    ///
    /// # Errors
    /// 500 where a later version of Saem stored it.
    pub(crate) fn from_value(value: Value) -> Result<Self, ApiError> {
        serde_json::from_value(value).map_err(|error| {
            tracing::error!(error = %error, "a stored document cannot be read");
            ApiError::internal()
        })
    }

    fn texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        for text in [&mut self.model, &mut self.system, &mut self.prompt] {
            change(text);
        }
        self.messages.iter_mut().for_each(|turn| change(&mut turn.content));
        let examples = &mut self.examples;
        for text in
            [&mut examples.input_prefix, &mut examples.output_prefix, &mut examples.separator, &mut examples.input]
        {
            change(text);
        }
        for row in &mut examples.rows {
            change(&mut row.input);
            change(&mut row.output);
        }
        for variable in &mut self.variables {
            change(&mut variable.name);
            change(&mut variable.value);
            change(&mut variable.description);
        }
        self.choices.iter_mut().for_each(&mut *change);
        self.parameters.texts(change);
        for variant in &mut self.variants {
            change(&mut variant.name);
            for text in [&mut variant.model, &mut variant.prompt, &mut variant.system].into_iter().flatten() {
                change(text);
            }
            if let Some(parameters) = &mut variant.parameters {
                parameters.texts(change);
            }
        }
    }
}

impl Parameters {
    fn texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        self.stop.iter_mut().for_each(&mut *change);
        change(&mut self.start);
        change(&mut self.restart);
    }

    fn check(&self, at: &str) -> Result<(), ApiError> {
        let field = |name: &str| format!("{at}.{name}");
        within(&field("temperature"), self.temperature, 0.0, 2.0)?;
        within(&field("top_p"), self.top_p, f32::MIN_POSITIVE, 1.0)?;
        within(&field("top_k"), self.top_k, 0, 128)?;
        within(&field("max_tokens"), self.max_tokens, 1, 32_768)?;
        within(&field("repeat_penalty"), self.repeat_penalty, 0.0, 10.0)?;
        within(&field("seed"), self.seed.unwrap_or(0), 0, MAX_SEED)?;
        within(&field("candidates"), self.candidates, 1, 8)?;
        StopMatcher::new(&self.stop).map(drop).map_err(|error| wrong(&field("stop"), &error.to_string()))
    }
}

/// Whether a variable can be called this.
pub(crate) fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
        && name.chars().count() <= 64
}

fn wrong(field: &str, reason: &str) -> ApiError {
    ApiError::invalid_value(format!("document.{field}"), format!("`{field}` {reason}"))
}

fn within<T: PartialOrd + std::fmt::Display>(field: &str, value: T, least: T, most: T) -> Result<(), ApiError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(wrong(field, &format!("is {value} (allowed: {least} to {most})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Document, ApiError> {
        crate::http::parse::<Document>(value.to_string().as_bytes())?.checked()
    }

    #[test]
    fn what_is_absent_has_the_documented_value_and_what_is_saved_reads_the_same() {
        let document = read(json!({})).unwrap();
        assert_eq!((document.mode, document.generation), (Mode::Chat, GenerationType::OneTime));
        assert_eq!((document.parameters.max_tokens, document.parameters.repeat_penalty), (100, 5.0));
        let value = document.to_value().unwrap();
        assert_eq!(value["parameters"]["top_p"].to_string(), "0.8");
        assert_eq!(Document::from_value(value).unwrap(), document);
        let composed = read(json!({"prompt": "\u{1109}\u{1162}\u{11b7}"})).unwrap();
        assert_eq!(composed.prompt, "샘");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |value: Value| read(value).unwrap_err().param.unwrap();
        assert_eq!(field(json!({"parameters": {"top_p": 0}})), "document.parameters.top_p");
        assert_eq!(field(json!({"parameters": {"stop": [""]}})), "document.parameters.stop");
        assert_eq!(field(json!({"variables": [{"name": "a b"}]})), "document.variables[0].name");
        assert_eq!(field(json!({"variables": [{"name": "a"}, {"name": "a"}]})), "document.variables[1].name");
        assert_eq!(
            field(json!({"variants": [{"parameters": {"seed": 4294967296_u64}}]})),
            "document.variants[0].parameters.seed"
        );
        assert_eq!(field(json!({"ui": {"x": "x".repeat(70_000)}})), "document.ui");
        assert_eq!(field(json!({"messages": [{"role": "system", "content": ""}]})), "document.messages");
        assert_eq!(field(json!({"promt": ""})), "promt");
    }

    #[test]
    fn a_variant_differs_in_what_it_names() {
        let document = json!({"prompt": "a", "model": "m", "variants": [{"name": "B", "prompt": "b"}]});
        let document = read(document).unwrap();
        let variant = document.clone().variant(Some(0)).unwrap();
        assert_eq!((variant.prompt.as_str(), variant.model.as_str()), ("b", "m"));
        assert_eq!(document.variant(Some(1)).unwrap_err().param.as_deref(), Some("variant"));
    }
}
