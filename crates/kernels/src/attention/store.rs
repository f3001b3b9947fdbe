//! Writing keys and values into the cache.

use super::format::{F16Tile, F32Tile, Format, Q8Tile};
use super::pages::Layout;
use super::{BLOCK_TOKENS, KvPages, KvType, Span, check_span};
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Elements below which the caller does the work alone.
const PARALLEL_ELEMENTS: usize = 16 * 1024;

/// Writes keys and values (`[rows, kv_heads, head_dim]`) of a batch into the cache.
///
/// # Panics
/// If the shapes do not agree, or a span reaches beyond the batch, its blocks or the cache.
pub fn store_kv(pool: &ThreadPool, pages: &mut KvPages, keys: &[f32], values: &[f32], spans: &[Span<'_>]) {
    let layout = *pages.layout();
    let width = layout.kv_heads * layout.head_dim;
    assert!(width > 0 && keys.len() == values.len() && keys.len().is_multiple_of(width), "keys must be whole rows");
    for span in spans {
        check_span(span, keys.len() / width, pages, span.first_position);
    }
    let isa = Isa::detect();
    let (key_tiles, value_tiles) = pages.shared();
    // An item is all of one head, so that spans which name the same block do not meet.
    let store = |item: usize| {
        let (from, tiles) = if item < layout.kv_heads { (keys, &key_tiles) } else { (values, &value_tiles) };
        isa.dispatch(Store { layout, from, tiles, spans, kv_head: item % layout.kv_heads });
    };
    if 2 * spans.iter().map(|span| span.rows).sum::<usize>() * width < PARALLEL_ELEMENTS {
        (0..2 * layout.kv_heads).for_each(store);
    } else {
        pool.split(2 * layout.kv_heads, 1, |items| items.for_each(store));
    }
}

/// The keys or the values of one head.
struct Store<'a> {
    layout: Layout,
    from: &'a [f32],
    tiles: &'a SharedSlice<'a, u8>,
    spans: &'a [Span<'a>],
    kv_head: usize,
}

impl Kernel for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.layout.kv_type {
            KvType::F32 => self.store::<S, F32Tile>(simd),
            KvType::F16 => self.store::<S, F16Tile>(simd),
            KvType::Q8_0 => self.store::<S, Q8Tile>(simd),
        }
    }
}

impl Store<'_> {
    #[inline(always)]
    fn store<S: Simd, F: Format>(&self, simd: S) {
        let (kv_heads, head_dim) = (self.layout.kv_heads, self.layout.head_dim);
        for span in self.spans {
            for row in 0..span.rows {
                let position = span.first_position + row;
                let start = self.layout.tile(span.blocks[position / BLOCK_TOKENS], self.kv_head);
                let from = ((span.first_row + row) * kv_heads + self.kv_head) * head_dim;
                let from = &self.from[from..from + head_dim];
                // SAFETY: this head's tiles belong to this item; one is alive at a time.
                let tile = unsafe { self.tiles.range(start..start + self.layout.tile_bytes()) };
                // SAFETY: a whole tile, and `head_dim` is at most the width.
                unsafe { F::store(simd, &self.layout, tile.as_mut_ptr(), position % BLOCK_TOKENS, from) };
            }
        }
    }
}
