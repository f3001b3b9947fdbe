//! Kept texts on disk: what was computed before a restart need not be computed after it.
//!
//! The file is a header, one record for each block, and a SHA-256 over both:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SAEMKV01` |
//! | 32 | SHA-256 of the model's identity, Saem's version and the size of a block |
//! | 8 | number of records, little-endian |
//! | each: 4 | number of the record before it, or `ffffffff` where a text begins |
//! | 8 | the tenant, for a beginning |
//! | 4 x tokens of a block | the text |
//! | bytes of a block | keys and values as they lie in memory |
//! | 32 | SHA-256 of everything before |
//!
//! It is written and read by the same build on the same model or not at all, so the layout of the memory is a format
//! good enough. Keys and values of a thousand tokens are some 25 MB, read in hundredths of a second; computing them
//! takes seconds.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

use crate::Forward;
use crate::blocks::{BLOCK_TOKENS, BlockPool, Salt};
use crate::prefix::{Before, Key};

const MAGIC: &[u8; 8] = b"SAEMKV01";
/// Stands where a text begins.
const NONE: u32 = u32::MAX;

/// Kept texts that cannot be taken up again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecallError {
    /// Reading failed, or the file ends too early.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is of another model, of another version of Saem, or no such file at all.
    #[error("was not written by this version of Saem for this model")]
    Foreign,
    /// The check sum is wrong, or a record does not follow from those before.
    #[error("is damaged at record {record}")]
    Damaged {
        /// The first record that is wrong, or their number where the sum is.
        record: u64,
    },
}

/// Names what a file is good for.
fn identity(forward: &dyn Forward, model: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(model);
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update((forward.block_bytes() as u64).to_le_bytes());
    hash.update((BLOCK_TOKENS as u64).to_le_bytes());
    hash.finalize().into()
}

/// See [`Worker::keep`](crate::Worker::keep).
pub(crate) fn write(
    forward: &dyn Forward,
    pool: &BlockPool,
    model: &[u8; 32],
    most: usize,
    to: &mut dyn Write,
) -> std::io::Result<usize> {
    let mut kept = base_texts(pool);
    kept.truncate(if forward.block_bytes() == 0 { 0 } else { most });
    let mut to = Hashing { inner: to, hash: Sha256::new() };
    to.write_all(MAGIC)?;
    to.write_all(&identity(forward, model))?;
    to.write_all(&(kept.len() as u64).to_le_bytes())?;
    let mut records = HashMap::new();
    let mut bytes = Vec::new();
    for (record, (block, key)) in (0_u32..).zip(&kept) {
        let (before, salt) = match key.before() {
            Before::Salt(salt) => (NONE, salt.tenant),
            // The order puts every block after the one before it.
            Before::Block(before) => (records.get(&before).copied().unwrap_or(NONE), 0),
        };
        records.insert(*block, record);
        bytes.clear();
        bytes.extend(before.to_le_bytes());
        bytes.extend(salt.to_le_bytes());
        key.tokens().iter().for_each(|token| bytes.extend(token.to_le_bytes()));
        forward.read_block(*block, &mut bytes);
        to.write_all(&bytes)?;
    }
    let Hashing { inner, hash } = to;
    inner.write_all(&hash.finalize())?;
    Ok(kept.len())
}

/// Kept texts that were computed without an adapter: those of adapters mean nothing in another process, where the same
/// file is another adapter.
fn base_texts(pool: &BlockPool) -> Vec<(u32, &Key)> {
    let mut base = HashSet::new();
    let mut kept = pool.kept_texts();
    kept.retain(|(block, key)| {
        let is_base = match key.before() {
            Before::Salt(salt) => salt.adapter == 0,
            Before::Block(before) => base.contains(&before),
        };
        is_base && base.insert(*block)
    });
    kept
}

/// See [`Worker::recall`](crate::Worker::recall). On an error the pool is left in between and must be made anew.
pub(crate) fn read(
    forward: &mut dyn Forward,
    pool: &mut BlockPool,
    model: &[u8; 32],
    from: &mut dyn Read,
) -> Result<usize, RecallError> {
    let mut from = Hashing { inner: from, hash: Sha256::new() };
    let mut head = [0; 48];
    from.read_exact(&mut head)?;
    let (name, count) = head.split_at(40);
    if name != [MAGIC.as_slice(), &identity(forward, model)].concat() {
        return Err(RecallError::Foreign);
    }
    let count = u64::from_le_bytes(count.try_into().map_err(|_| RecallError::Foreign)?);
    let mut text = [0; 12 + 4 * BLOCK_TOKENS];
    let mut bytes = vec![0; forward.block_bytes()];
    // The number of a record to the block that holds it; none where it was not taken up.
    let mut blocks: Vec<Option<u32>> = Vec::new();
    for record in 0..count {
        let damaged = RecallError::Damaged { record };
        from.read_exact(&mut text)?;
        from.read_exact(&mut bytes)?;
        let Some((before, tenant, tokens)) = parse(&text) else { return Err(damaged) };
        let before = match before {
            NONE => Some(Before::Salt(Salt { tenant, adapter: 0 })),
            before => match blocks.get(before as usize) {
                Some(block) => block.map(Before::Block),
                None => return Err(damaged),
            },
        };
        let vocabulary = forward.vocabulary();
        if tokens.iter().any(|token| *token as usize >= vocabulary) {
            return Err(damaged);
        }
        // Where the cache is smaller than it was, what was used longest ago stays out.
        let block = before.and_then(|before| pool.recall(Key::new(before, &tokens)?));
        if let Some(block) = block {
            forward.write_block(block, &bytes);
        }
        blocks.push(block);
    }
    let Hashing { inner, hash } = from;
    let mut sum = [0; 32];
    inner.read_exact(&mut sum)?;
    if *hash.finalize() != sum {
        return Err(RecallError::Damaged { record: count });
    }
    let recalled: Vec<u32> = blocks.into_iter().flatten().collect();
    pool.settle(&recalled);
    Ok(recalled.len())
}

/// Number of the record before, tenant and tokens of a record.
fn parse(text: &[u8]) -> Option<(u32, u64, Vec<u32>)> {
    let (before, rest) = text.split_first_chunk()?;
    let (tenant, tokens) = rest.split_first_chunk()?;
    let tokens = tokens.chunks_exact(4).map(|token| token.try_into().map(u32::from_le_bytes));
    Some((u32::from_le_bytes(*before), u64::from_le_bytes(*tenant), tokens.collect::<Result<_, _>>().ok()?))
}

/// A reader or a writer that hashes what passes.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl Write for Hashing<&mut dyn Write> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl Read for Hashing<&mut dyn Read> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
