//! One process at a time changes a model: an operating-system lock that goes with the process, however it ends.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::HubError;

/// A held lock. Dropping it, or dying, releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it.
    pub(crate) fn acquire(path: &Path) -> Result<Self, HubError> {
        let file = open(path)?;
        file.lock().map_err(HubError::io("lock", path))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, HubError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(HubError::Io { action: "lock", path: path.to_owned(), source }),
        }
    }
}

/// Lock files stay: deleting one that another process has just opened would give two locks of one name.
fn open(path: &Path) -> Result<File, HubError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(HubError::io("create", directory))?;
    }
    File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(HubError::io("create", path))
}
