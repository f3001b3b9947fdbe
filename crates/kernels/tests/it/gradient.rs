//! Backward passes against finite differences of the same operation in f64, on every instruction set of the machine.
//!
//! What is compared is a whole gradient's distance by its length. Differences of the fourth order in f64 are right to
//! about 1e-11, so that what remains is the rounding of f32, which is 6e-8 for each operation: the bound is 1e-6.

use std::ops::Range;

use saem_kernels::ThreadPool;
use saem_kernels::attention::AttentionShape;
use saem_kernels::gemm::{Factor, Output, Precision, Size, gemm, most_shared_len};
use saem_kernels::gradient::{
    Documents, NormKind, Projections, activate_backward, add_columns, attention, attention_backward, cross_entropy,
    gated_backward, norm_backward, scatter_rows, soft_cap_backward,
};
use saem_kernels::ops::{self, Activation, RopeStyle};
use saem_kernels::simd::Isa;

const ACTIVATIONS: [Activation; 4] = [Activation::Silu, Activation::GeluTanh, Activation::GeluErf, Activation::Relu];
const BOUND: f64 = 1e-6;
const STEP: f64 = 1e-3;

/// Numbers from -2 to 2, none of them so near to zero that a difference would cross it.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    std::iter::repeat_with(&mut next).filter(|x: &f32| x.abs() > 0.01).take(len).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// The slopes of `of` at `x`, one element after the other.
fn differences(x: &[f32], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut x = wide(x);
    (0..x.len())
        .map(|at| {
            let middle = x[at];
            let mut beside = |steps: f64| {
                x[at] = middle + steps * STEP;
                of(&x)
            };
            let slope = (8.0 * (beside(1.0) - beside(-1.0)) - (beside(2.0) - beside(-2.0))) / (12.0 * STEP);
            x[at] = middle;
            slope
        })
        .collect()
}

#[track_caller]
fn assert_near(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let distance = found.iter().zip(expected).map(|(x, y)| (f64::from(*x) - y).powi(2)).sum::<f64>().sqrt();
    println!("{what}: {:.1e}", distance / length);
    assert!(length > 0.0 && distance < BOUND * length, "{what}: {:.1e} away", distance / length);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn on_every_isa(test: impl Fn(&ThreadPool, Isa)) {
    let pool = ThreadPool::new(1).expect("threads start");
    for isa in Isa::available() {
        isa.scope(|| test(&pool, isa));
    }
}

#[test]
fn norms() {
    const EPSILON: f64 = 1e-5;
    let (rows, width) = (5, 83);
    let (x, dy) = (numbers(rows * width, 1), numbers(rows * width, 2));
    let (weight, bias) = (numbers(width, 3), numbers(width, 4));
    for kind in [NormKind::Rms, NormKind::Layer] {
        let value = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
            let of_row = |(x, dy): (&[f64], &[f32])| -> f64 {
                let mean = if kind == NormKind::Layer { x.iter().sum::<f64>() / width as f64 } else { 0.0 };
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                let scale = 1.0 / (variance + EPSILON).sqrt();
                (0..width).map(|at| f64::from(dy[at]) * ((x[at] - mean) * scale * weight[at] + bias[at])).sum()
            };
            x.chunks(width).zip(dy.chunks(width)).map(of_row).sum()
        };
        let expected = [
            differences(&x, |x| value(x, &wide(&weight), &wide(&bias))),
            differences(&weight, |weight| value(&wide(&x), weight, &wide(&bias))),
            differences(&bias, |bias| value(&wide(&x), &wide(&weight), bias)),
        ];
        on_every_isa(|pool, isa| {
            let [mut dx, mut dweight, mut dbias] = [rows * width, width, width].map(|len| vec![0.0; len]);
            let (to, statistics) = ((Some(&mut dweight[..]), Some(&mut dbias[..])), &mut vec![0.0; 2 * rows]);
            norm_backward(pool, kind, EPSILON as f32, (&x, &weight), &dy, &mut dx, to.0, to.1, statistics);
            for ((name, found), expected) in [("x", &dx), ("weight", &dweight), ("bias", &dbias)].iter().zip(&expected)
            {
                assert_near(&format!("{kind:?}, {name}, {isa}"), found, expected);
            }
        });
    }
}

/// The share of a normal distribution below `x`, by its power series.
fn normal_cdf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::GeluErf => x * normal_cdf(x),
        Activation::Relu => x.max(0.0),
    }
}

#[test]
fn activations_and_caps() {
    let len = 517;
    // From -6 to 6.
    let [x, up]: [Vec<f32>; 2] = [5, 6].map(|seed| numbers(len, seed).iter().map(|x| 3.0 * x).collect());
    let dy = numbers(len, 7);
    for activation in ACTIVATIONS {
        let alone = |x: &[f64]| dot(&x.iter().map(|x| activated(activation, *x)).collect::<Vec<_>>(), &wide(&dy));
        let gated = |gate: &[f64], up: &[f64]| {
            let y: Vec<f64> = gate.iter().zip(up).map(|(gate, up)| activated(activation, *gate) * up).collect();
            dot(&y, &wide(&dy))
        };
        let expected = differences(&x, alone);
        let of_gate = differences(&x, |gate| gated(gate, &wide(&up)));
        let of_up = differences(&up, |up| gated(&wide(&x), up));
        on_every_isa(|pool, isa| {
            let (mut found, mut dy_and_y) = (x.clone(), dy.clone());
            activate_backward(pool, activation, &mut found, &mut dy_and_y);
            assert_near(&format!("{activation:?}, {isa}"), &found, &expected);
            let (mut gate, mut dup, mut dy_and_y) = (x.clone(), up.clone(), dy.clone());
            gated_backward(pool, activation, &mut gate, &mut dup, &mut dy_and_y);
            assert_near(&format!("{activation:?}, gate, {isa}"), &gate, &of_gate);
            assert_near(&format!("{activation:?}, up, {isa}"), &dup, &of_up);
        });
    }
    let cap = 5.0;
    let capped = |x: &[f64]| x.iter().zip(&dy).map(|(x, dy)| cap * (x / cap).tanh() * f64::from(*dy)).sum();
    let expected = differences(&x, capped);
    on_every_isa(|pool, isa| {
        let (mut y, mut found) = (x.clone(), dy.clone());
        ops::soft_cap(pool, &mut y, cap as f32);
        soft_cap_backward(pool, &y, &mut found, cap as f32);
        assert_near(&format!("soft cap, {isa}"), &found, &expected);
    });
}

#[test]
fn biases_and_picked_rows() {
    let (width, indices) = (70, [3_u32, 0, 3, 5, 3]);
    let (table, bias, dy) = (numbers(6 * width, 8), numbers(width, 9), numbers(indices.len() * width, 10));
    let factor = 1.5;
    let value = |table: &[f64], bias: &[f64]| -> f64 {
        let picked = indices.iter().zip(dy.chunks(width));
        let of_row = |(index, dy): (&u32, &[f32])| -> f64 {
            let row = &table[*index as usize * width..][..width];
            (0..width).map(|at| f64::from(dy[at]) * (factor * row[at] + bias[at])).sum()
        };
        picked.map(of_row).sum()
    };
    let of_table = differences(&table, |table| value(table, &wide(&bias)));
    let of_bias = differences(&bias, |bias| value(&wide(&table), bias));
    on_every_isa(|pool, isa| {
        let (mut dtable, mut dbias) = (vec![0.0; table.len()], vec![0.0; width]);
        scatter_rows(pool, &dy, width, &indices, factor as f32, &mut dtable);
        add_columns(pool, &dy, &mut dbias);
        assert_near(&format!("table, {isa}"), &dtable, &of_table);
        assert_near(&format!("bias, {isa}"), &dbias, &of_bias);
    });
}

/// `y = x wᵀ`: the gradients of both factors are products too.
#[test]
fn products() {
    let (tokens, inputs, outputs) = (7, 45, 33);
    let (x, w, dy) = (numbers(tokens * inputs, 11), numbers(outputs * inputs, 12), numbers(tokens * outputs, 13));
    let value = |x: &[f64], w: &[f64]| -> f64 {
        let of_token = |(x, dy): (&[f64], &[f32])| -> f64 {
            w.chunks(inputs).zip(dy).map(|(w, dy)| f64::from(*dy) * dot(x, w)).sum()
        };
        x.chunks(inputs).zip(dy.chunks(outputs)).map(of_token).sum()
    };
    let of_x = differences(&x, |x| value(x, &wide(&w)));
    let of_w = differences(&w, |w| value(&wide(&x), w));
    on_every_isa(|pool, isa| {
        let (mut dx, mut dw, shared) =
            (vec![0.0; x.len()], vec![0.0; w.len()], &mut vec![0.0; most_shared_len(inputs, tokens.max(outputs))]);
        let size = Size { m: tokens, n: inputs, k: outputs };
        let (lines, across) = (Factor::lines(&dy, outputs), Factor::across(&w, inputs));
        gemm(pool, Precision::F32, size, lines, across, &mut dx, inputs, Output::Replace, shared);
        let size = Size { m: outputs, n: inputs, k: tokens };
        let (dy_across, x_across) = (Factor::across(&dy, outputs), Factor::across(&x, inputs));
        gemm(pool, Precision::F32, size, dy_across, x_across, &mut dw, inputs, Output::Add, shared);
        assert_near(&format!("x of a product, {isa}"), &dx, &of_x);
        assert_near(&format!("w of a product, {isa}"), &dw, &of_w);
    });
}

/// The backward pass of a rotation is the one by the opposite angles.
#[test]
fn rotations() {
    let (rows, heads, head_dim, pairs) = (4, 3, 24, 9);
    let (x, dy) = (numbers(rows * heads * head_dim, 14), numbers(rows * heads * head_dim, 15));
    let angles = wide(&numbers(rows * pairs, 16));
    for style in [RopeStyle::Half, RopeStyle::Interleaved] {
        let value = |x: &[f64]| -> f64 {
            let mut y = x.to_vec();
            for (place, y) in y.chunks_mut(head_dim).enumerate() {
                for pair in 0..pairs {
                    let (sin, cos) = angles[place / heads * pairs + pair].sin_cos();
                    let [a, b] = match style {
                        RopeStyle::Half => [pair, pairs + pair],
                        RopeStyle::Interleaved => [2 * pair, 2 * pair + 1],
                    };
                    (y[a], y[b]) = (y[a] * cos - y[b] * sin, y[b] * cos + y[a] * sin);
                }
            }
            dot(&y, &wide(&dy))
        };
        let expected = differences(&x, value);
        let cos: Vec<f32> = angles.iter().map(|angle| angle.cos() as f32).collect();
        let back: Vec<f32> = angles.iter().map(|angle| -angle.sin() as f32).collect();
        on_every_isa(|pool, isa| {
            let mut found = dy.clone();
            ops::rope(pool, &mut found, heads, head_dim, &cos, &back, style);
            assert_near(&format!("{style:?}, {isa}"), &found, &expected);
        });
    }
}

#[test]
fn losses_of_tokens() {
    let (vocabulary, factor) = (301, 0.25);
    let targets = [Some(300), None, Some(0), Some(17)];
    let logits: Vec<f32> = numbers(targets.len() * vocabulary, 17).iter().map(|x| 4.0 * x).collect();
    for z in [0.0, 0.01] {
        let losses = |logits: &[f64]| -> Vec<f64> {
            let of_row = |(logits, target): (&[f64], &Option<u32>)| {
                let log_sum = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                target.map_or(0.0, |target| log_sum - logits[target as usize] + z * log_sum * log_sum)
            };
            logits.chunks(vocabulary).zip(&targets).map(of_row).collect()
        };
        let expected = differences(&logits, |logits| factor * losses(logits).iter().sum::<f64>());
        on_every_isa(|pool, isa| {
            let (mut found, mut of_rows) = (logits.clone(), vec![0.0; targets.len()]);
            cross_entropy(pool, &mut found, &targets, z as f32, factor as f32, &mut of_rows);
            assert_near(&format!("loss, z {z}, {isa}"), &of_rows, &losses(&wide(&logits)));
            assert_near(&format!("logits, z {z}, {isa}"), &found, &expected);
        });
    }
}

/// Attention of every query to the keys that it sees, in f64: the sum of the results times `dout`.
fn attended(shape: &AttentionShape, documents: &Documents<'_>, inputs: [&[f64]; 3], dout: &[f32]) -> f64 {
    let [query, key, value] = inputs;
    let (depth, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let beginning = documents.rows.first().filter(|_| documents.first_is_shared).map_or(0..0, Range::clone);
    let mut sum = 0.0;
    for (index, rows) in documents.rows.iter().enumerate() {
        let before = if index == 0 { 0..0 } else { beginning.clone() };
        let keys: Vec<usize> = before.clone().chain(rows.clone()).collect();
        for (row, head) in rows.clone().flat_map(|row| (0..shape.heads).map(move |head| (row, head))) {
            let position = before.len() + row - rows.start;
            let first = shape.window.map_or(0, |window| (position + 1).saturating_sub(window));
            let vector = |of, row, heads, head| -> &[f64] {
                let of: &[f64] = of;
                &of[(row * heads + head) * depth..][..depth]
            };
            let seen = &keys[first..=position];
            let weights: Vec<f64> = seen
                .iter()
                .map(|at| {
                    let score = f64::from(shape.scale)
                        * dot(vector(query, row, shape.heads, head), vector(key, *at, shape.kv_heads, head / group));
                    shape.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh()).exp()
                })
                .collect();
            let dout = wide(&dout[(row * shape.heads + head) * depth..][..depth]);
            let results = seen.iter().map(|at| dot(vector(value, *at, shape.kv_heads, head / group), &dout));
            sum += results.zip(&weights).map(|(result, weight)| result * weight).sum::<f64>()
                / weights.iter().sum::<f64>();
        }
    }
    sum
}

#[test]
fn attention_to_earlier_tokens() {
    let plain = AttentionShape { heads: 4, kv_heads: 2, head_dim: 8, scale: 0.35, window: None, soft_cap: None };
    let shapes = [
        plain,
        AttentionShape { window: Some(5), ..plain },
        AttentionShape { soft_cap: Some(3.0), kv_heads: 4, ..plain },
        AttentionShape { window: Some(6), soft_cap: Some(3.0), kv_heads: 1, ..plain },
    ];
    let rows = [0..4, 4..15, 15..16, 16..23];
    let tokens = 23;
    for (shape, first_is_shared) in shapes.iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let documents = Documents { rows: &rows, first_is_shared };
        let (heads, narrow) = (tokens * shape.heads * shape.head_dim, tokens * shape.kv_heads * shape.head_dim);
        let (query, key, value, dout) =
            (numbers(heads, 18), numbers(narrow, 19), numbers(narrow, 20), numbers(heads, 21));
        let [q, k, v] = [&query, &key, &value].map(|x| wide(x));
        let expected = [
            differences(&query, |q| attended(shape, &documents, [q, &k, &v], &dout)),
            differences(&key, |k| attended(shape, &documents, [&q, k, &v], &dout)),
            differences(&value, |v| attended(shape, &documents, [&q, &k, v], &dout)),
        ];
        on_every_isa(|pool, isa| {
            let inputs = Projections { query: &query[..], key: &key[..], value: &value[..] };
            let (mut out, mut log_sums) = (vec![0.0; heads], vec![0.0; tokens * shape.heads]);
            attention(pool, Precision::F32, shape, &documents, &inputs, &mut out, &mut log_sums);
            let [mut dq, mut dk, mut dv] = [heads, narrow, narrow].map(|len| vec![0.0; len]);
            let gradients = Projections { query: &mut dq[..], key: &mut dk[..], value: &mut dv[..] };
            let known = (&out[..], &log_sums[..]);
            attention_backward(pool, Precision::F32, shape, &documents, &inputs, known, &dout, gradients);
            for ((name, found), expected) in [("queries", &dq), ("keys", &dk), ("values", &dv)].iter().zip(&expected) {
                assert_near(&format!("{name}, {shape:?}, shared {first_is_shared}, {isa}"), found, expected);
            }
        });
    }
}
