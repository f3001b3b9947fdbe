//! What a run learns from and measures with: sequences cut from texts, or examples.

use std::path::{Path, PathBuf};

use saem_kernels::ThreadPool;
use saem_model::Config;
use saem_tokenizer::Tokenizer;
use sha2::{Digest as _, Sha256};

use crate::TrainError;
use crate::buffers::Buffers;
use crate::checkpoint::hex;
use crate::data::Sequences;
use crate::examples::{Before, Example, Examples, Lessons};
use crate::folder;
use crate::layout::Layout;
use crate::master::Values;
use crate::measure::{Measurement, measure, measure_pairs, prompt};
use crate::pass::{Batch, Decoder, Wanted};
use crate::plan::Plan;
use crate::prepare::{Choices, DataReport, Prepare, WriteChat};
use crate::recipe::{Recipe, TrainRecipe};
use crate::samples::{BEGINNING, Beginning, SAMPLES, WRITTEN};
use crate::texts::Texts;

/// Where a run keeps the tokens of its texts, and of those that it measures with.
const KEPT: [&str; 2] = ["texts.bin", "held-out.bin"];

/// Steps of which the tokens are counted.
const COUNTED: u64 = 16;

/// Texts or examples to learn from, and those to measure with.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a run has one")]
pub(crate) enum Feed {
    /// A model learns whole texts.
    Texts { sequences: Sequences, held_out: Option<Sequences> },
    /// A model is tuned.
    Examples { lessons: Lessons, held_out: Examples, choices: Choices, reports: Box<[DataReport; 2]> },
}

impl Feed {
    /// Reads what the recipe names, or finds in the run's folder what was made of it before.
    pub(crate) fn open(
        recipe: &Recipe,
        folder: &Path,
        layout: &Layout,
        config: &Config,
        tokenizer: &Tokenizer,
        write_chat: Option<&WriteChat>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, TrainError> {
        let Recipe { data, train, .. } = recipe;
        let wrong = |problem| TrainError::Recipe { path: "recipe".into(), problem };
        if recipe.tune.is_none() {
            // Tokens without a run are those of another one.
            let is_begun = folder::is_begun(folder);
            let kept = |kept: &str, paths: &[PathBuf]| {
                if is_begun { Texts::kept(&folder.join(kept), paths) } else { Ok(None) }
            };
            let mut read = |paths: &[PathBuf], name: &str| match kept(name, paths)? {
                Some(texts) => Ok(texts),
                None => Texts::read(paths, &data.text, tokenizer, folder, progress),
            };
            let [train_texts, held_out_texts] = KEPT;
            let mut texts = read(&data.train, train_texts)?;
            let held_out = if data.validation.is_empty() {
                texts.split_off(data.validation_share, train.seed)
            } else {
                read(&data.validation, held_out_texts)?
            };
            let sequences = |texts| Sequences::new(texts, train.sequence, train.seed);
            let held_out = match held_out.token_count() {
                0 => None,
                tokens if tokens < train.sequence => {
                    return Err(wrong(format!(
                        "{tokens} tokens to measure with do not fill one sequence of {}: hold out more of the texts, or none",
                        train.sequence
                    )));
                }
                _ => Some(sequences(held_out)?),
            };
            return Ok(Self::Texts { sequences: sequences(texts)?, held_out });
        }
        let prepare = Prepare::new(data, tokenizer, train.sequence, write_chat).map_err(wrong)?;
        let (mut examples, report) = prepare.read(&data.train, progress)?;
        let (mut held_out, held_out_report) = if data.validation.is_empty() {
            (examples.split_off(data.validation_share, train.seed), DataReport::default())
        } else {
            prepare.read(&data.validation, progress)?
        };
        examples.limit(data.examples, data.balance, train.seed);
        held_out.limit(data.validation_examples, data.validation_balance, train.seed);
        if examples.is_empty() {
            return Err(wrong("nothing is left to learn from: add rows, or hold out fewer".to_owned()));
        }
        let choices = prepare.choices;
        let reports = Box::new([report.of(&examples, &choices), held_out_report.of(&held_out, &choices)]);
        let (is_prefix, is_classifier) = (layout.prefix.is_some(), layout.is_classifier);
        let (vocabulary, rows) = (config.vocabulary, layout.soft_rows());
        let before = Before { vocabulary, rows, is_prefix, is_classifier, common: None };
        // Of a pair, both texts stand in one batch, and what they have in common is more than what all pairs have.
        let before = if examples.are_pairs { before } else { before.sharing(examples.iter().chain(held_out.iter())) };
        Ok(Self::Examples { lessons: Lessons::new(examples, before, train.seed), held_out, choices, reports })
    }

    /// Turns epochs into steps, where the recipe speaks of those.
    pub(crate) fn count_steps(&self, train: &mut TrainRecipe) {
        if let Some(epochs) = train.epochs {
            train.steps = train.steps_of(epochs, self.per_epoch());
        }
    }

    /// Tokens of a sequence, or of the longest example.
    pub(crate) fn longest(&self, train: &TrainRecipe) -> usize {
        match self {
            Self::Texts { .. } => train.sequence,
            Self::Examples { lessons, held_out, choices, .. } => {
                // A held-out prompt is also passed with the other labels, which may be longer than its own.
                let held_out = held_out.lengths()[3] + choices.spread();
                lessons.before().rows_of_text(lessons.examples().lengths()[3].max(held_out))
            }
        }
    }

    /// Tokens in memory at a time.
    pub(crate) fn rows(&self, train: &TrainRecipe) -> usize {
        let rows = train.sequence * train.micro_batch.min(train.batch);
        match self {
            Self::Texts { .. } => rows,
            Self::Examples { lessons, .. } => {
                // The recipe's length is the most that is allowed; what there is may be shorter.
                let (longest, shared) = (self.longest(train), lessons.before().shared_rows());
                rows.max(shared + longest).min(shared + longest * train.batch)
            }
        }
    }

    /// The batches of the step after `step` steps.
    pub(crate) fn batches(&mut self, step: u64, train: &TrainRecipe) -> Result<Vec<Batch>, TrainError> {
        let rows = self.rows(train);
        let first = step * train.batch as u64;
        match self {
            Self::Texts { sequences, .. } => (0..train.batch)
                .step_by(train.micro_batch)
                .map(|done| sequences.batch(first + done as u64, train.micro_batch.min(train.batch - done)))
                .collect(),
            Self::Examples { lessons, .. } => Ok(lessons.batches(first, train.batch, rows)),
        }
    }

    /// What a run takes that learns from this.
    pub(crate) fn plan(&self, decoder: &Decoder, train: &TrainRecipe) -> Plan {
        let of = |rows| Plan::new(decoder, rows, train.recompute, (train.optimizer, train.weights), self.bytes()[0]);
        // Texts do not see each other.
        let Plan { operations_per_token, .. } = of(self.longest(train));
        let plan = Plan { operations_per_token, ..of(self.rows(train)) };
        match self {
            Self::Examples { lessons, .. } if lessons.examples().are_pairs => plan.of_preferences(),
            _ => plan,
        }
    }

    /// Tokens that a step passes, and those of them whose logits it computes: means of some steps.
    pub(crate) fn tokens_of_step(&mut self, train: &TrainRecipe) -> Result<[usize; 2], TrainError> {
        let counted = train.steps.clamp(1, COUNTED);
        let mut sums = [0; 2];
        for step in 0..counted {
            let counted = count_tokens(&self.batches(step, train)?);
            sums.iter_mut().zip(counted).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums.map(|sum| sum.div_ceil(counted as usize)))
    }

    /// Sequences or examples in an epoch.
    pub(crate) fn per_epoch(&self) -> usize {
        match self {
            Self::Texts { sequences, .. } => sequences.per_epoch(),
            Self::Examples { lessons, .. } => lessons.examples().len(),
        }
    }

    /// Texts that are learnt from, and their tokens.
    pub(crate) fn texts(&self) -> (usize, usize) {
        match self {
            Self::Texts { sequences, .. } => (sequences.texts().len(), sequences.texts().token_count()),
            Self::Examples { lessons, .. } => (lessons.examples().len(), lessons.examples().token_count()),
        }
    }

    /// Bytes of memory that it takes, and those that it takes before its first batch.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        match self {
            Self::Texts { held_out, .. } => {
                let texts = self.texts().0 + held_out.as_ref().map_or(0, |sequences| sequences.texts().len());
                [Texts::bytes(texts) + Sequences::order_bytes(texts), Texts::bytes(texts)]
            }
            Self::Examples { held_out, .. } => [4 * (self.texts().1 + held_out.token_count()) as u64; 2],
        }
    }

    /// Keeps the tokens of texts in the run's folder, where it finds them when it goes on.
    pub(crate) fn keep(&self, folder: &Path) -> Result<(), TrainError> {
        let Self::Texts { sequences, held_out } = self else { return Ok(()) };
        let [train_texts, held_out_texts] = KEPT;
        match held_out.as_ref().map(Sequences::texts) {
            Some(held_out) if !held_out.is_read_with(sequences.texts()) => {
                Texts::keep(&[held_out], &folder.join(held_out_texts))?;
                Texts::keep(&[sequences.texts()], &folder.join(train_texts))
            }
            held_out => {
                let parts: Vec<&Texts> = [sequences.texts()].into_iter().chain(held_out).collect();
                Texts::keep(&parts, &folder.join(train_texts))
            }
        }
    }

    /// What tells these examples from others; nothing for texts, which are kept.
    pub(crate) fn sha256(&self) -> Option<String> {
        let Self::Examples { lessons, held_out, .. } = self else { return None };
        let mut hash = Sha256::new();
        lessons.examples().hash(&mut hash);
        held_out.hash(&mut hash);
        Some(hex(&hash.finalize()))
    }

    /// What became of the rows, of those to learn from first.
    pub(crate) fn reports(&self) -> Option<(&DataReport, &DataReport)> {
        match self {
            Self::Texts { .. } => None,
            Self::Examples { reports, .. } => {
                let [train, held_out] = reports.as_ref();
                Some((train, held_out))
            }
        }
    }

    /// Beginnings of texts that are not learnt from, where there are any, with what follows; none where there are labels to
    /// count instead. With what is written they take at most `rows` tokens, and no more than the model has positions.
    pub(crate) fn beginnings(&self, rows: usize, config: &Config) -> Result<Vec<Beginning>, TrainError> {
        let positions = config.learned_positions.map_or(usize::MAX, |_| config.context);
        let most = rows.min(positions).saturating_sub(WRITTEN);
        match self {
            Self::Texts { sequences, held_out } => {
                let texts = held_out.as_ref().unwrap_or(sequences).texts();
                let mut beginnings = Vec::new();
                for index in 0..texts.len().min(SAMPLES) {
                    let mut tokens = Vec::new();
                    texts.copy(index, 0..texts.length(index).min(2 * rows), &mut tokens)?;
                    let following = tokens.split_off(BEGINNING.min(tokens.len() / 2).min(most));
                    beginnings.extend((!tokens.is_empty()).then_some(Beginning { tokens, following }));
                }
                Ok(beginnings)
            }
            Self::Examples { choices, .. } if !choices.answers.is_empty() => Ok(Vec::new()),
            Self::Examples { lessons, held_out, .. } => {
                let (examples, before) =
                    (if held_out.is_empty() { lessons.examples() } else { held_out }, lessons.before());
                let cut = |example: Example<'_>| {
                    let (prompt, following) = example.tokens.split_at(prompt(example).len());
                    let soft = (0..before.rows).map(|row| (before.vocabulary + row) as u32);
                    Beginning { tokens: soft.chain(prompt.iter().copied()).collect(), following: following.to_vec() }
                };
                let fits = |beginning: &Beginning| !beginning.tokens.is_empty() && beginning.tokens.len() <= most;
                let first = (0..examples.len()).filter_map(|index| examples.texts(index).next());
                Ok(first.map(cut).filter(fits).take(SAMPLES).collect())
            }
        }
    }

    /// Measures with at most so many held-out examples.
    pub(crate) fn measure(
        &mut self,
        decoder: &Decoder,
        pool: &ThreadPool,
        weights: Values<'_>,
        most: usize,
        beta: Option<f64>,
        (rows, buffers): (usize, &mut Buffers),
    ) -> Result<Option<Measurement>, TrainError> {
        match self {
            Self::Texts { held_out: None, .. } => Ok(None),
            Self::Texts { held_out: Some(held_out), .. } => {
                let (mut sum, mut count) = (0.0, 0);
                for first in 0..held_out.per_epoch().min(most) {
                    let batch = held_out.batch(first as u64, 1)?;
                    sum += decoder.loss(pool, weights, &batch, buffers)?;
                    count += batch.target_count();
                }
                Ok(Some(Measurement { loss: sum / count.max(1) as f64, ..Measurement::default() }))
            }
            Self::Examples { held_out, .. } if held_out.is_empty() => Ok(None),
            Self::Examples { lessons, held_out, choices, .. } => {
                if let Some(beta) = beta {
                    return measure_pairs(decoder, pool, weights, (held_out, most), beta, (rows, buffers)).map(Some);
                }
                let examples = (0..held_out.len().min(most)).flat_map(|index| held_out.texts(index));
                measure(decoder, pool, weights, examples, lessons.before(), choices, (rows, buffers)).map(Some)
            }
        }
    }
}

/// Tokens of batches, and those of them whose logits are computed.
pub(crate) fn count_tokens(batches: &[Batch]) -> [usize; 2] {
    let logits = |batch: &Batch| Wanted::of(batch).rows.len();
    [batches.iter().map(|batch| batch.tokens.len()).sum(), batches.iter().map(logits).sum()]
}
