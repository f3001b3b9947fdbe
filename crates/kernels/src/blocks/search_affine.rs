//! The search for scales and minimums: `values` close to `scale * code - minimum`, codes from 0 on, no minimum
//! below zero (so that zero itself is always inside the range, as in GGML).

use super::{
    f16_to_f32,
    search::{SMALLEST, limit, reciprocal, round, storable, sums},
};

/// A scale and a minimum for each group as integers, and the f16 factors of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine<const GROUPS: usize> {
    pub(super) factor: u16,
    pub(super) minimum_factor: u16,
    pub(super) scales: [u8; GROUPS],
    pub(super) minimums: [u8; GROUPS],
}

/// What a type offers: codes from 0 to `codes`, integers from 0 to `integers`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) codes: f32,
    pub(super) integers: f32,
    /// How much further than the span of the values the codes are tried to reach, in codes; negative: less far.
    pub(super) stretch: (f32, f32),
    pub(super) attempts: usize,
}

impl<const GROUPS: usize> Affine<GROUPS> {
    /// The codes of all values.
    #[inline(always)]
    pub(super) fn codes<const LEN: usize>(&self, values: &[f32; 256], largest: f32) -> [u8; 256] {
        let (factor, minimum_factor) = (f16_to_f32(self.factor), f16_to_f32(self.minimum_factor));
        let mut codes = [0; 256];
        let groups = codes.as_chunks_mut::<LEN>().0.iter_mut().zip(values.as_chunks::<LEN>().0);
        for ((codes, values), (scale, minimum)) in groups.zip(self.scales.iter().zip(self.minimums)) {
            let reciprocal = reciprocal(factor * f32::from(*scale));
            let minimum = minimum_factor * f32::from(minimum);
            for (code, value) in codes.iter_mut().zip(values) {
                *code = round(limit((value + minimum) * reciprocal, 0.0, largest)) as u8;
            }
        }
        codes
    }
}

/// The scale and the minimum that fit a group best.
#[inline(always)]
fn fit<const LEN: usize>(values: &[f32; LEN], limits: Limits) -> (f32, f32) {
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    for value in values {
        low = if *value < low { *value } else { low };
        high = if *value > high { *value } else { high };
    }
    let span = high - low;
    if span < SMALLEST {
        return (0.0, 0.0);
    }
    // Values relative to the lowest keep the sums well apart from each other.
    let count = LEN as f32;
    let mut raised = [0.0; LEN];
    for (raised, value) in raised.iter_mut().zip(values) {
        *raised = value - low;
    }
    let [sum, sum_of_squares] = sums(&raised, |value| [value, value * value]);
    let mut best = (0.0, 0.0);
    let mut best_error = f32::INFINITY;
    let mut attempt = |scale_reciprocal: f32, origin: f32| {
        let [codes, squares, products] = sums(&raised, |value| {
            let code = round(limit((value - origin) * scale_reciprocal, 0.0, limits.codes));
            [code, code * code, code * value]
        });
        let determinant = count * squares - codes * codes;
        if determinant > 0.0 {
            let mut scale = (count * products - sum * codes) / determinant;
            let mut offset = (squares * sum - codes * products) / determinant;
            if offset > -low {
                offset = -low;
                scale = (products - offset * codes) / squares;
            }
            let error = sum_of_squares - 2.0 * (scale * products + offset * sum)
                + scale * (scale * squares + 2.0 * offset * codes)
                + count * offset * offset;
            if scale > 0.0 && error < best_error {
                best_error = error;
                best = (scale, offset);
            }
        }
        best
    };
    let mut found = (0.0, 0.0);
    for index in 0..limits.attempts {
        let (first, last) = limits.stretch;
        let stretch = first + (last - first) * index as f32 / (limits.attempts - 1) as f32;
        found = attempt((limits.codes + stretch) / span, 0.0);
    }
    for _ in 0..2 {
        if found.0 > 0.0 {
            found = attempt(1.0 / found.0, found.1);
        }
    }
    (found.0, -(found.1 + low))
}

/// Scales and minimums for a block of `GROUPS` groups of `LEN` elements.
#[inline(always)]
pub(super) fn search<const LEN: usize, const GROUPS: usize>(values: &[f32; 256], limits: Limits) -> Affine<GROUPS> {
    let mut wanted = [(0.0, 0.0); GROUPS];
    let (mut largest, mut largest_minimum) = (0.0_f32, 0.0_f32);
    for (wanted, values) in wanted.iter_mut().zip(values.as_chunks::<LEN>().0) {
        *wanted = fit(values, limits);
        largest = largest.max(wanted.0);
        largest_minimum = largest_minimum.max(wanted.1);
    }
    let mut factor = storable(largest / limits.integers);
    let mut minimum_factor = storable(largest_minimum / limits.integers);
    let mut best = Affine { factor: 0, minimum_factor: 0, scales: [0; GROUPS], minimums: [0; GROUPS] };
    let mut best_error = f32::INFINITY;
    for _ in 0..ROUNDS {
        let (step, minimum_step) = (f16_to_f32(factor), f16_to_f32(minimum_factor));
        let mut affine = Affine { factor, minimum_factor, ..best };
        let mut total_error = 0.0;
        // Sums for the two factors: squares and products of integer scale times code, of integer minimum, of values.
        let mut total = [0.0; 5];
        for (group, (values, wanted)) in values.as_chunks::<LEN>().0.iter().zip(wanted).enumerate() {
            let choice = choose(values, wanted, step, minimum_step, limits);
            affine.scales[group] = choice.scale as u8;
            affine.minimums[group] = choice.minimum as u8;
            total_error += choice.error;
            let [codes, squares, products, sum] = choice.sums;
            total[0] += choice.scale * choice.scale * squares;
            total[1] += choice.scale * choice.minimum * codes;
            total[2] += choice.minimum * choice.minimum * LEN as f32;
            total[3] += choice.scale * products;
            total[4] += choice.minimum * sum;
        }
        if total_error < best_error {
            best_error = total_error;
            best = affine;
        }
        let [squares, mixed, minimums, products, values] = total;
        let determinant = squares * minimums - mixed * mixed;
        if determinant > 0.0 {
            factor = storable((minimums * products - mixed * values) / determinant);
            minimum_factor = storable((mixed * products - squares * values) / determinant);
        } else if squares > 0.0 {
            factor = storable(products / squares);
        } else {
            break;
        }
    }
    best
}

const ROUNDS: usize = 2;

/// Integers for one group.
#[derive(Clone, Copy, Debug)]
struct Choice {
    scale: f32,
    minimum: f32,
    error: f32,
    /// Of codes, squared codes, codes times values, values.
    sums: [f32; 4],
}

/// The best integers for a group around the `wanted` scale and minimum.
#[inline(always)]
fn choose<const LEN: usize>(
    values: &[f32; LEN],
    wanted: (f32, f32),
    step: f32,
    minimum_step: f32,
    limits: Limits,
) -> Choice {
    let mut best = Choice { scale: 0.0, minimum: 0.0, error: f32::INFINITY, sums: [0.0; 4] };
    let to_integer = |value: f32, step: f32| round(limit(value * reciprocal(step), 0.0, limits.integers));
    let middle = to_integer(wanted.0, step);
    for scale in [middle, middle - 1.0, middle + 1.0] {
        let scale = limit(scale, 0.0, limits.integers);
        let mut minimum = to_integer(wanted.1, minimum_step);
        for _ in 0..2 {
            let (real, offset) = (step * scale, minimum_step * minimum);
            let reciprocal = reciprocal(real);
            let [error, codes, squares, products, sum] = sums(values, |value| {
                let code = round(limit((value + offset) * reciprocal, 0.0, limits.codes));
                let difference = value - (real * code - offset);
                [difference * difference, code, code * code, code * value, value]
            });
            if error < best.error {
                best = Choice { scale, minimum, error, sums: [codes, squares, products, sum] };
            }
            // The mean of what is left over tells the best minimum for these codes.
            let better = to_integer((real * codes - sum) / LEN as f32, minimum_step);
            if better == minimum {
                break;
            }
            minimum = better;
        }
    }
    best
}
