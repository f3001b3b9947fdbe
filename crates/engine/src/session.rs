//! Conversations that keep their keys and values between turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::blocks::{BlockPool, BlockTable};

/// Handles that were dropped and whose blocks may go.
type Dropped = Arc<Mutex<Vec<u64>>>;

/// The memory of a conversation: what a new prompt has in common with the turns before is not computed again.
///
/// Made by [`Engine::session`](crate::Engine::session). Dropping it frees its blocks; when other requests need them
/// they are freed earlier, the session used least recently first, and the next turn computes its prompt anew. The
/// text is the same either way up to rounding: keys and values that were computed one token at a time can differ in
/// their last bit from those of a long prompt.
#[derive(Debug)]
pub struct Session {
    id: u64,
    dropped: Dropped,
}

impl Session {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

/// What a session holds between its requests.
#[derive(Debug)]
struct Kept {
    /// The tokens whose keys and values are in the blocks.
    tokens: Vec<u32>,
    blocks: BlockTable,
    /// When it was put here.
    stamp: u64,
}

/// All sessions at rest.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    kept: HashMap<u64, Kept>,
    dropped: Dropped,
    /// Counts events, for ids and stamps.
    clock: u64,
}

impl Sessions {
    pub(crate) fn open(&mut self) -> Session {
        self.clock += 1;
        Session { id: self.clock, dropped: Arc::clone(&self.dropped) }
    }

    /// Frees the blocks of sessions whose handles are gone.
    pub(crate) fn collect(&mut self, pool: &mut BlockPool) {
        let dropped = std::mem::take(&mut *self.dropped.lock().unwrap_or_else(PoisonError::into_inner));
        for id in dropped {
            if let Some(mut kept) = self.kept.remove(&id) {
                kept.blocks.clear(pool);
            }
        }
    }

    /// Takes out the blocks which hold the beginning of `prompt`, and the number of positions they hold. The last
    /// token of the prompt is never among them: its logits are wanted.
    pub(crate) fn take(&mut self, id: u64, prompt: &[u32], pool: &mut BlockPool) -> (BlockTable, usize) {
        let Some(mut kept) = self.kept.remove(&id) else { return (BlockTable::default(), 0) };
        let common = kept.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let common = common.min(prompt.len().saturating_sub(1));
        kept.blocks.truncate(pool, common);
        (kept.blocks, common)
    }

    /// Puts a session to rest. A later turn that came to rest earlier is replaced.
    pub(crate) fn keep(&mut self, id: u64, tokens: Vec<u32>, blocks: BlockTable, pool: &mut BlockPool) {
        self.clock += 1;
        if let Some(mut old) = self.kept.insert(id, Kept { tokens, blocks, stamp: self.clock }) {
            old.blocks.clear(pool);
        }
    }

    /// Frees the blocks of the session that has rested longest. False where there is none.
    pub(crate) fn evict(&mut self, pool: &mut BlockPool) -> bool {
        let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.stamp).map(|(id, _)| *id);
        let Some(mut kept) = oldest.and_then(|id| self.kept.remove(&id)) else { return false };
        kept.blocks.clear(pool);
        true
    }
}
