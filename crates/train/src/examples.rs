//! Examples: texts of which some tokens are to be learnt, packed without padding, in an order that a seed decides.
//!
//! An example is a text with a mark on each token: learn to foretell it or not. Of a prompt and its answer only the answer
//! is marked, of a conversation what the assistant says, of a plain text everything. Where answers are one of a few
//! labels, an example knows its label, and can be asked how likely each of them is.
//!
//! Which examples a step takes follows from the seed and the step's number alone, as it does for
//! [`Sequences`](crate::Sequences).

use sha2::{Digest as _, Sha256};

use crate::pass::Batch;
use crate::random::Random;

/// What the order of examples is drawn for.
const EXAMPLES: u64 = 4;

/// Many examples.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    tokens: Vec<u32>,
    learnt: Vec<bool>,
    /// Where each ends.
    ends: Vec<usize>,
    /// For each the number of its answer among the choices, where answers are one of a few.
    labels: Vec<Option<u32>>,
    /// Whether each two are one: the better answer to a prompt and the other.
    pub(crate) are_pairs: bool,
}

/// One example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Example<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) learnt: &'a [bool],
    pub(crate) label: Option<u32>,
}

impl Examples {
    /// Adds an example: parts of text, each with a mark.
    pub(crate) fn push<'a>(&mut self, parts: impl IntoIterator<Item = (&'a [u32], bool)>, label: Option<u32>) {
        for (tokens, learnt) in parts {
            self.tokens.extend(tokens);
            self.learnt.resize(self.tokens.len(), learnt);
        }
        self.ends.push(self.tokens.len());
        self.labels.push(label);
    }

    /// Adds everything to a hash that tells whether these are the examples that a run began with.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash.update((self.len() as u64).to_le_bytes());
        self.tokens.iter().for_each(|token| hash.update(token.to_le_bytes()));
        self.learnt.iter().for_each(|learnt| hash.update([u8::from(*learnt)]));
        self.ends.iter().for_each(|end| hash.update((*end as u64).to_le_bytes()));
        self.labels.iter().for_each(|label| hash.update(label.map_or(u64::MAX, u64::from).to_le_bytes()));
    }

    /// How many there are; of pairs, how many pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len() / self.texts_of_one()
    }

    fn texts_of_one(&self) -> usize {
        if self.are_pairs { 2 } else { 1 }
    }

    /// The texts of an example.
    pub(crate) fn texts(&self, index: usize) -> impl Iterator<Item = Example<'_>> + Clone {
        let count = self.texts_of_one();
        (index * count..(index + 1) * count).map(|text| self.get(text))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Tokens of all of them.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens that are learnt.
    #[must_use]
    pub fn learnt_count(&self) -> usize {
        self.learnt.iter().filter(|learnt| **learnt).count()
    }

    fn get(&self, index: usize) -> Example<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let range = start..self.ends[index];
        Example { tokens: &self.tokens[range.clone()], learnt: &self.learnt[range], label: self.labels[index] }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Example<'_>> {
        (0..self.ends.len()).map(|text| self.get(text))
    }

    /// Takes about this share of them away, the same ones for the same seed.
    pub(crate) fn split_off(&mut self, share: f64, seed: u64) -> Self {
        let count = (self.len() as f64 * share).round() as usize;
        let mut away = vec![false; self.len()];
        for index in Random::new(seed, EXAMPLES).order(self.len()).into_iter().take(count) {
            away[index as usize] = true;
        }
        let (held_out, kept) = (self.only(|index| away[index]), self.only(|index| !away[index]));
        *self = kept;
        held_out
    }

    /// Keeps at most `most`, drawn by the seed; with `balance`, as many of each label.
    pub(crate) fn limit(&mut self, most: Option<usize>, balance: bool, seed: u64) {
        let labels = self.labels.iter().flatten().max().map_or(1, |most| *most as usize + 1);
        let place = |label: Option<u32>| label.unwrap_or(0) as usize;
        let mut room = vec![usize::MAX; labels];
        if balance {
            let mut counts = vec![0; labels];
            self.labels.iter().for_each(|label| counts[place(*label)] += 1);
            let least = counts.iter().copied().filter(|count| *count > 0).min().unwrap_or(0);
            room.fill(most.map_or(least, |most| least.min(most.div_ceil(labels))));
        }
        let mut left = most.unwrap_or(usize::MAX);
        let mut kept = vec![false; self.len()];
        for index in Random::new(seed, EXAMPLES).order(self.len()) {
            let label = self.texts(index as usize).find_map(|example| example.label);
            let room = &mut room[place(label)];
            if *room > 0 && left > 0 {
                (*room, left) = (*room - 1, left - 1);
                kept[index as usize] = true;
            }
        }
        *self = self.only(|index| kept[index]);
    }

    fn only(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let mut some = Self { are_pairs: self.are_pairs, ..Self::default() };
        let texts = (0..self.len()).filter(|index| wanted(*index)).flat_map(|index| self.texts(index));
        for Example { tokens, learnt, label } in texts {
            some.tokens.extend(tokens);
            some.learnt.extend(learnt);
            some.ends.push(some.tokens.len());
            some.labels.push(label);
        }
        some
    }

    /// Examples by length: tokens of the shortest, the median, the one that 95 % do not exceed, and the longest.
    #[must_use]
    pub fn lengths(&self) -> [usize; 4] {
        let length = |index| self.texts(index).map(|text| text.tokens.len()).sum();
        let mut lengths: Vec<usize> = (0..self.len()).map(length).collect();
        lengths.sort_unstable();
        let at =
            |share: f64| lengths.get(((lengths.len() as f64 * share) as usize).min(lengths.len().saturating_sub(1)));
        [0.0, 0.5, 0.95, 1.0].map(|share| at(share).copied().unwrap_or(0))
    }
}

/// The rows of a soft prompt or a prefix, which stand before every text as tokens beyond the vocabulary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    pub(crate) vocabulary: usize,
    pub(crate) rows: usize,
    /// They are keys and values alone: nothing can be foretold from them.
    pub(crate) is_prefix: bool,
    /// Texts are not learnt but told apart: the last token's row is to give the label.
    pub(crate) is_classifier: bool,
    /// So many tokens are the same in all texts. These and the rows are passed once for a batch, as a text of their own that
    /// stands before the others; or nothing is.
    pub(crate) common: Option<usize>,
}

/// Rows that are worth a text of their own.
const WORTH_SHARING: usize = 16;

impl Before {
    /// Has passed once what all these texts begin with, if that is worth it.
    pub(crate) fn sharing<'a>(self, texts: impl Iterator<Item = Example<'a>>) -> Self {
        let mut common: Option<&[u32]> = None;
        for Example { tokens, learnt, .. } in texts {
            // What foretells a token that is learnt is in the text's own rows.
            let learnt = learnt.iter().position(|learnt| *learnt).unwrap_or(tokens.len());
            let Some(most) = learnt.checked_sub(1) else { return Self { common: None, ..self } };
            let same = common.map_or(most, |common| common.iter().zip(tokens).take_while(|(a, b)| a == b).count());
            common = Some(&tokens[..same.min(most)]);
        }
        let common = common.map(<[u32]>::len).filter(|common| self.rows + common >= WORTH_SHARING);
        Self { common, ..self }
    }

    /// Rows that are passed once for a batch.
    pub(crate) fn shared_rows(self) -> usize {
        self.common.map_or(0, |common| self.rows + common)
    }

    /// Rows that a text of so many tokens takes besides.
    pub(crate) fn rows_of_text(self, tokens: usize) -> usize {
        match self.common {
            Some(common) => tokens.saturating_sub(common),
            None => self.rows + tokens,
        }
    }

    /// Of so many tokens of an example, those that are passed: the last one is foretold and needs no row, but where labels
    /// are told apart.
    pub(crate) fn passed(self, tokens: usize) -> usize {
        if self.is_classifier { tokens } else { tokens.saturating_sub(1) }
    }

    /// Rows that an example of so many tokens takes besides.
    pub(crate) fn rows_of(self, tokens: usize) -> usize {
        self.rows_of_text(self.passed(tokens))
    }

    /// The row that foretells a token of a text whose own rows begin at `start`, if one does.
    pub(crate) fn foretells(self, start: usize, index: usize) -> Option<usize> {
        match self.common {
            Some(common) => index.checked_sub(common + 1).map(|own| start + own),
            // Without soft rows, nothing foretells the first token; a prefix has no logits.
            None if index == 0 && (self.rows == 0 || self.is_prefix) => None,
            None => (start + self.rows + index).checked_sub(1),
        }
    }
}

impl Batch {
    /// Rows that there are with so many more of a text.
    pub(crate) fn rows_with(&self, before: Before, more: usize) -> usize {
        self.tokens.len() + more + if self.documents.is_empty() { before.shared_rows() } else { 0 }
    }

    /// Adds a text after the soft rows, without targets; gives where its own rows begin.
    pub(crate) fn push_text(&mut self, before: Before, text: impl IntoIterator<Item = u32>) -> usize {
        let soft_rows = |Before { vocabulary, rows, .. }| (vocabulary..vocabulary + rows).map(|row| row as u32);
        let mut text = text.into_iter();
        match before.common {
            Some(common) if self.documents.is_empty() => {
                self.tokens.extend(soft_rows(before).chain(text.by_ref().take(common)));
                self.documents.push(0..self.tokens.len());
                self.first_is_shared = true;
            }
            Some(common) => text.by_ref().take(common).for_each(drop),
            None => {}
        }
        let start = self.tokens.len();
        if before.common.is_none() {
            self.tokens.extend(soft_rows(before));
        }
        self.tokens.extend(text);
        self.targets.resize(self.tokens.len(), None);
        if self.tokens.len() > start {
            self.documents.push(start..self.tokens.len());
        }
        start
    }

    /// Adds an example; gives where its own rows begin. Its last token is foretold and needs no row of its own.
    pub(crate) fn push_example(&mut self, before: Before, example: Example<'_>) -> usize {
        if before.is_classifier {
            let start = self.push_text(before, example.tokens.iter().copied());
            if let (Some(target), false) = (self.targets.last_mut(), example.tokens.is_empty()) {
                *target = example.label;
            }
            return start;
        }
        let Some((_, text)) = example.tokens.split_last() else { return self.tokens.len() };
        let start = self.push_text(before, text.iter().copied());
        for (index, (token, learnt)) in example.tokens.iter().zip(example.learnt).enumerate() {
            let row = before.foretells(start, index).filter(|_| *learnt);
            if let Some(target) = row.and_then(|row| self.targets.get_mut(row)) {
                *target = Some(*token);
            }
        }
        start
    }
}

/// Examples in the order in which steps take them.
#[derive(Debug)]
pub(crate) struct Lessons {
    examples: Examples,
    before: Before,
    seed: u64,
    epoch: Option<(u64, Vec<u32>)>,
}

impl Lessons {
    pub(crate) fn new(examples: Examples, before: Before, seed: u64) -> Self {
        Self { examples, before, seed, epoch: None }
    }

    pub(crate) fn examples(&self) -> &Examples {
        &self.examples
    }

    pub(crate) fn before(&self) -> Before {
        self.before
    }

    /// Examples `first..first + count` of the run, epoch after epoch, in as few batches of at most `rows` tokens as come
    /// of putting one after the other.
    pub(crate) fn batches(&mut self, first: u64, count: usize, rows: usize) -> Vec<Batch> {
        let mut batches = vec![Batch::default()];
        let per_epoch = self.examples.len() as u64;
        for number in first..first + count as u64 {
            let epoch = number / per_epoch;
            if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
                let order = Random::new(self.seed ^ epoch.rotate_left(32), EXAMPLES).order(self.examples.len());
                self.epoch = Some((epoch, order));
            }
            let Some((_, order)) = &self.epoch else { continue };
            let index = order[(number % per_epoch) as usize] as usize;
            add(&mut batches, self.before, self.examples.texts(index), rows);
        }
        batches
    }
}

/// Adds the texts of an example to the last batch, or to a new one where it is full.
pub(crate) fn add<'a>(
    batches: &mut Vec<Batch>,
    before: Before,
    texts: impl Iterator<Item = Example<'a>> + Clone,
    rows: usize,
) {
    let needed: usize = texts.clone().map(|text| before.rows_of(text.tokens.len())).sum();
    if batches.last().is_none_or(|batch| batch.rows_with(before, needed) > rows) {
        batches.push(Batch::default());
    }
    if let Some(batch) = batches.last_mut() {
        texts.for_each(|text| {
            batch.push_example(before, text);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Examples {
        let mut examples = Examples::default();
        for (index, length) in [3_u32, 1, 4, 2, 5, 3].into_iter().enumerate() {
            let prompt: Vec<u32> = (0..length).map(|at| index as u32 * 10 + at).collect();
            examples.push([(&prompt[..], false), (&[90 + index as u32 % 2, 99], true)], Some(index as u32 % 2));
        }
        examples
    }

    #[test]
    fn answers_alone_are_learnt_and_nothing_is_padded() {
        let mut lessons = Lessons::new(examples(), Before::default(), 3);
        let batches = lessons.batches(0, 6, 12);
        assert!(batches.len() > 1 && batches.iter().all(|batch| batch.tokens.len() <= 12));
        assert_eq!(batches.iter().map(|batch| batch.documents.len()).sum::<usize>(), 6);
        for batch in &batches {
            for document in &batch.documents {
                let len = document.len();
                let targets = &batch.targets[document.clone()];
                assert!(targets[..len - 2].iter().all(Option::is_none));
                assert_eq!(targets[len - 2], Some(batch.tokens[document.end - 1]));
                assert_eq!(targets[len - 1], Some(99));
            }
        }
        let mut again = Lessons::new(examples(), Before::default(), 3);
        let later = again.batches(4, 2, 100);
        let whole = Lessons::new(examples(), Before::default(), 3).batches(0, 6, 100);
        assert_eq!(later[0].tokens, whole[0].tokens[whole[0].documents[4].start..]);
    }

    #[test]
    fn soft_rows_stand_before_every_text_and_foretell_its_first_token() {
        let mut batch = Batch::default();
        let before = Before { vocabulary: 100, rows: 2, ..Before::default() };
        let example = Example { tokens: &[5, 6, 7], learnt: &[true, false, true], label: None };
        batch.push_example(before, example);
        assert_eq!(batch.tokens, [100, 101, 5, 6]);
        assert_eq!(batch.targets, [None, Some(5), None, Some(7)]);
        assert_eq!(batch.documents, std::slice::from_ref(&(0..4)));
        // A prefix has no logits.
        batch.push_example(Before { is_prefix: true, ..before }, example);
        assert_eq!(batch.targets[4..], [None, None, None, Some(7)]);
        // Labels are told by the last row, whose token is not foretold.
        let mut batch = Batch::default();
        let example = Example { label: Some(1), ..example };
        batch.push_example(Before { is_classifier: true, ..Before::default() }, example);
        assert_eq!((&batch.tokens[..], &batch.targets[..]), (&[5, 6, 7][..], &[None, None, Some(1)][..]));
    }

    #[test]
    fn what_all_texts_begin_with_stands_once_in_a_batch() {
        let prompt = |own: &[u32]| [&(0..15).collect::<Vec<u32>>()[..], own].concat();
        let mut alike = Examples::default();
        for (own, answer) in [(&[40, 41][..], 90), (&[40, 42], 91), (&[40], 90)] {
            alike.push([(&prompt(own)[..], false), (&[answer, 99], true)], None);
        }
        let before = Before { vocabulary: 100, rows: 2, ..Before::default() }.sharing(alike.iter());
        // The last token of the shortest prompt foretells its answer, and is not shared.
        assert_eq!((before.common, before.shared_rows()), (Some(15), 17));
        let mut batches = Vec::new();
        for index in 0..3 {
            add(&mut batches, before, alike.texts(index), 22);
        }
        let [first, second] = &batches[..] else { panic!("two batches: {batches:?}") };
        assert_eq!(first.tokens, [&[100, 101][..], &prompt(&[40, 41, 90])].concat());
        assert_eq!((&first.documents[..], first.first_is_shared), (&[0..17, 17..20][..], true));
        assert_eq!(first.targets[17..], [None, Some(90), Some(99)]);
        assert_eq!(second.tokens[17..], [40, 42, 91, 40, 90]);
        assert_eq!(second.documents, [0..17, 17..20, 20..22]);
        assert_eq!(second.targets[17..], [None, Some(91), Some(99), Some(90), Some(99)]);
        // Little is not worth it, and what nothing foretells is not shared.
        assert_eq!(Before { rows: 15, ..Before::default() }.sharing(examples().iter()).common, None);
        let mut learnt = Examples::default();
        learnt.push([(&prompt(&[])[..], true)], None);
        assert_eq!(before.sharing(learnt.iter()).common, None);
    }

    #[test]
    fn limits_balance_labels_and_shares_are_drawn_once() {
        let mut few = examples();
        few.limit(Some(3), true, 1);
        assert!(few.len() <= 3 && few.labels.iter().flatten().any(|label| *label == 0));
        let mut kept = examples();
        let away = kept.split_off(0.5, 7);
        assert_eq!((away.len(), kept.len()), (3, 3));
        assert_eq!(examples().split_off(0.5, 7).tokens, away.tokens);
        assert_eq!(examples().lengths(), [3, 5, 7, 7]);
    }
}
