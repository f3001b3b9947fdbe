//! Constrained decoding: text that is a JSON value of a schema, a match of a regular expression, one of a list, or a
//! sentence of a grammar, whatever the model would rather say.
//!
//! A [`Constraint`] says what is wanted, independent of any model. [`Constraints`] belongs to one tokenizer; it turns
//! a constraint into an automaton over that tokenizer's tokens. While a text grows, the automaton tells before each
//! draw which tokens can still lead to an allowed text, all others lose their probability, and the end token is among
//! the allowed ones only where the text may end. So every finished text is valid, however small the model; a text cut
//! by the limit of tokens is a valid beginning and nothing more.
//!
//! # The key decision: bytes, not characters
//!
//! The automaton (of the crate `llguidance`: derivatives of regular expressions for the words, an Earley parser for
//! the sentences) reads bytes, and the tokens are a trie of bytes that is built once per tokenizer. A token that holds
//! half a Hangul syllable is therefore nothing special: it is allowed where its bytes can begin an allowed syllable,
//! and after it only tokens that finish one are.
//!
//! # What hostile input can do
//!
//! Schemas, expressions and grammars come from users. Their size and depth are limited here, before anything is built;
//! building has fuel, a limit of time and a thread of its own with a stack to match; and each step has fuel as well.
//! Whatever runs out ends the request with a [`ConstraintError`] and nothing else.
//!
//! ```
//! use saem_engine::constraint::Constraint;
//! let colour = Constraint::choice(["빨강", "파랑"])?;
//! let person = Constraint::json_schema(&serde_json::json!({
//!     "type": "object",
//!     "properties": {"name": {"type": "string", "maxLength": 40}, "age": {"type": "integer", "minimum": 0}},
//!     "required": ["name", "age"],
//!     "additionalProperties": false,
//! }))?;
//! let error = Constraint::json_schema(&serde_json::json!({"properties": {"tags": {"uniqueItems": true}}}));
//! assert_eq!(error.unwrap_err().to_string(), "the schema's keyword `uniqueItems` at /properties/tags is not supported");
//! # Ok::<(), saem_engine::constraint::ConstraintError>(())
//! ```

mod compiler;
mod error;
mod guide;
mod schema;

use std::fmt::Write as _;
use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde_json::{Value, json};

pub use compiler::{COMPILE_TIME, Constraints};
pub use error::ConstraintError;
pub(crate) use guide::{Guide, only_token, restrict};
pub(crate) use schema::checked as checked_schema;
pub use schema::{MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH};

/// Bytes that a regular expression may have.
pub const MAX_REGEX_BYTES: usize = 4 << 10;
/// Bytes that a grammar may have.
pub const MAX_GRAMMAR_BYTES: usize = 64 << 10;
/// Entries that a list of choices may have.
pub const MAX_CHOICES: usize = 1_000;
/// Bytes that all choices may have together.
pub const MAX_CHOICE_BYTES: usize = 64 << 10;

/// What a text must be. Cheap to clone; equal constraints share their automaton (see [`Constraints`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint(Arc<Source>);

/// A constraint as it was written, in a form that tells equal ones apart from others.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Source {
    /// A schema, checked, as JSON text.
    Schema(String),
    Regex(String),
    /// A grammar in llguidance's dialect of Lark.
    Grammar(String),
}

impl Constraint {
    /// A JSON value of this schema (drafts 4 to 2020-12).
    ///
    /// Keywords that say nothing about validity are passed over. Properties come in the order of the schema.
    /// Between the parts of the value there is at most one blank or one line break with its indentation, so that no
    /// model can write blanks for ever.
    ///
    /// # Errors
    /// [`ConstraintError`] where the schema is too large or too deep, or uses a keyword that cannot be kept; more is
    /// found when it is compiled.
    pub fn json_schema(schema: &Value) -> Result<Self, ConstraintError> {
        Ok(Self(Arc::new(Source::Schema(schema::checked(schema)?.to_string()))))
    }

    /// Any JSON object.
    #[must_use]
    pub fn json_object() -> Self {
        // Within all limits by its looks.
        let schema = schema::with_options(json!({"type": "object"}));
        Self(Arc::new(Source::Schema(schema.to_string())))
    }

    /// A text that matches the expression from beginning to end (syntax of the crate `regex`; look-around and
    /// back-references do not exist there). `^` at the beginning and `$` at the end are allowed and change nothing.
    ///
    /// # Errors
    /// [`ConstraintError`] where the expression is empty or too long.
    pub fn regex(expression: &str) -> Result<Self, ConstraintError> {
        within("regular expression", expression.len(), MAX_REGEX_BYTES)?;
        let start = expression.strip_prefix('^').unwrap_or(expression);
        let inner = match start.strip_suffix('$') {
            // An odd number of backslashes makes the dollar a character.
            Some(inner) if inner.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => inner,
            _ => start,
        };
        if inner.is_empty() {
            return Err(ConstraintError::Empty { what: "regular expression" });
        }
        Ok(Self(Arc::new(Source::Regex(inner.to_owned()))))
    }

    /// Exactly one of these texts, for classification.
    ///
    /// # Errors
    /// [`ConstraintError`] where there is none, one is empty, or they are too many or too long.
    pub fn choice<T: AsRef<str>>(choices: impl IntoIterator<Item = T>) -> Result<Self, ConstraintError> {
        let (mut count, mut bytes) = (0, 0);
        let mut grammar = String::from("start: ");
        for choice in choices {
            let choice = choice.as_ref();
            count += 1;
            bytes += choice.len();
            within("list of choices", count, MAX_CHOICES)?;
            within("list of choices (bytes)", bytes, MAX_CHOICE_BYTES)?;
            if choice.is_empty() {
                return Err(ConstraintError::Empty { what: "choice" });
            }
            let separator = if count > 1 { " | " } else { "" };
            // A JSON string is a string of Lark.
            let _infallible = write!(grammar, "{separator}{}", Value::from(choice));
        }
        if count == 0 {
            return Err(ConstraintError::Empty { what: "list of choices" });
        }
        Ok(Self(Arc::new(Source::Grammar(grammar))))
    }

    /// A sentence of a grammar in llguidance's dialect of Lark; its rule `start` is the whole text.
    ///
    /// # Errors
    /// [`ConstraintError`] where the grammar is empty or too long.
    pub fn lark(grammar: &str) -> Result<Self, ConstraintError> {
        within("grammar", grammar.len(), MAX_GRAMMAR_BYTES)?;
        if grammar.trim().is_empty() {
            return Err(ConstraintError::Empty { what: "grammar" });
        }
        Ok(Self(Arc::new(Source::Grammar(grammar.to_owned()))))
    }

    /// A grammar that Saem wrote itself, from parts that were checked.
    pub(crate) fn trusted_grammar(grammar: String) -> Self {
        Self(Arc::new(Source::Grammar(grammar)))
    }

    /// The same for llguidance.
    fn grammar(&self) -> Result<TopLevelGrammar, ConstraintError> {
        let grammar = match &*self.0 {
            Source::Schema(text) => {
                let schema = serde_json::from_str(text).map_err(|error| ConstraintError::refused("schema", &error))?;
                GrammarWithLexer::from_json_schema(schema)
            }
            Source::Regex(expression) => GrammarWithLexer::from_regex(expression),
            Source::Grammar(grammar) => GrammarWithLexer::from_lark(grammar.clone()),
        };
        Ok(TopLevelGrammar::from_grammar(grammar))
    }

    /// What users call it.
    fn kind(&self) -> &'static str {
        match &*self.0 {
            Source::Schema(_) => "schema",
            Source::Regex(_) => "regular expression",
            Source::Grammar(_) => "grammar",
        }
    }
}

fn within(what: &'static str, size: usize, most: usize) -> Result<(), ConstraintError> {
    if size > most { Err(ConstraintError::TooLarge { what, size, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_what_is_too_large() {
        let message = |result: Result<Constraint, ConstraintError>| result.unwrap_err().to_string();
        assert_eq!(
            message(Constraint::regex(&"a".repeat(5_000))),
            "the regular expression is too large: 5000 (at most 4096)"
        );
        assert_eq!(message(Constraint::regex("^$")), "the regular expression is empty");
        assert_eq!(message(Constraint::choice([""])), "the choice is empty");
        assert_eq!(message(Constraint::choice::<&str>([])), "the list of choices is empty");
        assert!(Constraint::choice(vec!["x"; 1_001]).is_err());
        assert!(Constraint::choice(["x".repeat(70_000)]).is_err());
        assert!(Constraint::lark(&"x".repeat(70_000)).is_err());
        assert!(Constraint::lark(" \n").is_err());
    }

    #[test]
    fn anchors_are_stripped_but_not_an_escaped_dollar() {
        let inner = |expression| match &*Constraint::regex(expression).unwrap().0 {
            Source::Regex(inner) => inner.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(inner("^a+$"), "a+");
        assert_eq!(inner(r"a\$"), r"a\$");
        assert_eq!(inner(r"a\\$"), r"a\\");
    }

    #[test]
    fn equal_constraints_are_equal() {
        assert_eq!(Constraint::choice(["a", "b"]).unwrap(), Constraint::choice(["a", "b"]).unwrap());
        assert_ne!(Constraint::choice(["a", "b"]).unwrap(), Constraint::choice(["b", "a"]).unwrap());
        assert_ne!(Constraint::regex("a").unwrap(), Constraint::lark("a").unwrap());
    }
}
