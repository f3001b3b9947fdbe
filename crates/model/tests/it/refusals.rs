//! Batches that do not fit are refused before anything is computed.

use saem_kernels::attention::{KvType, Span};
use saem_model::{Batch, BatchError, KvCache, ModelError, Workspace};

use crate::support::{load, open, pool};

#[test]
fn batches_that_do_not_fit() {
    let (source, ..) = open("exaone4-full");
    let model = load(&source, None);
    let mut cache = KvCache::new(&model.config, KvType::F16, 2);
    let mut workspace = Workspace::new(&model.config, 4, 2);
    let pool = pool();
    let mut run = |tokens: &[u32], spans: &[Span<'_>], logit_rows: &[usize]| match model.forward(
        &pool,
        &mut cache,
        &Batch { tokens, spans, adapters: &[], logit_rows },
        &mut workspace,
    ) {
        Ok(logits) => Ok(logits.len()),
        Err(ModelError::Batch(error)) => Err(error),
        Err(error) => panic!("{error}"),
    };
    let span = |first_row, rows, first_position, blocks| Span { first_row, rows, first_position, blocks };
    let vocabulary = model.config.vocabulary;

    assert_eq!(run(&[], &[], &[]), Ok(0));
    assert_eq!(run(&[1, 2], &[span(0, 2, 0, &[1])], &[]), Ok(0));
    assert_eq!(run(&[1, 2], &[span(0, 2, 30, &[1])], &[0, 1]), Ok(2 * vocabulary));

    let error = |result: Result<usize, BatchError>| result.unwrap_err();
    let one = [span(0, 1, 0, &[0])];
    assert_eq!(error(run(&[128], &one, &[0])), BatchError::Token { row: 0, token: 128, vocabulary });
    assert!(matches!(error(run(&[1; 5], &[span(0, 5, 0, &[0])], &[])), BatchError::TooManyRows { what: "rows", .. }));
    assert!(matches!(error(run(&[1; 4], &[span(0, 4, 0, &[0])], &[0, 1, 2])), BatchError::TooManyRows { .. }));
    assert!(matches!(error(run(&[1, 2], &one, &[0])), BatchError::Spans { .. }));
    assert!(matches!(error(run(&[1], &[span(1, 1, 0, &[0])], &[0])), BatchError::Spans { .. }));
    assert!(matches!(error(run(&[1], &[span(0, 2, 0, &[0])], &[0])), BatchError::Spans { .. }));
    assert!(matches!(error(run(&[1], &[span(0, 1, 32, &[0])], &[0])), BatchError::Blocks { needed: 2, found: 1, .. }));
    assert!(matches!(error(run(&[1], &[span(0, 1, usize::MAX, &[0])], &[0])), BatchError::Blocks { .. }));
    assert_eq!(
        error(run(&[1], &[span(0, 1, 0, &[2])], &[0])),
        BatchError::BlockNumber { span: 0, block: 2, blocks: 2 }
    );
    assert!(matches!(error(run(&[1], &one, &[1])), BatchError::LogitRow { .. }));
    assert!(matches!(error(run(&[1, 2], &[span(0, 2, 0, &[0])], &[1, 0])), BatchError::LogitRow { index: 1, .. }));
    assert!(matches!(error(run(&[1, 2], &[span(0, 2, 0, &[0])], &[1, 1])), BatchError::LogitRow { index: 1, .. }));
}

/// Rows without logits leave the model early; those that stay must not notice.
#[test]
fn logits_of_some_rows_equal_those_of_all() {
    for family in ["llama", "gemma3", "exaone_moe"] {
        let (source, tokens, expected) = open(family);
        let model = load(&source, None);
        let wanted = [0, 3, 17, 39];
        let mut cache = KvCache::new(&model.config, KvType::F32, 2);
        let mut workspace = Workspace::new(&model.config, 40, 4);
        let spans = [Span { first_row: 0, rows: 40, first_position: 0, blocks: &[1, 0] }];
        let batch = Batch { tokens: &tokens, spans: &spans, adapters: &[], logit_rows: &wanted };
        let found = model.forward(&pool(), &mut cache, &batch, &mut workspace).unwrap();
        for (row, found) in wanted.iter().zip(found.chunks(model.config.vocabulary)) {
            let expected = &expected[row * model.config.vocabulary..][..model.config.vocabulary];
            assert!(crate::support::distance(found, expected) < 1e-4, "{family}, row {row}");
        }
    }
}

/// A sequence that shares a block copies it before it writes.
#[test]
fn a_copied_block_continues_like_the_original() {
    let (source, tokens, expected) = open("qwen3");
    let model = load(&source, None);
    let mut cache = KvCache::new(&model.config, KvType::F32, 4);
    let mut workspace = Workspace::new(&model.config, 40, 1);
    let pool = pool();
    let mut pass = |cache: &mut KvCache, tokens: &[u32], first_position, blocks: &[u32]| {
        let rows = tokens.len();
        let spans = [Span { first_row: 0, rows, first_position, blocks }];
        let batch = Batch { tokens, spans: &spans, adapters: &[], logit_rows: &[rows - 1] };
        model.forward(&pool, cache, &batch, &mut workspace).unwrap().to_vec()
    };
    pass(&mut cache, &tokens[..20], 0, &[2, 0]);
    cache.copy_block(2, 3);
    // The original goes another way, in its own block.
    pass(&mut cache, &[5, 6, 7], 20, &[2, 0]);
    let found = pass(&mut cache, &tokens[20..], 20, &[3, 1]);
    let last = &expected[39 * model.config.vocabulary..];
    assert!(crate::support::distance(&found, last) < 1e-4);
}
