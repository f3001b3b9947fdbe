//! However a prompt is cut up and whatever else is in the batch, its logits are the same.

use saem_kernels::ThreadPool;
use saem_kernels::attention::KvType;

use crate::support::{FAMILIES, distance, load, one_pass, open, run, run_on};

#[test]
fn token_by_token() {
    for family in FAMILIES {
        let (source, tokens, _) = open(family);
        let model = load(&source, None);
        let whole = one_pass(&model, KvType::F32, &tokens);
        let steps: Vec<_> = tokens.chunks(1).map(|token| vec![(0, token)]).collect();
        let found = distance(&run(&model, KvType::F32, &steps)[0], &whole);
        assert!(found < 1e-5, "{family}: {found:e}");
    }
}

#[test]
fn in_uneven_chunks() {
    for family in FAMILIES {
        let (source, tokens, _) = open(family);
        let model = load(&source, None);
        let whole = one_pass(&model, KvType::F32, &tokens);
        let (mut rest, mut steps) = (tokens.as_slice(), Vec::new());
        for len in [7, 1, 13, 2, 9, 8] {
            let (chunk, after) = rest.split_at(len);
            steps.push(vec![(0, chunk)]);
            rest = after;
        }
        assert!(rest.is_empty());
        let found = distance(&run(&model, KvType::F32, &steps)[0], &whole);
        assert!(found < 1e-5, "{family}: {found:e}");
    }
}

#[test]
fn beside_another_sequence() {
    for family in FAMILIES {
        let (source, tokens, _) = open(family);
        let model = load(&source, None);
        let other: Vec<u32> = tokens.iter().rev().copied().collect();
        let expected = [one_pass(&model, KvType::F32, &tokens), one_pass(&model, KvType::F32, &other)];
        // Prompt beside prompt, decoding beside a prompt, decoding beside decoding.
        let steps = [
            vec![(0, &tokens[..11]), (1, &other[..3])],
            vec![(1, &other[3..33]), (0, &tokens[11..12])],
            vec![(0, &tokens[12..13]), (1, &other[33..34])],
            vec![(0, &tokens[13..])],
            vec![(1, &other[34..])],
        ];
        for (found, expected) in run(&model, KvType::F32, &steps).iter().zip(&expected) {
            let found = distance(found, expected);
            assert!(found < 1e-5, "{family}: {found:e}");
        }
    }
}

#[test]
fn on_any_number_of_threads() {
    for family in ["llama", "gemma3", "exaone_moe", "starcoder2"] {
        let (source, tokens, _) = open(family);
        let model = load(&source, None);
        let steps = [vec![(0, &tokens[..30])], vec![(0, &tokens[30..31])], vec![(0, &tokens[31..])]];
        let expected = run(&model, KvType::F16, &steps);
        for threads in [2, 3] {
            let pool = ThreadPool::new(threads).unwrap();
            assert_eq!(run_on(&pool, &model, KvType::F16, &steps), expected, "{family} on {threads} threads");
        }
    }
}
