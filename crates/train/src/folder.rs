//! A run's folder: whose it is, its recipe and its metrics.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::TrainError;
use crate::prepare::DataReport;
use crate::recipe::Recipe;

/// The recipe's name in the folder.
const RECIPE: &str = "recipe.toml";
/// The name of what is known of its data.
const DATA: &str = "data.json";

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

/// Sees that the examples are those that the run in the folder began with.
pub(crate) fn check_data(folder: &Path, sha256: Option<&str>) -> Result<(), TrainError> {
    let path = folder.join(DATA);
    let stored = fs::read(&path).ok().and_then(|stored| serde_json::from_slice::<Value>(&stored).ok());
    match (stored.as_ref().and_then(|stored| stored["sha256"].as_str()), sha256) {
        (Some(stored), Some(found)) if stored != found => {
            let problem = "the data are not those that this run began with: bring them back, or begin another run";
            Err(TrainError::Recipe { path, problem: problem.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Begins to write to the folder, or goes on: its metrics file, without what came after the checkpoint that the run goes on
/// from. As long as it is open nobody else can do so.
pub(crate) fn claim(folder: &Path, step: u64) -> Result<File, TrainError> {
    let path = folder.join("metrics.jsonl");
    let io = |source| TrainError::Io { path: path.clone(), source };
    fs::create_dir_all(folder.join("checkpoints")).map_err(io)?;
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(io)?;
    // File systems that have no locks have to do without.
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        let problem = "the run in this folder is being worked on: wait for its end, or stop it".to_owned();
        return Err(TrainError::Recipe { path: folder.join(RECIPE), problem });
    }
    let mut before = Vec::new();
    file.read_to_end(&mut before).map_err(io)?;
    // A line that was cut off when the disk was full may end within a letter.
    let is_kept = |line: &&[u8]| {
        let line = serde_json::from_slice::<Value>(line).unwrap_or_default();
        line["step"].as_u64().is_some_and(|found| found <= step)
    };
    let is_kept = |line: &&[u8]| line.ends_with(b"\n") && is_kept(line);
    let kept: usize = before.split_inclusive(|byte| *byte == b'\n').take_while(is_kept).map(<[u8]>::len).sum();
    file.set_len(kept as u64).map_err(io)?;
    Ok(file)
}

/// Writes the recipe, and what is known of the data, to the folder of a run whose first step can be taken.
pub(crate) fn begin(
    folder: &Path,
    recipe: &Recipe,
    data: Option<(&DataReport, &DataReport)>,
    sha256: Option<String>,
) -> Result<(), TrainError> {
    let (path, part) = (folder.join(RECIPE), folder.join("recipe.toml.part"));
    let io = |source| TrainError::Io { path: path.clone(), source };
    if let Some((train, validation)) = data {
        let report = json!({ "train": train, "validation": validation, "sha256": sha256 });
        fs::write(folder.join(DATA), format!("{report:#}\n")).map_err(io)?;
    }
    // What counts is the epochs, if the recipe speaks of those: the steps follow from them.
    let mut recipe = recipe.clone();
    if recipe.train.epochs.is_some() {
        recipe.train.steps = 0;
    }
    fs::write(&part, recipe.to_toml()).and_then(|()| fs::rename(&part, &path)).map_err(io)
}
