//! The search for scales: which scale lets the codes of a type come closest to a group of values.
//!
//! The criterion is the plain sum of squared errors. For a given scale the best codes are the nearest ones, and for
//! given codes the best scale is a quotient of two sums. So eight scales are tried that put the value of the largest
//! magnitude at different codes, then eight around the best of them, each followed by that quotient. Blocks of 256
//! store their scales as integers times an f16 factor: the integers are tried around the wanted scale, then the
//! factor is fitted once more to the integers and codes chosen, and the integers are tried again.
//!
//! The candidates sit in the lanes of small arrays, so sums need no reduction, and codes stay f32: that is what
//! compilers turn into vector code without being asked.

use super::floats::{f16_to_f32, f32_to_f16, limit, round};

/// Larger magnitudes cannot be stored by any block of 256 (f16's largest number times the largest integers), and
/// sums of their squares stay finite.
const LARGEST: f32 = 65_504.0 * 128.0 * 32.0;

/// Half of the smallest f16 number: a scale below cannot be stored. Values below it are zeros to every type.
pub(super) const SMALLEST: f32 = 1.0 / (1 << 25) as f32;

/// One number for each candidate.
pub(super) type Lanes = [f32; 8];

/// Values that the searches can square and sum.
#[inline(always)]
pub(super) fn limited<const N: usize>(values: &[f32; N]) -> [f32; N] {
    let mut limited = [0.0; N];
    for (limited, value) in limited.iter_mut().zip(values) {
        *limited = limit(*value, -LARGEST, LARGEST);
    }
    limited
}

/// `1 / scale`, and zero for no scale at all (the smallest scale that can be stored has a finite one).
#[inline(always)]
pub(super) fn reciprocal(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The f16 number nearest to a factor, but never infinity.
#[inline(always)]
pub(super) fn storable(factor: f32) -> u16 {
    f32_to_f16(limit(factor, -65_504.0, 65_504.0))
}

/// The same rounded away from zero, so that the largest integer times the factor reaches the largest scale even where
/// f16 has few digits left.
#[inline(always)]
pub(super) fn storable_above(factor: f32) -> u16 {
    let bits = storable(factor);
    let short = f16_to_f32(bits).abs() < factor.abs() && bits & 0x7fff < 0x7bff;
    if short { bits + 1 } else { bits }
}

/// The sum of some values.
#[inline(always)]
pub(super) fn total<const N: usize>(values: &[f32; N]) -> f32 {
    dot(values, &[1.0; N])
}

/// The sum of products of two rows of values.
#[inline(always)]
pub(super) fn dot<const N: usize>(left: &[f32; N], right: &[f32; N]) -> f32 {
    let mut sums = [0.0; 8];
    for (left, right) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0) {
        for lane in 0..8 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The first value of the largest magnitude, with its sign.
#[inline(always)]
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0_f32, |extreme, value| if value.abs() > extreme.abs() { value } else { extreme })
}

/// The scale that fits a group best: `values` are close to `scale * nearest(values / scale)`.
///
/// `targets` are the codes that the value of the largest magnitude is tried at; `step` is the distance of the second
/// eight candidates, as a part of the scale.
#[inline(always)]
pub(super) fn fit<const N: usize>(values: &[f32; N], targets: &Lanes, step: f32, nearest: impl Fn(f32) -> f32) -> f32 {
    let extreme = extreme(values);
    if extreme.abs() < SMALLEST {
        return 0.0;
    }
    let (mut scale, mut best_gain) = (0.0, 0.0);
    let mut reciprocals = targets.map(|target| target / extreme);
    for _ in 0..2 {
        let (products, squares) = code_sums(values, &reciprocals, &nearest);
        // A fit takes the product of the two from the sum of squares of the values.
        let (mut scales, mut gains) = ([0.0; 8], [0.0; 8]);
        for lane in 0..8 {
            scales[lane] = products[lane] / squares[lane];
            gains[lane] = products[lane] * scales[lane];
        }
        for lane in 0..8 {
            if gains[lane] > best_gain {
                (best_gain, scale) = (gains[lane], scales[lane]);
            }
        }
        reciprocals = AROUND.map(|around| (1.0 + around * step) * reciprocal(scale));
    }
    scale
}

/// Second candidates, in steps from the best of the first.
const AROUND: Lanes = [0.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0];

/// Sums of values times codes and of squared codes for each candidate.
#[inline(always)]
fn code_sums<const N: usize>(values: &[f32; N], reciprocals: &Lanes, nearest: impl Fn(f32) -> f32) -> (Lanes, Lanes) {
    let (mut products, mut squares) = ([0.0; 8], [0.0; 8]);
    for value in values {
        for lane in 0..8 {
            let code = nearest(value * reciprocals[lane]);
            products[lane] += value * code;
            squares[lane] += code * code;
        }
    }
    (products, squares)
}

/// Integer scales of the groups of a block and the f16 factor of them all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales<const GROUPS: usize> {
    pub(super) factor: u16,
    pub(super) integers: [i8; GROUPS],
}

impl<const GROUPS: usize> Scales<GROUPS> {
    /// Values divided by the scales of their groups; zeros where a scale is zero.
    #[inline(always)]
    pub(super) fn divide<const LEN: usize>(&self, values: &[f32; 256]) -> [f32; 256] {
        let factor = f16_to_f32(self.factor);
        let mut divided = [0.0; 256];
        let groups = divided.as_chunks_mut::<LEN>().0.iter_mut().zip(values.as_chunks::<LEN>().0);
        for ((divided, values), integer) in groups.zip(self.integers) {
            let reciprocal = reciprocal(factor * f32::from(integer));
            for (divided, value) in divided.iter_mut().zip(values) {
                *divided = value * reciprocal;
            }
        }
        divided
    }
}

/// Scales for a block of `GROUPS` groups of `LEN` elements, as integers from `-integers` to `integers - 1`.
#[inline(always)]
pub(super) fn search<const LEN: usize, const GROUPS: usize>(
    values: &[f32; 256],
    targets: &Lanes,
    step: f32,
    integers: f32,
    nearest: impl Fn(f32) -> f32,
) -> Scales<GROUPS> {
    let mut wanted = [0.0; GROUPS];
    for (wanted, values) in wanted.iter_mut().zip(values.as_chunks::<LEN>().0) {
        *wanted = fit(values, targets, step, &nearest);
    }
    let mut factor = storable_above(extreme(&wanted) / -integers);
    let mut best = Scales { factor: 0, integers: [0; GROUPS] };
    let mut best_error = f32::INFINITY;
    for _ in 0..2 {
        let step = f16_to_f32(factor);
        let mut scales = Scales { factor, integers: [0; GROUPS] };
        let (mut total_error, mut product, mut square) = (0.0, 0.0, 0.0);
        for ((integer, values), wanted) in scales.integers.iter_mut().zip(values.as_chunks::<LEN>().0).zip(wanted) {
            let middle = round(limit(wanted * reciprocal(step), -integers, integers - 1.0));
            let candidates = [0.0, -1.0, 1.0, 2.0].map(|near| limit(middle + near, -integers, integers - 1.0));
            let sums = choice_sums(values, step, &candidates, &nearest);
            let mut choice = 0;
            for lane in 1..4 {
                choice = if sums.errors[lane] < sums.errors[choice] { lane } else { choice };
            }
            let scale = candidates[choice];
            *integer = scale as i8;
            total_error += sums.errors[choice];
            product += sums.products[choice] * scale;
            square += sums.squares[choice] * scale * scale;
        }
        if total_error < best_error {
            best_error = total_error;
            best = scales;
        }
        if square > 0.0 {
            factor = storable(product / square);
        }
    }
    best
}

struct ChoiceSums {
    errors: [f32; 4],
    products: [f32; 4],
    squares: [f32; 4],
}

/// Squared errors of four integer scales, and the sums that the factor is fitted with.
#[inline(always)]
fn choice_sums<const N: usize>(
    values: &[f32; N],
    step: f32,
    candidates: &[f32; 4],
    nearest: impl Fn(f32) -> f32,
) -> ChoiceSums {
    let scales = candidates.map(|candidate| candidate * step);
    let reciprocals = scales.map(reciprocal);
    let (mut errors, mut products, mut squares) = ([0.0; 4], [0.0; 4], [0.0; 4]);
    for value in values {
        for lane in 0..4 {
            let code = nearest(value * reciprocals[lane]);
            let difference = value - scales[lane] * code;
            errors[lane] += difference * difference;
            products[lane] += value * code;
            squares[lane] += code * code;
        }
    }
    ChoiceSums { errors, products, squares }
}
