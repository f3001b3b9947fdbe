//! What a worker has done and is doing, for whoever watches it.

/// A moment of a [`Worker`](crate::Worker): what is in it now, and what it has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sequences (candidates) at work.
    pub running: usize,
    /// Requests that wait to start.
    pub waiting: usize,
    /// Blocks of the key-value cache.
    pub blocks: usize,
    /// Of these, blocks that sequences use.
    pub blocks_used: usize,
    /// Of these, blocks that nobody uses and whose text is kept for later requests.
    pub blocks_kept: usize,
    /// So far: what is counted since the worker was made.
    pub totals: Totals,
}

/// What a worker has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that started.
    pub requests: u64,
    /// Of these, requests whose prompt began with tokens that the cache knew.
    pub prefix_hits: u64,
    /// Tokens of prompts of the requests that started.
    pub prompt_tokens: u64,
    /// Of these, tokens whose keys and values were in the cache.
    pub cached_tokens: u64,
    /// Tokens that were generated.
    pub completion_tokens: u64,
    /// Tokens that were guessed and computed along with others.
    pub drafted_tokens: u64,
    /// Of these, tokens that were right.
    pub accepted_tokens: u64,
    /// Passes over the model.
    pub passes: u64,
    /// Rows of all passes: tokens that the model computed.
    pub rows: u64,
}
