//! The key-value cache and attention over it, beside the slow twin, on every instruction set of the machine.

use half::f16;
use proptest::prelude::*;
use saem_kernels::ThreadPool;
use saem_kernels::attention::{AttentionShape, BLOCK_TOKENS, KvPages, KvType, Span, attention, reference, store_kv};
use saem_kernels::simd::Isa;

const TYPES: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

/// `PROPTEST_CASES` where it is set (an emulated processor wants few), else a number that takes seconds.
fn config() -> ProptestConfig {
    match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default(),
        Err(_) => ProptestConfig::with_cases(30),
    }
}

fn threads(count: usize) -> ThreadPool {
    ThreadPool::new(count).expect("threads start")
}

/// Numbers from -1 to 1, the same for the same seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Sequences of `(rows, first_position)` in a cache where every slot that no sequence has written is not a number.
struct Case {
    shape: AttentionShape,
    pages: KvPages,
    sequences: Vec<(usize, usize)>,
    blocks: Vec<Vec<u32>>,
    queries: Vec<f32>,
}

impl Case {
    fn new(shape: AttentionShape, kv_type: KvType, sequences: &[(usize, usize)], seed: u64) -> Self {
        let pool = threads(1);
        let width = shape.kv_heads * shape.head_dim;
        let lengths: Vec<usize> = sequences.iter().map(|(rows, first)| rows + first).collect();
        let count = lengths.iter().map(|length| length.div_ceil(BLOCK_TOKENS) as u32).sum::<u32>() + 1;
        let mut pages = KvPages::new(kv_type, count as usize, shape.kv_heads, shape.head_dim);
        let all: Vec<u32> = (0..count).collect();
        let nothing = vec![f32::NAN; count as usize * BLOCK_TOKENS * width];
        let span = Span { first_row: 0, rows: count as usize * BLOCK_TOKENS, first_position: 0, blocks: &all };
        store_kv(&pool, &mut pages, &nothing, &nothing, &[span]);

        // Blocks from the end to the start, taken in turns.
        let mut blocks = vec![Vec::new(); sequences.len()];
        let mut free = (0..count).rev();
        while let Some((blocks, _)) = blocks
            .iter_mut()
            .zip(&lengths)
            .filter(|(blocks, length)| blocks.len() * BLOCK_TOKENS < **length)
            .min_by_key(|(blocks, _)| blocks.len())
        {
            blocks.extend(free.next());
        }
        for (index, (blocks, &length)) in blocks.iter().zip(&lengths).enumerate() {
            let keys = numbers(length * width, seed ^ (2 * index as u64 + 1) << 8);
            let values = numbers(length * width, seed ^ (2 * index as u64 + 2) << 8);
            store_kv(
                &pool,
                &mut pages,
                &keys,
                &values,
                &[Span { first_row: 0, rows: length, first_position: 0, blocks }],
            );
        }
        let rows: usize = sequences.iter().map(|(rows, _)| rows).sum();
        let queries = numbers(rows * shape.heads * shape.head_dim, seed).iter().map(|q| 4.0 * q).collect();
        Self { shape, pages, sequences: sequences.to_vec(), blocks, queries }
    }

    fn spans(&self) -> Vec<Span<'_>> {
        let mut next = 0;
        let spans = self.sequences.iter().zip(&self.blocks).map(|(&(rows, first_position), blocks)| {
            let first_row = next;
            next += rows;
            Span { first_row, rows, first_position, blocks }
        });
        spans.collect()
    }

    fn run(&self, pool: &ThreadPool) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.queries.len()];
        attention(pool, &self.shape, &self.pages, &self.queries, &self.spans(), &mut out);
        out
    }

    fn check(&self) {
        let mut expected = vec![f32::NAN; self.queries.len()];
        reference::attention(&self.shape, &self.pages, &self.queries, &self.spans(), &mut expected);
        let pool = threads(1);
        for isa in Isa::available() {
            let actual = isa.scope(|| self.run(&pool));
            for (index, (a, e)) in actual.iter().zip(&expected).enumerate() {
                assert!((a - e).abs() <= 1e-5, "{isa}, element {index}: {a}, expected {e}");
            }
        }
    }
}

fn shape(kv_heads: usize, group: usize, head_dim: usize) -> AttentionShape {
    let scale = 1.0 / (head_dim as f32).sqrt();
    AttentionShape { heads: kv_heads * group, kv_heads, head_dim, scale, window: None, soft_cap: None }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_the_formula(
        kv_heads in 1_usize..3,
        group in 1_usize..9,
        head_dim in prop::sample::select(vec![6, 16, 64, 80, 96, 128, 256]),
        kv_type in prop::sample::select(TYPES.to_vec()),
        window in prop::option::of(1_usize..200),
        soft_cap in prop::option::of(0.5_f32..30.0),
        sequences in prop::collection::vec((1_usize..80, 0_usize..200), 1..4),
        seed: u64,
    ) {
        Case::new(AttentionShape { window, soft_cap, ..shape(kv_heads, group, head_dim) }, kv_type, &sequences, seed)
            .check();
    }

    #[test]
    fn as_the_formula_when_decoding(
        kv_heads in 1_usize..4,
        group in 1_usize..9,
        head_dim in prop::sample::select(vec![6, 64, 80, 128, 256]),
        kv_type in prop::sample::select(TYPES.to_vec()),
        window in prop::option::of(1_usize..700),
        soft_cap in prop::option::of(0.5_f32..30.0),
        sequences in prop::collection::vec((1_usize..3, 0_usize..800), 1..6),
        seed: u64,
    ) {
        Case::new(AttentionShape { window, soft_cap, ..shape(kv_heads, group, head_dim) }, kv_type, &sequences, seed)
            .check();
    }
}

#[test]
fn a_long_context_is_cut_into_chunks_without_a_trace() {
    for kv_type in TYPES {
        Case::new(shape(2, 3, 64), kv_type, &[(1, 5000), (1, 127), (1, 128), (1, 2047), (40, 2050)], 9).check();
    }
}

#[test]
fn sequences_beyond_one_plan() {
    let sequences: Vec<(usize, usize)> = (0..150).map(|index| (1, index * 3)).collect();
    Case::new(shape(1, 4, 64), KvType::F16, &sequences, 3).check();
}

#[test]
fn neither_threads_nor_company_change_a_bit() {
    let sequences = [(1, 3000), (130, 70), (1, 0), (3, 400), (64, 0), (1, 640)];
    for isa in Isa::available() {
        for kv_type in TYPES {
            let case = Case::new(AttentionShape { window: Some(900), ..shape(3, 3, 64) }, kv_type, &sequences, 5);
            let one = isa.scope(|| case.run(&threads(1)));
            for count in 2..=3 {
                let more = isa.scope(|| case.run(&threads(count)));
                assert!(one.iter().zip(&more).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}, {count} threads");
            }
            for span in case.spans() {
                let mut alone = vec![f32::NAN; case.queries.len()];
                isa.scope(|| {
                    attention(&threads(1), &case.shape, &case.pages, &case.queries, &[span], &mut alone);
                });
                let width = case.shape.heads * case.shape.head_dim;
                let rows = span.first_row * width..(span.first_row + span.rows) * width;
                assert_eq!(alone[rows.clone()], one[rows], "{isa}");
            }
        }
    }
}

#[test]
fn spans_in_any_order_and_rows_without_a_span() {
    let case = Case::new(shape(2, 2, 64), KvType::F16, &[(20, 5), (1, 40), (33, 0)], 11);
    let ordered = case.run(&threads(2));
    let mut spans = case.spans();
    spans.reverse();
    let mut out = vec![0.0; case.queries.len()];
    attention(&threads(2), &case.shape, &case.pages, &case.queries, &spans, &mut out);
    assert_eq!(out, ordered);

    let mut out = vec![7.0; case.queries.len()];
    attention(&threads(2), &case.shape, &case.pages, &case.queries, &spans[..1], &mut out);
    let width = case.shape.heads * case.shape.head_dim;
    assert!(out[..21 * width].iter().all(|&x| x == 7.0));
    assert_eq!(out[21 * width..], ordered[21 * width..]);
}

#[test]
fn blocks_before_the_window_are_not_looked_at() {
    let case =
        Case::new(AttentionShape { window: Some(40), ..shape(1, 4, 64) }, KvType::F16, &[(1, 200), (30, 200)], 2);
    let expected = case.run(&threads(1));
    let freed: Vec<Vec<u32>> = case
        .blocks
        .iter()
        .map(|blocks| {
            blocks.iter().enumerate().map(|(index, &block)| if index < 5 { u32::MAX } else { block }).collect()
        })
        .collect();
    let spans: Vec<Span<'_>> =
        case.spans().into_iter().zip(&freed).map(|(span, blocks)| Span { blocks, ..span }).collect();
    let mut out = vec![0.0; case.queries.len()];
    attention(&threads(1), &case.shape, &case.pages, &case.queries, &spans, &mut out);
    assert_eq!(out, expected);
}

#[test]
fn large_scores_do_not_overflow() {
    for isa in Isa::available() {
        for rows in [1, 20] {
            let mut case = Case::new(shape(1, 2, 64), KvType::F32, &[(rows, 40)], 4);
            case.queries.iter_mut().for_each(|q| *q *= 1e4);
            assert!(isa.scope(|| case.run(&threads(1))).iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn stored_as_promised_on_every_isa() {
    for head_dim in [6, 16, 64, 80, 128] {
        let (kv_heads, rows) = (3, 70);
        let mut keys = numbers(rows * kv_heads * head_dim, 1);
        let values: Vec<f32> = numbers(keys.len(), 2).iter().map(|v| v * 1e-6).collect();
        keys[5] = 1e9;
        keys[kv_heads * head_dim..2 * kv_heads * head_dim].fill(0.0);
        let span = [Span { first_row: 0, rows, first_position: 20, blocks: &[3, 1, 2] }];
        for (isa, kv_type) in Isa::available().into_iter().flat_map(|isa| TYPES.map(|kv_type| (isa, kv_type))) {
            let mut pages = KvPages::new(kv_type, 4, kv_heads, head_dim);
            isa.scope(|| store_kv(&threads(2), &mut pages, &keys, &values, &span));
            pages.copy_block(1, 0);
            for (row, kv_head) in (0..rows).flat_map(|row| (0..kv_heads).map(move |head| (row, head))) {
                let position = row + 20;
                let block = [3, 0, 2][position / BLOCK_TOKENS];
                let (key, value) = pages.read(block, kv_head, position % BLOCK_TOKENS);
                let at = (row * kv_heads + kv_head) * head_dim;
                for (stored, given) in [(&key, &keys[at..at + head_dim]), (&value, &values[at..at + head_dim])] {
                    for (group, (stored, given)) in stored.chunks(32).zip(given.chunks(32)).enumerate() {
                        let largest = given.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
                        for (&stored, &given) in stored.iter().zip(given) {
                            let limited = given.clamp(-65504.0, 65504.0);
                            match kv_type {
                                KvType::F32 => assert_eq!(stored, given),
                                KvType::F16 => assert_eq!(stored, f16::from_f32(limited).to_f32(), "{isa}"),
                                KvType::Q8_0 if largest > 8e6 => assert!(stored <= 127.0 * 65504.0),
                                // Half a step, and what the scale loses where it is subnormal.
                                KvType::Q8_0 => assert!(
                                    (stored - given).abs() <= largest / 253.0 + 4e-6,
                                    "{isa}, group {group}: {stored} for {given} beside {largest}"
                                ),
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn sizes_are_those_of_the_types() {
    assert_eq!(KvPages::block_bytes(KvType::F32, 2, 64), 2 * 2 * 32 * 64 * 4);
    assert_eq!(KvPages::block_bytes(KvType::F16, 2, 64), 2 * 2 * 32 * 64 * 2);
    assert_eq!(KvPages::block_bytes(KvType::Q8_0, 2, 64), 2 * 2 * 32 * 64 / 32 * 34);
    assert_eq!(KvPages::block_bytes(KvType::Q8_0, 1, 80), 2 * 32 * (80 + 3 * 2));
}

#[test]
#[should_panic(expected = "block that does not exist")]
fn a_block_that_does_not_exist() {
    let pages = KvPages::new(KvType::F16, 1, 1, 64);
    let span = Span { first_row: 0, rows: 1, first_position: 0, blocks: &[1] };
    attention(&threads(1), &shape(1, 1, 64), &pages, &[0.0; 64], &[span], &mut [0.0; 64]);
}

#[test]
#[should_panic(expected = "beyond its blocks")]
fn a_span_longer_than_its_blocks() {
    let mut pages = KvPages::new(KvType::F16, 1, 1, 64);
    let span = Span { first_row: 0, rows: 1, first_position: 32, blocks: &[0] };
    store_kv(&threads(1), &mut pages, &[0.0; 64], &[0.0; 64], &[span]);
}
