//! How well a model does on held-out examples: the loss, and where answers are one of a few labels, how many are right.
//!
//! Of the labels the likeliest is the model's choice: the one whose tokens have the largest probability after the prompt.
//! A prompt is passed once for each way in which answers begin; the example itself is one of these passes.

use saem_kernels::ThreadPool;

use crate::TrainError;
use crate::buffers::Buffers;
use crate::dpo::Preferences;
use crate::examples::{Before, Example, Examples, add};
use crate::master::Values;
use crate::pass::{Batch, Decoder};
use crate::prepare::Choices;

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measurement {
    /// Mean loss over the tokens that are learnt, in nats.
    pub loss: f64,
    /// Share of examples whose label is the likeliest.
    pub accuracy: Option<f64>,
    /// The mean over labels of the harmonic mean of precision and recall.
    pub macro_f1: Option<f64>,
}

/// Measures over examples; passes take up to `rows` tokens at a time.
pub(crate) fn measure<'a>(
    decoder: &Decoder,
    pool: &ThreadPool,
    weights: Values<'_>,
    examples: impl Iterator<Item = Example<'a>> + Clone,
    before: Before,
    choices: &Choices,
    (rows, buffers): (usize, &mut Buffers),
) -> Result<Measurement, TrainError> {
    if choices.answers.is_empty() {
        let mut batches = Vec::new();
        examples.for_each(|example| add(&mut batches, before, std::iter::once(example), rows));
        let (mut sum, mut count) = (0.0, 0);
        for batch in &batches {
            sum += decoder.loss(pool, weights, batch, buffers)?;
            count += batch.target_count();
        }
        return Ok(Measurement { loss: sum / count.max(1) as f64, ..Measurement::default() });
    }
    let questions = questions(&choices.answers);
    let mut asked =
        Asked { likelihoods: vec![vec![0.0; choices.answers.len()]; examples.clone().count()], ..Asked::default() };
    for (index, example) in examples.clone().enumerate() {
        for text in texts(before, example, &questions) {
            if asked.batch.rows_with(before, text.rows(before, example)) > rows {
                asked.answer(decoder, pool, weights, buffers)?;
            }
            asked.push(before, (index, example), &text);
        }
    }
    asked.answer(decoder, pool, weights, buffers)?;
    let pairs: Vec<(usize, usize)> = examples
        .zip(&asked.likelihoods)
        .filter_map(|(example, likelihoods)| {
            let best = (0..likelihoods.len()).max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b]));
            Some((example.label? as usize, best.unwrap_or(0)))
        })
        .collect();
    Ok(Measurement {
        loss: asked.loss / asked.learnt.max(1) as f64,
        accuracy: Some(accuracy(&pairs)),
        macro_f1: Some(macro_f1(&pairs)),
    })
}

/// Measures over pairs: the mean loss, and the share in which the better answer gained on the other.
pub(crate) fn measure_pairs(
    decoder: &Decoder,
    pool: &ThreadPool,
    weights: Values<'_>,
    (pairs, most): (&Examples, usize),
    beta: f64,
    (rows, buffers): (usize, &mut Buffers),
) -> Result<Measurement, TrainError> {
    let mut batches = Vec::new();
    for index in 0..pairs.len().min(most) {
        add(&mut batches, Before::default(), pairs.texts(index), rows);
    }
    let mut all = Preferences::default();
    for batch in &batches {
        let found = decoder.preferences(pool, weights, None, batch, (beta, 0.0), buffers)?;
        all.loss += found.loss;
        all.pairs += found.pairs;
        all.right += found.right;
    }
    let share = |sum: f64| sum / all.pairs.max(1) as f64;
    Ok(Measurement { loss: share(all.loss), accuracy: Some(share(all.right as f64)), macro_f1: None })
}

/// What is passed after a prompt, and what is asked of it.
#[derive(Debug, PartialEq)]
struct Question {
    /// All tokens but the last of some choice.
    beginning: Vec<u32>,
    /// The tokens of choices that begin so: after how many tokens, which one, of which choice.
    asked: Vec<(usize, u32, usize)>,
}

/// As few questions as ask for every token of every choice once.
fn questions(answers: &[Vec<u32>]) -> Vec<Question> {
    let beginning = |answer: &[u32]| answer[..answer.len().saturating_sub(1)].to_vec();
    let mut order: Vec<usize> = (0..answers.len()).collect();
    order.sort_by_key(|choice| std::cmp::Reverse(answers[*choice].len()));
    let mut questions: Vec<Question> = Vec::new();
    for choice in order {
        let (answer, begins) = (&answers[choice], beginning(&answers[choice]));
        let asked = answer.iter().enumerate().map(|(at, token)| (at, *token, choice));
        match questions.iter_mut().find(|question| question.beginning.starts_with(&begins)) {
            Some(question) => question.asked.extend(asked),
            None => questions.push(Question { beginning: begins, asked: asked.collect() }),
        }
    }
    questions
}

/// The tokens before those that are learnt.
pub(crate) fn prompt<'a>(example: Example<'a>) -> &'a [u32] {
    let end = example.learnt.iter().position(|learnt| *learnt).unwrap_or(example.tokens.len());
    &example.tokens[..end]
}

/// A text that is passed to measure an example.
#[derive(Debug)]
struct Text<'a> {
    /// Whether it is the example itself, whose loss is wanted, and not its prompt with the question's beginning.
    is_example: bool,
    /// What is asked of it besides.
    question: Option<&'a Question>,
}

impl Text<'_> {
    /// Rows that it takes.
    fn rows(&self, before: Before, example: Example<'_>) -> usize {
        match self.question.filter(|_| !self.is_example) {
            Some(question) => before.rows_of_text(prompt(example).len() + question.beginning.len()),
            None => before.rows_of(example.tokens.len()),
        }
    }
}

/// The example, which most often answers one of the questions, too, and its prompt for the others.
fn texts<'a>(before: Before, example: Example<'_>, questions: &'a [Question]) -> Vec<Text<'a>> {
    let questions = if example.label.is_some() { questions } else { &[] };
    let prompt = prompt(example);
    let rows = before.passed(example.tokens.len());
    let answers = |question: &Question| {
        example.tokens[prompt.len()..].starts_with(&question.beginning)
            && prompt.len() + question.beginning.len() <= rows
    };
    let own = questions.iter().position(answers);
    let others = questions.iter().enumerate().filter(|(index, _)| Some(*index) != own);
    std::iter::once(Text { is_example: true, question: own.map(|own| &questions[own]) })
        .chain(others.map(|(_, question)| Text { is_example: false, question: Some(question) }))
        .collect()
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    /// The loss of what it should foretell.
    Loss,
    /// How likely a token of some choice is, for some example.
    Choice(usize, usize),
}

/// Questions in the making, and their answers.
#[derive(Default)]
struct Asked {
    batch: Batch,
    /// The row and the token that is asked for, and what for.
    wanted: Vec<(usize, u32, Wish)>,
    /// For each example the logarithm of each choice's probability.
    likelihoods: Vec<Vec<f64>>,
    /// The sum of losses, and of how many tokens.
    loss: f64,
    learnt: usize,
}

impl Asked {
    fn push(&mut self, before: Before, (index, example): (usize, Example<'_>), text: &Text<'_>) {
        let prompt = prompt(example);
        let start = match text.question.filter(|_| !text.is_example) {
            Some(question) => self.batch.push_text(before, prompt.iter().chain(&question.beginning).copied()),
            None => {
                let start = self.batch.push_example(before, example);
                let targets = self.batch.targets.iter().enumerate().skip(start);
                self.wanted.extend(targets.filter_map(|(row, target)| Some((row, (*target)?, Wish::Loss))));
                start
            }
        };
        for (at, token, choice) in text.question.iter().flat_map(|question| &question.asked) {
            let row = before.foretells(start, prompt.len() + at);
            self.wanted.extend(row.map(|row| (row, *token, Wish::Choice(index, *choice))));
        }
    }

    fn answer(
        &mut self,
        decoder: &Decoder,
        pool: &ThreadPool,
        weights: Values<'_>,
        buffers: &mut Buffers,
    ) -> Result<(), TrainError> {
        let pairs: Vec<(usize, u32)> = self.wanted.iter().map(|(row, token, ..)| (*row, *token)).collect();
        let losses = decoder.losses(pool, weights, &self.batch, &pairs, buffers)?;
        for ((.., wish), loss) in self.wanted.drain(..).zip(losses) {
            match wish {
                Wish::Loss => (self.loss, self.learnt) = (self.loss + f64::from(loss), self.learnt + 1),
                Wish::Choice(example, choice) => self.likelihoods[example][choice] -= f64::from(loss),
            }
        }
        self.batch = Batch::default();
        Ok(())
    }
}

/// Of pairs of what is right and what was chosen, the share that agree.
fn accuracy(pairs: &[(usize, usize)]) -> f64 {
    pairs.iter().filter(|(right, chosen)| right == chosen).count() as f64 / pairs.len().max(1) as f64
}

/// The mean over the labels that occur.
fn macro_f1(pairs: &[(usize, usize)]) -> f64 {
    let mut labels: Vec<usize> = pairs.iter().flat_map(|(right, chosen)| [*right, *chosen]).collect();
    labels.sort_unstable();
    labels.dedup();
    let of = |label: &usize| {
        let count = |test: &dyn Fn(&(usize, usize)) -> bool| pairs.iter().filter(|pair| test(pair)).count() as f64;
        let both = count(&|(right, chosen)| right == label && chosen == label);
        2.0 * both / (count(&|(right, _)| right == label) + count(&|(_, chosen)| chosen == label))
    };
    labels.iter().map(of).sum::<f64>() / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_means_are_those_of_their_definitions() {
        // Label 0: precision 2/3, recall 1. Label 1: precision 1, recall 1/2.
        let pairs = [(0, 0), (0, 0), (1, 0), (1, 1)];
        assert_eq!(accuracy(&pairs), 0.75);
        assert!((macro_f1(&pairs) - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!((accuracy(&[]), macro_f1(&[])), (0.0, 0.0));
    }

    #[test]
    fn a_prompt_is_passed_once_for_each_way_to_begin() {
        let before = Before { vocabulary: 50, rows: 2, ..Before::default() };
        let ask = |answers: &[&[u32]], learnt: &[u32]| {
            let answers: Vec<Vec<u32>> = answers.iter().map(|answer| answer.to_vec()).collect();
            let mut asked = Asked::default();
            let tokens: Vec<u32> = [1, 2].iter().chain(learnt).copied().collect();
            let learnt: Vec<bool> = (0..tokens.len()).map(|at| at >= 2).collect();
            let example = Example { tokens: &tokens, learnt: &learnt, label: Some(0) };
            for text in texts(before, example, &questions(&answers)) {
                let rows = asked.batch.tokens.len() + text.rows(before, example);
                asked.push(before, (0, example), &text);
                assert_eq!(asked.batch.tokens.len(), rows);
            }
            (asked.batch.tokens, asked.wanted)
        };
        let choice = |row, token, choice| (row, token, Wish::Choice(0, choice));
        let loss = |row, token| (row, token, Wish::Loss);
        // The example answers the question, too.
        let (tokens, wanted) = ask(&[&[7], &[8]], &[7, 99]);
        assert_eq!(tokens, [50, 51, 1, 2, 7]);
        assert_eq!(wanted, [loss(3, 7), loss(4, 99), choice(3, 7, 0), choice(3, 8, 1)]);
        let (tokens, wanted) = ask(&[&[7], &[7, 8], &[9, 8]], &[9, 8, 99]);
        assert_eq!(tokens, [50, 51, 1, 2, 9, 8, 50, 51, 1, 2, 7]);
        assert_eq!(wanted[..3], [loss(3, 9), loss(4, 8), loss(5, 99)]);
        assert_eq!(wanted[3..5], [choice(3, 9, 2), choice(4, 8, 2)]);
        assert_eq!(wanted[5..], [choice(9, 7, 1), choice(10, 8, 1), choice(9, 7, 0)]);
        // It does not where it ends too early.
        let (tokens, wanted) = ask(&[&[7], &[7, 8]], &[7]);
        assert_eq!(tokens, [50, 51, 1, 2, 50, 51, 1, 2, 7]);
        assert_eq!(wanted, [loss(3, 7), choice(7, 7, 1), choice(8, 8, 1), choice(7, 7, 0)]);
    }
}
