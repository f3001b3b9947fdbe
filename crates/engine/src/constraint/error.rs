//! What can be wrong with a constraint.

/// A constraint that cannot be kept: too large, not supported, impossible, or too costly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// Larger than what is read at all.
    #[error("the {what} is too large: {size} (at most {most})")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The largest that is taken.
        most: usize,
    },
    /// Nothing where something is needed.
    #[error("the {what} is empty")]
    Empty {
        /// Which part.
        what: &'static str,
    },
    /// A keyword of JSON Schema that no automaton of Saem's keeps.
    #[error("the schema's keyword `{keyword}` at {pointer} is not supported")]
    Keyword {
        /// The keyword.
        keyword: String,
        /// The schema that holds it, as a JSON pointer; `/` is the whole.
        pointer: String,
    },
    /// The constraint is malformed, or asks for something that is not supported.
    #[error("the {what} cannot be used: {reason}")]
    Refused {
        /// `schema`, `regular expression` or `grammar`.
        what: &'static str,
        /// What is wrong, in the compiler's words.
        reason: String,
    },
    /// No text fulfils the constraint.
    #[error("nothing fulfils the {what}: {reason}")]
    Unsatisfiable {
        /// `schema`, `regular expression` or `grammar`.
        what: &'static str,
        /// Why, in the compiler's words.
        reason: String,
    },
    /// Building the automaton, or one step of it, takes more than it may.
    #[error("the {what} is too complex: {reason}")]
    TooComplex {
        /// `schema`, `regular expression`, `grammar` or `constraint`.
        what: &'static str,
        /// Which limit was met.
        reason: String,
    },
    /// Too many constraints are being built at once.
    #[error("{running} constraints are being prepared already; try again")]
    Busy {
        /// How many.
        running: usize,
    },
    /// The vocabulary has no token that could continue the text; only vocabularies without all bytes come here.
    #[error("no token of the model continues the constrained text")]
    DeadEnd,
}

impl ConstraintError {
    /// A message of the compiler as an error.
    pub(super) fn refused(what: &'static str, error: &dyn std::fmt::Display) -> Self {
        let reason = shortened(&error.to_string());
        let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        if has(&["Unsatisfiable", "unsatisfiable"]) {
            return Self::Unsatisfiable { what, reason };
        }
        if has(&["too large", "too big", "too many", "too complex", "fuel", "limit", "exceeded", "stack level"]) {
            return Self::TooComplex { what, reason };
        }
        Self::Refused { what, reason }
    }
}

/// The first line of a message; what llguidance adds to it are states of its parser. A regular expression's mistake
/// is drawn below that line, and named by the last one.
fn shortened(message: &str) -> String {
    const MOST: usize = 300;
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let named = lines.find_map(|line| line.strip_prefix("error: ")).filter(|_| first.ends_with(':'));
    let line = named.map_or_else(|| first.to_owned(), |named| format!("{first} {named}"));
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
