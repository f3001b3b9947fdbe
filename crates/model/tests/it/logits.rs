//! Logits of one pass over a prompt that is longer than every window.

use saem_kernels::attention::KvType;

use crate::support::{FAMILIES, distance, load, one_pass, open};

#[test]
fn every_family_matches_transformers() {
    for family in FAMILIES {
        let (source, tokens, expected) = open(family);
        let model = load(&source, None);
        let found = distance(&one_pass(&model, KvType::F32, &tokens), &expected);
        println!("{family:14} {found:.2e}");
        assert!(found < 1e-4, "{family}: {found:e}");
    }
}
