//! What can be wrong with a chat template or the messages it is given.

/// A template that is wrong, that refuses its messages, or that uses more than it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is not valid Jinja.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// Line of the mistake, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template uses a part of Jinja that chat templates have no need of.
    #[error("chat template: {what} is not supported")]
    Unsupported {
        /// Which part.
        what: String,
    },
    /// The template refuses the messages by `raise_exception`.
    #[error("the chat template refuses these messages: {message}")]
    Refused {
        /// The template's words.
        message: String,
    },
    /// The template does something that cannot be done with the values at hand.
    #[error("chat template, line {line}: {message}")]
    Failed {
        /// Line of the template, from 1 (0 where it is not known).
        line: usize,
        /// What failed.
        message: String,
    },
    /// The template, or what it makes, is larger than it may be: it does not end, or it is hostile.
    #[error("the chat template exceeds its limit of {limit} {what}")]
    Exceeded {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: u64,
    },
}
