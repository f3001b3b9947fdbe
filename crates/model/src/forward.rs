//! The forward pass.

use saem_kernels::attention::Span;
use saem_kernels::{ThreadPool, matmul, ops};

use crate::adapter::Adapter;
use crate::cache::KvCache;
use crate::config::Config;
use crate::error::{BatchError, ModelError};
use crate::layer::Pass;
use crate::weights::Model;
use crate::workspace::Workspace;

/// The tokens of a pass: consecutive rows of one or more sequences.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// One token for each row. In a span with a soft prompt, those from the vocabulary's size on stand for its rows (see
    /// [`Adapter::virtual_tokens`]).
    pub tokens: &'a [u32],
    /// Which rows belong to which sequence, covering all rows in order.
    pub spans: &'a [Span<'a>],
    /// The adapter of each span, or nothing at all where no span has one.
    pub adapters: &'a [Option<&'a Adapter>],
    /// Rows whose logits are wanted, ascending. A pass without any only fills the cache. Those of a span whose adapter tells
    /// labels apart hold scores (see [`Adapter::labels`]).
    pub logit_rows: &'a [usize],
}

impl Model {
    /// Runs the tokens of `batch` through the model, adds their keys and values to `cache`, and returns the logits of
    /// the rows asked for, `[logit rows, vocabulary]`.
    ///
    /// Allocates nothing. A row's logits depend on its sequence and its adapter alone, not on what else is in the batch,
    /// up to the rounding of kernels that sum differently for different numbers of rows. What an adapter adds is never
    /// rounded differently, and rows without one have the same bits as in the same batch without any. (Where a layer has
    /// experts, quantised ones: those that others are sent to may change, and with them the number of rows of a product.)
    ///
    /// # Errors
    /// [`ModelError::Batch`], before anything is computed, where the batch does not fit the vocabulary, the workspace
    /// or the cache, or an adapter does not fit the model.
    pub fn forward<'w>(
        &self,
        pool: &ThreadPool,
        cache: &mut KvCache,
        batch: &Batch<'_>,
        workspace: &'w mut Workspace,
    ) -> Result<&'w [f32], ModelError> {
        self.check(cache, batch, workspace)?;
        let config = &self.config;
        let mut rows = batch.tokens.len();
        if rows == 0 {
            return Ok(&[]);
        }
        for (token, row) in batch.tokens.iter().zip(workspace.stream.chunks_exact_mut(config.hidden)) {
            if (*token as usize) < config.vocabulary {
                self.weights.embedding.row(*token as usize, row);
            }
        }
        if config.embedding_multiplier != 1.0 {
            ops::scale(pool, &mut workspace.stream[..rows * config.hidden], config.embedding_multiplier);
        }
        self.soft_prompts(batch, &mut workspace.stream);
        self.positions(batch, &mut workspace.stream);
        for angles in &mut workspace.angles {
            for span in batch.spans {
                angles.set(span.first_row, span.rows, span.first_position);
            }
        }
        let last = config.layers.len() - 1;
        let Batch { tokens, spans, adapters, .. } = *batch;
        let pass = Pass { pool, config, tokens, spans, adapters, layer: 0, rows };
        workspace.adapters.group(&pass);
        let layers = config.layers.iter().zip(&self.weights.layers).zip(&mut cache.layers);
        for (index, ((layer, weights), pages)) in layers.enumerate() {
            let pass = Pass { layer: index, rows, ..pass };
            let keep = (index == last).then_some(batch.logit_rows);
            rows = pass.run(*layer, weights, pages, workspace, keep);
        }
        Ok(self.logits(pool, rows, batch, workspace))
    }

    /// Puts the rows of soft prompts into the stream. A prefix has none: its rows come with each layer's keys and values.
    fn soft_prompts(&self, batch: &Batch<'_>, stream: &mut [f32]) {
        let Config { vocabulary, hidden, .. } = self.config;
        for (span, adapter) in batch.spans.iter().zip(batch.adapters) {
            let Some(adapter) = adapter.filter(|adapter| adapter.virtual_tokens() > 0) else { continue };
            let tokens = batch.tokens.iter().zip(stream.chunks_exact_mut(hidden));
            for (token, row) in tokens.skip(span.first_row).take(span.rows) {
                let index = (*token as usize).checked_sub(vocabulary);
                match index.map(|index| adapter.prompt_row(index)) {
                    Some(Some(values)) => row.copy_from_slice(values),
                    Some(None) => row.fill(0.0),
                    None => {}
                }
            }
        }
    }

    /// Adds the rows of positions, where they are learnt.
    fn positions(&self, batch: &Batch<'_>, stream: &mut [f32]) {
        let hidden = self.config.hidden;
        for span in batch.spans {
            let Some(first) = self.config.position_row(span.first_position) else { return };
            let (start, len) = (span.first_row * hidden, span.rows * hidden);
            let positions = self.weights.positions.get(first * hidden..).unwrap_or_default();
            stream[start..start + len].iter_mut().zip(positions).for_each(|(x, position)| *x += position);
        }
    }

    /// Logits of the first `rows` rows of the stream, which are those that the batch wants.
    fn logits<'w>(&self, pool: &ThreadPool, rows: usize, batch: &Batch<'_>, workspace: &'w mut Workspace) -> &'w [f32] {
        let config = &self.config;
        let logits = &mut workspace.logits[..rows * config.vocabulary];
        if rows == 0 {
            return logits;
        }
        let hidden = rows * config.hidden;
        let normed = &mut workspace.normed[..hidden];
        let pass = Pass { pool, config, tokens: &[], spans: &[], adapters: &[], layer: 0, rows };
        pass.norm(&self.weights.output_norm, &workspace.stream[..hidden], normed);
        let teller = |row: usize| {
            let mut spans = batch.spans.iter().zip(batch.adapters);
            let has = |span: &Span<'_>| (span.first_row..span.first_row + span.rows).contains(&row);
            spans
                .find(|(span, _)| has(span))
                .and_then(|(_, adapter)| adapter.filter(|adapter| !adapter.labels().is_empty()))
        };
        if batch.logit_rows.iter().any(|row| teller(*row).is_none()) {
            let matrix = self.weights.output.as_ref().unwrap_or(&self.weights.embedding);
            workspace.input.set(pool, normed, config.hidden, &[matrix]);
            matmul(pool, &workspace.input, &mut [(matrix, &mut *logits)]);
            if config.logits_multiplier != 1.0 {
                ops::scale(pool, logits, config.logits_multiplier);
            }
            if let Some(cap) = config.logit_soft_cap {
                ops::soft_cap(pool, logits, cap);
            }
        }
        // Adapters that tell labels apart have scores instead.
        let rows = normed.chunks_exact(config.hidden).zip(logits.chunks_exact_mut(config.vocabulary));
        for (row, (normed, logits)) in batch.logit_rows.iter().zip(rows) {
            if let Some(adapter) = teller(*row) {
                adapter.scores(normed, logits);
            }
        }
        logits
    }

    /// Refuses batches that would reach outside the vocabulary, the workspace or the cache.
    fn check(&self, cache: &KvCache, batch: &Batch<'_>, workspace: &Workspace) -> Result<(), BatchError> {
        let rows = batch.tokens.len();
        for (what, found, limit) in
            [("rows", rows, workspace.rows), ("logit rows", batch.logit_rows.len(), workspace.logit_rows)]
        {
            if found > limit {
                return Err(BatchError::TooManyRows { what, found, limit });
            }
        }
        self.check_adapters(batch, workspace)?;
        let mut expected = 0;
        for (index, span) in batch.spans.iter().enumerate() {
            if span.first_row != expected || span.rows > rows - expected {
                return Err(BatchError::Spans { span: index, found: span.first_row, expected, rows });
            }
            self.check_tokens(batch, index, span)?;
            expected += span.rows;
            let positions = span.first_position.saturating_add(span.rows);
            let limit = self.config.context;
            if self.config.learned_positions.is_some() && positions > limit {
                return Err(BatchError::TooManyRows { what: "positions", found: positions, limit });
            }
            let needed = KvCache::blocks_for(positions);
            let Some(blocks) = span.blocks.get(..needed) else {
                return Err(BatchError::Blocks { span: index, positions, needed, found: span.blocks.len() });
            };
            if let Some(block) = blocks.iter().find(|block| **block as usize >= cache.blocks()) {
                return Err(BatchError::BlockNumber { span: index, block: *block, blocks: cache.blocks() });
            }
        }
        if expected != rows {
            return Err(BatchError::Spans { span: batch.spans.len(), found: rows, expected, rows });
        }
        let mut least = 0;
        for (index, row) in batch.logit_rows.iter().enumerate() {
            if *row < least || *row >= rows {
                return Err(BatchError::LogitRow { index, found: *row, rows });
            }
            least = row + 1;
        }
        Ok(())
    }

    /// Every token of a span is in the vocabulary or one of its soft prompt's.
    fn check_tokens(&self, batch: &Batch<'_>, index: usize, span: &Span<'_>) -> Result<(), BatchError> {
        let adapter = batch.adapters.get(index).copied().flatten();
        let limit = self.config.vocabulary + adapter.map_or(0, Adapter::virtual_tokens);
        let mut tokens = batch.tokens.iter().enumerate().skip(span.first_row).take(span.rows);
        match tokens.find(|(_, token)| **token as usize >= limit) {
            Some((row, token)) => Err(BatchError::Token { row, token: *token, vocabulary: self.config.vocabulary }),
            None => Ok(()),
        }
    }

    /// Every adapter fits the model and the workspace.
    fn check_adapters(&self, batch: &Batch<'_>, workspace: &Workspace) -> Result<(), BatchError> {
        let (found, expected) = (batch.adapters.len(), batch.spans.len());
        if found != expected && found != 0 {
            return Err(BatchError::Adapters { found, expected });
        }
        let limit = workspace.max_adapter_rank();
        for (span, adapter) in batch.adapters.iter().enumerate() {
            let Some(adapter) = adapter else { continue };
            if !adapter.fits(&self.config) {
                return Err(BatchError::OtherModel { span });
            }
            if adapter.rank() > limit {
                return Err(BatchError::AdapterRank { span, found: adapter.rank(), limit });
            }
        }
        Ok(())
    }
}
