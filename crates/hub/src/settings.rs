//! Where models are kept and how the outside is reached: read once from the environment, then passed on as a value.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::HubError;

/// Tells how many bytes are free where a path is.
pub type FreeSpace = fn(&Path) -> io::Result<u64>;

/// Everything that [`Hub`](crate::Hub) takes from its surroundings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Saem's home: `$SAEM_HOME`, else `saem` in the user's data directory.
    pub home: PathBuf,
    /// The Hugging Face Hub or a mirror: `$HF_ENDPOINT`.
    pub endpoint: String,
    /// Token for repositories that ask for one: `$HF_TOKEN`, else what `hf auth login` has stored.
    pub token: Option<String>,
    /// Whether the Hub is not to be asked at all: `$HF_HUB_OFFLINE` is `1` or `true`.
    pub offline: bool,
    /// The command that stands for `pip`: `$SAEM_PIP`, else the usual ones are tried.
    pub pip: Option<String>,
    /// How free space is measured; tests put a full disk here.
    pub free_space: FreeSpace,
}

impl Settings {
    /// Settings with this home and nothing of the environment.
    #[must_use]
    pub fn at(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
            pip: None,
            free_space: |path| fs4::available_space(path),
        }
    }

    /// Settings from the environment.
    ///
    /// # Errors
    ///
    /// [`HubError::NoHome`] where neither `$SAEM_HOME` nor a home directory is set.
    pub fn from_env() -> Result<Self, HubError> {
        let mut settings = Self::at(home().ok_or(HubError::NoHome)?);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            settings.endpoint = endpoint;
        }
        settings.token = text("HF_TOKEN").or_else(stored_token);
        settings.offline =
            text("HF_HUB_OFFLINE").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
        settings.pip = text("SAEM_PIP");
        Ok(settings)
    }
}

fn home() -> Option<PathBuf> {
    if let Some(home) = text("SAEM_HOME") {
        return Some(PathBuf::from(home));
    }
    // The XDG base directory specification asks to ignore relative paths.
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|_| cfg!(windows)));
    data.or_else(|| Some(env::home_dir()?.join(".local").join("share"))).map(|data| data.join("saem"))
}

fn stored_token() -> Option<String> {
    let path = env::var_os("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HF_HOME").map(PathBuf::from);
        Some(home.or_else(|| Some(env::home_dir()?.join(".cache").join("huggingface")))?.join("token"))
    })?;
    let token = fs::read_to_string(path).ok()?.trim().to_owned();
    (!token.is_empty() && token.len() < 1024).then_some(token)
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
