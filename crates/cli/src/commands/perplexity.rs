//! `saem perplexity`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use saem_engine::perplexity::{PerplexityOptions, Windows};
use saem_engine::{Control, Engine};
use serde_json::json;

use crate::arguments::Perplexity;
use crate::commands::text_input;
use crate::failure::Failure;
use crate::language::Language;
use crate::loading;
use crate::progress::{Progress, Unit};
use crate::{output, resolve};

/// Tokens of a window where nothing else is said: llama.cpp's, so that figures can be compared.
const DEFAULT_WINDOW: usize = 512;

/// Measures how well a model predicts a text.
pub(crate) fn run(arguments: &Perplexity, language: Language) -> anyhow::Result<()> {
    let text = text_input::read(None, Some(&arguments.file), language)?
        .ok_or_else(|| Failure::usage(language.no_text()).hint(language.no_text_hint()))?;
    let mut options = resolve::options(&arguments.load, language)?;
    let window = *options.context.get_or_insert(DEFAULT_WINDOW);
    let loaded = loading::load(&arguments.model, &options, language)?;
    let engine = &loaded.engine;
    let mut tokens = engine.tokenizer().encode(&text, true, false);
    tokens.truncate(arguments.tokens.unwrap_or(usize::MAX));
    if let Some(path) = &arguments.logits_out {
        return write_logits(engine, &tokens, path, language);
    }
    let begin_token = engine.tokenizer().bos().filter(|_| engine.tokenizer().adds_bos());
    let windows = arguments.stride.map_or(Windows::Halves, Windows::Stride);
    let settings = PerplexityOptions { context: window, windows, begin_token };
    let mut progress = Progress::new(language, language.measuring(), Unit::Tokens, Some(tokens.len() as u64));
    let result = engine.perplexity(&tokens, &settings, &mut |so_far| {
        let (done, all) = so_far.windows;
        progress.set_of((done * window) as u64, (all * window) as u64);
        Control::Continue
    })?;
    drop(progress);
    // The error of the mean, carried through the exponential.
    let error = result.perplexity() * result.standard_error;
    if arguments.json {
        return output::json(&json!({
            "model": loaded.name,
            "perplexity": result.perplexity(),
            "standard_error": error,
            "mean_negative_log_likelihood": result.mean_nll,
            "bits_per_byte": result.bits_per_byte(),
            "tokens": result.tokens,
            "text_tokens": tokens.len(),
            "context": window,
            "stride": arguments.stride,
            "tokens_per_second": result.tokens_per_second(),
        }));
    }
    let (value, error) = (format!("{:.4}", result.perplexity()), format!("{error:.4}"));
    let bits = format!("{:.4}", result.bits_per_byte());
    output::line(&format!("{}\n", language.perplexity_result(&value, &error, result.tokens, &bits)))
}

/// Writes the logits after every token, row by row, as little-endian 32-bit floats.
fn write_logits(engine: &Engine, tokens: &[u32], path: &Path, language: Language) -> anyhow::Result<()> {
    let failed = |error: std::io::Error| {
        Failure::new(language.write_failed(&path.display().to_string())).hint(language.reason(&error.to_string()))
    };
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    let mut problem = None;
    engine
        .logits_for(tokens, &mut |_, logits| {
            let row = logits.iter().try_for_each(|logit| out.write_all(&logit.to_le_bytes()));
            if let Err(error) = row {
                problem.get_or_insert(error);
                return Err(saem_engine::EngineError::Cancelled);
            }
            Ok(())
        })
        .or_else(|error| if problem.is_some() { Ok(()) } else { Err(error) })?;
    match problem {
        Some(error) => Err(failed(error).into()),
        None => Ok(out.flush().map_err(failed)?),
    }
}
