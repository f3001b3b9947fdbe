//! What training takes on other people's machines.

use indicatif::{HumanCount, HumanFloatCount};
use saem_train::cluster::{
    self, Arrangement, ClusterPlan, Hardware, PlanError, Question, Recomputation, Sharding, hardware,
};

use super::count;
use crate::arguments::Plan;
use crate::failure::{Failure, bytes};
use crate::language::Language;
use crate::output;

/// Devices that are shown where none are named.
const SHOWN: [&str; 4] = ["a100-80g", "h100", "tpu-v4", "rtx4090"];
/// Tokens for each parameter, where none are named (Hoffmann et al. 2022).
const TOKENS: f64 = 20.0;
/// Above this a duration is said in years.
const YEARS: f64 = 1000.0;

pub(super) fn run(arguments: &Plan, parameters: f64, language: Language) -> anyhow::Result<()> {
    let default = Question::default();
    let question = Question {
        parameters,
        tokens: arguments.tokens.unwrap_or(TOKENS * parameters),
        images: arguments.images.unwrap_or(0.0),
        sequence: arguments.sequence.map_or(default.sequence, |count| count as u64),
        vocabulary: arguments.vocabulary.map_or(default.vocabulary, |count| count as u64),
        batch_tokens: arguments.batch_tokens,
        devices: arguments.devices.map(|count| count as u64),
        days: arguments.days.unwrap_or(default.days),
        recompute: arguments.recompute.as_deref().map(|what| match what {
            "full" => Recomputation::Full,
            "selective" => Recomputation::Selective,
            _ => Recomputation::None,
        }),
        utilisation: arguments.utilisation,
        price: arguments.price,
        ..default
    };
    let devices = chosen(&arguments.hardware);
    let plan = cluster::plan(&question, &devices).map_err(|error| senseless(&error, language))?;
    if arguments.json { output::json(&plan) } else { output::line(&text(&plan, language)) }
}

fn chosen(names: &[String]) -> Vec<&'static Hardware> {
    if names.iter().any(|name| name == "all") {
        return hardware::all().iter().collect();
    }
    let named = names.iter().filter_map(|name| hardware::find(name));
    if names.is_empty() { SHOWN.into_iter().filter_map(hardware::find).collect() } else { named.collect() }
}

fn senseless(error: &PlanError, language: Language) -> Failure {
    let [value, least, most] = [error.value, error.least, error.most].map(|value| {
        if (1e-2..1e4).contains(&value) || value == 0.0 { value.to_string() } else { format!("{value:e}") }
    });
    Failure::usage(language.plan_senseless(error.what, &value, &least, &most))
}

fn text(plan: &ClusterPlan, language: Language) -> String {
    let l = language;
    let (question, shape) = (&plan.question, &plan.shape);
    let mut text = l.plan_asked(&count(question.parameters), &count(plan.tokens));
    if question.images > 0.0 {
        text += " ";
        text += &l.plan_images(
            &count(question.tokens),
            &count(question.images),
            &HumanFloatCount(question.tokens_per_image).to_string(),
        );
    }
    let vocabulary = HumanCount(shape.vocabulary).to_string();
    let operations = &plan.operations;
    let lines = [
        String::new(),
        l.plan_shape(shape.layers, shape.hidden, shape.heads, &vocabulary, &count(shape.parameters)),
        l.plan_operations(
            &format!("{:.2e}", operations.total),
            &format!("{:.2e}", operations.per_token),
            &format!("{:.0}", 100.0 * operations.attention / operations.products),
        ),
        l.plan_steps(&HumanCount(plan.steps as u64).to_string(), &count(plan.batch_tokens), question.sequence),
    ];
    text += &lines.join("\n");
    text += "\n";
    let days = question.days.to_string();
    if question.devices.is_none() {
        text += &format!("\n{}\n", l.plan_fewest_title());
        text += &arrangements(plan.hardware.iter().map(|found| (&found.device, found.minimum.as_ref())), language);
        text += &format!("\n{}\n", l.plan_in_time_title(&days));
    } else {
        let devices = HumanCount(question.devices.unwrap_or(0)).to_string();
        text += &format!("\n{}\n", l.plan_devices_title(&devices));
    }
    text += &arrangements(plan.hardware.iter().map(|found| (&found.device, found.chosen.as_ref())), language);
    for found in &plan.hardware {
        let devices = question.devices.unwrap_or(0);
        match &found.chosen {
            None => text += &format!("  {}\n", l.plan_no_room(found.device.name, &HumanCount(devices).to_string())),
            Some(chosen) if question.devices.is_none() && chosen.days > question.days => {
                text += &format!("  {}\n", l.plan_not_in_time(found.device.name, &days));
            }
            Some(_) => {}
        }
    }
    text += &format!("\n{}\n{}", l.plan_laws_title(), laws(plan, language));
    text += &format!("\n{}\n{}", l.plan_checks_title(), checks(plan, language));
    text += &format!("\n{}\n", l.plan_assumed());
    text
}

fn arrangements<'a>(
    found: impl Iterator<Item = (&'a Hardware, Option<&'a Arrangement>)>,
    language: Language,
) -> String {
    let l = language;
    let mut rows = vec![vec![
        l.plan_column_device(),
        l.plan_column_count(),
        l.plan_column_layout(),
        l.plan_column_sharding(),
        l.plan_column_recompute(),
        l.plan_column_memory(),
        l.plan_column_utilisation(),
        l.plan_column_days(),
        l.plan_column_range(),
        l.plan_column_energy(),
        l.plan_column_cost(),
    ]];
    rows.extend(found.filter_map(|(device, arrangement)| {
        let found = arrangement?;
        let layout = &found.layout;
        Some(vec![
            device.name.to_owned(),
            HumanCount(found.devices).to_string(),
            format!("{} × {} × {}", layout.data, layout.tensor, layout.pipeline),
            match layout.sharding {
                Sharding::None => l.plan_none(),
                Sharding::Optimizer => l.plan_sharding_optimizer(),
                Sharding::Gradients => l.plan_sharding_gradients(),
                Sharding::Weights => l.plan_sharding_weights(),
            },
            match layout.recompute {
                Recomputation::None => l.plan_none(),
                Recomputation::Selective => l.plan_recompute_selective(),
                Recomputation::Full => l.plan_recompute_full(),
            },
            bytes(found.memory.total as u64),
            format!("{:.0} %", 100.0 * found.utilisation),
            days(found.days, language),
            range(found.days_least, found.days_most, language),
            HumanCount((found.energy_kwh / 1000.0).round() as u64).to_string(),
            found.cost.map_or_else(|| "-".to_owned(), count),
        ])
    }));
    output::table(&rows, &[1, 5, 6, 7, 8, 9, 10])
}

/// Both ends in the same unit.
fn range(least: f64, most: f64, language: Language) -> String {
    if most < YEARS {
        return format!("{}–{}", days(least, language), days(most, language));
    }
    language.plan_years(&format!("{:.1}–{:.1}", least / 365.25, most / 365.25))
}

fn days(days: f64, language: Language) -> String {
    match days {
        YEARS.. => language.plan_years(&format!("{:.1}", days / 365.25)),
        9.95.. => format!("{days:.0}"),
        _ => format!("{days:.1}"),
    }
}

fn laws(plan: &ClusterPlan, language: Language) -> String {
    let l = language;
    let mut rows = vec![vec![
        l.plan_column_law(),
        l.plan_column_best(),
        l.plan_column_best_tokens(),
        l.plan_column_worth(),
        l.plan_column_loss(),
    ]];
    rows.extend(plan.optimal.iter().map(|law| {
        let losses = law.loss.zip(law.loss_asked).map(|(best, asked)| format!("{best:.3}, {asked:.3}"));
        vec![
            law.law.to_owned(),
            count(law.parameters),
            count(law.tokens),
            count(law.tokens_for_parameters),
            losses.unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    output::table(&rows, &[1, 2, 3, 4])
}

fn checks(plan: &ClusterPlan, language: Language) -> String {
    let l = language;
    let mut rows = vec![vec![
        l.plan_column_run(),
        l.plan_column_device(),
        l.plan_column_count(),
        l.plan_column_took(),
        l.plan_column_planned(),
    ]];
    rows.extend(plan.checks.iter().map(|check| {
        vec![
            check.run.to_owned(),
            check.hardware.to_owned(),
            HumanCount(check.devices).to_string(),
            format!("{:.1}", check.days),
            format!("{:.1}", check.planned),
        ]
    }));
    output::table(&rows, &[2, 3, 4])
}
