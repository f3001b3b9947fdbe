//! One decoder layer: attention and feed-forward around the residual stream.
//!
//! ```text
//! pre:   x += m · f(norm(x))        post: x += m · norm(f(x))        both: x += m · norm(f(norm(x)))
//! ```

use saem_kernels::attention::{AttentionShape, KvPages, Span, attention, store_kv};
use saem_kernels::{Input, ThreadPool, matmul, matmul_gated, ops};

use crate::adapter::{Adapter, AdapterBuffers, Target};
use crate::config::{Config, LayerConfig, Norm};
use crate::moe::sparse_feed_forward;
use crate::weights::{Dense, FeedForward, LayerWeights, Linear, NormWeights};
use crate::workspace::{Heads, Workspace};

/// What a layer works with.
pub(crate) struct Pass<'a> {
    pub(crate) pool: &'a ThreadPool,
    pub(crate) config: &'a Config,
    pub(crate) tokens: &'a [u32],
    pub(crate) spans: &'a [Span<'a>],
    /// Of each span, or of none at all.
    pub(crate) adapters: &'a [Option<&'a Adapter>],
    /// Number of the layer.
    pub(crate) layer: usize,
    /// Rows of the residual stream.
    pub(crate) rows: usize,
}

impl Pass<'_> {
    /// Runs one layer. Where `keep` names rows, only those go on after attention, moved to the front of the stream;
    /// returns how many rows the stream has then.
    pub(crate) fn run(
        &self,
        layer: LayerConfig,
        weights: &LayerWeights,
        pages: &mut KvPages,
        workspace: &mut Workspace,
        keep: Option<&[usize]>,
    ) -> usize {
        self.project(layer, weights, workspace);
        let Heads { query, key, value, attended } = Heads::of(&mut workspace.inner, self.config, self.rows);
        self.prefixes(key, value);
        store_kv(self.pool, pages, key, value, self.spans);
        if keep.is_some_and(<[usize]>::is_empty) {
            return 0;
        }
        let shape = AttentionShape {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            scale: self.config.attention_scale,
            window: layer.window,
            soft_cap: self.config.attention_soft_cap,
        };
        attention(self.pool, &shape, pages, query, self.spans, attended);
        let rows = match keep {
            Some(keep) if keep.len() < self.rows => {
                compact(attended, self.config.query_width(), keep);
                compact(&mut workspace.stream, self.config.hidden, keep);
                workspace.adapters.keep(keep);
                keep.len()
            }
            _ => self.rows,
        };
        let after = Pass { rows, ..*self };
        after.attention_output(weights, self.rows, workspace);
        after.feed_forward(weights, workspace);
        rows
    }

    /// Queries, keys and values, normed and rotated.
    fn project(&self, layer: LayerConfig, weights: &LayerWeights, workspace: &mut Workspace) {
        let Self { pool, config, rows, .. } = *self;
        let hidden = rows * config.hidden;
        let Workspace { stream, normed, inner, input, angles, adapters, .. } = workspace;
        let x = match &weights.attention_norm {
            Some(norm) => {
                self.norm(norm, &stream[..hidden], &mut normed[..hidden]);
                &normed[..hidden]
            }
            None => &stream[..hidden],
        };
        let (query, key, value) = (&weights.query, &weights.key, &weights.value);
        input.set(pool, x, config.hidden, &[&query.matrix, &key.matrix, &value.matrix]);
        let Heads { query: queries, key: keys, value: values, .. } = Heads::of(inner, config, rows);
        matmul(
            pool,
            input,
            &mut [(&query.matrix, &mut *queries), (&key.matrix, &mut *keys), (&value.matrix, &mut *values)],
        );
        add_bias(pool, query, queries);
        add_bias(pool, key, keys);
        add_bias(pool, value, values);
        self.adapt(
            adapters,
            x,
            config.hidden,
            &mut [(Target::Query, &mut *queries), (Target::Key, &mut *keys), (Target::Value, values)],
        );
        if let Some(weight) = &weights.query_norm {
            ops::rms_norm_in_place(pool, queries, weight, config.norm_epsilon);
        }
        if let Some(weight) = &weights.key_norm {
            ops::rms_norm_in_place(pool, keys, weight, config.norm_epsilon);
        }
        if let Some(angles) = layer.rope.and_then(|rope| angles.get(rope)) {
            let (cos, sin) = angles.rows(rows);
            ops::rope(pool, queries, config.heads, config.head_dim, cos, sin, config.rope_style);
            ops::rope(pool, keys, config.kv_heads, config.head_dim, cos, sin, config.rope_style);
        }
    }

    /// Puts the keys and values of prefixes where their tokens stand.
    fn prefixes(&self, key: &mut [f32], value: &mut [f32]) {
        let width = self.config.kv_width();
        for (span, adapter) in self.spans.iter().zip(self.adapters) {
            let Some(adapter) = adapter.filter(|adapter| adapter.is_prefix()) else { continue };
            let tokens = self.tokens.iter().enumerate().skip(span.first_row).take(span.rows);
            for (row, token) in tokens {
                let index = (*token as usize).checked_sub(self.config.vocabulary);
                if let Some((own_key, own_value)) = index.and_then(|index| adapter.prefix_row(self.layer, index)) {
                    key[row * width..][..width].copy_from_slice(own_key);
                    value[row * width..][..width].copy_from_slice(own_value);
                }
            }
        }
    }

    /// The attention's output projection, added to the stream. `attention_rows` rows went through attention.
    fn attention_output(&self, weights: &LayerWeights, attention_rows: usize, workspace: &mut Workspace) {
        let Self { pool, config, rows, .. } = *self;
        let Workspace { output, inner, input, adapters, .. } = workspace;
        let Heads { attended, .. } = Heads::of(inner, config, attention_rows);
        let attended = &attended[..rows * config.query_width()];
        let output = &mut output[..rows * config.hidden];
        project(pool, input, attended, config.query_width(), &weights.output, output);
        self.adapt(adapters, attended, config.query_width(), &mut [(Target::Output, output)]);
        self.add(weights.attention_post_norm.as_ref(), workspace);
    }

    fn feed_forward(&self, weights: &LayerWeights, workspace: &mut Workspace) {
        let Self { pool, config, rows, .. } = *self;
        let hidden = rows * config.hidden;
        let Workspace { stream, normed, output, inner, inner_up, input, moe: buffers, adapters, .. } = workspace;
        let x = match &weights.feed_forward_norm {
            Some(norm) => {
                self.norm(norm, &stream[..hidden], &mut normed[..hidden]);
                &normed[..hidden]
            }
            None => &stream[..hidden],
        };
        let output = &mut output[..hidden];
        match &weights.feed_forward {
            FeedForward::Dense(dense) => self.dense(dense, x, output, input, inner, inner_up, Some(adapters)),
            FeedForward::Sparse(sparse) => {
                if let (Some(moe), Some(buffers)) = (&config.moe, buffers) {
                    sparse_feed_forward(pool, moe, config.activation, sparse, x, output, buffers, input, inner);
                    if let Some(shared) = &sparse.shared {
                        let sum = buffers.shared_output(hidden);
                        self.dense(shared, x, sum, input, inner, inner_up, None);
                        ops::add_scaled(pool, output, sum, 1.0);
                    }
                }
            }
        }
        self.add(weights.feed_forward_post_norm.as_ref(), workspace);
    }

    /// A dense feed-forward layer, or a shared expert, which adapters do not change: there `adapters` is absent.
    fn dense(
        &self,
        weights: &Dense,
        x: &[f32],
        output: &mut [f32],
        input: &mut Input,
        inner: &mut [f32],
        inner_up: &mut [f32],
        mut adapters: Option<&mut AdapterBuffers>,
    ) {
        let Self { pool, config, rows, .. } = *self;
        let width = weights.up.matrix.rows();
        let inner = &mut inner[..rows * width];
        let activation = config.activation;
        let changed = adapters.as_ref().is_some_and(|buffers| self.changes(buffers, &[Target::Gate, Target::Up]));
        match &weights.gate {
            Some(gate) if gate.bias.is_none() && weights.up.bias.is_none() && !changed => {
                input.set(pool, x, config.hidden, &[&gate.matrix, &weights.up.matrix]);
                matmul_gated(pool, input, &gate.matrix, &weights.up.matrix, activation, inner);
            }
            Some(gate) => {
                let up = &mut inner_up[..rows * width];
                input.set(pool, x, config.hidden, &[&gate.matrix, &weights.up.matrix]);
                matmul(pool, input, &mut [(&gate.matrix, &mut *inner), (&weights.up.matrix, &mut *up)]);
                add_bias(pool, gate, inner);
                add_bias(pool, &weights.up, up);
                if let Some(buffers) = &mut adapters {
                    self.adapt(buffers, x, config.hidden, &mut [(Target::Gate, &mut *inner), (Target::Up, &mut *up)]);
                }
                ops::gated(pool, activation, inner, up);
            }
            None => {
                project(pool, input, x, config.hidden, &weights.up, inner);
                if let Some(buffers) = &mut adapters {
                    self.adapt(buffers, x, config.hidden, &mut [(Target::Up, &mut *inner)]);
                }
                ops::activate(pool, activation, inner);
            }
        }
        project(pool, input, inner, width, &weights.down, output);
        if let Some(buffers) = adapters {
            self.adapt(buffers, inner, width, &mut [(Target::Down, output)]);
        }
    }

    /// `stream += residual multiplier * norm(output)`.
    fn add(&self, norm: Option<&NormWeights>, workspace: &mut Workspace) {
        let hidden = self.rows * self.config.hidden;
        let Workspace { stream, normed, output, .. } = workspace;
        let mut sum = &output[..hidden];
        if let Some(norm) = norm {
            self.norm(norm, sum, &mut normed[..hidden]);
            sum = &normed[..hidden];
        }
        ops::add_scaled(self.pool, &mut stream[..hidden], sum, self.config.residual_multiplier);
    }

    pub(crate) fn norm(&self, norm: &NormWeights, x: &[f32], out: &mut [f32]) {
        let epsilon = self.config.norm_epsilon;
        match self.config.norm {
            Norm::Rms => ops::rms_norm(self.pool, x, &norm.weight, epsilon, out),
            Norm::Layer => ops::layer_norm(self.pool, x, &norm.weight, norm.bias.as_deref(), epsilon, out),
        }
    }
}

/// `out = x . matrix + bias`.
fn project(pool: &ThreadPool, input: &mut Input, x: &[f32], columns: usize, linear: &Linear, out: &mut [f32]) {
    input.set(pool, x, columns, &[&linear.matrix]);
    matmul(pool, input, &mut [(&linear.matrix, &mut *out)]);
    add_bias(pool, linear, out);
}

fn add_bias(pool: &ThreadPool, linear: &Linear, x: &mut [f32]) {
    if let Some(bias) = &linear.bias {
        ops::add_bias(pool, x, bias);
    }
}

/// Moves the rows `keep` (ascending) of `[.., width]` to the front.
fn compact(values: &mut [f32], width: usize, keep: &[usize]) {
    for (to, from) in keep.iter().enumerate() {
        values.copy_within(from * width..(from + 1) * width, to * width);
    }
}
