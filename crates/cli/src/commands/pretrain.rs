//! `saem pretrain`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use saem_formats::Source;
use saem_hub::Settings;
use saem_train::{Recipe, Run, Setup, StepReport};

use crate::arguments::Pretrain;
use crate::commands::INTERRUPTED;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::progress::{Progress, Unit};
use crate::{models, output, resolve};

/// Where nobody watches a bar, a line is said this often.
const INTERVAL: Duration = Duration::from_secs(10);
/// Where runs are kept in Saem's home.
const FOLDER: &str = "runs";

/// Trains a model after a recipe.
pub(crate) fn run(arguments: &Pretrain, language: Language) -> anyhow::Result<()> {
    let recipe = Recipe::read(&arguments.recipe)?;
    if arguments.threads == Some(0) {
        return Err(Failure::usage(language.at_least_one("--threads")).into());
    }
    let name = recipe.model.base.as_ref().or(recipe.model.tokenizer.as_ref()).cloned().unwrap_or_default();
    let chosen = models::find_or_pull(&models::hub()?, &name, arguments.accept_licence, language)?;
    let setup = Setup {
        folder: match &arguments.run {
            Some(folder) => folder.clone(),
            None => folder(arguments)?,
        },
        source: Source::open(&chosen.path)?,
        threads: arguments.threads.unwrap_or_else(resolve::available_threads),
        recipe,
    };
    let folder = setup.folder.clone();
    let mut progress = Progress::new(language, language.reading_texts(), Unit::Bytes, None);
    let mut run = Run::open(setup, arguments.resume, &mut |done, total| progress.set_of(done, total))?;
    drop(progress);
    explain(&run, language);
    if arguments.plan {
        return if arguments.json { output::json(&run.plan()) } else { Ok(()) };
    }
    let stop = interrupted()?;
    let stopped = train(&mut run, &stop, arguments.json, language)?;
    if stopped {
        run.save()?;
        let step = run.step_number().to_string();
        let failure = Failure::new(language.train_stopped(&step, &folder.display().to_string()));
        return Err(failure.hint(language.train_resume_hint()).into());
    }
    run.finish()?;
    let model = folder.join("model").display().to_string();
    output::note(&language.trained(&model));
    output::note(&language.train_try(&model));
    Ok(())
}

/// The run's folder where none is named.
fn folder(arguments: &Pretrain) -> anyhow::Result<PathBuf> {
    let name = arguments.recipe.file_stem().unwrap_or_default();
    Ok(Settings::from_env()?.home.join(FOLDER).join(name))
}

/// Says what the run takes and learns from.
fn explain(run: &Run, language: Language) {
    let plan = run.plan();
    let rest = plan.logits + plan.working + plan.texts;
    output::note(&language.train_plan(
        &HumanCount(plan.parameters).to_string(),
        &bytes(plan.total()),
        &bytes(plan.weights),
        &bytes(plan.gradients),
        &bytes(plan.optimizer),
        &bytes(plan.activations),
        &bytes(rest),
    ));
    let texts = run.sequences().texts();
    let epochs = format!("{:.2}", run.epochs());
    let (count, tokens) =
        (HumanCount(texts.len() as u64).to_string(), HumanCount(texts.token_count() as u64).to_string());
    output::note(&language.train_texts(&count, &tokens, &HumanCount(run.steps()).to_string(), &epochs));
    if run.step_number() > 0 {
        output::note(&language.train_resumed(&run.step_number().to_string()));
    }
}

/// Takes the steps that are left; returns whether it was asked to stop before.
fn train(run: &mut Run, stop: &AtomicBool, json: bool, language: Language) -> anyhow::Result<bool> {
    let mut progress = Progress::new(language, language.training("…"), Unit::Steps, Some(run.steps()));
    let watched = console::user_attended_stderr();
    let mut said = Instant::now();
    progress.set(run.step_number());
    while run.step_number() < run.steps() {
        if stop.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let report = run.step()?;
        progress.rename(language.training(&format!("{:.4}", report.loss)));
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
