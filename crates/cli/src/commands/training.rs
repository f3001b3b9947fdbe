//! `saem pretrain` and `saem tune`: runs after a recipe.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use saem_engine::ModelText;
use saem_engine::chat::{Message, RenderOptions};
use saem_formats::Source;
use saem_hub::Settings;
use saem_train::{DataReport, Recipe, Run, Setup, StepReport, WriteChat};

use crate::arguments::{Pretrain, TrainFlags, Tune};
use crate::commands::INTERRUPTED;
use crate::curve::Curve;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// Where nobody watches a bar, a line is said this often.
const INTERVAL: Duration = Duration::from_secs(10);
/// Where runs are kept in Saem's home.
const FOLDER: &str = "runs";

/// Trains a model after a recipe.
pub(crate) fn pretrain(arguments: &Pretrain, language: Language) -> anyhow::Result<()> {
    let recipe = Recipe::read(&arguments.flags.recipe)?;
    if recipe.tune.is_some() {
        return Err(Failure::usage(language.train_other("[tune]", "saem tune")).into());
    }
    run(recipe, &arguments.flags, language)
}

/// Tunes a model after a recipe.
pub(crate) fn tune(arguments: &Tune, language: Language) -> anyhow::Result<()> {
    let recipe = Recipe::read(&arguments.flags.recipe)?;
    if recipe.tune.is_none() {
        return Err(Failure::usage(language.train_without("[tune]", "saem pretrain")).into());
    }
    run(recipe, &arguments.flags, language)
}

fn run(recipe: Recipe, arguments: &TrainFlags, language: Language) -> anyhow::Result<()> {
    if arguments.threads == Some(0) {
        return Err(Failure::usage(language.at_least_one("--threads")).into());
    }
    let name = recipe.model.base.as_ref().or(recipe.model.tokenizer.as_ref()).cloned().unwrap_or_default();
    let chosen = models::find_or_pull(&models::hub()?, &name, arguments.accept_licence, language)?;
    let source = Source::open(&chosen.path)?;
    let setup = Setup {
        folder: match &arguments.run {
            Some(folder) => folder.clone(),
            None => folder(arguments)?,
        },
        write_chat: write_chat(&recipe, &source)?,
        source,
        threads: arguments.threads.unwrap_or_else(resolve::available_threads),
        recipe,
    };
    let folder = setup.folder.clone();
    let mut progress = Progress::new(language, language.reading_texts(), Unit::Bytes, None);
    let mut run = Run::open(setup, arguments.resume, &mut |done, total| progress.set_of(done, total))?;
    drop(progress);
    explain(&run, language);
    if arguments.plan {
        return if arguments.json { output::json(&plan(&run)?) } else { Ok(()) };
    }
    let stop = interrupted()?;
    let stopped = train(&mut run, &stop, arguments.json, language)?;
    if stopped {
        run.save()?;
        let step = run.step_number().to_string();
        let failure = Failure::new(language.train_stopped(&step, &folder.display().to_string()));
        return Err(failure.hint(language.train_resume_hint()).into());
    }
    let path = run.finish()?.display().to_string();
    let model = folder.join("model").display().to_string();
    if run.is_adapter() {
        output::note(&language.tuned(&path));
        output::note(&language.tune_try(&name, &path));
    } else {
        output::note(&language.trained(&path));
    }
    if run.is_classifier() {
        output::note(&language.classify_try(&model));
    } else if !run.is_adapter() {
        output::note(&language.train_try(&path));
    }
    Ok(())
}

/// What the run takes, and what it learns from where that is known row by row.
fn plan(run: &Run) -> anyhow::Result<serde_json::Value> {
    let mut plan = serde_json::to_value(run.plan())?;
    if let Some((train, validation)) = run.data_reports() {
        plan["data"] = serde_json::json!({ "train": train, "validation": validation });
    }
    Ok(plan)
}

/// The model's chat template, ready to write conversations, where the recipe has some.
pub(super) fn write_chat(recipe: &Recipe, source: &Source) -> anyhow::Result<Option<Box<WriteChat>>> {
    if recipe.data.chat.is_none() {
        return Ok(None);
    }
    let text = ModelText::new(source, saem_model::describe(source)?)?;
    let template = text.chat_template()?.clone();
    Ok(Some(Box::new(move |messages, add_generation_prompt| {
        let messages: Vec<Message> = serde_json::from_value(messages.into()).map_err(|error| error.to_string())?;
        let options = RenderOptions { add_generation_prompt, ..RenderOptions::default() };
        template.render(&messages, &options).map_err(|error| error.to_string())
    })))
}

/// The run's folder where none is named.
fn folder(arguments: &TrainFlags) -> anyhow::Result<PathBuf> {
    let name = arguments.recipe.file_stem().unwrap_or_default();
    Ok(Settings::from_env()?.home.join(FOLDER).join(name))
}

/// Says what the run takes and learns from.
fn explain(run: &Run, language: Language) {
    let plan = run.plan();
    let rest = plan.logits + plan.working + plan.texts + plan.program;
    output::note(&language.train_plan(
        &HumanCount(plan.parameters).to_string(),
        &bytes(plan.total()),
        &bytes(plan.weights + plan.frozen),
        &bytes(plan.gradients),
        &bytes(plan.optimizer),
        &bytes(plan.activations),
        &bytes(rest),
    ));
    let epochs = format!("{:.2}", run.epochs());
    let count = |count: usize| HumanCount(count as u64).to_string();
    let (texts, tokens) = run.texts();
    output::note(&language.train_texts(&count(texts), &count(tokens), &HumanCount(run.steps()).to_string(), &epochs));
    if let Some((train, held_out)) = run.data_reports() {
        for (report, is_train) in [(train, true), (held_out, false)] {
            if report.examples > 0 {
                output::note(&data_line(report, is_train, language));
            }
            if let Some(first) = report.refusals.first() {
                let place = format!("{}:{}", first.file.display(), first.line);
                output::note(&language.tune_refused(
                    &count(report.refused),
                    &count(report.rows),
                    &place,
                    &first.reason,
                ));
            }
        }
    }
    if run.step_number() > 0 {
        output::note(&language.train_resumed(&run.step_number().to_string()));
    }
}

/// Examples, their lengths and their labels.
fn data_line(report: &DataReport, is_train: bool, language: Language) -> String {
    let count = |count: usize| HumanCount(count as u64).to_string();
    let [least, median, p95, most] = report.lengths.map(count);
    let mut line = if is_train {
        language.tune_examples(&count(report.examples), &least, &median, &p95, &most)
    } else {
        language.tune_held_out(&count(report.examples), &least, &median, &p95, &most)
    };
    if !report.labels.is_empty() {
        let labels = report.labels.iter().map(|(label, number)| format!("{label} {}", count(*number)));
        line += "; ";
        line += &labels.collect::<Vec<_>>().join(", ");
    }
    line
}

/// Takes the steps that are left; returns whether it was asked to stop before.
fn train(run: &mut Run, stop: &AtomicBool, json: bool, language: Language) -> anyhow::Result<bool> {
    let mut progress = Progress::new(language, language.training("…"), Unit::Steps, Some(run.steps()));
    let watched = console::user_attended_stderr();
    let mut said = Instant::now();
    let mut curve = Curve::default();
    progress.set(run.step_number());
    while run.step_number() < run.steps() {
        if stop.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let report = run.step()?;
        curve.add(report.loss);
        progress.rename(language.training(&format!("{:.4} {curve}", report.loss)));
        progress.set(report.step);
        if json {
            output::line(&format!("{}\n", serde_json::to_string(&report)?))?;
        }
        let is_due = report.validation_loss.is_some() || report.step == run.steps();
        if is_due || (!watched && said.elapsed() >= INTERVAL) {
            said = Instant::now();
            progress.suspend(|| output::note(&line(&report, run.steps(), language)));
        }
    }
    Ok(false)
}

fn line(report: &StepReport, steps: u64, language: Language) -> String {
    let mut line = language.train_step(
        &report.step.to_string(),
        &steps.to_string(),
        &format!("{:.4}", report.loss),
        &format!("{:.2e}", report.learning_rate),
        &format!("{:.0}", report.tokens_per_second),
    );
    if let Some(loss) = report.validation_loss {
        line += ", ";
        line += &language.train_measured(&format!("{loss:.4}"));
    }
    if let Some(accuracy) = report.validation_accuracy {
        let accuracy = format!("{:.1}", 100.0 * accuracy);
        line += ", ";
        line += &match report.validation_f1 {
            Some(f1) => language.tune_measured(&accuracy, &format!("{f1:.3}")),
            None => language.tune_preferred(&accuracy),
        };
    }
    line
}

/// Set by the first Ctrl-C; the second one does not wait for the step to end.
#[allow(clippy::exit, reason = "a handler has nowhere to return to; checkpoints are complete or not there")]
fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(stop)
}
