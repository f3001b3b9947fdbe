//! What can be wrong with a tokenizer file.

use thiserror::Error;

/// Why a tokenizer could not be built. Every variant names the value at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is not JSON, or a field has the wrong type.
    #[error("tokenizer.json: {0}")]
    Json(#[from] serde_json::Error),
    /// The vocabulary has no tokens.
    #[error("the vocabulary is empty")]
    EmptyVocabulary,
    /// A component or option which this crate does not implement.
    #[error("{component} `{name}` is not supported")]
    Unsupported {
        /// The kind of component, such as `pre-tokenizer`.
        component: &'static str,
        /// Its name in the file.
        name: String,
    },
    /// A token id is out of proportion to the size of the vocabulary.
    #[error("token id {id} of `{token}` is beyond the limit of {limit} for a vocabulary of this size")]
    IdOutOfRange {
        /// The spelling of the token.
        token: String,
        /// Its id.
        id: u64,
        /// The first id that is refused.
        limit: u64,
    },
    /// Two tokens claim one id.
    #[error("token id {id} is claimed by `{first}` and by `{second}`")]
    DuplicateId {
        /// The id.
        id: u32,
        /// The token that came first.
        first: String,
        /// The token that came later.
        second: String,
    },
    /// A merge names a token which the vocabulary lacks.
    #[error("merge {index} (`{merge}`): `{token}` is not in the vocabulary")]
    MergeOutOfVocabulary {
        /// The position in the list of merges.
        index: usize,
        /// The merge as written.
        merge: String,
        /// The missing token.
        token: String,
    },
    /// A merge is not two pieces with one space between them.
    #[error("merge {index} (`{merge}`) is not a pair of tokens")]
    MalformedMerge {
        /// The position in the list of merges.
        index: usize,
        /// The merge as written.
        merge: String,
    },
    /// A list has the wrong number of entries.
    #[error("{what}: {found} entries for {expected} tokens")]
    Length {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A special token that the file relies on is missing from the vocabulary.
    #[error("{what} `{token}` is not in the vocabulary")]
    MissingToken {
        /// What the token is for.
        what: &'static str,
        /// Its spelling or id.
        token: String,
    },
    /// A regular expression does not compile.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What the compiler said.
        reason: String,
    },
    /// A field has a value that makes no sense.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
