//! The head of an adapter that tells labels apart and does not write: transformers' `score`, a matrix with a row for each
//! label, which is asked at a text's last token in place of the output matrix.

use std::path::Path;

use serde_json::Value;

use super::AdapterError;
use super::lora::Stored;
use super::peft::{Fields, ROOT, read};
use crate::config::Config;
use crate::convert::Classifier;

/// The modules that peft saves of such a head: the matrix, and another name of transformers for one, which no decoder has.
pub(super) const MODULES: [&str; 2] = ["score", "classifier"];

/// The names of labels, and the matrix that gives each of them a score.
#[derive(Debug)]
pub(super) struct Head {
    labels: Vec<String>,
    /// `[labels, hidden]`.
    score: Vec<f32>,
}

/// The matrix's name in a file.
pub(super) fn tensor_name() -> String {
    format!("{ROOT}{}", Classifier::SCORE)
}

/// Whether the modules that are saved beside a LoRA are such a head.
pub(super) fn is_saved(fields: &Fields<'_>) -> bool {
    let names = fields.json.get("modules_to_save").and_then(Value::as_array);
    names.is_some_and(|names| !names.is_empty() && names.iter().all(|name| MODULES.iter().any(|module| name == module)))
}

impl Head {
    /// Reads the matrix, and the names of its rows from the `config.json` of the classifier where it lies in the folder;
    /// without it they have those that transformers gives them.
    pub(super) fn read(
        folder: &Path,
        weights: &Path,
        config: &Config,
        max_bytes: usize,
        stored: &Stored<'_>,
    ) -> Result<Self, AdapterError> {
        const NAMES: &str = "id2label";
        let rows = stored.shape.first().copied().unwrap_or(0);
        // Scores take the place of a row of logits.
        stored.expect(weights, &[rows.clamp(1, config.vocabulary), config.hidden])?;
        if size_of::<f32>().saturating_mul(rows).saturating_mul(config.hidden) > max_bytes {
            return Err(AdapterError::TooLarge { path: weights.to_owned(), limit: max_bytes });
        }
        let path = folder.join("config.json");
        let json = if path.is_file() { read(&path)? } else { Value::Null };
        let fields = Fields { json: &json, path: &path };
        let labels = match fields.get(NAMES) {
            None => (0..rows).map(|row| format!("LABEL_{row}")).collect(),
            Some(names) => {
                let wrong = || fields.wrong(NAMES, names, "a name for each row of the score matrix is needed");
                let name = |row: usize| names.get(row.to_string())?.as_str().map(str::to_owned);
                let count = names.as_object().map_or(0, serde_json::Map::len);
                let labels: Option<Vec<String>> = (0..rows).map(name).collect();
                labels.filter(|_| count == rows).ok_or_else(wrong)?
            }
        };
        Ok(Self { labels, score: stored.values(weights)? })
    }

    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn byte_len(&self) -> usize {
        size_of_val(self.score.as_slice())
            + self.labels.iter().map(|label| label.len() + size_of::<String>()).sum::<usize>()
    }

    /// Scores of the labels for a row after the last norm; nothing else in `logits` can be chosen.
    pub(super) fn scores(&self, normed: &[f32], logits: &mut [f32]) {
        logits.fill(f32::NEG_INFINITY);
        for (row, score) in self.score.chunks_exact(normed.len()).zip(logits) {
            let products = row.iter().zip(normed).map(|(weight, value)| f64::from(*weight) * f64::from(*value));
            *score = products.sum::<f64>() as f32;
        }
    }
}
