//! Prefix tuning (Li and Liang 2021, arXiv 2101.00190): keys and values of every layer that every text begins with.
//!
//! A row of the prefix stands in a batch as a token beyond the vocabulary, so that positions, windows and memory are those
//! of texts that are longer by the prefix. What is computed for that row is thrown away in every layer: its key and value
//! are the trained ones, and nothing else of it is ever seen. It costs what a token costs, and no pass of its own.

use saem_kernels::ThreadPool;
use saem_kernels::gradient::Documents;
use saem_kernels::ops;

use crate::buffers::Buffers;
use crate::forward::Pass;
use crate::layout::Prefix;
use crate::pass::Decoder;
use crate::random::Random;

/// What the tokens are drawn for whose keys and values a prefix begins as.
const PREFIX: u64 = 6;

impl Prefix {
    /// Where in the table the key of a row in a layer begins; the value lies behind it.
    fn place(&self, layer: usize, layers: usize, row: usize, width: usize) -> usize {
        self.table.start + (row * layers + layer) * 2 * width
    }
}

impl Pass<'_> {
    /// Puts the prefix's keys and values into the first rows of every text.
    pub(crate) fn put_prefix(&self, layer: usize, key: &mut [f32], value: &mut [f32]) {
        let Some(prefix) = self.prefix else { return };
        let (width, layers) = (self.config.kv_width(), self.config.layers.len());
        for document in self.beginnings() {
            for row in 0..prefix.rows.min(document.len()) {
                let place = prefix.place(layer, layers, row, width);
                let both = self.weights.trained.floats(&(place..place + 2 * width));
                let to = (document.start + row) * width;
                key[to..to + width].copy_from_slice(&both[..width]);
                value[to..to + width].copy_from_slice(&both[width..]);
            }
        }
    }

    /// Adds the gradients of the first rows of every text to the prefix's, and takes them away: they do not go back to
    /// what those rows were projected from.
    pub(crate) fn take_prefix(&self, layer: usize, dkey: &mut [f32], dvalue: &mut [f32], gradients: &mut [f32]) {
        let Some(prefix) = self.prefix else { return };
        let (width, layers) = (self.config.kv_width(), self.config.layers.len());
        for document in self.beginnings() {
            for row in 0..prefix.rows.min(document.len()) {
                let both = &mut gradients[prefix.place(layer, layers, row, width)..][..2 * width];
                let from = (document.start + row) * width;
                for (to, from) in
                    both.chunks_exact_mut(width).zip([&mut dkey[from..from + width], &mut dvalue[from..from + width]])
                {
                    ops::add_scaled(self.pool, to, from, 1.0);
                    from.fill(0.0);
                }
            }
        }
    }
}

impl Decoder {
    /// What a prefix begins as: the keys and values of tokens drawn by the seed (Li and Liang 2021, section 7.4: those of
    /// real words do better than numbers drawn at random, the more so with few examples).
    pub(crate) fn begin_prefix(&self, pool: &ThreadPool, seed: u64, weights: &mut [f32], buffers: &mut Buffers) {
        let Self { config, layout, .. } = self;
        let Some(prefix) = layout.prefix.as_ref().filter(|prefix| prefix.rows <= buffers.tokens) else { return };
        let mut random = Random::new(seed, PREFIX);
        let tokens: Vec<u32> = (0..prefix.rows).map(|_| random.below(config.vocabulary) as u32).collect();
        let (width, layers) = (config.kv_width(), config.layers.len());
        let mut table = vec![0.0; prefix.table.len()];
        let text = 0..prefix.rows;
        let documents = Documents { rows: std::slice::from_ref(&text), first_is_shared: false };
        let pass = Pass { prefix: None, ..self.pass(pool, (&*weights).into(), documents, prefix.rows, false) };
        let Buffers { streams, saved, insides, scratch, .. } = buffers;
        for (angles, _) in &mut scratch.angles {
            angles.set(0, prefix.rows, 0);
        }
        let used = prefix.rows * config.hidden;
        self.input(&pass, &tokens, &mut streams[0][..used], scratch);
        for (index, layer) in layout.layers.iter().enumerate() {
            let (before, after) = streams.split_at_mut(index + 1);
            // Where insides are kept for one layer alone, each layer overwrites the last one's.
            let inside = if insides.len() == layers { index } else { 0 };
            let kept = (&mut saved[0], &mut insides[inside]);
            pass.layer(index, layer, &before[index][..used], &mut after[0][..used], kept, scratch);
            let saved = &saved[0];
            for row in 0..prefix.rows {
                let place = prefix.place(index, layers, row, width) - prefix.table.start;
                let both = &mut table[place..place + 2 * width];
                both[..width].copy_from_slice(&saved.key[row * width..(row + 1) * width]);
                both[width..].copy_from_slice(&saved.value[row * width..(row + 1) * width]);
            }
        }
        weights[prefix.table.clone()].copy_from_slice(&table);
    }
}
