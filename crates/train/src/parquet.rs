//! Rows of Parquet files, as the other formats give them.
//!
//! The reader checks what a file says of its sizes before it takes memory for them; whatever it does not foresee in a
//! damaged file ends in an error, not in the end of the program.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use serde_json::{Number, Value};

use crate::template::Row;
use crate::{DataProblem, TrainError};

/// The most bytes that the columns of one group of rows may have when they are expanded, as the file's end says it. Only a
/// page of each is in memory at a time, but a page may be a whole column.
const LARGEST_GROUP: i64 = 4 << 30;
/// The last day that is written in words, counted from 1970 on: in the year 248,000.
const LAST_DAY: u32 = 90_000_000;
/// Columns that a table may have.
const MOST_COLUMNS: usize = 4096;

/// As [`crate::rows::read`]; rows are numbered from 1.
pub(crate) fn read(
    path: &Path,
    limit: usize,
    each: &mut dyn FnMut(usize, Result<Row, DataProblem>) -> Result<(), TrainError>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let broken = |problem: String| io(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let rows = ParquetRows::new(file, limit, LARGEST_GROUP).map_err(broken)?;
    let count = rows.count.max(1);
    for (row, line) in rows.zip(1..) {
        progress((line as u64).min(count) * size / count);
        each(line, row.map_err(broken)?)?;
    }
    Ok(())
}

/// The rows of a file, in their order; what ends them is damage.
pub struct ParquetRows {
    rows: RowIter<'static>,
    /// As many as the file says that there are.
    count: u64,
    read: u64,
    limit: usize,
    is_over: bool,
}

impl ParquetRows {
    /// The rows of a file in memory. Those with more than `limit` bytes of text are problems; a file whose groups of rows
    /// take more than `largest_group` bytes when they are expanded is refused.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    pub fn of_bytes(bytes: Bytes, limit: usize, largest_group: u64) -> Result<Self, String> {
        Self::new(bytes, limit, i64::try_from(largest_group).unwrap_or(i64::MAX))
    }

    fn new<R: ChunkReader + 'static>(file: R, limit: usize, largest_group: i64) -> Result<Self, String> {
        let reader = caught(|| SerializedFileReader::new(file))?;
        let metadata = reader.metadata();
        let columns = metadata.file_metadata().schema_descr().num_columns();
        if columns > MOST_COLUMNS {
            return Err(format!("{columns} columns where {MOST_COLUMNS} are allowed"));
        }
        let sizes = |group: &RowGroupMetaData| {
            group.columns().iter().try_fold(0_i64, |sum, column| {
                let bytes = column.uncompressed_size();
                if bytes < 0 { None } else { sum.checked_add(bytes) }
            })
        };
        let is_larger = |group: &&RowGroupMetaData| sizes(group).is_none_or(|sum| sum > largest_group);
        if let Some(group) = metadata.row_groups().iter().find(is_larger) {
            let found = group.total_byte_size();
            return Err(format!("a group of rows has {found} bytes where {largest_group} are allowed"));
        }
        let count = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let rows = caught(|| Ok(RowIter::from_file_into(Box::new(reader))))?;
        Ok(Self { rows, count, read: 0, limit, is_over: false })
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Result<Row, DataProblem>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.read += 1;
        let row = match caught(|| self.rows.next().transpose()) {
            Ok(Some(row)) => row,
            Ok(None) => return None,
            Err(problem) => {
                self.is_over = true;
                return Some(Err(format!("row {}: {problem}", self.read)));
            }
        };
        let row: Result<Row, DataProblem> =
            row.into_columns().into_iter().map(|(name, field)| Ok((name, value(field)?))).collect();
        Some(Ok(row.and_then(|row| {
            let length: usize = row.values().map(length).sum();
            if length > self.limit { Err(DataProblem::TooLong { limit: self.limit }) } else { Ok(row) }
        })))
    }
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ParquetRows")
            .field("read", &self.read)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// What the reader gives; its failures of either kind in words.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the file is damaged".to_owned()),
    }
}

/// A field as JSON has it: groups as objects, lists as lists, times and decimals in words.
fn value(field: Field) -> Result<Value, DataProblem> {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float16(number) => float(number.to_f64()),
        // As it is written, not as f64 would tell it more exactly.
        Field::Float(number) => float(number.to_string().parse().unwrap_or(f64::from(number))),
        Field::Double(number) => float(number),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => {
            Value::String(std::str::from_utf8(bytes.data()).map_err(|_| DataProblem::NotUtf8)?.to_owned())
        }
        Field::Group(row) => {
            let fields = row.into_columns().into_iter().map(|(name, field)| Ok((name, value(field)?)));
            Value::Object(fields.collect::<Result<_, DataProblem>>()?)
        }
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().cloned().map(value).collect::<Result<_, DataProblem>>()?)
        }
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| {
                let key = match value(key.clone())? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                Ok((key, value(field.clone())?))
            };
            Value::Object(map.entries().iter().map(entry).collect::<Result<_, DataProblem>>()?)
        }
        // Days and moments that no calendar knows stay numbers.
        Field::Date(days) if days.unsigned_abs() > LAST_DAY => days.into(),
        Field::TimestampMillis(time) if time.unsigned_abs() > u64::from(LAST_DAY) * 86_400_000 => time.into(),
        Field::TimestampMicros(time) if time.unsigned_abs() > u64::from(LAST_DAY) * 86_400_000_000 => time.into(),
        words @ (Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_)) => Value::String(words.to_string()),
    })
}

/// Bytes of text in a value.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(length).sum(),
        Value::Object(fields) => fields.values().map(length).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/parquet/{name}.parquet"))
    }

    fn rows(path: &Path, limit: usize) -> Result<Vec<(usize, Result<Row, DataProblem>)>, String> {
        let mut rows = Vec::new();
        let mut each = |line, row| {
            rows.push((line, row));
            Ok(())
        };
        read(path, limit, &mut each, &mut |_| {}).map_err(|error| error.to_string())?;
        Ok(rows)
    }

    #[test]
    fn every_way_to_write_a_table_gives_the_same_rows() {
        for name in ["plain", "snappy", "zstd"] {
            let rows = rows(&fixture(name), 1 << 20).unwrap();
            assert_eq!(rows.len(), 24, "{name}");
            for (index, (line, row)) in rows.iter().enumerate() {
                let (row, word) = (row.as_ref().unwrap(), if index % 2 == 1 { "good" } else { "bad" });
                let text = format!("{word} {index}, \"샘\"\n끝");
                assert_eq!(*line, index + 1);
                assert_eq!(row["text"], if index == 5 { Value::Null } else { json!(text) });
                assert_eq!((&row["label"], row["score"].as_f64()), (&json!(index % 2), Some(index as f64 / 10.0)));
                assert_eq!((&row["day"], &row["price"]), (&json!("2021-05-25"), &json!("12.50")));
                let messages = json!([{"role": "user", "content": text}, {"role": "assistant", "content": word}]);
                assert_eq!(row["messages"], messages);
            }
        }
        let short = rows(&fixture("plain"), 40).unwrap();
        assert!(short.iter().all(|(_, row)| *row == Err(DataProblem::TooLong { limit: 40 })));
        assert!(rows(&fixture("brotli"), 1 << 20).unwrap_err().contains("brotli"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let good = std::fs::read(fixture("snappy")).unwrap();
        let damaged = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            rows(&path, 1 << 20)
        };
        for end in (0..good.len()).step_by(61) {
            assert!(damaged(&good[..end]).is_err(), "{end} bytes");
        }
        let mut failed = 0;
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            failed += usize::from(damaged(&bytes).is_err());
        }
        assert!(failed > good.len() / 2, "{failed} of {}", good.len());
    }
}
