//! `saem plan`.

mod cluster;
mod fit;
mod machine;

use crate::arguments::Plan;
use crate::failure::Failure;
use crate::language::Language;

/// Says what training takes.
pub(crate) fn run(arguments: &Plan, language: Language) -> anyhow::Result<()> {
    if !arguments.fit.is_empty() {
        return fit::run(&arguments.fit, arguments.json, language);
    }
    match (&arguments.recipe, arguments.params) {
        (Some(recipe), _) => machine::of_recipe(arguments, recipe, language),
        (None, Some(parameters)) if arguments.memory.is_some() => machine::of_size(arguments, parameters, language),
        (None, Some(parameters)) => cluster::run(arguments, parameters, language),
        (None, None) => Err(Failure::usage(language.plan_wants_parameters()).into()),
    }
}

/// A count as people say it: `1.3B`, `600M`.
pub(crate) fn count(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
    // What rounds to a thousand is one of the next unit.
    let (factor, unit) = units.into_iter().find(|(factor, _)| value >= 0.9995 * factor).unwrap_or((1.0, ""));
    if value >= 1e18 {
        return format!("{value:.2e}");
    }
    let value = value / factor;
    let text = if value < 99.95 && factor > 1.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_are_short() {
        let cases = [
            (6e11, "600B"),
            (1.3e9, "1.3B"),
            (8.56e11, "856B"),
            (64e3, "64k"),
            (999.9e6, "1B"),
            (12.0, "12"),
            (3.14e24, "3.14e24"),
            (2.5e12, "2.5T"),
            (0.0, "0"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }
}
