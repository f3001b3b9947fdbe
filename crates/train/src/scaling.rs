//! What loss a size is worth, from one's own small runs.
//!
//! Runs of a ladder of sizes, each with as many tokens as its size is worth, give one point each: operations and loss.
//! Through them goes a power law, `loss = floor + scale × operations^-exponent` (Henighan et al. 2020, arXiv 2010.14701;
//! without a floor where there are fewer than four points). Error bars are those of the bootstrap: the fit is made again
//! with residuals drawn anew, some hundred times, and 95 of 100 fits lie within the interval.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::TrainError;
use crate::random::Random;

/// Fits that the intervals are made of.
const DRAWS: usize = 400;
/// What the bootstrap draws for.
const BOOTSTRAP: u64 = 17;
/// Floors that are tried before the best is narrowed down.
const GRID: usize = 64;
/// Points with which a floor can be told from a small exponent.
const FLOOR_POINTS: usize = 4;
/// Steps at the end of a run whose losses are its loss, where none was measured with held-out texts.
const LAST: usize = 20;
/// Sizes that are foretold, as multiples of the largest run's.
const AHEAD: [f64; 5] = [2.0, 4.0, 10.0, 100.0, 1000.0];

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its folder.
    pub run: PathBuf,
    /// Parameters.
    pub parameters: f64,
    /// Tokens learnt from.
    pub tokens: f64,
    /// 6 for each parameter and token.
    pub operations: f64,
    /// The last loss measured with held-out texts, or the mean of the last steps.
    pub loss: f64,
}

/// The law through the points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PowerLaw {
    /// `floor_power`, or `power` where there are too few points for a floor.
    pub form: &'static str,
    /// What no number of operations goes below.
    pub floor: f64,
    /// 95 % of it.
    pub floor_interval: [f64; 2],
    /// The loss above the floor at one operation.
    pub scale: f64,
    /// How fast it falls.
    pub exponent: f64,
    /// 95 % of it.
    pub exponent_interval: [f64; 2],
    /// The root of the mean square of relative residuals.
    pub rms: f64,
}

/// What the law foretells.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Parameters.
    pub parameters: f64,
    /// Tokens, as many for each parameter as in the ladder.
    pub tokens: f64,
    /// Operations.
    pub operations: f64,
    /// Loss.
    pub loss: f64,
    /// 95 % of it.
    pub interval: [f64; 2],
}

/// Points, law and predictions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingFit {
    /// `fit`, to tell it from other plans.
    pub kind: &'static str,
    /// The runs, the smallest first.
    pub points: Vec<Point>,
    /// The law.
    pub law: PowerLaw,
    /// Larger sizes.
    pub predictions: Vec<Prediction>,
}

#[derive(Clone, Copy)]
struct Curve {
    floor: f64,
    scale: f64,
    exponent: f64,
}

impl Curve {
    fn loss(&self, operations: f64) -> f64 {
        self.floor + self.scale * operations.powf(-self.exponent)
    }
}

impl Point {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// [`TrainError::Scaling`] where the folder holds no run, or one without a step.
    pub fn read(run: &Path) -> Result<Self, TrainError> {
        let wrong = |problem: &str| TrainError::Scaling { path: run.to_owned(), problem: problem.to_owned() };
        let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).map_err(|_| wrong("has no metrics.jsonl"))?;
        // A line that a crash left half written is no measurement.
        let lines: Vec<Value> = metrics.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let number = |line: &Value, name: &str| line.get(name).and_then(Value::as_f64);
        let measured = lines.iter().rev().find_map(|line| number(line, "validation_loss"));
        let last: Vec<f64> = lines.iter().rev().take(LAST).filter_map(|line| number(line, "loss")).collect();
        let mean = last.iter().sum::<f64>() / last.len().max(1) as f64;
        let tokens = lines.iter().rev().find_map(|line| number(line, "tokens")).unwrap_or(0.0);
        let plan = std::fs::read_to_string(run.join("plan.json")).map_err(|_| wrong("has no plan.json"))?;
        let plan: Value = serde_json::from_str(&plan).map_err(|_| wrong("has a broken plan.json"))?;
        let parameters = number(&plan, "parameters").unwrap_or(0.0);
        let loss = measured.unwrap_or(mean);
        if !(loss > 0.0 && tokens > 0.0 && parameters > 0.0) {
            return Err(wrong("has no step with a loss"));
        }
        Ok(Self { run: run.to_owned(), parameters, tokens, operations: 6.0 * parameters * tokens, loss })
    }
}

impl ScalingFit {
    /// Fits the law to points.
    ///
    /// # Errors
    /// [`TrainError::TooFewRuns`] where there are fewer than three, or all have the same operations.
    pub fn new(mut points: Vec<Point>) -> Result<Self, TrainError> {
        points.sort_by(|a, b| a.operations.total_cmp(&b.operations));
        let different = points.windows(2).filter(|pair| pair[1].operations > 1.01 * pair[0].operations).count() + 1;
        if points.len() < 3 || different < 3 {
            return Err(TrainError::TooFewRuns { found: different.min(points.len()), needed: 3 });
        }
        let samples: Vec<(f64, f64)> = points.iter().map(|point| (point.operations, point.loss)).collect();
        let with_floor = different >= FLOOR_POINTS;
        let best = fit(&samples, with_floor);
        let residuals: Vec<f64> = samples.iter().map(|(x, loss)| (loss / best.loss(*x)).ln()).collect();
        // Residuals of a fit are smaller than those of the truth, by the parameters that it has.
        let free = samples.len().saturating_sub(if with_floor { 3 } else { 2 }).max(1);
        let wider = (samples.len() as f64 / free as f64).sqrt();
        let mut random = Random::new(BOOTSTRAP, BOOTSTRAP);
        let draws: Vec<Curve> = (0..DRAWS)
            .map(|_| {
                let again = samples.iter().map(|(x, _)| {
                    let residual = residuals[random.below(residuals.len())] * wider;
                    let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
                    (*x, best.loss(*x) * (sign * residual).exp())
                });
                fit(&again.collect::<Vec<_>>(), with_floor)
            })
            .collect();
        let interval = |value: &dyn Fn(&Curve) -> f64| {
            let mut values: Vec<f64> = draws.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
            [at(0.025), at(0.975)]
        };
        let law = PowerLaw {
            form: if with_floor { "floor_power" } else { "power" },
            floor: best.floor,
            floor_interval: interval(&|curve| curve.floor),
            scale: best.scale,
            exponent: best.exponent,
            exponent_interval: interval(&|curve| curve.exponent),
            rms: (residuals.iter().map(|residual| residual * residual).sum::<f64>() / residuals.len() as f64).sqrt(),
        };
        let per_parameter = (points.iter().map(|point| (point.tokens / point.parameters).ln()).sum::<f64>()
            / points.len() as f64)
            .exp();
        let largest = points.iter().map(|point| point.parameters).fold(0.0, f64::max);
        let predictions = AHEAD
            .map(|factor| {
                let parameters = factor * largest;
                let tokens = per_parameter * parameters;
                let operations = 6.0 * parameters * tokens;
                let interval = interval(&|curve| curve.loss(operations));
                Prediction { parameters, tokens, operations, loss: best.loss(operations), interval }
            })
            .to_vec();
        Ok(Self { kind: "fit", points, law, predictions })
    }
}

/// The curve with the least squares of relative residuals.
fn fit(samples: &[(f64, f64)], with_floor: bool) -> Curve {
    let curve = |floor: f64| {
        let curve = line(samples, floor);
        let error: f64 = samples.iter().map(|(x, loss)| (loss / curve.loss(*x)).ln().powi(2)).sum();
        (error, curve)
    };
    if !with_floor {
        return curve(0.0).1;
    }
    let least = samples.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    let step = 0.995 * least / GRID as f64;
    let best = (0..=GRID).map(|index| index as f64 * step).min_by(|a, b| curve(*a).0.total_cmp(&curve(*b).0));
    let best = best.unwrap_or(0.0);
    // Between its neighbours, by the golden section.
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = ((best - step).max(0.0), (best + step).min(0.999 * least));
    for _ in 0..40 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if curve(a).0 < curve(b).0 { high = b } else { low = a }
    }
    let (narrowed, at_best) = (curve(f64::midpoint(low, high)), curve(best));
    if narrowed.0 < at_best.0 { narrowed.1 } else { at_best.1 }
}

/// The straight line through logarithms above a floor; a relative error of the loss counts alike everywhere.
fn line(samples: &[(f64, f64)], floor: f64) -> Curve {
    let mut sums = [0.0; 5];
    for (x, loss) in samples {
        let above = (loss - floor).max(1e-12 * loss);
        let (x, y, weight) = (x.ln(), above.ln(), (above / loss).powi(2));
        for (sum, term) in sums.iter_mut().zip([1.0, x, y, x * x, x * y]) {
            *sum += weight * term;
        }
    }
    let [n, x, y, xx, xy] = sums;
    let slope = (n * xy - x * y) / (n * xx - x * x).max(1e-300);
    // Loss that rises with operations is noise.
    let exponent = (-slope).max(0.0);
    let scale = ((y + exponent * x) / n).exp();
    Curve { floor, scale, exponent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(noise: f64, seed: u64) -> Vec<Point> {
        let mut random = Random::new(seed, 1);
        [1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6]
            .map(|parameters| {
                let tokens = 20.0 * parameters;
                let operations = 6.0 * parameters * tokens;
                let loss = (1.9 + 90.0 * f64::powf(operations, -0.12)) * (noise * random.normal()).exp();
                Point { run: PathBuf::new(), parameters, tokens, operations, loss }
            })
            .to_vec()
    }

    #[test]
    fn a_law_is_found_again() {
        let found = ScalingFit::new(ladder(0.0, 1)).unwrap();
        let law = found.law;
        assert!((law.floor - 1.9).abs() < 1e-3 && (law.exponent - 0.12).abs() < 1e-4, "{law:?}");
        assert!(law.rms < 1e-6, "{law:?}");
        let ahead = found.predictions[2];
        assert!(ahead.parameters == 640e6 && (ahead.tokens / 12.8e9 - 1.0).abs() < 1e-9);
        assert!((ahead.loss - (1.9 + 90.0 * ahead.operations.powf(-0.12))).abs() < 1e-3);
    }

    #[test]
    fn error_bars_hold_the_truth() {
        // Of 40 ladders with half a percent of noise, 95 % should; 34 are demanded.
        let holds = |[low, high]: [f64; 2], truth: f64| (low..=high).contains(&truth);
        let (mut exponents, mut losses) = (0, 0);
        for seed in 0..40 {
            let found = ScalingFit::new(ladder(0.005, seed)).unwrap();
            exponents += u32::from(holds(found.law.exponent_interval, 0.12));
            let ahead = found.predictions[2];
            losses += u32::from(holds(ahead.interval, 1.9 + 90.0 * ahead.operations.powf(-0.12)));
        }
        assert!(exponents >= 34 && losses >= 34, "{exponents} and {losses} of 40");
    }

    #[test]
    fn three_runs_are_a_line_and_two_are_nothing() {
        let three = ScalingFit::new(ladder(0.0, 1).split_off(4)).unwrap();
        assert_eq!((three.law.form, three.law.floor), ("power", 0.0));
        let two = ScalingFit::new(ladder(0.0, 1).split_off(5));
        assert!(matches!(two, Err(TrainError::TooFewRuns { found: 2, needed: 3 })));
        let same = vec![ladder(0.0, 1)[0].clone(); 5];
        assert!(matches!(ScalingFit::new(same), Err(TrainError::TooFewRuns { found: 1, .. })));
    }

    #[test]
    fn a_run_is_read_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(matches!(Point::read(path), Err(TrainError::Scaling { .. })));
        std::fs::write(path.join("plan.json"), r#"{"parameters": 1000}"#).unwrap();
        let lines =
            "{\"step\":1,\"loss\":5.0,\"tokens\":100}\n{\"step\":2,\"loss\":4.0,\"tokens\":200}\n{\"step\":3,\"lo";
        std::fs::write(path.join("metrics.jsonl"), lines).unwrap();
        let point = Point::read(path).unwrap();
        assert_eq!((point.loss, point.tokens, point.operations), (4.5, 200.0, 1.2e6));
        std::fs::write(path.join("metrics.jsonl"), "{\"step\":1,\"loss\":5.0,\"tokens\":100,\"validation_loss\":6.0}")
            .unwrap();
        assert_eq!(Point::read(path).unwrap().loss, 6.0);
    }
}
