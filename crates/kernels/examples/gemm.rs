//! GFLOP/s of float products: `gemm [THREADS]`.

use std::time::Instant;

use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm, shared_len};
use saem_kernels::{KernelError, ThreadPool};

fn main() -> Result<(), KernelError> {
    let threads = std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let pool = ThreadPool::new(threads)?;
    for (m, n, k) in [
        (2048, 2048, 2048),
        (2048, 256, 256),
        (2048, 768, 256),
        (256, 768, 2048),
        (2048, 256, 768),
        (256, 8192, 256),
        (8192, 256, 256),
    ] {
        let (a, b) = (vec![0.5_f32; m * k], vec![0.25_f32; n * k]);
        let mut c = vec![0.0_f32; m * n];
        let size = Size { m, n, k };
        let mut shared = vec![0.0; shared_len(size)];
        let flops = 2.0 * m as f64 * n as f64 * k as f64;
        let forms = [
            (Factor::lines(&a, k), Factor::lines(&b, k)),
            (Factor::lines(&a, k), Factor::across(&b, n)),
            (Factor::across(&a, m), Factor::across(&b, n)),
        ];
        print!("{m} x {n} x {k}:");
        for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
            let mut rates = Vec::new();
            for (a, b) in forms {
                let mut best = f64::INFINITY;
                for _ in 0..(2e10 / flops) as usize + 3 {
                    let begin = Instant::now();
                    gemm(&pool, precision, size, a, b, &mut c, n, Output::Replace, &mut shared);
                    best = best.min(begin.elapsed().as_secs_f64());
                }
                rates.push(flops / best / 1e9);
            }
            print!(" {precision:?} {rates:.0?}");
        }
        println!(" GFLOP/s");
    }
    Ok(())
}
