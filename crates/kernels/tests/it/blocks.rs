//! Blocks against GGML's reference functions, whose results `scripts/block-fixtures.py` has stored.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::PathBuf;

use saem_kernels::{DataType, blocks};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks").join(name)).expect(name)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn expanding_gives_the_bits_of_ggml() {
    for data_type in DataType::ALL.into_iter().filter(|data_type| *data_type != DataType::F32) {
        let blocks = fixture(&format!("{data_type}.blocks"));
        let expected = floats(&fixture(&format!("{data_type}.f32")));
        let mut actual = vec![0.0; expected.len()];
        blocks::dequantize(data_type, &blocks, &mut actual).unwrap();
        for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert!(
                actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan()),
                "{data_type}, element {index}: {actual:e} instead of {expected:e}"
            );
        }
    }
}

fn rmse(data_type: DataType, values: &[f32]) -> f64 {
    let mut bytes = Vec::new();
    blocks::quantize(data_type, values, &mut bytes).unwrap();
    let mut back = vec![0.0; values.len()];
    blocks::dequantize(data_type, &bytes, &mut back).unwrap();
    let squares: f64 =
        values.iter().zip(&back).map(|(value, back)| (f64::from(*value) - f64::from(*back)).powi(2)).sum();
    (squares / values.len() as f64).sqrt()
}

#[test]
fn searching_is_as_good_as_ggml() {
    for line in String::from_utf8(fixture("rmse.txt")).unwrap().lines() {
        let [name, data, reference] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let data_type = DataType::from_name(name).unwrap();
        let mut values = vec![0.0; 8192];
        blocks::dequantize(DataType::F16, &fixture(&format!("{data}.f16")), &mut values).unwrap();
        let ratio = rmse(data_type, &values) / reference.parse::<f64>().unwrap();
        assert!(ratio < 1.01, "{name} {data}: {ratio:.4} of GGML's error");
    }
}

#[test]
fn compressing_gives_the_bits_of_ggml() {
    let values = floats(&fixture("values.f32"));
    for data_type in
        [DataType::F16, DataType::Bf16, DataType::Q4_0, DataType::Q4_1, DataType::Q5_0, DataType::Q5_1, DataType::Q8_0]
    {
        let expected = fixture(&format!("{data_type}.quantized"));
        let mut actual = vec![7];
        blocks::quantize(data_type, &values, &mut actual).unwrap();
        let size = data_type.block_bytes();
        for (index, (actual, expected)) in actual[1..].chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(actual, expected, "{data_type}, block {index}");
        }
        assert_eq!(actual.len(), expected.len() + 1);
    }
}
