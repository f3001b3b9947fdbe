//! The learning rate of each step.

use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine down to the final share (Loshchilov and Hutter 2017, arXiv 1608.03983).
    #[default]
    Cosine,
    /// It stays for four fifths of the run and then falls in a straight line ("warm-up, stable, decay": Hu et al. 2024,
    /// arXiv 2404.06395).
    Wsd,
}

/// Share of a [`Schedule::Wsd`] run in which the rate falls.
const DECAY: f64 = 0.2;

impl Schedule {
    /// The factor on the learning rate in step `step` (from 1) of `steps`.
    #[must_use]
    pub fn factor(self, step: u64, steps: u64, warm_up: u64, last: f64) -> f64 {
        if step < warm_up {
            return step as f64 / warm_up as f64;
        }
        let after = steps.saturating_sub(warm_up).max(1) as f64;
        let progress = (step.saturating_sub(warm_up) as f64 / after).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Cosine => last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Wsd => 1.0 - (1.0 - last) * ((progress - (1.0 - DECAY)) / DECAY).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_stay_and_fall() {
        for schedule in [Schedule::Constant, Schedule::Cosine, Schedule::Wsd] {
            let factor = |step| schedule.factor(step, 100, 10, 0.1);
            assert_eq!((factor(1), factor(5), factor(10)), (0.1, 0.5, 1.0));
            let end = if schedule == Schedule::Constant { 1.0 } else { 0.1 };
            assert!((factor(100) - end).abs() < 1e-12 && (factor(200) - end).abs() < 1e-12);
        }
        assert!((Schedule::Cosine.factor(55, 100, 10, 0.1) - 0.55).abs() < 1e-12);
        assert_eq!(Schedule::Wsd.factor(80, 100, 10, 0.1), 1.0);
        assert_eq!(Schedule::Cosine.factor(1, 1, 0, 0.0), 0.0);
    }
}
