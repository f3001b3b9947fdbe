//! Loss and gradients of a batch.

use std::ops::Range;

use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm};
use saem_kernels::gradient::{cross_entropy, scatter_rows, soft_cap_backward};
use saem_kernels::{ThreadPool, ops};
use saem_model::Config;

use crate::TrainError;
use crate::buffers::{Buffers, Scratch};
use crate::forward::Pass;
use crate::layout::Layout;

/// Tokens to learn from: texts one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The tokens of all texts.
    pub tokens: Vec<u32>,
    /// What should follow each token; nothing where that does not count.
    pub targets: Vec<Option<u32>>,
    /// The texts, which do not see each other: ranges of tokens, in order, that cover all of them.
    pub documents: Vec<Range<usize>>,
}

impl Batch {
    /// Positions that count.
    #[must_use]
    pub fn target_count(&self) -> usize {
        self.targets.iter().flatten().count()
    }

    /// A text whose every token is to be foretold from those before it.
    pub fn push(&mut self, text: &[u32]) {
        let start = self.tokens.len();
        self.tokens.extend(text);
        self.targets.extend(text.iter().skip(1).map(|token| Some(*token)));
        if !text.is_empty() {
            self.targets.push(None);
            self.documents.push(start..self.tokens.len());
        }
    }

    fn check(&self, config: &Config, buffers: &Buffers) -> Result<(), TrainError> {
        let tokens = self.tokens.len();
        if tokens > buffers.tokens {
            return Err(TrainError::TooManyTokens { found: tokens, limit: buffers.tokens });
        }
        let ids = self.tokens.iter().chain(self.targets.iter().flatten());
        if let Some(token) = ids.copied().find(|token| *token as usize >= config.vocabulary) {
            return Err(TrainError::Token { token, vocabulary: config.vocabulary });
        }
        let mut end = 0;
        for document in &self.documents {
            if document.start != end || document.end <= end {
                return Err(TrainError::Documents { found: document.clone(), expected: end });
            }
            end = document.end;
        }
        if end != tokens || self.targets.len() != tokens {
            return Err(TrainError::Documents { found: 0..end, expected: tokens });
        }
        Ok(())
    }
}

/// A decoder that can be trained: its switches and where its parameters lie.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The switches.
    pub config: Config,
    /// Where each parameter lies in a buffer of weights or gradients.
    pub layout: Layout,
    /// How exactly matrices are multiplied.
    pub precision: Precision,
}

/// What a loss is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Factor on the gradients: one over the positions that count in a step.
    pub factor: f32,
    /// Weight of the squared logarithm of each softmax's sum (z-loss).
    pub z: f32,
}

impl Decoder {
    /// The sum of losses over the batch's targets, without gradients.
    ///
    /// # Errors
    /// Where the batch does not fit the vocabulary or the buffers.
    pub fn loss(
        &self,
        pool: &ThreadPool,
        weights: &[f32],
        batch: &Batch,
        buffers: &mut Buffers,
    ) -> Result<f64, TrainError> {
        self.run(pool, weights, None, batch, &Objective { factor: 0.0, z: 0.0 }, buffers)
    }

    /// The sum of losses over the batch's targets; adds `factor` times its gradients to `gradients`.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn gradients(
        &self,
        pool: &ThreadPool,
        weights: &[f32],
        gradients: &mut [f32],
        batch: &Batch,
        objective: &Objective,
        buffers: &mut Buffers,
    ) -> Result<f64, TrainError> {
        self.run(pool, weights, Some(gradients), batch, objective, buffers)
    }

    fn run(
        &self,
        pool: &ThreadPool,
        weights: &[f32],
        gradients: Option<&mut [f32]>,
        batch: &Batch,
        objective: &Objective,
        buffers: &mut Buffers,
    ) -> Result<f64, TrainError> {
        let Self { config, layout, precision } = self;
        batch.check(config, buffers)?;
        let tokens = batch.tokens.len();
        if tokens == 0 {
            return Ok(0.0);
        }
        let Buffers { streams, saved, scratch, .. } = buffers;
        let pass = Pass { pool, precision: *precision, config, weights, documents: &batch.documents, tokens };
        let width = config.hidden;
        let used = tokens * width;
        for (angles, opposite) in &mut scratch.angles {
            for document in &batch.documents {
                angles.set(document.start, document.len(), 0);
            }
            let (_, sin) = angles.rows(tokens);
            opposite.iter_mut().zip(sin).for_each(|(opposite, sin)| *opposite = -sin);
        }
        let embedding = &weights[layout.embedding.clone()];
        for (token, row) in batch.tokens.iter().zip(streams[0].chunks_exact_mut(width)) {
            let start = *token as usize * width;
            row.copy_from_slice(&embedding[start..start + width]);
        }
        if config.embedding_multiplier != 1.0 {
            ops::scale(pool, &mut streams[0][..used], config.embedding_multiplier);
        }
        // With one set of saved activations for all layers, each layer overwrites the last one's.
        let all_kept = saved.len() == layout.layers.len();
        let place = |index: usize| if all_kept { index } else { 0 };
        for (index, layer) in layout.layers.iter().enumerate() {
            let (before, after) = streams.split_at_mut(index + 1);
            let (stream, out) = (&before[index][..used], &mut after[0][..used]);
            pass.layer(index, layer, stream, out, &mut saved[place(index)], scratch);
        }
        let last = layout.layers.len();
        let Some(gradients) = gradients else {
            return Ok(self.output(&pass, &mut streams[last][..used], None, batch, objective, scratch));
        };
        // From here on the last stream is the gradient of the stream.
        let (inputs, dx) = streams.split_at_mut(last);
        let dx = &mut dx[0][..used];
        let loss = self.output(&pass, dx, Some(gradients), batch, objective, scratch);
        for (index, layer) in layout.layers.iter().enumerate().rev() {
            let stream = &inputs[index][..used];
            let saved = &mut saved[place(index)];
            if !all_kept && index + 1 < last {
                // Where the layer's result goes does not matter any more, but its scratch would be too short for it.
                let mut out = std::mem::take(&mut scratch.gradient);
                pass.layer(index, layer, stream, &mut out[..used], saved, scratch);
                scratch.gradient = out;
            }
            pass.layer_backward(index, layer, stream, dx, saved, scratch, gradients);
        }
        let (indices, factor) = (&batch.tokens, config.embedding_multiplier);
        scatter_rows(pool, dx, width, indices, factor, &mut gradients[layout.embedding.clone()]);
        Ok(loss)
    }

    /// The last norm, the output matrix and the loss, some rows at a time: logits of all rows are never in memory. With
    /// gradients, the stream becomes its own gradient.
    fn output(
        &self,
        pass: &Pass<'_>,
        stream: &mut [f32],
        mut gradients: Option<&mut [f32]>,
        batch: &Batch,
        objective: &Objective,
        scratch: &mut Scratch,
    ) -> f64 {
        let Self { config, layout, precision } = self;
        let (pool, width, vocabulary) = (pass.pool, config.hidden, config.vocabulary);
        pass.norm_input(Some(&layout.output_norm), stream, scratch);
        let Scratch { normed, output, gradient, statistics, norm_weight, shared, logits, capped, losses, .. } = scratch;
        let (normed, dnormed) = (&normed[..stream.len()], &mut output[..stream.len()]);
        let matrix = &pass.weights[layout.output.clone()];
        let mut total = 0.0;
        let piece = losses.len();
        for start in (0..pass.tokens).step_by(piece) {
            let targets = &batch.targets[start..batch.targets.len().min(start + piece)];
            let rows = targets.len();
            let x = &normed[start * width..(start + rows) * width];
            let dx = &mut dnormed[start * width..(start + rows) * width];
            if targets.iter().all(Option::is_none) {
                dx.fill(0.0);
                continue;
            }
            let logits = &mut logits[..rows * vocabulary];
            let size = Size { m: rows, n: vocabulary, k: width };
            let factors = (Factor::lines(x, width), Factor::lines(matrix, width));
            gemm(pool, *precision, size, factors.0, factors.1, logits, vocabulary, Output::Replace, shared);
            if config.logits_multiplier != 1.0 {
                ops::scale(pool, logits, config.logits_multiplier);
            }
            if let Some(cap) = config.logit_soft_cap {
                ops::soft_cap(pool, logits, cap);
                capped[..logits.len()].copy_from_slice(logits);
            }
            let losses = &mut losses[..rows];
            cross_entropy(pool, logits, targets, objective.z, objective.factor, losses);
            total += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            let Some(gradients) = gradients.as_deref_mut() else { continue };
            if let Some(cap) = config.logit_soft_cap {
                soft_cap_backward(pool, &capped[..logits.len()], logits, cap);
            }
            if config.logits_multiplier != 1.0 {
                ops::scale(pool, logits, config.logits_multiplier);
            }
            let size = Size { m: rows, n: width, k: vocabulary };
            let factors = (Factor::lines(logits, vocabulary), Factor::across(matrix, width));
            gemm(pool, *precision, size, factors.0, factors.1, dx, width, Output::Replace, shared);
            let size = Size { m: vocabulary, n: width, k: rows };
            let factors = (Factor::across(logits, vocabulary), Factor::across(x, width));
            let dmatrix = &mut gradients[layout.output.clone()];
            gemm(pool, *precision, size, factors.0, factors.1, dmatrix, width, Output::Add, shared);
        }
        if let Some(gradients) = gradients {
            let dx = &mut gradient[..stream.len()];
            pass.norm_backward(&layout.output_norm, stream, dnormed, dx, gradients, statistics, norm_weight);
            stream.copy_from_slice(dx);
        }
        total
    }
}
