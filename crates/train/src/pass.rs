//! Loss and gradients of a batch.

use std::ops::Range;

use saem_kernels::gemm::{Factor, Output, Precision, Size};
use saem_kernels::gradient::{Documents, cross_entropy, scatter_rows, soft_cap_backward};
use saem_kernels::{ThreadPool, ops};
use saem_model::Config;

use crate::TrainError;
use crate::buffers::{Buffers, Scratch};
use crate::forward::Pass;
use crate::frozen::{Frozen, Side, Weights};
use crate::layout::{Layout, Place};
use crate::linear::Room;
use crate::master::Values;

/// Tokens to learn from: texts one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The tokens of all texts.
    pub tokens: Vec<u32>,
    /// What should follow each token; nothing where that does not count.
    pub targets: Vec<Option<u32>>,
    /// The texts, which do not see each other: ranges of tokens, in order, that cover all of them.
    pub documents: Vec<Range<usize>>,
    /// Whether the first text stands before each of the others, as if they began with it: what they have in common is passed
    /// once.
    pub first_is_shared: bool,
}

impl Batch {
    pub(crate) fn texts(&self) -> Documents<'_> {
        Documents { rows: &self.documents, first_is_shared: self.first_is_shared }
    }

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

    /// Rows of a prompt stand as tokens beyond the vocabulary.
    fn check(&self, config: &Config, layout: &Layout, buffers: &Buffers) -> Result<(), TrainError> {
        let tokens = self.tokens.len();
        if tokens > buffers.tokens {
            return Err(TrainError::TooManyTokens { found: tokens, limit: buffers.tokens });
        }
        let beyond = |limit: usize| move |token: &u32| *token as usize >= limit;
        let token = self.tokens.iter().copied().find(beyond(config.vocabulary + layout.soft_rows()));
        if let Some(token) = token.or_else(|| self.targets.iter().flatten().copied().find(beyond(layout.outputs))) {
            return Err(TrainError::Token { token, vocabulary: config.vocabulary });
        }
        let mut end = 0;
        for (document, position) in self.texts().positions() {
            let found = position + document.len();
            if config.learned_positions.is_some() && found > config.context {
                return Err(TrainError::Positions { found, limit: config.context });
            }
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

/// A decoder that can be trained: its switches, where its parameters are, and those of them that stay as they are.
#[derive(Debug)]
pub struct Decoder {
    /// The switches.
    pub config: Config,
    /// Where each parameter is, in a buffer of weights or gradients or among the frozen ones.
    pub layout: Layout,
    /// What stays.
    pub frozen: Frozen,
    /// How exactly matrices are multiplied.
    pub precision: Precision,
}

/// What a loss is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Objective {
    /// Factor on the gradients: one over the positions that count in a step.
    pub factor: f32,
    /// Weight of the squared logarithm of each softmax's sum (z-loss).
    pub z: f32,
    /// Weight of the loss that an uneven use of experts is: in each sparse layer the number of experts times the sum, over
    /// experts, of the share of choices that fell on it times its mean score (Fedus et al. 2021, arXiv 2101.03961, section
    /// 2.2), which is 1 where all are used alike; the mean over those layers. It is no part of the loss that is returned.
    pub balance: f32,
}

/// What of a pass is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Rows of the last stream whose logits are.
    pub(crate) rows: Vec<usize>,
    /// The token that each should foretell.
    targets: Vec<Option<u32>>,
    /// A factor on the gradient of each, where they differ.
    pub(crate) shares: Vec<f32>,
    /// Whether what a LoRA adds is added.
    pub(crate) is_adapted: bool,
    /// Whether the likeliest token of the last row is looked for.
    asks_likeliest: bool,
}

impl Wanted {
    /// The rows with a target; all of them where most have one, since rows in a piece are cheaper than picked ones.
    pub(crate) fn of(batch: &Batch) -> Self {
        if 2 * batch.target_count() >= batch.tokens.len() {
            return Self::rows((0..batch.tokens.len()).collect(), batch.targets.clone());
        }
        Self::of_targets(batch)
    }

    /// The rows with a target alone.
    pub(crate) fn of_targets(batch: &Batch) -> Self {
        let pairs = batch.targets.iter().enumerate().filter(|(_, target)| target.is_some());
        let (rows, targets) = pairs.map(|(row, target)| (row, *target)).unzip();
        Self::rows(rows, targets)
    }

    fn rows(rows: Vec<usize>, targets: Vec<Option<u32>>) -> Self {
        Self { rows, targets, shares: Vec::new(), is_adapted: true, asks_likeliest: false }
    }
}

impl Decoder {
    /// The sum of losses over the batch's targets, without gradients.
    ///
    /// # Errors
    /// Where the batch does not fit the vocabulary or the buffers.
    pub fn loss<'w>(
        &self,
        pool: &ThreadPool,
        weights: impl Into<Values<'w>>,
        batch: &Batch,
        buffers: &mut Buffers,
    ) -> Result<f64, TrainError> {
        let objective = Objective::default();
        self.run(pool, weights.into(), None, batch, &Wanted::of(batch), &objective, buffers, &mut |_, _| {})
    }

    /// The loss of each of these tokens, foretold from the row of the batch beside it; its targets do not matter. A row
    /// may be asked for several tokens.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn losses<'w>(
        &self,
        pool: &ThreadPool,
        weights: impl Into<Values<'w>>,
        batch: &Batch,
        wanted: &[(usize, u32)],
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>, TrainError> {
        for (row, token) in wanted {
            if *row >= batch.tokens.len() || *token as usize >= self.layout.outputs {
                return Err(TrainError::Token { token: *token, vocabulary: self.layout.outputs });
            }
        }
        let (rows, targets) = wanted.iter().map(|(row, token)| (*row, Some(*token))).unzip();
        let objective = Objective::default();
        let mut losses = vec![0.0; wanted.len()];
        let each = &mut |index: usize, loss: f32| losses[index] = loss;
        self.run(pool, weights.into(), None, batch, &Wanted::rows(rows, targets), &objective, buffers, each)?;
        Ok(losses)
    }

    /// The likeliest token after the batch's last one.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn likeliest<'w>(
        &self,
        pool: &ThreadPool,
        weights: impl Into<Values<'w>>,
        batch: &Batch,
        buffers: &mut Buffers,
    ) -> Result<u32, TrainError> {
        let last = batch.tokens.len().checked_sub(1).into_iter().collect();
        // The loss of no token in particular.
        let wanted = Wanted { asks_likeliest: true, ..Wanted::rows(last, vec![Some(0)]) };
        self.run(pool, weights.into(), None, batch, &wanted, &Objective::default(), buffers, &mut |_, _| {})?;
        Ok(buffers.scratch.likeliest)
    }

    /// The sum of losses over the batch's targets; adds `factor` times its gradients to `gradients`.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn gradients<'w>(
        &self,
        pool: &ThreadPool,
        weights: impl Into<Values<'w>>,
        gradients: &mut [f32],
        batch: &Batch,
        objective: &Objective,
        buffers: &mut Buffers,
    ) -> Result<f64, TrainError> {
        let wanted = Wanted::of(batch);
        self.run(pool, weights.into(), Some(gradients), batch, &wanted, objective, buffers, &mut |_, _| {})
    }

    /// The rows before every text as an encoder makes them, `[rows, hidden]`; none where the method has none.
    #[must_use]
    pub fn soft_rows<'w>(&self, pool: &ThreadPool, weights: impl Into<Values<'w>>, buffers: &mut Buffers) -> Vec<f32> {
        let Scratch { encoded, room, .. } = &mut buffers.scratch;
        if let Some(soft) = &self.layout.soft {
            self.pass(pool, weights.into(), Batch::default().texts(), 0, true).encode(soft, encoded, room);
        }
        encoded.rows.to_vec()
    }

    pub(crate) fn pass<'a>(
        &'a self,
        pool: &'a ThreadPool,
        trained: Values<'a>,
        documents: Documents<'a>,
        tokens: usize,
        is_adapted: bool,
    ) -> Pass<'a> {
        let weights = Weights { trained, frozen: &self.frozen };
        let (config, precision, balance) = (&self.config, self.precision, 0.0);
        let prefix = self.layout.prefix.as_ref();
        Pass { pool, precision, config, weights, is_adapted, prefix, documents, tokens, balance }
    }

    pub(crate) fn run(
        &self,
        pool: &ThreadPool,
        weights: Values<'_>,
        gradients: Option<&mut [f32]>,
        batch: &Batch,
        wanted: &Wanted,
        objective: &Objective,
        buffers: &mut Buffers,
        each: &mut dyn FnMut(usize, f32),
    ) -> Result<f64, TrainError> {
        let Self { config, layout, .. } = self;
        batch.check(config, layout, buffers)?;
        let tokens = batch.tokens.len();
        if tokens == 0 {
            return Ok(0.0);
        }
        let Buffers { streams, saved, insides, scratch, .. } = buffers;
        let mut pass = self.pass(pool, weights, batch.texts(), tokens, wanted.is_adapted);
        // Of the step's positions that count, these are the batch's.
        let sparse = config.layers.iter().filter(|layer| layer.sparse).count().max(1);
        pass.balance = objective.balance * objective.factor * batch.target_count() as f32 / sparse as f32;
        if wanted.is_adapted {
            pass.lengths(layout, &mut scratch.room);
        }
        let used = tokens * config.hidden;
        for (angles, opposite) in &mut scratch.angles {
            for (text, position) in pass.documents.positions() {
                angles.set(text.start, text.len(), position);
            }
            let (_, sin) = angles.rows(tokens);
            opposite.iter_mut().zip(sin).for_each(|(opposite, sin)| *opposite = -sin);
        }
        self.input(&pass, &batch.tokens, &mut streams[0][..used], scratch);
        // Layers that share a set of saved activations overwrite each other's: those that no gradient goes through do so
        // before the first one that it does.
        let (layers, first) = (layout.layers.len(), layout.first_layer());
        let (all_kept, insides_kept) = (first + saved.len() >= layers, first + insides.len() >= layers);
        let place = |index: usize| if all_kept { index.saturating_sub(first) } else { 0 };
        let inside = |index: usize| if insides_kept { index.saturating_sub(first) } else { 0 };
        for (index, layer) in layout.layers.iter().enumerate() {
            let (before, after) = streams.split_at_mut(index + 1);
            let (stream, out) = (&before[index][..used], &mut after[0][..used]);
            pass.layer(index, layer, stream, out, (&mut saved[place(index)], &mut insides[inside(index)]), scratch);
        }
        let Some(gradients) = gradients else {
            return Ok(self.output(&pass, &mut streams[layers][..used], None, wanted, objective, scratch, each));
        };
        // From here on the last stream is the gradient of the stream.
        let (inputs, dx) = streams.split_at_mut(layers);
        let dx = &mut dx[0][..used];
        let loss = self.output(&pass, dx, Some(gradients), wanted, objective, scratch, each);
        for (index, layer) in layout.layers.iter().enumerate().skip(first).rev() {
            let stream = &inputs[index][..used];
            let kept = (&mut saved[place(index)], &mut insides[inside(index)]);
            let is_last = index + 1 == layers;
            if !all_kept && !is_last {
                // Where the layer's result goes does not matter any more, but its scratch would be too short for it.
                let mut out = std::mem::take(&mut scratch.gradient);
                pass.layer(index, layer, stream, &mut out[..used], (&mut *kept.0, &mut *kept.1), scratch);
                scratch.gradient = out;
            }
            let to_input = index > first || layout.trains_input();
            let is_inside_kept = insides_kept || !all_kept || is_last;
            pass.layer_backward(index, layer, stream, dx, kept, is_inside_kept, scratch, gradients, to_input);
        }
        self.input_backward(&pass, &batch.tokens, dx, gradients, scratch);
        Ok(loss)
    }

    /// Rows of the embedding, and of a prompt, to the first stream.
    pub(crate) fn input(&self, pass: &Pass<'_>, tokens: &[u32], stream: &mut [f32], scratch: &mut Scratch) {
        let Self { config, layout, .. } = self;
        let rows = || tokens.iter().map(|token| *token as usize);
        for (token, row) in rows().zip(stream.chunks_exact_mut(config.hidden)) {
            if token < config.vocabulary {
                pass.weights.row(&layout.embedding, token, row);
            } else {
                row.fill(0.0);
            }
        }
        if config.embedding_multiplier != 1.0 {
            ops::scale(pass.pool, stream, config.embedding_multiplier);
        }
        if let Some(soft) = &layout.soft {
            let Scratch { encoded, room, .. } = &mut *scratch;
            pass.encode(soft, encoded, room);
            for (token, row) in rows().zip(stream.chunks_exact_mut(config.hidden)) {
                if let Some(index) = token.checked_sub(config.vocabulary) {
                    let from = &encoded.rows[index * config.hidden..(index + 1) * config.hidden];
                    row.iter_mut().zip(from).for_each(|(row, from)| *row = from * config.prompt_multiplier());
                }
            }
        }
        if let Some(place) = &layout.positions {
            let position = &mut scratch.gradient[..config.hidden];
            for (index, row) in pass.position_rows().zip(stream.chunks_exact_mut(config.hidden)) {
                pass.weights.row(place, index, position);
                row.iter_mut().zip(&*position).for_each(|(row, position)| *row += position);
            }
        }
    }

    fn input_backward(
        &self,
        pass: &Pass<'_>,
        tokens: &[u32],
        dx: &[f32],
        gradients: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Self { config, layout, .. } = self;
        if let Some(slot) = layout.embedding.slot() {
            scatter_rows(pass.pool, dx, config.hidden, tokens, config.embedding_multiplier, &mut gradients[slot]);
        }
        if let Some(slot) = layout.positions.as_ref().and_then(Place::slot) {
            let rows: Vec<u32> = pass.position_rows().map(|row| row as u32).collect();
            scatter_rows(pass.pool, dx, config.hidden, &rows, 1.0, &mut gradients[slot]);
        }
        let Some(soft) = &layout.soft else { return };
        let Scratch { encoded, room, .. } = scratch;
        encoded.gradient.fill(0.0);
        for (token, dx) in tokens.iter().zip(dx.chunks_exact(config.hidden)) {
            if let Some(index) = (*token as usize).checked_sub(config.vocabulary) {
                let to = &mut encoded.gradient[index * config.hidden..(index + 1) * config.hidden];
                to.iter_mut().zip(dx).for_each(|(to, dx)| *to += dx * config.prompt_multiplier());
            }
        }
        pass.encode_backward(soft, encoded, gradients, room);
    }

    /// The last norm, the output matrix and the loss, some rows at a time: logits of all rows are never in memory. With
    /// gradients, the stream becomes its own gradient. `each` is told the loss of every wanted row.
    fn output(
        &self,
        pass: &Pass<'_>,
        stream: &mut [f32],
        mut gradients: Option<&mut [f32]>,
        wanted: &Wanted,
        objective: &Objective,
        scratch: &mut Scratch,
        each: &mut dyn FnMut(usize, f32),
    ) -> f64 {
        let Self { config, layout, .. } = self;
        let (pool, width, vocabulary) = (pass.pool, config.hidden, layout.outputs);
        // Labels are told apart by what the last norm gives, as it is.
        let (multiplier, soft_cap) =
            if layout.is_classifier { (1.0, None) } else { (config.logits_multiplier, config.logit_soft_cap) };
        pass.norm_input(Some(&layout.output_norm), stream, scratch);
        let Scratch {
            normed,
            output,
            gradient,
            statistics,
            norm_weight,
            room,
            logits,
            capped,
            losses,
            picked,
            likeliest,
            ..
        } = scratch;
        let (normed, dnormed) = (&normed[..stream.len()], &mut output[..stream.len()]);
        let Room { shared, .. } = room;
        let mut total = 0.0;
        let piece = losses.len();
        if gradients.is_some() {
            dnormed.fill(0.0);
        }
        for (number, (rows, targets)) in wanted.rows.chunks(piece).zip(wanted.targets.chunks(piece)).enumerate() {
            if targets.iter().all(Option::is_none) {
                continue;
            }
            let count = rows.len();
            let (x, dx) = picked.split_at_mut(piece * width);
            let (x, dx) = (&mut x[..count * width], &mut dx[..count * width]);
            for (row, x) in rows.iter().zip(x.chunks_exact_mut(width)) {
                x.copy_from_slice(&normed[row * width..(row + 1) * width]);
            }
            let logits = &mut logits[..count * vocabulary];
            let (weight, shape) = (&layout.output, [vocabulary, width]);
            pass.by_weight(weight, Side::Rows, shape, x, logits, Output::Replace, shared);
            if multiplier != 1.0 {
                ops::scale(pool, logits, multiplier);
            }
            if let Some(cap) = soft_cap {
                ops::soft_cap(pool, logits, cap);
                capped[..logits.len()].copy_from_slice(logits);
            }
            if wanted.asks_likeliest {
                let last = &logits[(count - 1) * vocabulary..];
                *likeliest = (0..vocabulary).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap_or(0) as u32;
            }
            let losses = &mut losses[..count];
            cross_entropy(pool, logits, targets, objective.z, objective.factor, losses);
            total += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            losses.iter().enumerate().for_each(|(row, loss)| each(number * piece + row, *loss));
            let Some(gradients) = gradients.as_deref_mut() else { continue };
            if let Some(shares) = wanted.shares.get(number * piece..) {
                for (share, logits) in shares.iter().zip(logits.chunks_exact_mut(vocabulary)) {
                    ops::scale(pool, logits, *share);
                }
            }
            if let Some(cap) = soft_cap {
                soft_cap_backward(pool, &capped[..logits.len()], logits, cap);
            }
            if multiplier != 1.0 {
                ops::scale(pool, logits, multiplier);
            }
            pass.by_weight(weight, Side::Columns, shape, logits, dx, Output::Replace, shared);
            for (row, dx) in rows.iter().zip(dx.chunks_exact(width)) {
                dnormed[row * width..(row + 1) * width].copy_from_slice(dx);
            }
            if let Some(slot) = layout.output.slot() {
                let size = Size { m: vocabulary, n: width, k: count };
                let factors = (Factor::across(logits, vocabulary), Factor::across(x, width));
                pass.multiply(size, factors.0, factors.1, &mut gradients[slot], width, Output::Add, shared);
            }
        }
        if let Some(gradients) = gradients {
            let dx = &mut gradient[..stream.len()];
            pass.norm_backward(&layout.output_norm, stream, dnormed, dx, gradients, statistics, norm_weight);
            stream.copy_from_slice(dx);
        }
        total
    }
}
