//! A file's bytes without reading them: the one place in the crate with `unsafe`.

use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::FormatError;

/// The bytes of a file, mapped into memory read-only, or bytes that are in memory already.
///
/// # A file that changes while it is mapped
///
/// Saem never writes to a model in place: downloads and conversions go to a temporary file that is renamed when it is
/// whole, and replacing or deleting a mapped file is harmless (the mapping keeps the old one). Another program that
/// *truncates* the file in place ends the process with `SIGBUS` at the next access beyond the new end, and one that
/// *overwrites* it changes weights and text under the reader. No program that maps files can prevent this; keep models
/// where only their owner can write.
pub struct MappedFile {
    path: PathBuf,
    backing: Backing,
}

enum Backing {
    Mapped(Mmap),
    Memory(Vec<u8>),
}

impl MappedFile {
    /// Maps the file at `path`. An empty file is fine and has no bytes.
    ///
    /// # Errors
    /// Where the file does not exist, is no regular file (a pipe would block for ever), or cannot be mapped.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, FormatError> {
        let path = path.as_ref();
        let (file, len) = open_regular(path)?;
        // A mapping of length zero is an error to the operating system.
        let backing = if len == 0 {
            Backing::Memory(Vec::new())
        } else {
            // SAFETY: the mapping is read-only and lives as long as this value, and the slices handed out borrow it. What
            // remains is that nobody truncates or rewrites the file in place meanwhile, which the type's documentation
            // states as the condition under which it is used.
            let map = unsafe { Mmap::map(&file) };
            Backing::Mapped(map.map_err(|source| FormatError::io(path, source))?)
        };
        Ok(Arc::new(Self { path: path.to_owned(), backing }))
    }

    /// Bytes that are in memory already, for tests, fuzzing and files that were just made.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { path: PathBuf::from("<memory>"), backing: Backing::Memory(bytes) })
    }

    /// All bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.backing {
            Backing::Mapped(map) => map,
            Backing::Memory(bytes) => bytes,
        }
    }

    /// Where the file lies (`<memory>` for [`Self::from_bytes`]).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the operating system that these bytes will be read soon, so that it fetches them ahead. Best effort.
    pub fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let (Backing::Mapped(map), Some(len)) = (&self.backing, self.checked_len(&range)) {
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, len);
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Tells the operating system that these bytes are not needed for now, so that they stop counting as memory of this
    /// process. Best effort; reading them again is correct and fetches them from the file.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let (Backing::Mapped(map), Some(len)) = (&self.backing, self.checked_len(&range)) {
            // SAFETY: the mapping is a shared, read-only one of a file. Dropping its pages loses nothing: the next access
            // maps the same bytes of the file again, so slices that are borrowed meanwhile keep their contents. The range
            // was checked against the length of the mapping.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, len) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Length of a range that lies within the file and is not empty.
    #[cfg(unix)]
    fn checked_len(&self, range: &Range<usize>) -> Option<usize> {
        let len = range.end.checked_sub(range.start)?;
        (len > 0 && range.end <= self.bytes().len()).then_some(len)
    }
}

impl std::fmt::Debug for MappedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MappedFile").field("path", &self.path).field("bytes", &self.bytes().len()).finish()
    }
}

/// Reads a small file whole, or says that it is larger than `limit` without reading it.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FormatError> {
    let (file, len) = open_regular(path)?;
    let too_large = |bytes| FormatError::TooLarge { path: path.to_owned(), bytes, limit };
    if len > limit {
        return Err(too_large(len));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows a file that grew after its size was asked for.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| FormatError::io(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Opens a regular file and returns its length. The kind is checked before the file is opened, since opening a pipe waits.
fn open_regular(path: &Path) -> Result<(File, u64), FormatError> {
    let kind = fs::metadata(path).map_err(|source| FormatError::io(path, source))?;
    if !kind.is_file() {
        return Err(FormatError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(|source| FormatError::io(path, source))?;
    let len = file.metadata().map_err(|source| FormatError::io(path, source))?.len();
    Ok((file, len))
}
