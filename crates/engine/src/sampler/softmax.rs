//! Exponentials of a whole vocabulary.
//!
//! The standard library's `exp` is scalar and differs between platforms in its last bit, which would change seeded
//! texts. This one is a polynomial of additions and multiplications that the compiler turns into vector code and that
//! gives the same bits on every processor.

use super::Candidate;

/// Weights whose sum is kept beside them, so that a draw walks over sums first.
pub(super) const BLOCK: usize = 1024;

/// Below this the exponential is taken for 0 (it is under 2e-38).
const LOWEST: f32 = -87.0;

/// `e^x` for `x <= 0` within 2 units in the last place; 0 for NaN and below -87.
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer and leaves that integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > LOWEST { x } else { LOWEST };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts (Cephes): the first has few bits, so that n times it is exact.
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_65;
    p = p * r + 0.5;
    let fraction = p * r * r + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x > LOWEST { fraction * power } else { 0.0 }
}

/// Unnormalised probabilities of a vocabulary.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// `exp((logit - max) / temperature)` of each token.
    pub(super) values: Vec<f32>,
    /// Sums of [`BLOCK`] values each.
    block_sums: Vec<f64>,
}

impl Weights {
    /// Computes all weights and returns their sum.
    pub(super) fn compute(&mut self, logits: &[f32], max: f32, inverse_temperature: f32) -> f64 {
        self.values.resize(logits.len(), 0.0);
        self.block_sums.clear();
        for (values, logits) in self.values.chunks_mut(BLOCK).zip(logits.chunks(BLOCK)) {
            for (value, logit) in values.iter_mut().zip(logits) {
                *value = exp((logit - max) * inverse_temperature);
            }
            self.block_sums.push(sum(values));
        }
        self.block_sums.iter().sum()
    }

    /// Collects the tokens whose weight is at least `least` and above 0, by id.
    pub(super) fn above(&self, least: f64, logits: &[f32], kept: &mut Vec<Candidate>) {
        kept.clear();
        let candidates = (0_u32..).zip(self.values.iter().zip(logits));
        kept.extend(
            candidates
                .filter(|(_, (value, _))| f64::from(**value) >= least && **value > 0.0)
                .map(|(token, (_, logit))| Candidate { token, logit: *logit }),
        );
    }

    /// The token at which the running sum of weights, in the order of ids, passes `target`.
    pub(super) fn walk(&self, mut target: f64) -> Option<u32> {
        let mut last = None;
        for (block, (values, sum)) in self.values.chunks(BLOCK).zip(&self.block_sums).enumerate() {
            if target >= *sum && block + 1 < self.block_sums.len() {
                target -= sum;
                continue;
            }
            for (offset, value) in values.iter().enumerate() {
                if *value > 0.0 {
                    last = Some((block * BLOCK + offset) as u32);
                    target -= f64::from(*value);
                    if target < 0.0 {
                        return last;
                    }
                }
            }
        }
        // Rounding let the target reach the very end (or the last block is empty of weight).
        last.or_else(|| self.values.iter().rposition(|value| *value > 0.0).map(|token| token as u32))
    }
}

/// The sum of `exp(logit - max)`, without keeping the terms.
pub(super) fn sum_of_exponentials(logits: &[f32], max: f32) -> f64 {
    let mut values = [0.0; BLOCK];
    logits
        .chunks(BLOCK)
        .map(|logits| {
            for (value, logit) in values.iter_mut().zip(logits) {
                *value = exp(logit - max);
            }
            sum(values.get(..logits.len()).unwrap_or_default())
        })
        .sum()
}

fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().copied().map(f64::from).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_f64_twin() {
        let mut worst = 0.0_f64;
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) / exact - 1.0).abs());
        }
        assert!(worst < 2.4e-7, "{worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!([exp(-87.5), exp(f32::NEG_INFINITY), exp(f32::NAN)], [0.0; 3]);
    }

    #[test]
    fn walking_finds_every_token_at_its_sum() {
        let logits: Vec<f32> =
            (0..3_000).map(|i| if i % 7 == 0 { (i % 5) as f32 } else { f32::NEG_INFINITY }).collect();
        let mut weights = Weights::default();
        let total = weights.compute(&logits, 4.0, 1.0);
        assert!((total - sum_of_exponentials(&logits, 4.0)).abs() < 1e-9);
        let mut below = 0.0;
        for token in (0..3_000).step_by(7) {
            let weight = f64::from(weights.values[token]);
            assert_eq!(weights.walk(below + weight / 2.0), Some(token as u32));
            below += weight;
        }
        assert_eq!(weights.walk(total * 2.0), Some(2_996 / 7 * 7));
    }
}
