//! Speed of products with packed weights: `cargo run --release -p saem-kernels --example products [threads] [type]`.

use std::time::Instant;

use saem_kernels::{DataType, Input, Matrix, ThreadPool, blocks, matmul};

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let only = std::env::args().nth(2);
    let Ok(pool) = ThreadPool::new(threads) else { return };
    let (outputs, columns) = (2048, 2048);
    for data_type in DataType::ALL {
        if only.as_deref().is_some_and(|name| name != data_type.name()) {
            continue;
        }
        let values: Vec<f32> = (0..outputs * columns).map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 506.0).collect();
        let mut stored = Vec::new();
        if blocks::quantize(data_type, &values, &mut stored).is_err() {
            continue;
        }
        let start = Instant::now();
        let Ok(matrix) = Matrix::pack(&pool, data_type, outputs, columns, &stored) else { continue };
        let pack = start.elapsed().as_secs_f64();
        print!("{:7} pack {:5.2} GB/s", data_type.name(), stored.len() as f64 / pack / 1e9);
        for rows in [1, 2, 4, 8, 32, 512] {
            let x = &values[..rows * columns];
            let mut input = Input::with_capacity(rows, columns);
            let mut out = vec![0.0; rows * outputs];
            let mut best = f64::MAX;
            let mut quantize = f64::MAX;
            for _ in 0..if rows > 100 { 8 } else { 60 } {
                let start = Instant::now();
                input.set(&pool, x, columns, &[&matrix]);
                quantize = quantize.min(start.elapsed().as_secs_f64());
                let start = Instant::now();
                matmul(&pool, &input, &mut [(&matrix, &mut out)]);
                best = best.min(start.elapsed().as_secs_f64());
            }
            let operations = 2.0 * (rows * outputs * columns) as f64;
            if rows == 1 {
                print!("  1: {:5.1} GB/s", matrix.byte_len() as f64 / best / 1e9);
            } else {
                print!("  {rows}: {:4.0} G", operations / best / 1e9);
            }
            if rows == 512 {
                print!(" (+{:.0} % input)", quantize / best * 100.0);
            }
        }
        println!();
    }
}
