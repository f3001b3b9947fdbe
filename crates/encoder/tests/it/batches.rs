//! Batches: any mixture of lengths, any number of threads, the same bits.

use std::sync::OnceLock;

use saem_encoder::{Embeddings, SentenceEncoder};

use crate::toy::{self, Dice};

fn toy_model() -> &'static tempfile::TempDir {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        toy::write(directory.path(), &toy::arrays());
        directory
    })
}

fn open(threads: usize) -> SentenceEncoder {
    SentenceEncoder::open(toy_model().path(), threads).unwrap()
}

/// Texts of 0 to some thousand tokens.
fn texts(count: usize) -> Vec<String> {
    let words = ["a", "abc", "가나다", "the", "한글", "x1", "☃☃", "zyx.", ""];
    let mut dice = Dice(42);
    let mut text = |number: usize| {
        let length = if number % 29 == 7 { 900 } else { dice.roll(12) };
        (0..length).map(|_| words[dice.roll(words.len())]).collect::<Vec<_>>().join(" ")
    };
    (0..count).map(&mut text).collect()
}

fn encode(encoder: &SentenceEncoder, texts: &[String]) -> Embeddings {
    encoder.encode(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_same_bits_alone_in_company_and_on_any_number_of_threads() {
    let texts = texts(120);
    let expected = encode(&open(1), &texts);
    assert_eq!(expected.vectors.len(), texts.len());
    assert!(expected.tokens.iter().any(|&tokens| tokens > 1000) && expected.tokens.contains(&3));
    for vector in &expected.vectors {
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    for threads in [2, 3, 5] {
        let encoder = open(threads);
        assert_eq!(encode(&encoder, &texts), expected, "{threads} threads");
        assert_eq!(encode(&encoder, &texts), expected, "{threads} threads, with everything met before");
    }
    let encoder = open(2);
    for (index, text) in texts.iter().enumerate().rev() {
        let alone = encoder.encode(&[text]);
        assert_eq!(
            (alone.vectors[0], alone.tokens[0]),
            (expected.vectors[index], expected.tokens[index]),
            "{text:.40}"
        );
    }
    assert_eq!(encoder.encode(&[]), Embeddings::default());
}

#[test]
fn callers_take_turns() {
    let texts = texts(40);
    let encoder = open(2);
    let expected = encode(&encoder, &texts);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(encode(&encoder, &texts), expected));
        }
    });
}

/// More different tokens than the cache of first layers has room for, in one text and in many.
#[test]
fn tokens_come_and_go_in_the_cache() {
    let Some(encoder) = crate::real() else { return };
    let syllables: Vec<String> = ('가'..='힣').step_by(1).map(|syllable| format!("{syllable} ")).collect();
    let long: String = syllables.concat();
    let many: Vec<&str> =
        long.char_indices().step_by(40).map(|(at, _)| &long[at..(at + 120).min(long.len())]).collect();
    let (first, alone) = (encoder.encode(&many), encoder.encode(&many[..1]));
    let whole = encoder.encode(&[&long]);
    assert!(whole.tokens[0] > 11_000);
    assert_eq!(encoder.encode(&many), first);
    assert_eq!(alone.vectors[0], first.vectors[0]);
    assert_eq!(encoder.encode(&[&long]), whole);
}
