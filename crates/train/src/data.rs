//! Texts as sequences of tokens, in an order that a seed decides.
//!
//! Texts are put one after the other, in a new order in every epoch, and cut into sequences of one length: nothing is
//! padded. Texts in a sequence do not see each other. Which sequences a step takes follows from the seed and the step's
//! number alone, so a run that was interrupted goes on exactly where it was.

use crate::TrainError;
use crate::pass::Batch;
use crate::random::Random;
use crate::texts::Texts;

/// What the order of texts and of sequences is drawn for.
const TEXTS: u64 = 1;
const SEQUENCES: u64 = 2;

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

    /// Bytes of memory for the order of so many texts in an epoch.
    pub(crate) fn order_bytes(texts: usize) -> u64 {
        (texts * (size_of::<u32>() + size_of::<usize>())) as u64
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
    ///
    /// # Errors
    /// [`TrainError::Io`] where the texts lie on a disk that cannot be read.
    pub fn batch(&mut self, first: u64, count: usize) -> Result<Batch, TrainError> {
        let mut batch = Batch::default();
        for number in first..first + count as u64 {
            let per_epoch = self.per_epoch() as u64;
            self.turn_to(number / per_epoch);
            if let Some(epoch) = &self.epoch {
                let index = epoch.sequences[(number % per_epoch) as usize] as usize;
                self.add(epoch, index * self.length, &mut batch)?;
            }
        }
        Ok(batch)
    }

    /// Adds the tokens from `start` on.
    fn add(&self, epoch: &Epoch, start: usize, batch: &mut Batch) -> Result<(), TrainError> {
        let end = start + self.length;
        let mut number = epoch.starts.partition_point(|begin| *begin <= start) - 1;
        let mut at = start;
        while at < end {
            let index = epoch.texts[number] as usize;
            let (length, within) = (self.texts.length(index), at - epoch.starts[number]);
            let take = (length - within).min(end - at);
            let first = batch.tokens.len();
            // What follows the last token is known even where the sequence ends before it.
            self.texts.copy(index, within..(within + take + 1).min(length), &mut batch.tokens)?;
            batch.targets.extend((first + 1..first + take + 1).map(|next| batch.tokens.get(next).copied()));
            batch.tokens.truncate(first + take);
            batch.documents.push(first..first + take);
            at += take;
            number += 1;
        }
        Ok(())
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
                begin += self.texts.length(*text as usize);
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
            let batch = sequences.batch(epoch * 10, 10).unwrap();
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
        let batches: Vec<Batch> = (0..20).map(|step| all.batch(step * 3, 3).unwrap()).collect();
        for step in (12..20).rev() {
            assert_eq!(resumed.batch(step * 3, 3).unwrap(), batches[step as usize]);
        }
        assert_ne!(Sequences::new(texts(), 7, 6).unwrap().batch(0, 3).unwrap(), batches[0]);
    }

    #[test]
    fn a_share_can_be_held_out() {
        let (mut kept, mut again) = (texts(), texts());
        let away = kept.split_off(0.3, 1);
        assert_eq!((away.len(), kept.len()), (2, 5));
        assert_eq!(away.token_count() + kept.token_count(), 100);
        let (other, mut tokens) = (again.split_off(0.3, 1), [Vec::new(), Vec::new()]);
        for index in 0..2 {
            away.copy(index, 0..away.length(index), &mut tokens[0]).unwrap();
            other.copy(index, 0..other.length(index), &mut tokens[1]).unwrap();
        }
        assert_eq!(tokens[0], tokens[1]);
    }

    #[test]
    fn too_little_text_is_an_error() {
        assert!(matches!(Sequences::new(texts(), 101, 0), Err(TrainError::TooLittleData { tokens: 100, .. })));
    }
}
