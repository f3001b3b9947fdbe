//! Published models, where they are at hand: `SAEM_TEST_MODELS` names a directory with them.

use std::path::PathBuf;

use saem_formats::Source;
use saem_kernels::attention::{KvType, Span};
use saem_model::{Batch, KvCache, Model, Workspace, describe, end_tokens, load_tokenizer};

use crate::support::{load, pool};

fn model(name: &str) -> Option<Source> {
    let path = std::env::var_os("SAEM_TEST_MODELS").map(|directory| PathBuf::from(directory).join(name));
    match path.filter(|path| path.is_file()) {
        Some(path) => Some(Source::open(path).unwrap()),
        None => {
            println!("skipped: {name} (set SAEM_TEST_MODELS)");
            None
        }
    }
}

/// The most likely continuation of a text.
fn continued(source: &Source, model: &Model, text: &str, tokens: usize) -> String {
    let tokenizer = load_tokenizer(source).unwrap();
    let ends = end_tokens(source, &tokenizer);
    let mut cache = KvCache::new(&model.config, KvType::F16, 8);
    let mut workspace = Workspace::new(&model.config, 128, 1);
    let pool = pool();
    let blocks: Vec<u32> = (0..8).collect();
    let (mut position, mut input, mut answer) = (0, tokenizer.encode(text, true, true), Vec::new());
    for _ in 0..tokens {
        let rows = input.len();
        let spans = [Span { first_row: 0, rows, first_position: position, blocks: &blocks }];
        let batch = Batch { tokens: &input, spans: &spans, adapters: &[], logit_rows: &[rows - 1] };
        let logits = model.forward(&pool, &mut cache, &batch, &mut workspace).unwrap();
        assert!(logits.iter().all(|logit| logit.is_finite()));
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32;
        if ends.contains(&best) {
            break;
        }
        position += rows;
        input = vec![best];
        answer.push(best);
    }
    tokenizer.decode(&answer, true)
}

#[test]
fn smollm2_knows_paris() {
    let Some(source) = model("smollm2-135m.gguf") else { return };
    let description = describe(&source).unwrap();
    assert_eq!(description.architecture, "llama");
    assert!((130_000_000..170_000_000).contains(&description.parameters), "{}", description.parameters);
    let model = load(&source, None);
    let prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";
    let answer = continued(&source, &model, prompt, 24);
    println!("{answer}");
    assert!(answer.contains("Paris"), "{answer}");
}

#[test]
fn gemma3_continues_a_list() {
    let Some(source) = model("gemma3-270m.gguf") else { return };
    let model = load(&source, None);
    let answer = continued(&source, &model, "Monday, Tuesday, Wednesday, Thursday,", 8);
    println!("{answer}");
    assert!(answer.contains("Friday"), "{answer}");
}

#[test]
fn qwen_writes_a_function() {
    let Some(source) = model("qwen0.5b.gguf") else { return };
    let model = load(&source, None);
    let prompt = "<|im_start|>user\nReply with the Korean word for water.<|im_end|>\n<|im_start|>assistant\n";
    println!("{}", continued(&source, &model, prompt, 24));
    let code = continued(&source, &model, "def add(a, b):\n    return a", 6);
    println!("{code}");
    assert!(code.contains("+ b"), "{code}");
}
