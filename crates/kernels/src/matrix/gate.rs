//! `activation(gate) * up` on a short row.

use crate::ops::Activation;
use crate::simd::{Isa, Kernel, Simd, math};

/// `gate = activation(gate) * up`.
pub(super) fn gated_row(activation: Activation, gate: &mut [f32], up: &[f32]) {
    Isa::detect().dispatch(GatedRow { activation, gate, up });
}

struct GatedRow<'a> {
    activation: Activation,
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for GatedRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (gate, up) in self.gate.chunks_mut(S::LANES).zip(self.up.chunks(S::LANES)) {
            let value = simd.load_slice(gate);
            let active = match self.activation {
                Activation::Silu => math::silu(simd, value),
                Activation::GeluTanh => math::gelu_tanh(simd, value),
                Activation::GeluErf => math::gelu_erf(simd, value),
                Activation::Relu => math::relu(simd, value),
            };
            simd.store_slice(simd.mul(active, simd.load_slice(up)), gate);
        }
    }
}
