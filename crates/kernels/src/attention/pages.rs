//! The storage of keys and values.

use half::f16;

use super::BLOCK_TOKENS;
use crate::pool::SharedSlice;

/// How cached keys and values are stored.
///
/// Finite elements beyond the range of a type are stored as the largest of their sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvType {
    /// 4 bytes; for tests against references.
    F32,
    /// 2 bytes; the default.
    F16,
    /// 8-bit integers with one f16 scale for each 32 elements of a head: 34 bytes for 32. The last group of a head is
    /// shorter where 32 does not divide the head (80 elements are groups of 32, 32 and 16).
    Q8_0,
}

/// A head is stored in multiples of this many elements, so that every load is a whole vector; the zeros at its end
/// cost nothing to the usual heads (64, 80, 96, 128, 256).
const HEAD_ALIGN: usize = 16;

/// Elements that share a scale in [`KvType::Q8_0`].
pub(super) const GROUP: usize = 32;

/// The storage begins at a multiple of this many bytes.
const ALIGN: usize = 64;

/// The keys and values of one layer: `blocks x [kv_heads, BLOCK_TOKENS, head_dim]`, keys and values apart.
///
/// The elements of one head in one block, [`BLOCK_TOKENS`] rows, lie together: a *tile*, which is what the kernels
/// read. A tile of [`KvType::Q8_0`] has all its integers first and then all its scales. Memory of blocks that were
/// never written is not touched, where the operating system gives zeroed pages on demand.
#[derive(Debug)]
pub struct KvPages {
    layout: Layout,
    blocks: usize,
    keys: Bytes,
    values: Bytes,
}

/// Shape and type of a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) kv_type: KvType,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    /// `head_dim` with the zeros at its end.
    pub(super) width: usize,
}

impl Layout {
    fn new(kv_type: KvType, kv_heads: usize, head_dim: usize) -> Self {
        Self { kv_type, kv_heads, head_dim, width: head_dim.saturating_add(HEAD_ALIGN - 1) / HEAD_ALIGN * HEAD_ALIGN }
    }

    pub(super) fn tile_bytes(&self) -> usize {
        let elements = BLOCK_TOKENS.saturating_mul(self.width);
        match self.kv_type {
            KvType::F32 => elements.saturating_mul(4),
            KvType::F16 => elements.saturating_mul(2),
            KvType::Q8_0 => elements.saturating_add(BLOCK_TOKENS * self.groups() * 2),
        }
    }

    /// Scales of one row of a [`KvType::Q8_0`] tile.
    pub(super) fn groups(&self) -> usize {
        self.width.div_ceil(GROUP)
    }

    /// Where the tile of a head begins, in bytes.
    pub(super) fn tile(&self, block: u32, kv_head: usize) -> usize {
        (block as usize * self.kv_heads + kv_head) * self.tile_bytes()
    }
}

impl KvPages {
    /// Room for `blocks` blocks, filled with zeros.
    #[must_use]
    pub fn new(kv_type: KvType, blocks: usize, kv_heads: usize, head_dim: usize) -> Self {
        let layout = Layout::new(kv_type, kv_heads, head_dim);
        let bytes = layout.tile_bytes().saturating_mul(kv_heads).saturating_mul(blocks);
        Self { layout, blocks, keys: Bytes::zeroed(bytes), values: Bytes::zeroed(bytes) }
    }

    /// Bytes that one block takes in one layer, keys and values together.
    #[must_use]
    pub fn block_bytes(kv_type: KvType, kv_heads: usize, head_dim: usize) -> usize {
        Layout::new(kv_type, kv_heads, head_dim).tile_bytes().saturating_mul(2).saturating_mul(kv_heads)
    }

    /// How the elements are stored.
    #[must_use]
    pub fn kv_type(&self) -> KvType {
        self.layout.kv_type
    }

    /// Blocks that there is room for.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Copies the contents of block `from` to block `to`.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn copy_block(&mut self, from: u32, to: u32) {
        let len = self.layout.tile_bytes() * self.layout.kv_heads;
        for bytes in [&mut self.keys, &mut self.values] {
            bytes.get_mut().copy_within(from as usize * len..(from as usize + 1) * len, to as usize * len);
        }
    }

    /// The keys and the values of a block as they lie in memory, for keeping them elsewhere.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn block(&self, block: u32) -> [&[u8]; 2] {
        let (begin, len) = self.place(block);
        [&self.keys.get()[begin..begin + len], &self.values.get()[begin..begin + len]]
    }

    /// As [`KvPages::block`], for writing.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block_mut(&mut self, block: u32) -> [&mut [u8]; 2] {
        let (begin, len) = self.place(block);
        [&mut self.keys.get_mut()[begin..begin + len], &mut self.values.get_mut()[begin..begin + len]]
    }

    /// Where a block's keys (and values) begin, and their length, in bytes.
    fn place(&self, block: u32) -> (usize, usize) {
        let len = self.layout.tile_bytes() * self.layout.kv_heads;
        (block as usize * len, len)
    }

    /// One key and one value of one head, as f32: slow, for tests and for looking into the cache.
    ///
    /// # Panics
    /// If there is no such block, head or slot.
    #[must_use]
    pub fn read(&self, block: u32, kv_head: usize, slot: usize) -> (Vec<f32>, Vec<f32>) {
        let layout = &self.layout;
        assert!(kv_head < layout.kv_heads && slot < BLOCK_TOKENS, "no slot {slot} of head {kv_head}");
        let read = |bytes: &Bytes| {
            let tile = &bytes.get()[layout.tile(block, kv_head)..][..layout.tile_bytes()];
            let half = |index: usize| f16::from_le_bytes([tile[2 * index], tile[2 * index + 1]]).to_f32();
            let first_scale = BLOCK_TOKENS * layout.width / 2 + slot * layout.groups();
            (0..layout.head_dim)
                .map(|element| {
                    let index = slot * layout.width + element;
                    match layout.kv_type {
                        KvType::F32 => tile[4 * index..]
                            .first_chunk()
                            .map_or(0.0, |bytes: &[u8; 4]| f32::from_bits(u32::from_le_bytes(*bytes))),
                        KvType::F16 => half(index),
                        KvType::Q8_0 => half(first_scale + element / GROUP) * f32::from(tile[index] as i8),
                    }
                })
                .collect()
        };
        (read(&self.keys), read(&self.values))
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The keys and the values as bytes.
    pub(super) fn tiles(&self) -> (&[u8], &[u8]) {
        (self.keys.get(), self.values.get())
    }

    /// The keys and the values, for writing by several threads.
    pub(super) fn shared(&mut self) -> (SharedSlice<'_, u8>, SharedSlice<'_, u8>) {
        (SharedSlice::new(self.keys.get_mut()), SharedSlice::new(self.values.get_mut()))
    }
}

/// Zeroed bytes that begin at a cache line.
#[derive(Debug)]
struct Bytes {
    /// Pages of a large zeroed vector of integers come from the system on first use; those of an over-aligned type
    /// would all be written here and now. Hence the alignment by an offset.
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl Bytes {
    fn zeroed(len: usize) -> Self {
        let storage = vec![0; len.saturating_add(ALIGN)];
        let start = storage.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { storage, start, len }
    }

    fn get(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}
