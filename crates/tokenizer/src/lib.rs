//! Text to token ids and back, with the very ids that the model was trained on.
//!
//! A language model reads numbers. Which numbers a text becomes is decided by a pipeline of small steps that differs
//! from model to model in ways that matter: split a number elsewhere, or miss one merge, and the model reads a text it
//! has never seen. So this crate has one aim above speed: **the same ids as the reference**, which is the `tokenizers`
//! library for `tokenizer.json` and llama.cpp for GGUF files. `scripts/tokenizer-parity.py` compares them on megabytes
//! of Korean, English, code, emoji, lone jamo, broken UTF-8 and every code point there is.
//!
//! ```
//! use saem_tokenizer::{Parts, Tokenizer};
//!
//! # fn main() -> Result<(), saem_tokenizer::TokenizerError> {
//! // Usually these come from a GGUF file; or use `Tokenizer::from_json`.
//! let tokens = ["h", "i", "Ġ", "hi", "Ġhi", "<|end|>"];
//! let tokenizer = Tokenizer::from_parts(Parts {
//!     pre: "gpt-2".to_owned(),
//!     tokens: tokens.iter().map(|token| token.as_bytes().into()).collect(),
//!     token_types: vec![1, 1, 1, 1, 1, 3],
//!     merges: vec!["h i".into(), "Ġ hi".into()],
//!     ..Parts::default()
//! })?;
//! let ids = tokenizer.encode("hi hi<|end|>", false, true);
//! assert_eq!(ids, [3, 4, 5]);
//! assert_eq!(tokenizer.decode(&ids, true), "hi hi");
//!
//! let mut stream = tokenizer.stream();
//! assert_eq!(stream.push(3), "hi");
//! assert_eq!(stream.push(4), " hi");
//! # Ok(())
//! # }
//! ```
//!
//! # How a text is encoded
//!
//! 1. Added tokens such as `<|im_start|>` are cut out (`added`); special ones only on request, because a user may
//!    write them too.
//! 2. The rest is normalised (`normalize`), and
//! 3. cut into pieces, mostly words (`pretokenize`). The families' regular expressions have hand-written twins;
//!    expressions nobody has met yet run on `fancy-regex`.
//! 4. Each piece becomes tokens (`model`): by merging neighbours, best first, or, for unigram models, by the best path.
//!
//! # How it is fast
//!
//! Nothing is allocated per piece. Each thread remembers the tokens of pieces it met lately, one cache line each, so
//! that most words cost one probe; new words go through a merge loop over flat arrays whose tables keep a byte per slot
//! in front, since most probes find nothing. Models without a pre-tokeniser (Gemma) get one: a text can be cut before a
//! space that no token reaches across, and the result stays the same.
//!
//! # How it cannot be brought to its knees
//!
//! Every step is linear, or `n log n` for a single piece of a megabyte. Ids in a file are bounded by its size, merges
//! must lead to tokens that exist, and hash tables have random seeds. `tests/it/hostile.rs` tries tens of thousands of
//! broken files.
//!
//! # Where the references differ
//!
//! - GGUF files of Qwen are not normalised, as in llama.cpp; the `tokenizer.json` of the same model composes to NFC.
//! - Normalisation is that of Unicode 9, as in `tokenizers`; character classes are those of the newest Unicode, as in
//!   both.
//! - `(?i:'s)` takes `'ſ` too in `tokenizers`, and not in llama.cpp.
//! - `gpt-4o` in a GGUF file means the expression the models were trained with; llama.cpp takes every letter beyond
//!   ASCII for both a capital and a small one, and leaves combining marks out of words.
//! - Bytes that form no character become U+FFFD as in `String::from_utf8_lossy`. The decoder `ByteFallback` of
//!   `tokenizers` makes one of every byte in a run that has a broken one; that could not be streamed.
//! - llama.cpp removes spaces before punctuation when it decodes for some families; here what was encoded comes back.
//! - A file whose added token has the id of another token gets the next free id for it.
#![forbid(unsafe_code)]

mod added;
mod byte_level;
mod charsmap;
mod decode;
mod error;
mod families;
mod gguf;
mod hash;
mod json;
mod model;
mod normalize;
mod parts;
mod pretokenize;
mod sentencepiece;
mod stream;
mod tokenizer;
mod vocabulary;

pub use error::TokenizerError;
pub use parts::{ModelKind, Parts};
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;
