//! Products of two matrices of floats, against sums in f64.

use saem_kernels::blocks::{dequantize, quantize};
use saem_kernels::gemm::{Factor, Output, Packed, Precision, Size, gemm, gemm_alone, gemm_packed, shared_len};
use saem_kernels::simd::Isa;
use saem_kernels::{DataType, ThreadPool};

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

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Split, Precision::Bf16];

#[test]
fn every_orientation_and_size_is_the_sum_of_products() {
    let pool = ThreadPool::new(3).unwrap();
    let sizes = [
        (1, 1, 1),
        (12, 32, 8),
        (13, 33, 9),
        (7, 5, 300),
        (150, 70, 257),
        (61, 2100, 20),
        (9, 10, 2100),
        (300, 9, 40),
        (37, 16, 600),
        (16, 300, 300),
        (5, 70, 33),
        (0, 3, 2),
        (3, 3, 0),
    ];
    for (m, n, k) in sizes {
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let (across_a, across_b) = (transposed(&a, m, k), transposed(&b, n, k));
        let stride = n + 3;
        let before = values(m * stride, 3);
        let exact: Vec<f64> = (0..m * n)
            .map(|at| {
                let (a, b) = (&a[at / n * k..][..k], &b[at % n * k..][..k]);
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            })
            .collect();
        for isa in Isa::available() {
            for turn in 0..8 {
                let a = if turn & 1 == 0 { Factor::lines(&a, k) } else { Factor::across(&across_a, m) };
                let b = if turn & 2 == 0 { Factor::lines(&b, k) } else { Factor::across(&across_b, n) };
                let output = if turn & 4 == 0 { Output::Replace } else { Output::Add };
                for precision in PRECISIONS {
                    let (mut c, mut alone) = (before.clone(), before.clone());
                    let size = Size { m, n, k };
                    isa.scope(|| {
                        gemm(&pool, precision, size, a, b, &mut c, stride, output, &mut vec![0.0; shared_len(size)]);
                        gemm_alone(precision, size, a, b, &mut alone, stride, output);
                    });
                    // Few rows are not taken like those of a packed factor, which may have any number of them.
                    if m > 16 {
                        let mut again = before.clone();
                        isa.scope(|| {
                            let packed = Packed::new(&pool, precision, b, n, k);
                            gemm_packed(&pool, m, a, &packed, &mut again, stride, output);
                        });
                        assert_eq!(c, again, "{isa} {precision:?} {size:?} {turn}: packed before");
                    }
                    let what = format!("{isa} {precision:?} {size:?} {turn}");
                    assert_eq!(c, alone, "{what}: threads change nothing");
                    check(&c, &before, &exact, size, output, precision, &what);
                }
            }
        }
    }
}

fn check(
    c: &[f32],
    before: &[f32],
    exact: &[f64],
    Size { m, n, k }: Size,
    output: Output,
    precision: Precision,
    what: &str,
) {
    let stride = n + 3;
    // Of a sum of k terms of at most a quarter: of each product, and of the sum in f32.
    let of_product = match precision {
        Precision::F32 => 0.0,
        Precision::Split => 2.0_f64.powi(-17),
        Precision::Bf16 => 2.0_f64.powi(-8),
    };
    let bound = (1e-6 + of_product) * (1.0 + (k as f64).sqrt());
    for row in 0..m {
        for column in 0..stride {
            let at = row * stride + column;
            if column >= n {
                assert_eq!(c[at], before[at], "{what}: beyond the row");
                continue;
            }
            let start = if output == Output::Add { f64::from(before[at]) } else { 0.0 };
            let expected = start + exact[row * n + column];
            assert!((f64::from(c[at]) - expected).abs() < bound, "{what}, {row}, {column}: {} {expected}", c[at]);
        }
    }
}

#[test]
fn weights_may_be_in_the_format_of_a_file() {
    let pool = ThreadPool::new(2).unwrap();
    let (m, outputs, inputs) = (33, 300, 512);
    let weights = values(outputs * inputs, 4);
    for data_type in [DataType::Bf16, DataType::Q4_1, DataType::Q4K, DataType::Q6K] {
        let (mut bytes, mut floats) = (Vec::new(), vec![0.0; outputs * inputs]);
        quantize(data_type, &weights, &mut bytes).unwrap();
        dequantize(data_type, &bytes, &mut floats).unwrap();
        // Forwards by lines, backwards across.
        let forms = [
            (
                Size { m, n: outputs, k: inputs },
                Factor::stored_lines(data_type, &bytes, inputs),
                Factor::lines(&floats, inputs),
            ),
            (
                Size { m, n: inputs, k: outputs },
                Factor::stored_across(data_type, &bytes, inputs),
                Factor::across(&floats, inputs),
            ),
        ];
        for (size, stored, expanded) in forms {
            let x = values(m * size.k, 5);
            for isa in Isa::available() {
                for precision in PRECISIONS {
                    let product = |b: Factor<'_>| {
                        let mut c = vec![0.0; m * size.n];
                        let a = Factor::lines(&x, size.k);
                        isa.scope(|| {
                            gemm(
                                &pool,
                                precision,
                                size,
                                a,
                                b,
                                &mut c,
                                size.n,
                                Output::Replace,
                                &mut vec![0.0; shared_len(size)],
                            )
                        });
                        c
                    };
                    assert!(product(stored) == product(expanded), "{isa} {precision:?} {data_type:?} {size:?}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "b is shorter")]
fn short_factors_are_refused() {
    let size = Size { m: 2, n: 2, k: 4 };
    gemm_alone(
        Precision::F32,
        size,
        Factor::lines(&[0.0; 8], 4),
        Factor::lines(&[0.0; 7], 4),
        &mut [0.0; 4],
        2,
        Output::Replace,
    );
}
