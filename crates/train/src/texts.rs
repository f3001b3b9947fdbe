//! Texts that are learnt as they are: read from files of any kind, kept as tokens on disk.
//!
//! Files are read piece by piece and their tokens written down at once, so neither text nor tokens have to fit in memory:
//! what is there of a text is 16 bytes that say where it lies. A run keeps these tokens in its folder ([`Texts::keep`]),
//! where it finds them when it goes on, whatever has become of the files meanwhile; other runs, and other programs, can
//! name them as texts, too ([`crate::shard`]).

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saem_tokenizer::Tokenizer;
use serde_json::Value;

use crate::random::Random;
use crate::rows::{self, Format};
use crate::shard::{Shard, Writer, index_of};
use crate::template::Row;
use crate::{DataProblem, TrainError};

/// The longest row that is read.
const LONGEST_ROW: usize = 64 << 20;
/// What is drawn to hold texts out.
const HELD_OUT: u64 = 1;

/// Tokens of many texts.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Tokens that were given as such.
    given: Arc<Vec<u32>>,
    /// Tokens on disk; those that were made of files come first.
    shards: Vec<Arc<Shard>>,
    places: Vec<Place>,
    tokens: usize,
}

/// Where a text lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// In tokens.
    start: u64,
    length: u32,
    shard: u32,
}

impl Place {
    /// The number of the tokens that were given.
    const GIVEN: u32 = u32::MAX;
}

/// The texts of the first shard among those of some parts, each in its order, in the order of all.
#[derive(Clone)]
struct Merged<'a> {
    parts: Vec<&'a [Place]>,
}

impl Iterator for Merged<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let first = |part: &&mut &[Place]| part.first().filter(|place| place.shard == 0).map(|place| place.start);
        let part = self.parts.iter_mut().filter(|part| first(part).is_some()).min_by_key(first)?;
        let place = part.split_off_first()?;
        Some(place.start..place.start + u64::from(place.length))
    }
}

impl Texts {
    /// Reads files: the column `field` of every row of `.jsonl`, `.csv` and `.parquet`, the tokens of a `.bin` with an
    /// `.idx` beside it, anything else as one text; all but the last two may be compressed (`.zst`). Directories are read file
    /// by file, in the order of their names. Each text ends with the tokenizer's end token, where it has one. Tokens go to
    /// a file without a name in `folder` or near it. `progress` is told bytes read so far and in all.
    ///
    /// # Errors
    /// [`TrainError::Data`] with the file and the line where one is broken.
    pub fn read(
        paths: &[PathBuf],
        field: &str,
        tokenizer: &Tokenizer,
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, TrainError> {
        let (shards, files) = split(paths)?;
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let total: u64 = files.iter().map(size).sum();
        let mut made =
            Making { writer: Writer::new(folder, tokenizer.vocabulary_len())?, tokenizer, tokens: Vec::new() };
        let mut done = 0;
        progress(0, total);
        for path in &files {
            let before = done;
            done += size(path);
            made.file(path, field, &mut |read| progress(before + read, total))?;
            progress(done, total);
        }
        let (shard, places) =
            made.writer.finish().map_err(|source| TrainError::Io { path: folder.to_owned(), source })?;
        let mut texts = Self::default();
        if !files.is_empty() {
            texts.add(shard, &places);
        }
        texts.add_shards(&shards)?;
        Ok(texts)
    }

    /// The texts that a run kept at `path` when it began with these files; nothing where it kept none.
    ///
    /// # Errors
    /// [`TrainError::Io`] where what was kept cannot be read.
    pub(crate) fn kept(path: &Path, paths: &[PathBuf]) -> Result<Option<Self>, TrainError> {
        if !index_of(path).is_file() {
            return Ok(None);
        }
        let mut texts = Self::default();
        let (shard, places) = Shard::open(path)?;
        texts.add(shard, &places);
        // Files may be gone, tokens that lie elsewhere may not.
        let there: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
        texts.add_shards(&split(&there)?.0)?;
        Ok(Some(texts))
    }

    /// Keeps the tokens that were made of files at `path`, a `.bin`; `parts` are all texts that were read together.
    pub(crate) fn keep(parts: &[&Self], path: &Path) -> Result<(), TrainError> {
        let Some(shard) = parts.iter().find_map(|part| part.shards.first()) else { return Ok(()) };
        let parts = parts.iter().map(|part| part.places.as_slice()).collect();
        shard.keep(path, Merged { parts })
    }

    fn add_shards(&mut self, paths: &[PathBuf]) -> Result<(), TrainError> {
        for path in paths {
            let (shard, places) = Shard::open(path)?;
            self.add(shard, &places);
        }
        Ok(())
    }

    fn add(&mut self, shard: Shard, texts: &[Range<u64>]) {
        let number = self.shards.len() as u32;
        self.shards.push(Arc::new(shard));
        for text in texts.iter().filter(|text| !text.is_empty()) {
            self.push(text.start, (text.end - text.start) as usize, number);
        }
    }

    /// Adds a text, in parts where it has more tokens than a part can have.
    fn push(&mut self, start: u64, length: usize, shard: u32) {
        self.tokens += length;
        let part = i32::MAX as usize;
        for done in (0..length).step_by(part) {
            let length = (length - done).min(part) as u32;
            self.places.push(Place { start: start + done as u64, length, shard });
        }
    }

    /// A text given as tokens.
    pub fn push_tokens(&mut self, tokens: &[u32]) {
        let start = self.given.len() as u64;
        Arc::make_mut(&mut self.given).extend(tokens);
        self.push(start, tokens.len(), Place::GIVEN);
    }

    /// Whether both are parts of what was read together.
    pub(crate) fn is_read_with(&self, other: &Self) -> bool {
        self.shards.first().zip(other.shards.first()).is_some_and(|(own, others)| Arc::ptr_eq(own, others))
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Tokens of all texts.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens
    }

    /// Bytes of memory for so many texts on disk.
    pub(crate) fn bytes(texts: usize) -> u64 {
        (texts * size_of::<Place>()) as u64
    }

    /// Takes about this share of the texts away, the same ones for the same seed.
    #[must_use]
    pub fn split_off(&mut self, share: f64, seed: u64) -> Self {
        let count = (self.len() as f64 * share).round() as usize;
        let order = Random::new(seed, HELD_OUT).order(self.len());
        let mut taken: Vec<bool> = vec![false; self.len()];
        order.iter().take(count).for_each(|index| taken[*index as usize] = true);
        let only = |wanted: bool| {
            let mut texts = Self { given: Arc::clone(&self.given), shards: self.shards.clone(), ..Self::default() };
            for (place, _) in self.places.iter().zip(&taken).filter(|(_, taken)| **taken == wanted) {
                texts.push(place.start, place.length as usize, place.shard);
            }
            texts
        };
        let away = only(true);
        *self = only(false);
        away
    }

    /// Tokens of a text.
    pub(crate) fn length(&self, text: usize) -> usize {
        self.places.get(text).map_or(0, |place| place.length as usize)
    }

    /// Appends tokens of a text to `out`.
    pub(crate) fn copy(&self, text: usize, tokens: Range<usize>, out: &mut Vec<u32>) -> Result<(), TrainError> {
        let Some(place) = self.places.get(text) else { return Ok(()) };
        let tokens = place.start + tokens.start as u64..place.start + tokens.end as u64;
        match self.shards.get(place.shard as usize) {
            Some(shard) => shard.read(tokens, out),
            None => {
                out.extend(self.given.get(tokens.start as usize..tokens.end as usize).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// Files become tokens.
struct Making<'a> {
    writer: Writer,
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
}

impl Making<'_> {
    fn file(&mut self, path: &Path, field: &str, progress: &mut dyn FnMut(u64)) -> Result<(), TrainError> {
        let broken = |line, problem| TrainError::Data { path: path.to_owned(), line, problem };
        let Some(format) = Format::of(path).0 else {
            let mut count = 0;
            rows::pieces(path, &mut |piece| self.part(path, piece, &mut count), progress)?;
            return self.end(path, count);
        };
        let mut each = |line, row: Result<Row, DataProblem>| {
            let row = row.map_err(|problem| broken(line, problem))?;
            let text = row.get(field).and_then(Value::as_str);
            let text = text.ok_or_else(|| broken(line, DataProblem::NoField(field.to_owned())))?;
            let mut count = 0;
            self.part(path, text, &mut count)?;
            self.end(path, count)
        };
        rows::read(path, format, LONGEST_ROW, &mut each, progress)
    }

    /// Writes down a part of a text, and counts its tokens.
    fn part(&mut self, path: &Path, text: &str, count: &mut u64) -> Result<(), TrainError> {
        self.tokens.clear();
        self.tokenizer.encode_into(text, false, false, &mut self.tokens);
        *count += self.tokens.len() as u64;
        self.writer.write(&self.tokens).map_err(|source| TrainError::Io { path: path.to_owned(), source })
    }

    fn end(&mut self, path: &Path, count: u64) -> Result<(), TrainError> {
        let end = self.tokenizer.eos().filter(|_| count > 0);
        let io = |source| TrainError::Io { path: path.to_owned(), source };
        self.writer.write(end.as_slice()).map_err(io)?;
        if count > 0 {
            self.writer.end(count + end.iter().count() as u64);
        }
        Ok(())
    }
}

/// Tokens that lie on disk already, and files to read.
fn split(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), TrainError> {
    let mut files = Vec::new();
    for path in paths {
        list(path, &mut files)?;
    }
    let is_index =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "idx") && path.with_extension("bin").is_file();
    let is_shard = |path: &PathBuf| path.extension().is_some_and(|end| end == "bin") && index_of(path).is_file();
    Ok(files.into_iter().filter(|path| !is_index(path)).partition(is_shard))
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
