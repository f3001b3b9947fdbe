//! A model whose answers are known: it recites the alphabet.
//!
//! One layer of zeros leaves the embedding as it is, so the output matrix alone decides what follows what: after each
//! letter the next one, after `z` the end of the turn, after a line feed `a`. Tokens are single bytes. What it takes to
//! run it is the same as for any other model.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use saem_formats::DataType;
use saem_formats::gguf::{Value, Writer};

const HIDDEN: usize = 288;
const HEADS: usize = 9;
/// The end of a turn.
pub(crate) const END: usize = 257;
/// Positions of prompt and answer together.
pub(crate) const CONTEXT: usize = 512;

/// Writes the model and returns its path.
pub(crate) fn alphabet(directory: &Path) -> PathBuf {
    reciting(directory, after)
}

/// As [`alphabet`], for another order: `after` says what follows a token.
pub(crate) fn reciting(directory: &Path, after: fn(usize) -> usize) -> PathBuf {
    let path = directory.join("alphabet.gguf");
    let mut tokens: Vec<String> = (0..=255).map(spelling).collect();
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let vocabulary = tokens.len();
    let mut writer = Writer::new();
    let text = |value: &'static str| Value::String(value.as_bytes());
    let number = |value: usize| Value::U32(u32::try_from(value).unwrap());
    for (key, value) in [
        ("general.architecture", text("llama")),
        ("general.name", text("Alphabet")),
        ("general.license", text("apache-2.0")),
        ("llama.context_length", number(CONTEXT)),
        ("llama.embedding_length", number(HIDDEN)),
        ("llama.block_count", number(1)),
        ("llama.feed_forward_length", number(32)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
        ("llama.rope.dimension_count", number(HIDDEN / HEADS)),
        ("llama.vocab_size", number(vocabulary)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        ("tokenizer.ggml.eos_token_id", number(END)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        (
            "tokenizer.chat_template",
            text(concat!(
                "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n",
                "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
            )),
        ),
    ] {
        writer.add_metadata(key, value).unwrap();
    }
    writer.add_strings("tokenizer.ggml.tokens", &tokens).unwrap();
    let types: Vec<i32> = (0..vocabulary).map(|id| if id < 256 { 1 } else { 3 }).collect();
    writer.add_array("tokenizer.ggml.token_type", &types).unwrap();
    writer.add_strings("tokenizer.ggml.merges", [""; 0]).unwrap();

    let mut embedding = vec![0.0_f32; vocabulary * HIDDEN];
    let mut output = vec![0.0_f32; vocabulary * HIDDEN];
    for token in 0..vocabulary {
        embedding[token * HIDDEN + token] = 1.0;
        output[after(token) * HIDDEN + token] = 1.0;
    }
    let (ones, zeros) = (vec![1.0; HIDDEN], |count: usize| vec![0.0; count]);
    let tensors = [
        ("token_embd.weight", vec![HIDDEN, vocabulary], embedding),
        ("output_norm.weight", vec![HIDDEN], ones.clone()),
        ("output.weight", vec![HIDDEN, vocabulary], output),
        ("blk.0.attn_norm.weight", vec![HIDDEN], ones.clone()),
        ("blk.0.attn_q.weight", vec![HIDDEN, HIDDEN], zeros(HIDDEN * HIDDEN)),
        ("blk.0.attn_k.weight", vec![HIDDEN, HIDDEN], zeros(HIDDEN * HIDDEN)),
        ("blk.0.attn_v.weight", vec![HIDDEN, HIDDEN], zeros(HIDDEN * HIDDEN)),
        ("blk.0.attn_output.weight", vec![HIDDEN, HIDDEN], zeros(HIDDEN * HIDDEN)),
        ("blk.0.ffn_norm.weight", vec![HIDDEN], ones),
        ("blk.0.ffn_gate.weight", vec![HIDDEN, 32], zeros(HIDDEN * 32)),
        ("blk.0.ffn_up.weight", vec![HIDDEN, 32], zeros(HIDDEN * 32)),
        ("blk.0.ffn_down.weight", vec![32, HIDDEN], zeros(HIDDEN * 32)),
    ];
    for (name, shape, _) in &tensors {
        writer.add_tensor(name, shape, DataType::F32).unwrap();
    }
    let mut data = writer.start(BufWriter::new(File::create(&path).unwrap())).unwrap();
    for (_, _, values) in &tensors {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data.write_tensor(&bytes).unwrap();
    }
    data.finish().unwrap();
    path
}

/// What follows a token in the alphabet.
pub(crate) fn after(token: usize) -> usize {
    match u8::try_from(token) {
        Ok(b'z') => END,
        Ok(b'\n') => usize::from(b'a'),
        Ok(byte) => usize::from(byte.wrapping_add(1)),
        Err(_) => usize::from(b'\n'),
    }
}

/// GPT-2's letter for a byte: itself where it can be seen, else one from 256 on.
fn spelling(byte: u32) -> String {
    let seen = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let letter = if seen(byte) { byte } else { 256 + (0..byte).filter(|other| !seen(*other)).count() as u32 };
    char::from_u32(letter).unwrap().to_string()
}
