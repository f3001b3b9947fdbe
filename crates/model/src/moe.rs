//! Mixture-of-experts feed-forward layers: which experts a token goes to, and the products of each expert's tokens.
//!
//! Rows are grouped by expert, so that each expert's weights are read once however many tokens it got. A token's
//! contributions are added in the order of expert numbers, whatever else is in the batch, so its sum is always the
//! same.

use saem_kernels::ops::Activation;
use saem_kernels::{Input, ThreadPool, matmul, matmul_gated};

use crate::config::{Gating, Moe};
use crate::weights::Sparse;

/// Buffers of the sparse layers.
#[derive(Debug)]
pub(crate) struct MoeWorkspace {
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
    /// One expert's input rows, `[rows, hidden]`.
    gathered: Vec<f32>,
    /// One expert's output rows, `[rows, hidden]`.
    output: Vec<f32>,
}

impl MoeWorkspace {
    pub(crate) fn new(moe: &Moe, rows: usize, hidden: usize) -> Self {
        Self {
            scores: vec![0.0; rows * moe.experts],
            choice: vec![0.0; moe.experts],
            groups: vec![0.0; moe.groups],
            chosen: vec![(0, 0.0); rows * moe.used],
            starts: vec![0; moe.experts + 1],
            assigned: vec![(0, 0.0); rows * moe.used],
            gathered: vec![0.0; rows * hidden],
            output: vec![0.0; rows * hidden],
        }
    }

    pub(crate) fn byte_len(moe: &Moe, rows: usize, hidden: usize) -> usize {
        let floats = rows * moe.experts + moe.experts + moe.groups + 2 * rows * hidden;
        let choices = 2 * rows * moe.used;
        floats * size_of::<f32>() + choices * size_of::<(usize, f32)>() + (moe.experts + 1) * size_of::<usize>()
    }
}

impl MoeWorkspace {
    /// A free buffer of `len` values for the shared expert's output.
    pub(crate) fn shared_output(&mut self, len: usize) -> &mut [f32] {
        &mut self.output[..len]
    }
}

/// `output = sum of the chosen experts' outputs, weighted`, for `rows` rows of `x` (`[rows, hidden]`). The shared
/// expert is the caller's. `inner` holds an expert's inside.
pub(crate) fn sparse_feed_forward(
    pool: &ThreadPool,
    moe: &Moe,
    activation: Activation,
    weights: &Sparse,
    x: &[f32],
    output: &mut [f32],
    workspace: &mut MoeWorkspace,
    input: &mut Input,
    inner: &mut [f32],
) {
    let hidden = weights.router.columns();
    let rows = x.len() / hidden;
    input.set(pool, x, hidden, &[&weights.router]);
    let scores = &mut workspace.scores[..rows * moe.experts];
    matmul(pool, input, &mut [(&weights.router, &mut *scores)]);

    let chosen = &mut workspace.chosen[..rows * moe.used];
    for (scores, chosen) in scores.chunks_exact_mut(moe.experts).zip(chosen.chunks_exact_mut(moe.used)) {
        choose(moe, weights.correction.as_deref(), scores, &mut workspace.choice, &mut workspace.groups, chosen);
    }
    group_by_expert(chosen, moe.used, &mut workspace.starts, &mut workspace.assigned);

    output.fill(0.0);
    for (expert, range) in weights.experts.iter().zip(workspace.starts.windows(2)) {
        let assigned = &workspace.assigned[range[0]..range[1]];
        let rows = assigned.len();
        if rows == 0 {
            continue;
        }
        let gathered = if let [(row, _)] = assigned {
            &x[row * hidden..][..hidden]
        } else {
            for ((row, _), gathered) in assigned.iter().zip(workspace.gathered.chunks_exact_mut(hidden)) {
                gathered.copy_from_slice(&x[row * hidden..][..hidden]);
            }
            &workspace.gathered[..rows * hidden]
        };
        input.set(pool, gathered, hidden, &[&expert.gate, &expert.up]);
        let inner = &mut inner[..rows * moe.intermediate];
        matmul_gated(pool, input, &expert.gate, &expert.up, activation, inner);
        input.set(pool, inner, moe.intermediate, &[&expert.down]);
        let products = &mut workspace.output[..rows * hidden];
        matmul(pool, input, &mut [(&expert.down, &mut *products)]);
        for ((row, weight), product) in assigned.iter().zip(products.chunks_exact(hidden)) {
            for (sum, value) in output[row * hidden..][..hidden].iter_mut().zip(product) {
                *sum += weight * value;
            }
        }
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
