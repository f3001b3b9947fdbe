//! The key-value cache: pages of every layer, shared by all sequences.

use saem_kernels::attention::{BLOCK_TOKENS, KvPages, KvType};

use crate::config::Config;

/// Keys and values of all layers in blocks of [`BLOCK_TOKENS`] positions.
///
/// A sequence owns the same block numbers in every layer, so one list of numbers describes it (see
/// [`Span`](saem_kernels::attention::Span)); who owns which block is the caller's business.
#[derive(Debug)]
pub struct KvCache {
    pub(crate) layers: Vec<KvPages>,
    kv_type: KvType,
    blocks: usize,
}

impl KvCache {
    /// Room for `blocks` blocks, which takes `blocks` times [`KvCache::block_bytes`].
    #[must_use]
    pub fn new(config: &Config, kv_type: KvType, blocks: usize) -> Self {
        let pages = || KvPages::new(kv_type, blocks, config.kv_heads, config.head_dim);
        Self { layers: config.layers.iter().map(|_| pages()).collect(), kv_type, blocks }
    }

    /// Bytes that one block takes in all layers together.
    #[must_use]
    pub fn block_bytes(config: &Config, kv_type: KvType) -> usize {
        config.layers.len() * KvPages::block_bytes(kv_type, config.kv_heads, config.head_dim)
    }

    /// Blocks that a sequence of `positions` tokens takes.
    #[must_use]
    pub fn blocks_for(positions: usize) -> usize {
        positions.div_ceil(BLOCK_TOKENS)
    }

    /// Blocks in the cache.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// How elements are stored.
    #[must_use]
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Appends the keys and values of a block, layer by layer, in the layout of this memory:
    /// [`KvCache::block_bytes`] bytes.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn read_block(&self, block: u32, to: &mut Vec<u8>) {
        for pages in &self.layers {
            pages.block(block).iter().for_each(|part| to.extend_from_slice(part));
        }
    }

    /// Writes what [`KvCache::read_block`] read. Bytes that are missing are left as they are.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn write_block(&mut self, block: u32, bytes: &[u8]) {
        let mut rest = bytes;
        for part in self.layers.iter_mut().flat_map(|pages| pages.block_mut(block)) {
            let Some((own, after)) = rest.split_at_checked(part.len()) else { return };
            part.copy_from_slice(own);
            rest = after;
        }
    }

    /// Copies block `from` to block `to` in every layer: how a sequence that shares a block gets its own.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        for pages in &mut self.layers {
            pages.copy_block(from, to);
        }
    }
}
