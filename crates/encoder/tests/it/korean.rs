//! How well it does in Korean, by the test part of KorSTS (Ham et al. 2020, CC BY-SA 4.0), which is not kept here.

use saem_encoder::{SentenceEncoder, similarity};

use crate::real;

/// Ranks from 1, the mean of their places for equal values.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let first = order.iter().position(|index| index == &equal[0]).unwrap();
        equal.iter().for_each(|&index| ranks[index] = first as f64 + (equal.len() + 1) as f64 / 2.0);
    }
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product =
        |a: &[f64], b: &[f64], ma: f64, mb: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum() };
    product(a, b, mean_a, mean_b) / (product(a, a, mean_a, mean_a) * product(b, b, mean_b, mean_b)).sqrt()
}

fn spearman(a: &[f64], b: &[f64]) -> f64 {
    correlation(&ranks(a), &ranks(b))
}

#[test]
fn spearman_knows_ties() {
    assert_eq!(ranks(&[0.5, 0.1, 0.5, 0.9]), [2.5, 1.0, 2.5, 4.0]);
    assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 15.0]) - 0.5).abs() < 1e-12);
}

#[test]
fn judges_korean_sentences_as_people_do() {
    let Some(path) = std::env::var_os("SAEM_KORSTS") else {
        println!("skipped: needs the test part of KorSTS (set SAEM_KORSTS to its path)");
        return;
    };
    let Some(encoder) = real() else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    assert!(rows.len() > 1300 && rows.iter().all(|row| row.len() == 7));
    let gold: Vec<f64> = rows.iter().map(|row| row[4].parse().unwrap()).collect();
    let found = similarities(encoder, rows.iter().map(|row| (row[5], row[6])));
    let spearman = spearman(&found, &gold);
    println!("KorSTS test, {} pairs: Spearman {spearman:.4}", rows.len());
    assert!(spearman >= 0.71, "{spearman}");
}

fn similarities<'a>(encoder: &SentenceEncoder, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<f64> {
    let (first, second): (Vec<&str>, Vec<&str>) = pairs.unzip();
    let (first, second) = (encoder.encode(&first), encoder.encode(&second));
    first.vectors.iter().zip(&second.vectors).map(|(a, b)| f64::from(similarity(a, b))).collect()
}

#[test]
fn meaning_crosses_languages() {
    let Some(encoder) = real() else { return };
    let pairs = [
        ("고양이가 소파에서 잔다.", "The cat is sleeping on the sofa."),
        ("주가가 크게 떨어졌다.", "Stock prices fell sharply."),
    ];
    let same = similarities(encoder, pairs.into_iter());
    let different = similarities(encoder, [(pairs[0].0, pairs[1].1), (pairs[1].0, pairs[0].1)].into_iter());
    assert!(same.iter().all(|cosine| *cosine > 0.7), "{same:?}");
    assert!(different.iter().all(|cosine| *cosine < 0.3), "{different:?}");
}
