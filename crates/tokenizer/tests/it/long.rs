//! A megabyte of anything must not take long: no step is worse than `n log n`.

use std::time::{Duration, Instant};

use saem_tokenizer::Tokenizer;

use crate::fixtures;

/// Optimised code needs a fifth of a second at most; tests run without optimisation on busy machines.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_megabyte_of_one_character_is_no_problem() {
    const MEGABYTE: usize = 1 << 20;
    let texts = [
        "a".repeat(MEGABYTE),
        "ㅋ".repeat(MEGABYTE / 3),
        "\u{1112}".repeat(MEGABYTE / 3),
        "\u{1112}\u{1161}".repeat(MEGABYTE / 6),
        " ".repeat(MEGABYTE),
        "\n".repeat(MEGABYTE),
        "9".repeat(MEGABYTE),
        "!".repeat(MEGABYTE),
        "가 ".repeat(MEGABYTE / 4),
        "a\u{301}".repeat(MEGABYTE / 3),
        "A가".repeat(MEGABYTE / 4),
        "<|im_start|".repeat(MEGABYTE / 11),
    ];
    let tokenizers: Vec<(&str, Tokenizer)> =
        fixtures::FAMILIES.iter().map(|family| (*family, fixtures::load(family))).collect();
    for text in &texts {
        for (family, tokenizer) in &tokenizers {
            let start = Instant::now();
            let ids = tokenizer.encode(text, false, true);
            let taken = start.elapsed();
            let sample: String = text.chars().take(2).collect();
            assert!(taken < PATIENCE, "{family}: {taken:?} for {sample:?}");
            assert!(!ids.is_empty());
        }
    }
}
