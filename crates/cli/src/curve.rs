//! A curve in a line of text: the loss since a run was begun or gone on with, for the terminal.

use std::fmt::{self, Display, Formatter};

/// Letters of the curve at most.
const WIDTH: usize = 16;
/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Means of values that came one after the other, each of as many as the others but the last.
#[derive(Debug)]
pub(crate) struct Curve {
    /// Sums, and of how many values.
    parts: Vec<(f64, u64)>,
    /// Values in a part that is full.
    most: u64,
}

impl Default for Curve {
    fn default() -> Self {
        Self { parts: Vec::with_capacity(WIDTH), most: 1 }
    }
}

impl Curve {
    /// Adds a value; parts become twice as long where there would be too many.
    pub(crate) fn add(&mut self, value: f64) {
        if let Some((sum, count)) = self.parts.last_mut().filter(|(_, count)| *count < self.most) {
            (*sum, *count) = (*sum + value, *count + 1);
            return;
        }
        if self.parts.len() == WIDTH {
            let pair = |pair: &[(f64, u64)]| pair.iter().fold((0.0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
            self.parts = self.parts.chunks(2).map(pair).collect();
            self.most *= 2;
        }
        self.parts.push((value, 1));
    }
}

impl Display for Curve {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let means = || self.parts.iter().map(|(sum, count)| sum / *count as f64);
        let (least, most) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
        // One value alone has no height.
        let step = (most - least).max(f64::MIN_POSITIVE) / (BARS.len() - 1) as f64;
        for mean in means().filter(|_| self.parts.len() > 1) {
            let height = ((mean - least) / step).round() as usize;
            fmt::Write::write_char(out, BARS[height.min(BARS.len() - 1)])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: impl IntoIterator<Item = f64>) -> String {
        let mut curve = Curve::default();
        values.into_iter().for_each(|value| curve.add(value));
        curve.to_string()
    }

    #[test]
    fn low_is_low_and_high_is_high() {
        assert_eq!(drawn([]), "");
        assert_eq!(drawn([3.0]), "");
        assert_eq!(drawn([8.0, 1.0, 4.5]), "█▁▅");
        assert_eq!(drawn([2.0, 2.0]), "▁▁");
    }

    #[test]
    fn a_long_run_takes_no_more_room_than_a_short_one() {
        for count in [16, 17, 100, 10_000] {
            let curve = drawn((0..count).map(|step| 1.0 / f64::from(step + 1)));
            let width = curve.chars().count();
            assert!(
                (WIDTH / 2..=WIDTH).contains(&width) && curve.starts_with('█') && curve.ends_with('▁'),
                "{count}: {curve}"
            );
        }
    }
}
