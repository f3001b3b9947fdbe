//! Which served model answers for which of CLOVA Studio's.

use std::collections::BTreeMap;

use crate::ApiError;

/// Beginnings of the names of CLOVA Studio's own models: HyperCLOVA X, and the models of 2021.
const FAMILIES: [&str; 2] = ["HCX-", "LK-"];

/// A table from CLOVA Studio's names to served models.
///
/// A name is looked up in this order: the operator's table, the served models, and then, for a name of CLOVA Studio's
/// own families (`HCX-005`, `HCX-DASH-002`, `LK-D2` ...), the first served model. So a client written for CLOVA Studio
/// works without a table, and a misspelt name is still refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelNames {
    table: BTreeMap<String, String>,
}

impl ModelNames {
    /// A table of pairs (name at CLOVA Studio, name of a served model).
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { table: pairs.into_iter().collect() }
    }

    /// The pairs, for the check at start that every one of them leads to a served model.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.table.iter().map(|(name, model)| (name.as_str(), model.as_str()))
    }

    /// The served model for `name`.
    ///
    /// # Errors
    /// `model_not_found` where none is.
    pub fn resolve<'a>(&'a self, name: &'a str, served: &[&'a str]) -> Result<&'a str, ApiError> {
        let known = |name: &str| served.contains(&name);
        let of_clova = || FAMILIES.iter().any(|family| name.starts_with(family));
        let model = match self.table.get(name) {
            Some(model) => Some(model.as_str()),
            None if known(name) => Some(name),
            None if of_clova() => served.first().copied(),
            None => None,
        };
        model.filter(|model| known(model)).ok_or_else(|| ApiError::unknown_model(name))
    }

    /// The served model for a task, the name of what a tuning made: only the table and the served models count.
    ///
    /// # Errors
    /// `model_not_found` where there is none of that name.
    pub fn resolve_task<'a>(&'a self, task: &'a str, served: &[&str]) -> Result<&'a str, ApiError> {
        let name = self.table.get(task).map_or(task, String::as_str);
        served.contains(&name).then_some(name).ok_or_else(|| ApiError::unknown_model(task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: [&str; 2] = ["smollm2-135m", "gemma3-270m"];

    #[test]
    fn names_of_clova_lead_to_the_first_model() {
        let names = ModelNames::default();
        for name in ["HCX-005", "HCX-DASH-002", "HCX-003", "LK-D2", "LK-B"] {
            assert_eq!(names.resolve(name, &SERVED).unwrap(), "smollm2-135m");
        }
        assert_eq!(names.resolve("gemma3-270m", &SERVED).unwrap(), "gemma3-270m");
        assert!(names.resolve("gpt-4", &SERVED).is_err());
        assert!(names.resolve("HCX-005", &[]).is_err());
    }

    #[test]
    fn the_table_wins() {
        let names = ModelNames::new([
            ("HCX-005".to_owned(), "gemma3-270m".to_owned()),
            ("gone".to_owned(), "not-served".to_owned()),
        ]);
        assert_eq!(names.resolve("HCX-005", &SERVED).unwrap(), "gemma3-270m");
        assert_eq!(names.resolve("HCX-007", &SERVED).unwrap(), "smollm2-135m");
        assert_eq!(names.resolve("gone", &SERVED).unwrap_err(), ApiError::unknown_model("gone"));
    }

    #[test]
    fn a_task_is_never_guessed() {
        let names = ModelNames::new([("n2av10my".to_owned(), "gemma3-270m".to_owned())]);
        assert_eq!(names.resolve_task("n2av10my", &SERVED).unwrap(), "gemma3-270m");
        assert_eq!(names.resolve_task("smollm2-135m", &SERVED).unwrap(), "smollm2-135m");
        assert!(names.resolve_task("HCX-005", &SERVED).is_err());
    }
}
