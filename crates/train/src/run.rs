//! A run: a folder with the recipe, the metrics, the checkpoints and, in the end, the model.
//!
//! ```text
//! run/recipe.toml           as it was resolved
//!     metrics.jsonl         a line for each step and each measurement
//!     checkpoints/000100/   the last ones
//!     model/                what was trained, when the run is done
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use saem_formats::Source;
use saem_kernels::gradient::{AdamW, square_sum};
use saem_kernels::{DataType, ThreadPool};
use saem_model::{Config, Family, convert, load_tokenizer};
use serde::Serialize;
use serde_json::{Value, json};

use crate::TrainError;
use crate::buffers::Buffers;
use crate::checkpoint::{self, Contents, State};
use crate::data::{Sequences, Texts};
use crate::layout::Layout;
use crate::pass::{Batch, Decoder, Objective};
use crate::plan::Plan;
use crate::random::Random;
use crate::recipe::Recipe;

/// The recipe's name in the folder.
const RECIPE: &str = "recipe.toml";
/// What the first weights are drawn for.
const WEIGHTS: u64 = 3;
/// Deviation of the first weights, where the shape does not say another.
const DEVIATION: f64 = 0.02;
/// Held-out sequences that a measurement takes at most.
const MEASURED: usize = 64;

/// Where things are.
#[derive(Debug)]
pub struct Setup {
    /// What to do.
    pub recipe: Recipe,
    /// The run's folder.
    pub folder: PathBuf,
    /// The model to go on from, or the one whose tokenizer a new model gets.
    pub source: Source,
    /// Threads that compute.
    pub threads: usize,
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
}

/// A run in memory.
#[derive(Debug)]
pub struct Run {
    recipe: Recipe,
    folder: PathBuf,
    companions: Source,
    config_json: Value,
    decoder: Decoder,
    pool: ThreadPool,
    sequences: Sequences,
    held_out: Option<Sequences>,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    buffers: Buffers,
    /// Open from the first step on: a run that is only looked at leaves nothing behind.
    metrics: Option<File>,
    state: State,
}

impl Run {
    /// Reads the texts and puts everything in memory: a new run, or one that goes on from its last checkpoint.
    /// `progress` is told bytes of texts read so far and in all.
    ///
    /// # Errors
    /// Where the recipe, the texts, the model or the folder are not as they should be.
    pub fn open(setup: Setup, resume: bool, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, TrainError> {
        let Setup { recipe, folder, source, threads } = setup;
        let pool = ThreadPool::new(threads)?;
        check(&folder, &recipe, resume)?;
        let source = match (&recipe.model.base, &source) {
            (Some(_), Source::Gguf(_)) => in_checkpoint_form(&source, &folder, &pool)?,
            _ => source,
        };
        let tokenizer = load_tokenizer(&source)?;
        let config_json = config_json(&recipe, &source, tokenizer.vocabulary_len())?;
        let config = Config::from_hf(&config_json)?;
        let is_new = recipe.model.base.is_none();
        let config = if is_new { config } else { Config::from_source(&source)? };
        let layout = Layout::new(&config, is_new || config.has_norm_biases(&source))?;
        let decoder = Decoder { config, layout, precision: recipe.train.precision };

        let field = &recipe.data.field;
        let mut texts = Texts::read(&recipe.data.train, field, &tokenizer, progress)?;
        let train = &recipe.train;
        let held_out = if recipe.data.validation.is_empty() {
            texts.split_off(recipe.data.validation_share, train.seed)
        } else {
            Texts::read(&recipe.data.validation, field, &tokenizer, progress)?
        };
        let held_out =
            if held_out.is_empty() { None } else { Some(Sequences::new(held_out, train.sequence, train.seed)?) };
        let sequences = Sequences::new(texts, train.sequence, train.seed)?;

        let len = decoder.layout.len();
        let mut weights = vec![0.0; len];
        if is_new {
            draw(&decoder, &config_json, train.seed, &mut weights);
        } else {
            for (parameter, slot) in decoder.layout.parameters() {
                weights[slot].copy_from_slice(&parameter.read(&source, &decoder.config)?);
            }
        }
        let (mut mean, mut square) = (vec![0.0; len], vec![0.0; len]);
        let mut state = State::default();
        let checkpoints = folder.join("checkpoints");
        if let Some((_, path)) = checkpoint::list(&checkpoints).last() {
            state = checkpoint::read(path, &decoder.layout, &mut weights, &mut mean, &mut square)?;
        }
        let buffers = Buffers::new(&decoder.config, Self::rows(&recipe), train.recompute);
        Ok(Self {
            folder,
            companions: source,
            config_json,
            pool,
            sequences,
            held_out,
            weights,
            gradients: vec![0.0; len],
            mean,
            square,
            buffers,
            metrics: None,
            state,
            decoder,
            recipe,
        })
    }

    /// Tokens in memory at a time.
    fn rows(recipe: &Recipe) -> usize {
        recipe.train.sequence * recipe.train.micro_batch.min(recipe.train.batch)
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
        (train.steps * train.batch as u64) as f64 / self.sequences.per_epoch() as f64
    }

    /// The texts that are learnt from.
    #[must_use]
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// What the run takes.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let held_out = self.held_out.as_ref().map_or(0, |sequences| sequences.texts().token_count());
        let tokens = self.sequences.texts().token_count() + held_out;
        Plan::new(&self.decoder, Self::rows(&self.recipe), self.recipe.train.recompute, tokens)
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
        let first = self.state.step * train.batch as u64;
        let batches: Vec<Batch> = (0..train.batch)
            .step_by(train.micro_batch)
            .map(|done| self.sequences.batch(first + done as u64, train.micro_batch.min(train.batch - done)))
            .collect();
        let targets: usize = batches.iter().map(Batch::target_count).sum();
        let objective = Objective { factor: 1.0 / targets.max(1) as f32, z: train.z_loss as f32 };
        self.gradients.fill(0.0);
        let mut loss = 0.0;
        for batch in &batches {
            let Self { decoder, pool, weights, gradients, buffers, .. } = &mut *self;
            loss += decoder.gradients(pool, weights, gradients, batch, &objective, buffers)?;
        }
        let loss = loss / targets.max(1) as f64;
        let norm = square_sum(&self.pool, &self.gradients).sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step, what: self.culprit(loss) });
        }
        let train = &self.recipe.train;
        let factor = train.schedule.factor(step, train.steps, train.warm_up, train.final_share);
        let learning_rate = train.learning_rate * factor;
        self.update(step, learning_rate, norm);
        self.state.step = step;
        let tokens = batches.iter().map(|batch| batch.tokens.len()).sum::<usize>() as f64;
        let mut report = StepReport {
            step,
            loss,
            learning_rate,
            gradient_norm: norm,
            tokens: step * (self.recipe.train.batch * self.recipe.train.sequence) as u64,
            tokens_per_second: tokens / begun.elapsed().as_secs_f64(),
            validation_loss: None,
        };
        let train = &self.recipe.train;
        let is_last = step == train.steps;
        let due = |every: u64| is_last || step.is_multiple_of(every);
        let (evaluate, save) = (due(train.evaluate_every), due(train.checkpoint_every));
        if evaluate {
            report.validation_loss = self.measure()?;
        }
        self.record(&report)?;
        if save {
            self.save()?;
        }
        Ok(report)
    }

    /// Writes the model, for others to read. A run that was killed between its last checkpoint and this has it written
    /// when it is gone on with.
    ///
    /// # Errors
    /// Where the disk is full or not writable.
    pub fn finish(&self) -> Result<(), TrainError> {
        checkpoint::write(&self.folder.join("model"), &self.contents(false))
    }

    /// Mean loss over held-out texts, where there are any.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn measure(&mut self) -> Result<Option<f64>, TrainError> {
        let Some(held_out) = &mut self.held_out else { return Ok(None) };
        let (mut sum, mut count) = (0.0, 0);
        for first in 0..held_out.per_epoch().min(MEASURED) {
            let batch = held_out.batch(first as u64, 1);
            sum += self.decoder.loss(&self.pool, &self.weights, &batch, &mut self.buffers)?;
            count += batch.target_count();
        }
        Ok(Some(sum / count.max(1) as f64))
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
        Ok(())
    }

    fn contents(&self, with_optimizer: bool) -> Contents<'_> {
        Contents {
            layout: &self.decoder.layout,
            config: &self.config_json,
            companions: &self.companions,
            weights: &self.weights,
            optimizer: with_optimizer.then_some((&self.mean, &self.square, self.state)),
        }
    }

    fn update(&mut self, step: u64, learning_rate: f64, norm: f64) {
        let train = &self.recipe.train;
        let scale = if train.clip > 0.0 && norm > train.clip { train.clip / norm } else { 1.0 };
        for (parameter, slot) in self.decoder.layout.parameters() {
            let is_matrix = parameter.shape.len() > 1;
            let adam = AdamW {
                rate: learning_rate as f32,
                beta1: train.beta1 as f32,
                beta2: train.beta2 as f32,
                epsilon: 1e-8,
                weight_decay: if is_matrix { train.weight_decay as f32 } else { 0.0 },
                step,
                gradient_scale: scale as f32,
            };
            let gradients = &self.gradients[slot.clone()];
            let (mean, square) = (&mut self.mean[slot.clone()], &mut self.square[slot.clone()]);
            adam.step(&self.pool, &mut self.weights[slot], gradients, mean, square);
        }
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
                begin(&self.folder, &self.recipe)?;
                metrics(&self.folder.join("metrics.jsonl"), self.state.step)?
            }
        };
        Ok(self.metrics.insert(file))
    }

    fn record(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let line = format!("{}\n", serde_json::to_value(report).unwrap_or_default());
        let path = self.folder.clone();
        self.metrics()?.write_all(line.as_bytes()).map_err(|source| TrainError::Io { path, source })
    }
}

/// Sees that the folder is that of no run yet, or of one with the same recipe where it should go on.
fn check(folder: &Path, recipe: &Recipe, resume: bool) -> Result<(), TrainError> {
    let path = folder.join(RECIPE);
    let wrong = |problem: &str| TrainError::Recipe { path: path.clone(), problem: problem.to_owned() };
    match (path.exists(), resume) {
        (false, false) => return Ok(()),
        (false, true) => return Err(wrong("there is no run in this folder to go on with")),
        (true, false) => {
            return Err(wrong(
                "there is a run in this folder already: go on with it (--resume) or choose another folder",
            ));
        }
        (true, true) => {}
    }
    let stored = fs::read_to_string(&path).map_err(|source| TrainError::Io { path: path.clone(), source })?;
    let stored: Recipe = toml::from_str(&stored).map_err(|error| wrong(&error.to_string()))?;
    let mut same = recipe.clone();
    // More steps, other intervals: the same run.
    same.train.steps = stored.train.steps;
    same.train.evaluate_every = stored.train.evaluate_every;
    same.train.checkpoint_every = stored.train.checkpoint_every;
    same.train.keep = stored.train.keep;
    if same == stored {
        return Ok(());
    }
    Err(wrong(
        "the run in this folder has another recipe: only steps, evaluate_every, checkpoint_every and keep may change",
    ))
}

/// Writes the recipe to the folder of a run whose first step can be taken.
fn begin(folder: &Path, recipe: &Recipe) -> Result<(), TrainError> {
    let (path, part) = (folder.join(RECIPE), folder.join("recipe.toml.part"));
    let io = |source| TrainError::Io { path: path.clone(), source };
    fs::create_dir_all(folder.join("checkpoints")).map_err(io)?;
    fs::write(&part, recipe.to_toml()).and_then(|()| fs::rename(&part, &path)).map_err(io)
}

/// The metrics file, without what came after the checkpoint that the run goes on from.
fn metrics(path: &Path, step: u64) -> Result<File, TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let before = fs::read_to_string(path).unwrap_or_default();
    let is_kept = |line: &&str| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["step"].as_u64().is_some_and(|found| found <= step))
    };
    let kept: String = before.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
    fs::write(path, kept).map_err(io)?;
    OpenOptions::new().append(true).open(path).map_err(io)
}

/// A GGUF file as a checkpoint of floats, beside the run.
fn in_checkpoint_form(source: &Source, folder: &Path, pool: &ThreadPool) -> Result<Source, TrainError> {
    let directory = folder.join("base");
    if !directory.is_dir() {
        convert(source, &directory, Some(DataType::F32), pool, &mut |_, _| {})?;
    }
    Ok(Source::open(&directory)?)
}

/// The `config.json` of what is trained.
fn config_json(recipe: &Recipe, source: &Source, vocabulary: usize) -> Result<Value, TrainError> {
    let Some(config) = &recipe.model.config else {
        let Source::HuggingFace(checkpoint) = source else {
            return Err(saem_model::ModelError::NoTokenizer { missing: "config.json" }.into());
        };
        let mut json = checkpoint.config.config.clone();
        json["dtype"] = json!("float32");
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
        ("dtype", json!("float32")),
    ];
    if let Some(fields) = json.as_object_mut() {
        for (name, value) in defaults {
            fields.entry(name).or_insert(value);
        }
        let name = fields.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let class = Family::from_hf_name(name)?.hf_class();
        fields.entry("architectures").or_insert(json!([class]));
    }
    Ok(json)
}

/// The first weights of a new model: matrices normal, those that write to the stream narrower the more layers there are
/// (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), norms one, biases zero.
fn draw(decoder: &Decoder, config: &Value, seed: u64, weights: &mut [f32]) {
    use saem_model::Role;
    let deviation = config.get("initializer_range").and_then(Value::as_f64).unwrap_or(DEVIATION);
    let narrow = deviation / (2.0 * decoder.config.layers.len() as f64).sqrt();
    let mut random = Random::new(seed, WEIGHTS);
    for (parameter, slot) in decoder.layout.parameters() {
        let values = &mut weights[slot];
        match parameter.role {
            _ if parameter.is_bias => {}
            role if role.is_norm() => values.fill(1.0 - decoder.config.norm_offset),
            role => {
                let writes = matches!(role, Role::AttentionOutput | Role::Down);
                let deviation = if writes { narrow } else { deviation };
                values.iter_mut().for_each(|value| *value = (random.normal() * deviation) as f32);
            }
        }
    }
}
