//! What a run leaves for people to look at, beside its metrics: the plan, events for TensorBoard, a page.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TrainError;
use crate::plan::Plan;
use crate::report::write_report;
use crate::run::StepReport;
use crate::tfevents::EventFile;

/// The files of one process that works on a run.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    events: EventFile,
}

impl Journal {
    /// Writes the plan and begins a file of events.
    pub(crate) fn open(folder: &Path, plan: &Plan) -> Result<Self, TrainError> {
        let (path, part) = (folder.join("plan.json"), folder.join("plan.json.part"));
        let text = serde_json::to_string_pretty(plan).unwrap_or_default() + "\n";
        let written = fs::write(&part, text).and_then(|()| fs::rename(&part, &path));
        written.map_err(|source| TrainError::Io { path, source })?;
        Ok(Self { folder: folder.to_owned(), events: EventFile::create(folder)? })
    }

    /// Adds a step.
    pub(crate) fn record(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let measured = report.validation_loss.map(|loss| ("loss/validation", loss));
        let memory = report.memory.map(|bytes| ("memory/peak_bytes", bytes as f64));
        let values = [
            ("loss/train", report.loss),
            ("learning_rate", report.learning_rate),
            ("gradient_norm", report.gradient_norm),
            ("tokens_per_second", report.tokens_per_second),
        ];
        let values: Vec<(&str, f64)> = values.into_iter().chain(measured).chain(memory).collect();
        self.events.scalars(report.step, &values)
    }

    /// Writes the page.
    pub(crate) fn report(&self) -> Result<(), TrainError> {
        write_report(&self.folder)
    }
}
