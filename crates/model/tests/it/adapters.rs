//! Adapters against `peft`, and beside each other in one batch.

use std::path::Path;

use saem_formats::Source;
use saem_kernels::attention::{KvType, Span};
use saem_kernels::{DataType, ThreadPool};
use saem_model::{
    Adapter, AdapterError, AdapterOptions, Batch, BatchError, KvCache, Model, ModelError, Workspace, convert,
};

use crate::support::{distance, expected, fixture, load, open, pool, run, run_adapted};

/// Every adapter's fixture; what stands before the last hyphen is its base.
const ADAPTERS: [&str; 14] = [
    "llama-lora",
    "llama-dora",
    "qwen2-dora",
    "llama-rslora",
    "llama-prompt",
    "qwen2-lora",
    "qwen3_moe-lora",
    "gemma3-lora",
    "gemma3-prompt",
    "exaone4-lora",
    "starcoder2-lora",
    "granite-ptuning",
    "llama-prefix",
    "gemma3-prefix",
];

fn base_of(name: &str) -> &str {
    name.rsplit_once('-').unwrap().0
}

fn adapter_from(path: &Path, model: &Model) -> Adapter {
    model.adapter(path, &AdapterOptions::default()).unwrap()
}

fn adapter(name: &str, model: &Model) -> Adapter {
    adapter_from(&fixture("adapters").join(name), model)
}

/// A prompt after the virtual tokens of an adapter.
fn with_virtual(adapter: &Adapter, model: &Model, tokens: &[u32]) -> Vec<u32> {
    let first = model.config.vocabulary as u32;
    (first..first + adapter.virtual_tokens() as u32).chain(tokens.iter().copied()).collect()
}

/// Logits of one pass over a prompt with an adapter.
fn one_pass(model: &Model, adapter: &Adapter, tokens: &[u32]) -> Vec<f32> {
    let tokens = with_virtual(adapter, model, tokens);
    run_adapted(&pool(), model, KvType::F32, &[Some(adapter)], &[vec![(0, &tokens)]]).remove(0)
}

#[test]
fn every_adapter_matches_peft() {
    for name in ADAPTERS {
        let (source, tokens, plain) = open(base_of(name));
        let model = load(&source, None);
        let adapter = adapter(name, &model);
        let found = one_pass(&model, &adapter, &tokens);
        let right = expected(&fixture("adapters").join(name));
        // A prefix's rows have no logits.
        let far = distance(&found[found.len() - right.len()..], &right);
        let change = distance(&found[found.len() - plain.len()..], &plain);
        println!("{name:18} {far:.2e} from peft, {change:.2} from the base, {} bytes", adapter.byte_len());
        assert!(far < 1e-4, "{name}: {far:e}");
        assert!(change > 0.05, "{name} changes nothing: {change}");
    }
}

/// Of those that tell labels apart, and of everybody beside them.
#[test]
fn labels_get_the_scores_of_peft() {
    for name in ["llama-labels", "gemma3-labels"] {
        let (source, tokens, plain) = open(base_of(name));
        let model = load(&source, None);
        let adapter = adapter(name, &model);
        assert_eq!(adapter.labels(), ["나쁨", "보통", "좋음"]);
        let right = expected(&fixture("adapters").join(name));
        let steps = [vec![(0, &tokens[..]), (1, &tokens[..7]), (2, &tokens[..])], vec![(1, &tokens[7..])]];
        let given = [None, Some(&adapter), Some(&adapter)];
        let found = run_adapted(&pool(), &model, KvType::F32, &given, &steps);
        let far = distance(&found[0], &plain);
        assert!(far < 1e-4, "{name} changes texts of others: {far:e}");
        for logits in &found[1..] {
            let (scores, rest) = logits[logits.len() - model.config.vocabulary..].split_at(3);
            let far = distance(scores, &right);
            println!("{name:18} {far:.2e} from peft, {} bytes", adapter.byte_len());
            assert!(far < 1e-4, "{name}: {scores:?}, {right:?}");
            assert!(rest.iter().all(|logit| *logit == f32::NEG_INFINITY));
        }
    }
}

/// Llama's GGUF files hold query and key rows in an order of their own, Qwen's do not; adapters of either format fit
/// bases of either.
#[test]
fn formats_of_base_and_adapter_mix() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["llama-lora", "qwen2-lora", "llama-dora", "qwen2-dora"] {
        let (source, tokens, _) = open(base_of(name));
        let gguf = directory.path().join(format!("{name}.gguf"));
        convert(&source, &gguf, None, &pool(), &mut |_, _| {}).unwrap();
        let folder = fixture("adapters").join(name);
        let expected = expected(&folder);
        for base in [source, Source::open(&gguf).unwrap()] {
            let model = load(&base, None);
            let files = [folder.clone(), folder.join("adapter.gguf"), folder.join("adapter_model.safetensors")];
            for path in files.into_iter().filter(|path| path.exists()) {
                let found = one_pass(&model, &adapter_from(&path, &model), &tokens);
                let far = distance(&found, &expected);
                assert!(far < 1e-4, "{} on {}: {far:e}", path.display(), base.path().display());
            }
        }
    }
}

/// Keys lie in the cache as the file's query and key rows lie, and so must those of a prefix.
#[test]
fn a_prefix_fits_a_model_from_either_format() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["llama-prefix", "gemma3-prefix"] {
        let (source, tokens, plain) = open(base_of(name));
        let gguf = directory.path().join(format!("{name}.gguf"));
        convert(&source, &gguf, None, &pool(), &mut |_, _| {}).unwrap();
        let model = load(&Source::open(&gguf).unwrap(), None);
        let adapter = adapter(name, &model);
        assert_eq!((adapter.rank(), adapter.byte_len() % (4 * adapter.virtual_tokens())), (0, 0));
        let found = one_pass(&model, &adapter, &tokens);
        let far = distance(&found[found.len() - plain.len()..], &expected(&fixture("adapters").join(name)));
        assert!(far < 1e-4, "{name}: {far:e}");
    }
}

#[test]
fn an_adapter_may_be_kept_in_half_precision() {
    let (source, tokens, _) = open("llama");
    let model = load(&source, None);
    let folder = fixture("adapters/llama-lora");
    let expected = expected(&folder);
    let whole = adapter_from(&folder, &model);
    // Weights this wide amplify every error; the bounds are about twice what was measured.
    for (data_type, bound) in [(DataType::F16, 2e-2), (DataType::Bf16, 0.15)] {
        let options = AdapterOptions { data_type: Some(data_type), ..AdapterOptions::default() };
        let half = Adapter::load(&folder, &model.config, &options).unwrap();
        assert_eq!(half.byte_len(), whole.byte_len() / 2);
        let far = distance(&one_pass(&model, &half, &tokens), &expected);
        println!("{data_type}: {far:.1e}");
        assert!(far > 1e-4 && far < bound, "{data_type}: {far:e}");
    }
    let options = AdapterOptions { data_type: Some(DataType::Q8_0), ..AdapterOptions::default() };
    let refused = Adapter::load(&folder, &model.config, &options);
    assert!(matches!(refused, Err(AdapterError::Unsupported { field: "data_type", .. })));
}

/// Sequences of every kind, with prompts of uneven lengths: which adapter, and the tokens.
fn crowd<'a>(model: &Model, adapters: &'a [Adapter], tokens: &[u32]) -> Vec<(Option<&'a Adapter>, Vec<u32>)> {
    let text = |skip: usize, len: usize| tokens.iter().cycle().skip(skip).take(len).copied().collect::<Vec<u32>>();
    let mut crowd = vec![(None, text(0, 21)), (None, text(5, 3))];
    for (index, adapter) in adapters.iter().enumerate() {
        crowd.push((Some(adapter), with_virtual(adapter, model, &text(3 * index, 17 + index))));
        crowd.push((Some(adapter), with_virtual(adapter, model, &text(7 * index + 1, 2 + 9 * index))));
    }
    crowd
}

/// The steps of some of the sequences together: the prompts in two parts, then four tokens one by one, the sequences in
/// another order each time.
fn steps<'a>(crowd: &'a [(Option<&Adapter>, Vec<u32>)], chosen: &[usize]) -> Vec<Vec<(usize, &'a [u32])>> {
    let part = |index: usize, from: usize, to: usize| {
        let tokens = &crowd[chosen[index]].1;
        let start = tokens.len() - 4;
        let place = |at: usize| match at {
            0 => 0,
            1 => start / 2,
            at => start + at - 2,
        };
        (index, &tokens[place(from)..place(to)])
    };
    (0..6)
        .map(|step| {
            let mut order: Vec<usize> = (0..chosen.len()).collect();
            order.rotate_left(step % chosen.len());
            order.into_iter().map(|index| part(index, step, step + 1)).filter(|(_, part)| !part.is_empty()).collect()
        })
        .collect()
}

/// Products of quantised weights sum a row alike whatever rows stand beside it, and so must what adapters add.
#[test]
fn a_mixed_batch_gives_each_what_it_gets_alone_to_the_bit() {
    let (source, tokens, _) = open("llama");
    let model = load(&source, Some(DataType::Q8_0));
    let adapters = ["llama-lora", "llama-rslora", "llama-prompt", "llama-prefix"].map(|name| adapter(name, &model));
    let mut crowd = crowd(&model, &adapters, &tokens);
    // Everyone decodes four tokens after the prompt.
    crowd.iter_mut().for_each(|(_, text)| text.extend([3, 1, 4, 1]));
    let given: Vec<Option<&Adapter>> = crowd.iter().map(|(adapter, _)| *adapter).collect();
    let everyone: Vec<usize> = (0..crowd.len()).collect();
    for threads in [1, 3] {
        let pool = ThreadPool::new(threads).unwrap();
        let together = run_adapted(&pool, &model, KvType::F16, &given, &steps(&crowd, &everyone));
        for (index, together) in together.iter().enumerate() {
            let alone = run_adapted(&pool, &model, KvType::F16, &[given[index]], &steps(&crowd, &[index])).remove(0);
            assert_eq!(together.len(), crowd[index].1.len() * model.config.vocabulary);
            assert!(alone == *together, "sequence {index} on {threads} threads");
        }
    }
}

/// Whatever the weights' type: the same batch with and without adapters for the others.
#[test]
fn rows_without_an_adapter_keep_their_bits() {
    for (name, quantize) in [
        ("llama-lora", None),
        ("llama-lora", Some(DataType::Q8_0)),
        ("gemma3-lora", Some(DataType::F16)),
        ("starcoder2-lora", None),
        // Other rows may go to other experts, whose products of floats then have another number of rows.
        ("qwen3_moe-lora", Some(DataType::Q8_0)),
        ("exaone4-lora", Some(DataType::Q4_0)),
    ] {
        let (source, tokens, _) = open(base_of(name));
        let model = load(&source, quantize);
        let adapter = adapter(name, &model);
        let steps = [
            vec![(0, &tokens[..9]), (1, &tokens[..20]), (2, &tokens[5..12])],
            vec![(1, &tokens[20..21]), (2, &tokens[12..13]), (0, &tokens[9..10])],
            vec![(2, &tokens[13..15]), (0, &tokens[10..11]), (1, &tokens[21..22])],
        ];
        let plain = run(&model, KvType::F16, &steps);
        let given = [None, Some(&adapter), None];
        let mixed = run_adapted(&pool(), &model, KvType::F16, &given, &steps);
        assert!(plain[0] == mixed[0] && plain[2] == mixed[2], "{name}, {quantize:?}");
        assert!(distance(&mixed[1], &plain[1]) > 0.05, "{name}, {quantize:?}: the adapter was not used");
    }
}

#[test]
fn however_a_prompt_is_cut_up_its_logits_are_the_same() {
    for name in ADAPTERS {
        let (source, tokens, _) = open(base_of(name));
        let model = load(&source, None);
        let adapter = adapter(name, &model);
        let len = tokens.len() * model.config.vocabulary;
        let of_text = |logits: &[f32]| logits[logits.len() - len..].to_vec();
        let whole = of_text(&one_pass(&model, &adapter, &tokens));
        let tokens = with_virtual(&adapter, &model, &tokens);
        for chunk in [1, 3, 16] {
            let steps: Vec<_> = tokens.chunks(chunk).map(|part| vec![(0, part)]).collect();
            let found = run_adapted(&pool(), &model, KvType::F32, &[Some(&adapter)], &steps).remove(0);
            let far = distance(&of_text(&found), &whole);
            assert!(far < 1e-5, "{name} in chunks of {chunk}: {far:e}");
        }
    }
}

/// More rows of one adapter than are brought together at a time.
#[test]
fn many_rows_of_one_adapter() {
    let (source, tokens, _) = open("llama");
    let model = load(&source, Some(DataType::Q8_0));
    let adapter = adapter("llama-lora", &model);
    let text = |skip: usize, len: usize| tokens.iter().cycle().skip(skip).take(len).copied().collect::<Vec<u32>>();
    let (long, short) = (text(0, 200), text(3, 100));
    let given = [Some(&adapter), None, Some(&adapter)];
    let steps = [vec![(0, &long[..]), (1, &short), (2, &short)]];
    let together = run_adapted(&pool(), &model, KvType::F16, &given, &steps);
    for (index, text) in [&long, &short, &short].into_iter().enumerate() {
        let alone = run_adapted(&pool(), &model, KvType::F16, &[given[index]], &[vec![(0, text)]]).remove(0);
        assert!(alone == together[index], "sequence {index}");
    }
}

/// Rows without logits leave the model early, and with them their adapters' rows.
#[test]
fn logits_of_some_rows_equal_those_of_all() {
    let (source, tokens, _) = open("llama");
    let model = load(&source, Some(DataType::Q8_0));
    let (first, second) = (adapter("llama-lora", &model), adapter("llama-rslora", &model));
    let mut workspace = Workspace::new(&model.config, 40, 40);
    workspace.reserve_adapters(&model.config, 5);
    let spans = [
        Span { first_row: 0, rows: 11, first_position: 0, blocks: &[1] },
        Span { first_row: 11, rows: 9, first_position: 0, blocks: &[0] },
        Span { first_row: 20, rows: 7, first_position: 0, blocks: &[3] },
        Span { first_row: 27, rows: 13, first_position: 0, blocks: &[2] },
    ];
    let adapters = [Some(&first), None, Some(&second), Some(&first)];
    let mut logits = |logit_rows: &[usize]| {
        let mut cache = KvCache::new(&model.config, KvType::F16, 4);
        let batch = Batch { tokens: &tokens, spans: &spans, adapters: &adapters, logit_rows };
        model.forward(&pool(), &mut cache, &batch, &mut workspace).unwrap().to_vec()
    };
    let all = logits(&(0..40).collect::<Vec<_>>());
    for rows in [vec![10, 19, 26, 39], vec![0, 12], vec![3, 4, 30, 31, 38], vec![26], vec![]] {
        let some = logits(&rows);
        let width = model.config.vocabulary;
        let expected: Vec<f32> = rows.iter().flat_map(|row| &all[row * width..][..width]).copied().collect();
        assert!(some == expected, "rows {rows:?}");
    }
}

#[test]
fn batches_whose_adapters_do_not_fit_are_refused() {
    let (source, ..) = open("llama");
    let model = load(&source, None);
    let other = load(&open("qwen2").0, None);
    let (lora, prompt) = (adapter("llama-lora", &model), adapter("llama-prompt", &model));
    let strange = adapter("qwen2-lora", &other);
    assert!(lora.fits(&model.config) && !strange.fits(&model.config));
    let mut cache = KvCache::new(&model.config, KvType::F16, 2);
    let mut workspace = Workspace::new(&model.config, 4, 4);
    let vocabulary = model.config.vocabulary as u32;
    let mut run = |workspace: &mut Workspace, tokens: &[u32], adapters: &[Option<&Adapter>]| {
        let spans = [
            Span { first_row: 0, rows: 1, first_position: 0, blocks: &[0] },
            Span { first_row: 1, rows: tokens.len() - 1, first_position: 0, blocks: &[1] },
        ];
        let batch = Batch { tokens, spans: &spans, adapters, logit_rows: &[0] };
        match model.forward(&pool(), &mut cache, &batch, workspace) {
            Ok(logits) => Ok(logits.len()),
            Err(ModelError::Batch(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    };
    let none: [Option<&Adapter>; 2] = [None, None];
    assert!(run(&mut workspace, &[1, 2], &none).is_ok());
    assert!(run(&mut workspace, &[1, vocabulary, vocabulary + 4, 3], &[None, Some(&prompt)]).is_ok());
    let error = run(&mut workspace, &[1, 2], &none[..1]).unwrap_err();
    assert_eq!(error, BatchError::Adapters { found: 1, expected: 2 });
    let error = run(&mut workspace, &[1, 2], &[None, Some(&strange)]).unwrap_err();
    assert_eq!(error, BatchError::OtherModel { span: 1 });
    let error = run(&mut workspace, &[1, 2], &[Some(&lora), None]).unwrap_err();
    assert_eq!(error, BatchError::AdapterRank { span: 0, found: 4, limit: 0 });
    // The rows of a soft prompt are its own span's, and as many as it has.
    let outside = |row, token| BatchError::Token { row, token, vocabulary: vocabulary as usize };
    let error = run(&mut workspace, &[vocabulary, 2], &[None, Some(&prompt)]).unwrap_err();
    assert_eq!(error, outside(0, vocabulary));
    let error = run(&mut workspace, &[1, vocabulary + 5], &[None, Some(&prompt)]).unwrap_err();
    assert_eq!(error, outside(1, vocabulary + 5));
    assert_eq!(run(&mut workspace, &[1, vocabulary], &[]).unwrap_err(), outside(1, vocabulary));
    workspace.reserve_adapters(&model.config, 3);
    let error = run(&mut workspace, &[1, 2], &[Some(&lora), None]).unwrap_err();
    assert_eq!(error, BatchError::AdapterRank { span: 0, found: 4, limit: 3 });
    workspace.reserve_adapters(&model.config, 4);
    assert!(run(&mut workspace, &[1, 2], &[Some(&lora), None]).is_ok());
}
