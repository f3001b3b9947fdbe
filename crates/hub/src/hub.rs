//! The models of this machine: found by name, listed, removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::catalogue::Catalogue;
use crate::lock::Lock;
use crate::manifest::Installed;
use crate::name::Spec;
use crate::packages::STAGING;
use crate::{HubError, Settings};

/// Models on this machine and where others come from.
///
/// It is cheap to make, holds no files open, and can be shared between threads.
#[derive(Debug)]
pub struct Hub {
    pub(crate) settings: Settings,
    pub(crate) catalogue: Catalogue,
    /// Set once the Hugging Face Hub could not be reached, so that one command waits for it only once.
    pub(crate) hugging_face_is_down: AtomicBool,
}

/// A download that was begun and not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Name that goes on with it.
    pub name: String,
    /// Bytes that are here.
    pub bytes: u64,
}

impl Hub {
    /// Opens the hub of these settings. The home need not exist yet.
    ///
    /// # Errors
    ///
    /// [`HubError::Json`] where `catalogue.json` in the home is damaged.
    pub fn open(settings: Settings) -> Result<Self, HubError> {
        let catalogue = Catalogue::with_additions(&settings.home)?;
        Ok(Self { settings, catalogue, hugging_face_is_down: AtomicBool::new(false) })
    }

    /// The models that have a short name.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Saem's home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.settings.home
    }

    /// What to open for a name or a path.
    ///
    /// # Errors
    ///
    /// [`HubError::NotInstalled`] for a model that [`Hub::pull`] would fetch, [`HubError::UnknownModel`] for one that
    /// nobody knows, [`HubError::NoSuchPath`] for a path that does not exist.
    pub fn resolve(&self, name_or_path: &str) -> Result<PathBuf, HubError> {
        let spec = match Spec::parse(name_or_path) {
            Ok(Spec::Path(path)) => {
                return if path.exists() { Ok(path) } else { Err(HubError::NoSuchPath { path }) };
            }
            Ok(spec) => spec,
            Err(_) if Path::new(name_or_path).exists() => return Ok(PathBuf::from(name_or_path)),
            Err(error) => return Err(error),
        };
        if let Some(installed) = self.find(&spec)? {
            return Ok(installed.path());
        }
        if Path::new(name_or_path).exists() {
            return Ok(PathBuf::from(name_or_path));
        }
        match &spec {
            Spec::Alias(name) => match self.catalogue.find(name) {
                Some(entry) => Err(HubError::NotInstalled { name: entry.name.clone() }),
                None => Err(self.unknown(name)),
            },
            _ => Err(HubError::NotInstalled { name: spec.name() }),
        }
    }

    /// The installed model with this name.
    ///
    /// # Errors
    ///
    /// [`HubError::InvalidName`], or what reading its manifest ran into.
    pub fn installed(&self, name: &str) -> Result<Option<Installed>, HubError> {
        self.find(&Spec::parse(name)?)
    }

    /// Every installed model, by name.
    ///
    /// # Errors
    ///
    /// [`HubError::Io`] where the directory of models cannot be read. A single model that cannot be read is left out.
    pub fn list(&self) -> Result<Vec<Installed>, HubError> {
        let mut models: Vec<Installed> =
            self.directories()?.iter().filter_map(|directory| Installed::read(directory).ok().flatten()).collect();
        models.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        Ok(models)
    }

    /// Every download that was begun and not finished, by name.
    ///
    /// # Errors
    ///
    /// Those of [`Hub::list`].
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, HubError> {
        let root = self.models();
        let mut found = Vec::new();
        for directory in self.directories()? {
            if Installed::read(&directory).ok().flatten().is_some() {
                continue;
            }
            let bytes = own_files(&directory).iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
            if let Ok(relative) = directory.strip_prefix(&root)
                && bytes > 0
            {
                let name = relative.to_string_lossy().replace('\\', "/").replace('+', ":");
                found.push(Unfinished { name, bytes });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Deletes a model, finished or not, and returns the bytes that became free.
    ///
    /// # Errors
    ///
    /// [`HubError::NotInstalled`] or [`HubError::UnknownModel`] where there is nothing to delete, [`HubError::Busy`]
    /// while another process downloads it.
    pub fn remove(&self, name: &str) -> Result<u64, HubError> {
        let spec = self.canonical(Spec::parse(name)?);
        let Some(directory) = self.directory(&spec) else {
            return Err(HubError::InvalidName {
                name: name.to_owned(),
                reason: "it is a path; delete the file yourself",
            });
        };
        let name = spec.name();
        let _lock = Lock::try_acquire(&self.lock_path(&spec))?.ok_or(HubError::Busy { name: name.clone() })?;
        // The manifest goes first: from then on the model is not installed, whatever happens to its files.
        let mut files = own_files(&directory);
        files.sort_by_key(|file| !file.ends_with(crate::manifest::FILE_NAME));
        if files.is_empty() {
            return Err(match &spec {
                Spec::Alias(alias) if self.catalogue.find(alias).is_none() => self.unknown(alias),
                _ => HubError::NotInstalled { name },
            });
        }
        let mut freed = 0;
        for file in files {
            let bytes = fs::symlink_metadata(&file).map_or(0, |data| data.len());
            fs::remove_file(&file).map_err(HubError::io("delete", &file))?;
            freed += bytes;
        }
        crate::packages::clear_leftovers(&directory);
        // Directories that still hold something else stay.
        if fs::remove_dir(&directory).is_ok()
            && let Some(owner) = directory.parent()
            && owner != self.models()
        {
            let _ = fs::remove_dir(owner);
        }
        Ok(freed)
    }

    /// Directory of all models.
    pub(crate) fn models(&self) -> PathBuf {
        self.settings.home.join("models")
    }

    /// Directory of a model; `None` for a path.
    pub(crate) fn directory(&self, spec: &Spec) -> Option<PathBuf> {
        Some(self.models().join(spec.directory()?))
    }

    /// The lock of a model. It is not in the model's directory, which `remove` deletes.
    pub(crate) fn lock_path(&self, spec: &Spec) -> PathBuf {
        let name = spec.directory().unwrap_or_default().to_string_lossy().replace(['/', '\\'], "+");
        self.settings.home.join("locks").join(format!("{name}.lock"))
    }

    /// The same name as the catalogue writes it.
    pub(crate) fn canonical(&self, spec: Spec) -> Spec {
        match spec {
            Spec::Alias(name) => Spec::Alias(self.catalogue.find(&name).map_or(name, |entry| entry.name.clone())),
            spec => spec,
        }
    }

    /// The error for a short name that nobody knows.
    pub(crate) fn unknown(&self, name: &str) -> HubError {
        let installed = self.list().unwrap_or_default();
        let known = self.catalogue.models.iter().map(|entry| entry.name.as_str());
        let known = known.chain(installed.iter().map(|model| model.manifest.name.as_str()));
        let wanted = name.to_ascii_lowercase();
        let mut scored: Vec<(f64, &str)> = known
            .map(|known| {
                let lower = known.to_ascii_lowercase();
                // A start that fits (`qwen3`) says more than letters that happen to be the same.
                let start = if lower.starts_with(&wanted) || wanted.starts_with(&lower) { 1.0 } else { 0.0 };
                (strsim::jaro_winkler(&wanted, &lower) + start, known)
            })
            .filter(|(score, _)| *score > 0.8)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.dedup_by(|a, b| a.1 == b.1);
        let similar = scored.into_iter().take(3).map(|(_, known)| known.to_owned()).collect();
        HubError::UnknownModel { name: name.to_owned(), similar }
    }

    fn find(&self, spec: &Spec) -> Result<Option<Installed>, HubError> {
        let spec = self.canonical(spec.clone());
        let Some(directory) = self.directory(&spec) else { return Ok(None) };
        Ok(Installed::read(&directory)?.filter(|installed| installed.manifest.name == spec.name()))
    }

    /// Directories that may hold a model: those in the directory of models, and those in these.
    fn directories(&self) -> Result<Vec<PathBuf>, HubError> {
        let mut found = Vec::new();
        for outer in subdirectories(&self.models())? {
            found.extend(subdirectories(&outer)?);
            found.push(outer);
        }
        Ok(found)
    }
}

/// Files of a model itself: no directories, nothing below them.
fn own_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_dir());
    entries.flatten().filter(is_file).map(|entry| entry.path()).collect()
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>, HubError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(HubError::Io { action: "read", path: directory.to_owned(), source }),
    };
    let wanted = |path: &PathBuf| {
        path.is_dir() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGING))
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(wanted).collect())
}
