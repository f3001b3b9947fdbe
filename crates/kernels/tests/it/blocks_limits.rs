//! Blocks under any input: bounded errors, no panic, typed errors.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use proptest::prelude::*;
use saem_kernels::{DataType, KernelError, blocks};

fn round_trip(data_type: DataType, values: &[f32]) -> Vec<f32> {
    let mut bytes = Vec::new();
    blocks::quantize(data_type, values, &mut bytes).unwrap();
    assert_eq!(bytes.len(), data_type.bytes_for(values.len()).unwrap());
    let mut back = vec![f32::NAN; values.len()];
    blocks::dequantize(data_type, &bytes, &mut back).unwrap();
    back
}

/// Root mean square of the error that a block may have, as a part of its largest magnitude.
///
/// Half a step of the coarsest grid that covers the block (from minus to plus the largest), where the types that
/// store it with minimums or signed scales of few bits lose a little more.
fn bound(data_type: DataType) -> f64 {
    match data_type {
        DataType::F32 => 0.0,
        DataType::F16 => 1.0 / 2048.0,
        DataType::Bf16 => 1.0 / 256.0,
        DataType::Q8_0 => 0.6 / 127.0,
        // The opposite of the largest magnitude has no code of its own.
        DataType::Q4_0 => 1.0 / 8.0,
        DataType::Q5_0 => 1.0 / 16.0,
        DataType::Q4_1 => 1.1 / 15.0,
        DataType::Q5_1 => 1.1 / 31.0,
        DataType::Q2K => 1.2 / 3.0,
        DataType::Q3K => 0.75 / 4.0,
        DataType::Q4K => 1.2 / 15.0,
        DataType::Q5K => 1.2 / 31.0,
        DataType::Q6K => 0.75 / 32.0,
        DataType::Iq4Nl | DataType::Iq4Xs => 14.0 / 127.0,
    }
}

/// 256 values of one size: spread evenly, bunched with outliers, or few different ones.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let shapes = prop_oneof![
        prop::collection::vec(-1.0_f32..1.0, 256),
        prop::collection::vec(prop_oneof![9 => -0.05_f32..0.05, 1 => -1.0_f32..1.0], 256),
        prop::collection::vec(prop::sample::select(vec![-1.0_f32, -0.0, 0.0, 0.5, 1.0]), 256),
        prop::collection::vec(0.9_f32..1.0, 256),
        prop::collection::vec(-1.0_f32..-0.9, 256),
    ];
    (shapes, -3..4_i32).prop_map(|(mut values, exponent)| {
        values.iter_mut().for_each(|value| *value *= 10.0_f32.powi(exponent));
        values
    })
}

proptest! {
    #[test]
    fn errors_stay_below_a_step(values in values()) {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for data_type in DataType::ALL {
            let back = round_trip(data_type, &values);
            let squares: f64 = values.iter().zip(&back).map(|(value, back)| f64::from(value - back).powi(2)).sum();
            let error = (squares / 256.0).sqrt();
            prop_assert!(error <= bound(data_type) * f64::from(largest), "{data_type}: {}", error / f64::from(largest));
        }
    }

    #[test]
    fn any_finite_values_compress_to_finite_ones(
        values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 256),
        keep in 0_u32..256,
    ) {
        // Limiting the exponent gives blocks of all sizes, from subnormal numbers to the largest.
        let limit = f32::from_bits(keep << 23);
        let values: Vec<f32> = values
            .iter()
            .map(|value| if value.is_nan() { 0.0 } else { value.clamp(-limit.min(f32::MAX), limit.min(f32::MAX)) })
            .collect();
        for data_type in DataType::ALL.into_iter().filter(|data_type| data_type.is_quantized()) {
            let back = round_trip(data_type, &values);
            prop_assert!(back.iter().all(|back| back.is_finite()), "{data_type}");
        }
    }

    #[test]
    fn any_bytes_expand(bytes in prop::collection::vec(any::<u8>(), 210)) {
        for data_type in DataType::ALL {
            let mut out = vec![0.0; data_type.block_len()];
            blocks::dequantize(data_type, &bytes[..data_type.block_bytes()], &mut out).unwrap();
        }
    }
}

#[test]
fn zeros_stay_zeros() {
    for zero in [0.0, -0.0] {
        for data_type in DataType::ALL {
            assert!(round_trip(data_type, &[zero; 512]).iter().all(|back| *back == 0.0), "{data_type}");
        }
    }
}

#[test]
fn values_too_small_to_store_become_zeros() {
    for size in [f32::MIN_POSITIVE, f32::from_bits(1), 1e-12, 1e-9] {
        let values: Vec<f32> = (0..256).map(|index| if index % 3 == 0 { -size } else { size }).collect();
        for data_type in DataType::ALL.into_iter().filter(|data_type| data_type.is_quantized()) {
            assert!(round_trip(data_type, &values).iter().all(|back| back.abs() <= size), "{data_type} of {size:e}");
        }
    }
}

/// Each group of a block has scales and codes of its own; a slip in their packing shows as the wrong group or place.
#[test]
fn every_element_keeps_its_place() {
    for data_type in DataType::ALL {
        for place in 0..256 {
            let mut values = [0.0; 256];
            values[place] = -1.0;
            let back = round_trip(data_type, &values);
            for (index, back) in back.into_iter().enumerate() {
                let expected = if index == place { -1.0 } else { 0.0 };
                assert!((back - expected).abs() < 0.02, "{data_type}: {back} at {index}, -1 was put at {place}");
            }
        }
    }
}

#[test]
fn sizes_that_do_not_agree_are_errors() {
    for data_type in DataType::ALL {
        let (block, size) = (data_type.block_len(), data_type.block_bytes());
        let error = blocks::dequantize(data_type, &vec![0; size + 1], &mut vec![0.0; block]);
        let expected = KernelError::ByteCount { data_type, elements: block, expected: size, actual: size + 1 };
        assert_eq!(error, Err(expected));
        assert!(blocks::dequantize(data_type, &[], &mut []).is_ok());
        if block > 1 {
            let partial = Err(KernelError::PartialBlock { data_type, columns: block + 1, block });
            assert_eq!(blocks::dequantize(data_type, &vec![0; size], &mut vec![0.0; block + 1]), partial);
            let mut out = vec![1];
            assert_eq!(blocks::quantize(data_type, &vec![0.0; block + 1], &mut out), partial);
            assert_eq!(out, [1]);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [1.0; 512];
        values[300] = value;
        values[301] = f32::NAN;
        for data_type in DataType::ALL {
            let mut out = vec![1];
            let result = blocks::quantize(data_type, &values, &mut out);
            if data_type.is_quantized() {
                assert_eq!(result, Err(KernelError::NotFinite { data_type, index: 300 }));
                assert_eq!(out, [1]);
            } else {
                result.unwrap();
                let back = round_trip(data_type, &values)[300];
                assert!(back == value || (back.is_nan() && value.is_nan()), "{data_type}");
            }
        }
    }
}
