//! The backward pass of a layer.

use saem_kernels::gemm::Output;
use saem_kernels::gradient::{
    NormKind, Projections, activate_backward, attention_backward, gated_backward, norm_backward,
};
use saem_kernels::ops;
use saem_model::config;

use crate::buffers::{Inside, Saved, Scratch};
use crate::forward::Pass;
use crate::layout::{Dense, FeedForward, Layer, Norm, Place, Slot};
use crate::linear::Room;

impl Pass<'_> {
    /// Turns the gradient of the layer's output, `dx`, into that of its input (where that is wanted: nothing is trained
    /// below some layer), and adds to those of its parameters. What the forward pass saved is used up; the inside of the
    /// feed-forward layer is computed again where it was not kept.
    pub(crate) fn layer_backward(
        &self,
        index: usize,
        layer: &Layer,
        stream: &[f32],
        dx: &mut [f32],
        (saved, inside): (&mut Saved, &mut Inside),
        is_inside_kept: bool,
        scratch: &mut Scratch,
        gradients: &mut [f32],
        to_input: bool,
    ) {
        self.feed_forward_backward(layer, dx, saved, inside, is_inside_kept, scratch, gradients);
        self.attention_sub_layer_backward(index, layer, stream, dx, saved, scratch, gradients, to_input);
    }

    fn feed_forward_backward(
        &self,
        layer: &Layer,
        dx: &mut [f32],
        saved: &Saved,
        inside: &mut Inside,
        is_inside_kept: bool,
        scratch: &mut Scratch,
        gradients: &mut [f32],
    ) {
        let Saved { middle, feed_forward_output, .. } = saved;
        let (hidden, middle) = (dx.len(), &middle[..dx.len()]);
        let norm = layer.feed_forward_norm.as_ref();
        self.add_backward(layer.feed_forward_post_norm.as_ref(), feed_forward_output, dx, scratch, gradients);
        self.norm_input(norm, middle, scratch);
        match &layer.feed_forward {
            FeedForward::Dense(dense) => {
                let Scratch { normed, output, wide, room, .. } = scratch;
                let (x, inner) = (&normed[..hidden], self.tokens * dense.up.outputs);
                let (mut gate, up) = (inside.gate.get_mut(..inner), &mut inside.up[..inner]);
                if !is_inside_kept {
                    self.dense_inside(dense, x, (gate.as_deref_mut(), &mut *up), room);
                }
                let (dy, activated) = (&mut output[..hidden], &mut wide[..inner]);
                self.input_backward(&dense.down, dy, activated, Output::Replace, room);
                self.dense_backward(dense, x, (gate, up), activated, dy, gradients, room);
            }
            FeedForward::Sparse(sparse) => self.sparse_backward(sparse, inside, is_inside_kept, scratch, gradients),
        }
        self.norm_input_backward(norm, middle, dx, scratch, gradients);
    }

    /// From the gradient of the activations, in `activated`: turns the gradient of the output, `dy`, into that of the input,
    /// and adds to those of the parameters.
    pub(crate) fn dense_backward(
        &self,
        dense: &Dense,
        x: &[f32],
        (gate, up): (Option<&mut [f32]>, &mut [f32]),
        activated: &mut [f32],
        dy: &mut [f32],
        gradients: &mut [f32],
        room: &mut Room,
    ) {
        let activation = self.config.activation;
        let gate = dense.gate.as_ref().zip(gate).map(|(linear, gate)| {
            gated_backward(self.pool, activation, gate, up, activated);
            (linear, &*gate)
        });
        if gate.is_none() {
            activate_backward(self.pool, activation, up, activated);
        }
        self.weight_backward(&dense.down, activated, dy, gradients, room);
        self.weight_backward(&dense.up, x, up, gradients, room);
        self.input_backward(&dense.up, up, dy, Output::Replace, room);
        if let Some((linear, gate)) = gate {
            self.weight_backward(linear, x, gate, gradients, room);
            self.input_backward(linear, gate, dy, Output::Add, room);
        }
    }

    fn attention_sub_layer_backward(
        &self,
        index: usize,
        layer: &Layer,
        stream: &[f32],
        dx: &mut [f32],
        saved: &mut Saved,
        scratch: &mut Scratch,
        gradients: &mut [f32],
        to_input: bool,
    ) {
        let Self { pool, config, tokens, .. } = *self;
        let hidden = dx.len();
        let (wide, narrow) = (tokens * config.query_width(), tokens * config.kv_width());
        let Saved { query, key, value, raw_query, raw_key, attended, log_sums, attention_output, .. } = saved;
        self.add_backward(layer.attention_post_norm.as_ref(), attention_output, dx, scratch, gradients);
        let Scratch { output, attended: dattended, room, wide: projections, .. } = scratch;
        let (dy, dattended) = (&output[..hidden], &mut dattended[..wide]);
        self.weight_backward(&layer.attention_output, &attended[..wide], dy, gradients, room);
        self.input_backward(&layer.attention_output, dy, dattended, Output::Replace, room);
        let (dquery, rest) = projections.split_at_mut(wide);
        let (dkey, rest) = rest.split_at_mut(narrow);
        let dvalue = &mut rest[..narrow];
        attention_backward(
            pool,
            self.precision,
            &self.shape(index),
            &self.documents,
            &Projections { query: &query[..wide], key: &key[..narrow], value: &value[..narrow] },
            (&attended[..wide], &log_sums[..tokens * config.heads]),
            dattended,
            Projections { query: dquery, key: dkey, value: dvalue },
        );
        self.take_prefix(index, dkey, dvalue, gradients);
        let Scratch { angles, statistics, norm_weight, .. } = scratch;
        if let Some((angles, opposite)) = self.rotation(index, angles) {
            let (cos, sin) = angles.rows(tokens);
            let opposite = &opposite[..sin.len()];
            ops::rope(pool, dquery, config.heads, config.head_dim, cos, opposite, config.rope_style);
            ops::rope(pool, dkey, config.kv_heads, config.head_dim, cos, opposite, config.rope_style);
        }
        for (place, raw, dheads) in
            [(&layer.query_norm, &raw_query[..], &mut *dquery), (&layer.key_norm, &raw_key[..], &mut *dkey)]
        {
            if let Some(place) = place {
                let len = dheads.len();
                let before = &mut dattended[..len];
                let dweight = place.slot().map(|slot| &mut gradients[slot]);
                let weight = self.norm_weight(place, norm_weight);
                let (kind, epsilon) = (NormKind::Rms, config.norm_epsilon);
                let inputs = (&raw[..len], weight);
                norm_backward(pool, kind, epsilon, inputs, dheads, before, dweight, None, statistics);
                dheads.copy_from_slice(before);
            }
        }
        self.norm_input(layer.attention_norm.as_ref(), stream, scratch);
        let Scratch { normed, output, room, wide: projections, .. } = scratch;
        let (dquery, rest) = projections.split_at(wide);
        let (dkey, rest) = rest.split_at(narrow);
        let (x, sum) = (&normed[..hidden], &mut output[..hidden]);
        let parts = [(&layer.query, dquery), (&layer.key, dkey), (&layer.value, &rest[..narrow])];
        for (number, (linear, dy)) in parts.into_iter().enumerate() {
            self.weight_backward(linear, x, dy, gradients, room);
            if to_input {
                let output = if number == 0 { Output::Replace } else { Output::Add };
                self.input_backward(linear, dy, sum, output, room);
            }
        }
        if !to_input {
            return;
        }
        self.norm_input_backward(layer.attention_norm.as_ref(), stream, dx, scratch, gradients);
    }

    /// The gradient of a sub-layer's output, before its norm and the residual multiplier, to `scratch.output`.
    fn add_backward(
        &self,
        norm: Option<&Norm>,
        saved: &[f32],
        dx: &[f32],
        scratch: &mut Scratch,
        gradients: &mut [f32],
    ) {
        let multiplier = self.config.residual_multiplier;
        let output = &mut scratch.output[..dx.len()];
        output.copy_from_slice(dx);
        if multiplier != 1.0 {
            ops::scale(self.pool, output, multiplier);
        }
        if let Some(norm) = norm {
            let Scratch { output, gradient, statistics, norm_weight, .. } = scratch;
            let (output, gradient) = (&mut output[..dx.len()], &mut gradient[..dx.len()]);
            self.norm_backward(norm, &saved[..dx.len()], output, gradient, gradients, statistics, norm_weight);
            output.copy_from_slice(gradient);
        }
    }

    /// Adds to `dx` what comes back through the norm before a sub-layer, whose gradient is `scratch.output`.
    fn norm_input_backward(
        &self,
        norm: Option<&Norm>,
        x: &[f32],
        dx: &mut [f32],
        scratch: &mut Scratch,
        gradients: &mut [f32],
    ) {
        let Scratch { output, gradient, statistics, norm_weight, .. } = scratch;
        let dy = &output[..dx.len()];
        match norm {
            Some(norm) => {
                let gradient = &mut gradient[..dx.len()];
                self.norm_backward(norm, x, dy, gradient, gradients, statistics, norm_weight);
                ops::add_scaled(self.pool, dx, gradient, 1.0);
            }
            None => ops::add_scaled(self.pool, dx, dy, 1.0),
        }
    }

    /// Gradients of a norm over the stream's width.
    pub(crate) fn norm_backward(
        &self,
        norm: &Norm,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        gradients: &mut [f32],
        statistics: &mut [f32],
        norm_weight: &mut [f32],
    ) {
        let kind = match self.config.norm {
            config::Norm::Rms => NormKind::Rms,
            config::Norm::Layer => NormKind::Layer,
        };
        let weight = self.norm_weight(&norm.weight, norm_weight);
        let bias = norm.bias.as_ref().and_then(Place::slot);
        let (dweight, dbias) = match norm.weight.slot() {
            Some(weight) => two(gradients, weight, bias),
            None => (None, None),
        };
        let epsilon = self.config.norm_epsilon;
        norm_backward(self.pool, kind, epsilon, (x, weight), dy, dx, dweight, dbias, statistics);
    }
}

/// A weight's part of the gradients, and its bias's, which lies behind it.
fn two(gradients: &mut [f32], weight: Slot, bias: Option<Slot>) -> (Option<&mut [f32]>, Option<&mut [f32]>) {
    match bias {
        None => (Some(&mut gradients[weight]), None),
        Some(bias) => {
            let (before, after) = gradients.split_at_mut(bias.start);
            (Some(&mut before[weight]), Some(&mut after[..bias.len()]))
        }
    }
}
