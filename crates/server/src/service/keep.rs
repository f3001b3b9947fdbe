//! Computed prompts on disk, from one start of the server to the next.
//!
//! Only where the operator asks for it: the texts can be read in the file. It is for its owner alone (mode 600 on Unix)
//! and replaced in one step, so that a crash leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use saem_engine::Worker;
use sha2::{Digest as _, Sha256};

/// Samples of a model's file that tell it from others, and the bytes of each.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4 << 10;

/// Where the prompts of one model are kept.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    model: [u8; 32],
}

impl Keeper {
    /// For the model at `model` (a file, or a directory of files), in `directory`, which is made where it is missing.
    pub(super) fn new(directory: &Path, model: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let model = identity(model)?;
        let name: String = model.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: directory.join(format!("{name}.kv")), model })
    }

    /// Takes up what is kept. A file that is of no use costs time and nothing else.
    pub(super) fn recall(&self, worker: &mut Worker) {
        let Ok(file) = File::open(&self.path) else { return };
        match worker.recall(&self.model, &mut BufReader::with_capacity(1 << 20, file)) {
            Ok(blocks) => tracing::info!(blocks, "took up kept prompts"),
            Err(error) => tracing::warn!(%error, "kept prompts are of no use"),
        }
    }

    /// Writes what is to be kept; returns the number of blocks.
    pub(super) fn keep(&self, worker: &Worker) -> io::Result<usize> {
        let part = self.path.with_extension("part");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = (|| {
            let mut file = BufWriter::with_capacity(1 << 20, options.open(&part)?);
            let blocks = worker.keep(&self.model, usize::MAX, &mut file)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&part, &self.path)?;
            Ok(blocks)
        })();
        if written.is_err() {
            // A full disk must not stay full of half a file.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

/// What no two models have in common: names, lengths and samples of all files.
fn identity(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    if !path.is_dir() {
        sample(path, &mut hash)?;
        return Ok(hash.finalize().into());
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        sample(&file, &mut hash)?;
    }
    Ok(hash.finalize().into())
}

fn sample(path: &Path, hash: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    hash.update(len.to_le_bytes());
    let mut bytes = Vec::new();
    for number in 0..SAMPLES {
        bytes.clear();
        file.seek(SeekFrom::Start(len / SAMPLES * number))?;
        (&file).take(SAMPLE_BYTES).read_to_end(&mut bytes)?;
        hash.update(&bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_apart_by_a_byte_of_a_sample() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("model");
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            identity(&path).unwrap()
        };
        let bytes = vec![3_u8; 1 << 20];
        let first = of(&bytes);
        assert_eq!(of(&bytes), first);
        let mut other = bytes.clone();
        other[16 << 10] = 4;
        assert_ne!(of(&other), first);
        assert_ne!(of(&bytes[1..]), first);
        assert_ne!(identity(home.path()).unwrap(), first, "a directory is another model");
    }
}
