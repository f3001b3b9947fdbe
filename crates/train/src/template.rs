//! Texts with places for the columns of a row: `리뷰: {{document}}`.

use serde_json::{Map, Value};

use crate::DataProblem;

/// A row of a table: its columns by name.
pub(crate) type Row = Map<String, Value>;

/// A text with places for columns.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Takes a text apart. Says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (column, after) =
                after.split_once("}}").ok_or_else(|| format!("{text:?} has a {{{{ without a }}}}"))?;
            if column.trim().is_empty() {
                return Err(format!("{text:?} names no column between {{{{ and }}}}"));
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Column(column.trim().to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The columns that it names.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Column(column) => Some(column.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text for a row; `word` stands in for the column beside it.
    pub(crate) fn fill(&self, row: &Row, word: Option<(&str, &str)>) -> Result<String, DataProblem> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Column(column) => match word.filter(|(name, _)| name == column) {
                    Some((_, word)) => text.push_str(word),
                    None => text.push_str(&value(row, column)?),
                },
            }
        }
        Ok(text)
    }
}

/// A column of a row as text, which must not be empty.
pub(crate) fn value(row: &Row, column: &str) -> Result<String, DataProblem> {
    let found = row
        .get(column)
        .ok_or_else(|| DataProblem::NoColumn { column: column.to_owned(), columns: row.keys().cloned().collect() })?;
    let text = match found {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if text.trim().is_empty() { Err(DataProblem::Empty(column.to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_filled_in_and_what_is_missing_is_named() {
        let template = Template::parse("{{ a }} and {{b}}: {c}").unwrap();
        let row = |json: Value| json.as_object().cloned().unwrap();
        let full = row(serde_json::json!({ "a": "하나", "b": 2, "c": true }));
        assert_eq!(template.fill(&full, None).unwrap(), "하나 and 2: {c}");
        assert_eq!(template.fill(&full, Some(("b", "둘"))).unwrap(), "하나 and 둘: {c}");
        assert_eq!(template.columns().collect::<Vec<_>>(), ["a", "b"]);
        let empty = row(serde_json::json!({ "a": " ", "b": 2 }));
        assert_eq!(template.fill(&empty, None), Err(DataProblem::Empty("a".into())));
        let missing = template.fill(&row(serde_json::json!({ "a": "x" })), None);
        assert_eq!(missing, Err(DataProblem::NoColumn { column: "b".into(), columns: vec!["a".into()] }));
        assert!(Template::parse("{{a").unwrap_err().contains("{{a"));
        assert!(Template::parse("{{ }}").is_err());
    }
}
