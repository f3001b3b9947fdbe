//! What is done to rows between the products, once for every instruction set.

use saem_kernels::ThreadPool;
use saem_kernels::gemm::{Factor, Output, Packed, gemm_packed};
use saem_kernels::simd::{Isa, Kernel, Simd, math};

/// Elements that are worked on at a time: a multiple of any vector's length.
const BLOCK: usize = 16;

/// `out = values . matrix`, rows of `width` to rows of `out_width`. A row's result does not depend on the others.
pub(crate) fn product(
    pool: &ThreadPool,
    values: &[f32],
    width: usize,
    matrix: &Packed,
    out: &mut [f32],
    out_width: usize,
) {
    let rows = values.len() / width;
    gemm_packed(pool, rows, Factor::lines(values, width), matrix, out, out_width, Output::Replace);
}

/// `out = max(0, bias + sum of terms) + residual`: what a convolution makes of products. A term is a factor and a row.
struct Gather<'a> {
    terms: &'a [(f32, &'a [f32])],
    bias: &'a [f32],
    residual: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let blocks = self.out.chunks_exact_mut(BLOCK).zip(self.bias.chunks_exact(BLOCK));
        for (index, ((out, bias), residual)) in blocks.zip(self.residual.chunks_exact(BLOCK)).enumerate() {
            let mut lane = 0;
            while lane < BLOCK {
                let at = index * BLOCK + lane;
                let mut sum = simd.load_slice(bias.get(lane..).unwrap_or_default());
                for (factor, row) in self.terms {
                    sum = simd.fma(simd.splat(*factor), simd.load_slice(row.get(at..).unwrap_or_default()), sum);
                }
                let positive = simd.max(sum, simd.zero());
                let total = simd.add(positive, simd.load_slice(residual.get(lane..).unwrap_or_default()));
                simd.store_slice(total, out.get_mut(lane..).unwrap_or_default());
                lane += S::LANES;
            }
        }
    }
}

/// See [`Gather`]; all slices are as long as `out`, a multiple of 16.
pub(crate) fn gather(isa: Isa, terms: &[(f32, &[f32])], bias: &[f32], residual: &[f32], out: &mut [f32]) {
    debug_assert!(out.len().is_multiple_of(BLOCK) && terms.iter().all(|(_, row)| row.len() == out.len()));
    isa.dispatch(Gather { terms, bias, residual, out });
}

/// `out = sum of terms`.
struct Mix<'a> {
    terms: &'a [(f32, &'a [f32])],
    out: &'a mut [f32],
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (index, out) in self.out.chunks_exact_mut(S::LANES).enumerate() {
            let mut sum = simd.zero();
            for (factor, row) in self.terms {
                let row = simd.load_slice(row.get(index * S::LANES..).unwrap_or_default());
                sum = simd.fma(simd.splat(*factor), row, sum);
            }
            simd.store_slice(sum, out);
        }
    }
}

/// See [`Mix`]; all slices are as long as `out`, a multiple of 16.
pub(crate) fn mix(isa: Isa, terms: &[(f32, &[f32])], out: &mut [f32]) {
    debug_assert!(out.len().is_multiple_of(BLOCK) && terms.iter().all(|(_, row)| row.len() == out.len()));
    isa.dispatch(Mix { terms, out });
}

/// `sum += (x - mean(x)) / sqrt(variance(x) + epsilon)`, for an `x` in two parts.
struct AddStandardized<'a> {
    parts: [&'a [f32]; 2],
    epsilon: f32,
    sum: &'a mut [f32],
}

impl Kernel for AddStandardized<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.sum.len() as f32;
        let values = || self.parts.iter().flat_map(|part| part.chunks_exact(S::LANES)).map(|x| simd.load_slice(x));
        let mut total = simd.zero();
        for x in values() {
            total = simd.add(total, x);
        }
        let mean = simd.splat(simd.reduce_sum(total) / width);
        let mut squares = simd.zero();
        for x in values() {
            let distance = simd.sub(x, mean);
            squares = simd.fma(distance, distance, squares);
        }
        let variance = simd.reduce_sum(squares) / width;
        let scale = simd.splat((variance + self.epsilon).sqrt().recip());
        for (sum, x) in self.sum.chunks_exact_mut(S::LANES).zip(values()) {
            simd.store_slice(simd.fma(simd.sub(x, mean), scale, simd.load_slice(sum)), sum);
        }
    }
}

/// See [`AddStandardized`]; the parts together are as long as `sum`, each a multiple of 16.
pub(crate) fn add_standardized(isa: Isa, parts: [&[f32]; 2], epsilon: f32, sum: &mut [f32]) {
    debug_assert!(parts.iter().all(|part| part.len().is_multiple_of(BLOCK)));
    debug_assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), sum.len());
    isa.dispatch(AddStandardized { parts, epsilon, sum });
}

/// `x = tanh(x)`.
struct Tanh<'a>(&'a mut [f32]);

impl Kernel for Tanh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for x in self.0.chunks_mut(S::LANES) {
            simd.store_slice(math::tanh(simd, simd.load_slice(x)), x);
        }
    }
}

/// `x = tanh(x)`.
pub(crate) fn tanh(isa: Isa, x: &mut [f32]) {
    isa.dispatch(Tanh(x));
}

/// `x = max(0, x)`.
pub(crate) fn relu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_on_every_instruction_set() {
        let values: Vec<f32> = (0..192).map(|index| (index as f32 * 0.37).sin() * 3.0).collect();
        let (bias, rest) = values.split_at(48);
        let rows: Vec<&[f32]> = rest.chunks_exact(48).collect();
        let terms: Vec<(f32, &[f32])> = [0.5, -2.0, 1.0].into_iter().zip(rows.iter().copied()).collect();
        for isa in Isa::available() {
            for count in 0..=3 {
                let mut out = [0.0; 48];
                let terms = &terms[..count];
                gather(isa, terms, bias, rows[0], &mut out);
                let sum = |index: usize| terms.iter().map(|(factor, row)| factor * row[index]).sum::<f32>();
                for (index, out) in out.iter().enumerate() {
                    let expected = (bias[index] + sum(index)).max(0.0) + rows[0][index];
                    assert!((out - expected).abs() < 1e-5, "{isa}, {count}, {index}");
                }
                mix(isa, terms, &mut out);
                assert!(out.iter().enumerate().all(|(index, out)| (out - sum(index)).abs() < 1e-5), "{isa}, {count}");
            }
            let (parts, mut sum) = ([bias, rows[0]], vec![0.5; 96]);
            add_standardized(isa, parts, 1e-3, &mut sum);
            let joined: Vec<f64> = parts.concat().iter().map(|x| f64::from(*x)).collect();
            let mean = joined.iter().sum::<f64>() / 96.0;
            let variance = joined.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 96.0;
            for (x, sum) in joined.iter().zip(&sum) {
                let expected = 0.5 + (x - mean) / (variance + 1e-3).sqrt();
                assert!((f64::from(*sum) - expected).abs() < 1e-5, "{isa}: {sum} {expected}");
            }
            let mut x = values[..50].to_vec();
            tanh(isa, &mut x);
            assert!(x.iter().zip(&values).all(|(y, x)| (y - x.tanh()).abs() < 1e-6), "{isa}");
        }
    }
}
