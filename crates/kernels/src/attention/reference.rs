//! The slow twin: the formula, in f64, on one thread.

use super::{AttentionShape, BLOCK_TOKENS, KvPages, Span};

/// Twin of [`super::attention`].
pub fn attention(shape: &AttentionShape, pages: &KvPages, queries: &[f32], spans: &[Span<'_>], out: &mut [f32]) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    for span in spans {
        for kv_head in 0..shape.kv_heads {
            let last = span.first_position + span.rows;
            let first = shape.first_visible(span.first_position);
            let seen: Vec<_> =
                (first..last).map(|p| pages.read(span.blocks[p / BLOCK_TOKENS], kv_head, p % BLOCK_TOKENS)).collect();
            for (row, head) in (0..span.rows).flat_map(|row| (0..shape.group()).map(move |head| (row, head))) {
                let position = span.first_position + row;
                let seen = &seen[shape.first_visible(position) - first..=position - first];
                let head = kv_head * shape.group() + head;
                let at = ((span.first_row + row) * shape.heads + head) * shape.head_dim;
                let query = &queries[at..at + shape.head_dim];
                let scores: Vec<f64> = seen
                    .iter()
                    .map(|(key, _)| {
                        let score = f64::from(shape.scale) * dot(query, key);
                        shape.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                    })
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (element, out) in out[at..at + shape.head_dim].iter_mut().enumerate() {
                    let values = seen.iter().map(|(_, value)| f64::from(value[element]));
                    *out = (values.zip(&weights).map(|(value, weight)| value * weight).sum::<f64>() / sum) as f32;
                }
            }
        }
    }
}
