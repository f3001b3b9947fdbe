//! A run: a folder with the recipe, the metrics, the checkpoints and, in the end, the model.
//!
//! ```text
//! run/recipe.toml           as it was resolved
//!     metrics.jsonl         a line for each step and each measurement
//!     checkpoints/000100/   the last ones
//!     data.json             what became of the rows, where a model is tuned
//!     base/, base.sha256    a GGUF model as floats, where all of its weights are tuned
//!     texts.bin, .idx       the tokens of texts; held-out.bin those that are measured with, where these are other files
//!     model/, adapter/      what was trained, when the run is done
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use saem_formats::Source;
use saem_kernels::gradient::{AdamW, square_sum};
use saem_kernels::{Arena, Block, DataType, ThreadPool};
use saem_model::{Classifier, Config, Family, convert, load_tokenizer};
use saem_tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::TrainError;
use crate::begin;
use crate::buffers::Buffers;
use crate::checkpoint::{self, Contents, State};
use crate::feed::Feed;
use crate::folder;
use crate::journal::Journal;
use crate::machine;
use crate::master::Master;
use crate::measure::Measurement;
use crate::method::Method;
use crate::optimizer::{Optimizer, Rates};
use crate::pass::{Batch, Decoder, Objective};
use crate::plan::Plan;
use crate::prepare::{DataReport, WriteChat};
use crate::publish;
use crate::random::Random;
use crate::recipe::{Recipe, TrainRecipe, WeightFormat};
use crate::samples::{self, Sample};

/// The first step of routers' corrections (DeepSeek-V3, arXiv 2412.19437, section 4.2); it falls with the learning rate.
const CORRECTION: f64 = 0.001;

/// What the rounding of weights is drawn for.
const ROUNDING: u64 = 8;

/// Where things are.
pub struct Setup {
    /// What to do.
    pub recipe: Recipe,
    /// The run's folder.
    pub folder: PathBuf,
    /// The model to go on from, or the one whose tokenizer a new model gets.
    pub source: Source,
    /// Threads that compute.
    pub threads: usize,
    /// Writes a conversation as the model's template has it, where there is one.
    pub write_chat: Option<Box<WriteChat>>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recipe, folder, threads, .. } = self;
        let mut setup = formatter.debug_struct("Setup");
        setup.field("recipe", recipe).field("folder", folder).field("threads", threads).finish_non_exhaustive()
    }
}

/// One step, as `metrics.jsonl` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// The step, from 1.
    pub step: u64,
    /// Mean loss over the positions that counted, in nats.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Length of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens learnt from since the run began.
    pub tokens: u64,
    /// Tokens a second in this step.
    pub tokens_per_second: f64,
    /// Mean loss over held-out texts, where it was measured after this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Share of held-out examples whose label was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// The mean over labels of the harmonic mean of precision and recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_f1: Option<f64>,
    /// The most memory that the process had at once, in bytes, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What the model writes now, where that was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// A run in memory.
#[derive(Debug)]
pub struct Run {
    recipe: Recipe,
    method: Method,
    /// The labels, where a model learns to tell them apart.
    classifier: Option<Classifier>,
    folder: PathBuf,
    source: Source,
    config_json: Value,
    decoder: Decoder,
    pool: ThreadPool,
    feed: Feed,
    tokenizer: Tokenizer,
    weights: Master,
    gradients: Block<f32>,
    optimizer: Optimizer,
    buffers: Buffers,
    /// Open from the first step on: a run that is only looked at leaves nothing behind but its base, where that is converted.
    metrics: Option<File>,
    journal: Option<Journal>,
    /// Bytes that the process had before the run took any.
    program: u64,
    state: State,
}

impl Run {
    /// Reads the texts and puts everything in memory: a new run, or one that goes on from its last checkpoint.
    /// `progress` is told bytes of texts read so far and in all.
    ///
    /// # Errors
    /// Where the recipe, the texts, the model or the folder are not as they should be.
    pub fn open(setup: Setup, resume: bool, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, TrainError> {
        let Setup { mut recipe, folder, source, threads, write_chat } = setup;
        let pool = ThreadPool::new(threads)?;
        folder::check(&folder, &recipe, resume)?;
        let all_weights = recipe.method(0) == Method::Full;
        let is_new = recipe.model.base.is_none();
        let as_trained = |source| match source {
            Source::Gguf(_) if all_weights && !is_new => in_checkpoint_form(&source, &folder, &pool),
            source => Ok(source),
        };
        // What is converted takes room on the disk: a run that has not begun may be refused before.
        let source = if folder::is_begun(&folder) { as_trained(source)? } else { source };
        let tokenizer = load_tokenizer(&source)?;
        let describe = |recipe: &Recipe, source: &Source| config_json(recipe, source, tokenizer.vocabulary_len());
        let mut config_json = if is_new { describe(&recipe, &source)? } else { Value::Null };
        let config = if is_new { Config::from_hf(&config_json)? } else { Config::from_source(&source)? };
        let method = recipe.method(config.hidden);
        let layout = recipe.layout(&config, is_new || config.has_norm_biases(&source))?;
        let feed = Feed::open(&recipe, &folder, &layout, &config, &tokenizer, write_chat.as_deref(), progress)?;
        if resume {
            folder::check_data(&folder, feed.sha256().as_deref())?;
        }
        feed.count_steps(&mut recipe.train);
        let frozen = recipe.frozen(&layout, &source, &config)?;
        let decoder = Decoder { config, layout, frozen, precision: recipe.train.precision };

        let read = feed.bytes()[1] + decoder.frozen.byte_len() as u64;
        let program = machine::resident_memory().unwrap_or(0).saturating_sub(read);
        machine::refuse_what_does_not_fit(&decoder, &recipe.train, &|train| feed.rows(train))?;
        let source = as_trained(source)?;
        if all_weights && !is_new {
            config_json = describe(&recipe, &source)?;
        }
        let classifier = recipe.labels().map(|labels| Classifier { labels, pad: tokenizer.pad().or(tokenizer.eos()) });
        if let Some(classifier) = &classifier {
            classifier.describe(decoder.config.family, &mut config_json)?;
        }
        let tokens = feed.rows(&recipe.train);
        let (mut weights, mut gradients, mut optimizer, mut buffers) = Arena::fitting(|arena| {
            let TrainRecipe { weights: format, optimizer: algorithm, recompute, .. } = recipe.train;
            let weights = Master::new(arena, &decoder.layout, format, algorithm);
            let gradients: Block<f32> = arena.take(decoder.layout.len());
            let optimizer = Optimizer::new(arena, algorithm, &decoder.layout);
            (weights, gradients, optimizer, Buffers::within(arena, &decoder, tokens, recompute))
        })?;
        let mut state = State::default();
        let last = checkpoint::list(&folder.join("checkpoints")).pop();
        // A run that goes on finds its weights rounded.
        let key = rounding(&recipe, 0);
        weights.fill(&pool, &decoder.layout, key, &mut gradients, &mut |weights| {
            match &last {
                Some((_, path)) => {
                    state = checkpoint::read(path, &decoder.layout, recipe.train.weights, weights, &mut optimizer)?;
                }
                None if is_new => begin::draw(&decoder, &config_json, recipe.train.seed, weights),
                None => begin::go_on(&decoder, &source, recipe.train.seed, weights)?,
            }
            Ok(())
        })?;
        if state.step == 0 {
            decoder.begin_prefix(&pool, recipe.train.seed, weights.floats_mut(), &mut buffers);
        }
        Ok(Self {
            folder,
            source,
            config_json,
            pool,
            feed,
            tokenizer,
            weights,
            gradients,
            optimizer,
            buffers,
            metrics: None,
            journal: None,
            program,
            state,
            decoder,
            method,
            classifier,
            recipe,
        })
    }

    /// Whether the run makes an adapter, which leaves the model as it is.
    #[must_use]
    pub fn is_adapter(&self) -> bool {
        self.method != Method::Full
    }

    /// Whether the run makes a model that tells labels apart and does not write.
    #[must_use]
    pub fn is_classifier(&self) -> bool {
        self.classifier.is_some()
    }

    /// Steps done.
    #[must_use]
    pub fn step_number(&self) -> u64 {
        self.state.step
    }

    /// Steps in all.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.recipe.train.steps
    }

    /// How often the run takes every text.
    #[must_use]
    pub fn epochs(&self) -> f64 {
        let train = &self.recipe.train;
        (train.steps * train.batch as u64) as f64 / self.feed.per_epoch().max(1) as f64
    }

    /// Texts or examples that are learnt from, and their tokens.
    #[must_use]
    pub fn texts(&self) -> (usize, usize) {
        self.feed.texts()
    }

    /// What became of the rows that are learnt from, and of those that are measured with, where a model is tuned.
    #[must_use]
    pub fn data_reports(&self) -> Option<(&DataReport, &DataReport)> {
        self.feed.reports()
    }

    /// What the run takes.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan { program: self.program, ..self.feed.plan(&self.decoder, &self.recipe.train) }
    }

    /// Takes one step, and whatever is due after it: a measurement, a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] before the weights are changed; whatever fails on disk.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let begun = Instant::now();
        self.metrics()?;
        let step = self.state.step + 1;
        let train = &self.recipe.train;
        let batches = self.feed.batches(self.state.step, train)?;
        let beta = self.recipe.beta();
        let count = |batch: &Batch| if beta.is_some() { batch.documents.len() / 2 } else { batch.target_count() };
        let count = batches.iter().map(count).sum::<usize>().max(1) as f64;
        let objective =
            Objective { factor: 1.0 / count as f32, z: train.z_loss as f32, balance: train.expert_balance as f32 };
        self.gradients.fill(0.0);
        let mut loss = 0.0;
        for batch in &batches {
            let Self { decoder, pool, weights, gradients, buffers, .. } = &mut *self;
            loss += match beta {
                Some(beta) => {
                    let factors = (beta, 1.0 / count);
                    decoder.preferences(pool, &*weights, Some(gradients), batch, factors, buffers)?.loss
                }
                None => decoder.gradients(pool, &*weights, gradients, batch, &objective, buffers)?,
            };
        }
        let loss = loss / count;
        let norm = square_sum(&self.pool, &self.gradients[self.decoder.layout.by_gradient()]).sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step, what: self.culprit(loss) });
        }
        let train = &self.recipe.train;
        let factor = train.schedule.factor(step, train.steps, train.warm_up, train.final_share);
        let learning_rate = self.recipe.learning_rate() * factor;
        self.update(step, factor, norm);
        let tokens = batches.iter().map(|batch| batch.tokens.len()).sum::<usize>();
        self.state = State { step, tokens: self.state.tokens + tokens as u64 };
        let mut report = StepReport {
            step,
            loss,
            learning_rate,
            gradient_norm: norm,
            tokens: self.state.tokens,
            tokens_per_second: tokens as f64 / begun.elapsed().as_secs_f64(),
            validation_loss: None,
            validation_accuracy: None,
            validation_f1: None,
            memory: None,
            samples: Vec::new(),
        };
        let train = &self.recipe.train;
        let is_last = step == train.steps;
        let due = |every: u64| is_last || step.is_multiple_of(every);
        let (evaluate, save) = (due(train.evaluate_every), due(train.checkpoint_every));
        if evaluate {
            let measured = self.measure(is_last)?;
            report.validation_loss = measured.map(|measured| measured.loss);
            report.validation_accuracy = measured.and_then(|measured| measured.accuracy);
            report.validation_f1 = measured.and_then(|measured| measured.macro_f1);
            report.samples = self.samples()?;
        }
        report.memory = machine::peak_memory();
        self.record(&report)?;
        if save {
            self.save()?;
        }
        Ok(report)
    }

    /// Writes what was trained, for others to read: the model, or the adapter, and of a classifier both where there is one.
    /// Returns where the adapter is, or else the model. A run that was killed between its last checkpoint and this has it
    /// written when it is gone on with.
    ///
    /// # Errors
    /// Where the disk is full or not writable.
    pub fn finish(&mut self) -> Result<PathBuf, TrainError> {
        let path = self.folder.join(if self.is_adapter() { "adapter" } else { "model" });
        let base = self.recipe.model.base.as_deref().unwrap_or_default();
        if self.method == Method::Full {
            checkpoint::write(&path, &self.contents(false))?;
        } else if let Some(classifier) = &self.classifier {
            publish::classifier(
                (&self.folder.join("model"), &path),
                base,
                &self.source,
                &self.decoder,
                (&self.method, classifier),
                self.weights.floats(),
                &self.pool,
            )?;
        } else {
            let Self { decoder, pool, weights, buffers, .. } = self;
            let rows = decoder.soft_rows(pool, &*weights, buffers);
            publish::adapter(&path, decoder, &self.method, base, weights.floats(), &rows)?;
        }
        self.journal.as_ref().map_or(Ok(()), Journal::report)?;
        Ok(path)
    }

    /// Measures with held-out texts, where there are any; with `all` of them, or with some.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn measure(&mut self, all: bool) -> Result<Option<Measurement>, TrainError> {
        let Self { decoder, pool, weights, feed, buffers, recipe, .. } = self;
        let most = if all { usize::MAX } else { recipe.train.evaluate_examples };
        feed.measure(decoder, pool, (&*weights).into(), most, recipe.beta(), (feed.rows(&recipe.train), buffers))
    }

    fn samples(&mut self) -> Result<Vec<Sample>, TrainError> {
        let Self { decoder, pool, weights, feed, buffers, recipe, tokenizer, .. } = self;
        let beginnings = feed.beginnings(feed.rows(&recipe.train), &decoder.config)?;
        samples::write(decoder, pool, (&*weights).into(), &beginnings, tokenizer, buffers)
    }

    /// Writes a checkpoint, and removes those that are too many.
    ///
    /// # Errors
    /// Where the disk is full or not writable; earlier checkpoints stay.
    pub fn save(&mut self) -> Result<(), TrainError> {
        let folder = self.folder.join("checkpoints");
        let path = self.folder.clone();
        self.metrics()?.sync_data().map_err(|source| TrainError::Io { path, source })?;
        checkpoint::write(&folder.join(format!("{:06}", self.state.step)), &self.contents(true))?;
        let all = checkpoint::list(&folder);
        for (_, path) in all.iter().rev().skip(self.recipe.train.keep) {
            fs::remove_dir_all(path).map_err(|source| TrainError::Io { path: path.clone(), source })?;
        }
        self.journal.as_ref().map_or(Ok(()), Journal::report)
    }

    fn contents(&self, with_optimizer: bool) -> Contents<'_> {
        Contents {
            layout: &self.decoder.layout,
            model: (self.method == Method::Full).then_some((&self.config_json, &self.source)),
            weights: (&self.weights, &self.pool),
            format: self.recipe.train.weights,
            optimizer: with_optimizer.then_some((&self.optimizer, self.state)),
        }
    }

    fn update(&mut self, step: u64, factor: f64, norm: f64) {
        let train = &self.recipe.train;
        let scale = if train.clip > 0.0 && norm > train.clip { train.clip / norm } else { 1.0 };
        let adam = AdamW {
            rate: (self.recipe.learning_rate() * factor) as f32,
            beta1: train.beta1 as f32,
            beta2: train.beta2 as f32,
            epsilon: 1e-8,
            weight_decay: train.weight_decay as f32,
            step,
            gradient_scale: scale as f32,
        };
        let correction = (CORRECTION * factor) as f32;
        let rates = Rates { adam, precision: train.precision, correction, rounding: rounding(&self.recipe, step) };
        let Self { optimizer, pool, decoder, weights, gradients, .. } = self;
        optimizer.step(pool, &decoder.layout, &rates, weights, gradients);
    }

    /// What is not a number any more.
    fn culprit(&self, loss: f64) -> String {
        let broken = |values: &[f32]| values.iter().any(|value| !value.is_finite());
        let mut parameters = self.decoder.layout.parameters();
        match parameters.find(|(_, slot)| broken(&self.gradients[slot.clone()])) {
            Some((parameter, _)) if loss.is_finite() => format!("the gradient of {}", parameter.name),
            _ => "the loss".to_owned(),
        }
    }

    /// The metrics file; the first use begins the run's folder.
    fn metrics(&mut self) -> Result<&mut File, TrainError> {
        let file = match self.metrics.take() {
            Some(file) => file,
            None => {
                let file = folder::claim(&self.folder, self.state.step)?;
                folder::begin(&self.folder, &self.recipe, self.feed.reports(), self.feed.sha256())?;
                self.feed.keep(&self.folder)?;
                self.journal = Some(Journal::open(&self.folder, &self.plan())?);
                file
            }
        };
        Ok(self.metrics.insert(file))
    }

    fn record(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let line = format!("{}\n", serde_json::to_value(report).unwrap_or_default());
        let path = self.folder.clone();
        self.metrics()?.write_all(line.as_bytes()).map_err(|source| TrainError::Io { path, source })?;
        self.journal.as_mut().map_or(Ok(()), |journal| journal.record(report))
    }
}

/// What decides how weights are rounded after a step.
fn rounding(recipe: &Recipe, step: u64) -> u32 {
    Random::new(recipe.train.seed ^ step.rotate_left(32), ROUNDING).next() as u32
}

/// A GGUF file as a checkpoint of floats, beside the run. Before the run is begun it is made anew if it was made of another
/// model, of which `base.sha256` is the hash.
fn in_checkpoint_form(source: &Source, folder: &Path, pool: &ThreadPool) -> Result<Source, TrainError> {
    let (directory, stamp) = (folder.join("base"), folder.join("base.sha256"));
    let io = |source| TrainError::Io { path: directory.clone(), source };
    if !folder::is_begun(folder) {
        let mut hash = Sha256::new();
        if let Source::Gguf(file) = source {
            file.files().iter().for_each(|file| hash.update(file.bytes()));
        }
        let found = checkpoint::hex(&hash.finalize());
        match fs::read_to_string(&stamp) {
            Ok(made_of) if made_of == found => {}
            Ok(_) if directory.exists() => fs::remove_dir_all(&directory).map_err(io)?,
            Err(_) if directory.exists() => {
                let problem = "it is in the way: here the run keeps its model as floats; choose another folder";
                return Err(TrainError::Recipe { path: directory, problem: problem.to_owned() });
            }
            _ => {}
        }
        fs::create_dir_all(folder).and_then(|()| fs::write(&stamp, found)).map_err(io)?;
    }
    if !directory.is_dir() {
        convert(source, &directory, Some(DataType::F32), pool, &mut |_, _| {})?;
    }
    Ok(Source::open(&directory)?)
}

/// The `config.json` of what is trained.
pub(crate) fn config_json(recipe: &Recipe, source: &Source, vocabulary: usize) -> Result<Value, TrainError> {
    let dtype = json!(match recipe.train.weights {
        WeightFormat::F32 | WeightFormat::Halves => "float32",
        WeightFormat::Bf16 => "bfloat16",
    });
    let Some(config) = &recipe.model.config else {
        let Source::HuggingFace(checkpoint) = source else {
            return Err(saem_model::ModelError::NoTokenizer { missing: "config.json" }.into());
        };
        let mut json = checkpoint.config.config.clone();
        json["dtype"] = dtype;
        return Ok(json);
    };
    let mut json = serde_json::to_value(config).unwrap_or_default();
    let defaults = [
        // Rows are made up to a multiple that suits the kernels.
        ("vocab_size", json!(vocabulary.next_multiple_of(64))),
        ("max_position_embeddings", json!(recipe.train.sequence)),
        ("rms_norm_eps", json!(1e-6)),
        ("hidden_act", json!("silu")),
        ("tie_word_embeddings", json!(true)),
        ("dtype", dtype),
    ];
    if let Some(fields) = json.as_object_mut() {
        let name = fields.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let family = Family::from_hf_name(name)?;
        if family == Family::Opt {
            opt_fields(fields);
        }
        for (name, value) in defaults {
            fields.entry(name).or_insert(value);
        }
        let class = family.hf_class();
        fields.entry("architectures").or_insert(json!([class]));
    }
    Ok(json)
}

/// What OPT calls otherwise than others do, and what it is with GELU (transformers would take its own defaults).
fn opt_fields(fields: &mut serde_json::Map<String, Value>) {
    if let Some(width) = fields.get("intermediate_size").cloned() {
        fields.entry("ffn_dim").or_insert(width);
    }
    if let Some(width) = fields.get("hidden_size").cloned() {
        fields.entry("word_embed_proj_dim").or_insert(width);
    }
    let activation = fields.get("hidden_act").cloned().unwrap_or(json!("gelu"));
    fields.entry("activation_function").or_insert(activation.clone());
    fields.entry("hidden_act").or_insert(activation);
    fields.entry("dropout").or_insert(json!(0.0));
}
