//! Feed-forward layers with experts, forward and backward.
//!
//! An expert's rows are gathered, and then it is a feed-forward layer like any other. A token's sum is taken in the order of
//! expert numbers, so that nothing depends on threads.

use saem_kernels::gemm::Output;
use saem_model::Routing;
use saem_model::config::{Gating, Moe};

use crate::buffers::{ExpertRoom, Inside, Scratch};
use crate::forward::Pass;
use crate::layout::{Dense, Place, Sparse};
use crate::linear::Room;

impl Pass<'_> {
    /// `scratch.output` of `scratch.normed`.
    pub(crate) fn sparse(&self, sparse: &Sparse, inside: &mut Inside, scratch: &mut Scratch) {
        let Some((moe, routing)) = self.config.moe.as_ref().zip(inside.routing.as_mut()) else { return };
        let (hidden, tokens) = (self.config.hidden, self.tokens);
        let Scratch { normed, output, wide, experts, room, .. } = scratch;
        let (x, output) = (&normed[..tokens * hidden], &mut output[..tokens * hidden]);
        self.route(sparse, moe, x, routing, room);
        match self.shared(sparse, moe, &mut inside.gate, &mut inside.up) {
            Some((dense, gate, up)) => {
                let activated = &mut wide[..up.len()];
                self.dense(dense, x, (gate, up), activated, output, room);
            }
            None => output.fill(0.0),
        }
        let ExpertRoom { x: gathered, y, .. } = experts;
        for (number, dense) in sparse.experts.iter().enumerate() {
            let (rows, range) = routing.of_expert(number);
            if rows.is_empty() {
                continue;
            }
            let (gathered, y) = (&mut gathered[..rows.len() * hidden], &mut y[..rows.len() * hidden]);
            gather(rows, x, gathered, hidden);
            let range = range.start * moe.intermediate..range.end * moe.intermediate;
            let (gate, up) = (inside.gate.get_mut(range.clone()), &mut inside.up[range]);
            let activated = &mut wide[..up.len()];
            self.dense(dense, gathered, (gate, up), activated, y, room);
            for ((row, weight), y) in rows.iter().zip(y.chunks_exact(hidden)) {
                let sum = &mut output[row * hidden..(row + 1) * hidden];
                sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += weight * y);
            }
        }
    }

    /// Turns the gradient of the output, in `scratch.output`, into that of the input, which is `scratch.normed`, and adds to
    /// those of the parameters.
    pub(crate) fn sparse_backward(
        &self,
        sparse: &Sparse,
        inside: &mut Inside,
        is_inside_kept: bool,
        scratch: &mut Scratch,
        gradients: &mut [f32],
    ) {
        let Some((moe, routing)) = self.config.moe.as_ref().zip(inside.routing.as_mut()) else { return };
        let (hidden, tokens) = (self.config.hidden, self.tokens);
        let Scratch { normed, output, gradient, wide, experts, room, .. } = scratch;
        let (x, output) = (&normed[..tokens * hidden], &mut output[..tokens * hidden]);
        let sum = &mut gradient[..tokens * hidden];
        if !is_inside_kept {
            self.route(sparse, moe, x, routing, room);
        }
        let ExpertRoom { x: gathered, y, activated: spare, scores } = experts;
        let dscores = &mut scores[..tokens * moe.experts];
        dscores.fill(0.0);
        sum.fill(0.0);
        for (number, dense) in sparse.experts.iter().enumerate() {
            let (rows, range) = routing.of_expert(number);
            if rows.is_empty() {
                continue;
            }
            let (x_rows, dy) = (&mut gathered[..rows.len() * hidden], &mut y[..rows.len() * hidden]);
            gather(rows, x, x_rows, hidden);
            gather(rows, output, dy, hidden);
            let range = range.start * moe.intermediate..range.end * moe.intermediate;
            let (mut gate, up) = (inside.gate.get_mut(range.clone()), &mut inside.up[range]);
            if !is_inside_kept {
                self.dense_inside(dense, x_rows, (gate.as_deref_mut(), &mut *up), room);
            }
            let (dactivated, activated) = (&mut wide[..up.len()], &mut spare[..up.len()]);
            self.input_backward(&dense.down, dy, dactivated, Output::Replace, room);
            // The gradient of a weight is the product of the expert's result with what comes back, which is that of its
            // activations with theirs; and then all that comes back is weighted.
            self.activate(gate.as_deref(), up, activated);
            let inner = dactivated.chunks_exact_mut(moe.intermediate).zip(activated.chunks_exact(moe.intermediate));
            for (((row, weight), dy), (dactivated, activated)) in
                rows.iter().zip(dy.chunks_exact_mut(hidden)).zip(inner)
            {
                dscores[row * moe.experts + number] = dot(dactivated, activated);
                dactivated.iter_mut().chain(dy).for_each(|value| *value *= weight);
            }
            self.dense_backward(dense, x_rows, (gate, up), dactivated, dy, gradients, room);
            for ((row, _), dx) in rows.iter().zip(dy.chunks_exact(hidden)) {
                let sum = &mut sum[row * hidden..(row + 1) * hidden];
                sum.iter_mut().zip(dx).for_each(|(sum, dx)| *sum += dx);
            }
        }
        if let Some((dense, mut gate, up)) = self.shared(sparse, moe, &mut inside.gate, &mut inside.up) {
            if !is_inside_kept {
                self.dense_inside(dense, x, (gate.as_deref_mut(), &mut *up), room);
            }
            let dactivated = &mut wide[..up.len()];
            self.input_backward(&dense.down, output, dactivated, Output::Replace, room);
            self.dense_backward(dense, x, (gate, up), dactivated, output, gradients, room);
            sum.iter_mut().zip(&*output).for_each(|(sum, dx)| *sum += dx);
        }
        scores_backward(moe, self.balance, self.tokens, routing, dscores);
        if let Some(slot) = sparse.correction.as_ref().and_then(Place::slot) {
            let even = (tokens * moe.used) as f32 / moe.experts as f32;
            let excess = (0..moe.experts).map(|expert| routing.of_expert(expert).0.len() as f32 - even);
            gradients[slot].iter_mut().zip(excess).for_each(|(gradient, excess)| *gradient += excess);
        }
        self.weight_backward(&sparse.router, x, dscores, gradients, room);
        self.input_backward(&sparse.router, dscores, sum, Output::Add, room);
        output.copy_from_slice(sum);
    }

    /// Sends every row of `x` to its experts.
    fn route(&self, sparse: &Sparse, moe: &Moe, x: &[f32], routing: &mut Routing, room: &mut Room) {
        self.linear(&sparse.router, x, routing.scores_mut(moe, self.tokens), room);
        let correction = sparse.correction.as_ref().map(|place| self.weights.vector(place));
        routing.choose(moe, correction, self.tokens);
    }

    /// The expert that every token passes and its inside, which lies behind those of the others.
    fn shared<'a, 'b>(
        &self,
        sparse: &'a Sparse,
        moe: &Moe,
        gate: &'b mut [f32],
        up: &'b mut [f32],
    ) -> Option<(&'a Dense, Option<&'b mut [f32]>, &'b mut [f32])> {
        let start = self.tokens * moe.used * moe.intermediate;
        let range = start..start + self.tokens * moe.shared_intermediate;
        Some((sparse.shared.as_ref()?, gate.get_mut(range.clone()), up.get_mut(range)?))
    }
}

/// Turns the gradients of the chosen experts' weights, in their places among `[tokens, experts]`, into those of the
/// router's outputs, and adds those of what an uneven use costs.
fn scores_backward(moe: &Moe, balance: f32, tokens: usize, routing: &Routing, dscores: &mut [f32]) {
    let cost = balance * moe.experts as f32 / (tokens * moe.used) as f32 / tokens as f32;
    let rows = dscores.chunks_exact_mut(moe.experts).zip(routing.scores(moe, tokens).chunks_exact(moe.experts));
    for (row, (dscores, scores)) in rows.enumerate() {
        if moe.normalize {
            let chosen = || routing.of_row(moe, row).iter().map(|(expert, _)| *expert);
            let sum = chosen().map(|expert| scores[expert]).sum::<f32>() + 1e-20;
            let mean = chosen().map(|expert| dscores[expert] * scores[expert]).sum::<f32>() / sum;
            chosen().for_each(|expert| dscores[expert] = moe.scale * (dscores[expert] - mean) / sum);
        } else {
            dscores.iter_mut().for_each(|value| *value *= moe.scale);
        }
        if cost != 0.0 {
            // Scores count by their share of the row's sum, which of probabilities is one; a softmax takes no notice of
            // the mean that is left out.
            let load = |expert: usize| cost * routing.of_expert(expert).0.len() as f32;
            let sum = scores.iter().sum::<f32>();
            let mean = (0..moe.experts).map(|expert| load(expert) * scores[expert]).sum::<f32>() / sum;
            dscores.iter_mut().enumerate().for_each(|(expert, value)| *value += (load(expert) - mean) / sum);
        }
        match moe.gating {
            Gating::Softmax => {
                let mean = dot(dscores, scores);
                dscores.iter_mut().zip(scores).for_each(|(value, score)| *value = score * (*value - mean));
            }
            Gating::Sigmoid => {
                dscores.iter_mut().zip(scores).for_each(|(value, score)| *value *= score * (1.0 - score));
            }
        }
    }
}

/// The rows of `x` that an expert gets.
fn gather(rows: &[(usize, f32)], x: &[f32], out: &mut [f32], width: usize) {
    for ((row, _), out) in rows.iter().zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(&x[row * width..(row + 1) * width]);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: usize = 5;
    const STEP: f64 = 1e-3;

    /// Weights of the chosen experts by their gradients, and what an uneven use costs, of a router's outputs in f64.
    fn value(moe: &Moe, balance: f64, routing: &Routing, outputs: &[f64], slopes: &[f32]) -> f64 {
        let count = |expert: usize| routing.of_expert(expert).0.len() as f64;
        let cost = balance * moe.experts as f64 / (TOKENS * moe.used) as f64 / TOKENS as f64;
        let of_row = |(row, outputs): (usize, &[f64])| -> f64 {
            let mut scores: Vec<f64> = match moe.gating {
                Gating::Softmax => outputs.iter().map(|x| x.exp()).collect(),
                Gating::Sigmoid => outputs.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            };
            let sum = scores.iter().sum::<f64>();
            if moe.gating == Gating::Softmax {
                scores.iter_mut().for_each(|score| *score /= sum);
            }
            let chosen = || routing.of_row(moe, row).iter().map(|(expert, _)| *expert);
            let of_chosen = if moe.normalize { chosen().map(|expert| scores[expert]).sum::<f64>() } else { 1.0 };
            let weight = |expert: usize| f64::from(moe.scale) * scores[expert] / of_chosen;
            let weighted = chosen().map(|expert| f64::from(slopes[row * moe.experts + expert]) * weight(expert));
            let share = scores.iter().sum::<f64>();
            weighted.sum::<f64>()
                + (0..moe.experts).map(|expert| cost * count(expert) * scores[expert] / share).sum::<f64>()
        };
        outputs.chunks(moe.experts).enumerate().map(of_row).sum()
    }

    /// Differences of the fourth order in f64, while the choice stays; 1e-6 of the gradient's length is some roundings of f32.
    #[test]
    fn gradients_of_routers_are_finite_differences() {
        for (gating, normalize, balance) in [
            (Gating::Softmax, true, 0.0),
            (Gating::Softmax, false, 0.5),
            (Gating::Softmax, true, 0.5),
            (Gating::Sigmoid, true, 0.5),
            (Gating::Sigmoid, false, 0.0),
        ] {
            let moe = Moe {
                experts: 8,
                used: 3,
                intermediate: 4,
                shared_intermediate: 0,
                gating,
                normalize,
                scale: 2.5,
                groups: 1,
                groups_used: 1,
                correction_bias: false,
            };
            let outputs: Vec<f32> = (0..TOKENS * moe.experts).map(|at| 2.0 * (1.7 * at as f32).sin()).collect();
            let mut routing = Routing::new(&moe, TOKENS);
            routing.scores_mut(&moe, TOKENS).copy_from_slice(&outputs);
            routing.choose(&moe, None, TOKENS);
            let mut found = vec![0.0; outputs.len()];
            for row in 0..TOKENS {
                for (expert, _) in routing.of_row(&moe, row) {
                    let at = row * moe.experts + expert;
                    found[at] = (2.3 * at as f32).cos();
                }
            }
            let slopes = found.clone();
            scores_backward(&moe, balance, TOKENS, &routing, &mut found);
            let (mut square, mut length) = (0.0, 0.0);
            for (at, found) in found.iter().enumerate() {
                let beside = |steps: f64| {
                    let mut outputs: Vec<f64> = outputs.iter().copied().map(f64::from).collect();
                    outputs[at] += steps * STEP;
                    value(&moe, f64::from(balance), &routing, &outputs, &slopes)
                };
                let slope = (8.0 * (beside(1.0) - beside(-1.0)) - (beside(2.0) - beside(-2.0))) / (12.0 * STEP);
                square += (f64::from(*found) - slope).powi(2);
                length += slope * slope;
            }
            let relative = (square / length).sqrt();
            println!("{gating:?}, normalize {normalize}, balance {balance}: {relative:.1e}");
            assert!(relative < 1e-6, "{gating:?}, normalize {normalize}, balance {balance}: {relative:.1e} away");
        }
    }
}
