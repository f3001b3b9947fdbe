//! Plans of recipes and of sizes, before data are read and memory is reserved.

use std::fs;
use std::path::Path;

use saem_formats::Source;
use saem_kernels::gemm::Precision;
use saem_kernels::{DataType, ThreadPool};
use saem_model::{Config, Parameter, load_tokenizer};
use serde_json::{Value, json};

use super::{Choice, LoraPlan, Machine, MachinePlan, Reason, Step, available_memory, probe, resident_memory};
use crate::TrainError;
use crate::buffers::Recompute;
use crate::cluster::Shape;
use crate::feed::{Feed, count_tokens};
use crate::frozen::Frozen;
use crate::layout::Layout;
use crate::method::{Lora, Method, Target};
use crate::optimizer::Algorithm;
use crate::pass::Decoder;
use crate::plan::Plan;
use crate::prepare::WriteChat;
use crate::recipe::{Recipe, TrainRecipe, WeightFormat};
use crate::run::config_json;
use crate::texts::Texts;

/// Bytes of a text, about.
const BYTES_PER_TEXT: u64 = 1 << 10;
/// The rank of a LoRA that is proposed.
const LORA_RANK: usize = 16;
/// Passes of the first step that are run to know how long passes take.
const PROBED: usize = 2;
/// Seconds that a layer may take for them, about; where it takes more they are not run.
const MOST_PROBED: f64 = 0.5;
/// Numbers in a block of [`DataType::Q8_0`], which a size without a file is assumed to be in.
const QUANTISED_BLOCK: usize = 32;

/// What a recipe asks for.
fn asked(train: &TrainRecipe) -> Choice {
    let TrainRecipe { micro_batch, batch, recompute, optimizer, weights, .. } = *train;
    Choice { micro_batch: micro_batch.min(batch), recompute, optimizer, weights }
}

/// Refuses a run that the machine has no memory for, before it takes any. The texts are read by then, so that `rows` knows how
/// many tokens there are at a time.
///
/// # Errors
/// [`TrainError::Memory`] with what is missing and what would fit.
pub(crate) fn refuse_what_does_not_fit(
    decoder: &Decoder,
    train: &TrainRecipe,
    rows: &dyn Fn(&TrainRecipe) -> usize,
) -> Result<(), TrainError> {
    let Some(available) = available_memory() else { return Ok(()) };
    let asked = asked(train);
    // Weights that stay are there already, as the texts are; what products make of them is not.
    let frozen = decoder.frozen.packed_bytes() as u64;
    let plan = |choice: Choice| {
        let rows = rows(&TrainRecipe { micro_batch: choice.micro_batch, ..train.clone() });
        Plan { frozen, ..Plan::new(decoder, rows, choice.recompute, (choice.optimizer, choice.weights), 0) }
    };
    let found = MachinePlan::new(asked, step(train, None), Some(available), None, &plan);
    if found.choice == asked && found.fits {
        return Ok(());
    }
    let needed = plan(asked).total();
    let fits = found.fits.then_some((found.choice, found.total));
    Err(TrainError::Memory { needed, available, fits })
}

/// What a step is, where the data have not been read.
fn step(train: &TrainRecipe, examples: Option<usize>) -> Step {
    let steps = match train.epochs {
        Some(epochs) => examples.map(|examples| train.steps_of(epochs, examples)),
        None => Some(train.steps),
    };
    Step::new(train.sequence, train.batch, steps)
}

fn plan(decoder: &Decoder, choice: Choice, step: Step, texts: u64) -> Plan {
    let of = |tokens: usize| Plan::new(decoder, tokens, choice.recompute, (choice.optimizer, choice.weights), texts);
    // Sequences do not see each other, but all of them see the rows of a prompt.
    let operations_per_token = of(step.sequence).operations_per_token;
    let soft = if decoder.layout.prefix.is_some() { 0 } else { decoder.layout.soft_rows() };
    Plan { operations_per_token, ..of((choice.micro_batch * step.sequence).max(soft + step.sequence)) }
}

/// The plan of a recipe. `source` is the model that it goes on from, or the one whose tokenizer it takes; `limit` the
/// memory that there is. Where a model is tuned, its data are read if they are there, since examples are of all lengths, and
/// where the machine was measured, with the threads of this pool, some layers are run on the first of them;
/// `progress` is told bytes of them read so far and in all.
///
/// # Errors
/// Where the recipe, the model or the data cannot be read.
pub fn plan_recipe(
    recipe: &Recipe,
    source: &Source,
    (limit, machine): (Option<u64>, Option<(Machine, &ThreadPool)>),
    write_chat: Option<&WriteChat>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<MachinePlan, TrainError> {
    let (config, norm_biases) = if recipe.model.base.is_some() {
        let config = Config::from_source(source)?;
        let norm_biases = config.has_norm_biases(source);
        (config, norm_biases)
    } else {
        let vocabulary = load_tokenizer(source)?.vocabulary_len();
        (Config::from_hf(&config_json(recipe, source, vocabulary)?)?, true)
    };
    let layout = recipe.layout(&config, norm_biases)?;
    let files = || recipe.data.train.iter().chain(&recipe.data.validation);
    let mut train = recipe.train.clone();
    let mut step = step(&train, recipe.data.examples);
    let (mut feed, mut first) = (None, None);
    if recipe.tune.is_some() && files().all(|path| path.exists()) {
        let tokenizer = load_tokenizer(source)?;
        let folder = Path::new("");
        let feed = feed.insert(Feed::open(recipe, folder, &layout, &config, &tokenizer, write_chat, progress)?);
        feed.count_steps(&mut train);
        let (sequence, tokens) = (feed.longest(&train), feed.tokens_of_step(&train)?);
        step = Step { sequence, tokens, is_counted: true, steps: Some(train.steps), ..step };
        let mut batches = feed.batches(0, &train)?;
        batches.truncate(PROBED);
        first = Some((batches, feed.rows(&train)));
    }
    let frozen = recipe.frozen(&layout, source, &config)?;
    let decoder = Decoder { layout, config, frozen, precision: train.precision };
    let texts: u64 = files().map(|path| size(path)).sum();
    // Of texts only their places are in memory, of examples their tokens.
    let texts = if recipe.tune.is_some() { texts } else { Texts::bytes((texts / BYTES_PER_TEXT) as usize) };
    let read = feed.as_ref().map_or(0, |feed| feed.bytes()[1]) + decoder.frozen.byte_len() as u64;
    let program = resident_memory().unwrap_or(0).saturating_sub(read);
    let memory = |choice: Choice| {
        let Choice { micro_batch, recompute, optimizer, weights } = choice;
        let found = match &feed {
            Some(feed) => {
                feed.plan(&decoder, &TrainRecipe { micro_batch, recompute, optimizer, weights, ..train.clone() })
            }
            None if recipe.beta().is_some() => plan(&decoder, choice, step, texts).of_preferences(),
            None => plan(&decoder, choice, step, texts),
        };
        Plan { program, ..found }
    };
    let find = |machine| MachinePlan::new(asked(&train), step, limit, machine, &memory);
    let mut found = find(machine.map(|(machine, _)| machine));
    if let (Some((machine, pool)), Some((batches, rows)), Reason::AsAsked) = (machine, first, found.reason) {
        let tokens = count_tokens(&batches);
        let guessed = machine.seconds(&found.plan, batches.len(), tokens) / decoder.config.layers.len() as f64;
        if guessed < MOST_PROBED && decoder.layout.first_layer() == 0 {
            let model = (&decoder.config, norm_biases);
            let seconds = probe::seconds(recipe, source, model, (found.choice, rows), &batches, pool)?;
            found = find(Some(machine.with_share_of(&found.plan, batches.len(), tokens, seconds)));
        }
    }
    if found.reason == Reason::NothingFits && recipe.model.base.is_some() && decoder.layout.frozen().is_empty() {
        let bytes = source.weight_bytes();
        let others = Plan { program, texts: found.plan.texts, ..Plan::default() };
        found.lora = Some(lora(decoder.config, norm_biases, bytes, &found, step, others)?);
    }
    Ok(found)
}

/// What a LoRA takes, on weights of so many bytes.
fn lora(
    config: Config,
    norm_biases: bool,
    frozen: u64,
    instead_of: &MachinePlan,
    step: Step,
    others: Plan,
) -> Result<LoraPlan, TrainError> {
    let (rank, alpha, targets) = (LORA_RANK, 2.0 * LORA_RANK as f64, Target::ALL.to_vec());
    let method = Method::Lora(Lora { rank, alpha, targets, last_layers: None, magnitudes: false });
    let layout = Layout::with(&config, norm_biases, &method)?;
    let weights: usize = layout.frozen().iter().map(Parameter::elements).sum();
    let decoder = Decoder { layout, config, frozen: Frozen::default(), precision: Precision::default() };
    let memory =
        |choice| Plan { frozen, program: others.program, texts: others.texts, ..plan(&decoder, choice, step, 0) };
    let asked = Choice {
        micro_batch: step.batch,
        recompute: Recompute::None,
        optimizer: Algorithm::AdamW,
        weights: WeightFormat::F32,
    };
    let MachinePlan { choice, total, fits, .. } = MachinePlan::new(asked, step, instead_of.limit, None, &memory);
    let bits = 8.0 * frozen as f64 / weights.max(1) as f64;
    Ok(LoraPlan { rank: LORA_RANK, bits, choice, total, fits })
}

/// Bytes of a file, or of all files of a folder; nothing where there is none yet.
fn size(path: &Path) -> u64 {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

/// The plan of a Llama of about so many parameters, tied, and the `config.json` that it has.
///
/// # Errors
/// Where the numbers make no decoder.
pub fn plan_of_size(
    parameters: f64,
    vocabulary: u64,
    step: Step,
    limit: Option<u64>,
    machine: Option<Machine>,
) -> Result<(MachinePlan, Value), TrainError> {
    let shape = Shape::near(parameters, vocabulary, 0);
    // A gated feed-forward of 8/3 has as many parameters as a plain one of 4.
    let inner = (shape.hidden * 8 / 3).next_multiple_of(64);
    let json = json!({
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": step.sequence,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": true,
    });
    let config = Config::from_hf(&json)?;
    let decoder = Decoder {
        layout: Layout::new(&config, true)?,
        config,
        frozen: Frozen::default(),
        precision: Precision::default(),
    };
    let asked = Choice {
        micro_batch: step.batch,
        recompute: Recompute::None,
        optimizer: Algorithm::AdamW,
        weights: WeightFormat::F32,
    };
    let mut found = MachinePlan::new(asked, step, limit, machine, &|choice| plan(&decoder, choice, step, 0));
    if found.reason == Reason::NothingFits {
        let bytes = DataType::Q8_0.bytes_for(decoder.layout.parameter_count().next_multiple_of(QUANTISED_BLOCK));
        found.lora = Some(lora(decoder.config, true, bytes.unwrap_or(0) as u64, &found, step, Plan::default())?);
    }
    Ok((found, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_hundred_million_fit_a_card_and_a_tight_limit_is_kept() {
        let step = Step::new(2048, 8, Some(5));
        let plan = |limit: u64| plan_of_size(600e6, 64_000, step, Some(limit), None).unwrap().0;
        let roomy = plan(24 << 30);
        assert!(roomy.fits && roomy.total <= 24 << 30, "{roomy:?}");
        assert!((roomy.plan.parameters as f64 / 600e6 - 1.0).abs() < 0.1, "{roomy:?}");
        let tight = plan(11 << 30);
        assert!(tight.fits && tight.choice.recompute != Recompute::None, "{tight:?}");
        let tighter = plan(8 << 30);
        assert!(tighter.fits && tighter.choice.optimizer == Algorithm::AdamW8bit, "{tighter:?}");
        let none = plan(4 << 30);
        assert!(!none.fits && none.missing == none.total - (4 << 30), "{none:?}");
        let lora = none.lora.unwrap();
        assert!(lora.fits && lora.total < 4 << 30 && lora.bits == 8.5, "{lora:?}");
        assert!(tighter.lora.is_none());
        assert!(none.missing > 1 << 30, "weights and gradients alone are 8 bytes for each parameter: {none:?}");
    }
}
