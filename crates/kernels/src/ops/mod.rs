//! Element-wise and row-wise operations of a decoder layer, on f32 buffers `[rows, width]`.

use crate::ThreadPool;

/// The non-linearity of a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// GELU by the error function.
    GeluErf,
}

/// Which two elements of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// `(i, i + rotary / 2)`: Hugging Face checkpoints and GGUF's "NeoX" families.
    Half,
    /// `(2 i, 2 i + 1)`: GGUF's Llama family.
    Interleaved,
}

/// `out = x / rms(x) * weight`, row by row; a row is `weight.len()` wide.
pub fn rms_norm(pool: &ThreadPool, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    out.copy_from_slice(x);
    rms_norm_in_place(pool, out, weight, epsilon);
}

/// [`rms_norm`] in place; with rows of one head it is the QK-norm.
pub fn rms_norm_in_place(pool: &ThreadPool, x: &mut [f32], weight: &[f32], epsilon: f32) {
    let _ = pool;
    for row in x.chunks_exact_mut(weight.len()) {
        let mean = row.iter().map(|v| v * v).sum::<f32>() / row.len() as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for (value, weight) in row.iter_mut().zip(weight) {
            *value *= scale * weight;
        }
    }
}

/// Layer normalisation with mean and variance; `bias` may be absent.
pub fn layer_norm(pool: &ThreadPool, x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    let _ = pool;
    let width = weight.len();
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / width as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for index in 0..width {
            out[index] = (row[index] - mean) * scale * weight[index] + bias.map_or(0.0, |bias| bias[index]);
        }
    }
}

/// Rotates the first `2 * cos_width` elements of every head of every row by its position's angles.
///
/// `x` is `[rows, heads, head_dim]`; `cos` and `sin` are `[rows, cos_width]`.
pub fn rope(
    pool: &ThreadPool,
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    style: RopeStyle,
) {
    let _ = pool;
    let rows = x.len() / (heads * head_dim);
    let half = cos.len() / rows.max(1);
    for row in 0..rows {
        for head in x[row * heads * head_dim..][..heads * head_dim].chunks_exact_mut(head_dim) {
            for pair in 0..half {
                let (a, b) = match style {
                    RopeStyle::Half => (pair, pair + half),
                    RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                };
                let (c, s) = (cos[row * half + pair], sin[row * half + pair]);
                let (p, q) = (head[a], head[b]);
                head[a] = p * c - q * s;
                head[b] = p * s + q * c;
            }
        }
    }
}

/// `x += scale * y`.
pub fn add_scaled(pool: &ThreadPool, x: &mut [f32], y: &[f32], scale: f32) {
    let _ = pool;
    for (x, y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

/// Adds `bias` to every row.
pub fn add_bias(pool: &ThreadPool, x: &mut [f32], bias: &[f32]) {
    let _ = pool;
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}

/// `x *= factor`.
pub fn scale(pool: &ThreadPool, x: &mut [f32], factor: f32) {
    let _ = pool;
    for x in x {
        *x *= factor;
    }
}

/// `gate = activation(gate) * up`.
pub fn gated(pool: &ThreadPool, activation: Activation, gate: &mut [f32], up: &[f32]) {
    activate(pool, activation, gate);
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate *= up;
    }
}

/// `x = activation(x)`.
pub fn activate(pool: &ThreadPool, activation: Activation, x: &mut [f32]) {
    let _ = pool;
    for x in x {
        *x = match activation {
            Activation::Silu => *x / (1.0 + (-*x).exp()),
            Activation::GeluTanh => 0.5 * *x * (1.0 + (0.797_884_6 * (*x + 0.044_715 * *x * *x * *x)).tanh()),
            Activation::GeluErf => unimplemented!(),
        };
    }
}

/// `x = cap * tanh(x / cap)`.
pub fn soft_cap(pool: &ThreadPool, x: &mut [f32], cap: f32) {
    let _ = pool;
    for x in x {
        *x = cap * (*x / cap).tanh();
    }
}
