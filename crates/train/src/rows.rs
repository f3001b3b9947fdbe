//! Rows of files that people bring: JSONL and CSV, compressed or not, and Parquet, with the line of whatever is wrong.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use serde_json::Value;

use crate::parquet;
use crate::template::Row;
use crate::{DataProblem, TrainError};

/// The longest row that a model is tuned on.
pub(crate) const LONGEST_ROW: usize = 8 << 20;
/// The longest row of a table that is read to leave it out; one that is longer has a quote that nothing closes.
const LONGEST_RECORD: usize = 64 << 20;
/// Bytes of a text that are read at a time.
const PIECE: u64 = 8 << 20;
/// A file whose first bytes are these has a mark before its text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The format of a file of rows, by its name; nothing where it is one long text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jsonl,
    Csv,
    Parquet,
}

impl Format {
    /// The format, and whether the file is compressed.
    pub(crate) fn of(path: &Path) -> (Option<Self>, bool) {
        let extension = |path: &Path| path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
        let compressed = extension(path).is_some_and(|end| end == "zst");
        let stem = path.with_extension("");
        let end = extension(if compressed { &stem } else { path });
        let format = match end.as_deref() {
            Some("jsonl" | "ndjson") => Some(Self::Jsonl),
            Some("csv") => Some(Self::Csv),
            Some("parquet") if !compressed => Some(Self::Parquet),
            _ => None,
        };
        (format, compressed)
    }
}

/// Hands over every row of a file with its line, or what is wrong with it; rows longer than `limit` bytes are not kept in
/// memory. Blank lines are left out. `progress` is told the bytes of the file that were read. The rest is left unread where
/// `each` gives an error.
pub(crate) fn read(
    path: &Path,
    format: Format,
    limit: usize,
    each: &mut dyn FnMut(usize, Result<Row, DataProblem>) -> Result<(), TrainError>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TrainError> {
    if format == Format::Parquet {
        return parquet::read(path, limit, each, progress);
    }
    let (mut reader, count) = open(path)?;
    let mut each = |line, row| {
        progress(count.get());
        each(line, row)
    };
    if reader.fill_buf().map_err(io(path))?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    match format {
        Format::Csv => records(path, reader, limit, &mut each),
        _ => lines(path, reader, limit, &mut each),
    }
}

/// Hands over the text of a file in pieces of some megabytes, each but the last up to the beginning of a line that is not
/// empty: there tokens end in almost every vocabulary. What has no such place is one piece.
pub(crate) fn pieces(
    path: &Path,
    each: &mut dyn FnMut(&str) -> Result<(), TrainError>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TrainError> {
    let (mut reader, count) = open(path)?;
    let (mut bytes, mut line, mut is_first, mut searched) = (Vec::new(), 1, true, 0);
    loop {
        let read = Read::take(&mut reader, PIECE).read_to_end(&mut bytes).map_err(io(path))?;
        progress(count.get());
        if std::mem::take(&mut is_first) && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let is_begin = |pair: &[u8]| pair.first() == Some(&b'\n') && !pair.ends_with(b"\n");
        let place = bytes[searched..].windows(2).rposition(is_begin).map(|place| searched + place + 1);
        let end = match place {
            _ if read == 0 => bytes.len(),
            Some(end) => end,
            None => {
                searched = bytes.len().saturating_sub(1);
                continue;
            }
        };
        searched = 0;
        let piece = std::str::from_utf8(&bytes[..end]).map_err(|error| {
            let line = line + newlines(&bytes[..error.valid_up_to()]);
            TrainError::Data { path: path.to_owned(), line, problem: DataProblem::NotUtf8 }
        })?;
        each(piece)?;
        line += newlines(&bytes[..end]);
        bytes.drain(..end);
        if read == 0 {
            return Ok(());
        }
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The whole text of a file.
pub(crate) fn text(path: &Path) -> Result<String, TrainError> {
    let mut text = String::new();
    let mut add = |piece: &str| {
        text.push_str(piece);
        Ok(())
    };
    pieces(path, &mut add, &mut |_| {})?;
    Ok(text)
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> TrainError + '_ {
    move |source| TrainError::Io { path: path.to_owned(), source }
}

/// A file's text, and how many of its bytes were read.
fn open(path: &Path) -> Result<(Box<dyn BufRead>, Rc<Cell<u64>>), TrainError> {
    let count = Rc::new(Cell::new(0));
    let file = Counted { inner: File::open(path).map_err(io(path))?, count: Rc::clone(&count) };
    let file = BufReader::with_capacity(1 << 16, file);
    if !Format::of(path).1 {
        return Ok((Box::new(file), count));
    }
    let mut frames = Frames { decoder: FrameDecoder::new(), source: file };
    if !frames.begin().map_err(io(path))? {
        return Err(io(path)(invalid("it is empty, and a compressed file has a frame at least")));
    }
    Ok((Box::new(BufReader::with_capacity(1 << 16, frames)), count))
}

fn invalid(problem: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

/// The text of all frames of a compressed file, of which it may hold several, and some to be skipped (RFC 8878, section 3.1):
/// `cat a.zst b.zst` makes such files, and so do programs that compress with several threads.
struct Frames<R> {
    decoder: FrameDecoder,
    source: R,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame, if there is one.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut Read::take(&mut self.source, length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(invalid("the file ends within a frame"));
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, some).map_err(invalid)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() || !self.begin()? {
                return Ok(count);
            }
        }
    }
}

struct Counted {
    inner: File,
    count: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

fn lines(
    path: &Path,
    mut reader: Box<dyn BufRead>,
    limit: usize,
    each: &mut dyn FnMut(usize, Result<Row, DataProblem>) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if Read::take(&mut reader, limit as u64 + 1).read_until(b'\n', &mut bytes).map_err(io(path))? == 0 {
            break;
        }
        if bytes.len() > limit && !bytes.ends_with(b"\n") {
            skip_line(&mut reader).map_err(io(path))?;
            each(line, Err(DataProblem::TooLong { limit }))?;
            continue;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row =
            std::str::from_utf8(&bytes).map_err(|_| DataProblem::NotUtf8).and_then(|text| match serde_json::from_str(
                text,
            )
            .map_err(|error| DataProblem::NotJson(error.to_string()))?
            {
                Value::Object(row) => Ok(row),
                _ => Err(DataProblem::NotAnObject),
            });
        each(line, row)?;
    }
    Ok(())
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let part = reader.fill_buf()?;
        let (len, end) = (part.len(), part.iter().position(|byte| *byte == b'\n'));
        match end {
            Some(end) => {
                reader.consume(end + 1);
                return Ok(());
            }
            None if len == 0 => return Ok(()),
            None => reader.consume(len),
        }
    }
}

fn records(
    path: &Path,
    reader: Box<dyn BufRead>,
    limit: usize,
    each: &mut dyn FnMut(usize, Result<Row, DataProblem>) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let broken = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(source) => io(path)(source),
        other => io(path)(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{other:?}"))),
    };
    let left = Rc::new(Cell::new(LONGEST_RECORD));
    let reader = Limited { inner: reader, left: Rc::clone(&left) };
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(reader);
    let (mut record, mut header) = (csv::ByteRecord::new(), Vec::new());
    loop {
        let begin = reader.position().line() as usize;
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => left.set(LONGEST_RECORD),
            Err(_) if left.get() == 0 => {
                let problem = DataProblem::OpenQuote { limit: LONGEST_RECORD };
                return Err(TrainError::Data { path: path.to_owned(), line: begin, problem });
            }
            Err(error) => return Err(broken(error)),
        }
        let line = record.position().map_or(1, |position| position.line() as usize);
        if header.is_empty() {
            let names: Result<Vec<String>, _> = record.iter().map(|name| utf8(name.trim_ascii())).collect();
            header = names.map_err(|problem| TrainError::Data { path: path.to_owned(), line, problem })?;
            continue;
        }
        let row = if record.as_slice().len() > limit {
            Err(DataProblem::TooLong { limit })
        } else if record.len() != header.len() {
            Err(DataProblem::Columns { found: record.len(), expected: header.len() })
        } else {
            let column = |(name, value): (&String, &[u8])| Ok((name.clone(), Value::String(utf8(value)?)));
            header.iter().zip(record.iter()).map(column).collect()
        };
        each(line, row)?;
    }
    Ok(())
}

/// Reads no more than what is left.
struct Limited {
    inner: Box<dyn BufRead>,
    left: Rc<Cell<usize>>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(self.left.get());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count);
        Ok(count)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, DataProblem> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DataProblem::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, bytes: &[u8]) -> Vec<(usize, Result<Row, DataProblem>)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        let format = Format::of(&path).0.unwrap();
        let mut each = |line, row| {
            found.push((line, row));
            Ok(())
        };
        read(&path, format, LONGEST_ROW, &mut each, &mut |_| {}).unwrap();
        found
    }

    #[test]
    fn good_rows_are_read_and_bad_ones_said_with_their_line() {
        let mut lines = b"\xef\xbb\xbf{\"a\": 1}\n\n[1]\n{\"a\": \"\xff\"}\n{\"a\"\n{\"a\": \"".to_vec();
        lines.extend(vec![b'x'; 10 << 20]);
        lines.extend(b"\"}\n{\"a\": 2}");
        let found = rows("a.jsonl", &lines);
        let at: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(at, [1, 3, 4, 5, 6, 7]);
        assert_eq!(found[0].1.as_ref().unwrap()["a"], 1);
        assert_eq!(found[1].1, Err(DataProblem::NotAnObject));
        assert_eq!(found[2].1, Err(DataProblem::NotUtf8));
        assert!(matches!(found[3].1, Err(DataProblem::NotJson(_))));
        assert_eq!(found[4].1, Err(DataProblem::TooLong { limit: LONGEST_ROW }));
        assert_eq!(found[5].1.as_ref().unwrap()["a"], 2);
    }

    #[test]
    fn tables_have_a_header_and_quotes_may_hold_lines() {
        let found = rows("a.CSV", b"\xef\xbb\xbfid, text\n1,\"two\nlines, \"\"quoted\"\"\"\n2\n3,\xff\n4,last");
        let at: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(at, [2, 4, 5, 6]);
        assert_eq!(found[0].1.as_ref().unwrap()["text"], "two\nlines, \"quoted\"");
        assert_eq!(found[1].1, Err(DataProblem::Columns { found: 1, expected: 2 }));
        assert_eq!(found[2].1, Err(DataProblem::NotUtf8));
        assert_eq!(found[3].1.as_ref().unwrap()["id"], "4");
    }

    #[test]
    fn long_texts_come_in_pieces_that_end_where_lines_begin() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long.txt");
        let cut = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut found: Vec<String> = Vec::new();
            let mut each = |piece: &str| {
                found.push(piece.to_owned());
                Ok(())
            };
            pieces(&path, &mut each, &mut |_| {}).map(|()| found)
        };
        let text: String =
            (0..900_000).map(|line| format!("샘물 {line}{}", if line % 3 == 0 { "\n\n" } else { "\n" })).collect();
        let found = cut(&[BYTE_ORDER_MARK, text.as_bytes()].concat()).unwrap();
        assert!(found.len() > 1 && found.iter().all(|piece| piece.starts_with('샘')) && found.concat() == text);
        assert_eq!(cut("a".repeat(20 << 20).as_bytes()).unwrap(), ["a".repeat(20 << 20)]);
        assert_eq!(cut(b"").unwrap().concat(), "");
        let mut broken = text.into_bytes();
        // In the second piece.
        broken[10 << 20] = 0xff;
        let line = 1 + newlines(&broken[..10 << 20]);
        match cut(&broken).unwrap_err() {
            TrainError::Data { line: found, problem: DataProblem::NotUtf8, .. } => assert_eq!(found, line),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn compressed_files_are_read_as_they_are() {
        // A frame as zstd stores what is too short to be compressed.
        let frame = |text: &str| {
            let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, text.len() as u8];
            let header = (text.len() as u32) << 3 | 1;
            bytes.extend(&header.to_le_bytes()[..3]);
            bytes.extend(text.as_bytes());
            bytes
        };
        let whole = frame("{\"a\": 1}\n{\"a\": 2}\n");
        let found = rows("a.jsonl.zst", &whole);
        assert_eq!((found.len(), found[1].0, &found[1].1.as_ref().unwrap()["a"]), (2, 2, &Value::from(2)));
        // Frames one after the other, an empty one and one to be skipped among them, are one text.
        let skipped = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let several = [frame("{\"a\""), frame(""), skipped.clone(), frame(": 1}\n"), whole, skipped].concat();
        let found: Vec<u64> =
            rows("a.jsonl.zst", &several).iter().map(|(_, row)| row.as_ref().unwrap()["a"].as_u64().unwrap()).collect();
        assert_eq!(found, [1, 1, 2]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl.zst");
        for (bytes, problem) in [(&several[..several.len() - 1], "within a frame"), (&[], "empty"), (b"{}\n", "")] {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path, Format::Jsonl, LONGEST_ROW, &mut |_, _| Ok(()), &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    }

    #[test]
    fn a_quote_that_nothing_closes_takes_no_more_memory_than_a_row_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let mut table = b"id,text\n1,one\n2,\"open".to_vec();
        table.resize(LONGEST_RECORD + (1 << 20), b'\n');
        std::fs::write(&path, table).unwrap();
        let mut count = 0;
        let mut each = |_, _| {
            count += 1;
            Ok(())
        };
        let error = read(&path, Format::Csv, LONGEST_ROW, &mut each, &mut |_| {}).unwrap_err();
        assert!(matches!(error, TrainError::Data { line: 3, problem: DataProblem::OpenQuote { .. }, .. }), "{error}");
        assert_eq!(count, 1);
    }
}
