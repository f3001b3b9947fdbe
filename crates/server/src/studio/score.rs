//! How often labels are right: accuracy, F1 and who is taken for whom.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

/// Labels beyond which a column of texts is no column of labels.
const MOST_LABELS: usize = 200;

/// How often labels are right.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = StudioScore)]
pub(crate) struct Score {
    /// Rows that have an answer and a label.
    scored: i64,
    /// The part of them whose answer is the label.
    accuracy: f64,
    /// The mean of F1 over the labels that occur, as label or as answer.
    macro_f1: f64,
    labels: Vec<String>,
    /// How often a label (outer) was answered by each label (inner).
    confusion: Vec<Vec<i64>>,
    /// How often a label was answered by something that is no label.
    other: Vec<i64>,
    per_label: Vec<LabelScore>,
}

/// How well one label is found. Where nothing can be divided, 0.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = StudioLabelScore)]
pub(crate) struct LabelScore {
    label: String,
    /// Of the rows answered so, the part that is.
    precision: f64,
    /// Of the rows that are so, the part answered so.
    recall: f64,
    /// The harmonic mean of both.
    f1: f64,
    /// Rows that are so.
    support: i64,
}

impl Score {
    /// From counts of pairs of label and answer. The labels are the choices, or where there are none all that occur;
    /// rows whose label is no choice are not counted. `None` where there is nothing to count, or too many labels.
    pub(crate) fn of(pairs: &[(String, String, i64)], choices: &[String]) -> Option<Self> {
        let labels: Vec<String> = if choices.is_empty() {
            pairs.iter().map(|(gold, ..)| gold.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        } else {
            choices.to_vec()
        };
        if labels.len() > MOST_LABELS {
            return None;
        }
        let place = |label: &String| labels.iter().position(|known| known == label);
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        let mut other = vec![0; labels.len()];
        for (gold, answer, count) in pairs {
            let Some(gold) = place(gold) else { continue };
            let cell = match place(answer) {
                Some(answer) => confusion.get_mut(gold).and_then(|row: &mut Vec<i64>| row.get_mut(answer)),
                None => other.get_mut(gold),
            };
            if let Some(cell) = cell {
                *cell += count;
            }
        }
        let at = |gold: usize, answer: usize| -> i64 {
            confusion.get(gold).and_then(|row| row.get(answer)).copied().unwrap_or(0)
        };
        let ratio = |part: i64, whole: i64| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
        let mut per_label = Vec::with_capacity(labels.len());
        let (mut scored, mut right, mut sum, mut occurring) = (0, 0, 0.0, 0);
        for (index, label) in labels.iter().enumerate() {
            let hits = at(index, index);
            let support =
                (0..labels.len()).map(|answer| at(index, answer)).sum::<i64>() + other.get(index).copied().unwrap_or(0);
            let answered: i64 = (0..labels.len()).map(|gold| at(gold, index)).sum();
            // 2PR / (P + R), without the divisions between.
            let f1 = ratio(2 * hits, support + answered);
            scored += support;
            right += hits;
            if support + answered > 0 {
                (sum, occurring) = (sum + f1, occurring + 1);
            }
            let (precision, recall) = (ratio(hits, answered), ratio(hits, support));
            per_label.push(LabelScore { label: label.clone(), precision, recall, f1, support });
        }
        if scored == 0 {
            return None;
        }
        let macro_f1 = sum / f64::from(occurring.max(1));
        Some(Self { scored, accuracy: ratio(right, scored), macro_f1, labels, confusion, other, per_label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_textbook() {
        let pair = |gold: &str, answer: &str, count| (gold.to_owned(), answer.to_owned(), count);
        let pairs = [pair("a", "a", 5), pair("a", "b", 1), pair("b", "a", 2), pair("b", "b", 3), pair("b", "?", 1)];
        let score = Score::of(&pairs, &[]).unwrap();
        assert_eq!((score.scored, &score.labels), (12, &vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((&score.confusion, &score.other), (&vec![vec![5, 1], vec![2, 3]], &vec![0, 1]));
        // F1 by hand: 2 x 5 / (6 + 7) and 2 x 3 / (6 + 4).
        let close = |a: f64, b: f64| (a - b).abs() < 1e-8;
        assert!(close(score.accuracy, 8.0 / 12.0) && close(score.macro_f1, (10.0 / 13.0 + 0.6) / 2.0), "{score:?}");
        assert!(close(score.per_label[0].precision, 5.0 / 7.0) && close(score.per_label[1].recall, 0.5));
    }

    #[test]
    fn choices_are_the_labels_and_what_never_occurs_does_not_count() {
        let pairs = [("a".to_owned(), "a".to_owned(), 1), ("x".to_owned(), "a".to_owned(), 9)];
        let choices = ["a".to_owned(), "b".to_owned()];
        let score = Score::of(&pairs, &choices).unwrap();
        assert_eq!((score.scored, score.accuracy, score.macro_f1), (1, 1.0, 1.0));
        assert_eq!(Score::of(&[], &choices), None);
        let many: Vec<_> = (0..201).map(|i| (i.to_string(), String::new(), 1)).collect();
        assert_eq!(Score::of(&many, &[]), None);
    }
}
