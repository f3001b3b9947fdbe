//! Which experts the rows of a batch go to.

use crate::config::{Gating, Moe};

/// The way of each row of a batch: its scores, the experts chosen by them, and each expert's rows.
///
/// Rows are grouped by expert, so that each expert's weights are read once however many rows it got.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Router outputs, then scores, `[rows, experts]`.
    scores: Vec<f32>,
    /// What one row's experts are chosen by, `[experts]`.
    choice: Vec<f32>,
    /// One row's groups, `[groups]`.
    groups: Vec<f32>,
    /// Expert and weight of each choice, `[rows, used]`.
    chosen: Vec<(usize, f32)>,
    /// Where an expert's rows start in `assigned`, `[experts + 1]`.
    starts: Vec<usize>,
    /// Row and weight of each choice, by expert, `[rows * used]`.
    assigned: Vec<(usize, f32)>,
}

impl Routing {
    /// Room for so many rows.
    #[must_use]
    pub fn new(moe: &Moe, rows: usize) -> Self {
        Self {
            scores: vec![0.0; rows * moe.experts],
            choice: vec![0.0; moe.experts],
            groups: vec![0.0; moe.groups],
            chosen: vec![(0, 0.0); rows * moe.used],
            starts: vec![0; moe.experts + 1],
            assigned: vec![(0, 0.0); rows * moe.used],
        }
    }

    /// Bytes that [`Routing::new`] takes.
    #[must_use]
    pub fn byte_len(moe: &Moe, rows: usize) -> usize {
        let floats = rows * moe.experts + moe.experts + moe.groups;
        let choices = 2 * rows * moe.used;
        floats * size_of::<f32>() + choices * size_of::<(usize, f32)>() + (moe.experts + 1) * size_of::<usize>()
    }

    /// Where the router's outputs for `rows` rows belong, `[rows, experts]`. [`Routing::choose`] turns them into scores.
    pub fn scores_mut(&mut self, moe: &Moe, rows: usize) -> &mut [f32] {
        &mut self.scores[..rows * moe.experts]
    }

    /// The scores, `[rows, experts]`: probabilities, or each on its own.
    #[must_use]
    pub fn scores(&self, moe: &Moe, rows: usize) -> &[f32] {
        &self.scores[..rows * moe.experts]
    }

    /// Turns the router's outputs of `rows` rows into scores, choices and groups. `correction`, `[experts]`, is added where
    /// experts are chosen and not where they are weighted.
    pub fn choose(&mut self, moe: &Moe, correction: Option<&[f32]>, rows: usize) {
        let scores = self.scores[..rows * moe.experts].chunks_exact_mut(moe.experts);
        let chosen = &mut self.chosen[..rows * moe.used];
        for (scores, chosen) in scores.zip(chosen.chunks_exact_mut(moe.used)) {
            choose(moe, correction, scores, &mut self.choice, &mut self.groups, chosen);
        }
        group_by_expert(chosen, moe.used, &mut self.starts, &mut self.assigned);
    }

    /// Experts of a row and their weights.
    #[must_use]
    pub fn of_row(&self, moe: &Moe, row: usize) -> &[(usize, f32)] {
        &self.chosen[row * moe.used..(row + 1) * moe.used]
    }

    /// Rows of an expert and their weights for it, rows in ascending order; and where these stand among those of all experts.
    #[must_use]
    pub fn of_expert(&self, expert: usize) -> (&[(usize, f32)], std::ops::Range<usize>) {
        let range = self.starts[expert]..self.starts[expert + 1];
        (&self.assigned[range.clone()], range)
    }
}

/// Turns a row's router outputs into `moe.used` experts and their weights.
fn choose(
    moe: &Moe,
    correction: Option<&[f32]>,
    scores: &mut [f32],
    choice: &mut [f32],
    groups: &mut [f32],
    chosen: &mut [(usize, f32)],
) {
    match moe.gating {
        Gating::Softmax => softmax(scores),
        Gating::Sigmoid => scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
    }
    choice.copy_from_slice(scores);
    for (choice, correction) in choice.iter_mut().zip(correction.unwrap_or_default()) {
        *choice += correction;
    }
    // Broken weights give scores that are no numbers. Experts must still be distinct, so every score is above that of
    // an expert already taken.
    choice.iter_mut().for_each(|choice| *choice = choice.max(f32::MIN));
    if moe.groups > 1 {
        keep_best_groups(moe, choice, groups);
    }
    let mut sum = 0.0;
    for chosen in &mut *chosen {
        let best = highest(choice);
        choice[best] = f32::NEG_INFINITY;
        *chosen = (best, scores[best]);
        sum += scores[best];
    }
    let factor = if moe.normalize { moe.scale / (sum + 1e-20) } else { moe.scale };
    for (_, weight) in chosen {
        *weight *= factor;
    }
}

/// Rules out experts outside the `groups_used` groups whose two best scores have the highest sums.
fn keep_best_groups(moe: &Moe, choice: &mut [f32], groups: &mut [f32]) {
    let size = moe.experts / moe.groups;
    for (sum, group) in groups.iter_mut().zip(choice.chunks_exact(size)) {
        let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for score in group {
            if *score > first {
                (first, second) = (*score, first);
            } else if *score > second {
                second = *score;
            }
        }
        *sum = if size > 1 { (first + second).max(f32::MIN) } else { first };
    }
    for _ in 0..moe.groups_used {
        let best = highest(groups);
        // Marks the group as kept: sums of scores are finite.
        groups[best] = f32::NAN;
    }
    for (sum, group) in groups.iter().zip(choice.chunks_exact_mut(size)) {
        if !sum.is_nan() {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

/// The position of the highest value, the first of equals; NaN is never higher.
fn highest(values: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, value) in values.iter().enumerate() {
        if *value > best.1 {
            best = (index, *value);
        }
    }
    best.0
}

fn softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - max).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

/// Sorts choices by expert, rows of one expert in ascending order.
fn group_by_expert(chosen: &[(usize, f32)], used: usize, starts: &mut [usize], assigned: &mut [(usize, f32)]) {
    starts.fill(0);
    for (expert, _) in chosen {
        starts[expert + 1] += 1;
    }
    for expert in 1..starts.len() {
        starts[expert] += starts[expert - 1];
    }
    // `starts[expert]` serves as the place of the expert's next row, and ends as the start of the next expert's.
    for (index, (expert, weight)) in chosen.iter().enumerate() {
        assigned[starts[*expert]] = (index / used, *weight);
        starts[*expert] += 1;
    }
    starts.rotate_right(1);
    starts[0] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moe() -> Moe {
        Moe {
            experts: 6,
            used: 2,
            intermediate: 4,
            shared_intermediate: 0,
            gating: Gating::Sigmoid,
            normalize: true,
            scale: 2.5,
            groups: 3,
            groups_used: 1,
            correction_bias: true,
        }
    }

    fn chosen(moe: &Moe, correction: Option<&[f32]>, mut outputs: Vec<f32>) -> Vec<(usize, f32)> {
        let mut chosen = vec![(0, 0.0); moe.used];
        let (mut choice, mut groups) = (vec![0.0; moe.experts], vec![0.0; moe.groups]);
        choose(moe, correction, &mut outputs, &mut choice, &mut groups, &mut chosen);
        chosen
    }

    #[test]
    fn the_correction_chooses_but_does_not_weigh() {
        let moe = Moe { groups: 1, ..moe() };
        let correction = [0.0, 0.0, 0.0, 0.0, 0.0, 9.0];
        let found = chosen(&moe, Some(&correction), vec![0.0, 3.0, 1.0, 0.0, 0.0, -1.0]);
        assert_eq!((found[0].0, found[1].0), (5, 1));
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let sum = sigmoid(-1.0) + sigmoid(3.0);
        assert!((found[0].1 - 2.5 * sigmoid(-1.0) / sum).abs() < 1e-6);
        assert!((found[1].1 - 2.5 * sigmoid(3.0) / sum).abs() < 1e-6);
    }

    #[test]
    fn a_group_is_chosen_by_its_two_best() {
        // The best expert is alone in its group; the second group has the highest pair.
        let found = chosen(&moe(), None, vec![4.0, -9.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!((found[0].0, found[1].0), (2, 3));
    }

    #[test]
    fn rows_are_grouped_in_order() {
        let chosen = [(2, 0.1), (0, 0.2), (2, 0.3), (1, 0.4)];
        let (mut starts, mut assigned) = (vec![7; 5], vec![(9, 9.0); 4]);
        group_by_expert(&chosen, 2, &mut starts, &mut assigned);
        assert_eq!(starts, [0, 1, 2, 4, 4]);
        assert_eq!(assigned, [(0, 0.2), (1, 0.4), (0, 0.1), (1, 0.3)]);
    }

    #[test]
    fn a_router_gone_wrong_still_chooses_distinct_experts() {
        for moe in [Moe { gating: Gating::Softmax, groups: 1, ..moe() }, Moe { groups_used: 2, used: 4, ..moe() }] {
            for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut found: Vec<_> = chosen(&moe, None, vec![score; 6]).iter().map(|(expert, _)| *expert).collect();
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), moe.used, "{score}");
            }
        }
    }
}
