//! Products with packed weights against f64, for every stored type and instruction set.

#![allow(clippy::unwrap_used, reason = "a failing helper is a failing test")]

use proptest::prelude::*;
use saem_kernels::ops::Activation;
use saem_kernels::simd::Isa;
use saem_kernels::{DataType, Input, Matrix, ThreadPool, blocks, matmul, matmul_gated};

/// A cheap generator of values around zero, the same on every machine.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| next() + next() + next()).collect()
}

fn stored(data_type: DataType, values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    blocks::quantize(data_type, values, &mut bytes).unwrap();
    bytes
}

/// The input as the kernels see it: bytes with a scale for each `block` columns, or as it is.
fn rounded(values: &[f32], data_type: DataType) -> Vec<f64> {
    let block = data_type.block_len();
    if block == 1 {
        return values.iter().map(|&value| f64::from(value)).collect();
    }
    values
        .chunks(block)
        .flat_map(|chunk| {
            let largest = chunk.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            chunk.iter().map(move |value| f64::from((value * inverse).round_ties_even()) * f64::from(largest / 127.0))
        })
        .collect()
}

fn check(data_type: DataType, outputs: usize, columns: usize, rows: usize, threads: usize, seed: u64) {
    let pool = ThreadPool::new(threads).unwrap();
    let weights = stored(data_type, &noise(seed, outputs * columns));
    let mut expanded = vec![0.0; outputs * columns];
    blocks::dequantize(data_type, &weights, &mut expanded).unwrap();
    let matrix = Matrix::pack(&pool, data_type, outputs, columns, &weights).unwrap();
    let mut row = vec![0.0; columns];
    for index in [0, outputs / 2, outputs - 1] {
        matrix.row(index, &mut row);
        assert_eq!(row, expanded[index * columns..][..columns], "{data_type} row {index}");
    }
    let values = noise(seed + 1, rows * columns);
    let seen: Vec<f64> = values.chunks(columns).flat_map(|row| rounded(row, data_type)).collect();
    let mut input = Input::with_capacity(rows, columns);
    input.set(&pool, &values, columns, &[&matrix]);
    let mut out = vec![f32::NAN; rows * outputs];
    matmul(&pool, &input, &mut [(&matrix, &mut out)]);
    for row in 0..rows {
        for output in 0..outputs {
            let (mut expected, mut size) = (0.0, 0.0);
            for column in 0..columns {
                let product = seen[row * columns + column] * f64::from(expanded[output * columns + column]);
                expected += product;
                size += product.abs();
            }
            let actual = f64::from(out[row * outputs + output]);
            // f32 accumulation over `columns` terms, and zero points that cancel.
            let tolerance = 2e-6 * (size + 1.0);
            assert!(
                (actual - expected).abs() <= tolerance,
                "{data_type} {outputs}x{columns}, {rows} rows, {:?}: [{row}, {output}] is {actual}, not {expected}",
                Isa::detect()
            );
        }
    }
}

#[test]
fn every_type_on_every_instruction_set() {
    for isa in Isa::available() {
        isa.scope(|| {
            for data_type in DataType::ALL {
                for (outputs, rows) in
                    [(16, 1), (40, 2), (35, 3), (64, 5), (48, 8), (33, 13), (20, 16), (33, 27), (96, 40)]
                {
                    check(data_type, outputs, 512, rows, 1, outputs as u64);
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shape(kind in 0..15_usize, outputs in 1..70_usize, groups in 1..6_usize, rows in 1..20_usize, seed: u32) {
        let data_type = DataType::ALL[kind];
        let columns = groups * data_type.block_len().max(32);
        check(data_type, outputs, columns, rows, 2, u64::from(seed));
    }
}

/// What speculative decoding relies on: checking a few tokens together gives the very logits of one at a time.
#[test]
fn up_to_fifteen_rows_have_the_bits_of_a_single_one() {
    const MOST: usize = 15;
    let (outputs, columns) = (75, 512);
    let values = noise(3, MOST * columns);
    for isa in Isa::available() {
        isa.scope(|| {
            let pool = ThreadPool::new(1).unwrap();
            for data_type in DataType::ALL.into_iter().filter(|data_type| data_type.block_len() > 1) {
                let weights = stored(data_type, &noise(9, outputs * columns));
                let matrix = Matrix::pack(&pool, data_type, outputs, columns, &weights).unwrap();
                let multiply = |values: &[f32]| {
                    let rows = values.len() / columns;
                    let mut input = Input::with_capacity(rows, columns);
                    input.set(&pool, values, columns, &[&matrix]);
                    let mut out = vec![0.0; rows * outputs];
                    matmul(&pool, &input, &mut [(&matrix, &mut out)]);
                    out
                };
                let single: Vec<f32> = values.chunks(columns).flat_map(multiply).collect();
                for rows in 2..=MOST {
                    let together = multiply(&values[..rows * columns]);
                    assert!(together == single[..rows * outputs], "{data_type}, {rows} rows, {isa:?}");
                }
            }
        });
    }
}

#[test]
fn several_products_share_a_region_and_threads_do_not_matter() {
    let (columns, rows) = (256, 11);
    let types = [DataType::Q4K, DataType::Q6K, DataType::Q8_0, DataType::F16];
    let values = noise(7, rows * columns);
    let mut results = Vec::new();
    for threads in 1..4 {
        let pool = ThreadPool::new(threads).unwrap();
        let matrices: Vec<Matrix> = types
            .iter()
            .zip([100, 16, 7, 33])
            .map(|(&data_type, outputs)| {
                let weights = stored(data_type, &noise(outputs as u64, outputs * columns));
                Matrix::pack(&pool, data_type, outputs, columns, &weights).unwrap()
            })
            .collect();
        let mut input = Input::with_capacity(rows, columns);
        input.set(&pool, &values, columns, &matrices.iter().collect::<Vec<_>>());
        let mut outs: Vec<Vec<f32>> = matrices.iter().map(|matrix| vec![0.0; rows * matrix.rows()]).collect();
        let mut products: Vec<_> = matrices.iter().zip(&mut outs).map(|(m, out)| (m, out.as_mut_slice())).collect();
        matmul(&pool, &input, &mut products);
        results.push(outs);
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn gated_products_are_the_two_products_combined() {
    let pool = ThreadPool::new(2).unwrap();
    let (outputs, columns) = (75, 128);
    for rows in [1, 9] {
        let values = noise(3, rows * columns);
        let [gate, up] = [1, 2].map(|seed| {
            let weights = stored(DataType::Q5_1, &noise(seed, outputs * columns));
            Matrix::pack(&pool, DataType::Q5_1, outputs, columns, &weights).unwrap()
        });
        let mut input = Input::with_capacity(rows, columns);
        input.set(&pool, &values, columns, &[&gate, &up]);
        let [mut a, mut b, mut out] = [(); 3].map(|()| vec![0.0; rows * outputs]);
        matmul(&pool, &input, &mut [(&gate, &mut a), (&up, &mut b)]);
        matmul_gated(&pool, &input, &gate, &up, Activation::Silu, &mut out);
        for ((gate, up), actual) in a.iter().zip(&b).zip(&out) {
            let expected = gate / (1.0 + (-gate).exp()) * up;
            assert!((actual - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{actual} is not {expected}");
        }
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let pool = ThreadPool::new(1).unwrap();
    assert!(Matrix::pack(&pool, DataType::Q4K, 2, 32, &[0; 36]).is_err());
    assert!(Matrix::pack(&pool, DataType::Q8_0, 2, 32, &[0; 67]).is_err());
    assert!(Matrix::pack(&pool, DataType::F32, usize::MAX, 2, &[]).is_err());
}
