//! The search for scales: which scale lets the codes of a type come closest to a group of values.
//!
//! The criterion is the plain sum of squared errors. For a given scale the best codes are the nearest ones, and for
//! given codes the best scale is a quotient of two sums, so a handful of scales is tried, each followed by that
//! quotient. Blocks of 256 store their scales as integers times an f16 factor: the integers are tried around the
//! wanted scale, and the factor is fitted once more to the integers and codes chosen.
//!
//! Everything is kept in f32, codes included, in loops over fixed arrays: that is what compilers turn into vectors.

/// Larger magnitudes cannot be stored by any block of 256 (f16's largest number times the largest integers), and
/// sums of their squares stay finite.
const LARGEST: f32 = 65_504.0 * 128.0 * 32.0;

/// Half of the smallest f16 number: a scale below cannot be stored. Values below it are zeros to every type.
pub(super) const SMALLEST: f32 = 1.0 / (1 << 25) as f32;

/// The nearest integer, ties to even, for magnitudes below 2^22.
#[inline(always)]
pub(super) fn round(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}

/// `value` between two bounds, without the care for NaN that hinders vector code.
#[inline(always)]
pub(super) fn limit(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < high { value } else { high };
    if value > low { value } else { low }
}

/// Values that the searches can square and sum.
#[inline(always)]
pub(super) fn limited<const N: usize>(values: &[f32; N]) -> [f32; N] {
    let mut limited = [0.0; N];
    for (limited, value) in limited.iter_mut().zip(values) {
        *limited = limit(*value, -LARGEST, LARGEST);
    }
    limited
}

/// Sums of `S` terms for each element, in eight lanes.
#[inline(always)]
pub(super) fn sums<const N: usize, const S: usize>(values: &[f32; N], terms: impl Fn(f32) -> [f32; S]) -> [f32; S] {
    let mut lanes = [[0.0_f32; 8]; S];
    for chunk in values.as_chunks::<8>().0 {
        for lane in 0..8 {
            let terms = terms(chunk[lane]);
            for sum in 0..S {
                lanes[sum][lane] += terms[sum];
            }
        }
    }
    lanes.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
}

/// The first value of the largest magnitude, with its sign.
#[inline(always)]
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0_f32, |extreme, value| if value.abs() > extreme.abs() { value } else { extreme })
}

/// The scale that fits a group best: `values` are close to `scale * nearest(values / scale)`.
///
/// `targets` are the codes that the value of the largest magnitude is tried at.
#[inline(always)]
pub(super) fn fit<const N: usize>(values: &[f32; N], targets: &[f32], nearest: impl Fn(f32) -> f32) -> f32 {
    let extreme = extreme(values);
    if extreme.abs() < SMALLEST {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, 0.0);
    let mut attempt = |reciprocal: f32| {
        let [product, square] = sums(values, |value| {
            let code = nearest(value * reciprocal);
            [value * code, code * code]
        });
        // What the fit takes away from the sum of squares of the values.
        if square > 0.0 && product * product > best_gain * square {
            best_gain = product * product / square;
            best = product / square;
        }
        best
    };
    let mut scale = 0.0;
    for target in targets {
        scale = attempt(target / extreme);
    }
    // Codes that are nearest at the fitted scale can only be better.
    for _ in 0..2 {
        if scale != 0.0 {
            scale = attempt(1.0 / scale);
        }
    }
    scale
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
        let factor = super::f16_to_f32(self.factor);
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

/// `1 / scale`, and zero for no scale at all (the smallest scale that can be stored has a finite one).
#[inline(always)]
pub(super) fn reciprocal(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The f16 number nearest to a factor, but never infinity.
#[inline(always)]
pub(super) fn storable(factor: f32) -> u16 {
    super::f32_to_f16(limit(factor, -65_504.0, 65_504.0))
}

/// Scales for a block of `GROUPS` groups of `LEN` elements, as integers from `-integers` to `integers - 1`.
#[inline(always)]
pub(super) fn search<const LEN: usize, const GROUPS: usize>(
    values: &[f32; 256],
    targets: &[f32],
    integers: f32,
    nearest: impl Fn(f32) -> f32,
) -> Scales<GROUPS> {
    let mut wanted = [0.0; GROUPS];
    for (wanted, values) in wanted.iter_mut().zip(values.as_chunks::<LEN>().0) {
        *wanted = fit(values, targets, &nearest);
    }
    let mut factor = storable(extreme(&wanted) / -integers);
    let mut best = Scales { factor: 0, integers: [0; GROUPS] };
    let mut best_error = f32::INFINITY;
    for _ in 0..2 {
        let step = super::f16_to_f32(factor);
        if step == 0.0 {
            break;
        }
        let mut scales = Scales { factor, integers: [0; GROUPS] };
        let (mut total_error, mut product, mut square) = (0.0, 0.0, 0.0);
        for ((integer, values), wanted) in scales.integers.iter_mut().zip(values.as_chunks::<LEN>().0).zip(wanted) {
            let middle = round(limit(wanted / step, -integers, integers - 1.0));
            let mut choice = (f32::INFINITY, 0.0, 0.0, 0.0);
            for candidate in [middle, middle - 1.0, middle + 1.0] {
                let candidate = limit(candidate, -integers, integers - 1.0);
                let scale = step * candidate;
                let reciprocal = reciprocal(scale);
                let [error, product, square] = sums(values, |value| {
                    let code = nearest(value * reciprocal);
                    let difference = value - scale * code;
                    [difference * difference, value * code, code * code]
                });
                if error < choice.0 {
                    choice = (error, candidate, product * candidate, square * candidate * candidate);
                }
            }
            *integer = choice.1 as i8;
            total_error += choice.0;
            product += choice.2;
            square += choice.3;
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
