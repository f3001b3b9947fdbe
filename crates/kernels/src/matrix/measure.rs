//! What this machine can do at most, and how near the kernels come.
//!
//! Limits are measured by loops that do nothing else: reading memory that no cache holds, and multiplying registers.
//! A product with one input row is bound by reading the weights, one with many rows by arithmetic.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::dot::{Dot, DotKernel, chosen, dispatch};
use super::{Input, Matrix, matmul};
use crate::simd::Isa;
use crate::{DataType, KernelError, ThreadPool, blocks};

/// The most that the machine's threads reach together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read from memory in a second.
    pub read_bytes: f64,
    /// f32 operations (a multiply-add is two) in a second.
    pub f32_operations: f64,
    /// Byte operations (a multiply-add is two) in a second, by vector instructions.
    pub int8_operations: f64,
    /// The same by AMX tiles, where there are any.
    pub tile_operations: Option<f64>,
}

/// One kernel at one size.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// The stored type of the weights.
    pub data_type: DataType,
    /// Input rows: 1 is decoding, many is prefill.
    pub rows: usize,
    /// The implementation that ran.
    pub chosen: &'static str,
    /// What was counted each second: `bytes` or `operations`.
    pub unit: &'static str,
    /// Per second.
    pub rate: f64,
    /// The limit of the implementation that ran, per second.
    pub limit: f64,
}

/// How long a limit or a product is measured.
const WHILE: Duration = Duration::from_millis(150);

/// Repeats `body` for some time, at least three times, and returns the fastest run in seconds.
pub fn fastest(time: Duration, mut body: impl FnMut()) -> f64 {
    let (start, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while runs < 3 || start.elapsed() < time {
        let run = Instant::now();
        body();
        best = best.min(run.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

const CHAINS: usize = 12;
const TURNS: usize = 200_000;

struct Int8Peak;

impl DotKernel for Int8Peak {
    type Output = f64;

    #[inline(always)]
    fn run<S: Dot>(self, simd: S) -> f64 {
        let bytes = black_box([3_u8; 64]);
        let input = black_box([1_i8; 4]);
        let mut sums = [simd.splat_i32(0); CHAINS];
        // SAFETY: 64 bytes are at least a vector; the input has four.
        let codes = unsafe { simd.load_bytes(bytes.as_ptr()) };
        for _ in 0..TURNS {
            for sum in &mut sums {
                // SAFETY: as above.
                *sum = unsafe { simd.dot::<false>(*sum, codes, input.as_ptr()) };
            }
        }
        let total = sums.into_iter().reduce(|a, b| simd.add_i32(a, b)).unwrap_or(simd.splat_i32(0));
        black_box(simd.reduce_sum(simd.to_f32(total)));
        (TURNS * CHAINS * S::LANES * 4 * 2) as f64
    }
}

struct F32Peak;

impl DotKernel for F32Peak {
    type Output = f64;

    #[inline(always)]
    fn run<S: Dot>(self, simd: S) -> f64 {
        let (factor, term) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
        let mut sums = [simd.zero(); CHAINS];
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, term);
            }
        }
        let total = sums.into_iter().reduce(|a, b| simd.add(a, b)).unwrap_or(simd.zero());
        black_box(simd.reduce_sum(total));
        (TURNS * CHAINS * S::LANES * 2) as f64
    }
}

/// Measures the limits with all threads of the pool (about a second).
#[must_use]
pub fn limits(pool: &ThreadPool) -> Limits {
    let threads = pool.threads() as f64;
    let isa = Isa::detect();
    let rate = |operations: &(dyn Fn() -> f64 + Sync)| {
        let count = operations();
        let seconds = fastest(WHILE, || {
            pool.run(|_| {
                isa.scope(|| black_box(operations()));
            });
        });
        count * threads / seconds
    };
    // Far more than the caches of a core; huge last-level caches may still hold a part.
    let memory = vec![1_u64; 64 << 20];
    let seconds = fastest(WHILE, || {
        pool.split(memory.len(), 1024, |range| {
            let mut sums = [0_u64; 16];
            for chunk in memory[range].chunks_exact(16) {
                for (sum, word) in sums.iter_mut().zip(chunk) {
                    *sum = sum.wrapping_add(*word);
                }
            }
            black_box(sums);
        });
    });
    #[cfg(target_arch = "x86_64")]
    let tile_operations = (isa == Isa::Amx).then(|| rate(&super::amx::peak_operations));
    #[cfg(not(target_arch = "x86_64"))]
    let tile_operations = None;
    Limits {
        read_bytes: (memory.len() * 8) as f64 / seconds,
        f32_operations: rate(&|| dispatch(F32Peak)),
        int8_operations: rate(&|| dispatch(Int8Peak)),
        tile_operations,
    }
}

/// Measures products of each stored type with 1 and with 512 input rows, reporting each as it is done.
///
/// # Errors
/// Only where memory sizes overflow.
pub fn products(pool: &ThreadPool, limits: &Limits, each: &mut dyn FnMut(Measurement)) -> Result<(), KernelError> {
    const COLUMNS: usize = 2048;
    const BYTES: usize = 96 << 20;
    let row: Vec<f32> = (0..COLUMNS).map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 506.0).collect();
    let inputs = row.repeat(512);
    for data_type in DataType::ALL {
        let mut stored = Vec::new();
        blocks::quantize(data_type, &row, &mut stored)?;
        for rows in [1, 512] {
            // Decoding reads each weight once, so the matrix must not fit the caches near the core.
            let outputs = if rows == 1 { BYTES / stored.len() / 16 * 16 } else { 1024 };
            let matrix = Matrix::pack(pool, data_type, outputs, COLUMNS, &stored.repeat(outputs))?;
            let mut input = Input::with_capacity(rows, COLUMNS);
            input.set(pool, &inputs[..rows * COLUMNS], COLUMNS, &[&matrix]);
            let mut out = vec![0.0; rows * outputs];
            let seconds = fastest(WHILE, || matmul(pool, &input, &mut [(&matrix, &mut out)]));
            let float = data_type.block_len() == 1;
            let tiles = limits.tile_operations.filter(|_| rows > 1 && data_type.block_len() == 256);
            each(Measurement {
                data_type,
                rows,
                chosen: match (tiles, float) {
                    (Some(_), _) => "amx-int8",
                    // Products with floats use no tiles.
                    (None, true) => Isa::detect().min(Isa::Avx512).name(),
                    (None, false) => chosen(),
                },
                unit: if rows == 1 { "bytes" } else { "operations" },
                rate: if rows == 1 { matrix.byte_len() } else { 2 * rows * outputs * COLUMNS } as f64 / seconds,
                limit: match (rows, tiles, float) {
                    (1, _, _) => limits.read_bytes,
                    (_, Some(tiles), _) => tiles,
                    (_, _, true) => limits.f32_operations,
                    _ => limits.int8_operations,
                },
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_every_type_is_measured() {
        let pool = ThreadPool::new(2).unwrap();
        let limits = limits(&pool);
        assert!(limits.read_bytes > 0.0 && limits.f32_operations > 0.0 && limits.int8_operations > 0.0);
        assert_eq!(limits.tile_operations.is_some(), Isa::detect() == Isa::Amx);
    }
}
