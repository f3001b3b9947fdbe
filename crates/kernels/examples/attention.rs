//! Measures attention against the machine's limits: prompts against its multiply-adds, decoding against its memory.
//!
//! ```text
//! cargo run --release -p saem-kernels --example attention -- [threads] [seconds for each figure]
//! ```
//!
//! Prompts: exact multiply-adds of causal attention (nothing counted for masked scores), and the fraction of a loop of
//! multiply-adds on registers. Decoding: bytes of keys and values that one pass must read, with as many layers as
//! exceed the caches, and the fraction of a plain read of the same memory.

use std::time::{Duration, Instant};

use saem_kernels::attention::{AttentionShape, BLOCK_TOKENS, KvPages, KvType, Span, attention, store_kv};
use saem_kernels::simd::{Isa, Kernel, Simd};
use saem_kernels::{KernelError, ThreadPool};

/// Multiply-adds on registers, the limit of arithmetic; gives their number, doubled.
struct Peak;

impl Kernel for Peak {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        const ROUNDS: usize = 100_000;
        let mut sums = [simd.splat(1.0); 10];
        let (a, b) = (simd.splat(std::hint::black_box(1e-9)), simd.splat(std::hint::black_box(0.5)));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.fma(*sum, a, b);
            }
        }
        let mut total = simd.zero();
        for sum in sums {
            total = simd.add(total, sum);
        }
        std::hint::black_box(simd.reduce_sum(total));
        2 * ROUNDS * sums.len() * S::LANES
    }
}

/// Reads memory: the limit of decoding.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.zero(); 4];
        for chunk in self.0.chunks_exact(4 * S::LANES) {
            for (sum, part) in sums.iter_mut().zip(chunk.chunks_exact(S::LANES)) {
                *sum = simd.add(*sum, simd.load_slice(part));
            }
        }
        simd.reduce_sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])))
    }
}

/// Seconds of one run: the best of as many as fit in the time.
fn best(time: Duration, mut run: impl FnMut()) -> f64 {
    run();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < time {
        let run_start = Instant::now();
        run();
        best = best.min(run_start.elapsed().as_secs_f64());
    }
    best
}

struct Layers {
    shape: AttentionShape,
    pages: Vec<KvPages>,
    blocks: Vec<u32>,
}

impl Layers {
    fn new(pool: &ThreadPool, shape: AttentionShape, kv_type: KvType, context: usize, layers: usize) -> Self {
        let blocks: Vec<u32> = (0..context.div_ceil(BLOCK_TOKENS) as u32).collect();
        let rows: Vec<f32> =
            (0..context * shape.kv_heads * shape.head_dim).map(|index| (index as f32 * 0.37).sin()).collect();
        let new = || {
            let mut pages = KvPages::new(kv_type, blocks.len(), shape.kv_heads, shape.head_dim);
            let span = Span { first_row: 0, rows: context, first_position: 0, blocks: &blocks };
            store_kv(pool, &mut pages, &rows, &rows, &[span]);
            pages
        };
        let pages = (0..layers).map(|_| new()).collect();
        Self { shape, pages, blocks }
    }

    /// Seconds for each layer.
    fn time(&self, pool: &ThreadPool, time: Duration, rows: usize, first_position: usize) -> f64 {
        let queries: Vec<f32> =
            (0..rows * self.shape.heads * self.shape.head_dim).map(|index| (index as f32 * 0.11).cos()).collect();
        let mut out = vec![0.0; queries.len()];
        let span = Span { first_row: 0, rows, first_position, blocks: &self.blocks };
        let seconds = best(time, || {
            for pages in &self.pages {
                attention(pool, &self.shape, pages, &queries, &[span], &mut out);
            }
        });
        seconds / self.pages.len() as f64
    }
}

fn main() -> Result<(), KernelError> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|argument| argument.parse().ok()).unwrap_or(2);
    let seconds = arguments.next().and_then(|argument| argument.parse().ok()).unwrap_or(0.5);
    let time = Duration::from_secs_f64(seconds);
    let pool = ThreadPool::new(threads)?;
    let isa = Isa::detect();

    let peak = best(time, || {
        pool.run(|_| {
            std::hint::black_box(isa.dispatch(Peak));
        });
    });
    let peak = (threads * isa.dispatch(Peak)) as f64 / peak / 1e9;
    // A part at a time, so that the best is not a run that other programs have disturbed.
    let memory = vec![1.0_f32; 128 << 20];
    let mut parts = memory.chunks(1 << 20).cycle();
    let read = best(time, || {
        let part = parts.next().unwrap_or(&[]);
        pool.split(part.len(), 1024, |range| {
            std::hint::black_box(isa.dispatch(Read(&part[range])));
        });
    });
    let read = (4 << 20) as f64 / read / 1e9;
    drop(memory);
    println!("{isa}, {threads} threads: {peak:.0} GFLOP/s on registers, {read:.1} GB/s from memory");

    for (name, heads, kv_heads, head_dim) in
        [("9 heads on 3, 64", 9, 3, 64), ("12 heads on 2, 128", 12, 2, 128), ("4 heads on 1, 256", 4, 1, 256)]
    {
        let scale = 1.0 / (head_dim as f32).sqrt();
        let shape = AttentionShape { heads, kv_heads, head_dim, scale, window: None, soft_cap: None };
        for kv_type in [KvType::F16, KvType::Q8_0] {
            for context in [16, 64, 512, 4096] {
                let layers = Layers::new(&pool, shape, kv_type, context, 1);
                let seconds = layers.time(&pool, time, context, 0);
                let rate = (4 * heads * head_dim * context * (context + 1) / 2) as f64 / seconds / 1e9;
                println!(
                    "{name}, {kv_type:?}: prompt {context:5}: {:9.1} us, {rate:6.1} GFLOP/s, {:3.0} %",
                    seconds * 1e6,
                    100.0 * rate / peak
                );
            }
            for context in [64, 512, 4096, 16384] {
                let bytes = KvPages::block_bytes(kv_type, kv_heads, head_dim) * context / BLOCK_TOKENS;
                let count = ((256 << 20) / bytes).clamp(4, 64);
                let layers = Layers::new(&pool, shape, kv_type, context, count);
                let seconds = layers.time(&pool, time, 1, context - 1);
                let rate = bytes as f64 / seconds / 1e9;
                println!(
                    "{name}, {kv_type:?}: decode {context:5}: {:9.1} us, {rate:6.1} GB/s,     {:3.0} %  ({} MB)",
                    seconds * 1e6,
                    100.0 * rate / read,
                    (bytes * count) >> 20,
                );
            }
        }
    }
    Ok(())
}
