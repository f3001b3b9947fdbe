//! Tokens of many texts on disk, in the format of Megatron-LM's indexed datasets (`megatron/core/datasets/indexed_dataset.py`):
//! `NAME.bin` holds the tokens of all texts one after the other, `NAME.idx` where each begins and how long it is.
//!
//! Tokens are read when a step takes them, with the system's file calls and not through a mapping: what a run has in
//! memory does not grow with its texts, and the system's cache is free to keep what there is room for.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::TrainError;

/// What an index begins with, and its version.
const MAGIC: &[u8; 9] = b"MMIDIDX\x00\x00";
const VERSION: u64 = 1;
/// Magic, version, type, and the counts of sequences and documents.
const HEADER: u64 = 9 + 8 + 1 + 8 + 8;
/// Bytes that are read or written at a time.
const PIECE: usize = 1 << 16;

/// How wide a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// `uint16`, for vocabularies of up to 65,536.
    Two,
    /// `int32`.
    Four,
}

impl Width {
    /// The narrowest for so many tokens.
    pub(crate) fn of(vocabulary: usize) -> Self {
        if vocabulary <= 1 << 16 { Self::Two } else { Self::Four }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The type's number in an index.
    fn code(self) -> u8 {
        match self {
            Self::Two => 8,
            Self::Four => 4,
        }
    }

    fn with_code(code: u8) -> Option<Self> {
        [Self::Two, Self::Four].into_iter().find(|width| width.code() == code)
    }
}

/// Tokens on disk.
#[derive(Debug)]
pub(crate) struct Shard {
    width: Width,
    place: Mutex<Place>,
}

/// Where they are.
#[derive(Debug)]
struct Place {
    file: File,
    /// Nothing for a file without a name.
    path: Option<PathBuf>,
}

impl Shard {
    /// Opens `NAME.bin` with the `NAME.idx` beside it; the second are the texts, in tokens from the first one on.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Range<u64>>), TrainError> {
        let file = File::open(path).map_err(io(path))?;
        let size = file.metadata().map_err(io(path))?.len();
        let index = index_of(path);
        let (width, texts) = read_index(&index, size).map_err(io(&index))?;
        Ok((Self { width, place: Mutex::new(Place { file, path: Some(path.to_owned()) }) }, texts))
    }

    /// Appends tokens to `out`.
    pub(crate) fn read(&self, tokens: Range<u64>, out: &mut Vec<u32>) -> Result<(), TrainError> {
        let width = self.width.bytes();
        let mut bytes = vec![0; ((tokens.end - tokens.start) * width) as usize];
        // Locked for where it reads, too.
        let Place { file, path } = &mut *self.place();
        let read = file.seek(SeekFrom::Start(tokens.start * width)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(io(path.as_deref().unwrap_or(Path::new("the tokens of the texts"))))?;
        match self.width {
            Width::Two => out.extend(bytes.as_chunks().0.iter().map(|pair| u32::from(u16::from_le_bytes(*pair)))),
            Width::Four => out.extend(bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four))),
        }
        Ok(())
    }
}

impl Shard {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies tokens without a name to `NAME.bin`, writes `NAME.idx` for these texts, and reads from there on. The index
    /// comes last: where there is one, the tokens are whole.
    pub(crate) fn keep(&self, path: &Path, texts: impl Iterator<Item = Range<u64>> + Clone) -> Result<(), TrainError> {
        let mut place = self.place();
        if place.path.is_some() {
            return Ok(());
        }
        let (part, index_part) = (path.with_extension("bin.part"), path.with_extension("idx.part"));
        let mut copy = || {
            place.file.seek(SeekFrom::Start(0))?;
            let mut out = File::create(&part)?;
            io::copy(&mut place.file, &mut out)?;
            out.sync_all()?;
            let mut out = BufWriter::with_capacity(PIECE, File::create(&index_part)?);
            write_index(&mut out, self.width, texts.clone())?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&part, path)?;
            fs::rename(&index_part, index_of(path))?;
            File::open(path)
        };
        let file = copy().map_err(io(path))?;
        *place = Place { file, path: Some(path.to_owned()) };
        Ok(())
    }
}

/// Writes tokens, first to a file without a name: what is only looked at leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Writer {
    file: BufWriter<File>,
    width: Width,
    /// Where each text ends, in tokens.
    ends: Vec<u64>,
}

impl Writer {
    /// A file without a name in `folder`, or in the next folder above it that there is.
    pub(crate) fn new(folder: &Path, vocabulary: usize) -> Result<Self, TrainError> {
        let place = folder.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(place).map_err(io(place))?;
        Ok(Self { file: BufWriter::with_capacity(PIECE, file), width: Width::of(vocabulary), ends: Vec::new() })
    }

    /// Adds a part of a text.
    pub(crate) fn write(&mut self, tokens: &[u32]) -> io::Result<()> {
        for token in tokens {
            match self.width {
                Width::Two => self.file.write_all(&(*token as u16).to_le_bytes())?,
                Width::Four => self.file.write_all(&token.to_le_bytes())?,
            }
        }
        Ok(())
    }

    /// Ends a text of so many tokens.
    pub(crate) fn end(&mut self, tokens: u64) {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + tokens);
    }

    /// The tokens, ready to be read; and the texts.
    pub(crate) fn finish(self) -> io::Result<(Shard, Vec<Range<u64>>)> {
        let Self { file, width, ends } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let starts = [0].into_iter().chain(ends.iter().copied());
        let texts = starts.zip(&ends).map(|(start, end)| start..*end).collect();
        Ok((Shard { width, place: Mutex::new(Place { file, path: None }) }, texts))
    }
}

/// The name of a shard's index.
pub(crate) fn index_of(path: &Path) -> PathBuf {
    path.with_extension("idx")
}

fn io(path: &Path) -> impl Fn(io::Error) -> TrainError + '_ {
    move |source| TrainError::Io { path: path.to_owned(), source }
}

fn broken(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

fn write_index(out: &mut impl Write, width: Width, texts: impl Iterator<Item = Range<u64>> + Clone) -> io::Result<()> {
    let count = texts.clone().count() as u64;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[width.code()])?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&(count + 1).to_le_bytes())?;
    for text in texts.clone() {
        let length = i32::try_from(text.end - text.start).map_err(|_| broken("a text of more than 2^31 tokens"))?;
        out.write_all(&length.to_le_bytes())?;
    }
    for text in texts {
        out.write_all(&(text.start * width.bytes()).to_le_bytes())?;
    }
    // Each text is a document by itself: where the documents begin, and where the last one ends.
    (0..=count).try_for_each(|document| out.write_all(&document.to_le_bytes()))
}

/// The documents of an index, whose tokens are in a file of `size` bytes.
fn read_index(path: &Path, size: u64) -> io::Result<(Width, Vec<Range<u64>>)> {
    let file = File::open(path)?;
    let left = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(PIECE, file);
    let mut magic = [0; 9];
    reader.read_exact(&mut magic)?;
    if magic != *MAGIC || u64::from_le_bytes(array(&mut reader)?) != VERSION {
        return Err(broken("not an index of tokens (MMIDIDX, version 1)"));
    }
    let [code] = array(&mut reader)?;
    let width = Width::with_code(code)
        .ok_or_else(|| broken(format!("tokens of type {code}: only uint16 and int32 are read")))?;
    let (sequences, documents) = (u64::from_le_bytes(array(&mut reader)?), u64::from_le_bytes(array(&mut reader)?));
    // Nothing is taken memory for that the file does not hold. A byte for each sequence may follow.
    let needed = sequences
        .checked_mul(12)
        .zip(documents.checked_mul(8))
        .and_then(|(a, b)| HEADER.checked_add(a)?.checked_add(b));
    if needed != Some(left) && needed.and_then(|needed| needed.checked_add(sequences)) != Some(left) {
        return Err(broken(format!("{left} bytes do not hold {sequences} sequences and {documents} documents")));
    }
    let mut lengths = Vec::with_capacity(sequences as usize);
    for _ in 0..sequences {
        let length = i32::from_le_bytes(array(&mut reader)?);
        lengths.push(u64::try_from(length).map_err(|_| broken("a sequence of less than no tokens"))?);
    }
    let mut starts = Vec::with_capacity(sequences as usize);
    for length in &lengths {
        let start = u64::from_le_bytes(array(&mut reader)?);
        let end = length.checked_mul(width.bytes()).and_then(|bytes| bytes.checked_add(start));
        if !start.is_multiple_of(width.bytes()) || end.is_none_or(|end| end > size) {
            return Err(broken("a sequence lies outside of the tokens"));
        }
        starts.push(start / width.bytes());
    }
    let mut texts = Vec::with_capacity(documents as usize);
    let mut first: Option<u64> = None;
    for _ in 0..documents {
        let next = u64::from_le_bytes(array(&mut reader)?);
        if next > sequences || first.is_some_and(|first| first > next) {
            return Err(broken("a document lies outside of the sequences"));
        }
        if let Some(first) = first.filter(|first| *first < next) {
            let parts = first as usize..next as usize;
            let (start, end) = (starts[parts.start], starts[parts.end - 1] + lengths[parts.end - 1]);
            let mut inside = starts[parts.clone()].iter().zip(&lengths[parts]);
            let last = inside.try_fold(start, |at, (start, length)| (at == *start).then_some(at + length));
            if last != Some(end) {
                return Err(broken("the sequences of a document do not follow each other"));
            }
            texts.push(start..end);
        }
        first = Some(next);
    }
    Ok((width, texts))
}

fn array<const N: usize>(reader: &mut impl io::Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(shard: &Shard, texts: &[Range<u64>]) -> Vec<Vec<u32>> {
        let read = |text: &Range<u64>| {
            let mut tokens = Vec::new();
            shard.read(text.clone(), &mut tokens).unwrap();
            tokens
        };
        texts.iter().map(read).collect()
    }

    #[test]
    fn what_is_written_is_read_before_and_after_it_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        for (vocabulary, largest) in [(65_536, 65_535_u32), (65_537, 65_536)] {
            let texts: Vec<Vec<u32>> = vec![vec![0, 1, largest], vec![7], (0..40_000).collect()];
            let mut writer = Writer::new(&folder.path().join("not/there/yet"), vocabulary).unwrap();
            for text in &texts {
                writer.write(&text[..1]).unwrap();
                writer.write(&text[1..]).unwrap();
                writer.end(text.len() as u64);
            }
            let (shard, places) = writer.finish().unwrap();
            assert_eq!(all(&shard, &places), texts);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of what is only looked at");
            let path = folder.path().join("texts.bin");
            shard.keep(&path, places.iter().cloned()).unwrap();
            shard.keep(&folder.path().join("elsewhere.bin"), places.iter().cloned()).unwrap();
            assert_eq!(all(&shard, &places), texts);
            let (again, found) = Shard::open(&path).unwrap();
            assert_eq!((found, all(&again, &places)), (places, texts));
            let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            assert_eq!(names, [path.clone(), index_of(&path)]);
            names.iter().for_each(|name| fs::remove_file(name).unwrap());
        }
    }

    /// Two documents, the first of two sequences, as `IndexedDatasetBuilder` of Megatron-LM writes them in `uint16`.
    fn index(mode: bool) -> Vec<u8> {
        let mut bytes = b"MMIDIDX\0\0".to_vec();
        bytes.extend(1_u64.to_le_bytes());
        bytes.push(8);
        bytes.extend(3_u64.to_le_bytes());
        bytes.extend(3_u64.to_le_bytes());
        [2_i32, 1, 4].iter().for_each(|length| bytes.extend(length.to_le_bytes()));
        [0_i64, 4, 6].iter().for_each(|start| bytes.extend(start.to_le_bytes()));
        [0_i64, 2, 3].iter().for_each(|document| bytes.extend(document.to_le_bytes()));
        bytes.extend(vec![0; if mode { 3 } else { 0 }]);
        bytes
    }

    #[test]
    fn documents_of_several_sequences_are_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.bin");
        fs::write(&path, (10_u16..17).flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        for mode in [false, true] {
            fs::write(index_of(&path), index(mode)).unwrap();
            let (shard, texts) = Shard::open(&path).unwrap();
            assert_eq!(all(&shard, &texts), [vec![10, 11, 12], vec![13, 14, 15, 16]]);
        }
    }

    #[test]
    fn a_broken_index_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.bin");
        fs::write(&path, [0; 14]).unwrap();
        let good = index(false);
        let open = |bytes: &[u8]| {
            fs::write(index_of(&path), bytes).unwrap();
            Shard::open(&path).map(|(shard, texts)| all(&shard, &texts).len()).map_err(|error| error.to_string())
        };
        assert_eq!(open(&good), Ok(2));
        for end in 0..good.len() {
            assert!(open(&good[..end]).is_err(), "{end} bytes of {}", good.len());
        }
        // Whatever a byte is, what comes of it lies within the tokens.
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = open(&bytes);
            }
        }
        let of_type = |code| [&good[..17], &[code], &good[18..]].concat();
        assert!(open(&of_type(6)).unwrap_err().contains("only uint16 and int32"));
        // Four bytes for each token are more than the file has.
        assert!(open(&of_type(4)).unwrap_err().contains("outside of the tokens"));
    }
}
