//! `saem tokenize`.

use saem_formats::Source;
use saem_tokenizer::Tokenizer;
use serde_json::json;

use crate::arguments::Tokenize;
use crate::commands::text_input;
use crate::failure::Failure;
use crate::language::Language;
use crate::{models, output};

/// Shows the tokens of a text.
pub(crate) fn run(arguments: &Tokenize, language: Language) -> anyhow::Result<()> {
    let text = text_input::read(arguments.text.as_deref(), arguments.file.as_deref(), language)?
        .ok_or_else(|| Failure::usage(language.no_text()).hint(language.no_text_hint()))?;
    let model = models::choose(&arguments.model, language)?;
    let tokenizer = saem_model::load_tokenizer(&Source::open(&model.path)?)?;
    let ids = tokenizer.encode(&text, arguments.special, arguments.parse_special);
    if arguments.count {
        return output::line(&format!("{}\n", ids.len()));
    }
    if arguments.ids {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        return output::line(&format!("{}\n", ids.join(" ")));
    }
    let characters = text.chars().count();
    let syllables = text.chars().filter(|letter| ('가'..='힣').contains(letter)).count();
    if arguments.json {
        let pieces: Vec<String> = ids.iter().map(|id| piece(&tokenizer, *id)).collect();
        let per_syllable = (syllables > 0).then(|| ids.len() as f64 / syllables as f64);
        return output::json(&json!({
            "model": model.name, "tokens": ids.len(), "ids": ids, "pieces": pieces,
            "characters": characters, "bytes": text.len(), "syllables": syllables,
            "tokens_per_syllable": per_syllable,
        }));
    }
    let rows: Vec<Vec<String>> =
        ids.iter().map(|id| vec![id.to_string(), format!("{:?}", piece(&tokenizer, *id))]).collect();
    output::line(&output::table(&rows, &[0]))?;
    let per_token = format!("{:.2}", characters as f64 / ids.len().max(1) as f64);
    output::note(&language.tokenize_summary(ids.len(), characters, &per_token));
    if syllables > 0 {
        let per_syllable = format!("{:.2}", ids.len() as f64 / syllables as f64);
        output::note(&language.tokenize_syllables(syllables, &per_syllable));
    }
    Ok(())
}

/// The text of a token; bytes that are no whole character show as `\xNN`.
fn piece(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}
