//! Element-wise and row-wise operations beside their slow twins, on every instruction set of the machine.

use proptest::prelude::*;
use saem_kernels::ThreadPool;
use saem_kernels::ops::{self, Activation, RopeStyle, reference};
use saem_kernels::simd::Isa;

const ACTIVATIONS: [Activation; 4] = [Activation::Silu, Activation::GeluTanh, Activation::GeluErf, Activation::Relu];

/// Numbers of either sign and several magnitudes, the same for the same seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            unit * [0.1, 1.0, 5.0, 20.0][(state & 3) as usize]
        })
        .collect()
}

#[track_caller]
fn assert_close(actual: &[f32], expected: &[f32], relative: f32, absolute: f32) {
    assert_eq!(actual.len(), expected.len());
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        // Infinities are equal, but have no difference.
        assert!(a == e || (a - e).abs() <= relative * e.abs() + absolute, "element {index}: {a}, expected {e}");
    }
}

/// `PROPTEST_CASES` where it is set (an emulated processor wants few), else a number that takes seconds.
fn config() -> ProptestConfig {
    match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default(),
        Err(_) => ProptestConfig::with_cases(64),
    }
}

fn threads(count: usize) -> ThreadPool {
    ThreadPool::new(count).expect("threads start")
}

fn on_every_isa(test: impl Fn(&ThreadPool)) {
    let pool = threads(1);
    for isa in Isa::available() {
        isa.scope(|| test(&pool));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn norms(width in 1_usize..200, rows in 0_usize..5, seed: u64) {
        let (x, y) = (numbers(rows * width, seed), numbers(rows * width, seed ^ 1));
        let (weight, bias) = (numbers(width, seed ^ 2), numbers(width, seed ^ 3));
        on_every_isa(|pool| {
            let mut expected = vec![0.0; x.len()];
            let mut actual = vec![0.0; x.len()];
            reference::rms_norm(&x, &weight, 1e-6, &mut expected);
            ops::rms_norm(pool, &x, &weight, 1e-6, &mut actual);
            assert_close(&actual, &expected, 1e-6, 1e-30);
            actual.copy_from_slice(&x);
            ops::rms_norm_in_place(pool, &mut actual, &weight, 1e-6);
            assert_close(&actual, &expected, 1e-6, 1e-30);

            let (mut sum, mut expected_sum) = (x.clone(), x.clone());
            reference::add_rms_norm(&mut expected_sum, &y, 0.3, &weight, 1e-6, &mut expected);
            ops::add_rms_norm(pool, &mut sum, &y, 0.3, &weight, 1e-6, &mut actual);
            assert_close(&sum, &expected_sum, 1e-6, 1e-6);
            assert_close(&actual, &expected, 1e-5, 1e-5);

            for bias in [None, Some(&bias[..])] {
                reference::layer_norm(&x, &weight, bias, 1e-3, &mut expected);
                ops::layer_norm(pool, &x, &weight, bias, 1e-3, &mut actual);
                assert_close(&actual, &expected, 1e-5, 1e-4);
            }
        });
    }

    #[test]
    fn rope_in_both_styles(
        rows in 1_usize..4, heads in 1_usize..4, pairs in 1_usize..70, beyond in 0_usize..20, seed: u64,
    ) {
        let head_dim = 2 * pairs + beyond;
        let x = numbers(rows * heads * head_dim, seed);
        let angles = numbers(rows * pairs, seed ^ 1);
        let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
        on_every_isa(|pool| {
            for style in [RopeStyle::Half, RopeStyle::Interleaved] {
                let (mut actual, mut expected) = (x.clone(), x.clone());
                ops::rope(pool, &mut actual, heads, head_dim, &cos, &sin, style);
                reference::rope(&mut expected, heads, head_dim, &cos, &sin, style);
                assert_close(&actual, &expected, 1e-6, 2e-6);
            }
        });
    }

    #[test]
    fn element_by_element(len in 0_usize..150, seed: u64, factor in -3.0_f32..3.0) {
        let (x, y) = (numbers(len, seed), numbers(len, seed ^ 1));
        on_every_isa(|pool| {
            let (mut actual, mut expected) = (x.clone(), x.clone());
            ops::add_scaled(pool, &mut actual, &y, factor);
            reference::add_scaled(&mut expected, &y, factor);
            assert_close(&actual, &expected, 1e-6, 4e-6);

            ops::scale(pool, &mut actual, factor);
            reference::scale(&mut expected, factor);
            assert_close(&actual, &expected, 1e-6, 1e-5);

            actual.copy_from_slice(&x);
            expected.copy_from_slice(&x);
            ops::soft_cap(pool, &mut actual, 7.0);
            reference::soft_cap(&mut expected, 7.0);
            assert_close(&actual, &expected, 5e-7, 1e-30);

            actual.copy_from_slice(&x);
            expected.copy_from_slice(&x);
            ops::sigmoid(pool, &mut actual);
            reference::sigmoid(&mut expected);
            assert_close(&actual, &expected, 5e-7, 1e-30);

            for activation in ACTIVATIONS {
                actual.copy_from_slice(&x);
                expected.copy_from_slice(&x);
                ops::activate(pool, activation, &mut actual);
                reference::activate(activation, &mut expected);
                assert_close(&actual, &expected, 1e-6, 1e-8);

                actual.copy_from_slice(&x);
                expected.copy_from_slice(&x);
                ops::gated(pool, activation, &mut actual, &y);
                reference::gated(activation, &mut expected, &y);
                assert_close(&actual, &expected, 1e-6, 1e-7);
            }
        });
    }

    #[test]
    fn bias_on_every_row(width in 1_usize..50, rows in 0_usize..5, seed: u64) {
        let (x, bias) = (numbers(rows * width, seed), numbers(width, seed ^ 1));
        on_every_isa(|pool| {
            let (mut actual, mut expected) = (x.clone(), x.clone());
            ops::add_bias(pool, &mut actual, &bias);
            reference::add_bias(&mut expected, &bias);
            assert_eq!(actual, expected);
        });
    }

    #[test]
    fn rows_of_scores(len in 0_usize..300, seed: u64, masked in 0_usize..300) {
        let mut x = numbers(len, seed);
        x.iter_mut().take(masked).step_by(2).for_each(|x| *x = f32::NEG_INFINITY);
        on_every_isa(|_| {
            assert_eq!(ops::argmax(&x), reference::argmax(&x));
            let (mut actual, mut expected) = (x.clone(), x.clone());
            ops::softmax_in_place(&mut actual);
            reference::softmax_in_place(&mut expected);
            assert_close(&actual, &expected, 2e-6, 1e-30);
        });
    }
}

#[test]
fn the_first_of_equal_scores_is_the_largest_and_nan_is_none() {
    on_every_isa(|_| {
        let mut scores = vec![1.0; 1000];
        assert_eq!(ops::argmax(&scores), 0);
        scores[700] = 2.0;
        scores[900] = 2.0;
        assert_eq!(ops::argmax(&scores), 700);
        scores[3] = f32::NAN;
        scores[999] = f32::NAN;
        assert_eq!(ops::argmax(&scores), 700);
        assert_eq!(ops::argmax(&[f32::NAN; 40]), 0);
        assert_eq!(ops::argmax(&[]), 0);
    });
}

#[test]
fn a_fully_masked_row_stays_masked() {
    on_every_isa(|_| {
        let mut row = vec![f32::NEG_INFINITY; 21];
        ops::softmax_in_place(&mut row);
        assert!(row.iter().all(|&x| x == f32::NEG_INFINITY));
    });
}

/// All operations one after the other on a buffer large enough for the pool.
fn everything(pool: &ThreadPool) -> Vec<f32> {
    const WIDTH: usize = 2 * 3 * 37;
    const ROWS: usize = 151;
    let mut x = numbers(ROWS * WIDTH, 5);
    let y = numbers(ROWS * WIDTH, 6);
    let weight = numbers(WIDTH, 7);
    let angles = numbers(ROWS * 37, 8);
    let mut out = vec![0.0; x.len()];
    ops::add_scaled(pool, &mut x, &y, 0.7);
    ops::add_bias(pool, &mut x, &weight);
    ops::rope(pool, &mut x, 3, 74, &angles, &angles, RopeStyle::Half);
    ops::rope(pool, &mut x, 3, 74, &angles, &angles, RopeStyle::Interleaved);
    ops::add_rms_norm(pool, &mut x, &y, 0.1, &weight, 1e-5, &mut out);
    ops::layer_norm(pool, &out, &weight, Some(&weight), 1e-5, &mut x);
    ops::rms_norm(pool, &x, &weight, 1e-5, &mut out);
    ops::rms_norm_in_place(pool, &mut out, &weight[..74], 1e-5);
    for activation in ACTIVATIONS {
        ops::gated(pool, activation, &mut out, &y);
        ops::scale(pool, &mut out, 3.0);
        ops::activate(pool, activation, &mut out);
    }
    ops::soft_cap(pool, &mut out, 2.0);
    ops::sigmoid(pool, &mut out);
    out
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for isa in Isa::available() {
        isa.scope(|| {
            let one = everything(&threads(1));
            for count in 2..=3 {
                let more = everything(&threads(count));
                assert!(one.iter().zip(&more).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}, {count} threads");
            }
        });
    }
}
