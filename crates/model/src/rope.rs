//! Angles of rotary position embeddings (Su et al. 2021, arXiv 2104.09864).
//!
//! Frequencies follow Hugging Face transformers' `modeling_rope_utils.py` step by step in f32, so that angles at
//! position 100,000 still agree with the reference: a frequency off by one unit in the last place would be off by
//! 0.006 radians there.

use crate::config::{Rope, RopeScaling};

impl Rope {
    /// Angle of each pair at position 1: `rotary / 2` of them.
    #[must_use]
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let powers = self.powers();
        match &self.scaling {
            RopeScaling::None => powers.iter().map(|power| 1.0 / power).collect(),
            RopeScaling::Linear { factor } => powers.iter().map(|power| 1.0 / power / factor).collect(),
            RopeScaling::Factors(factors) => {
                powers.iter().zip(factors).map(|(power, factor)| 1.0 / power / factor).collect()
            }
            RopeScaling::Llama3 { .. } => {
                let factors = self.llama3_factors().unwrap_or_default();
                powers.iter().zip(factors).map(|(power, factor)| 1.0 / power / factor).collect()
            }
            RopeScaling::Yarn { factor, beta_fast, beta_slow, original, truncate, .. } => {
                let (low, high) = self.yarn_range(*beta_fast, *beta_slow, *original, *truncate);
                let kept = |pair: usize| 1.0 - ((pair as f32 - low) / (high - low)).clamp(0.0, 1.0);
                let blend = |(pair, power): (usize, &f32)| {
                    1.0 / (factor * power) * (1.0 - kept(pair)) + 1.0 / power * kept(pair)
                };
                powers.iter().enumerate().map(blend).collect()
            }
        }
    }

    /// Factor on cosines and sines: YaRN's, else 1.
    #[must_use]
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// What [`RopeScaling::Llama3`] divides each frequency by; GGUF files store these.
    #[must_use]
    pub fn llama3_factors(&self) -> Option<Vec<f32>> {
        let RopeScaling::Llama3 { factor, low, high, original } = self.scaling else { return None };
        let scaled = |power: &f32| {
            let wavelength = 2.0 * std::f32::consts::PI * power;
            if wavelength > original / low {
                factor
            } else if wavelength < original / high {
                1.0
            } else {
                let smooth = (original / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Some(self.powers().iter().map(scaled).collect())
    }

    /// `theta ^ (2 i / rotary)`: one over the plain frequencies.
    fn powers(&self) -> Vec<f32> {
        let power = |pair: usize| self.theta.powf(f64::from(2.0 * pair as f32 / self.rotary as f32)) as f32;
        (0..self.rotary / 2).map(power).collect()
    }

    /// First and last pair of YaRN's ramp.
    fn yarn_range(&self, fast: f32, slow: f32, original: f32, truncate: bool) -> (f32, f32) {
        // The dimension that turns `rotations` times within the original context.
        let dimension = |rotations: f32| {
            let turns = f64::from(original) / (f64::from(rotations) * 2.0 * std::f64::consts::PI);
            self.rotary as f64 * turns.ln() / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (dimension(fast), dimension(slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let low = low.max(0.0) as f32;
        let high = high.min(self.rotary as f64 - 1.0) as f32;
        if low == high { (low, high + 0.001) } else { (low, high) }
    }
}

/// Cosines and sines of a pass, `[rows, rotary / 2]` each.
#[derive(Debug)]
pub struct Angles {
    frequencies: Vec<f32>,
    magnitude: f32,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Room for `rows` rows.
    #[must_use]
    pub fn new(rope: &Rope, rows: usize) -> Self {
        let frequencies = rope.inverse_frequencies();
        let room = rows * frequencies.len();
        Self { magnitude: rope.magnitude(), cos: vec![0.0; room], sin: vec![0.0; room], frequencies }
    }

    /// Bytes that [`Angles::new`] takes.
    #[must_use]
    pub fn byte_len(rope: &Rope, rows: usize) -> usize {
        rows * rope.rotary * size_of::<f32>()
    }

    /// Computes the angles of rows from `first_row` on, at positions from `first_position` on.
    pub fn set(&mut self, first_row: usize, rows: usize, first_position: usize) {
        let pairs = self.frequencies.len();
        let cos = self.cos.chunks_exact_mut(pairs).skip(first_row).take(rows);
        let sin = self.sin.chunks_exact_mut(pairs).skip(first_row).take(rows);
        for ((cos, sin), position) in cos.zip(sin).zip(first_position..) {
            for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(&self.frequencies) {
                // The product is rounded to f32, as the reference does; its sine is then exact to f32.
                let (s, c) = f64::from(position as f32 * frequency).sin_cos();
                *cos = c as f32 * self.magnitude;
                *sin = s as f32 * self.magnitude;
            }
        }
    }

    /// The first `rows` rows of cosines and sines.
    #[must_use]
    pub fn rows(&self, rows: usize) -> (&[f32], &[f32]) {
        let len = rows * self.frequencies.len();
        (self.cos.get(..len).unwrap_or_default(), self.sin.get(..len).unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::excessive_precision, reason = "the reference's own digits")]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> Rope {
        Rope { theta: 500_000.0, rotary: 128, scaling }
    }

    /// From transformers' `_compute_llama3_parameters` and `_compute_yarn_parameters` with these numbers.
    #[test]
    fn frequencies_are_those_of_the_reference() {
        let llama3 = rope(RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 });
        let found = llama3.inverse_frequencies();
        for (pair, expected) in LLAMA3 {
            assert!((found[pair] / expected - 1.0).abs() < 3e-7, "{pair}: {} {expected}", found[pair]);
        }
        let yarn = Rope {
            theta: 8_000_000.0,
            rotary: 128,
            scaling: RopeScaling::Yarn {
                factor: 4.4,
                beta_fast: 64.0,
                beta_slow: 2.0,
                original: 32768.0,
                attention_factor: 1.0,
                truncate: true,
            },
        };
        let found = yarn.inverse_frequencies();
        for (pair, expected) in YARN {
            assert!((found[pair] / expected - 1.0).abs() < 3e-7, "{pair}: {} {expected}", found[pair]);
        }
    }

    #[test]
    fn stored_factors_equal_computed_ones() {
        let llama3 = rope(RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 });
        let stored = rope(RopeScaling::Factors(llama3.llama3_factors().unwrap()));
        assert_eq!(llama3.inverse_frequencies(), stored.inverse_frequencies());
    }

    #[test]
    fn angles_of_a_row_do_not_depend_on_the_batch() {
        let rope = rope(RopeScaling::None);
        let (mut one, mut many) = (Angles::new(&rope, 1), Angles::new(&rope, 5));
        many.set(2, 3, 1000);
        one.set(0, 1, 1002);
        assert_eq!(one.rows(1).0, &many.rows(5).0[4 * 64..]);
        assert_eq!(one.rows(1).1, &many.rows(5).1[4 * 64..]);
    }

    const LLAMA3: [(usize, f32); 10] = [
        (0, 1.00000000),
        (1, 8.14617217e-1),
        (13, 6.95659518e-2),
        (28, 3.21144611e-3),
        (30, 1.37189368e-3),
        (31, 8.56751460e-4),
        (33, 3.12693650e-4),
        (36, 7.78465546e-5),
        (40, 3.42810236e-5),
        (63, 3.06892588e-7),
    ];
    const YARN: [(usize, f32); 10] = [
        (0, 1.00000000),
        (1, 7.80080140e-1),
        (13, 3.96104567e-2),
        (28, 4.13733069e-4),
        (30, 1.91906234e-4),
        (31, 1.26354193e-4),
        (33, 6.26818073e-5),
        (36, 2.97549486e-5),
        (40, 1.10183373e-5),
        (63, 3.64181716e-8),
    ];
}
