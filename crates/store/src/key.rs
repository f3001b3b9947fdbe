//! What a key is and what it may do.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// One thing that a key may do. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Completions, chats, tokens.
    Infer,
    /// Embeddings.
    Embed,
    /// Tuning.
    Tune,
    /// Keys, apps, usage and the audit log.
    Admin,
    /// The app that the key belongs to, or the apps of its list, and nothing else.
    App,
}

impl Scope {
    /// Every scope, in order.
    pub const ALL: [Self; 5] = [Self::Infer, Self::Embed, Self::Tune, Self::Admin, Self::App];

    /// The scope's name: `infer`, `embed`, `tune`, `admin` or `app`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Embed => "embed",
            Self::Tune => "tune",
            Self::Admin => "admin",
            Self::App => "app",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == name)
            .ok_or(StoreError::Invalid { field: "scope", expected: "infer, embed, tune, admin or app" })
    }
}

/// How much a key may ask for in a minute. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per minute (QPM).
    pub requests_per_minute: Option<u32>,
    /// Prompt and completion tokens per minute (TPM).
    pub tokens_per_minute: Option<u32>,
}

/// What a new key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// The app that it belongs to: every request made with it is that app's.
    pub app: Option<String>,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// Models that it may use; empty is every model.
    pub models: Vec<String>,
    /// Apps that it may use; empty is every app of its tenant.
    pub apps: Vec<String>,
    /// How much it may ask for.
    pub limits: Limits,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// The organisation of keys and apps for which none is named.
pub const DEFAULT_TENANT: &str = "default";

impl NewKey {
    /// A key of the default organisation with this name and these scopes, without limits, lists or end.
    #[must_use]
    pub fn named(name: impl Into<String>, scopes: &[Scope]) -> Self {
        Self {
            name: name.into(),
            tenant: DEFAULT_TENANT.to_owned(),
            app: None,
            scopes: scopes.to_vec(),
            models: Vec::new(),
            apps: Vec::new(),
            limits: Limits::default(),
            expires_at: None,
        }
    }
}

/// A key as it is stored: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The part of its text that may be shown: 12 letters and digits.
    pub id: String,
    /// The id of the first key that this one was rotated from; limits are counted for the whole line.
    pub lineage: String,
    /// What it was made as.
    pub made: NewKey,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to about a second.
    pub last_used_at: Option<Timestamp>,
    /// The key that replaced it.
    pub replaced_by: Option<String>,
}

/// How a key stands at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Active,
    /// It works until its end; another one has replaced it.
    Replaced,
    /// Its end has passed.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Key {
    /// How it stands at this instant.
    #[must_use]
    pub fn state(&self, at: Timestamp) -> State {
        if self.revoked_at.is_some() {
            State::Revoked
        } else if self.made.expires_at.is_some_and(|end| end <= at) {
            State::Expired
        } else if self.replaced_by.is_some() {
            State::Replaced
        } else {
            State::Active
        }
    }

    /// Whether it may do this.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.made.scopes.contains(&scope)
    }

    /// Whether it may use this model.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        self.made.models.is_empty() || self.made.models.iter().any(|allowed| allowed == model)
    }

    /// Whether it may use this app: its own, or one of its list.
    #[must_use]
    pub fn allows_app(&self, app: &str) -> bool {
        match &self.made.app {
            Some(own) => own == app,
            None => self.made.apps.is_empty() || self.made.apps.iter().any(|allowed| allowed == app),
        }
    }
}

/// A number for an organisation, for those who compare organisations in a hot loop: 64 bits of a SHA-256, never 0.
#[must_use]
pub fn tenant_number(tenant: &str) -> u64 {
    let bytes = Sha256::digest(tenant.as_bytes());
    bytes.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)).max(1)
}

/// A key together with the text that its holder presents. The text exists nowhere else and cannot be had again.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The stored part.
    pub key: Key,
    /// `saem_<id>_<secret>`.
    pub text: String,
}

/// Does not show the text.
impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issued").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a presented text is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is no key, or not one of this store.
    Unknown,
    /// Its end has passed.
    Expired,
    /// It was revoked.
    Revoked,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(made: NewKey) -> Key {
        Key {
            id: "i".to_owned(),
            lineage: "i".to_owned(),
            made,
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at: None,
            last_used_at: None,
            replaced_by: None,
        }
    }

    #[test]
    fn no_scope_includes_another() {
        for own in Scope::ALL {
            let key = key(NewKey::named("k", &[own]));
            for asked in Scope::ALL {
                assert_eq!(key.allows(asked), own == asked);
            }
            assert_eq!(own.name().parse::<Scope>().unwrap(), own);
        }
        assert!("root".parse::<Scope>().is_err());
    }

    #[test]
    fn an_empty_list_allows_everything_and_a_list_only_its_own() {
        let open = key(NewKey::named("k", &[Scope::Infer]));
        assert!(open.allows_model("a") && open.allows_app("x"));
        let listed = key(NewKey { models: vec!["a".into()], apps: vec!["x".into()], ..open.made.clone() });
        assert!(listed.allows_model("a") && !listed.allows_model("b") && !listed.allows_model(""));
        assert!(listed.allows_app("x") && !listed.allows_app("y"));
        let owned = key(NewKey { app: Some("x".into()), ..open.made });
        assert!(owned.allows_app("x") && !owned.allows_app("y"));
    }

    #[test]
    fn tenants_have_numbers_of_their_own() {
        // The first bytes of SHA-256("abc").
        assert_eq!(tenant_number("abc"), 0xba78_16bf_8f01_cfea);
        assert_ne!(tenant_number("abc"), tenant_number("abd"));
    }

    #[test]
    fn a_key_ends_at_its_end() {
        let end = Timestamp::from_second(100).unwrap();
        let mut key = key(NewKey { expires_at: Some(end), ..NewKey::named("k", &[Scope::Infer]) });
        assert_eq!(key.state(Timestamp::from_second(99).unwrap()), State::Active);
        assert_eq!(key.state(end), State::Expired);
        key.replaced_by = Some("j".into());
        assert_eq!(key.state(Timestamp::from_second(99).unwrap()), State::Replaced);
        key.revoked_at = Some(Timestamp::from_second(50).unwrap());
        assert_eq!(key.state(Timestamp::from_second(99).unwrap()), State::Revoked);
    }
}
