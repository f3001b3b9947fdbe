//! Products of two matrices of floats, against sums in f64.

use saem_kernels::ThreadPool;
use saem_kernels::gemm::{Factor, Output, Size, gemm, gemm_alone};
use saem_kernels::simd::Isa;

fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

/// `[lines, depth]` to `[depth, lines]`.
fn transposed(values: &[f32], lines: usize, depth: usize) -> Vec<f32> {
    (0..depth).flat_map(|at| (0..lines).map(move |line| values[line * depth + at])).collect()
}

#[test]
fn every_orientation_and_size_is_the_sum_of_products() {
    let pool = ThreadPool::new(3).unwrap();
    let sizes =
        [(1, 1, 1), (12, 32, 8), (13, 33, 9), (7, 5, 300), (150, 70, 257), (61, 2100, 20), (0, 3, 2), (3, 3, 0)];
    for (m, n, k) in sizes {
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let (across_a, across_b) = (transposed(&a, m, k), transposed(&b, n, k));
        let stride = n + 3;
        let before = values(m * stride, 3);
        for isa in Isa::available() {
            for turn in 0..8 {
                let a = if turn & 1 == 0 { Factor::lines(&a, k) } else { Factor::across(&across_a, m) };
                let b = if turn & 2 == 0 { Factor::lines(&b, k) } else { Factor::across(&across_b, n) };
                let output = if turn & 4 == 0 { Output::Replace } else { Output::Add };
                let (mut c, mut alone) = (before.clone(), before.clone());
                let size = Size { m, n, k };
                isa.scope(|| {
                    gemm(&pool, size, a, b, &mut c, stride, output, &mut Vec::new());
                    gemm_alone(size, a, b, &mut alone, stride, output);
                });
                assert_eq!(c, alone, "{isa} {size:?}: threads change nothing");
                check(&c, &before, size, output, isa);
            }
        }
    }
}

fn check(c: &[f32], before: &[f32], Size { m, n, k }: Size, output: Output, isa: Isa) {
    let (a, b) = (values(m * k, 1), values(n * k, 2));
    let stride = n + 3;
    for row in 0..m {
        for column in 0..stride {
            let at = row * stride + column;
            if column >= n {
                assert_eq!(c[at], before[at], "{isa}: beyond the row");
                continue;
            }
            let products = (0..k).map(|i| f64::from(a[row * k + i]) * f64::from(b[column * k + i]));
            let start = if output == Output::Add { f64::from(before[at]) } else { 0.0 };
            let expected = start + products.sum::<f64>();
            // Rounding of a sum of k terms of at most a quarter.
            let bound = 1e-6 * (1.0 + (k as f64).sqrt());
            assert!(
                (f64::from(c[at]) - expected).abs() < bound,
                "{isa} {m} {n} {k}, {row}, {column}: {} {expected}",
                c[at]
            );
        }
    }
}

#[test]
#[should_panic(expected = "b is shorter")]
fn short_factors_are_refused() {
    let size = Size { m: 2, n: 2, k: 4 };
    gemm_alone(size, Factor::lines(&[0.0; 8], 4), Factor::lines(&[0.0; 7], 4), &mut [0.0; 4], 2, Output::Replace);
}
