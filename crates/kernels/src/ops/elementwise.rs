//! What is done to each element by itself.

use super::{Activation, for_rows};
use crate::ThreadPool;
use crate::simd::{Isa, Kernel, Simd, math};

/// Elements in the unit that element-wise work is shared out by: four cache lines.
const UNIT: usize = 64;

/// A function of one element of each of two buffers; functions of one ignore the second.
trait Function: Copy + Sync {
    fn apply<S: Simd>(self, simd: S, x: S::F32, y: S::F32) -> S::F32;
}

/// `x = f(x, y)`.
struct Map2<'a, F> {
    x: &'a mut [f32],
    y: &'a [f32],
    function: F,
}

impl<F: Function> Kernel for Map2<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut xs = self.x.chunks_exact_mut(S::LANES);
        let mut ys = self.y.chunks_exact(S::LANES);
        for (x, y) in xs.by_ref().zip(ys.by_ref()) {
            simd.store_slice(self.function.apply(simd, simd.load_slice(x), simd.load_slice(y)), x);
        }
        let (x, y) = (xs.into_remainder(), ys.remainder());
        if !x.is_empty() {
            simd.store_slice(self.function.apply(simd, simd.load_slice(x), simd.load_slice(y)), x);
        }
    }
}

/// `x = f(x, 0)`.
struct Map1<'a, F> {
    x: &'a mut [f32],
    function: F,
}

impl<F: Function> Kernel for Map1<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut chunks = self.x.chunks_exact_mut(S::LANES);
        for x in chunks.by_ref() {
            simd.store_slice(self.function.apply(simd, simd.load_slice(x), simd.zero()), x);
        }
        let x = chunks.into_remainder();
        if !x.is_empty() {
            simd.store_slice(self.function.apply(simd, simd.load_slice(x), simd.zero()), x);
        }
    }
}

fn map1(pool: &ThreadPool, x: &mut [f32], function: impl Function) {
    let isa = Isa::detect();
    for_rows(pool, x, UNIT, |_, x| isa.dispatch(Map1 { x, function }));
}

fn map2(pool: &ThreadPool, x: &mut [f32], y: &[f32], function: impl Function) {
    assert_eq!(x.len(), y.len(), "the operands must have the same length");
    let isa = Isa::detect();
    for_rows(pool, x, UNIT, |range, x| isa.dispatch(Map2 { x, y: &y[range], function }));
}

macro_rules! function_of_x {
    ($name:ident, $function:path) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Function for $name {
            #[inline(always)]
            fn apply<S: Simd>(self, simd: S, x: S::F32, _y: S::F32) -> S::F32 {
                $function(simd, x)
            }
        }
    };
}

function_of_x!(Silu, math::silu);
function_of_x!(GeluTanh, math::gelu_tanh);
function_of_x!(GeluErf, math::gelu_erf);
function_of_x!(Relu, math::relu);
function_of_x!(Sigmoid, math::sigmoid);

#[derive(Clone, Copy)]
struct Gated<F>(F);

impl<F: Function> Function for Gated<F> {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::F32, y: S::F32) -> S::F32 {
        simd.mul(self.0.apply(simd, x, y), y)
    }
}

#[derive(Clone, Copy)]
struct AddScaled(f32);

impl Function for AddScaled {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::F32, y: S::F32) -> S::F32 {
        simd.fma(y, simd.splat(self.0), x)
    }
}

#[derive(Clone, Copy)]
struct Scale(f32);

impl Function for Scale {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::F32, _y: S::F32) -> S::F32 {
        simd.mul(x, simd.splat(self.0))
    }
}

#[derive(Clone, Copy)]
struct SoftCap(f32);

impl Function for SoftCap {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::F32, _y: S::F32) -> S::F32 {
        let cap = simd.splat(self.0);
        simd.mul(cap, math::tanh(simd, simd.div(x, cap)))
    }
}

/// Adds `bias` to each row of `x`.
struct AddBias<'a> {
    x: &'a mut [f32],
    bias: &'a [f32],
}

impl Kernel for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for x in self.x.chunks_exact_mut(self.bias.len()) {
            Map2 { x, y: self.bias, function: AddScaled(1.0) }.run(simd);
        }
    }
}

/// `x += scale * y`.
///
/// # Panics
/// If the lengths differ.
pub fn add_scaled(pool: &ThreadPool, x: &mut [f32], y: &[f32], scale: f32) {
    map2(pool, x, y, AddScaled(scale));
}

/// Adds `bias` to every row.
///
/// # Panics
/// If `x` does not hold whole rows.
pub fn add_bias(pool: &ThreadPool, x: &mut [f32], bias: &[f32]) {
    if bias.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(bias.len()), "the buffer must hold whole rows");
    let isa = Isa::detect();
    for_rows(pool, x, bias.len(), |_, x| isa.dispatch(AddBias { x, bias }));
}

/// `x *= factor`.
pub fn scale(pool: &ThreadPool, x: &mut [f32], factor: f32) {
    map1(pool, x, Scale(factor));
}

/// `gate = activation(gate) * up`; for the error see [`math::silu`], [`math::gelu_tanh`] and [`math::gelu_erf`].
///
/// # Panics
/// If the lengths differ.
pub fn gated(pool: &ThreadPool, activation: Activation, gate: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => map2(pool, gate, up, Gated(Silu)),
        Activation::GeluTanh => map2(pool, gate, up, Gated(GeluTanh)),
        Activation::GeluErf => map2(pool, gate, up, Gated(GeluErf)),
        Activation::Relu => map2(pool, gate, up, Gated(Relu)),
    }
}

/// `x = activation(x)`.
pub fn activate(pool: &ThreadPool, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Silu => map1(pool, x, Silu),
        Activation::GeluTanh => map1(pool, x, GeluTanh),
        Activation::GeluErf => map1(pool, x, GeluErf),
        Activation::Relu => map1(pool, x, Relu),
    }
}

/// `x = 1 / (1 + exp(-x))`.
pub fn sigmoid(pool: &ThreadPool, x: &mut [f32]) {
    map1(pool, x, Sigmoid);
}

/// `x = cap * tanh(x / cap)`.
pub fn soft_cap(pool: &ThreadPool, x: &mut [f32], cap: f32) {
    map1(pool, x, SoftCap(cap));
}
