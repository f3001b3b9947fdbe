//! Elementary functions on vectors.
//!
//! The polynomials are minimax fits (Remez exchange) made for this file; the stated errors are relative, were measured
//! against f64 on dense grids, and hold on every instruction set. Not-a-number goes through.

// Coefficients keep the digits of the fit, beyond what f32 holds.
#![allow(clippy::excessive_precision)]

use super::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; products of the first with whole numbers to 2^15 are exact.
const LN2_HIGH: f32 = 0.693_359_375;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `exp(x) = 1 + x + x^2 q(x)` for `|x| <= ln 2 / 2`; the fit's own error is 3.1e-9.
const EXP: [f32; 5] = [0.499_999_934_478, 0.166_665_206_317, 0.041_668_388_045, 0.008_368_716_880, 0.001_381_459_865];

/// `2^x = 1 + x q(x)` for `|x| <= 1 / 2`; 9.2e-8.
const EXP2: [f32; 5] = [0.693_146_977_360, 0.240_222_417_610, 0.055_507_339_945, 0.009_671_533_903, 0.001_326_470_184];

/// `tanh(x) = x + x^3 q(x^2)` for `|x| <= 0.63`; 4.8e-9.
const TANH: [f32; 5] =
    [-0.333_332_783_155, 0.133_313_289_638, -0.053_729_230_301, 0.020_602_008_568, -0.005_660_789_924];

/// `erfc(x) = t q(t) exp(-x^2)` with `t = 1 / (1 + x / 2)` for `0 <= x <= 10`; 4.3e-8.
const ERFC: [f32; 9] = [
    0.282_086_417_919,
    0.282_375_307_551,
    0.243_103_769_561,
    0.202_686_845_045,
    -0.026_625_620_118,
    0.278_067_115_502,
    -0.487_199_882_255,
    0.284_574_967_608,
    -0.059_068_963_697,
];

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::F32, coefficients: &[f32; N]) -> S::F32 {
    let mut sum = simd.splat(coefficients[N - 1]);
    for index in (0..N - 1).rev() {
        sum = simd.fma(sum, x, simd.splat(coefficients[index]));
    }
    sum
}

/// `exp(x) = 2^n m`: gives `m` and the whole number `n`, for `|x| < 2^15`.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::F32) -> (S::F32, S::F32) {
    let n = simd.round(simd.mul(x, simd.splat(LOG2_E)));
    let r = simd.neg_fma(n, simd.splat(LN2_HIGH), x);
    let r = simd.neg_fma(n, simd.splat(LN2_LOW), r);
    let q = polynomial(simd, r, &EXP);
    let m = simd.add(simd.fma(simd.mul(r, r), q, r), simd.splat(1.0));
    (m, n)
}

/// `exp(x)` over the whole range, subnormal results and infinity included; error 1.5e-7.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let x = simd.max(simd.splat(-104.0), simd.min(simd.splat(89.0), x));
    let (m, n) = exp_parts(simd, x);
    // In two steps, since 2^128 and 2^-150 are not f32.
    let half = simd.round(simd.mul(n, simd.splat(0.5)));
    simd.scale_exp2(simd.scale_exp2(m, half), simd.sub(n, half))
}

/// `exp(x)` with `x` limited to ±87.3, where the result is a normal number; error 1.5e-7 inside.
#[inline(always)]
pub fn exp_limited<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let x = simd.max(simd.splat(-87.3), simd.min(simd.splat(87.3), x));
    let (m, n) = exp_parts(simd, x);
    simd.scale_exp2(m, n)
}

/// `exp(x)` for `x <= 0`, and 0 below -87.3: the weights of a softmax; error 1.5e-7.
#[inline(always)]
pub fn exp_non_positive<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let lowest = simd.splat(-87.3);
    let (m, n) = exp_parts(simd, simd.max(lowest, x));
    simd.select(simd.less(x, lowest), simd.zero(), simd.scale_exp2(m, n))
}

/// `2^x` for `x <= 0`, and 0 below -126: the weights of an online softmax; error 2.5e-7.
#[inline(always)]
pub fn exp2_non_positive<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let lowest = simd.splat(-126.0);
    let limited = simd.max(lowest, x);
    let n = simd.round(limited);
    let r = simd.sub(limited, n);
    let m = simd.fma(polynomial(simd, r, &EXP2), r, simd.splat(1.0));
    // Products of subnormal weights would be very slow.
    simd.select(simd.less(x, lowest), simd.zero(), simd.scale_exp2(m, n))
}

/// `1 / (1 + exp(-x))`; error 4e-7 above -87.3, and the value there below.
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    simd.reciprocal(simd.add(simd.splat(1.0), exp_limited(simd, simd.neg(x))))
}

/// `tanh(x)`; error 3e-7.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let magnitude = simd.abs(x);
    let square = simd.mul(x, x);
    let small = simd.fma(simd.mul(polynomial(simd, square, &TANH), square), magnitude, magnitude);
    // 1 - 2 / (exp(2 x) + 1) loses digits near zero only.
    let twice = exp_limited(simd, simd.add(magnitude, magnitude));
    let large = simd.neg_fma(simd.splat(2.0), simd.reciprocal(simd.add(twice, simd.splat(1.0))), simd.splat(1.0));
    simd.copy_sign(simd.select(simd.less(magnitude, simd.splat(0.625)), small, large), x)
}

/// The share of the normal distribution below `x`, `(1 + erf(x / sqrt 2)) / 2`; error 1e-6 above
/// -5, and 5e-6 above -13.
#[inline(always)]
pub fn normal_cdf<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    let magnitude = simd.abs(x);
    let t = simd.reciprocal(simd.fma(magnitude, simd.splat(0.5 * std::f32::consts::FRAC_1_SQRT_2), simd.splat(1.0)));
    // exp(-x^2 / 2), with what the square lost in rounding put back: `e^(-a-b) = e^-a (1 - b)` for tiny b.
    let square = simd.mul(x, x);
    let lost = simd.fma(x, x, simd.neg(square));
    let bell = exp_limited(simd, simd.mul(square, simd.splat(-0.5)));
    let bell = simd.neg_fma(simd.mul(lost, simd.splat(0.5)), bell, bell);
    let tail = simd.mul(simd.mul(polynomial(simd, t, &ERFC), t), simd.mul(bell, simd.splat(0.5)));
    simd.select(simd.less(x, simd.zero()), tail, simd.sub(simd.splat(1.0), tail))
}

/// `x sigmoid(x)`; error 6e-7 above -87.
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    simd.mul(x, sigmoid(simd, x))
}

/// The tanh approximation of GELU, `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`; error 1e-6 above -1.5, and
/// 3e-6 below where the result is not under 1e-6 in magnitude.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    // (1 + tanh(u)) / 2 = sigmoid(2 u) keeps its digits on the negative side.
    let square = simd.mul(x, x);
    let twice = simd.mul(x, simd.fma(square, simd.splat(0.071_354_816), simd.splat(1.595_769_1)));
    simd.mul(x, sigmoid(simd, twice))
}

/// `max(x, 0)`; not a number stays so.
#[inline(always)]
pub fn relu<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    simd.max(simd.zero(), x)
}

/// GELU, `x` times the share of the normal distribution below `x`; error 1e-6 above -5, and 5e-6 above -13.
#[inline(always)]
pub fn gelu_erf<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    simd.mul(x, normal_cdf(simd, x))
}

#[cfg(test)]
mod tests {
    use super::super::{Isa, Kernel};
    use super::*;
    use crate::ops::reference;

    /// Names one of the functions above.
    trait Function: Copy {
        fn apply<S: Simd>(self, simd: S, x: S::F32) -> S::F32;
    }

    macro_rules! function {
        ($name:ident, $function:path) => {
            #[derive(Clone, Copy)]
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn apply<S: Simd>(self, simd: S, x: S::F32) -> S::F32 {
                    $function(simd, x)
                }
            }
        };
    }
    function!(Exp, exp);
    function!(ExpLimited, exp_limited);
    function!(ExpNonPositive, exp_non_positive);
    function!(Exp2NonPositive, exp2_non_positive);
    function!(Sigmoid, sigmoid);
    function!(Tanh, tanh);
    function!(NormalCdf, normal_cdf);
    function!(Silu, silu);
    function!(GeluTanh, gelu_tanh);
    function!(GeluErf, gelu_erf);

    struct Apply<'a, F>(F, &'a [f32], &'a mut [f32]);
    impl<F: Function> Kernel for Apply<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for (x, out) in self.1.chunks(S::LANES).zip(self.2.chunks_mut(S::LANES)) {
                simd.store_slice(self.0.apply(simd, simd.load_slice(x)), out);
            }
        }
    }

    /// The largest relative error on a grid over `range`, among results of at least `floor` in magnitude.
    fn error<F: Function>(function: F, exact: impl Fn(f64) -> f64, range: (f32, f32), floor: f64) -> f64 {
        const POINTS: usize = 200_003;
        let step = (range.1 - range.0) / (POINTS - 1) as f32;
        let x: Vec<f32> = (0..POINTS).map(|i| range.0 + step * i as f32).collect();
        let mut worst = 0.0_f64;
        for isa in Isa::available() {
            let mut out = vec![0.0; POINTS];
            isa.dispatch(Apply(function, &x, &mut out));
            for (&x, &y) in x.iter().zip(&out) {
                let exact = exact(f64::from(x));
                if exact.abs() >= floor {
                    let error = ((f64::from(y) - exact) / exact).abs();
                    assert!(error < 1e-5, "{isa}: f({x}) = {y}, exactly {exact}");
                    worst = worst.max(error);
                }
            }
        }
        worst
    }

    fn at<F: Function>(isa: Isa, function: F, x: f32) -> f32 {
        let mut out = [0.0];
        isa.dispatch(Apply(function, &[x], &mut out));
        out[0]
    }

    #[test]
    fn errors_are_as_stated() {
        let tiny = f64::from(f32::MIN_POSITIVE);
        assert!(error(Exp, f64::exp, (-87.3, 88.7), tiny) <= 1.5e-7);
        assert!(error(Exp, f64::exp, (-0.01, 0.01), tiny) <= 1.5e-7);
        assert!(error(ExpLimited, f64::exp, (-87.3, 87.3), tiny) <= 1.5e-7);
        assert!(error(ExpNonPositive, f64::exp, (-87.2, 0.0), tiny) <= 1.5e-7);
        assert!(error(Exp2NonPositive, f64::exp2, (-126.0, 0.0), tiny) <= 2.5e-7);
        let exact_sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(error(Sigmoid, exact_sigmoid, (-87.2, 100.0), tiny) <= 4e-7);
        assert!(error(Tanh, f64::tanh, (-12.0, 12.0), tiny) <= 3e-7);
        assert!(error(Tanh, f64::tanh, (-0.7, 0.7), tiny) <= 3e-7);
        assert!(error(Silu, |x| x * exact_sigmoid(x), (-87.0, 90.0), tiny) <= 6e-7);
        for (from, limit) in [(-5.0, 1e-6), (-12.9, 5e-6)] {
            assert!(error(NormalCdf, reference::normal_cdf, (from, 12.9), tiny) <= limit);
            assert!(error(GeluErf, |x| x * reference::normal_cdf(x), (from, 12.9), tiny) <= limit);
        }
        let gelu = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh());
        assert!(error(GeluTanh, gelu, (-1.5, 12.0), tiny) <= 1e-6);
        assert!(error(GeluTanh, gelu, (-12.0, 12.0), 1e-6) <= 3e-6);
    }

    #[test]
    fn ends_of_the_range() {
        for isa in Isa::available() {
            assert_eq!(at(isa, Exp, 0.0), 1.0);
            assert_eq!(at(isa, Exp, 100.0), f32::INFINITY);
            assert_eq!(at(isa, Exp, f32::INFINITY), f32::INFINITY);
            assert_eq!(at(isa, Exp, f32::NEG_INFINITY), 0.0);
            assert!(at(isa, Exp, -95.0) > 0.0);
            assert!(at(isa, Exp, f32::NAN).is_nan());
            assert_eq!(at(isa, ExpNonPositive, f32::NEG_INFINITY), 0.0);
            assert_eq!(at(isa, ExpNonPositive, 0.0), 1.0);
            assert!(at(isa, ExpNonPositive, f32::NAN).is_nan());
            assert_eq!(at(isa, Exp2NonPositive, -1e30), 0.0);
            assert_eq!(at(isa, Exp2NonPositive, f32::NEG_INFINITY), 0.0);
            assert_eq!(at(isa, Exp2NonPositive, 0.0), 1.0);
            assert!(at(isa, Exp2NonPositive, f32::NAN).is_nan());
            assert_eq!(at(isa, Sigmoid, 1000.0), 1.0);
            assert_eq!(at(isa, Tanh, 1000.0), 1.0);
            assert_eq!(at(isa, Tanh, -1000.0), -1.0);
            assert_eq!(at(isa, Tanh, 0.0), 0.0);
            assert_eq!(at(isa, Silu, 0.0), 0.0);
            assert_eq!(at(isa, GeluErf, 50.0), 50.0);
            assert!(at(isa, GeluErf, -50.0).abs() < 1e-30);
            assert!(at(isa, Silu, f32::NAN).is_nan());
        }
    }
}
