//! Arrays of NumPy in a zip archive (`.npz`), read with suspicion.
//!
//! The caller says which array it wants, of which type and shape; what is read is never more than that. The format is
//! that of `numpy.lib.format`: a magic number, a version, the length of a header, and the header, a Python dictionary
//! with the keys `descr`, `fortran_order` and `shape`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::EncoderError;

/// The largest archive that is opened; the one this crate is made for has 30 MB.
const MAX_ARCHIVE: u64 = 256 << 20;
/// The longest header of an array; one of two dimensions has 128 bytes.
const MAX_HEADER: usize = 4096;
const MAGIC: &[u8] = b"\x93NUMPY";

/// The element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    F32,
    F64,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::F32 => "<f4",
            Self::F64 => "<f8",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// An open archive of arrays.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, EncoderError> {
        let io = |source| EncoderError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        if bytes > MAX_ARCHIVE {
            return Err(EncoderError::TooLarge { path: path.to_owned(), bytes, limit: MAX_ARCHIVE });
        }
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| EncoderError::Archive { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { path: path.to_owned(), zip })
    }

    /// The values of an array of floats, all of them finite.
    pub(crate) fn floats(&mut self, array: &str, shape: &[usize]) -> Result<Vec<f32>, EncoderError> {
        let (start, bytes) = self.bytes(array, Type::F32, shape)?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.damaged(array, start + 4 * at, "not a finite number".to_owned())),
            None => Ok(values),
        }
    }

    /// The value of an array without dimensions.
    pub(crate) fn number(&mut self, array: &str) -> Result<f64, EncoderError> {
        let (start, bytes) = self.bytes(array, Type::F64, &[])?;
        let value = bytes.first_chunk::<8>().map_or(f64::NAN, |bytes| f64::from_le_bytes(*bytes));
        if value.is_finite() { Ok(value) } else { Err(self.damaged(array, start, "not a finite number".to_owned())) }
    }

    /// The bytes of an array of this type and shape, in C order, and where they begin in the unpacked file.
    pub(crate) fn bytes(
        &mut self,
        array: &str,
        data_type: Type,
        shape: &[usize],
    ) -> Result<(usize, Vec<u8>), EncoderError> {
        let path = self.path.clone();
        let damaged = |offset: usize, reason: String| EncoderError::Array {
            path: path.clone(),
            array: array.to_owned(),
            offset: offset as u64,
            reason,
        };
        let mut file = self.zip.by_name(&format!("{array}.npy")).map_err(|error| match error {
            ZipError::FileNotFound => EncoderError::MissingArray { path: path.clone(), array: array.to_owned() },
            error => EncoderError::Archive { path: path.clone(), reason: format!("{array}: {error}") },
        })?;
        let mut prefix = [0; 12];
        let magic = prefix.get_mut(..8).unwrap_or_default();
        file.read_exact(magic).map_err(|error| damaged(0, error.to_string()))?;
        let (magic, version) = magic.split_at(MAGIC.len());
        // A length of two bytes in version 1, and of four in 2 and 3.
        let long = match version {
            [1, _] => false,
            [2 | 3, _] => true,
            _ => return Err(damaged(6, format!("version {version:?}"))),
        };
        if magic != MAGIC {
            return Err(damaged(0, "no magic number of npy".to_owned()));
        }
        let mut length = [0; 4];
        let field = length.get_mut(..if long { 4 } else { 2 }).unwrap_or_default();
        file.read_exact(field).map_err(|error| damaged(8, error.to_string()))?;
        let start = 8 + if long { 4 } else { 2 };
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER {
            return Err(damaged(8, format!("a header of {length} bytes; at most {MAX_HEADER} are read")));
        }
        let mut header = vec![0; length];
        file.read_exact(&mut header).map_err(|error| damaged(start, error.to_string()))?;
        let header = std::str::from_utf8(&header).ok().and_then(Header::parse);
        let header = header.ok_or_else(|| damaged(start, "the header is no dictionary of npy".to_owned()))?;
        let expected = Header { descr: data_type.name(), fortran_order: false, shape: shape.to_vec() };
        // The order of a single dimension is the same either way.
        if header.descr != expected.descr || header.shape != expected.shape || (header.fortran_order && shape.len() > 1)
        {
            return Err(EncoderError::Shape {
                path: path.clone(),
                array: array.to_owned(),
                expected: expected.to_string(),
                actual: header.to_string(),
            });
        }
        let start = start + length;
        let wanted = shape.iter().product::<usize>() * data_type.bytes();
        let mut bytes = Vec::with_capacity(wanted + 1);
        // One byte more shows what is too long, and lets the archive compare its checksum at the end.
        (&mut file)
            .take(wanted as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(start + bytes.len(), error.to_string()))?;
        if bytes.len() != wanted {
            let found = if bytes.len() > wanted { "more".to_owned() } else { bytes.len().to_string() };
            return Err(damaged(start, format!("{wanted} bytes expected, {found} found")));
        }
        Ok((start, bytes))
    }

    fn damaged(&self, array: &str, offset: usize, reason: String) -> EncoderError {
        EncoderError::Array { path: self.path.clone(), array: array.to_owned(), offset: offset as u64, reason }
    }
}

/// The dictionary in front of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl std::fmt::Display for Header<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = if self.fortran_order { " in Fortran's order" } else { "" };
        write!(formatter, "{} {:?}{order}", self.descr, self.shape)
    }
}

impl<'a> Header<'a> {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (512, 256), }`.
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            match key {
                "descr" => {
                    let (value, after) = quoted(rest)?;
                    (descr, rest) = (Some(value), after);
                }
                "fortran_order" => {
                    let is_true = rest.starts_with("True");
                    rest = rest.strip_prefix(if is_true { "True" } else { "False" })?;
                    fortran_order = Some(is_true);
                }
                "shape" => {
                    let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
                    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
                    shape = Some(sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?);
                    rest = after;
                }
                _ => return None,
            }
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        Some(Self { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// A string in single quotes at the start of `text`, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let header = Header::parse("{'descr': '<f4', 'fortran_order': False, 'shape': (512, 256), }   \n").unwrap();
        assert_eq!(header, Header { descr: "<f4", fortran_order: false, shape: vec![512, 256] });
        assert_eq!(header.to_string(), "<f4 [512, 256]");
        let header = Header::parse("{'descr': '|u1', 'fortran_order': True, 'shape': (7,)}").unwrap();
        assert_eq!((header.fortran_order, header.shape), (true, vec![7]));
        assert_eq!(Header::parse("{'descr': '<f8', 'fortran_order': False, 'shape': (), }").unwrap().shape, [0; 0]);
    }

    #[test]
    fn anything_else_is_no_header() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': None, 'shape': (1,), }",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, ",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        ] {
            assert_eq!(Header::parse(text), None, "{text}");
        }
    }
}
