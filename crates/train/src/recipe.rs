//! A recipe: everything that decides a run, in one TOML file.
//!
//! ```toml
//! [model]
//! tokenizer = "smollm2-135m"
//! [model.config]              # Hugging Face's names
//! model_type = "llama"
//! hidden_size = 256
//! intermediate_size = 768
//! num_hidden_layers = 4
//! num_attention_heads = 4
//!
//! [data]
//! train = ["texts"]
//!
//! [train]
//! steps = 1000
//! sequence = 256
//! batch = 8
//! learning_rate = 1e-3
//! ```
//!
//! With a part `[tune]` it is a recipe to tune a model by, and says how rows of files become examples:
//!
//! ```toml
//! [model]
//! base = "gemma3-270m"
//!
//! [tune]
//! method = "lora"
//! rank = 16
//!
//! [data]
//! train = ["reviews.jsonl"]
//! prompt = "리뷰: {{document}}\n감정:"
//! answer = " {{label}}"
//! label = "label"
//! labels = { "0" = "부정", "1" = "긍정" }
//!
//! [train]
//! epochs = 1
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use saem_formats::Source;
use saem_kernels::gemm::Precision;
use saem_model::{Config, ModelError};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::buffers::Recompute;
use crate::frozen::Frozen;
use crate::layout::Layout;
use crate::method::{Lora, Method, Prompt, Target};
use crate::optimizer::Algorithm;
use crate::schedule::Schedule;
use crate::template::Template;

/// A recipe; see the module.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub model: ModelRecipe,
    /// What of it, where a model is tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<TuneRecipe>,
    /// On what.
    pub data: DataRecipe,
    /// How.
    pub train: TrainRecipe,
}

/// What is trained: a new model of some shape, or all weights of one that there is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// A model to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Whose tokenizer a new model gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// The shape of a new model, as in `config.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<toml::Table>,
}

/// What of a model is trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TuneRecipe {
    /// The method.
    pub method: MethodName,
    /// What for.
    #[serde(default, skip_serializing_if = "Task::is_default")]
    pub task: Task,
    /// LoRA: the rank of the thin matrices.
    #[serde(default = "defaults::rank")]
    pub rank: usize,
    /// LoRA: the factor on their product, times the rank.
    #[serde(default = "defaults::alpha")]
    pub alpha: f64,
    /// LoRA: the projections that get them.
    #[serde(default = "defaults::targets")]
    pub targets: Vec<Target>,
    /// LoRA: of how many layers, the last ones; all of them where nothing is said. The fewer, the quicker a step and the less
    /// memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_layers: Option<usize>,
    /// DPO: how much a pair counts that is told apart already; less lets the model go further from where it began.
    #[serde(default = "defaults::beta")]
    pub beta: f64,
    /// Soft prompts and prefixes: rows before every text.
    #[serde(default = "defaults::virtual_tokens")]
    pub virtual_tokens: usize,
    /// p-tuning: the inner width of the prompt encoder; 0 for the model's width.
    #[serde(default)]
    pub encoder_hidden: usize,
    /// Have matrices that stay also in memory as products take them: more memory for less time.
    #[serde(default)]
    pub keep_packed: bool,
}

/// What a model is tuned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// To write.
    #[default]
    Generation,
    /// To tell a few labels apart, by a matrix of its own in place of the output matrix.
    Classification,
}

impl Task {
    fn is_default(&self) -> bool {
        *self == Self::Generation
    }
}

/// A method's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// All weights.
    Full,
    /// Thin matrices beside some weights.
    Lora,
    /// Thin matrices beside some weights, and lengths of their rows.
    Dora,
    /// A soft prompt that an encoder makes.
    PTuning,
    /// A soft prompt.
    Prompt,
    /// Keys and values before every text.
    Prefix,
    /// The head of a classifier alone.
    Head,
    /// Thin matrices beside some weights, learnt from preferences.
    Dpo,
}

/// What a run learns from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Files and directories, beside the recipe where they are relative.
    pub train: Vec<PathBuf>,
    /// Texts that are not learnt from, but measured with.
    #[serde(default)]
    pub validation: Vec<PathBuf>,
    /// Where no such texts are named: the share of the others that is held out for it.
    #[serde(default)]
    pub validation_share: f64,
    /// Which column of a row is the text.
    #[serde(default = "defaults::text", alias = "field")]
    pub text: String,
    /// What stands before an answer, with places for columns: `{{column}}`. Nothing of it is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The answer, with places for columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// DPO: the better of two answers, with places for columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// DPO: the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The column that holds a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the label's values are called in the answer. Rows with other values are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The column that holds a conversation: messages as OpenAI's API has them. What the assistant says is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// The most examples to learn from, drawn by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// The most examples to measure with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_examples: Option<usize>,
    /// Learn from as many examples of each label.
    #[serde(default)]
    pub balance: bool,
    /// Measure with as many examples of each label.
    #[serde(default)]
    pub validation_balance: bool,
}

/// How a row becomes an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// A text, all of it learnt.
    Text(&'a str),
    /// A prompt and an answer.
    Answer(&'a str, &'a str),
    /// A conversation.
    Chat(&'a str),
    /// A prompt and two answers, the better one first.
    Preference(&'a str, [&'a str; 2]),
    /// A text whose label is to be told.
    Label(&'a str),
}

impl DataRecipe {
    /// How a row becomes an example; or what is wrong.
    pub(crate) fn form(&self) -> Result<Form<'_>, String> {
        if let (Some(prompt), Some(chosen), Some(rejected)) = (&self.prompt, &self.chosen, &self.rejected) {
            return match (&self.answer, &self.chat) {
                (None, None) => Ok(Form::Preference(prompt, [chosen, rejected])),
                _ => Err("[data] chosen and rejected are the answers: leave answer and chat out".into()),
            };
        }
        if self.chosen.is_some() || self.rejected.is_some() {
            return Err("[data] prompt, chosen and rejected belong together".into());
        }
        match (&self.prompt, &self.answer, &self.chat) {
            (Some(prompt), Some(answer), None) => Ok(Form::Answer(prompt, answer)),
            (Some(prompt), None, None) if self.label.is_some() => Ok(Form::Label(prompt)),
            (None, None, Some(chat)) => Ok(Form::Chat(chat)),
            (None, None, None) => Ok(Form::Text(&self.text)),
            (_, _, Some(_)) => {
                Err("[data] chat brings its own prompts and answers: leave prompt and answer out".into())
            }
            _ => Err("[data] prompt and answer belong together".into()),
        }
    }

    /// What the labels are called, in the order of their first value.
    pub(crate) fn label_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.labels.values() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn check(&self) -> Result<(), String> {
        let form = self.form()?;
        let templates = match form {
            Form::Answer(prompt, answer) => vec![prompt, answer],
            Form::Preference(prompt, [chosen, rejected]) => vec![prompt, chosen, rejected],
            Form::Label(prompt) => vec![prompt],
            Form::Text(_) | Form::Chat(_) => Vec::new(),
        };
        for template in templates {
            Template::parse(template).map_err(|problem| format!("[data] {problem}"))?;
        }
        let Some(label) = &self.label else {
            return if self.labels.is_empty() && !self.balance && !self.validation_balance {
                Ok(())
            } else {
                Err("[data] label must name the column that labels and balance speak of".into())
            };
        };
        let (prompt, answer) = match form {
            Form::Answer(prompt, answer) => (prompt, Some(answer)),
            Form::Label(prompt) => (prompt, None),
            _ => return Err("[data] label belongs to prompt and answer".into()),
        };
        let named = |text: &str| Template::parse(text).map(|template| template.columns().any(|column| column == label));
        if self.labels.values().any(|word| word.trim().is_empty()) || self.labels.is_empty() {
            return Err("[data] labels must say what each value of the label is called".into());
        }
        if named(prompt)? {
            return Err(format!("[data] prompt gives the answer away: it names {label:?}"));
        }
        let Some(answer) = answer else { return Ok(()) };
        let columns = Template::parse(answer)?;
        if !named(answer)? || columns.columns().any(|column| column != label) {
            return Err(format!(
                "[data] answer must name {label:?} and no other column where it is one of a few labels"
            ));
        }
        Ok(())
    }
}

/// How a run learns.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe {
    /// Steps of the optimizer; or `epochs`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: u64,
    /// How often every example is taken, where `steps` does not say how many steps there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Tokens of a sequence, or of the longest example.
    #[serde(default = "defaults::sequence")]
    pub sequence: usize,
    /// Sequences or examples in a step.
    #[serde(default = "defaults::batch")]
    pub batch: usize,
    /// Sequences in memory at a time, or tokens of so many; a step takes as many turns as it needs.
    #[serde(default = "defaults::micro_batch")]
    pub micro_batch: usize,
    /// How weights follow from gradients.
    #[serde(default)]
    pub optimizer: Algorithm,
    /// The highest learning rate; what suits the method where nothing is said ([`Recipe::learning_rate`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// How it goes on after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps in which it rises.
    #[serde(default)]
    pub warm_up: u64,
    /// The share of it that is left at the end.
    #[serde(default = "defaults::final_share")]
    pub final_share: f64,
    /// AdamW's decay of weights (matrices only).
    #[serde(default = "defaults::weight_decay")]
    pub weight_decay: f64,
    /// AdamW's decay of the mean of gradients.
    #[serde(default = "defaults::beta1")]
    pub beta1: f64,
    /// AdamW's decay of the mean of their squares.
    #[serde(default = "defaults::beta2")]
    pub beta2: f64,
    /// The longest that the gradient may be; longer ones are shortened to it. 0 for no limit.
    #[serde(default = "defaults::clip")]
    pub clip: f64,
    /// Weight of the squared logarithm of each softmax's sum.
    #[serde(default)]
    pub z_loss: f64,
    /// Weight of the loss that an uneven use of experts is, where the model has experts.
    #[serde(default = "defaults::expert_balance")]
    pub expert_balance: f64,
    /// What is computed twice to save memory.
    #[serde(default)]
    pub recompute: Recompute,
    /// How exactly matrices are multiplied, where the processor has bf16 tiles.
    #[serde(default, with = "PrecisionName")]
    pub precision: Precision,
    /// What weights are between steps.
    #[serde(default)]
    pub weights: WeightFormat,
    /// Decides the first weights of a new model, the order of the texts, and what is held out.
    #[serde(default)]
    pub seed: u64,
    /// Steps between measurements with held-out texts.
    #[serde(default = "defaults::evaluate_every")]
    pub evaluate_every: u64,
    /// Held-out examples that are measured with at most on the way; at the end all are.
    #[serde(default = "defaults::evaluate_examples")]
    pub evaluate_examples: usize,
    /// Steps between checkpoints.
    #[serde(default = "defaults::checkpoint_every")]
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    #[serde(default = "defaults::keep")]
    pub keep: usize,
}

impl TrainRecipe {
    /// Steps in which so many examples are taken so often.
    pub(crate) fn steps_of(&self, epochs: f64, examples: usize) -> u64 {
        ((epochs * examples as f64 / self.batch as f64).ceil() as u64).max(1)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What weights are between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightFormat {
    /// f32 numbers, which products take as exactly as their precision says.
    #[default]
    F32,
    /// f32 numbers in two halves: products take the upper one, a bf16 number; the optimizer takes both, so nothing of it is
    /// lost.
    Halves,
    /// bf16 numbers, to which each step rounds by chance. So the model that comes out is the one that was trained, in half of
    /// the bytes, in memory and on disk.
    Bf16,
}

impl WeightFormat {
    /// As recipes name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Halves => "halves",
            Self::Bf16 => "bf16",
        }
    }
}

/// [`Precision`], as recipes name it.
#[derive(Deserialize, Serialize)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Split,
    Bf16,
}

mod defaults {
    /// Fedus et al. 2021, arXiv 2101.03961, section 2.2.
    pub(super) fn expert_balance() -> f64 {
        0.01
    }
    use crate::method::Target;

    pub(super) fn rank() -> usize {
        16
    }
    pub(super) fn beta() -> f64 {
        0.1
    }
    pub(super) fn alpha() -> f64 {
        32.0
    }
    pub(super) fn targets() -> Vec<Target> {
        Target::ALL.to_vec()
    }
    pub(super) fn virtual_tokens() -> usize {
        32
    }
    pub(super) fn evaluate_examples() -> usize {
        256
    }
    pub(super) fn text() -> String {
        "text".to_owned()
    }
    pub(super) fn sequence() -> usize {
        256
    }
    pub(super) fn batch() -> usize {
        8
    }
    pub(super) fn micro_batch() -> usize {
        8
    }
    pub(super) fn final_share() -> f64 {
        0.1
    }
    pub(super) fn weight_decay() -> f64 {
        0.1
    }
    pub(super) fn beta1() -> f64 {
        0.9
    }
    pub(super) fn beta2() -> f64 {
        0.95
    }
    pub(super) fn clip() -> f64 {
        1.0
    }
    pub(super) fn evaluate_every() -> u64 {
        100
    }
    pub(super) fn checkpoint_every() -> u64 {
        100
    }
    pub(super) fn keep() -> usize {
        2
    }
}

impl Recipe {
    /// Reads a recipe; paths in it become absolute.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with what is wrong and where.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        let wrong = |problem: String| TrainError::Recipe { path: path.to_owned(), problem };
        let mut recipe: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let beside = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let beside = beside.parent().unwrap_or(Path::new(""));
        let DataRecipe { train, validation, .. } = &mut recipe.data;
        for file in train.iter_mut().chain(validation) {
            *file = beside.join(&*file);
        }
        recipe.check().map_err(wrong)?;
        recipe.train.learning_rate = Some(recipe.learning_rate());
        Ok(recipe)
    }

    /// The recipe as TOML, nothing left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// What of a model of this width is trained.
    #[must_use]
    pub fn method(&self, hidden: usize) -> Method {
        let Some(tune) = &self.tune else { return Method::Full };
        let prompt = |encoder| Method::Prompt(Prompt { rows: tune.virtual_tokens, encoder });
        match tune.method {
            MethodName::Full => Method::Full,
            MethodName::Lora | MethodName::Dora | MethodName::Dpo => {
                let TuneRecipe { rank, alpha, last_layers, .. } = *tune;
                let magnitudes = tune.method == MethodName::Dora;
                Method::Lora(Lora { rank, alpha, targets: tune.targets.clone(), last_layers, magnitudes })
            }
            MethodName::PTuning if tune.encoder_hidden == 0 => prompt(Some(hidden)),
            MethodName::PTuning => prompt(Some(tune.encoder_hidden)),
            MethodName::Prompt => prompt(None),
            MethodName::Prefix => Method::Prefix(tune.virtual_tokens),
            MethodName::Head => Method::Head,
        }
    }

    /// The highest learning rate: the recipe's, or what suits the method. The fewer numbers stand for a whole task, the
    /// further each of them has to go; and weights that know much already must not go far.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.train.learning_rate.unwrap_or(match self.tune.as_ref().map(|tune| tune.method) {
            None | Some(MethodName::Lora | MethodName::Dora) => 3e-4,
            Some(MethodName::PTuning) => 2e-3,
            Some(MethodName::Prompt | MethodName::Prefix) => 2e-2,
            Some(MethodName::Head) => 1e-3,
            Some(MethodName::Dpo) => 5e-5,
            Some(MethodName::Full) => 2e-5,
        })
    }

    /// The names of the labels that a model learns to tell apart with a head of its own.
    #[must_use]
    pub fn labels(&self) -> Option<Vec<String>> {
        let is_classifier = self.tune.as_ref().is_some_and(|tune| tune.task == Task::Classification);
        is_classifier.then(|| self.data.label_names())
    }

    /// Where the parameters of what is trained are.
    pub(crate) fn layout(&self, config: &Config, norm_biases: bool) -> Result<Layout, ModelError> {
        let method = self.method(config.hidden);
        match self.labels() {
            Some(labels) => Layout::classifier(config, norm_biases, &method, labels.len()),
            None => Layout::with(config, norm_biases, &method),
        }
    }

    /// What stays of the base.
    pub(crate) fn frozen(&self, layout: &Layout, source: &Source, config: &Config) -> Result<Frozen, ModelError> {
        let frozen = Frozen::read(layout, source, config)?;
        let is_kept_packed = self.tune.as_ref().is_some_and(|tune| tune.keep_packed);
        Ok(if is_kept_packed { frozen.keep_packed(layout, self.train.precision) } else { frozen })
    }

    /// DPO's beta, where a model learns from preferences.
    #[must_use]
    pub fn beta(&self) -> Option<f64> {
        self.tune.as_ref().filter(|tune| tune.method == MethodName::Dpo).map(|tune| tune.beta)
    }

    fn check(&self) -> Result<(), String> {
        let Self { model, tune, data, train } = self;
        let all_weights =
            tune.as_ref().is_none_or(|tune| tune.method == MethodName::Full && tune.task == Task::Generation);
        if train.weights != WeightFormat::F32 && !all_weights {
            return Err(format!(
                "[train] weights = {:?} is for runs that train all weights of a model",
                train.weights.name()
            ));
        }
        match tune {
            Some(_) if model.base.is_none() => return Err("[model] base must name the model to tune".into()),
            Some(tune) => {
                data.check()?;
                if matches!(data.form()?, Form::Preference(..)) != (tune.method == MethodName::Dpo) {
                    return Err("[data] chosen and rejected are what the method dpo learns from, and no other".into());
                }
                let is_classifier = tune.task == Task::Classification;
                if matches!(data.form()?, Form::Label(_)) != is_classifier {
                    return Err(if is_classifier {
                        "[tune] task = \"classification\" learns the label of a prompt: [data] wants prompt, label and labels, \
                         and no answer"
                    } else {
                        "[data] prompt and answer belong together; [tune] task = \"classification\" learns labels without answers"
                    }
                    .into());
                }
                let can_classify =
                    matches!(tune.method, MethodName::Full | MethodName::Lora | MethodName::Dora | MethodName::Head);
                if is_classifier && !can_classify {
                    return Err(
                        "[tune] task = \"classification\" goes with the methods lora, dora, full and head".into()
                    );
                }
                if tune.method == MethodName::Head && !is_classifier {
                    return Err("[tune] method = \"head\" is for task = \"classification\"".into());
                }
                if !(1e-6..=100.0).contains(&tune.beta) {
                    return Err(format!("[tune] beta is {}, and must be from 0.000001 to 100", tune.beta));
                }
                if tune.keep_packed && tune.method == MethodName::Full {
                    return Err("[tune] keep_packed is for matrices that stay, and method = \"full\" trains all".into());
                }
                if tune.targets.is_empty() {
                    return Err("[tune] targets names nothing".into());
                }
                let last_layers = tune.last_layers.unwrap_or(1);
                for (name, count) in
                    [("rank", tune.rank), ("virtual_tokens", tune.virtual_tokens), ("last_layers", last_layers)]
                {
                    if !(1..=65_536).contains(&count) {
                        return Err(format!("[tune] {name} is {count}, and must be from 1 to 65536"));
                    }
                }
                if !(tune.alpha.is_finite() && tune.alpha > 0.0) {
                    return Err(format!("[tune] alpha is {}, and must be above 0", tune.alpha));
                }
            }
            None if data.prompt.is_some() || data.answer.is_some() || data.chat.is_some() || data.label.is_some() => {
                return Err("[data] prompt, answer, label and chat belong to a recipe with [tune]".into());
            }
            None => {}
        }
        let given = usize::from(train.steps > 0) + usize::from(train.epochs.is_some());
        if given != 1 {
            return Err("[train] wants either steps or epochs".into());
        }
        match (&model.base, &model.config, &model.tokenizer) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => {
                return Err("[model] base brings its own shape and tokenizer: leave config and tokenizer out".into());
            }
            (None, _, _) => {
                return Err(
                    "[model] wants either base (a model to go on from) or both tokenizer and config (a new one)".into(),
                );
            }
        }
        if let Some(config) = &model.config {
            crate::nearest::check_shape(config.keys())?;
        }
        if data.train.is_empty() {
            return Err("[data] train names no file".into());
        }
        let counts = [
            ("sequence", train.sequence as u64),
            ("batch", train.batch as u64),
            ("micro_batch", train.micro_batch as u64),
            ("evaluate_every", train.evaluate_every),
            ("checkpoint_every", train.checkpoint_every),
            ("keep", train.keep as u64),
            ("evaluate_examples", train.evaluate_examples as u64),
            ("examples", data.examples.unwrap_or(1) as u64),
            ("validation_examples", data.validation_examples.unwrap_or(1) as u64),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        let shares = [
            ("[train] epochs", train.epochs.unwrap_or(1.0), 1e-6, 1e6),
            ("[data] validation_share", data.validation_share, 0.0, 0.5),
            ("[train] learning_rate", self.learning_rate(), f64::MIN_POSITIVE, 10.0),
            ("[train] final_share", train.final_share, 0.0, 1.0),
            ("[train] weight_decay", train.weight_decay, 0.0, 10.0),
            ("[train] beta1", train.beta1, 0.0, 0.9999),
            ("[train] beta2", train.beta2, 0.0, 0.999_999),
            ("[train] clip", train.clip, 0.0, 1e9),
            ("[train] z_loss", train.z_loss, 0.0, 1.0),
            ("[train] expert_balance", train.expert_balance, 0.0, 10.0),
        ];
        match shares.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, value, least, most)) => Err(format!("{name} is {value}, and must be from {least} to {most}")),
            None => Ok(()),
        }
    }
}
