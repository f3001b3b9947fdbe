//! How a server is set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::ModelNames;

/// Addresses and limits. [`Default`] is `127.0.0.1:8080` for this machine alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Whether the address may be reached from other machines. Set it only where keys are checked.
    pub public: bool,
    /// Host names that requests may use beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The largest body in bytes.
    pub body_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// How long answers may go on when the server is asked to stop.
    pub drain: Duration,
    /// Requests of one key that may wait for each model. Where absent, a quarter of the queue as soon as a second key
    /// works, and before that all of it.
    pub waiting_per_key: Option<usize>,
    /// Saem's home, where datasets and runs are kept. Where absent, there are none.
    pub home: Option<PathBuf>,
    /// The program that tunes, by `tune RECIPE`: this one. Where absent, nothing is tuned.
    pub program: Option<PathBuf>,
    /// Which served model answers for which of CLOVA Studio's.
    pub clova_models: ModelNames,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public: false,
            hosts: Vec::new(),
            body_bytes: 4 << 20,
            connections: 1024,
            drain: Duration::from_secs(30),
            waiting_per_key: None,
            home: None,
            program: None,
            clova_models: ModelNames::default(),
        }
    }
}

impl Settings {
    /// Whether requests may call the server by this name (without port).
    ///
    /// An address is always fine: what must not get through is a *name* that its owner lets point here.
    #[must_use]
    pub fn allows_host(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_are_refused() {
        let settings = Settings { hosts: vec!["saem.office".into()], ..Settings::default() };
        for name in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "192.168.0.7", "Saem.Office"] {
            assert!(settings.allows_host(name), "{name}");
        }
        for name in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "saem.office.evil"] {
            assert!(!settings.allows_host(name), "{name}");
        }
    }
}
