//! What a tuning is: which model learns what from which rows, and how. And the recipe that says so to `saem tune`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ApiError;
use crate::nfc::nfc;
use crate::studio::render::expand;
use crate::studio::report::{Column, ColumnKind};

/// Longest template in bytes.
const LONGEST_TEMPLATE: usize = 16 << 10;
/// Most labels.
const MOST_LABELS: usize = 50;

/// What of a model learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningMethod)]
pub(crate) enum Method {
    /// Thin matrices beside the weights, which stay as they are.
    #[default]
    #[serde(rename = "lora")]
    Lora,
    /// The same, and the lengths of the rows of the sum.
    #[serde(rename = "dora")]
    Dora,
    /// Rows before each text, made by a small encoder; the model stays as it is.
    #[serde(rename = "p-tuning")]
    PTuning,
    /// Rows before each text, learnt as they are.
    #[serde(rename = "prompt")]
    Prompt,
    /// Keys and values before each text, in every layer.
    #[serde(rename = "prefix")]
    Prefix,
    /// Thin matrices that learn which of two answers is the better one.
    #[serde(rename = "dpo")]
    Dpo,
    /// Thin matrices, and a head that tells labels apart in place of writing them. Asked as any other, it
    /// answers with a label alone.
    #[serde(rename = "classifier")]
    Classifier,
    /// All weights. The result is a model of its own.
    #[serde(rename = "full")]
    Full,
}

/// What is computed twice instead of being kept: less memory, more work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningRecompute)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// The insides of feed-forward layers.
    Selective,
    /// All but the input of each layer.
    Full,
}

/// How weights follow from gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningOptimizer)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// Two means for each weight that learns.
    #[default]
    AdamW,
    /// The same in 8 bits.
    AdamW8bit,
    /// Matrices by Muon, which has one mean; the rest by `adamw`.
    Muon,
}

/// How a tuning learns. Every field may be absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningParameters)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parameters {
    /// How often each row is learnt from.
    #[schema(minimum = 0.01, maximum = 1000)]
    pub(crate) epochs: f64,
    /// Rows in a step.
    #[schema(minimum = 1, maximum = 1024)]
    pub(crate) batch: u32,
    /// Tokens of the longest row; longer ones are left out, longer conversations are cut.
    #[schema(minimum = 8, maximum = 32768)]
    pub(crate) sequence: u32,
    /// The highest learning rate; what suits the method where null.
    pub(crate) learning_rate: Option<f64>,
    /// Rank of the thin matrices.
    #[schema(minimum = 1, maximum = 64)]
    pub(crate) rank: u32,
    /// Rows that p-tuning, prompt tuning and prefix tuning learn.
    #[schema(minimum = 1, maximum = 512)]
    pub(crate) virtual_tokens: u32,
    /// The share of the rows that is not learnt from but measured with, 1,000 rows at most.
    #[schema(minimum = 0, maximum = 0.5)]
    pub(crate) held_out: f64,
    /// The same seed chooses the same rows in the same order.
    #[schema(maximum = 4_294_967_295_u64)]
    pub(crate) seed: u64,
    /// Rows in memory at a time, at most `batch`; 8 where null. Fewer take less memory, and make the same step.
    #[schema(minimum = 1, maximum = 1024)]
    pub(crate) micro_batch: Option<u32>,
    pub(crate) recompute: Recompute,
    pub(crate) optimizer: Optimizer,
    /// Threads that compute; half of the processors where null.
    #[schema(minimum = 1, maximum = 1024)]
    pub(crate) threads: Option<u32>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            batch: 8,
            sequence: 256,
            learning_rate: None,
            rank: 16,
            virtual_tokens: 32,
            held_out: 0.1,
            seed: 0,
            micro_batch: None,
            recompute: Recompute::None,
            optimizer: Optimizer::AdamW,
            threads: None,
        }
    }
}

/// What is tuned, on what and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningTask)]
#[serde(deny_unknown_fields)]
pub(crate) struct Task {
    /// Id of the dataset.
    pub(crate) dataset: String,
    /// Name of a model that is served.
    pub(crate) base: String,
    #[serde(default)]
    pub(crate) method: Method,
    /// What the model is asked, with `{{columns}}`. It is not learnt.
    #[serde(default)]
    pub(crate) prompt: String,
    /// What it should answer, with `{{columns}}`. This is learnt. A classifier answers nothing: it learns `label`.
    #[serde(default)]
    pub(crate) answer: String,
    /// With `dpo`: the worse answer, with `{{columns}}`; `answer` is the better one.
    #[serde(default)]
    pub(crate) rejected: String,
    /// Instead of both: the column with conversations. The assistant's turns are learnt.
    #[serde(default)]
    pub(crate) chat: Option<String>,
    /// The column with labels. The answer is then one of them, and how many are right is measured.
    #[serde(default)]
    pub(crate) label: Option<String>,
    /// The labels in words, by what is in the column; as they are where empty.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) parameters: Parameters,
}

impl Task {
    /// The task with texts composed, if it can be done with these columns. The labels are filled in.
    ///
    /// # Errors
    /// 400 with the field.
    pub(crate) fn checked(mut self, columns: &[Column]) -> Result<Self, ApiError> {
        self.prompt = nfc(self.prompt);
        self.answer = nfc(self.answer);
        self.rejected = nfc(self.rejected);
        let (prefers, classifies) = (self.method == Method::Dpo, self.tells_labels());
        if classifies && self.label.is_none() {
            return Err(ApiError::invalid_value("label", "A classifier learns labels: say which column has them"));
        }
        if classifies && !self.answer.is_empty() {
            return Err(ApiError::invalid_value("answer", "A classifier learns the label itself: leave out answer"));
        }
        let paired = [("chat", self.chat.is_some()), ("label", self.label.is_some())];
        if let Some((field, _)) = paired.into_iter().find(|(_, given)| prefers && *given) {
            let message = "dpo learns from two answers: leave out chat and label";
            return Err(ApiError::invalid_value(field, message));
        }
        if !prefers && !self.rejected.is_empty() {
            return Err(ApiError::invalid_value("rejected", "Only dpo learns from a worse answer"));
        }
        self.labels = self.labels.into_iter().map(|(value, word)| (nfc(value), nfc(word))).collect();
        let find = |name: &str| columns.iter().find(|column| column.name == name);
        let unknown =
            |field: &str, name: &str| ApiError::invalid_value(field, format!("The dataset has no column `{name}`"));
        match &self.chat {
            Some(name) => {
                let column = find(name).ok_or_else(|| unknown("chat", name))?;
                if column.kind != ColumnKind::Messages {
                    return Err(ApiError::invalid_value("chat", format!("`{name}` is no column of conversations")));
                }
                if self.label.is_some() || !self.prompt.is_empty() || !self.answer.is_empty() {
                    let message = "Conversations are learnt as they are: leave out prompt, answer and label";
                    return Err(ApiError::invalid_value("chat", message));
                }
            }
            None => {
                let templates = [("prompt", &self.prompt), ("answer", &self.answer), ("rejected", &self.rejected)];
                let count = if classifies { 1 } else { 2 + usize::from(prefers) };
                for (field, template) in templates.into_iter().take(count) {
                    let names = names(template);
                    if let Some(name) = names.iter().find(|name| find(name).is_none()) {
                        return Err(unknown(field, name));
                    }
                    if names.is_empty() {
                        let message = format!("{field} must hold a column, such as {{{{{}}}}}", any(columns));
                        return Err(ApiError::invalid_value(field, message));
                    }
                    if template.len() > LONGEST_TEMPLATE {
                        return Err(ApiError::invalid_value(field, format!("at most {LONGEST_TEMPLATE} bytes")));
                    }
                }
            }
        }
        if let Some(name) = &self.label {
            let column = find(name).ok_or_else(|| unknown("label", name))?;
            if column.kind != ColumnKind::Label {
                return Err(ApiError::invalid_value("label", format!("`{name}` is no column of labels")));
            }
            if !classifies && !names(&self.answer).iter().eq([name]) {
                let message = format!("With labels, the answer holds {{{{{name}}}}} and no other column");
                return Err(ApiError::invalid_value("answer", message));
            }
            for label in &column.labels {
                self.labels.entry(label.value.clone()).or_insert_with(|| label.value.clone());
            }
            self.labels.retain(|value, _| column.labels.iter().any(|label| label.value == *value));
            let mut words: Vec<&str> = self.labels.values().map(|word| word.trim()).collect();
            words.sort_unstable();
            words.dedup();
            if words.len() < self.labels.len() || words.first().is_none_or(|word| word.is_empty()) {
                return Err(ApiError::invalid_value("labels", "Each label has a word of its own"));
            }
            if !(2..=MOST_LABELS).contains(&words.len()) {
                return Err(ApiError::invalid_value("label", format!("must have 2 to {MOST_LABELS} labels")));
            }
        } else if !self.labels.is_empty() {
            return Err(ApiError::invalid_value("labels", "Say which column has the labels"));
        }
        self.parameters.check()?;
        Ok(self)
    }

    /// What the answer may be, where it is one of some labels.
    pub(crate) fn choices(&self) -> Vec<String> {
        self.labels.values().map(|word| self.answer(&mut |_| word.clone())).collect()
    }

    /// Whether the tuned model can write nothing but labels, whatever else it is asked for.
    pub(crate) fn tells_labels(&self) -> bool {
        self.method == Method::Classifier
    }

    /// The answer with the words of these columns. A classifier's is the label itself.
    fn answer(&self, word: &mut dyn FnMut(&str) -> String) -> String {
        match &self.label {
            Some(label) if self.tells_labels() => word(label),
            _ => expand(&self.answer, word),
        }
    }

    /// A row as it is asked, and what should be answered.
    pub(crate) fn example(&self, row: &Map<String, Value>) -> (String, String) {
        let cell = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let prompt = expand(&self.prompt, &mut |name| cell(name));
        let answer = self.answer(&mut |name| {
            let value = cell(name);
            match self.label.as_deref() == Some(name) {
                true => self.labels.get(&value).cloned().unwrap_or(value),
                false => value,
            }
        });
        (prompt, answer)
    }

    /// The columns that are needed of a row.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut columns = names(&self.prompt);
        columns.extend(names(&self.answer));
        columns.extend(names(&self.rejected));
        columns.extend(self.label.clone());
        columns.extend(self.chat.clone());
        columns
    }

    /// Steps for so many rows.
    pub(crate) fn steps(&self, rows: usize) -> u64 {
        let Parameters { epochs, batch, .. } = self.parameters;
        (rows as f64 * epochs / f64::from(batch)).ceil().max(1.0) as u64
    }

    /// The recipe for `saem tune`, with the base and the rows at these paths.
    pub(crate) fn recipe(&self, base: &Path, train: &Path, held_out: Option<&Path>, steps: u64) -> String {
        let parameters = &self.parameters;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let (prompt, answer) = match self.chat {
            Some(_) => (None, None),
            None => (Some(self.prompt.as_str()), Some(self.answer.as_str())),
        };
        let is_lora = matches!(self.method, Method::Lora | Method::Dora | Method::Dpo | Method::Classifier);
        let is_prompt = matches!(self.method, Method::PTuning | Method::Prompt | Method::Prefix);
        let (prefers, classifies) = (self.method == Method::Dpo, self.tells_labels());
        let recipe = Recipe {
            model: ModelPart { base: path(base) },
            tune: TunePart {
                method: if classifies { Method::Lora } else { self.method },
                task: classifies.then_some("classification"),
                rank: is_lora.then_some(parameters.rank),
                alpha: is_lora.then(|| 2.0 * f64::from(parameters.rank)),
                virtual_tokens: is_prompt.then_some(parameters.virtual_tokens),
            },
            data: DataPart {
                train: vec![path(train)],
                validation: held_out.map(path).into_iter().collect(),
                prompt,
                answer: answer.filter(|_| !prefers && !classifies),
                chosen: answer.filter(|_| prefers),
                rejected: prefers.then_some(self.rejected.as_str()),
                chat: self.chat.as_deref(),
                label: self.label.as_deref(),
                labels: self.label.as_ref().map(|_| &self.labels),
            },
            train: TrainPart {
                steps,
                batch: parameters.batch,
                micro_batch: parameters.micro_batch.unwrap_or(8).min(parameters.batch),
                recompute: parameters.recompute,
                optimizer: parameters.optimizer,
                sequence: parameters.sequence,
                learning_rate: parameters.learning_rate,
                warm_up: steps / 20,
                evaluate_every: (steps / 10).max(1),
                checkpoint_every: (steps / 20).clamp(1, 100),
                keep: 1,
                seed: parameters.seed,
            },
        };
        toml::to_string(&recipe).unwrap_or_default()
    }
}

impl Parameters {
    fn check(&self) -> Result<(), ApiError> {
        let numbers = [
            ("epochs", self.epochs, 0.01, 1000.0),
            ("batch", self.batch.into(), 1.0, 1024.0),
            ("sequence", self.sequence.into(), 8.0, 32_768.0),
            ("learning_rate", self.learning_rate.unwrap_or(1e-3), 1e-9, 10.0),
            ("rank", self.rank.into(), 1.0, 64.0),
            ("virtual_tokens", self.virtual_tokens.into(), 1.0, 512.0),
            ("held_out", self.held_out, 0.0, 0.5),
            ("seed", self.seed as f64, 0.0, 4_294_967_295.0),
            ("micro_batch", self.micro_batch.unwrap_or(1).into(), 1.0, 1024.0),
            ("threads", self.threads.unwrap_or(1).into(), 1.0, 1024.0),
        ];
        match numbers.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, _, least, most)) => {
                let field = format!("parameters.{name}");
                Err(ApiError::invalid_value(field, format!("{name} must be between {least} and {most}")))
            }
            None => Ok(()),
        }
    }
}

/// The columns of a template, each once.
fn names(template: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    expand(template, &mut |name| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        String::new()
    });
    names
}

fn any(columns: &[Column]) -> &str {
    columns.first().map_or("text", |column| &column.name)
}

#[derive(Serialize)]
struct Recipe<'a> {
    model: ModelPart,
    tune: TunePart,
    data: DataPart<'a>,
    train: TrainPart,
}

#[derive(Serialize)]
struct ModelPart {
    base: String,
}

#[derive(Serialize)]
struct TunePart {
    method: Method,
    task: Option<&'static str>,
    rank: Option<u32>,
    alpha: Option<f64>,
    virtual_tokens: Option<u32>,
}

#[derive(Serialize)]
struct DataPart<'a> {
    train: Vec<String>,
    validation: Vec<String>,
    prompt: Option<&'a str>,
    answer: Option<&'a str>,
    chosen: Option<&'a str>,
    rejected: Option<&'a str>,
    chat: Option<&'a str>,
    label: Option<&'a str>,
    labels: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct TrainPart {
    steps: u64,
    batch: u32,
    micro_batch: u32,
    recompute: Recompute,
    optimizer: Optimizer,
    sequence: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    learning_rate: Option<f64>,
    warm_up: u64,
    evaluate_every: u64,
    checkpoint_every: u64,
    keep: u32,
    seed: u64,
}
