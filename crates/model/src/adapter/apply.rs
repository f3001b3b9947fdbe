//! The products of adapters in a pass.
//!
//! Rows with the same adapter are brought together, in order, whatever sequences they belong to, so that its matrices
//! are read once for all of them. Products of float matrices sum in another order for another number of rows; only
//! tiles of eight rows are always summed alike. So every product here has a multiple of eight rows, the last ones zero:
//! what an adapter adds to a row then depends on nothing but the row. The rows that are left over cost little, because
//! a product of few rows is bound by reading the matrices.

use saem_kernels::{Input, Matrix, ThreadPool, matmul, ops};

use super::lora::Pair;
use super::{Adapter, Target};
use crate::config::Config;
use crate::layer::Pass;

/// Rows in a tile of the kernels.
const TILE: usize = 8;
/// Rows that are brought together at a time, a multiple of [`TILE`]: the buffers stay small.
const CHUNK: usize = 128;
/// Multiplications of a product below which the calling thread works alone: some microseconds, so that a decoded row does
/// not wait for the other threads a dozen times in every layer.
const PARALLEL_WORK: usize = 256 * 1024;
/// Projections that share an input.
const MOST_TARGETS: usize = 3;

/// Buffers of the products, and which rows take part in them.
#[derive(Debug, Default)]
pub(crate) struct AdapterBuffers {
    /// The largest rank that there is room for.
    rank: usize,
    groups: Vec<Group>,
    /// Rows of the stream, those of a group side by side in ascending order.
    rows: Vec<usize>,
    /// Input rows, `[CHUNK, widest]`.
    gathered: Vec<f32>,
    /// Their products with an A, `[MOST_TARGETS, CHUNK, rank]`.
    inner: Vec<f32>,
    /// The product with a B, `[CHUNK, widest]`.
    delta: Vec<f32>,
    input: Input,
    /// The calling thread by itself.
    alone: Option<ThreadPool>,
}

/// Rows that share an adapter.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// A span with the adapter.
    span: usize,
    /// Where its rows begin and end.
    start: usize,
    end: usize,
}

impl AdapterBuffers {
    /// Buffers for LoRA up to `rank`, in passes of up to `rows` rows.
    pub(crate) fn new(config: &Config, rows: usize, rank: usize) -> Self {
        let widest = widest(config);
        Self {
            rank,
            groups: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            gathered: vec![0.0; CHUNK * widest],
            inner: vec![0.0; MOST_TARGETS * CHUNK * rank],
            delta: vec![0.0; CHUNK * widest],
            input: Input::with_capacity(CHUNK, widest),
            alone: ThreadPool::new(1).ok(),
        }
    }

    /// The largest rank that there is room for.
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// Finds the rows that a LoRA changes. Without any, every later call has nothing to do.
    pub(crate) fn group(&mut self, pass: &Pass<'_>) {
        self.groups.clear();
        self.rows.clear();
        let lora = |span: usize| pass.adapter(span).filter(|adapter| adapter.is_lora());
        for span in 0..pass.adapters.len() {
            let Some(adapter) = lora(span) else { continue };
            let same = |other: usize| lora(other).is_some_and(|other| other.id() == adapter.id());
            if (0..span).any(same) {
                continue;
            }
            let start = self.rows.len();
            for (_, rows) in pass.spans.iter().enumerate().skip(span).filter(|(other, _)| same(*other)) {
                self.rows.extend(rows.first_row..rows.first_row + rows.rows);
            }
            self.groups.push(Group { span, start, end: self.rows.len() });
        }
    }

    /// Follows the stream when only the rows `keep` (ascending) stay, moved to its front.
    pub(crate) fn keep(&mut self, keep: &[usize]) {
        let mut kept = 0;
        for group in &mut self.groups {
            let start = kept;
            for index in group.start..group.end {
                let place = self.rows.get(index).and_then(|row| keep.binary_search(row).ok());
                // Never ahead of the place that was read.
                if let (Some(place), Some(to)) = (place, self.rows.get_mut(kept)) {
                    *to = place;
                    kept += 1;
                }
            }
            (group.start, group.end) = (start, kept);
        }
        self.rows.truncate(kept);
    }
}

/// Bytes of the buffers for LoRA up to `rank` in passes of up to `rows` rows.
pub(crate) fn buffer_bytes(config: &Config, rows: usize, rank: usize) -> usize {
    let widest = widest(config);
    let floats = CHUNK * (2 * widest + MOST_TARGETS * rank);
    // The input holds floats only.
    let input = CHUNK * widest.next_multiple_of(32) * size_of::<f32>();
    floats * size_of::<f32>() + input + rows * (size_of::<Group>() + size_of::<usize>())
}

/// The widest input or output of a projection.
fn widest(config: &Config) -> usize {
    let dense = if config.layers.iter().any(|layer| !layer.sparse) { config.intermediate } else { 0 };
    dense.max(config.hidden).max(config.query_width()).max(config.kv_width())
}

impl Pass<'_> {
    fn adapter(&self, span: usize) -> Option<&Adapter> {
        self.adapters.get(span).copied().flatten()
    }

    /// Whether any row's adapter changes one of these projections of the layer.
    pub(crate) fn changes(&self, buffers: &AdapterBuffers, targets: &[Target]) -> bool {
        buffers.groups.iter().any(|group| targets.iter().any(|target| self.pair(group, *target).is_some()))
    }

    fn pair(&self, group: &Group, target: Target) -> Option<&Pair> {
        self.adapter(group.span)?.layer(self.layer)?.pair(target)
    }

    /// Adds what adapters add to projections of `x`, `[rows, width]`: `y += scale * B (A x)` for each target's `y`,
    /// `[rows, outputs]`, in the rows that have an adapter, and gives the sum its length where it has one of its own. At
    /// most three targets.
    pub(crate) fn adapt(
        &self,
        buffers: &mut AdapterBuffers,
        x: &[f32],
        width: usize,
        targets: &mut [(Target, &mut [f32])],
    ) {
        let AdapterBuffers { groups, rows, gathered, inner, delta, input, alone, .. } = buffers;
        let pool = |work: usize| alone.as_ref().filter(|_| work < PARALLEL_WORK).unwrap_or(self.pool);
        for group in groups.iter() {
            let mut pairs = [None; MOST_TARGETS];
            for (pair, (target, _)) in pairs.iter_mut().zip(&*targets) {
                *pair = self.pair(group, *target);
            }
            let Some(first) = pairs.iter().flatten().next() else { continue };
            for rows in rows[group.start..group.end].chunks(CHUNK) {
                let padded = rows.len().next_multiple_of(TILE);
                let gathered = &mut gathered[..padded * width];
                gather(x, width, rows, gathered);
                input.set(self.pool, gathered, width, &[&first.a]);
                let work: usize = pairs.iter().flatten().map(|pair| padded * width * pair.rank()).sum();
                down(pool(work), &pairs, first, padded, input, inner);
                let mut inner = &inner[..];
                for (pair, (_, y)) in pairs.iter().zip(&mut *targets) {
                    let Some(pair) = pair else { continue };
                    let (own, others) = inner.split_at(padded * pair.rank());
                    inner = others;
                    input.set(self.pool, own, pair.rank(), &[&pair.b]);
                    let delta = &mut delta[..padded * pair.b.rows()];
                    matmul(pool(delta.len() * pair.rank()), input, &mut [(&pair.b, &mut *delta)]);
                    self.scatter(delta, pair, rows, y);
                }
            }
        }
    }

    /// Adds the rows of a product to theirs of the stream.
    fn scatter(&self, delta: &[f32], pair: &Pair, rows: &[usize], y: &mut [f32]) {
        let width = pair.b.rows();
        let mut done = 0;
        for run in rows.chunk_by(|before, after| before + 1 == *after) {
            let [start, ..] = *run else { continue };
            let len = run.len() * width;
            let y = &mut y[start * width..][..len];
            ops::add_scaled(self.pool, y, &delta[done..][..len], pair.scale);
            if let Some(gains) = &pair.gains {
                gains.apply(y);
            }
            done += len;
        }
    }
}

/// `inner = A x` for every pair, one after the other, in one region of the threads.
fn down(
    pool: &ThreadPool,
    pairs: &[Option<&Pair>; MOST_TARGETS],
    first: &Pair,
    rows: usize,
    input: &Input,
    mut inner: &mut [f32],
) {
    let mut products: [(&Matrix, &mut [f32]); MOST_TARGETS] = std::array::from_fn(|_| (&first.a, Default::default()));
    let mut count = 0;
    for (product, pair) in products.iter_mut().zip(pairs.iter().flatten()) {
        let (own, others) = std::mem::take(&mut inner).split_at_mut(rows * pair.rank());
        inner = others;
        *product = (&pair.a, own);
        count += 1;
    }
    matmul(pool, input, &mut products[..count]);
}

/// Copies rows of `x` side by side; what remains of `out` becomes zero.
fn gather(x: &[f32], width: usize, rows: &[usize], out: &mut [f32]) {
    let (taken, rest) = out.split_at_mut(rows.len() * width);
    for (row, out) in rows.iter().zip(taken.chunks_exact_mut(width)) {
        out.copy_from_slice(&x[row * width..][..width]);
    }
    rest.fill(0.0);
}
