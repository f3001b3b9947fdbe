//! What is done to rows between the products, once for every instruction set.

use saem_kernels::simd::{Isa, Kernel, Simd, math};

/// Elements that are worked on at a time: a multiple of any vector's length.
const BLOCK: usize = 16;

/// `out = max(0, bias + sum of rows) + residual`: what a convolution makes of the contributions of a token's neighbours.
struct Gather<'a> {
    rows: &'a [&'a [f32]],
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
                for row in self.rows {
                    sum = simd.add(sum, simd.load_slice(row.get(at..).unwrap_or_default()));
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
pub(crate) fn gather(isa: Isa, rows: &[&[f32]], bias: &[f32], residual: &[f32], out: &mut [f32]) {
    debug_assert!(out.len().is_multiple_of(BLOCK) && rows.iter().all(|row| row.len() == out.len()));
    isa.dispatch(Gather { rows, bias, residual, out });
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
        for isa in Isa::available() {
            for count in 0..=3 {
                let mut out = [0.0; 48];
                gather(isa, &rows[..count], bias, rows[0], &mut out);
                for (index, out) in out.iter().enumerate() {
                    let sum = bias[index] + rows[..count].iter().map(|row| row[index]).sum::<f32>();
                    assert!((out - (sum.max(0.0) + rows[0][index])).abs() < 1e-5, "{isa}, {count}, {index}");
                }
            }
            let mut x = values[..50].to_vec();
            tanh(isa, &mut x);
            assert!(x.iter().zip(&values).all(|(y, x)| (y - x.tanh()).abs() < 1e-6), "{isa}");
        }
    }
}
