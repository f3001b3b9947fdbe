//! The public face: open, encode, compare.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use saem_kernels::ThreadPool;
use saem_tokenizer::{Parts, Tokenizer};

use crate::EncoderError;
use crate::cache::{Cache, ROW};
use crate::network::{Network, Workspace};
use crate::segments::{Segment, batches, segments};
use crate::weights::{FEATURES, REACH, WIDTH, Weights};

/// Numbers in an embedding.
pub const DIMENSIONS: usize = WIDTH;

/// Names of the files in a model's directory.
const WEIGHTS: &str = "weights.npz";
const TOKENIZER: &str = "sp.model";
/// The largest SentencePiece model that is read; the one this crate is made for has 2.5 MB.
const MAX_TOKENIZER: u64 = 64 << 20;

/// Texts are taken in groups of about this many bytes; a longer text is a group of its own.
const GROUP_BYTES: usize = 64 << 10;
/// Texts in a group at most.
const GROUP_TEXTS: usize = 1024;
/// Texts that a thread turns into tokens at a time.
const SHARE: usize = 8;
/// Tokens whose first layers are kept, 13 kB each.
const CACHED: usize = 4096;
/// Tokens whose first layers a thread computes at a time.
const FIRST_LAYERS: usize = 64;

/// Texts as vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One vector of length 1 for each text.
    pub vectors: Vec<[f32; DIMENSIONS]>,
    /// Tokens of each text, with those that mark its beginning and its end.
    pub tokens: Vec<usize>,
}

/// A sentence encoder in memory. It can be shared between threads; calls from several threads take turns.
#[derive(Debug)]
pub struct SentenceEncoder {
    tokenizer: Tokenizer,
    /// Stands where a text has no token at all.
    unknown: u32,
    network: Network,
    pool: ThreadPool,
    /// For what one thread does by itself.
    alone: ThreadPool,
    state: Mutex<State>,
}

/// What calls change.
#[derive(Debug)]
struct State {
    cache: Cache,
    /// One for each thread.
    spaces: Vec<Mutex<Workspace>>,
}

impl State {
    fn new(tokens: usize, threads: usize) -> Self {
        Self { cache: Cache::new(tokens, CACHED), spaces: (0..threads).map(|_| Mutex::default()).collect() }
    }
}

impl SentenceEncoder {
    /// Opens the model in the directory `path`, which holds `weights.npz` and `sp.model`, to compute with `threads`
    /// threads.
    ///
    /// # Errors
    /// [`EncoderError`] with the file, the array and the offset where something is wrong with them.
    pub fn open(path: &Path, threads: usize) -> Result<Self, EncoderError> {
        let pool = ThreadPool::new(threads)?;
        let (tokenizer, unknown) = tokenizer(&path.join(TOKENIZER))?;
        let weights = Weights::read(&path.join(WEIGHTS), tokenizer.vocabulary_len(), &pool)?;
        let state = Mutex::new(State::new(weights.tokens(), threads));
        Ok(Self { tokenizer, unknown, network: Network { weights }, pool, alone: ThreadPool::new(1)?, state })
    }

    /// Whether `path` looks like a model of this kind: a directory with its weights in it.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.join(WEIGHTS).is_file()
    }

    /// The embeddings of texts.
    ///
    /// The same text has the same embedding, to the bit, in any company and with any number of threads. Beside the
    /// result, memory grows with the longest text alone, and only by a few dozen bytes for each of its bytes.
    #[must_use]
    pub fn encode(&self, texts: &[&str]) -> Embeddings {
        let mut embeddings =
            Embeddings { vectors: Vec::with_capacity(texts.len()), tokens: Vec::with_capacity(texts.len()) };
        let mut rest = texts;
        while let Some((group, after)) = rest.split_at_checked(group_len(rest)).filter(|(group, _)| !group.is_empty()) {
            self.encode_group(group, &mut embeddings);
            rest = after;
        }
        embeddings
    }

    /// Tokens of a text, as [`encode`](Self::encode) counts them.
    #[must_use]
    pub fn count_tokens(&self, text: &str) -> usize {
        let mut tokens = Vec::new();
        self.tokens(text, &mut tokens)
    }

    /// Threads that compute.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Bytes of memory for the weights and for what is kept of the tokens met lately, at most.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.network.weights.byte_len() + CACHED * ROW * size_of::<f32>()
    }

    /// Appends a text's tokens and returns how many there are.
    fn tokens(&self, text: &str, to: &mut Vec<u32>) -> usize {
        let before = to.len();
        to.extend(self.tokenizer.bos());
        let start = to.len();
        self.tokenizer.encode_into(text, false, false, to);
        if to.len() == start {
            to.push(self.unknown);
        }
        to.extend(self.tokenizer.eos());
        to.len() - before
    }

    fn encode_group(&self, texts: &[&str], embeddings: &mut Embeddings) {
        let (tokens, lengths) = self.tokenize(texts);
        let cut = segments(&lengths);
        let batches = batches(&cut);
        let mut sums = vec![0.0_f64; texts.len() * FEATURES];
        let mut state = self.state();
        let mut rest = batches.as_slice();
        while !rest.is_empty() {
            // A round: as many batches as the cache has room for.
            let (count, mut missing) = admit(&mut state.cache, rest, &cut, &tokens);
            self.first_layers(&mut state, &mut missing);
            let (round, after) = rest.split_at(count.clamp(1, rest.len()));
            self.add_up(&state, round, &cut, &tokens, &mut sums);
            rest = after;
        }
        drop(state);
        let mut sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        embeddings.vectors.extend(self.network.head(&self.pool, &mut sums, &lengths));
        embeddings.tokens.extend(lengths);
    }

    /// The tokens of all texts one after the other, and how many each has.
    fn tokenize(&self, texts: &[&str]) -> (Vec<u32>, Vec<usize>) {
        let shares: Vec<(&[&str], Mutex<(Vec<u32>, Vec<usize>)>)> =
            texts.chunks(SHARE).map(|share| (share, Mutex::default())).collect();
        self.each(&shares, |_, _, (texts, found)| {
            let (tokens, lengths) = &mut *lock(found);
            lengths.extend(texts.iter().map(|text| self.tokens(text, tokens)));
        });
        let (mut tokens, mut lengths) = (Vec::new(), Vec::with_capacity(texts.len()));
        for (_, found) in shares {
            let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
            tokens.extend(found.0);
            lengths.extend(found.1);
        }
        (tokens, lengths)
    }

    /// Computes the rows that the cache lacks.
    fn first_layers(&self, state: &mut State, missing: &mut Vec<(u32, Vec<f32>)>) {
        let share = missing.len().div_ceil(self.pool.threads()).next_multiple_of(8).min(FIRST_LAYERS);
        let mut shares = Vec::new();
        while !missing.is_empty() {
            let rest = missing.split_off(share.min(missing.len()));
            shares.push(Mutex::new(std::mem::replace(missing, rest)));
        }
        let spaces = &state.spaces;
        self.each(&shares, |thread, pool, share| {
            if let Some(space) = spaces.get(thread) {
                self.network.first_layers(pool, &mut lock(share), &mut lock(space));
            }
        });
        for share in shares {
            for (token, row) in share.into_inner().unwrap_or_else(PoisonError::into_inner) {
                state.cache.put(token, row);
            }
        }
    }

    /// Adds the features of some batches to the sums of their texts.
    fn add_up(&self, state: &State, batches: &[Range<usize>], cut: &[Segment], tokens: &[u32], sums: &mut [f64]) {
        let jobs: Vec<(&[Segment], Mutex<Vec<f32>>)> =
            batches.iter().map(|batch| (cut.get(batch.clone()).unwrap_or_default(), Mutex::default())).collect();
        self.each(&jobs, |thread, pool, (segments, out)| {
            if let Some(space) = state.spaces.get(thread) {
                self.network.sum(pool, segments, tokens, &state.cache, &mut lock(space), &mut lock(out));
            }
        });
        // In the order of the segments, whichever thread had them.
        for (segments, out) in jobs {
            let out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (segment, features) in segments.iter().zip(out.chunks_exact(FEATURES)) {
                let sums = sums.chunks_exact_mut(FEATURES).nth(segment.index).unwrap_or_default();
                sums.iter_mut().zip(features).for_each(|(sum, feature)| *sum += f64::from(*feature));
            }
        }
    }

    /// Calls `work(thread, pool, job)` for every job; a thread takes the next one when it is done with the last. A
    /// single job has the whole pool for its products, others have their thread.
    fn each<T: Sync>(&self, jobs: &[T], work: impl Fn(usize, &ThreadPool, &T) + Sync) {
        if let [job] = jobs {
            return work(0, &self.pool, job);
        }
        let next = AtomicUsize::new(0);
        self.pool.run(|thread| {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(thread.index, &self.alone, job);
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A call that panicked may have left rows half computed.
            let mut state = poisoned.into_inner();
            *state = State::new(self.network.weights.tokens(), self.pool.threads());
            self.state.clear_poison();
            state
        })
    }
}

/// Keeps the rows of as many batches as the cache has room for; returns how many these are, and the rows to compute.
fn admit(
    cache: &mut Cache,
    batches: &[Range<usize>],
    cut: &[Segment],
    tokens: &[u32],
) -> (usize, Vec<(u32, Vec<f32>)>) {
    let mut missing = Vec::new();
    cache.begin();
    for (count, batch) in batches.iter().enumerate() {
        let segments = cut.get(batch.clone()).unwrap_or_default();
        // A first convolution beside the segment looks as far again.
        let reaches = || segments.iter().map(|segment| segment.with_reach(2 * REACH));
        if !cache.has_room(reaches().map(|reach| reach.len()).sum()) {
            return (count, missing);
        }
        for &token in reaches().flat_map(|reach| tokens.get(reach).unwrap_or_default()) {
            if let Some(row) = cache.need(token) {
                missing.push((token, row));
            }
        }
    }
    (batches.len(), missing)
}

/// How many of the texts make up the next group.
fn group_len(texts: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |text: &&&str| {
        bytes += text.len();
        bytes <= GROUP_BYTES
    };
    texts.iter().take(GROUP_TEXTS).take_while(fits).count().max(1).min(texts.len())
}

/// Reads the tokenizer, and the token that stands for what it does not know.
fn tokenizer(path: &Path) -> Result<(Tokenizer, u32), EncoderError> {
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_TOKENIZER + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_TOKENIZER {
        return Err(EncoderError::TooLarge { path: path.to_owned(), bytes: bytes.len() as u64, limit: MAX_TOKENIZER });
    }
    let broken = |source| EncoderError::Tokenizer { path: path.to_owned(), source };
    let mut parts = Parts::from_sentencepiece(&bytes).map_err(broken)?;
    // As in the package that carries the weights.
    parts.split_unknown = true;
    let tokenizer = Tokenizer::from_parts(parts).map_err(broken)?;
    let tokens = tokenizer.vocabulary_len();
    let missing = |what| EncoderError::MissingToken { path: path.to_owned(), what, tokens };
    let unknown = tokenizer.unk().ok_or(missing("unknown"))?;
    tokenizer.bos().ok_or(missing("begin"))?;
    tokenizer.eos().ok_or(missing("end"))?;
    Ok((tokenizer, unknown))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_and_never_empty() {
        let long = "x".repeat(GROUP_BYTES + 1);
        assert_eq!(group_len(&[&long, "a"]), 1);
        assert_eq!(group_len(&["a", &long, "a"]), 1);
        assert_eq!(group_len(&[""; 3000]), GROUP_TEXTS);
        assert_eq!(group_len(&[]), 0);
    }
}
