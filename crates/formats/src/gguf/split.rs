//! Models that are split over several files: `name-00001-of-00003.gguf` and so on.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use super::problem::{Fault, Problem};

/// Number of a part, from 0.
pub(super) const NUMBER_KEY: &str = "split.no";
/// Number of parts.
pub(super) const COUNT_KEY: &str = "split.count";
/// Tensors in all parts together.
pub(super) const TENSORS_KEY: &str = "split.tensors.count";
/// The largest number of parts, which have five digits in the file names and 16 bits in the metadata.
const MOST_PARTS: u64 = 65_535;

/// What a part of a split model says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Number of this part, from 0.
    pub(super) number: u64,
    /// Number of parts: at least 2.
    pub(super) count: u64,
    /// Tensors in all parts together, where the file says so.
    pub(super) tensors: Option<u64>,
}

impl Split {
    /// What `metadata` says about a split, or `None` where the model is one file.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>, Fault> {
        let Some(count) = metadata.u64(COUNT_KEY).filter(|count| *count > 1) else {
            return Ok(None);
        };
        let mismatch = |key, found: String, expected| Fault::new(0, Problem::SplitMismatch { key, found, expected });
        if count > MOST_PARTS {
            return Err(mismatch(COUNT_KEY, count.to_string(), MOST_PARTS));
        }
        match metadata.u64(NUMBER_KEY) {
            Some(number) if number < count => Ok(Some(Self { number, count, tensors: metadata.u64(TENSORS_KEY) })),
            Some(number) => Err(mismatch(NUMBER_KEY, number.to_string(), count - 1)),
            None => Err(mismatch(NUMBER_KEY, "missing".to_owned(), 0)),
        }
    }

    /// The path of part `number`, derived from the path of this part.
    pub(super) fn path_of(self, this: &Path, number: u64) -> Result<PathBuf, Fault> {
        let ending = part_ending(self.number, self.count);
        let stem = this.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(&ending));
        match stem {
            Some(stem) => Ok(this.with_file_name(format!("{stem}{}", part_ending(number, self.count)))),
            None => {
                Err(Fault::new(0, Problem::SplitName { number: self.number + 1, count: self.count, expected: ending }))
            }
        }
    }
}

fn part_ending(number: u64, count: u64) -> String {
    format!("-{:05}-of-{count:05}.gguf", number + 1)
}

/// The file name of part `number` (from 0) of `count`: `part_name("model", 0, 3)` is `model-00001-of-00003.gguf`.
#[must_use]
pub fn part_name(stem: &str, number: usize, count: usize) -> String {
    format!("{stem}{}", part_ending(number as u64, count as u64))
}

/// Takes the name of a part of a split model apart: stem, number from 0, and count.
#[must_use]
pub fn parse_part_name(file_name: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = file_name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| -> Option<usize> {
        (text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (number, count) = (digits(number)?, digits(count)?);
    (1..=count).contains(&number).then(|| (stem, number - 1, count))
}
