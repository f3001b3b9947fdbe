//! The Hugging Face Hub: what a repository holds, and its files, continued where they broke off.
//!
//! Two addresses are all it takes (<https://huggingface.co/docs/hub/api>): `api/models/{repository}` lists files with
//! sizes and, for large ones, SHA-256; `{repository}/resolve/{revision}/{file}` sends one. Both are blocking calls
//! of `ureq`. Connecting may take only seconds, so that a closed network is noticed at once.

use std::io::Read;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use crate::HubError;
use crate::assembly::Assembly;

/// Name resolution, connection and handshake together may take this long.
const CONNECT: Duration = Duration::from_secs(4);
/// The first byte of an answer may take this long.
const ANSWER: Duration = Duration::from_secs(20);
/// One request may send bytes for this long; then the next request goes on from there. It bounds a silent stall.
const REQUEST: Duration = Duration::from_secs(120);
/// Requests in a row that may bring nothing before the download fails.
const ATTEMPTS: u32 = 4;
/// Longest list of files that is read.
const MAX_LISTING: u64 = 32 << 20;

/// A connection to the Hub or to a mirror of it.
#[derive(Debug)]
pub(crate) struct HuggingFace {
    endpoint: String,
    token: Option<String>,
    agent: Agent,
}

/// What a repository says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    /// Commit of its main branch.
    pub(crate) sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(rename = "cardData", default)]
    card: Option<Card>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Card {
    #[serde(default)]
    license: Option<serde_json::Value>,
    #[serde(default)]
    license_name: Option<String>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Path in the repository.
    pub(crate) path: String,
    /// Length, where the Hub tells it.
    pub(crate) bytes: Option<u64>,
    /// SHA-256, which the Hub tells for large files.
    pub(crate) sha256: Option<String>,
}

impl Repository {
    /// Its files, in the Hub's order.
    pub(crate) fn files(&self) -> Vec<RemoteFile> {
        let file = |sibling: &Sibling| RemoteFile {
            path: sibling.rfilename.clone(),
            bytes: sibling.lfs.as_ref().and_then(|lfs| lfs.size).or(sibling.size),
            sha256: sibling.lfs.as_ref().and_then(|lfs| lfs.sha256.clone()).filter(|sha256| sha256.len() == 64),
        };
        self.siblings.iter().map(file).collect()
    }

    /// The licence on its card: an identifier, or the name that the makers gave it.
    pub(crate) fn licence(&self) -> Option<String> {
        let card = self.card.as_ref()?;
        let identifier = card.license.as_ref().and_then(|value| value.as_str()).map(str::to_owned);
        match (&card.license_name, identifier.as_deref()) {
            (Some(name), None | Some("other")) => Some(name.clone()),
            _ => identifier,
        }
    }
}

impl HuggingFace {
    /// Prepares connections; none is opened yet.
    pub(crate) fn new(endpoint: &str, token: Option<String>) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("saem/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(REQUEST))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), token, agent }
    }

    /// Asks what the repository holds.
    pub(crate) fn repository(&self, repository: &str) -> Result<Repository, HubError> {
        let url = format!("{}/api/models/{repository}?blobs=true", self.endpoint);
        let response = self.get(&url, None)?;
        self.check(repository, None, &response)?;
        let reader = response.into_body().into_reader().take(MAX_LISTING);
        let answer: Repository = serde_json::from_reader(reader)
            .map_err(|error| HubError::BadAnswer { host: self.endpoint.clone(), reason: error.to_string() })?;
        if answer.sha.is_empty() || !answer.sha.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(self.bad_answer("the commit is not a commit"));
        }
        Ok(answer)
    }

    /// Fetches the rest of a file into `assembly`.
    ///
    /// `progress` hears the assembly's position after every piece, and may break off with an error; `retrying` hears
    /// why a connection broke.
    pub(crate) fn fetch(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
        assembly: &mut Assembly,
        progress: &mut dyn FnMut(u64) -> Result<(), HubError>,
        retrying: &mut dyn FnMut(&HubError),
    ) -> Result<(), HubError> {
        let url = format!("{}/{repository}/resolve/{revision}/{file}", self.endpoint);
        // The unfinished file is digested only once the source has answered: the next source does it again.
        let mut resumed = false;
        let mut attempts = 0;
        loop {
            let (before, begun) = (assembly.position(), Instant::now());
            let from = if resumed { before } else { assembly.on_disk() };
            let result = self.fetch_once(&url, repository, file, from, &mut resumed, assembly, progress);
            let error = match result {
                Ok(()) => return Ok(()),
                Err(error @ (HubError::Unreachable { .. } | HubError::BadStatus { .. })) => error,
                Err(error) => return Err(error),
            };
            let moved = assembly.position() > before && resumed;
            attempts = if moved { 0 } else { attempts + 1 };
            if moved && begun.elapsed() >= REQUEST {
                // Nothing broke: a slow download goes on with its next request.
                continue;
            }
            // A host that never answered is not asked again: the next source is waiting.
            if attempts >= ATTEMPTS || !resumed {
                return Err(error);
            }
            retrying(&error);
            std::thread::sleep(Duration::from_millis(250 << attempts.min(4)));
        }
    }

    fn fetch_once(
        &self,
        url: &str,
        repository: &str,
        file: &str,
        from: u64,
        resumed: &mut bool,
        assembly: &mut Assembly,
        progress: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let response = self.get(url, (from > 0).then_some(from))?;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            // The file ends where the assembly does; its digest tells whether it is the right one.
            *resumed = true;
            return assembly.resume();
        }
        self.check(repository, Some(file), &response)?;
        if !*resumed {
            assembly.resume()?;
            *resumed = true;
        }
        let starts_at = if status == StatusCode::PARTIAL_CONTENT { range_start(&response) } else { Some(0) };
        match starts_at {
            Some(start) if start == assembly.position() => {}
            // A server that ignores ranges sends everything again.
            Some(0) => assembly.restart()?,
            _ => return Err(self.bad_answer("another range than the one asked for")),
        }
        progress(assembly.position())?;
        let total = response
            .headers()
            .get("content-length")
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .map(|length| length.saturating_add(assembly.position()));
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match body.read(&mut buffer) {
                Ok(0) if total.is_some_and(|total| assembly.position() < total) => {
                    return Err(self.unreachable("the connection closed early"));
                }
                Ok(0) => return Ok(()),
                Ok(read) => {
                    assembly.append(buffer.get(..read).unwrap_or_default())?;
                    progress(assembly.position())?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreachable(&error.to_string())),
            }
        }
    }

    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<ureq::Body>, HubError> {
        // Compression would make lengths and ranges mean something else.
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| self.unreachable(&error.to_string()))
    }

    fn check(&self, repository: &str, file: Option<&str>, response: &Response<ureq::Body>) -> Result<(), HubError> {
        match response.status().as_u16() {
            200 | 206 => Ok(()),
            status @ (401 | 403) => Err(HubError::Refused { repository: repository.to_owned(), status }),
            404 | 410 => Err(HubError::NotFound {
                what: file.map_or_else(|| repository.to_owned(), |file| format!("{repository}:{file}")),
            }),
            status => Err(HubError::BadStatus { host: self.endpoint.clone(), status }),
        }
    }

    fn unreachable(&self, reason: &str) -> HubError {
        HubError::Unreachable { host: self.endpoint.clone(), reason: reason.to_owned() }
    }

    fn bad_answer(&self, reason: &str) -> HubError {
        HubError::BadAnswer { host: self.endpoint.clone(), reason: reason.to_owned() }
    }
}

/// First byte of a `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let value = response.headers().get("content-range")?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
