//! What there is to say of a table before a model is tuned on it: what each column holds, how its labels are balanced,
//! how long its texts are, and what somebody should look at, with lines.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::table::Table;

/// Most values of a column that is taken for labels.
const MOST_LABELS: usize = 50;
/// Longest label in characters.
const LONGEST_LABEL: usize = 64;
/// Lines that a notice names.
const LINES_TOLD: usize = 20;
/// A label is rare where the most frequent one is more than so many times as frequent.
const IMBALANCE: i64 = 10;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioColumnKind)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnKind {
    /// Texts.
    Text,
    /// A few values that come again and again.
    Label,
    /// Numbers.
    Number,
    /// Conversations: lists of turns with `role` and `content`.
    Messages,
}

/// A value and how often it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioLabelCount)]
pub(crate) struct LabelCount {
    pub(crate) value: String,
    pub(crate) count: i64,
}

/// Characters of the cells of a column that are not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioLengths)]
pub(crate) struct Lengths {
    least: i64,
    median: i64,
    /// 95 of 100 are no longer.
    p95: i64,
    most: i64,
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioColumn)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
    /// Cells with nothing but blanks.
    pub(crate) empty: i64,
    /// Different values.
    pub(crate) distinct: i64,
    pub(crate) lengths: Lengths,
    /// Of a column of labels: each with its count, the most frequent first. Empty for the others.
    pub(crate) labels: Vec<LabelCount>,
}

/// Something that somebody should look at. The rows are there all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioNotice)]
pub(crate) struct Notice {
    /// `empty` (cells of a column), `duplicate` (rows that are there already), `rare` (a label with a tenth of the most
    /// frequent one's rows), `conversation` (cells that are no list of turns).
    pub(crate) code: String,
    /// The column, where it is about one.
    pub(crate) column: Option<String>,
    /// The label, where it is about one.
    pub(crate) label: Option<String>,
    /// Rows.
    pub(crate) count: i64,
    /// Lines of the file, the first 20.
    pub(crate) lines: Vec<i64>,
}

impl Notice {
    fn new(code: &str, column: Option<&str>) -> Self {
        Self { code: code.to_owned(), column: column.map(str::to_owned), label: None, count: 0, lines: Vec::new() }
    }

    fn add(&mut self, line: i64) {
        self.count += 1;
        if self.lines.len() < LINES_TOLD {
            self.lines.push(line);
        }
    }
}

/// What is to say of a table: its columns, and what to look at.
pub(crate) fn report(table: &Table) -> (Vec<Column>, Vec<Notice>) {
    let mut notices = Vec::new();
    let columns = table.columns.iter().enumerate().map(|(place, name)| column(table, place, name, &mut notices));
    let columns: Vec<Column> = columns.collect();
    let mut duplicate = Notice::new("duplicate", None);
    // Rows are compared by 64 bits: two that differ are told as equal once in a hundred million tables.
    let hasher = BuildHasherDefault::<DefaultHasher>::new();
    let mut seen = std::collections::HashSet::with_capacity(table.rows.len());
    for (line, cells) in &table.rows {
        if !seen.insert(hasher.hash_one(cells)) {
            duplicate.add(*line);
        }
    }
    notices.push(duplicate);
    notices.retain(|notice| notice.count > 0);
    (columns, notices)
}

fn column(table: &Table, place: usize, name: &str, notices: &mut Vec<Notice>) -> Column {
    let is_nested = table.nested.contains(&place);
    let mut empty = Notice::new("empty", Some(name));
    let mut broken = Notice::new("conversation", Some(name));
    let mut counts: HashMap<&str, i64> = HashMap::new();
    let mut lengths = Vec::with_capacity(table.rows.len());
    for (line, cells) in &table.rows {
        let cell = cells.get(place).map_or("", String::as_str);
        if cell.trim().is_empty() {
            empty.add(*line);
            continue;
        }
        if is_nested && !is_conversation(cell) {
            broken.add(*line);
        }
        *counts.entry(cell).or_default() += 1;
        lengths.push(cell.chars().count());
    }
    lengths.sort_unstable();
    let filled = lengths.len();
    let longest = lengths.last().copied().unwrap_or(0);
    // Every value twice on average: a column of ten different names is none of labels.
    let is_label = (1..=MOST_LABELS).contains(&counts.len()) && counts.len() * 2 <= filled && longest <= LONGEST_LABEL;
    let kind = if is_nested && (broken.count as usize) < filled {
        ColumnKind::Messages
    } else if is_label {
        ColumnKind::Label
    } else if filled > 0 && counts.keys().all(|cell| cell.trim().parse::<f64>().is_ok()) {
        ColumnKind::Number
    } else {
        ColumnKind::Text
    };
    let mut labels = Vec::new();
    if kind == ColumnKind::Label {
        labels.extend(counts.iter().map(|(value, count)| LabelCount { value: (*value).to_owned(), count: *count }));
        labels.sort_by(|a, b| (b.count, &a.value).cmp(&(a.count, &b.value)));
        let most = labels.first().map_or(0, |label| label.count);
        for label in labels.iter().filter(|label| label.count * IMBALANCE < most) {
            let (count, label) = (label.count, Some(label.value.clone()));
            notices.push(Notice { count, label, ..Notice::new("rare", Some(name)) });
        }
    }
    notices.push(empty.clone());
    if kind == ColumnKind::Messages {
        notices.push(broken);
    }
    let at = |share: f64| {
        let place = ((filled as f64 * share).ceil() as usize).saturating_sub(1);
        lengths.get(place).map_or(0, |length| count(*length))
    };
    Column {
        name: name.to_owned(),
        kind,
        empty: empty.count,
        distinct: count(counts.len()),
        lengths: Lengths { least: at(0.0), median: at(0.5), p95: at(0.95), most: at(1.0) },
        labels,
    }
}

/// Whether a cell is a list of turns, the last of them the assistant's.
fn is_conversation(cell: &str) -> bool {
    let Ok(Value::Array(turns)) = serde_json::from_str(cell) else { return false };
    let is_turn = |turn: &Value| {
        let role = turn.get("role").and_then(Value::as_str);
        matches!(role, Some("system" | "user" | "assistant")) && turn.get("content").is_some_and(Value::is_string)
    };
    let ends_well = turns.last().is_some_and(|turn| turn.get("role").and_then(Value::as_str) == Some("assistant"));
    ends_well && turns.iter().all(is_turn)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studio::table::{Bounds, Format};

    fn of(text: &str, format: Format) -> (Vec<Column>, Vec<Notice>) {
        report(&Table::read(&text.to_owned().into(), format, b',', Bounds::DATASET).unwrap())
    }

    #[test]
    fn columns_are_told_apart_and_labels_counted() {
        let mut text = String::from("document,label,score,note\n");
        for row in 0..40 {
            text += &format!("글 {row},{},{},\n", if row == 7 { "부정" } else { "긍정" }, row as f64 / 3.0);
        }
        text += "글 3,긍정,1,\n글 3,긍정,1,\n";
        let (columns, notices) = of(&text, Format::Csv);
        let kinds: Vec<ColumnKind> = columns.iter().map(|column| column.kind).collect();
        assert_eq!(kinds, [ColumnKind::Text, ColumnKind::Label, ColumnKind::Number, ColumnKind::Text]);
        let labels: Vec<(&str, i64)> =
            columns[1].labels.iter().map(|label| (label.value.as_str(), label.count)).collect();
        assert_eq!(labels, [("긍정", 41), ("부정", 1)]);
        assert_eq!(columns[0].lengths, Lengths { least: 3, median: 4, p95: 4, most: 4 });
        assert_eq!((columns[3].empty, columns[3].distinct), (42, 0));
        let told: Vec<(&str, i64, usize)> =
            notices.iter().map(|notice| (notice.code.as_str(), notice.count, notice.lines.len())).collect();
        assert_eq!(told, [("rare", 1, 0), ("empty", 42, 20), ("duplicate", 2, 2)]);
        assert_eq!((notices[0].label.as_deref(), &notices[2].lines), (Some("부정"), &vec![42, 43]));
    }

    #[test]
    fn conversations_are_known_and_broken_ones_named() {
        let turn = |role: &str| format!(r#"{{"role":"{role}","content":"가"}}"#);
        let good = format!(r#"{{"messages":[{},{}]}}"#, turn("user"), turn("assistant"));
        let asks = format!(r#"{{"messages":[{}]}}"#, turn("user"));
        let (columns, notices) = of(&format!("{good}\n{good}\n{asks}\n{{\"messages\":\"\"}}\n"), Format::Jsonl);
        assert_eq!((columns[0].kind, columns[0].empty), (ColumnKind::Messages, 1));
        let told: Vec<(&str, &[i64])> = notices.iter().map(|notice| (&*notice.code, &*notice.lines)).collect();
        assert_eq!(told, [("empty", &[4][..]), ("conversation", &[3]), ("duplicate", &[2])]);
        // Another list is a text like any other.
        let (columns, _) = of("{\"a\":[1]}\n{\"a\":[2]}\n{\"a\":[3]}\n", Format::Jsonl);
        assert_eq!(columns[0].kind, ColumnKind::Text);
    }
}
