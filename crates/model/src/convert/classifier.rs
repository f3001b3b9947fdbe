//! A model that tells labels apart: transformers' `...ForSequenceClassification`, which has a matrix with a row for each
//! label in place of the output matrix, and asks it at a text's last token.

use std::path::Path;

use saem_formats::Source;
use saem_kernels::ThreadPool;
use serde_json::{Map, Value, json};

use super::{Conversion, convert_with};
use crate::ModelError;
use crate::adapter::{FloatPair, LoraPair};
use crate::families::Family;

/// The labels of such a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// Their names, in the order of the matrix's rows.
    pub labels: Vec<String>,
    /// The token that shorter texts are made up with in a batch, where the tokenizer has one.
    pub pad: Option<u32>,
}

impl Classifier {
    /// What the matrix is called, `[labels, hidden]`.
    pub const SCORE: &str = "score.weight";

    /// Makes the `config.json` of a model that writes that of one that tells these labels apart.
    ///
    /// # Errors
    /// [`ModelError::Conversion`] where transformers has no such class for the family.
    pub fn describe(&self, family: Family, json: &mut Value) -> Result<(), ModelError> {
        let class = family.classifier_class().ok_or_else(|| {
            ModelError::Conversion(format!("transformers knows no classifier of the family {}", family.hf_name()))
        })?;
        let Some(fields) = json.as_object_mut() else { return Ok(()) };
        let numbered = || self.labels.iter().enumerate();
        let names: Map<String, Value> = numbered().map(|(number, name)| (number.to_string(), json!(name))).collect();
        let numbers: Map<String, Value> = numbered().map(|(number, name)| (name.clone(), json!(number))).collect();
        fields.insert("architectures".to_owned(), json!([class]));
        fields.insert("id2label".to_owned(), Value::Object(names));
        fields.insert("label2id".to_owned(), Value::Object(numbers));
        fields.insert("problem_type".to_owned(), json!("single_label_classification"));
        if fields.get("pad_token_id").is_none_or(Value::is_null) {
            fields.insert("pad_token_id".to_owned(), json!(self.pad));
        }
        Ok(())
    }
}

/// The matrix of a classifier to write.
pub(super) struct Head<'a> {
    pub(super) classifier: &'a Classifier,
    /// `[labels, hidden]`.
    pub(super) score: &'a [f32],
}

/// Writes a base with a LoRA of one rank in its weights, if there are pairs of one, and the matrix `score`,
/// `[labels, hidden]`, in place of its output matrix, as a Hugging Face folder. Weights keep their type; quantised ones
/// become f16.
///
/// # Errors
/// As [`convert`](super::convert), and as [`Classifier::describe`].
pub fn write_classifier(
    source: &Source,
    (pairs, (rank, alpha)): (&[LoraPair<'_>], (usize, f64)),
    classifier: &Classifier,
    score: &[f32],
    output: &Path,
    pool: &ThreadPool,
) -> Result<Conversion, ModelError> {
    let changes = |config: &crate::Config| {
        let scale = (alpha / rank as f64) as f32;
        Ok(pairs.iter().map(|pair| FloatPair::of(pair, rank, scale, config)).collect())
    };
    let head = Head { classifier, score };
    convert_with(source, output, None, pool, &mut |_, _| {}, &changes, Some(&head))
}
