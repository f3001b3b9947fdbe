//! The vectors of the Python package, for texts in many scripts and for texts that are hardly texts.

use saem_encoder::DIMENSIONS;
use serde::Deserialize;

use crate::real;

/// Largest difference of one of the 512 numbers, which are 0.04 in the mean. Both compute in f32, each in its own order.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<Expected>,
}

/// See `scripts/encoder-fixtures.py`.
#[derive(Deserialize)]
struct Expected {
    text: String,
    times: usize,
    tokens: usize,
    every32: Vec<f64>,
    sums: Vec<f64>,
}

fn sign(row: usize, column: usize) -> f64 {
    let mixed = (column as u32 + 1).wrapping_mul(2_654_435_761).wrapping_mul(2 * row as u32 + 1);
    if (mixed >> 15).count_ones() % 2 == 1 { 1.0 } else { -1.0 }
}

#[test]
fn vectors_are_those_of_the_package() {
    let Some(encoder) = real() else { return };
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/use-multilingual.json")).unwrap();
    let mut worst = 0.0_f64;
    for expected in &fixture.texts {
        let text = expected.text.repeat(expected.times);
        let shown: String = text.chars().take(40).collect();
        let found = encoder.encode(&[&text]);
        assert_eq!(found.tokens, [expected.tokens], "{shown:?}");
        let vector = &found.vectors[0];
        assert!(expected.every32.len() == DIMENSIONS / 32 && expected.sums.len() == 8);
        for (found, expected) in vector.iter().step_by(32).zip(&expected.every32) {
            worst = worst.max((f64::from(*found) - expected).abs());
        }
        for (row, expected) in expected.sums.iter().enumerate() {
            let sum: f64 = vector.iter().enumerate().map(|(column, x)| sign(row, column) * f64::from(*x)).sum();
            // Differences add up like a random walk.
            worst = worst.max((sum - expected).abs() / (DIMENSIONS as f64).sqrt());
        }
        assert!(worst < TOLERANCE, "{shown:?}: {worst:e}");
    }
    println!("largest difference {worst:e}");
}
