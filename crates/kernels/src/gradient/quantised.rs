//! AdamW whose means take 8 bits each.
//!
//! Numbers are stored in blocks of 256 as codes and one scale, the largest magnitude of the block (Dettmers et al. 2022,
//! "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861). A code stands for one of 256 values that are spread
//! over seven powers of ten, more of them in the larger ones ("dynamic tree quantization", section 1.3 there); the means
//! of squares, which are not negative, use the sign's bit for twice as many. A block is expanded, stepped and packed
//! again in a thread's own memory, so the means never exist in 32 bits but for one block of each thread.
//!
//! One departure: a mean of squares that is not zero never becomes zero. It would divide by nothing but `epsilon`.

use std::sync::LazyLock;

use super::optimizer::AdamW;
use crate::ThreadPool;
use crate::pool::SharedSlice;
use crate::simd::Isa;

/// Numbers with a scale of their own.
pub const BLOCK: usize = 256;
/// Powers of ten that the values are spread over.
const POWERS: i32 = 7;

/// The values of codes, and how the nearest is found.
#[derive(Debug)]
struct Codes {
    /// Ascending.
    values: [f32; 256],
    /// Half way to the next value; nothing is above the last.
    middles: [f32; 256],
    /// For the upper 16 bits of a number, the code of the least number that has them.
    starts: Vec<u8>,
}

static SIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(true));
static UNSIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(false));

/// The 256 values that codes stand for, ascending, with a sign or without.
#[must_use]
pub fn code_values(signed: bool) -> &'static [f32; 256] {
    &if signed { &SIGNED } else { &UNSIGNED }.values
}

impl Codes {
    fn new(signed: bool) -> Self {
        let mut values = vec![0.0, 1.0];
        for power in 0..POWERS {
            // Between 0.1 and 1, the middles of equal parts; without a sign there are twice as many parts.
            let parts = 1 << if signed { power } else { power + 1 };
            let scale = 10.0_f64.powi(power - (POWERS - 1));
            for part in 0..parts {
                let value = scale * (0.1 + 0.9 * (f64::from(part) + 0.5) / f64::from(parts));
                values.push(value);
                if signed {
                    values.push(-value);
                }
            }
        }
        values.sort_by(f64::total_cmp);
        let value = |index: usize| values.get(index).copied().unwrap_or(1.0);
        let values_f32: [f32; 256] = std::array::from_fn(|index| value(index) as f32);
        let middles: [f32; 256] = std::array::from_fn(|index| {
            if index == 255 { f32::INFINITY } else { (f64::midpoint(value(index), value(index + 1))) as f32 }
        });
        let starts = (0..=u16::MAX).map(|upper| {
            let bits = u32::from(upper) << 16;
            // The least of those with these upper bits: of negative numbers the one of the largest magnitude.
            let least = f32::from_bits(if bits >> 31 == 1 { bits | 0xffff } else { bits });
            let least = if least.is_nan() { 0.0 } else { least };
            middles.partition_point(|middle| *middle < least) as u8
        });
        Self { values: values_f32, middles, starts: starts.collect() }
    }

    /// The code of the nearest value. Among numbers with the same upper bits there is one middle at most.
    #[inline(always)]
    fn nearest(&self, number: f32) -> u8 {
        let start = self.starts[(number.to_bits() >> 16) as usize];
        start.saturating_add(u8::from(number > self.middles[usize::from(start)]))
    }

    fn expand(&self, codes: &[u8], scale: f32, out: &mut [f32]) {
        out.iter_mut().zip(codes).for_each(|(out, code)| *out = self.values[usize::from(*code)] * scale);
    }

    /// Packs numbers; returns their scale.
    fn pack(&self, numbers: &[f32], codes: &mut [u8]) -> f32 {
        let scale = numbers.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
        if scale == 0.0 {
            codes.fill(self.nearest(0.0));
            return 0.0;
        }
        for (code, number) in codes.iter_mut().zip(numbers) {
            *code = self.nearest((number / scale).clamp(-1.0, 1.0));
        }
        scale
    }
}

/// Means in 8 bits: a code for each number, a scale for each block of [`BLOCK`].
#[derive(Debug)]
pub struct Quantised<'a> {
    /// As many as there are numbers. New ones are [`Quantised::zero`].
    pub codes: &'a mut [u8],
    /// One for each block, the last of which may be shorter.
    pub scales: &'a mut [f32],
}

impl Quantised<'_> {
    /// The code of zero, with a sign or without.
    #[must_use]
    pub fn zero(signed: bool) -> u8 {
        if signed { SIGNED.nearest(0.0) } else { UNSIGNED.nearest(0.0) }
    }
}

impl AdamW {
    /// As [`AdamW::step`], with means in 8 bits.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn step_quantised(
        &self,
        pool: &ThreadPool,
        weights: &mut [f32],
        gradients: &[f32],
        mean: Quantised<'_>,
        square: Quantised<'_>,
    ) {
        let len = weights.len();
        let blocks = len.div_ceil(BLOCK);
        assert!(gradients.len() == len && mean.codes.len() == len && square.codes.len() == len, "a number for each");
        assert!(mean.scales.len() == blocks && square.scales.len() == blocks, "a scale for each block");
        let isa = Isa::detect();
        let (signed, unsigned) = (&*SIGNED, &*UNSIGNED);
        let weights = SharedSlice::new(weights);
        let (mean_codes, mean_scales) = (SharedSlice::new(mean.codes), SharedSlice::new(mean.scales));
        let (square_codes, square_scales) = (SharedSlice::new(square.codes), SharedSlice::new(square.scales));
        pool.split(blocks, 8, |range| {
            let (mut mean, mut square) = ([0.0; BLOCK], [0.0; BLOCK]);
            for block in range {
                let place = block * BLOCK..len.min((block + 1) * BLOCK);
                // SAFETY: the ranges of a split are disjoint, and so are blocks.
                let (weights, mean_codes, mean_scale, square_codes, square_scale) = unsafe {
                    (
                        weights.range(place.clone()),
                        mean_codes.range(place.clone()),
                        &mut mean_scales.range(block..block + 1)[0],
                        square_codes.range(place.clone()),
                        &mut square_scales.range(block..block + 1)[0],
                    )
                };
                let (mean, square) = (&mut mean[..place.len()], &mut square[..place.len()]);
                signed.expand(mean_codes, *mean_scale, mean);
                unsigned.expand(square_codes, *square_scale, square);
                isa.dispatch(self.on(weights, &gradients[place], mean, square));
                *mean_scale = signed.pack(mean, mean_codes);
                *square_scale = unsigned.pack(square, square_codes);
                for (code, square) in square_codes.iter_mut().zip(square.iter()) {
                    if *square > 0.0 {
                        *code = (*code).max(1);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_dynamic_quantisation() {
        // Those of create_dynamic_map(signed) of bitsandbytes 0.50.
        let signed = code_values(true);
        let unsigned = code_values(false);
        assert!(signed.is_sorted() && unsigned.is_sorted());
        assert_eq!((signed[127], signed[255], unsigned[0], unsigned[255]), (0.0, 1.0, 0.0, 1.0));
        assert_eq!((signed[0], signed[128], signed[254]), (-0.992_968_74, 5.5e-7, 0.992_968_74));
        assert_eq!((unsigned[1], unsigned[2], unsigned[254]), (3.25e-7, 7.75e-7, 0.996_484_4));
    }

    #[test]
    fn the_nearest_value_is_found_for_every_number() {
        for codes in [&*SIGNED, &*UNSIGNED] {
            let distance =
                |code: u8, number: f32| (f64::from(codes.values[usize::from(code)]) - f64::from(number)).abs();
            let near = |number: f32| {
                let found = distance(codes.nearest(number), number);
                let best = (0..=255).map(|code| distance(code, number)).fold(f64::INFINITY, f64::min);
                // A middle is rounded to 32 bits, and so are values.
                assert!(found <= best + 2.5e-7 * f64::from(number.abs()), "{number}: {found} and {best}");
            };
            let around = |value: f32| [value.next_down(), value, value.next_up()];
            for value in codes.values.iter().chain(&codes.middles[..255]).flat_map(|value| around(*value)) {
                near(value.clamp(-1.0, 1.0));
            }
            for index in 0..20_000 {
                near(index as f32 / 10_000.0 - 1.0);
                near(1.001_f32.powi(-index));
            }
        }
    }

    #[test]
    fn errors_are_those_of_bitsandbytes() {
        // Normal numbers in blocks of 256: bitsandbytes 0.50 loses 0.00867 of each on average (16,384 of them); more
        // than that would be a mistake, and much less not these values.
        let mut state = 7_u64;
        let mut normal = || {
            let mut unit = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / f64::from(1 << 24)
            };
            ((-2.0 * (1.0 - unit()).ln()).sqrt() * (2.0 * std::f64::consts::PI * unit()).cos()) as f32
        };
        let numbers: Vec<f32> = (0..BLOCK * 64).map(|_| normal()).collect();
        let (mut sum, mut worst) = (0.0, 0.0_f32);
        for block in numbers.chunks(BLOCK) {
            let mut codes = [0; BLOCK];
            let scale = SIGNED.pack(block, &mut codes);
            let mut back = [0.0; BLOCK];
            SIGNED.expand(&codes, scale, &mut back);
            for (number, back) in block.iter().zip(&back) {
                sum += f64::from((number - back).abs());
                worst = worst.max((number - back).abs() / scale);
            }
        }
        let mean = sum / numbers.len() as f64;
        assert!((0.92..1.01).contains(&(mean / 0.00867)) && worst < 0.0075, "{mean} {worst}");
    }

    #[test]
    fn steps_stay_near_those_in_32_bits_for_any_number_of_threads() {
        let len = 3 * BLOCK + 57;
        let number =
            |index: usize, step: u64| ((index as u64 * 2_654_435_761 + step * 40_503) % 10_007) as f32 / 10_007.0 - 0.5;
        let run = |threads: usize, quantised: bool| {
            let pool = ThreadPool::new(threads).unwrap();
            let mut weights: Vec<f32> = (0..len).map(|index| number(index, 0)).collect();
            let (mut mean, mut square) = (vec![0.0; len], vec![0.0; len]);
            let (mut mean8, mut square8) = (vec![Quantised::zero(true); len], vec![Quantised::zero(false); len]);
            let (mut scales, mut square_scales) = (vec![0.0; len.div_ceil(BLOCK)], vec![0.0; len.div_ceil(BLOCK)]);
            for step in 1..=50 {
                let gradients: Vec<f32> =
                    (0..len).map(|index| 0.3 * weights[index] + 0.1 * number(index, step)).collect();
                let adam = AdamW {
                    rate: 1e-2,
                    beta1: 0.9,
                    beta2: 0.95,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    step,
                    gradient_scale: 1.0,
                };
                if quantised {
                    let mean = Quantised { codes: &mut mean8, scales: &mut scales };
                    let square = Quantised { codes: &mut square8, scales: &mut square_scales };
                    adam.step_quantised(&pool, &mut weights, &gradients, mean, square);
                } else {
                    adam.step(&pool, &mut weights, &gradients, &mut mean, &mut square);
                }
            }
            weights
        };
        let (exact, one, three) = (run(1, false), run(1, true), run(3, true));
        assert_eq!(one, three);
        let moved: f64 = exact.iter().enumerate().map(|(i, w)| f64::from((w - number(i, 0)).powi(2))).sum();
        let apart: f64 = exact.iter().zip(&one).map(|(a, b)| f64::from((a - b).powi(2))).sum();
        // Two per cent of the way that the weights went.
        assert!((apart / moved).sqrt() < 0.05, "{}", (apart / moved).sqrt());
    }
}
