//! A model that is all bookkeeping: its "keys and values" are the tokens themselves, kept in paged blocks, and its
//! logits are a hash of everything it finds there. One wrong block, position, copy or adapter changes the text.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use saem_engine::blocks::{BLOCK_TOKENS, BlockCopy};
use saem_engine::random::Random;
use saem_engine::{Adapter, Adapters, EngineError, Forward, Vocabulary};
use saem_kernels::attention::Span;

/// Token ids 0 to 255 are bytes, 256 ends a text, 257 is a control token without text.
pub(crate) const VOCABULARY: usize = 258;
/// The end token.
pub(crate) const END: u32 = 256;
/// The logits after a text: pseudo-random, but the same wherever the same tokens come before.
pub(crate) fn logits_after(tokens: impl IntoIterator<Item = u32>) -> Vec<f32> {
    let hash = tokens
        .into_iter()
        .fold(0x5ae3_u64, |hash, token| Random::new(hash ^ u64::from(token).wrapping_mul(0x9e37_79b9), 0).next_u64());
    let mut random = Random::new(hash, 0);
    (0..VOCABULARY).map(|_| (random.uniform() * 12.0) as f32).collect()
}

/// What a toy says after a text.
pub(crate) type Says = fn(&[u32]) -> Vec<f32>;

/// [`logits_after`] a text, but seven times of eight the token that came 37 places before is likely: a text that keeps
/// copying its prompt and itself.
pub(crate) fn copying(tokens: &[u32]) -> Vec<f32> {
    let mut logits = logits_after(tokens.iter().copied());
    let copied = tokens.len().checked_sub(37).map(|place| tokens[place] as usize);
    if let Some(logit) = copied.and_then(|token| logits.get_mut(token))
        && tokens.len() % 8 != 5
    {
        *logit += 20.0;
    }
    logits
}

#[derive(Debug)]
pub(crate) struct Toy {
    /// Token, position and adapter in each slot; `None` where nothing was stored.
    slots: Vec<Option<(u32, usize, u64)>>,
    adapters: Option<Arc<Adapters>>,
    max_rows: usize,
    max_logit_rows: usize,
    logits: Vec<f32>,
    /// Rows computed so far.
    rows: Arc<AtomicUsize>,
    says: Says,
}

impl Toy {
    pub(crate) fn new(blocks: usize, max_rows: usize, max_logit_rows: usize) -> Self {
        let slots = vec![None; blocks * BLOCK_TOKENS];
        let says: Says = |tokens| logits_after(tokens.iter().copied());
        Self { slots, adapters: None, max_rows, max_logit_rows, logits: Vec::new(), rows: Arc::default(), says }
    }

    /// The same with adapters, of each of which it has another opinion: as of a text after [`mark`].
    pub(crate) fn with_adapters(self, adapters: Arc<Adapters>) -> Self {
        Self { adapters: Some(adapters), ..self }
    }

    /// The same with another opinion.
    pub(crate) fn saying(self, says: Says) -> Self {
        Self { says, ..self }
    }

    /// A counter of the rows that this toy computes.
    pub(crate) fn rows(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.rows)
    }
}

/// What an adapter puts before every text.
pub(crate) fn mark(adapter: u64) -> Option<u32> {
    (adapter > 0).then_some(1_000_000 + adapter as u32)
}

fn slot(blocks: &[u32], position: usize) -> usize {
    blocks[position / BLOCK_TOKENS] as usize * BLOCK_TOKENS + position % BLOCK_TOKENS
}

impl Forward for Toy {
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn blocks(&self) -> usize {
        self.slots.len() / BLOCK_TOKENS
    }

    fn max_rows(&self) -> usize {
        self.max_rows
    }

    fn max_logit_rows(&self) -> usize {
        self.max_logit_rows
    }

    fn ensure_logit_rows(&mut self, rows: usize) {
        self.max_logit_rows = self.max_logit_rows.max(rows);
    }

    fn copy_block(&mut self, copy: BlockCopy) {
        let from = copy.from as usize * BLOCK_TOKENS;
        self.slots.copy_within(from..from + BLOCK_TOKENS, copy.to as usize * BLOCK_TOKENS);
    }

    fn block_bytes(&self) -> usize {
        20 * BLOCK_TOKENS
    }

    fn read_block(&self, block: u32, to: &mut Vec<u8>) {
        for slot in &self.slots[block as usize * BLOCK_TOKENS..][..BLOCK_TOKENS] {
            let (token, position, adapter) = slot.unwrap_or((u32::MAX, 0, 0));
            to.extend(token.to_le_bytes());
            to.extend((position as u64).to_le_bytes());
            to.extend(adapter.to_le_bytes());
        }
    }

    fn write_block(&mut self, block: u32, bytes: &[u8]) {
        let slots = &mut self.slots[block as usize * BLOCK_TOKENS..][..BLOCK_TOKENS];
        for (slot, bytes) in slots.iter_mut().zip(bytes.chunks_exact(20)) {
            let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let token = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            *slot = Some((token, number(4) as usize, number(12)));
        }
    }

    fn forward(&mut self, tokens: &[u32], spans: &[Span<'_>], logit_rows: &[usize]) -> Result<&[f32], EngineError> {
        self.forward_adapted(tokens, spans, &[], logit_rows)
    }

    fn adapters(&self) -> Option<&Arc<Adapters>> {
        self.adapters.as_ref()
    }

    fn forward_adapted(
        &mut self,
        tokens: &[u32],
        spans: &[Span<'_>],
        adapters: &[Option<&Adapter>],
        logit_rows: &[usize],
    ) -> Result<&[f32], EngineError> {
        assert!(adapters.is_empty() || adapters.len() == spans.len(), "one adapter or none for each span");
        let adapter = |span: usize| adapters.get(span).copied().flatten().map_or(0, Adapter::id);
        assert!(tokens.len() <= self.max_rows && logit_rows.len() <= self.max_logit_rows);
        assert!(logit_rows.is_sorted());
        self.rows.fetch_add(tokens.len(), Ordering::Relaxed);
        let mut next_row = 0;
        for (index, span) in spans.iter().enumerate() {
            assert_eq!(span.first_row, next_row, "spans lie side by side");
            next_row += span.rows;
            for row in 0..span.rows {
                let position = span.first_position + row;
                self.slots[slot(span.blocks, position)] =
                    Some((tokens[span.first_row + row], position, adapter(index)));
            }
        }
        assert_eq!(next_row, tokens.len());
        self.logits.clear();
        for row in logit_rows {
            let index =
                spans.iter().position(|span| (span.first_row..span.first_row + span.rows).contains(row)).unwrap();
            let span = &spans[index];
            let last = span.first_position + row - span.first_row;
            let stored = (0..=last).map(|position| {
                let (token, stored, by) = self.slots[slot(span.blocks, position)].expect("an empty slot was read");
                assert_eq!(stored, position, "a slot of another position was read");
                assert_eq!(by, adapter(index), "a slot of another adapter was read");
                token
            });
            let seen: Vec<u32> = mark(adapter(index)).into_iter().chain(stored).collect();
            self.logits.extend((self.says)(&seen));
        }
        Ok(&self.logits)
    }
}

/// Bytes and two control tokens.
#[derive(Debug)]
pub(crate) struct Bytes([u8; 256]);

impl Bytes {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|byte| byte as u8))
    }
}

impl Vocabulary for Bytes {
    fn bytes(&self, token: u32) -> &[u8] {
        self.0.get(token as usize..token as usize + 1).unwrap_or_default()
    }

    fn is_control(&self, token: u32) -> bool {
        token >= 256
    }
}
