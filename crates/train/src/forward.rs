//! The forward pass of a layer, keeping what its backward pass needs.

use std::ops::Range;

use saem_kernels::attention::AttentionShape;
use saem_kernels::gemm::Precision;
use saem_kernels::gradient::{Documents, Projections, attention};
use saem_kernels::{Block, ThreadPool, ops};
use saem_model::config;
use saem_model::{Angles, Config};

use crate::buffers::{Inside, Saved, Scratch};
use crate::frozen::Weights;
use crate::layout::{Dense, FeedForward, Layer, Norm, Place, Prefix};
use crate::linear::Room;

/// What a pass works with.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) pool: &'a ThreadPool,
    pub(crate) precision: Precision,
    pub(crate) config: &'a Config,
    pub(crate) weights: Weights<'a>,
    /// Whether what a LoRA adds is added.
    pub(crate) is_adapted: bool,
    /// Keys and values for the first rows of every text.
    pub(crate) prefix: Option<&'a Prefix>,
    /// Texts that do not see each other, covering all tokens; or the first one stands before each of the others.
    pub(crate) documents: Documents<'a>,
    pub(crate) tokens: usize,
    /// How much an uneven use of experts counts (see [`crate::Objective`]), for the passes of a step.
    pub(crate) balance: f32,
}

impl Pass<'_> {
    /// The texts that the model has from their first position on.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = &Range<usize>> {
        self.documents.positions().filter(|(_, position)| *position == 0).map(|(text, _)| text)
    }

    /// The row of each token's position, where positions are learnt.
    pub(crate) fn position_rows(&self) -> impl Iterator<Item = usize> {
        self.documents.positions().flat_map(move |(text, first)| {
            (first..first + text.len()).filter_map(|position| self.config.position_row(position))
        })
    }

    /// `stream -> out`, layer `index`.
    pub(crate) fn layer(
        &self,
        index: usize,
        layer: &Layer,
        stream: &[f32],
        out: &mut [f32],
        (saved, inside): (&mut Saved, &mut Inside),
        scratch: &mut Scratch,
    ) {
        let Self { pool, config, tokens, .. } = *self;
        let hidden = tokens * config.hidden;
        let (wide, narrow) = (tokens * config.query_width(), tokens * config.kv_width());
        self.norm_input(layer.attention_norm.as_ref(), stream, scratch);
        let Scratch { normed, room, norm_weight, angles, .. } = scratch;
        let x = &normed[..hidden];
        let Saved { query, key, value, raw_query, raw_key, .. } = saved;
        let (query, key, value) = (&mut query[..wide], &mut key[..narrow], &mut value[..narrow]);
        self.linear(&layer.query, x, query, room);
        self.linear(&layer.key, x, key, room);
        self.linear(&layer.value, x, value, room);
        for (weight, heads, raw) in [(&layer.query_norm, &mut *query, raw_query), (&layer.key_norm, &mut *key, raw_key)]
        {
            if let Some(weight) = weight {
                raw[..heads.len()].copy_from_slice(heads);
                let weight = self.norm_weight(weight, norm_weight);
                ops::rms_norm_in_place(pool, heads, weight, config.norm_epsilon);
            }
        }
        if let Some((angles, _)) = self.rotation(index, angles) {
            let (cos, sin) = angles.rows(tokens);
            ops::rope(pool, query, config.heads, config.head_dim, cos, sin, config.rope_style);
            ops::rope(pool, key, config.kv_heads, config.head_dim, cos, sin, config.rope_style);
        }
        self.put_prefix(index, key, value);
        let Saved { query, key, value, attended, log_sums, attention_output, middle, .. } = saved;
        let inputs = Projections { query: &query[..wide], key: &key[..narrow], value: &value[..narrow] };
        let (attended, log_sums) = (&mut attended[..wide], &mut log_sums[..tokens * config.heads]);
        attention(pool, self.precision, &self.shape(index), &self.documents, &inputs, attended, log_sums);
        let Scratch { output, room, .. } = scratch;
        self.linear(&layer.attention_output, attended, &mut output[..hidden], room);
        let middle = &mut middle[..hidden];
        middle.copy_from_slice(stream);
        self.add(layer.attention_post_norm.as_ref(), attention_output, middle, scratch);

        self.norm_input(layer.feed_forward_norm.as_ref(), middle, scratch);
        let Saved { middle, feed_forward_output, .. } = saved;
        match &layer.feed_forward {
            FeedForward::Dense(dense) => {
                let Scratch { normed, wide, output, room, .. } = scratch;
                let inner = tokens * dense.up.outputs;
                let (gate, up) = (inside.gate.get_mut(..inner), &mut inside.up[..inner]);
                self.dense(dense, &normed[..hidden], (gate, up), &mut wide[..inner], &mut output[..hidden], room);
            }
            FeedForward::Sparse(sparse) => self.sparse(sparse, inside, scratch),
        }
        out.copy_from_slice(&middle[..hidden]);
        self.add(layer.feed_forward_post_norm.as_ref(), feed_forward_output, out, scratch);
    }

    /// `y = down(activation(gate x) * up x)`. What stands before the activation goes to `gate` and `up`.
    pub(crate) fn dense(
        &self,
        dense: &Dense,
        x: &[f32],
        (gate, up): (Option<&mut [f32]>, &mut [f32]),
        activated: &mut [f32],
        y: &mut [f32],
        room: &mut Room,
    ) {
        let mut gate = gate;
        self.dense_inside(dense, x, (gate.as_deref_mut(), &mut *up), room);
        self.activate(gate.as_deref(), up, activated);
        self.linear(&dense.down, activated, y, room);
    }

    /// What stands before the activation.
    pub(crate) fn dense_inside(
        &self,
        dense: &Dense,
        x: &[f32],
        (gate, up): (Option<&mut [f32]>, &mut [f32]),
        room: &mut Room,
    ) {
        self.linear(&dense.up, x, up, room);
        if let Some((linear, gate)) = dense.gate.as_ref().zip(gate) {
            self.linear(linear, x, gate, room);
        }
    }

    /// `activation(gate) * up`, or `activation(up)`.
    pub(crate) fn activate(&self, gate: Option<&[f32]>, up: &[f32], activated: &mut [f32]) {
        match gate {
            Some(gate) => {
                activated.copy_from_slice(gate);
                ops::gated(self.pool, self.config.activation, activated, up);
            }
            None => {
                activated.copy_from_slice(up);
                ops::activate(self.pool, self.config.activation, activated);
            }
        }
    }

    /// The norm before a sub-layer, or its input as it is, to `scratch.normed`.
    pub(crate) fn norm_input(&self, norm: Option<&Norm>, x: &[f32], scratch: &mut Scratch) {
        let Scratch { normed, norm_weight, .. } = scratch;
        let normed = &mut normed[..x.len()];
        match norm {
            Some(norm) => self.norm(norm, x, normed, norm_weight),
            None => normed.copy_from_slice(x),
        }
    }

    pub(crate) fn norm(&self, norm: &Norm, x: &[f32], out: &mut [f32], norm_weight: &mut [f32]) {
        let weight = self.norm_weight(&norm.weight, norm_weight);
        let epsilon = self.config.norm_epsilon;
        match self.config.norm {
            config::Norm::Rms => ops::rms_norm(self.pool, x, weight, epsilon, out),
            config::Norm::Layer => {
                let bias = norm.bias.as_ref().map(|bias| self.weights.vector(bias));
                ops::layer_norm(self.pool, x, weight, bias, epsilon, out);
            }
        }
    }

    /// A norm's weight as it counts: some checkpoints store it less one.
    pub(crate) fn norm_weight<'a>(&'a self, place: &Place, room: &'a mut [f32]) -> &'a [f32] {
        let stored = self.weights.vector(place);
        let offset = self.config.norm_offset;
        if offset == 0.0 {
            return stored;
        }
        let room = &mut room[..stored.len()];
        room.iter_mut().zip(stored).for_each(|(room, stored)| *room = stored + offset);
        room
    }

    /// `stream += residual multiplier * norm(scratch.output)`; keeps the output where it is normed.
    fn add(&self, norm: Option<&Norm>, saved: &mut [f32], stream: &mut [f32], scratch: &mut Scratch) {
        let Scratch { output, normed, norm_weight, .. } = scratch;
        let output = &output[..stream.len()];
        let sum = match norm {
            Some(norm) => {
                saved[..output.len()].copy_from_slice(output);
                let normed = &mut normed[..output.len()];
                self.norm(norm, output, normed, norm_weight);
                &*normed
            }
            None => output,
        };
        ops::add_scaled(self.pool, stream, sum, self.config.residual_multiplier);
    }

    pub(crate) fn rotation<'a>(
        &self,
        layer: usize,
        angles: &'a [(Angles, Block<f32>)],
    ) -> Option<&'a (Angles, Block<f32>)> {
        angles.get(self.config.layers.get(layer)?.rope?)
    }

    pub(crate) fn shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            scale: self.config.attention_scale,
            window: self.config.layers.get(layer).and_then(|layer| layer.window),
            soft_cap: self.config.attention_soft_cap,
        }
    }
}
