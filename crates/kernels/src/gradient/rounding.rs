//! Numbers of 16 bits by chance.

use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Rounds every number to one of the two bf16 numbers around it, to the nearer one more probably, so that what is too small
/// to be seen in one step adds up over many (stochastic rounding: Gupta et al. 2015, arXiv 1502.02551; Zamirai et al. 2020,
/// arXiv 2010.06192). `key` and a number's place alone decide; the first one has the place `first`.
pub fn round_by_chance(pool: &ThreadPool, numbers: &mut [f32], first: usize, key: u32) {
    let isa = Isa::detect();
    let len = numbers.len();
    let numbers = SharedSlice::new(numbers);
    pool.split(len, 64, |range| {
        // SAFETY: the ranges of a split are disjoint.
        let numbers = unsafe { numbers.range(range.clone()) };
        isa.dispatch(Round { first: (first + range.start) as u32, key, numbers });
    });
}

struct Round<'a> {
    first: u32,
    key: u32,
    numbers: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (place, number) in (self.first..).zip(self.numbers) {
            let bits = number.to_bits().wrapping_add(mixed(place ^ self.key) & 0xffff);
            *number = f32::from_bits(bits & 0xffff_0000);
        }
    }
}

/// A number as if drawn by chance, another one for each number (the constants of Wellons 2018, "Prospecting for Hash
/// Functions": `lowbias32`).
#[inline(always)]
fn mixed(mut number: u32) -> u32 {
    number = (number ^ number >> 16).wrapping_mul(0x7feb_352d);
    number = (number ^ number >> 15).wrapping_mul(0x846c_a68b);
    number ^ number >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_kept_and_threads_do_not_matter() {
        let (one, three) = (ThreadPool::new(1).unwrap(), ThreadPool::new(3).unwrap());
        for value in [1.001_f32, -0.3, 3.0e-5, 1.0, -2.5, 0.0, f32::INFINITY] {
            let (mut a, mut b) = (vec![value; 100_003], vec![value; 100_003]);
            let (begin, end) = a.split_at_mut(40_000);
            round_by_chance(&one, begin, 0, 7);
            round_by_chance(&three, end, 40_000, 7);
            round_by_chance(&three, &mut b, 0, 7);
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
            let down = f32::from_bits(value.to_bits() & 0xffff_0000);
            let up = f32::from_bits((value.to_bits() & 0xffff_0000) + 0x1_0000);
            assert!(a.iter().all(|a| a.to_bits() == down.to_bits() || a.to_bits() == up.to_bits()), "{value}");
            if value == down {
                assert!(a.iter().all(|a| *a == value), "{value} is a bf16 number");
                continue;
            }
            let mean = a.iter().map(|a| f64::from(*a)).sum::<f64>() / a.len() as f64;
            // Six deviations of the mean of so many draws.
            let bound = 6.0 * 0.5 * f64::from((up - down).abs()) / (a.len() as f64).sqrt();
            assert!((mean - f64::from(value)).abs() < bound, "{value}: {mean}");
            let mut other = vec![value; 100_003];
            round_by_chance(&one, &mut other, 0, 8);
            assert_ne!(a, other, "another key draws otherwise");
        }
    }
}
