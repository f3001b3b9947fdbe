//! A model's file while it is put together: appended to, digested on the way, renamed when it is right.
//!
//! The unfinished file is called after the digest it should have (`model.gguf.1d9614638d18024d.partial`), so an
//! attempt that finds one can go on from its end whichever source it came from, and never mixes two versions.
//! Without a known digest nothing can be trusted to continue, and every attempt starts anew.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalogue::Part;
use crate::manifest::ManifestFile;
use crate::{HubError, atomic};

/// Bytes read at a time when an unfinished file is digested again.
const CHUNK: usize = 1 << 20;

/// What is known of a file before its bytes arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
}

/// An unfinished file.
#[derive(Debug)]
pub(crate) struct Assembly {
    target: PathBuf,
    partial: PathBuf,
    file: File,
    /// Digest of the first `position` bytes.
    digest: Sha256,
    position: u64,
    /// Digest of the part that is being appended.
    part: Sha256,
    expected: Expected,
}

impl Assembly {
    /// Opens the unfinished file for `directory/name`, empty where it cannot be continued.
    ///
    /// What it already has is not digested yet: [`Assembly::resume`] does that.
    pub(crate) fn open(directory: &Path, name: &str, expected: Expected) -> Result<Self, HubError> {
        fs::create_dir_all(directory).map_err(HubError::io("create", directory))?;
        let partial = directory.join(match &expected.sha256 {
            Some(sha256) => format!("{name}.{}.partial", sha256.get(..16).unwrap_or(sha256)),
            None => format!("{name}.partial"),
        });
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(expected.sha256.is_none())
            .open(&partial)
            .map_err(HubError::io("create", &partial))?;
        Ok(Self {
            target: directory.join(name),
            partial,
            file,
            digest: Sha256::new(),
            position: 0,
            part: Sha256::new(),
            expected,
        })
    }

    /// Bytes on disk, digested or not.
    pub(crate) fn on_disk(&self) -> u64 {
        self.file.metadata().map_or(0, |data| data.len())
    }

    /// Bytes that are on disk and digested; the next byte goes here.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Digests what is on disk, so that the file can be appended to; drops what is longer than expected.
    pub(crate) fn resume(&mut self) -> Result<(), HubError> {
        let length = self.on_disk();
        if self.expected.bytes.is_some_and(|expected| length > expected) {
            return self.restart();
        }
        self.rewind()?;
        self.digest_up_to(length, None)?;
        self.truncate_here()
    }

    /// Like [`Assembly::resume`], but keeps only whole parts whose own digests are right.
    ///
    /// Returns how many of the parts are here.
    pub(crate) fn resume_parts(&mut self, parts: &[Part]) -> Result<usize, HubError> {
        let length = self.on_disk();
        self.rewind()?;
        let mut whole = 0;
        for part in parts {
            let end = self.position + part.bytes;
            if end > length {
                break;
            }
            let (digest, position) = (self.digest.clone(), self.position);
            let mut own = Sha256::new();
            self.digest_up_to(end, Some(&mut own))?;
            if hex(own) != part.sha256 {
                (self.digest, self.position) = (digest, position);
                break;
            }
            whole += 1;
        }
        self.truncate_here()?;
        Ok(whole)
    }

    /// Throws away what is on disk.
    pub(crate) fn restart(&mut self) -> Result<(), HubError> {
        self.rewind()?;
        self.truncate_here()
    }

    /// Appends a part with `fill` and checks its digest; where either fails, the part is taken back.
    pub(crate) fn append_part(
        &mut self,
        sha256: &str,
        fill: impl FnOnce(&mut Self) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let (digest, position) = (self.digest.clone(), self.position);
        self.part = Sha256::new();
        let mut result = fill(self);
        let actual = hex(std::mem::take(&mut self.part));
        if result.is_ok() && !actual.eq_ignore_ascii_case(sha256) {
            let path = self.target.clone();
            result = Err(HubError::Checksum { path, expected: sha256.to_owned(), actual });
        }
        if result.is_err() {
            (self.digest, self.position) = (digest, position);
            self.truncate_here()?;
        }
        result
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`HubError::Length`] where they would be more than expected, [`HubError::NoSpace`] on a full disk.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let end = self.position + bytes.len() as u64;
        if let Some(expected) = self.expected.bytes
            && end > expected
        {
            return Err(HubError::Length { path: self.target.clone(), expected, actual: end });
        }
        if let Err(source) = self.file.write_all(bytes) {
            if source.kind() == std::io::ErrorKind::StorageFull {
                let needed = self.expected.bytes.map_or(bytes.len() as u64, |expected| expected - self.position);
                return Err(HubError::NoSpace { path: self.partial.clone(), needed, available: 0 });
            }
            return Err(HubError::Io { action: "write", path: self.partial.clone(), source });
        }
        self.digest.update(bytes);
        self.part.update(bytes);
        self.position = end;
        Ok(())
    }

    /// Checks length and digest, syncs, and renames the file into its place.
    ///
    /// A file with a wrong digest is deleted, since no attempt can go on from it.
    pub(crate) fn finish(self) -> Result<ManifestFile, HubError> {
        if let Some(expected) = self.expected.bytes
            && expected != self.position
        {
            return Err(HubError::Length { path: self.target, expected, actual: self.position });
        }
        let sha256 = hex(self.digest);
        if let Some(expected) = self.expected.sha256
            && !expected.eq_ignore_ascii_case(&sha256)
        {
            drop(self.file);
            fs::remove_file(&self.partial).map_err(HubError::io("delete", &self.partial))?;
            return Err(HubError::Checksum { path: self.target, expected, actual: sha256 });
        }
        self.file.sync_all().map_err(HubError::io("write", &self.partial))?;
        atomic::rename(&self.partial, &self.target)?;
        let name = self.target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(ManifestFile { name, bytes: self.position, sha256 })
    }

    fn rewind(&mut self) -> Result<(), HubError> {
        self.digest = Sha256::new();
        self.position = 0;
        self.file.seek(SeekFrom::Start(0)).map_err(HubError::io("read", &self.partial))?;
        Ok(())
    }

    fn truncate_here(&mut self) -> Result<(), HubError> {
        let action = HubError::io("write", &self.partial);
        self.file
            .set_len(self.position)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.position)))
            .map_err(action)?;
        Ok(())
    }

    /// Digests the bytes from `position` to `end`, which are on disk; `own` sees only these.
    fn digest_up_to(&mut self, end: u64, mut own: Option<&mut Sha256>) -> Result<(), HubError> {
        let mut chunk = vec![0; CHUNK];
        while self.position < end {
            let wanted = usize::try_from(end - self.position).unwrap_or(CHUNK).min(CHUNK);
            let read = self.file.read(&mut chunk[..wanted]).map_err(HubError::io("read", &self.partial))?;
            if read == 0 {
                break;
            }
            self.digest.update(&chunk[..read]);
            if let Some(own) = own.as_deref_mut() {
                own.update(&chunk[..read]);
            }
            self.position += read as u64;
        }
        Ok(())
    }
}

/// A file that an earlier attempt finished: it has the length and the digest that it should have.
///
/// `None` where there is no such file, or no digest to know it by.
pub(crate) fn finished(directory: &Path, name: &str, expected: &Expected) -> Option<ManifestFile> {
    let sha256 = expected.sha256.as_deref()?;
    let mut file = File::open(directory.join(name)).ok()?;
    let bytes = file.metadata().ok()?.len();
    if expected.bytes.is_some_and(|expected| expected != bytes) {
        return None;
    }
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => digest.update(chunk.get(..read)?),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    hex(digest).eq_ignore_ascii_case(sha256).then(|| ManifestFile {
        name: name.to_owned(),
        bytes,
        sha256: sha256.to_ascii_lowercase(),
    })
}

/// Lower-case hexadecimal of a digest.
pub(crate) fn hex(digest: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
