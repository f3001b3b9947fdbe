//! The slow twins: each operation as its formula, in f64, on one thread. Tests hold the fast ones against them.

use super::{Activation, RopeStyle};

/// Twin of [`super::rms_norm`].
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    for (row, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
        let mean = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
        for ((out, &x), &weight) in out.iter_mut().zip(row).zip(weight) {
            *out = (f64::from(x) * scale * f64::from(weight)) as f32;
        }
    }
}

/// Twin of [`super::add_rms_norm`].
pub fn add_rms_norm(x: &mut [f32], y: &[f32], scale: f32, weight: &[f32], epsilon: f32, out: &mut [f32]) {
    add_scaled(x, y, scale);
    rms_norm(x, weight, epsilon, out);
}

/// Twin of [`super::layer_norm`].
pub fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    let width = weight.len();
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        for index in 0..width {
            let bias = bias.map_or(0.0, |bias| f64::from(bias[index]));
            out[index] = ((f64::from(row[index]) - mean) * scale * f64::from(weight[index]) + bias) as f32;
        }
    }
}

/// Twin of [`super::rope`].
pub fn rope(x: &mut [f32], heads: usize, head_dim: usize, cos: &[f32], sin: &[f32], style: RopeStyle) {
    let rows = x.len() / (heads * head_dim);
    let half = cos.len() / rows.max(1);
    for row in 0..rows {
        for head in x[row * heads * head_dim..][..heads * head_dim].chunks_exact_mut(head_dim) {
            for pair in 0..half {
                let (a, b) = match style {
                    RopeStyle::Half => (pair, pair + half),
                    RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                };
                let (c, s) = (f64::from(cos[row * half + pair]), f64::from(sin[row * half + pair]));
                let (p, q) = (f64::from(head[a]), f64::from(head[b]));
                head[a] = (p * c - q * s) as f32;
                head[b] = (p * s + q * c) as f32;
            }
        }
    }
}

/// Twin of [`super::add_scaled`].
pub fn add_scaled(x: &mut [f32], y: &[f32], scale: f32) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = (f64::from(*x) + f64::from(scale) * f64::from(y)) as f32;
    }
}

/// Twin of [`super::add_bias`].
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}

/// Twin of [`super::scale`].
pub fn scale(x: &mut [f32], factor: f32) {
    for x in x {
        *x *= factor;
    }
}

/// Twin of [`super::gated`].
pub fn gated(activation: Activation, gate: &mut [f32], up: &[f32]) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate = (activated(activation, f64::from(*gate)) * f64::from(up)) as f32;
    }
}

/// Twin of [`super::activate`].
pub fn activate(activation: Activation, x: &mut [f32]) {
    for x in x {
        *x = activated(activation, f64::from(*x)) as f32;
    }
}

/// Twin of [`super::sigmoid`].
pub fn sigmoid(x: &mut [f32]) {
    for x in x {
        *x = (1.0 / (1.0 + (-f64::from(*x)).exp())) as f32;
    }
}

/// Twin of [`super::soft_cap`].
pub fn soft_cap(x: &mut [f32], cap: f32) {
    let cap = f64::from(cap);
    for x in x {
        *x = (cap * (f64::from(*x) / cap).tanh()) as f32;
    }
}

/// Twin of [`super::softmax_in_place`].
pub fn softmax_in_place(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return;
    }
    let weights: Vec<f64> = row.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    for (x, weight) in row.iter_mut().zip(weights) {
        *x = (weight / sum) as f32;
    }
}

/// Twin of [`super::argmax`].
#[must_use]
pub fn argmax(row: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &x) in row.iter().enumerate() {
        if x > best.1 {
            best = (index, x);
        }
    }
    best.0
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
        }
        Activation::GeluErf => x * normal_cdf(x),
        Activation::Relu => x.max(0.0),
    }
}

/// The share of the normal distribution below `x`, to about 1e-14.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    if x > 0.0 {
        return 1.0 - normal_cdf(-x);
    }
    let z = -x * std::f64::consts::FRAC_1_SQRT_2;
    if z < 2.5 {
        // The series of the error function.
        let (mut term, mut sum) = (z, z);
        for n in 1..100 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 0.5 - 0.5 * sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    // The continued fraction of its complement.
    let fraction = (1..200).rev().fold(z, |tail, n| z + f64::from(n) / 2.0 / tail);
    0.5 * (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
}
