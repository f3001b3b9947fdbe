//! From messages to the text that a model was trained to continue.
//!
//! A chat template is a program in Jinja that comes with the model's file, so it is untrusted. It runs in minijinja,
//! without access to files or to other templates, and everything it does is metered: instructions by fuel, memory and
//! comparisons by a budget (see `budget`), nesting by a limit, and the machine's stack by a thread of its own.
//!
//! ```
//! use saem_engine::chat::{ChatTemplate, Message, RenderOptions};
//! let template = ChatTemplate::new("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}")?;
//! let messages = [Message::new("user", "안녕하세요?")];
//! assert_eq!(template.render(&messages, &RenderOptions::default())?, "<user>안녕하세요?\n");
//! # Ok::<(), saem_engine::chat::TemplateError>(())
//! ```
//!
//! What renders differently from Hugging Face's Jinja is a defect; `tests/fixtures/chat` holds renderings of theirs.

mod budget;
mod builtin;
mod environment;
mod error;
mod json;
mod marks;
mod operations;
mod prepare;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Zoned;
use minijinja::value::Serde;
use minijinja::{AutoEscape, ErrorKind, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use budget::Budget;
pub use builtin::Builtin;
pub use error::TemplateError;
pub use marks::{Marked, mark_special};

/// Instructions that any template may run; legitimate ones need a few thousand.
const BASE_FUEL: u64 = 300_000;
/// Instructions that each further message allows.
const FUEL_PER_MESSAGE: u64 = 3_000;
/// Bytes that any template may make.
const BASE_BYTES: u64 = 16 << 20;
/// Bytes that each byte of the messages allows: templates copy and trim them a few times.
const BYTES_PER_BYTE: u64 = 64;
/// The most bytes that may be made however long the messages are.
const MAX_BYTES: u64 = 1 << 30;
/// Stack of the thread that compiles and renders. Only touched pages are backed by memory.
const STACK_BYTES: usize = 16 << 20;

/// One message of a conversation, in the shape of OpenAI's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or whatever the template knows.
    pub role: String,
    /// The text; templates of models with other senses take a list of parts.
    #[serde(default)]
    pub content: Json,
    /// Everything else, such as `tool_calls`, `name` or `reasoning_content`.
    #[serde(flatten)]
    pub extra: Map<String, Json>,
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: Json::String(content.into()), extra: Map::new() }
    }
}

/// What a template is given beside the messages.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// End with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Functions that the model may call, in OpenAI's shape.
    pub tools: Option<Json>,
    /// Documents for retrieval.
    pub documents: Option<Json>,
    /// Variables by name, such as `enable_thinking`. They win over everything above except `messages`.
    pub variables: BTreeMap<String, Json>,
    /// What `strftime_now` takes for now.
    pub now: Option<Zoned>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, tools: None, documents: None, variables: BTreeMap::new(), now: None }
    }
}

/// A chat template, checked and ready to render.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    /// The source after `prepare::adapt`.
    source: String,
    builtin: Option<Builtin>,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Takes a template's source.
    ///
    /// # Errors
    /// [`TemplateError`] where it is no Jinja, too large, or uses tags that chat templates have no need of.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let source = on_own_stack(|| {
            let adapted = prepare::adapt(source)?;
            prepare::compile(&adapted)?;
            Ok(adapted)
        })?;
        Ok(Self { source, builtin: None, bos_token: None, eos_token: None })
    }

    /// One of the templates that Saem brings along.
    ///
    /// # Errors
    /// None in practice: the tests render all of them.
    pub fn builtin(builtin: Builtin) -> Result<Self, TemplateError> {
        Ok(Self { builtin: Some(builtin), ..Self::new(builtin.source())? })
    }

    /// Sets the variables `bos_token` and `eos_token`.
    #[must_use]
    pub fn with_tokens(mut self, bos_token: Option<String>, eos_token: Option<String>) -> Self {
        (self.bos_token, self.eos_token) = (bos_token, eos_token);
        self
    }

    /// Which of Saem's own templates this is; `None` for a model's.
    #[must_use]
    pub fn origin(&self) -> Option<Builtin> {
        self.builtin
    }

    /// The program itself, as it is compiled.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// [`TemplateError`] where the template refuses the messages, fails, or exceeds its limits.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, TemplateError> {
        let context = self.context(messages, options);
        let input_bytes = size(&context, 0)?;
        let bytes = BASE_BYTES.max(input_bytes.saturating_mul(BYTES_PER_BYTE)).min(MAX_BYTES);
        let fuel = BASE_FUEL + FUEL_PER_MESSAGE * messages.len() as u64;
        let now = options.now.clone().unwrap_or_else(Zoned::now);
        on_own_stack(|| {
            let budget = Arc::new(Budget::new(bytes));
            let instructions = prepare::compile(&self.source)?;
            let blocks = BTreeMap::new();
            let environment = environment::environment(&budget, fuel, &now);
            let mut rendered = String::new();
            let mut output = minijinja::machinery::make_string_output(&mut rendered);
            let context = Value::from(Serde(&context));
            let result = minijinja::machinery::eval(
                &environment,
                &instructions,
                context,
                &blocks,
                &mut output,
                AutoEscape::None,
            );
            match result.map(drop) {
                Ok(()) => Ok(rendered),
                Err(error) => Err(explain(&error, &budget, fuel)),
            }
        })
    }

    /// The variables of the template, as `transformers` sets them.
    fn context(&self, messages: &[Message], options: &RenderOptions) -> Json {
        let mut context = Map::new();
        context.insert("tools".into(), options.tools.clone().unwrap_or(Json::Null));
        context.insert("documents".into(), options.documents.clone().unwrap_or(Json::Null));
        context.insert("add_generation_prompt".into(), Json::Bool(options.add_generation_prompt));
        for (name, token) in [("bos_token", &self.bos_token), ("eos_token", &self.eos_token)] {
            if let Some(token) = token {
                context.insert(name.into(), Json::String(token.clone()));
            }
        }
        for (name, value) in &options.variables {
            context.insert(name.clone(), value.clone());
        }
        let messages = messages.iter().map(|message| {
            let mut fields = Map::new();
            fields.insert("role".into(), Json::String(message.role.clone()));
            fields.insert("content".into(), message.content.clone());
            fields.extend(message.extra.clone());
            Json::Object(fields)
        });
        context.insert("messages".into(), Json::Array(messages.collect()));
        Json::Object(context)
    }
}

/// Bytes of a JSON value, roughly, and a check of its depth.
fn size(value: &Json, depth: usize) -> Result<u64, TemplateError> {
    // Less than what values may have, so that a template can wrap what it is given.
    const MAX_INPUT_DEPTH: usize = budget::MAX_DEPTH / 2;
    if depth > MAX_INPUT_DEPTH {
        return Err(TemplateError::Exceeded { what: "nested values in a message", limit: MAX_INPUT_DEPTH as u64 });
    }
    Ok(match value {
        Json::String(text) => text.len() as u64,
        Json::Array(items) => items.iter().try_fold(8, |sum, item| Ok(sum + size(item, depth + 1)?))?,
        Json::Object(items) => {
            items.iter().try_fold(8, |sum, (key, item)| Ok(sum + key.len() as u64 + size(item, depth + 1)?))?
        }
        _ => 8,
    })
}

/// Runs `job` where the stack is large enough for everything the limits allow.
fn on_own_stack<T: Send>(job: impl FnOnce() -> Result<T, TemplateError> + Send) -> Result<T, TemplateError> {
    let failed = |message: &str| Err(TemplateError::Failed { line: 0, message: message.to_owned() });
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("saem-template".into()).stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, job) {
            Ok(handle) => handle.join().unwrap_or_else(|_| failed("the template engine failed")),
            Err(error) => failed(&format!("no thread can be started: {error}")),
        }
    })
}

/// Makes one clear error of what minijinja says and of what the budget knows.
fn explain(error: &minijinja::Error, budget: &Budget, fuel: u64) -> TemplateError {
    if let Some(reason) = budget.reason() {
        return reason;
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::Exceeded { what: "steps", limit: fuel };
    }
    let message =
        error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    if message.contains("recursion limit") {
        let limit = environment::RECURSION_LIMIT as u64;
        return TemplateError::Exceeded { what: "levels of nesting", limit };
    }
    TemplateError::Failed { line: error.line().unwrap_or(0), message }
}
