//! What sizes are worth, by one's own small runs.

use std::path::PathBuf;

use saem_train::{Point, ScalingFit};

use super::count;
use crate::language::Language;
use crate::output;

pub(super) fn run(runs: &[PathBuf], json: bool, language: Language) -> anyhow::Result<()> {
    let points = runs.iter().map(|run| Point::read(run)).collect::<Result<Vec<_>, _>>()?;
    let fit = ScalingFit::new(points)?;
    if json {
        return output::json(&fit);
    }
    let l = language;
    let loss = |loss: f64| format!("{loss:.4}");
    let interval = |[low, high]: [f64; 2]| format!("{low:.4}–{high:.4}");
    let mut rows = vec![vec![
        l.plan_column_run(),
        l.plan_column_parameters(),
        l.plan_column_tokens(),
        l.plan_column_operations(),
        l.plan_column_run_loss(),
    ]];
    rows.extend(fit.points.iter().map(|point| {
        vec![
            point.run.display().to_string(),
            count(point.parameters),
            count(point.tokens),
            format!("{:.2e}", point.operations),
            loss(point.loss),
        ]
    }));
    let mut text = output::table(&rows, &[1, 2, 3, 4]);
    let law = &fit.law;
    let formula = format!("{:.4} + {:.4e} × C^-{:.4}", law.floor, law.scale, law.exponent);
    text += &format!("\n{}\n", l.plan_law(&formula, &format!("{:.2}", 100.0 * law.rms)));
    if law.form == "floor_power" {
        text += &format!("{}\n", l.plan_law_floor(&interval(law.floor_interval)));
    } else {
        text += &format!("{}\n", l.plan_law_no_floor());
    }
    text += &format!("{}\n\n", l.plan_law_exponent(&interval(law.exponent_interval)));
    let mut rows = vec![vec![
        l.plan_column_parameters(),
        l.plan_column_tokens(),
        l.plan_column_operations(),
        l.plan_column_run_loss(),
        l.plan_column_interval(),
    ]];
    rows.extend(fit.predictions.iter().map(|ahead| {
        vec![
            count(ahead.parameters),
            count(ahead.tokens),
            format!("{:.2e}", ahead.operations),
            loss(ahead.loss),
            interval(ahead.interval),
        ]
    }));
    text += &output::table(&rows, &[0, 1, 2, 3, 4]);
    output::line(&text)
}
