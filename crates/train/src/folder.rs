//! A run's folder: whose it is, its recipe and its metrics.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use serde_json::{Value, json};

use crate::TrainError;
use crate::prepare::DataReport;
use crate::recipe::Recipe;

/// The recipe's name in the folder.
const RECIPE: &str = "recipe.toml";

/// Whether there is a run in the folder.
pub(crate) fn is_begun(folder: &Path) -> bool {
    folder.join(RECIPE).is_file()
}

/// Sees that the folder is that of no run yet, or of one with the same recipe where it should go on.
pub(crate) fn check(folder: &Path, recipe: &Recipe, resume: bool) -> Result<(), TrainError> {
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
    same.train.epochs = stored.train.epochs;
    same.train.evaluate_examples = stored.train.evaluate_examples;
    same.train.evaluate_every = stored.train.evaluate_every;
    same.train.checkpoint_every = stored.train.checkpoint_every;
    same.train.keep = stored.train.keep;
    if same == stored {
        return Ok(());
    }
    Err(wrong(
        "the run in this folder has another recipe: only steps, epochs, evaluate_every, evaluate_examples, checkpoint_every and keep may change",
    ))
}

/// Writes the recipe, and what is known of the data, to the folder of a run whose first step can be taken.
pub(crate) fn begin(
    folder: &Path,
    recipe: &Recipe,
    data: Option<(&DataReport, &DataReport)>,
) -> Result<(), TrainError> {
    let (path, part) = (folder.join(RECIPE), folder.join("recipe.toml.part"));
    let io = |source| TrainError::Io { path: path.clone(), source };
    fs::create_dir_all(folder.join("checkpoints")).map_err(io)?;
    if let Some((train, validation)) = data {
        let report = json!({ "train": train, "validation": validation });
        fs::write(folder.join("data.json"), format!("{report:#}\n")).map_err(io)?;
    }
    fs::write(&part, recipe.to_toml()).and_then(|()| fs::rename(&part, &path)).map_err(io)
}

/// The metrics file, without what came after the checkpoint that the run goes on from.
pub(crate) fn metrics(path: &Path, step: u64) -> Result<File, TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let before = fs::read_to_string(path).unwrap_or_default();
    let is_kept = |line: &&str| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["step"].as_u64().is_some_and(|found| found <= step))
    };
    let kept: String = before.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
    fs::write(path, kept).map_err(io)?;
    OpenOptions::new().append(true).open(path).map_err(io)
}
