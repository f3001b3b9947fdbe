//! Tables that people upload: CSV or JSON lines, in whatever encoding their office writes, or Parquet.
//!
//! A row that is broken is left out and told of with its line; the others stay. What cannot be read as a table at all is
//! refused with the first reason.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use encoding_rs::{EUC_KR, UTF_16BE, UTF_16LE};
use saem_train::{DataProblem, ParquetRows};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ApiError;
use crate::nfc::nfc;

/// Columns of a table.
const MOST_COLUMNS: usize = 64;
/// Bytes that the columns of one group of rows of a Parquet file may take.
const LARGEST_GROUP: u64 = 256 << 20;
/// Faults that are told of one by one.
const FAULTS_TOLD: usize = 100;

/// How large a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes of the file.
    pub(crate) bytes: usize,
    /// Rows.
    pub(crate) rows: usize,
    /// Cells: an empty one takes memory, too.
    pub(crate) cells: usize,
    /// Bytes of a row, its cells together.
    pub(crate) row_bytes: usize,
    /// Whether cells of JSON lines may be lists and objects; they come as JSON.
    pub(crate) nested: bool,
}

impl Bounds {
    /// Of a table whose rows are asked.
    pub(crate) const BATCH: Self =
        Self { bytes: 8 << 20, rows: 20_000, cells: 1 << 20, row_bytes: 32 << 10, nested: false };
    /// Of a table that a model is tuned on.
    pub(crate) const DATASET: Self =
        Self { bytes: 64 << 20, rows: 500_000, cells: 8 << 20, row_bytes: 128 << 10, nested: true };
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioTableFormat)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Cells with commas or tabs between them, and names in the first line.
    Csv,
    /// An object in each line.
    Jsonl,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// What the header says, and what is between two cells.
    ///
    /// # Errors
    /// 415 `unsupported_media_type`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<(Self, u8), ApiError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/csv" => Ok((Self::Csv, b',')),
            "text/tab-separated-values" => Ok((Self::Csv, b'\t')),
            "application/x-ndjson" | "application/jsonl" => Ok((Self::Jsonl, b',')),
            "application/vnd.apache.parquet" => Ok((Self::Parquet, b',')),
            _ => Err(ApiError::no_table()),
        }
    }
}

/// A row that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StudioFault)]
pub(crate) struct Fault {
    /// The line of the file where it begins, from 1.
    pub(crate) line: i64,
    /// What kind of fault it is: `cells` (another number of them than the first line has), `object` (the line is none),
    /// `json` (it is not JSON), `nested` (a list or an object in a cell), `bytes` (a cell is no text), `long`.
    #[serde(default)]
    pub(crate) code: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// The line of a row, and its cells with the places of their columns.
type Cells = (i64, Vec<(usize, String)>);

/// A table: each row has a cell for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) encoding: &'static str,
    pub(crate) columns: Vec<String>,
    /// The columns that have lists or objects in them.
    pub(crate) nested: Vec<usize>,
    /// The line where each begins, and its cells.
    pub(crate) rows: Vec<(i64, Vec<String>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_total: usize,
    bounds: Bounds,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// 400 `unreadable_table` with the reason.
    pub(crate) fn read(bytes: &Bytes, format: Format, delimiter: u8, bounds: Bounds) -> Result<Self, ApiError> {
        let (text, encoding) = if format == Format::Parquet { (String::new(), "utf-8") } else { decode(bytes)? };
        let (columns, nested, rows, faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut table = Self { encoding, columns, nested, rows, faults, faults_total: 0, bounds };
        match format {
            Format::Csv => table.read_csv(&text, delimiter)?,
            Format::Jsonl => table.read_lines(&text)?,
            Format::Parquet => table.read_parquet(bytes.clone())?,
        }
        if table.rows.is_empty() {
            let first = table.faults.first();
            let reason = first.map(|fault| format!(": line {}: {}", fault.line, fault.message)).unwrap_or_default();
            return Err(unreadable(format!("The table has no row that can be used{reason}")));
        }
        Ok(table)
    }

    fn read_csv(&mut self, text: &str, delimiter: u8) -> Result<(), ApiError> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
        let names = reader.headers().map_err(|error| unreadable(error.to_string()))?;
        for (index, name) in names.iter().enumerate() {
            let name = nfc(name.trim().to_owned());
            // Spreadsheets leave columns without a name at the end.
            let name = if name.is_empty() { format!("column_{}", index + 1) } else { name };
            self.add_column(name)?;
        }
        let mut record = csv::StringRecord::new();
        let mut lines = Lines { bytes: text.as_bytes(), at: 0, line: 1 };
        while reader.read_record(&mut record).map_err(|error| unreadable(error.to_string()))? {
            let begin = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
            let line = lines.of(begin);
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if record.len() != self.columns.len() {
                self.fault(
                    line,
                    "cells",
                    format!("{} cells where the first line has {}", record.len(), self.columns.len()),
                );
                continue;
            }
            self.add_row(line, record.iter().map(str::to_owned).collect())?;
        }
        Ok(())
    }

    fn read_lines(&mut self, text: &str) -> Result<(), ApiError> {
        let mut found = Vec::new();
        for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let line = i64::try_from(index + 1).unwrap_or(i64::MAX);
            let fields = match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => fields,
                Ok(_) => {
                    self.fault(line, "object", "must be a JSON object".to_owned());
                    continue;
                }
                Err(error) => {
                    self.fault(line, "json", format!("is not JSON: {error}"));
                    continue;
                }
            };
            found.extend(self.cells(line, fields)?);
        }
        self.add_objects(found)
    }

    fn read_parquet(&mut self, bytes: Bytes) -> Result<(), ApiError> {
        let mut found = Vec::new();
        let rows = ParquetRows::of_bytes(bytes, self.bounds.row_bytes, LARGEST_GROUP).map_err(unreadable)?;
        for (row, line) in rows.zip(1..) {
            match row.map_err(unreadable)? {
                Ok(fields) => found.extend(self.cells(line, fields)?),
                Err(problem) => {
                    let code = if matches!(problem, DataProblem::TooLong { .. }) { "long" } else { "bytes" };
                    self.fault(line, code, format!("is {problem}"));
                }
            }
            self.check_rows(found.len())?;
        }
        self.add_objects(found)
    }

    /// The cells of an object, with the places of their columns; none where it is left out.
    fn cells(&mut self, line: i64, fields: Map<String, Value>) -> Result<Option<Cells>, ApiError> {
        let is_nested = |value: &Value| value.is_array() || value.is_object();
        if !self.bounds.nested
            && let Some((name, _)) = fields.iter().find(|(_, value)| is_nested(value))
        {
            self.fault(line, "nested", format!("`{name}` must be a text, a number, true, false or null"));
            return Ok(None);
        }
        let mut cells = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let name = nfc(name);
            let place = match self.columns.iter().position(|known| *known == name) {
                Some(place) => place,
                None => {
                    self.add_column(name)?;
                    self.columns.len() - 1
                }
            };
            if is_nested(&value) && !self.nested.contains(&place) {
                self.nested.push(place);
            }
            let cell = match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                value => value.to_string(),
            };
            cells.push((place, cell));
        }
        Ok(Some((line, cells)))
    }

    /// Adds rows whose columns are all known now.
    fn add_objects(&mut self, found: Vec<Cells>) -> Result<(), ApiError> {
        for (line, cells) in found {
            let mut row = vec![String::new(); self.columns.len()];
            for (place, cell) in cells {
                if let Some(slot) = row.get_mut(place) {
                    *slot = cell;
                }
            }
            self.add_row(line, row)?;
        }
        Ok(())
    }

    fn add_column(&mut self, name: String) -> Result<(), ApiError> {
        if self.columns.contains(&name) {
            return Err(unreadable(format!("The column `{name}` is there twice")));
        }
        if self.columns.len() == MOST_COLUMNS {
            return Err(unreadable(format!("The table has more than {MOST_COLUMNS} columns")));
        }
        self.columns.push(name);
        Ok(())
    }

    fn add_row(&mut self, line: i64, cells: Vec<String>) -> Result<(), ApiError> {
        let Bounds { row_bytes, .. } = self.bounds;
        if cells.iter().map(String::len).sum::<usize>() > row_bytes {
            let message = format!("is longer than {row_bytes} bytes; a quotation mark may not be closed");
            self.fault(line, "long", message);
            return Ok(());
        }
        self.check_rows(self.rows.len() + 1)?;
        self.rows.push((line, cells.into_iter().map(nfc).collect()));
        Ok(())
    }

    /// Whether a table with as many rows is small enough.
    fn check_rows(&self, found: usize) -> Result<(), ApiError> {
        let Bounds { rows, cells, .. } = self.bounds;
        if found > rows {
            return Err(unreadable(format!("The table has more than {rows} rows")));
        }
        if found * self.columns.len() > cells {
            return Err(unreadable(format!("The table has more than {cells} cells")));
        }
        Ok(())
    }

    fn fault(&mut self, line: i64, code: &str, message: String) {
        self.faults_total += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(Fault { line, code: code.to_owned(), message });
        }
    }
}

/// Counts lines on the way through a text. The reader's own count stands before the line feed of the row before, and
/// before empty lines.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: i64,
}

impl Lines<'_> {
    /// The line of the row that begins at this byte or after the ends of lines that are there.
    fn of(&mut self, begin: usize) -> i64 {
        while let Some(byte) = self.bytes.get(self.at) {
            let is_end = matches!(byte, b'\r' | b'\n');
            if self.at >= begin && !is_end {
                break;
            }
            self.at += 1;
            // `\r\n` is one end.
            if *byte == b'\n' || *byte == b'\r' && self.bytes.get(self.at) != Some(&b'\n') {
                self.line += 1;
            }
        }
        self.line
    }
}

/// The text of a file, and the encoding that it turned out to have: the mark at its beginning tells, else whether it is
/// UTF-8, and else it is taken for CP949, in which Korean Windows writes.
fn decode(bytes: &[u8]) -> Result<(String, &'static str), ApiError> {
    let utf_16 = match bytes {
        [0xff, 0xfe, rest @ ..] => Some((UTF_16LE, rest)),
        [0xfe, 0xff, rest @ ..] => Some((UTF_16BE, rest)),
        _ => None,
    };
    if let Some((encoding, rest)) = utf_16 {
        let text = encoding.decode_without_bom_handling_and_without_replacement(rest);
        return text.map(|text| (text.into_owned(), "utf-16")).ok_or_else(|| unreadable("The file is broken UTF-16"));
    }
    let bare = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(bare) {
        return Ok((text.to_owned(), "utf-8"));
    }
    let text = EUC_KR.decode_without_bom_handling_and_without_replacement(bytes);
    let wrong = || unreadable("The file is neither UTF-8 nor UTF-16 with its mark nor CP949; save it as UTF-8");
    text.map(|text| (text.into_owned(), "cp949")).ok_or_else(wrong)
}

fn unreadable(message: impl Into<String>) -> ApiError {
    ApiError::invalid("unreadable_table", "", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(bytes: &[u8]) -> Result<Table, ApiError> {
        Table::read(&Bytes::copy_from_slice(bytes), Format::Csv, b',', Bounds::BATCH)
    }

    fn row(line: i64, cells: &[&str]) -> (i64, Vec<String>) {
        (line, cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn broken_rows_are_told_with_their_lines_and_the_others_stay() {
        let table =
            csv("후기,label\r\n\"좋아요,\r\n정말\",긍정\r\n\r\n하나\r\n별로,부정\r\na,b,c\r\n".as_bytes()).unwrap();
        assert_eq!(table.columns, ["후기", "label"]);
        assert_eq!(table.rows, [row(2, &["좋아요,\r\n정말", "긍정"]), row(6, &["별로", "부정"])]);
        let lines: Vec<i64> = table.faults.iter().map(|fault| fault.line).collect();
        assert_eq!((lines, table.faults_total), (vec![5, 7], 2));
    }

    #[test]
    fn lines_are_counted_however_they_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a", "1", "", "", "2", "\"x", "y\"", "3"].join(end);
            let table = csv(text.as_bytes()).unwrap();
            let lines: Vec<i64> = table.rows.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [2, 5, 6, 8], "{end:?}");
        }
    }

    #[test]
    fn json_lines_may_have_different_fields() {
        let text = "{\"a\": \"\u{1109}\u{1162}\u{11b7}\", \"n\": 1.5}\n[1]\n\n{\"b\": null, \"a\": true}\n{\"a\": {}}\n{oops\n";
        let table = Table::read(&text.into(), Format::Jsonl, b',', Bounds::BATCH).unwrap();
        assert_eq!(table.columns, ["a", "n", "b"]);
        assert_eq!(table.rows, [row(1, &["샘", "1.5", ""]), row(4, &["true", "", ""])]);
        let lines: Vec<(i64, &str)> = table.faults.iter().map(|fault| (fault.line, &*fault.code)).collect();
        assert_eq!(lines, [(2, "object"), (5, "nested"), (6, "json")]);
        let table = Table::read(&text.into(), Format::Jsonl, b',', Bounds::DATASET).unwrap();
        assert_eq!((table.nested, &table.rows[2]), (vec![0], &row(5, &["{}", "", ""])));
    }

    #[test]
    fn the_encodings_of_offices_are_read() {
        let text = "글,수\n샘물,1\n똠방각하,2\n";
        let (cp949, _, broken) = EUC_KR.encode(text);
        assert!(!broken);
        let mut marked = vec![0xef, 0xbb, 0xbf];
        marked.extend_from_slice(text.as_bytes());
        let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let plain = csv(text.as_bytes()).unwrap();
        assert_eq!(plain.encoding, "utf-8");
        for (bytes, encoding) in [(&*cp949, "cp949"), (&marked, "utf-8"), (&utf_16, "utf-16")] {
            let table = csv(bytes).unwrap();
            assert_eq!((table.encoding, &table.columns, &table.rows), (encoding, &plain.columns, &plain.rows));
        }
        assert_eq!(csv(b"a\n\xff\xff\n").unwrap_err().code, "unreadable_table");
    }

    #[test]
    fn what_is_no_table_is_refused_with_a_reason() {
        let message = |bytes: &[u8]| csv(bytes).unwrap_err().message;
        assert!(message(b"a,a\n1,2\n").contains("`a` is there twice"));
        assert!(message(b"").contains("no row"));
        assert!(message(b"a,b\n1\n").contains("line 2: 1 cells"));
        assert!(message(format!("a\n\"{}", "x".repeat(40_000)).as_bytes()).contains("quotation mark"));
        let many = format!("a\n{}", "1\n".repeat(Bounds::BATCH.rows + 1));
        assert!(message(many.as_bytes()).contains("20000 rows"));
        let wide = vec!["x"; 65].iter().enumerate().map(|(i, x)| format!("{x}{i}")).collect::<Vec<_>>().join(",");
        assert!(message(wide.as_bytes()).contains("64 columns"));
        let empty = ["x,".repeat(60), "\n".to_owned()].concat().repeat(Bounds::BATCH.cells / 61 + 2);
        let names: String = (0..60).map(|number| format!("{number},")).collect();
        assert!(message(format!("{names}\n{empty}").as_bytes()).contains("more than 1048576 cells"));
        let tabs = Table::read(&Bytes::from_static(b"a\tb\n1\t2\n"), Format::Csv, b'\t', Bounds::BATCH).unwrap();
        assert_eq!(tabs.columns, ["a", "b"]);
    }
}
