//! The folder of a tuning: what the process that tunes reads and writes.
//!
//! ```text
//! $SAEM_HOME/runs/studio/ID/recipe.toml       what it is to do
//!                           train.jsonl       rows to learn from
//!                           held-out.jsonl    rows to measure and compare with
//!                           log.txt           what it said
//!                           process           its number, while it runs
//!                           run/              its own: metrics, checkpoints, and in the end adapter/ or model/
//! ```

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use saem_engine::random::Random;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::task::Task;

/// Most rows that are held out.
const MOST_HELD_OUT: usize = 1000;
/// Bytes at the end of the metrics in which the last steps are.
const LATEST_BYTES: u64 = 64 << 10;
/// Bytes of the log that are looked at for what went wrong.
const LOG_BYTES: u64 = 16 << 10;

/// Where the files of a tuning are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

/// Rows on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) train: usize,
    pub(crate) held_out: usize,
}

/// One step of a run, as it wrote it down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTuningMetric)]
#[serde(default)]
pub(crate) struct Metric {
    /// The step, from 1.
    pub(crate) step: u64,
    /// Mean loss of what was learnt from, in nats.
    pub(crate) loss: Option<f64>,
    pub(crate) learning_rate: Option<f64>,
    /// Length of the gradient.
    pub(crate) gradient_norm: Option<f64>,
    /// Tokens since the run began.
    pub(crate) tokens: Option<u64>,
    pub(crate) tokens_per_second: Option<f64>,
    /// Loss of the rows that are held out, where it was measured.
    pub(crate) validation_loss: Option<f64>,
    /// The share of these rows that get the right label.
    pub(crate) validation_accuracy: Option<f64>,
    /// Mean F1 of the labels.
    pub(crate) validation_f1: Option<f64>,
}

impl Folder {
    /// Of a tuning, in Saem's home. Ids are letters and digits.
    pub(crate) fn of(home: &Path, id: &str) -> Self {
        Self(home.join("runs").join("studio").join(id))
    }

    /// One that is somewhere else for as long as it is looked at.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn recipe(&self) -> PathBuf {
        self.0.join("recipe.toml")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log.txt")
    }

    pub(crate) fn process(&self) -> PathBuf {
        self.0.join("process")
    }

    pub(crate) fn held_out(&self) -> PathBuf {
        self.0.join("held-out.jsonl")
    }

    /// Whether the run has taken a step, so that it is to be gone on with.
    pub(crate) fn is_begun(&self) -> bool {
        self.run().join("recipe.toml").is_file()
    }

    /// The adapter that came of it.
    pub(crate) fn adapter(&self) -> Option<PathBuf> {
        Some(self.run().join("adapter")).filter(|path| path.is_dir())
    }

    /// The model that came of it, where all weights were tuned.
    pub(crate) fn model(&self) -> Option<PathBuf> {
        Some(self.run().join("model")).filter(|path| path.is_dir())
    }

    /// Writes recipe and rows of a tuning with this base; the rows are those of a dataset, and as those for nobody else to
    /// read, no more than what the run says of them.
    pub(crate) fn write(&self, task: &Task, base: &Path, rows: &Path) -> io::Result<(Split, u64)> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(&self.0)?;
        let split = self.split(task, rows)?;
        let train = self.0.join("train.jsonl");
        let held_out = (split.held_out > 0).then(|| self.held_out());
        let steps = task.steps(split.train);
        let base = std::path::absolute(base)?;
        fs::write(self.recipe(), task.recipe(&base, &train, held_out.as_deref(), steps))?;
        Ok((split, steps))
    }

    /// Deals the rows out: a share of them, chosen by the seed, is held out; the others are learnt from.
    fn split(&self, task: &Task, rows: &Path) -> io::Result<Split> {
        let columns = task.columns();
        let count = BufReader::new(File::open(rows)?).lines().count();
        let share = (count as f64 * task.parameters.held_out).round() as usize;
        // At least one row is learnt from, and none is held out only where nobody asked for it.
        let least = usize::from(task.parameters.held_out > 0.0 && count > 1);
        let most = share.clamp(least, MOST_HELD_OUT).min(count.saturating_sub(1));
        let mut random = Random::new(task.parameters.seed, 0);
        let create = |path: PathBuf| Ok::<_, io::Error>(BufWriter::with_capacity(1 << 20, File::create(path)?));
        let (mut train, mut held_out) = (create(self.0.join("train.jsonl"))?, create(self.held_out())?);
        let mut split = Split { train: 0, held_out: 0 };
        for (place, line) in BufReader::new(File::open(rows)?).lines().enumerate() {
            let row: Map<String, Value> = serde_json::from_str(&line?)?;
            let row: Map<String, Value> = row.into_iter().filter(|(name, _)| columns.contains(name)).collect();
            // Every choice of so many rows is as probable as any other.
            let left = (count - place) as f64;
            let is_held_out = random.uniform() * left < (most - split.held_out) as f64;
            let out = if is_held_out { &mut held_out } else { &mut train };
            split.held_out += usize::from(is_held_out);
            split.train += usize::from(!is_held_out);
            serde_json::to_writer(&mut *out, &row)?;
            out.write_all(b"\n")?;
        }
        train.flush()?;
        held_out.flush()?;
        Ok(split)
    }

    /// Rows that are held out, from the one after `offset` on.
    pub(crate) fn held_out_rows(&self, offset: usize, limit: usize) -> io::Result<Vec<Map<String, Value>>> {
        let lines = BufReader::new(File::open(self.held_out())?).lines();
        lines.skip(offset).take(limit).map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    }

    /// The steps after this one that were written down so far.
    pub(crate) fn metrics(&self, after: u64) -> io::Result<Vec<Metric>> {
        self.metrics_from(0, after)
    }

    /// The last steps, some dozens of them: whoever watches asks for them every second.
    pub(crate) fn latest_metrics(&self) -> io::Result<Vec<Metric>> {
        let written = fs::metadata(self.run().join("metrics.jsonl")).map_or(0, |metadata| metadata.len());
        self.metrics_from(written.saturating_sub(LATEST_BYTES), 0)
    }

    /// Of what was written after so many bytes.
    fn metrics_from(&self, start: u64, after: u64) -> io::Result<Vec<Metric>> {
        let mut file = match File::open(self.run().join("metrics.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(start))?;
        let mut metrics: Vec<Metric> = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            // The last line may be half written, and end within a letter; the first may have begun before.
            let Ok(metric) = serde_json::from_slice::<Metric>(&line?) else { continue };
            match metrics.last_mut() {
                // A measurement has a line of its own.
                Some(last) if last.step == metric.step => last.add(metric),
                _ if metric.step > after => metrics.push(metric),
                _ => {}
            }
        }
        Ok(metrics)
    }

    /// Bytes of the log so far.
    pub(crate) fn logged(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// What the process said of what went wrong, after so many bytes of the log; paths in it are those in the folder.
    pub(crate) fn fault(&self, after: u64) -> Option<String> {
        let mut file = File::open(self.log()).ok()?;
        file.seek(SeekFrom::Start(self.logged().saturating_sub(LOG_BYTES).max(after))).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let inside = format!("{}/", self.0.display());
        fault_of(&String::from_utf8_lossy(&bytes)).map(|fault| fault.replace(&inside, ""))
    }
}

/// What a command says of what went wrong, among the last lines that it wrote: a line, and below it the cause and what to do.
fn fault_of(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    // In English and in Korean.
    let told = |line: &str| ["error: ", "saem: "].iter().find_map(|name| line.strip_prefix(name).map(str::to_owned));
    let (place, mut fault) =
        lines.iter().enumerate().rev().find_map(|(place, line)| Some((place, told(line.trim_start())?)))?;
    for more in lines[place + 1..].iter().take_while(|line| line.starts_with(char::is_whitespace)) {
        fault += ". ";
        fault += more.trim();
    }
    Some(fault)
}

impl Metric {
    fn add(&mut self, other: Self) {
        self.loss = other.loss.or(self.loss);
        self.learning_rate = other.learning_rate.or(self.learning_rate);
        self.gradient_norm = other.gradient_norm.or(self.gradient_norm);
        self.tokens = other.tokens.or(self.tokens);
        self.tokens_per_second = other.tokens_per_second.or(self.tokens_per_second);
        self.validation_loss = other.validation_loss.or(self.validation_loss);
        self.validation_accuracy = other.validation_accuracy.or(self.validation_accuracy);
        self.validation_f1 = other.validation_f1.or(self.validation_f1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_is_told_with_its_cause_and_without_where_the_home_is() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::at(home.path());
        let log = |text: &str| fs::write(folder.log(), text).unwrap();
        log("");
        assert_eq!(folder.fault(0), None);
        let before = "error: Stopped after step 3\n  saem goes on with --resume\n";
        let path = folder.recipe().display().to_string();
        log(&format!("{before}step 4 of 8\nerror: The recipe does not fit: {path}\n  rank is 0\n\n  take more\n"));
        assert_eq!(folder.fault(0).unwrap(), "The recipe does not fit: recipe.toml. rank is 0. take more");
        // It was killed, and what is above is of another time.
        log(&format!("{before}step 4 of 8\n"));
        assert_eq!(folder.fault(before.len() as u64), None);
    }

    #[test]
    fn metrics_that_were_cut_off_within_a_letter_are_left_out() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::at(home.path());
        fs::create_dir_all(folder.run()).unwrap();
        fs::write(
            folder.run().join("metrics.jsonl"),
            b"{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"text\": \"\xec\x83",
        )
        .unwrap();
        let steps = |metrics: Vec<Metric>| metrics.iter().map(|metric| metric.step).collect::<Vec<_>>();
        assert_eq!(steps(folder.metrics(0).unwrap()), [1]);
        assert_eq!(steps(folder.latest_metrics().unwrap()), [1]);
        let lines: String = (1..=4000).map(|step| format!("{{\"step\": {step}, \"loss\": 2.5}}\n")).collect();
        fs::write(folder.run().join("metrics.jsonl"), &lines).unwrap();
        let latest = steps(folder.latest_metrics().unwrap());
        assert!(latest.last() == Some(&4000) && latest.is_sorted() && (100..4000).contains(&latest.len()));
        assert_eq!(steps(folder.metrics(3998).unwrap()), [3999, 4000]);
    }

    #[cfg(unix)]
    #[test]
    fn rows_are_dealt_out_for_nobody_else_to_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let rows = home.path().join("rows.jsonl");
        let text: String =
            (0..20).map(|row| format!("{}\n", json!({ "document": row, "label": "1", "name": "x" }))).collect();
        fs::write(&rows, text).unwrap();
        let task: Task = serde_json::from_value(json!({
            "dataset": "d", "base": "b", "prompt": "{{document}}", "answer": "{{label}}", "label": "label",
            "labels": { "0": "bad", "1": "good" },
            "parameters": { "batch": 16, "micro_batch": 2, "recompute": "selective", "optimizer": "adamw8bit" },
        }))
        .unwrap();
        let folder = Folder::of(home.path(), "a1");
        let (split, _) = folder.write(&task, Path::new("base"), &rows).unwrap();
        assert_eq!((split.train + split.held_out, split.held_out), (20, 2));
        let train = fs::read_to_string(folder.path().join("train.jsonl")).unwrap();
        assert!(train.lines().count() == 18 && train.contains("document") && !train.contains("name"));
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let train = saem_train::Recipe::read(&folder.recipe()).unwrap().train;
        assert_eq!((train.batch, train.micro_batch), (16, 2));
        assert_eq!((train.recompute.name(), train.optimizer.name()), ("selective", "adamw8bit"));
    }
}
