//! Files that appear whole or not at all: written beside their place, synced, then renamed into it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::HubError;

/// Replaces the small file at `path`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(HubError::io("create", directory))?;
    let mut builder = tempfile::Builder::new();
    // Temporary files are their owner's alone; models may be shared, as far as the user's mask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory).map_err(HubError::io("create", directory))?;
    file.write_all(bytes).map_err(HubError::io("write", path))?;
    file.as_file().sync_all().map_err(HubError::io("write", path))?;
    file.persist(path).map_err(|error| HubError::Io { action: "write", path: path.to_owned(), source: error.error })?;
    sync_directory(directory);
    Ok(())
}

/// Moves a finished file into its place and makes the move durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), HubError> {
    fs::rename(from, to).map_err(HubError::io("write", to))?;
    sync_directory(to.parent().unwrap_or(Path::new(".")));
    Ok(())
}

/// Makes renames in `directory` durable, where the system can; the files themselves are synced already.
fn sync_directory(directory: &Path) {
    if let Ok(handle) = File::open(directory) {
        let _ = handle.sync_all();
    }
}
