//! What bench/embeddings.py measures: `encode MODEL TEXTS VECTORS [--threads N] [--rounds N]`.
//!
//! TEXTS has a JSON string on each line. The vectors of the first round go to the file VECTORS as little-endian f32; the
//! seconds of every round, loading left out, to standard output. The first round begins with nothing met before.

#![allow(clippy::panic, reason = "a measurement that cannot go on should stop")]

use std::path::Path;
use std::time::Instant;

use saem_encoder::SentenceEncoder;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, vectors, flags @ ..] = arguments.as_slice() else {
        return Err("encode MODEL TEXTS VECTORS [--threads N] [--rounds N]".into());
    };
    let flag = |name: &str, otherwise: usize| -> Result<usize, std::num::ParseIntError> {
        let value = flags.iter().position(|flag| flag == name).and_then(|at| flags.get(at + 1));
        value.map_or(Ok(otherwise), |value| value.parse())
    };
    let (threads, rounds) = (flag("--threads", 1)?, flag("--rounds", 1)?);
    let lines = std::fs::read_to_string(texts)?;
    let texts = lines.lines().map(serde_json::from_str).collect::<Result<Vec<String>, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let begin = Instant::now();
    let mut encoder = SentenceEncoder::open(Path::new(model), threads)?;
    let load = begin.elapsed().as_secs_f64();
    let (mut cold, mut warm, mut tokens) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        // Every cold round has an encoder that has met nothing; the warm one after it goes on with the same.
        if round > 0 {
            encoder = SentenceEncoder::open(Path::new(model), threads)?;
        }
        let begin = Instant::now();
        let found = encoder.encode(&texts);
        cold.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        std::hint::black_box(encoder.encode(&texts));
        warm.push(begin.elapsed().as_secs_f64());
        if round == 0 {
            tokens = found.tokens.iter().sum::<usize>();
            let bytes: Vec<u8> = found.vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(vectors, bytes)?;
        }
    }
    // One text at a time, as a server's single requests come.
    let begin = Instant::now();
    let few = texts.len().min(500);
    for text in texts.iter().take(few) {
        std::hint::black_box(encoder.encode(&[text]));
    }
    let single = begin.elapsed().as_secs_f64() / few.max(1) as f64;
    let result = serde_json::json!({
        "load_seconds": load, "cold_seconds": cold, "warm_seconds": warm, "single_seconds": single,
        "texts": texts.len(), "tokens": tokens, "bytes": encoder.byte_len(), "threads": encoder.threads(),
    });
    println!("{result}");
    Ok(())
}
