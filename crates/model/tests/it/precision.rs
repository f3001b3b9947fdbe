//! Half-precision and 8-bit caches, compressed weights, and how far they may be from f32.

use saem_kernels::DataType;
use saem_kernels::attention::KvType;

use crate::support::{FAMILIES, distance, load, mean_distance, one_pass, open};

/// The share of rows whose highest logit is at the same token.
fn agreement(found: &[f32], expected: &[f32], vocabulary: usize) -> f32 {
    let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    let rows = found.chunks(vocabulary).zip(expected.chunks(vocabulary));
    rows.map(|(found, expected)| f32::from(best(found) == best(expected))).sum::<f32>()
        / (found.len() / vocabulary) as f32
}

/// Weights this wide amplify every error, far more than trained ones; the bounds are twice what was measured.
#[test]
fn caches_of_fewer_bits_stay_close() {
    for family in FAMILIES {
        let (source, tokens, expected) = open(family);
        let model = load(&source, None);
        let half = distance(&one_pass(&model, KvType::F16, &tokens), &expected);
        let byte = distance(&one_pass(&model, KvType::Q8_0, &tokens), &expected);
        println!("{family:14} f16 {half:.2e}  q8_0 {byte:.2e}");
        assert!(half < 4e-3, "{family}, f16: {half:e}");
        assert!(byte < 6e-2, "{family}, q8_0: {byte:e}");
        assert!(half > 0.0 && byte > half, "{family}: the type of the cache makes no difference");
    }
}

/// By the mean, because an expert that is chosen by a hair may change and with it a whole row.
#[test]
fn weights_compressed_while_loading_stay_close() {
    for family in FAMILIES {
        let (source, tokens, expected) = open(family);
        let whole = load(&source, None);
        for (data_type, bound) in [(DataType::F16, 4e-3), (DataType::Bf16, 4e-2), (DataType::Q8_0, 0.25)] {
            let model = load(&source, Some(data_type));
            assert!(model.weight_bytes() < whole.weight_bytes(), "{family}, {data_type}");
            let found = one_pass(&model, KvType::F32, &tokens);
            let far = mean_distance(&found, &expected);
            let same = agreement(&found, &expected, model.config.vocabulary);
            println!("{family:14} {data_type:5} {far:.2e}  {:.0} % of best tokens", same * 100.0);
            assert!(far < bound, "{family}, {data_type}: {far:e}");
            assert!(same > 0.85, "{family}, {data_type}: {same}");
        }
    }
}

#[test]
fn progress_reaches_the_end() {
    let (source, ..) = open("exaone_moe");
    let mut seen = Vec::new();
    let options = saem_model::LoadOptions::default();
    saem_model::Model::load(&source, &crate::support::pool(), &options, &mut |done, total| seen.push((done, total)))
        .unwrap();
    let total = source.weight_bytes();
    assert_eq!(seen.last(), Some(&(total, total)));
    assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0));
}
