//! What a model writes on the way: the likeliest tokens after a few beginnings, for people to read.
//!
//! There is no cache of keys and values here: each token is a pass over the text so far, so texts are short.

use saem_kernels::ThreadPool;
use saem_tokenizer::Tokenizer;
use serde::Serialize;

use crate::TrainError;
use crate::buffers::Buffers;
use crate::master::Values;
use crate::pass::{Batch, Decoder};

/// Tokens of a beginning that is cut from a text, and those that are written after it.
pub(crate) const BEGINNING: usize = 16;
pub(crate) const WRITTEN: usize = 16;
/// Beginnings.
pub(crate) const SAMPLES: usize = 2;

/// A beginning, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// Tokens, with those that stand for rows of a prompt.
    pub(crate) tokens: Vec<u32>,
    /// What follows in the text.
    pub(crate) following: Vec<u32>,
}

/// What a model wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The beginning.
    pub prompt: String,
    /// What the model wrote after it.
    pub text: String,
    /// What stands there in the text.
    pub expected: String,
}

/// The likeliest tokens after each beginning, until the text ends.
pub(crate) fn write(
    decoder: &Decoder,
    pool: &ThreadPool,
    weights: Values<'_>,
    beginnings: &[Beginning],
    tokenizer: &Tokenizer,
    buffers: &mut Buffers,
) -> Result<Vec<Sample>, TrainError> {
    let mut samples = Vec::with_capacity(beginnings.len());
    for Beginning { tokens, following } in beginnings {
        let (mut text, start) = (tokens.clone(), tokens.len());
        while text.len() < start + WRITTEN {
            let batch = Batch {
                targets: vec![None; text.len()],
                documents: std::iter::once(0..text.len()).collect(),
                first_is_shared: false,
                tokens: text.clone(),
            };
            let next = decoder.likeliest(pool, weights, &batch, buffers)?;
            if Some(next) == tokenizer.eos() {
                break;
            }
            text.push(next);
        }
        let vocabulary = decoder.config.vocabulary as u32;
        let read: Vec<u32> = tokens.iter().copied().filter(|token| *token < vocabulary).collect();
        samples.push(Sample {
            prompt: tokenizer.decode(&read, true),
            text: tokenizer.decode(&text[start..], true),
            expected: tokenizer.decode(&following[..following.len().min(WRITTEN)], true),
        });
    }
    Ok(samples)
}
