//! A decoder on the processor, as the engine sees it.

use std::sync::Arc;

use saem_kernels::ThreadPool;
use saem_kernels::attention::Span;
use saem_model::{Adapter, Batch, KvCache, Model, Workspace};

use crate::blocks::BlockCopy;
use crate::plan::Plan;
use crate::{AdapterRoom, Adapters, EngineError, Forward};

/// A loaded model with its threads, its cache and its buffers.
#[derive(Debug)]
pub struct Decoder {
    model: Arc<Model>,
    pool: ThreadPool,
    cache: KvCache,
    workspace: Workspace,
    adapters: Arc<Adapters>,
}

impl Decoder {
    /// Reserves what `plan` asks for.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] where the system refuses so much.
    pub fn new(model: Model, pool: ThreadPool, plan: &Plan) -> Result<Self, EngineError> {
        let bytes = plan.kv_bytes + plan.workspace_bytes;
        // Asked for and given back at once: a refusal is an error here and the end of the process later.
        let probe = usize::try_from(bytes).ok().map(|bytes| Vec::<u8>::new().try_reserve_exact(bytes));
        if !matches!(probe, Some(Ok(()))) {
            return Err(EngineError::OutOfMemory { bytes });
        }
        let cache = KvCache::new(&model.config, plan.kv_type, plan.kv_blocks);
        let workspace = Workspace::new(&model.config, plan.limits.batch_rows, plan.limits.logit_rows());
        let model = Arc::new(model);
        let adapters = Arc::new(Adapters::of(Arc::clone(&model), AdapterRoom::default()));
        Ok(Self { model, pool, cache, workspace, adapters })
    }

    /// The same with room for adapters, which the plan must have counted.
    #[must_use]
    pub fn with_adapters(mut self, room: AdapterRoom) -> Self {
        let room = room.within(&self.model.config);
        self.workspace.reserve_adapters(&self.model.config, room.rank);
        self.adapters = Arc::new(Adapters::of(Arc::clone(&self.model), room));
        self
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Forward for Decoder {
    fn vocabulary(&self) -> usize {
        self.model.config.vocabulary
    }

    fn blocks(&self) -> usize {
        self.cache.blocks()
    }

    fn max_rows(&self) -> usize {
        self.workspace.max_rows()
    }

    fn max_logit_rows(&self) -> usize {
        self.workspace.max_logit_rows()
    }

    fn ensure_logit_rows(&mut self, rows: usize) {
        if rows > self.workspace.max_logit_rows() {
            let max_rows = self.workspace.max_rows();
            // The old buffers go before the new ones come.
            self.workspace = Workspace::new(&self.model.config, 0, 0);
            self.workspace = Workspace::new(&self.model.config, max_rows, rows);
            self.workspace.reserve_adapters(&self.model.config, self.adapters.room().rank);
        }
    }

    fn copy_block(&mut self, copy: BlockCopy) {
        self.cache.copy_block(copy.from, copy.to);
    }

    fn block_bytes(&self) -> usize {
        KvCache::block_bytes(&self.model.config, self.cache.kv_type())
    }

    fn read_block(&self, block: u32, to: &mut Vec<u8>) {
        self.cache.read_block(block, to);
    }

    fn write_block(&mut self, block: u32, bytes: &[u8]) {
        self.cache.write_block(block, bytes);
    }

    fn forward(&mut self, tokens: &[u32], spans: &[Span<'_>], logit_rows: &[usize]) -> Result<&[f32], EngineError> {
        self.forward_adapted(tokens, spans, &[], logit_rows)
    }

    fn adapters(&self) -> Option<&Arc<Adapters>> {
        Some(&self.adapters)
    }

    fn forward_adapted(
        &mut self,
        tokens: &[u32],
        spans: &[Span<'_>],
        adapters: &[Option<&Adapter>],
        logit_rows: &[usize],
    ) -> Result<&[f32], EngineError> {
        let batch = Batch { tokens, spans, adapters, logit_rows };
        Ok(self.model.forward(&self.pool, &mut self.cache, &batch, &mut self.workspace)?)
    }
}
