//! What training takes on this machine.

use indicatif::HumanCount;
use saem_formats::Source;
use saem_kernels::ThreadPool;
use saem_kernels::gemm::Precision;
use saem_train::{Machine, MachinePlan, Reason, Recipe, Recompute, Step, available_memory, plan_of_size, plan_recipe};

use super::count;
use crate::arguments::Plan;
use crate::commands::training::write_chat;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// Where nothing is said about a model of some size: its vocabulary, its sequences, tokens in a step and in all.
const VOCABULARY: f64 = 64_000.0;
const SEQUENCE: f64 = 2048.0;
const BATCH_TOKENS: f64 = 16_384.0;
const TOKENS: f64 = 20.0;

/// A recipe's.
pub(super) fn of_recipe(arguments: &Plan, path: &std::path::Path, language: Language) -> anyhow::Result<()> {
    let recipe = Recipe::read(path)?;
    let name = recipe.model.base.as_ref().or(recipe.model.tokenizer.as_ref()).cloned().unwrap_or_default();
    let chosen = models::find_or_pull(&models::hub()?, &name, arguments.accept_licence, language)?;
    let source = Source::open(&chosen.path)?;
    let measured = measured(arguments, recipe.train.precision, language)?;
    let write_chat = write_chat(&recipe, &source)?;
    let mut progress = Progress::new(language, language.reading_texts(), Unit::Bytes, None);
    let mut read = |done, total| progress.set_of(done, total);
    let machine = measured.as_ref().map(|(machine, pool)| (*machine, pool));
    let plan = plan_recipe(&recipe, &source, (limit(arguments), machine), write_chat.as_deref(), &mut read)?;
    drop(progress);
    if recipe.tune.is_some() && !plan.step.is_counted {
        output::note(&language.plan_without_data());
    }
    show(&plan, arguments.json, language)
}

/// That of a model of some size.
pub(super) fn of_size(arguments: &Plan, parameters: f64, language: Language) -> anyhow::Result<()> {
    let sequence = arguments.sequence.unwrap_or(SEQUENCE).max(1.0);
    let batch = (arguments.batch_tokens.unwrap_or(BATCH_TOKENS) / sequence).round().max(1.0);
    let steps = (arguments.tokens.unwrap_or(TOKENS * parameters) / (batch * sequence)).ceil();
    let bounds = [
        ("params", parameters, 1e5, 1e13),
        ("sequence", sequence, 1.0, 1e6),
        ("batch_tokens", batch * sequence, 1.0, 1e9),
    ];
    if let Some((what, value, least, most)) =
        bounds.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value))
    {
        let [value, least, most] = [value, least, most].map(|value| format!("{value:e}"));
        return Err(Failure::usage(language.plan_senseless(what, &value, &least, &most)).into());
    }
    let step = Step::new(sequence as usize, batch as usize, Some(steps as u64));
    let vocabulary = arguments.vocabulary.unwrap_or(VOCABULARY).clamp(2.0, 1e7) as u64;
    let machine = measured(arguments, Precision::default(), language)?;
    let machine = machine.map(|(machine, _)| machine);
    let (plan, _) = plan_of_size(parameters, vocabulary, step, limit(arguments), machine)?;
    show(&plan, arguments.json, language)
}

fn limit(arguments: &Plan) -> Option<u64> {
    arguments.memory.or_else(available_memory)
}

/// Measures the machine, unless that is not wanted.
fn measured(
    arguments: &Plan,
    precision: Precision,
    language: Language,
) -> anyhow::Result<Option<(Machine, ThreadPool)>> {
    if arguments.no_measurement {
        return Ok(None);
    }
    let threads = arguments.threads.unwrap_or_else(resolve::available_threads);
    if threads == 0 {
        return Err(Failure::usage(language.at_least_one("--threads")).into());
    }
    let pool = ThreadPool::new(threads)?;
    let _progress = Progress::new(language, language.measuring(), Unit::Steps, None);
    let machine = Machine::measure(&pool, precision);
    Ok(Some((machine, pool)))
}

fn show(plan: &MachinePlan, json: bool, language: Language) -> anyhow::Result<()> {
    if json {
        return output::json(plan);
    }
    let l = language;
    let (found, step) = (&plan.plan, &plan.step);
    let parameters = count(found.parameters as f64);
    let [batch, sequence, tokens] =
        [step.batch, step.sequence, step.tokens[0]].map(|number| HumanCount(number as u64).to_string());
    let mut text = if step.is_counted {
        l.plan_machine_examples(&parameters, &batch, &tokens, &sequence)
    } else {
        l.plan_machine(&parameters, &batch, &sequence)
    };
    text += "\n";
    let kinds = [
        (l.plan_weights(), found.weights),
        (l.plan_frozen(), found.frozen),
        (l.plan_gradients(), found.gradients),
        (l.plan_optimizer(), found.optimizer),
        (l.plan_activations(), found.activations),
        (l.plan_logits(), found.logits),
        (l.plan_working(), found.working),
        (l.plan_texts(), found.texts),
        (l.plan_program(), found.program),
        (l.plan_total(), plan.total),
    ];
    let rows: Vec<Vec<String>> =
        kinds.into_iter().filter(|(_, size)| *size > 0).map(|(name, size)| vec![name, bytes(size)]).collect();
    text += &output::table(&rows, &[1]);
    let limit = plan.limit.map_or_else(|| "-".to_owned(), bytes);
    let micro_batch = plan.choice.micro_batch.to_string();
    let why = match plan.reason {
        Reason::AsAsked => l.plan_fits(&limit, &micro_batch),
        Reason::SmallerMicroBatch => l.plan_fits_smaller(&limit, &micro_batch),
        Reason::Recompute => l.plan_fits_recomputed(&limit, plan.choice.recompute.name(), &micro_batch),
        Reason::Optimizer => l.plan_fits_8bit(&limit, &micro_batch),
        Reason::Weights => {
            l.plan_fits_bf16(&limit, plan.choice.optimizer.name(), plan.choice.recompute.name(), &micro_batch)
        }
        Reason::NothingFits => l.plan_fits_not(&bytes(plan.missing), &limit),
    };
    text += &format!("\n{why}\n");
    if let Some(lora) = &plan.lora {
        let (rank, bits, total) = (lora.rank.to_string(), format!("{:.1}", lora.bits), bytes(lora.total));
        text += &if lora.fits {
            l.plan_lora_fits(&rank, &bits, &total)
        } else {
            l.plan_lora_fits_not(&rank, &bits, &total)
        };
        text += "\n";
    }
    if plan.tried.len() > 1 {
        text += &tried(plan, language);
    }
    if let Some(speed) = &plan.speed {
        text += "\n";
        text += &l.plan_speed(
            &format!("{:.0}", speed.machine.operations / 1e9),
            &format!("{:.1}", speed.machine.bandwidth / 1e9),
            &count(found.operations_per_token),
        );
        text += "\n";
        let (seconds, tokens) = (format!("{:.1}", speed.seconds_per_step), count(speed.tokens_per_second));
        text += &match step.steps.zip(speed.hours) {
            None => l.plan_time_of_step(&seconds, &tokens),
            Some((steps, hours)) => {
                l.plan_time(&seconds, &tokens, &HumanCount(steps).to_string(), &duration(hours, language))
            }
        };
        text += "\n";
    }
    output::line(&text)
}

fn tried(plan: &MachinePlan, language: Language) -> String {
    let l = language;
    let mut rows = vec![vec![
        l.plan_column_micro_batch(),
        l.plan_column_recompute(),
        l.plan_column_optimizer(),
        l.plan_weights(),
        l.plan_column_memory_all(),
        l.plan_column_fits(),
        l.plan_column_step_seconds(),
    ]];
    rows.extend(plan.tried.iter().map(|tried| {
        vec![
            tried.choice.micro_batch.to_string(),
            match tried.choice.recompute {
                Recompute::None => l.plan_none(),
                Recompute::Selective => l.plan_recompute_insides(),
                Recompute::Full => l.plan_recompute_full(),
            },
            tried.choice.optimizer.name().to_owned(),
            tried.choice.weights.name().to_owned(),
            bytes(tried.total),
            if tried.fits { l.plan_yes() } else { l.plan_no() },
            tried.seconds_per_step.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
        ]
    }));
    output::table(&rows, &[0, 4, 6])
}

/// Hours as people say them.
fn duration(hours: f64, language: Language) -> String {
    match hours {
        ..1.5 => language.plan_minutes(&format!("{:.0}", hours * 60.0)),
        ..48.0 => language.plan_hours(&format!("{hours:.1}")),
        ..17_532.0 => language.plan_days(&format!("{:.0}", hours / 24.0)),
        _ => language.plan_years(&format!("{:.1}", hours / 8766.0)),
    }
}
