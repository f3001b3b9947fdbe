//! Blocks against GGML's reference functions, whose results `scripts/block-fixtures.py` has stored.

use std::path::PathBuf;

use saem_kernels::{DataType, blocks};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
