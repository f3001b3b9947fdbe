//! Floats in two halves: the bf16 number that products take, and what it lacks.
//!
//! The bits of a float are those of the nearest bf16 number, which are its upper half, plus a signed number of 16 bits. So the
//! two halves take the four bytes that the float takes and are it exactly, while a product reads two of them.

use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};

/// Halves are two bytes each, the lower one first.
const HALF: usize = 2;

/// Takes numbers apart: in `high` the nearest bf16 numbers (of two that are as near, the one away from zero), in `low` what
/// they lack, 2 bytes each. Without `low` that is lost.
///
/// # Panics
/// If the lengths do not belong together.
pub fn into_halves(pool: &ThreadPool, numbers: &[f32], high: &mut [u8], low: &mut [u8]) {
    assert!(
        high.len() == HALF * numbers.len() && (low.is_empty() || low.len() == high.len()),
        "two bytes for each number"
    );
    let isa = Isa::detect();
    let is_whole = !low.is_empty();
    let (high, low) = (SharedSlice::new(high), SharedSlice::new(low));
    pool.split(numbers.len(), 64, |range| {
        let bytes = HALF * range.start..HALF * range.end;
        // SAFETY: the ranges of a split are disjoint, and so are their bytes.
        let (high, low) = unsafe { (high.range(bytes.clone()), low.range(if is_whole { bytes } else { 0..0 })) };
        isa.dispatch(Part { numbers: &numbers[range], high, low });
    });
}

/// Puts numbers together again, whose halves [`into_halves`] made; without `low` those are the bf16 numbers.
///
/// # Panics
/// If the lengths do not belong together.
pub fn from_halves(pool: &ThreadPool, high: &[u8], low: &[u8], numbers: &mut [f32]) {
    assert!(
        high.len() == HALF * numbers.len() && (low.is_empty() || low.len() == high.len()),
        "two bytes for each number"
    );
    let isa = Isa::detect();
    let len = numbers.len();
    let numbers = SharedSlice::new(numbers);
    pool.split(len, 64, |range| {
        let bytes = HALF * range.start..HALF * range.end;
        // SAFETY: the ranges of a split are disjoint.
        let numbers = unsafe { numbers.range(range) };
        isa.dispatch(Join { high: &high[bytes.clone()], low: low.get(bytes).unwrap_or_default(), numbers });
    });
}

struct Part<'a> {
    numbers: &'a [f32],
    high: &'a mut [u8],
    low: &'a mut [u8],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let halves = self.high.as_chunks_mut::<HALF>().0;
        for (high, number) in halves.iter_mut().zip(self.numbers) {
            *high = ((number.to_bits().wrapping_add(0x8000) >> 16) as u16).to_le_bytes();
        }
        for (low, number) in self.low.as_chunks_mut::<HALF>().0.iter_mut().zip(self.numbers) {
            *low = (number.to_bits() as u16).to_le_bytes();
        }
    }
}

struct Join<'a> {
    high: &'a [u8],
    low: &'a [u8],
    numbers: &'a mut [f32],
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let high = self.high.as_chunks::<HALF>().0;
        let bits = |high: &[u8; HALF]| u32::from(u16::from_le_bytes(*high)) << 16;
        if self.low.is_empty() {
            for (number, high) in self.numbers.iter_mut().zip(high) {
                *number = f32::from_bits(bits(high));
            }
            return;
        }
        let low = self.low.as_chunks::<HALF>().0;
        for ((number, high), low) in self.numbers.iter_mut().zip(high).zip(low) {
            let lacking = i32::from(i16::from_le_bytes(*low)) as u32;
            *number = f32::from_bits(bits(high).wrapping_add(lacking));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_are_the_number_and_one_is_the_nearest() {
        let mut state = 1_u32;
        let mut numbers: Vec<f32> = (0..100_003)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(state)
            })
            .collect();
        numbers.extend([
            0.0,
            -0.0,
            1.0,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ]);
        for threads in [1, 3] {
            let pool = ThreadPool::new(threads).unwrap();
            let [mut high, mut low] = [(); 2].map(|()| vec![0; 2 * numbers.len()]);
            into_halves(&pool, &numbers, &mut high, &mut low);
            let mut again = vec![0.0; numbers.len()];
            from_halves(&pool, &high, &low, &mut again);
            assert!(numbers.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
            // Alone, the upper half is within half a step.
            let mut alone = vec![0; high.len()];
            into_halves(&pool, &numbers, &mut alone, &mut []);
            assert_eq!(alone, high);
            from_halves(&pool, &high, &[], &mut again);
            for (number, near) in
                numbers.iter().zip(&again).filter(|(number, _)| number.abs() < 1e38 && number.is_normal())
            {
                assert!((number - near).abs() <= number.abs() / 256.0, "{number} {near}");
                assert_eq!(near.to_bits() & 0xffff, 0);
            }
        }
    }
}
