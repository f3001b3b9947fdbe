//! How well a model does on held-out examples: the loss, and where answers are one of a few labels, how many are right.
//!
//! Of the labels the likeliest is the model's choice: the one whose tokens have the largest probability after the prompt.
//! A prompt is passed once for each way in which answers begin, which for answers of one token is once.

use saem_kernels::ThreadPool;

use crate::TrainError;
use crate::buffers::Buffers;
use crate::dpo::Preferences;
use crate::examples::{Before, Example, Examples, add};
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
    weights: &[f32],
    examples: impl Iterator<Item = Example<'a>> + Clone,
    before: Before,
    choices: &Choices,
    (rows, buffers): (usize, &mut Buffers),
) -> Result<Measurement, TrainError> {
    let mut batches = Vec::new();
    for example in examples.clone() {
        add(&mut batches, before, std::iter::once(example), rows);
    }
    let (mut sum, mut count) = (0.0, 0);
    for batch in &batches {
        sum += decoder.loss(pool, weights, batch, buffers)?;
        count += batch.target_count();
    }
    let mut measured = Measurement { loss: sum / count.max(1) as f64, ..Measurement::default() };
    if choices.answers.is_empty() {
        return Ok(measured);
    }
    let questions = questions(&choices.answers);
    let mut asked = Asked::default();
    for example in examples.clone().filter(|example| example.label.is_some()) {
        let prompt = prompt(example);
        asked.likelihoods.push(vec![0.0; choices.answers.len()]);
        for question in &questions {
            let needed = before.rows + prompt.len() + question.beginning.len();
            if asked.batch.tokens.len() + needed > rows {
                asked.answer(decoder, pool, weights, buffers)?;
            }
            asked.push(before, prompt, question);
        }
    }
    asked.answer(decoder, pool, weights, buffers)?;
    let labels = examples.filter_map(|example| example.label);
    let pairs: Vec<(usize, usize)> = labels
        .zip(&asked.likelihoods)
        .map(|(label, likelihoods)| {
            let best = (0..likelihoods.len()).max_by(|a, b| likelihoods[*a].total_cmp(&likelihoods[*b]));
            (label as usize, best.unwrap_or(0))
        })
        .collect();
    measured.accuracy = Some(accuracy(&pairs));
    measured.macro_f1 = Some(macro_f1(&pairs));
    Ok(measured)
}

/// Measures over pairs: the mean loss, and the share in which the better answer gained on the other.
pub(crate) fn measure_pairs(
    decoder: &Decoder,
    pool: &ThreadPool,
    weights: &[f32],
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

/// Questions in the making, and their answers.
#[derive(Default)]
struct Asked {
    batch: Batch,
    /// The row and the token that is asked for, and the example and the choice that it is asked for.
    wanted: Vec<(usize, u32, usize, usize)>,
    /// For each example the logarithm of each choice's probability.
    likelihoods: Vec<Vec<f64>>,
}

impl Asked {
    /// Asks a question about the last example.
    fn push(&mut self, before: Before, prompt: &[u32], question: &Question) {
        let example = self.likelihoods.len().saturating_sub(1);
        let first = self.batch.tokens.len() + before.rows + prompt.len();
        self.batch.push_text(before, prompt.iter().chain(&question.beginning).copied());
        let rows = question.asked.iter().filter(|(at, ..)| prompt.len() + at > 0 || before.foretells());
        self.wanted.extend(rows.map(|(at, token, choice)| (first + at - 1, *token, example, *choice)));
    }

    fn answer(
        &mut self,
        decoder: &Decoder,
        pool: &ThreadPool,
        weights: &[f32],
        buffers: &mut Buffers,
    ) -> Result<(), TrainError> {
        let pairs: Vec<(usize, u32)> = self.wanted.iter().map(|(row, token, ..)| (*row, *token)).collect();
        let losses = decoder.losses(pool, weights, &self.batch, &pairs, buffers)?;
        for ((.., example, choice), loss) in self.wanted.drain(..).zip(losses) {
            self.likelihoods[example][choice] -= f64::from(loss);
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
        let ask = |answers: &[&[u32]]| {
            let answers: Vec<Vec<u32>> = answers.iter().map(|answer| answer.to_vec()).collect();
            let mut asked = Asked { likelihoods: vec![vec![]], ..Asked::default() };
            let example = Example { tokens: &[1, 2, 9, 9], learnt: &[false, false, true, true], label: Some(0) };
            for question in questions(&answers) {
                asked.push(Before { vocabulary: 50, rows: 2, ..Before::default() }, prompt(example), &question);
            }
            (asked.batch.tokens, asked.wanted)
        };
        let (tokens, wanted) = ask(&[&[7], &[8]]);
        assert_eq!(tokens, [50, 51, 1, 2]);
        assert_eq!(wanted, [(3, 7, 0, 0), (3, 8, 0, 1)]);
        let (tokens, wanted) = ask(&[&[7], &[7, 8], &[9, 8]]);
        assert_eq!(tokens, [50, 51, 1, 2, 7, 50, 51, 1, 2, 9]);
        assert_eq!(wanted, [(3, 7, 0, 1), (4, 8, 0, 1), (3, 7, 0, 0), (8, 9, 0, 2), (9, 8, 0, 2)]);
    }
}
