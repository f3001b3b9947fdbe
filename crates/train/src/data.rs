//! Texts as sequences of tokens, in an order that a seed decides.
//!
//! Texts are put one after the other, in a new order in every epoch, and cut into sequences of one length: nothing is
//! padded. Texts in a sequence do not see each other. Which sequences a step takes follows from the seed and the step's
//! number alone, so a run that was interrupted goes on exactly where it was.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use saem_tokenizer::Tokenizer;

use crate::pass::Batch;
use crate::random::Random;
use crate::{DataProblem, TrainError};

/// The longest line of a JSONL file that is read.
const LONGEST_LINE: usize = 64 << 20;
/// What the order of texts and of sequences is drawn for.
const TEXTS: u64 = 1;
const SEQUENCES: u64 = 2;

/// Tokens of many texts.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    tokens: Vec<u32>,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Reads files: `.jsonl` with one object a line, of which the string `field` is a text, anything else as one text.
    /// Directories are read file by file, in the order of their names. Each text ends with the tokenizer's end token,
    /// where it has one. `progress` is told bytes read so far and in all.
    ///
    /// # Errors
    /// [`TrainError::Data`] with the file and the line where one is broken.
    pub fn read(
        paths: &[PathBuf],
        field: &str,
        tokenizer: &Tokenizer,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, TrainError> {
        let mut files = Vec::new();
        for path in paths {
            list(path, &mut files)?;
        }
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let total: u64 = files.iter().map(size).sum();
        let mut texts = Self::default();
        let mut done = 0;
        progress(0, total);
        for path in &files {
            let before = done;
            done += size(path);
            if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
                texts.read_lines(path, field, tokenizer, &mut |read| progress(before + read, total))?;
            } else {
                let bytes = fs::read(path).map_err(|source| TrainError::Io { path: path.clone(), source })?;
                let text = String::from_utf8(bytes).map_err(|error| {
                    let line =
                        error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
                    TrainError::Data { path: path.clone(), line, problem: DataProblem::NotUtf8 }
                })?;
                texts.push(&text, tokenizer);
            }
            progress(done, total);
        }
        Ok(texts)
    }

    fn read_lines(
        &mut self,
        path: &Path,
        field: &str,
        tokenizer: &Tokenizer,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), TrainError> {
        let io = |source| TrainError::Io { path: path.to_owned(), source };
        let mut reader = BufReader::new(fs::File::open(path).map_err(io)?);
        let (mut bytes, mut read) = (Vec::new(), 0);
        for line in 1.. {
            bytes.clear();
            let count =
                std::io::Read::take(&mut reader, LONGEST_LINE as u64).read_until(b'\n', &mut bytes).map_err(io)?;
            if count == 0 {
                break;
            }
            let broken = |problem| TrainError::Data { path: path.to_owned(), line, problem };
            if count == LONGEST_LINE {
                return Err(broken(DataProblem::TooLong { limit: LONGEST_LINE }));
            }
            read += count as u64;
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| broken(DataProblem::NotUtf8))?;
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|error| broken(DataProblem::NotJson(error.to_string())))?;
            let text = value.get(field).and_then(serde_json::Value::as_str);
            self.push(text.ok_or_else(|| broken(DataProblem::NoField(field.to_owned())))?, tokenizer);
            progress(read);
        }
        Ok(())
    }

    fn push(&mut self, text: &str, tokenizer: &Tokenizer) {
        let start = self.tokens.len();
        tokenizer.encode_into(text, false, false, &mut self.tokens);
        if self.tokens.len() > start {
            self.tokens.extend(tokenizer.eos());
            self.ends.push(self.tokens.len());
        }
    }

    /// A text given as tokens.
    pub fn push_tokens(&mut self, tokens: &[u32]) {
        if !tokens.is_empty() {
            self.tokens.extend(tokens);
            self.ends.push(self.tokens.len());
        }
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Tokens of all texts.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// Takes about this share of the texts away, the same ones for the same seed.
    pub fn split_off(&mut self, share: f64, seed: u64) -> Self {
        let count = (self.len() as f64 * share).round() as usize;
        let order = Random::new(seed, TEXTS).order(self.len());
        let mut taken: Vec<bool> = vec![false; self.len()];
        order.iter().take(count).for_each(|index| taken[*index as usize] = true);
        let (mut kept, mut away) = (Self::default(), Self::default());
        for (index, is_taken) in taken.iter().enumerate() {
            (if *is_taken { &mut away } else { &mut kept }).push_tokens(self.text(index));
        }
        *self = kept;
        away
    }

    pub(crate) fn text(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start..self.ends[index]]
    }
}

/// All files under a path, in the order of their names.
pub(crate) fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(io)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = fs::read_dir(path).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.iter().try_for_each(|entry| list(&entry.path(), files))
}

/// Sequences of one length, in the order in which steps take them.
#[derive(Debug)]
pub struct Sequences {
    texts: Texts,
    length: usize,
    seed: u64,
    epoch: Option<Epoch>,
}

/// The order of one epoch.
#[derive(Debug)]
struct Epoch {
    number: u64,
    /// Texts, and where each begins in the whole.
    texts: Vec<u32>,
    starts: Vec<usize>,
    sequences: Vec<u32>,
}

impl Sequences {
    /// Sequences of `length` tokens.
    ///
    /// # Errors
    /// [`TrainError::TooLittleData`] where the texts do not fill a single one.
    pub fn new(texts: Texts, length: usize, seed: u64) -> Result<Self, TrainError> {
        if texts.token_count() < length || length == 0 {
            return Err(TrainError::TooLittleData { tokens: texts.token_count(), sequence: length });
        }
        Ok(Self { texts, length, seed, epoch: None })
    }

    /// Sequences in an epoch.
    #[must_use]
    pub fn per_epoch(&self) -> usize {
        self.texts.token_count() / self.length
    }

    /// The texts.
    #[must_use]
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Sequences `first..first + count` of the run, epoch after epoch, as one batch.
    pub fn batch(&mut self, first: u64, count: usize) -> Batch {
        let mut batch = Batch::default();
        for number in first..first + count as u64 {
            let per_epoch = self.per_epoch() as u64;
            self.turn_to(number / per_epoch);
            if let Some(epoch) = &self.epoch {
                let index = epoch.sequences[(number % per_epoch) as usize] as usize;
                self.add(epoch, index * self.length, &mut batch);
            }
        }
        batch
    }

    /// Adds the tokens from `start` on.
    fn add(&self, epoch: &Epoch, start: usize, batch: &mut Batch) {
        let end = start + self.length;
        let mut number = epoch.starts.partition_point(|begin| *begin <= start) - 1;
        let mut at = start;
        while at < end {
            let text = self.texts.text(epoch.texts[number] as usize);
            let within = at - epoch.starts[number];
            let take = (text.len() - within).min(end - at);
            let first = batch.tokens.len();
            batch.tokens.extend(&text[within..within + take]);
            // What follows the last token is known even where the sequence ends before it.
            batch.targets.extend((within + 1..within + take + 1).map(|next| text.get(next).copied()));
            batch.documents.push(first..first + take);
            at += take;
            number += 1;
        }
    }

    fn turn_to(&mut self, number: u64) {
        if self.epoch.as_ref().is_some_and(|epoch| epoch.number == number) {
            return;
        }
        let texts = Random::new(self.seed ^ number.rotate_left(32), TEXTS).order(self.texts.len());
        let mut begin = 0;
        let starts = texts
            .iter()
            .map(|text| {
                let start = begin;
                begin += self.texts.text(*text as usize).len();
                start
            })
            .collect();
        let sequences = Random::new(self.seed ^ number.rotate_left(32), SEQUENCES).order(self.per_epoch());
        self.epoch = Some(Epoch { number, texts, starts, sequences });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        let mut texts = Texts::default();
        let mut next = 0;
        for length in [5, 1, 17, 40, 3, 9, 25] {
            let text: Vec<u32> = (next..next + length).collect();
            texts.push_tokens(&text);
            next += length;
        }
        texts
    }

    #[test]
    fn an_epoch_has_every_token_once_and_every_target_is_the_next_of_its_text() {
        let mut sequences = Sequences::new(texts(), 10, 3).unwrap();
        assert_eq!(sequences.per_epoch(), 10);
        for epoch in 0..3 {
            let batch = sequences.batch(epoch * 10, 10);
            let mut seen = batch.tokens.clone();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..100), "epoch {epoch}");
            let ends: Vec<u32> = [5, 6, 23, 63, 66, 75, 100].iter().map(|end| end - 1).collect();
            for (token, target) in batch.tokens.iter().zip(&batch.targets) {
                let expected = if ends.contains(token) { None } else { Some(token + 1) };
                assert_eq!(*target, expected);
            }
            let mut end = 0;
            for document in &batch.documents {
                assert!(document.start == end && document.len() <= 10);
                end = document.end;
            }
            assert_eq!(end, 100);
        }
    }

    #[test]
    fn what_a_step_takes_does_not_depend_on_what_came_before() {
        let (mut all, mut resumed) = (Sequences::new(texts(), 7, 5).unwrap(), Sequences::new(texts(), 7, 5).unwrap());
        let batches: Vec<Batch> = (0..20).map(|step| all.batch(step * 3, 3)).collect();
        for step in (12..20).rev() {
            assert_eq!(resumed.batch(step * 3, 3), batches[step as usize]);
        }
        assert_ne!(Sequences::new(texts(), 7, 6).unwrap().batch(0, 3), batches[0]);
    }

    #[test]
    fn a_share_can_be_held_out() {
        let (mut kept, mut again) = (texts(), texts());
        let away = kept.split_off(0.3, 1);
        assert_eq!((away.len(), kept.len()), (2, 5));
        assert_eq!(away.token_count() + kept.token_count(), 100);
        assert_eq!(again.split_off(0.3, 1).tokens, away.tokens);
    }

    #[test]
    fn too_little_text_is_an_error() {
        assert!(matches!(Sequences::new(texts(), 101, 0), Err(TrainError::TooLittleData { tokens: 100, .. })));
    }
}
