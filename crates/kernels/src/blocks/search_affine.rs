//! The search for scales and minimums: `values` close to `scale * code - minimum`, codes from 0 on, no minimum
//! below zero (so that zero itself is always inside the range, as in GGML).
//!
//! It goes as in [`super::search`], with two numbers for each group instead of one.

use super::{
    floats::{f16_to_f32, greater, lesser, limit, round, rounded},
    search::{Lanes, SMALLEST, dot, reciprocal, storable, storable_above, total},
};

/// What a type offers, and how to search it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The largest code.
    pub(super) codes: f32,
    /// The largest integer scale and minimum.
    pub(super) integers: f32,
    /// Codes beyond the largest that the first candidates would give to the highest value; it is cut to the largest.
    pub(super) stretch: Lanes,
}

/// A scale and a minimum for each group as integers, and the f16 factors of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine<const GROUPS: usize> {
    pub(super) factor: u16,
    pub(super) minimum_factor: u16,
    pub(super) scales: [u8; GROUPS],
    pub(super) minimums: [u8; GROUPS],
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
                *code = rounded(limit((value + minimum) * reciprocal, 0.0, largest));
            }
        }
        codes
    }
}

/// The scale and the minimum that fit a group best.
#[inline(always)]
fn fit<const LEN: usize>(values: &[f32; LEN], limits: Limits) -> (f32, f32) {
    let (low, high) = bounds(values);
    let span = high - low;
    if span < SMALLEST {
        return (0.0, 0.0);
    }
    // Values relative to the lowest keep the sums well apart from each other.
    let mut raised = [0.0; LEN];
    for (raised, value) in raised.iter_mut().zip(values) {
        *raised = value - low;
    }
    let sums = (total(&raised), dot(&raised, &raised));
    let (mut best_error, mut scale, mut origin) = (f32::INFINITY, 0.0, 0.0);
    let mut reciprocals = limits.stretch.map(|stretch| (limits.codes + stretch) / span);
    let mut origins = [0.0; 8];
    for _ in 0..2 {
        let code_sums = code_sums(&raised, &reciprocals, &origins, limits.codes);
        let [errors, scales, lane_origins] = solve(LEN as f32, sums, &code_sums, -low);
        for lane in 0..8 {
            if errors[lane] < best_error {
                (best_error, scale, origin) = (errors[lane], scales[lane], lane_origins[lane]);
            }
        }
        // Second candidates: a little finer or coarser, starting a little lower or higher.
        let step = 0.4 / limits.codes;
        let reciprocal = reciprocal(scale);
        reciprocals = [0.0, 0.0, 0.0, -1.0, -1.0, 1.0, 1.0, 2.0].map(|near| (1.0 + near * step) * reciprocal);
        origins = [0.0, -0.25, 0.25, -0.25, 0.25, -0.25, 0.25, 0.0].map(|near| origin + near * scale);
    }
    (scale, -(origin + low))
}

/// The least and the greatest of some values and zero.
#[inline(always)]
fn bounds<const LEN: usize>(values: &[f32; LEN]) -> (f32, f32) {
    let (mut low, mut high) = ([0.0_f32; 8], [0.0_f32; 8]);
    for chunk in values.as_chunks::<8>().0 {
        for lane in 0..8 {
            low[lane] = lesser(chunk[lane], low[lane]);
            high[lane] = greater(chunk[lane], high[lane]);
        }
    }
    (low.into_iter().fold(0.0, lesser), high.into_iter().fold(0.0, greater))
}

/// Sums of codes, of squared codes and of codes times values for each candidate.
#[inline(always)]
fn code_sums<const LEN: usize>(values: &[f32; LEN], reciprocals: &Lanes, origins: &Lanes, largest: f32) -> [Lanes; 3] {
    let (mut codes, mut squares, mut products) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for value in values {
        for lane in 0..8 {
            let code = round(limit((value - origins[lane]) * reciprocals[lane], 0.0, largest));
            codes[lane] += code;
            squares[lane] += code * code;
            products[lane] += code * value;
        }
    }
    [codes, squares, products]
}

/// Squared error, scale and origin of the straight line through `count` values over their codes, for each candidate.
/// `sums` are those of the values and of their squares; the origin is at most `highest`.
#[inline(always)]
fn solve(count: f32, (sum, square_sum): (f32, f32), code_sums: &[Lanes; 3], highest: f32) -> [Lanes; 3] {
    let (mut errors, mut scales, mut origins) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for lane in 0..8 {
        let [codes, squares, products] = [0, 1, 2].map(|index| code_sums[index][lane]);
        let determinant = count * squares - codes * codes;
        let origin = (squares * sum - codes * products) / determinant;
        let origin = lesser(origin, highest);
        // For a free origin the same as the other solution of the pair of equations.
        let scale = (products - origin * codes) / squares;
        let error = square_sum - 2.0 * (scale * products + origin * sum)
            + scale * (scale * squares + 2.0 * origin * codes)
            + count * origin * origin;
        // All codes alike say nothing about the scale.
        errors[lane] = if determinant > 0.0 && scale > 0.0 { error } else { f32::INFINITY };
        scales[lane] = scale;
        origins[lane] = origin;
    }
    [errors, scales, origins]
}

/// Scales and minimums for a block of `GROUPS` groups of `LEN` elements.
#[inline(always)]
pub(super) fn search<const LEN: usize, const GROUPS: usize>(values: &[f32; 256], limits: Limits) -> Affine<GROUPS> {
    let mut wanted = [(0.0, 0.0); GROUPS];
    let (mut largest, mut largest_minimum) = (0.0, 0.0);
    for (wanted, values) in wanted.iter_mut().zip(values.as_chunks::<LEN>().0) {
        *wanted = fit(values, limits);
        largest = greater(largest, wanted.0);
        largest_minimum = greater(largest_minimum, wanted.1);
    }
    let mut best = Affine {
        factor: storable_above(largest / limits.integers),
        minimum_factor: storable_above(largest_minimum / limits.integers),
        scales: [0; GROUPS],
        minimums: [0; GROUPS],
    };
    let mut current = best;
    let mut best_error = f32::INFINITY;
    for _ in 0..2 {
        let (step, minimum_step) = (f16_to_f32(current.factor), f16_to_f32(current.minimum_factor));
        let mut total_error = 0.0;
        // Sums for the two factors: of squares and products of (integer scale times code), (integer minimum), (value).
        let [mut squares, mut mixed, mut minimums, mut products, mut sums] = [0.0; 5];
        for (group, (values, wanted)) in values.as_chunks::<LEN>().0.iter().zip(wanted).enumerate() {
            let (error, scale, minimum) = choose(values, wanted, step, minimum_step, limits);
            current.scales[group] = scale as u8;
            current.minimums[group] = minimum as u8;
            total_error += error;
            let (real, offset) = (step * scale, minimum_step * minimum);
            let reciprocal = reciprocal(real);
            let mut codes = [0.0; LEN];
            for (code, value) in codes.iter_mut().zip(values) {
                *code = round(limit((value + offset) * reciprocal, 0.0, limits.codes));
            }
            squares += scale * scale * dot(&codes, &codes);
            mixed += scale * minimum * total(&codes);
            minimums += minimum * minimum * LEN as f32;
            products += scale * dot(&codes, values);
            sums += minimum * total(values);
        }
        if total_error < best_error {
            best_error = total_error;
            best = current;
        }
        let determinant = squares * minimums - mixed * mixed;
        if determinant > 0.0 {
            current.factor = storable((minimums * products - mixed * sums) / determinant);
            current.minimum_factor = storable((mixed * products - squares * sums) / determinant);
        } else if squares > 0.0 {
            current.factor = storable(products / squares);
        }
    }
    best
}

/// The least squared error of a group and the integers that give it, around the `wanted` scale and minimum.
#[inline(always)]
fn choose<const LEN: usize>(
    values: &[f32; LEN],
    wanted: (f32, f32),
    step: f32,
    minimum_step: f32,
    limits: Limits,
) -> (f32, f32, f32) {
    let near = |value: f32, step: f32, distances: Lanes| -> Lanes {
        let middle = round(limit(value * reciprocal(step), 0.0, limits.integers));
        distances.map(|distance| limit(middle + distance, 0.0, limits.integers))
    };
    let scales = near(wanted.0, step, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0, -1.0]);
    let minimums = near(wanted.1, minimum_step, [0.0, -1.0, 1.0, 0.0, 1.0, 2.0, 0.0, -1.0]);
    let reals = scales.map(|scale| scale * step);
    let offsets = minimums.map(|minimum| minimum * minimum_step);
    let reciprocals = reals.map(reciprocal);
    let mut errors = [0.0; 8];
    for value in values {
        for lane in 0..8 {
            let raised = value + offsets[lane];
            let code = round(limit(raised * reciprocals[lane], 0.0, limits.codes));
            let difference = raised - reals[lane] * code;
            errors[lane] += difference * difference;
        }
    }
    let mut choice = 0;
    for lane in 1..8 {
        choice = if errors[lane] < errors[choice] { lane } else { choice };
    }
    (errors[choice], scales[choice], minimums[choice])
}
