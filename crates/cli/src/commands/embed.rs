//! `saem embed`.

use std::io::Write as _;
use std::time::Instant;

use saem_encoder::SentenceEncoder;
use serde_json::json;

use crate::arguments::Embed;
use crate::commands::text_input;
use crate::failure::Failure;
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// The model where none is named.
const DEFAULT: &str = "use-multilingual";
/// Texts that are turned into vectors before the next are looked at.
const AT_ONCE: usize = 1024;

/// Turns texts into vectors.
pub(crate) fn run(arguments: &Embed, language: Language) -> anyhow::Result<()> {
    if arguments.threads == Some(0) {
        return Err(Failure::usage(language.at_least_one("--threads")).into());
    }
    let text = text_input::read(arguments.text.as_deref(), arguments.file.as_deref(), language)?
        .ok_or_else(|| Failure::usage(language.no_text()).hint(language.no_text_hint()))?;
    let is_one = arguments.text.as_deref().is_some_and(|text| text != "-");
    let texts: Vec<&str> = if is_one { vec![&text] } else { text.lines().collect() };
    let hub = models::hub()?;
    let name = arguments.model.as_deref().unwrap_or(DEFAULT);
    let model = models::find_or_pull(&hub, name, arguments.accept_licence, language)?;
    let progress = Progress::new(language, language.loading(&model.name), Unit::Bytes, None);
    let threads = arguments.threads.unwrap_or_else(resolve::available_threads);
    let encoder = SentenceEncoder::open(&model.path, threads)?;
    drop(progress);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (begun, mut tokens) = (Instant::now(), 0);
    for (batch, texts) in texts.chunks(AT_ONCE).enumerate() {
        let found = encoder.encode(texts);
        for (number, (vector, count)) in found.vectors.iter().zip(&found.tokens).enumerate() {
            tokens += count;
            if arguments.json {
                let index = batch * AT_ONCE + number;
                let line = json!({ "index": index, "tokens": count, "embedding": vector.as_slice() });
                writeln!(out, "{line}")?;
            } else {
                let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
                writeln!(out, "{}", numbers.join(" "))?;
            }
        }
    }
    out.flush()?;
    if texts.len() > 1 && !arguments.json {
        let seconds = begun.elapsed().as_secs_f64();
        output::note(&language.embed_summary(texts.len(), tokens, &format!("{seconds:.2}")));
    }
    Ok(())
}
