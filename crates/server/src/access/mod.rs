//! Keys, limits and records in front of the models.
//!
//! A server on the loopback without a single key answers whoever can reach it: that is one person's own machine. From
//! the first key or the administrator's password on, every request shows a key or a session, on the loopback too; and
//! with both, the server may listen to other machines ([`Access::may_be_public`]). A session is what a browser gets for
//! the password ([`signing`], [`cookie`]); it may do what a key with every scope may.
//!
//! The border asks [`Access::identify`] who a request is from before any route sees it; starting a request asks
//! [`Access::admit`] whether its key may use the model now and sets aside what it may take; and as a [`Recorder`],
//! [`Access`] hears how it ended, gives back what was not used, counts the usage and writes the audit log. While that
//! log cannot be written, nobody is let in.

pub(crate) mod cookie;
mod guesses;
mod refusals;
mod signing;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, header};
use saem_store::{
    DEFAULT_TENANT, Denied, Grant, Key, Origin, Refusal, Scope, State, Store, StoreError, Used, UsedBy, tenant_number,
};

use crate::service::{Finished, Recorder};
use crate::studio::run;
use crate::{ApiError, Caller, RequestId, pages};

use guesses::Guesses;
use refusals::Refusals;
pub(crate) use signing::is_local;

/// Rows of the audit log that may wait to be written; beyond it the log is taken to be broken.
const MOST_WAITING: usize = 10_000;

/// How long it is taken for known whether several keys work.
const COUNTED_FOR: Duration = Duration::from_secs(5);

/// The store, and who may pass.
#[derive(Debug)]
pub struct Access {
    store: Arc<Store>,
    /// Keys and the password are never deleted, so once there is one this stays.
    is_guarded: AtomicBool,
    /// Whether more than one works, and when that was found.
    several_keys: Mutex<Option<(Instant, bool)>>,
    refusals: Refusals,
    guesses: Guesses,
    /// Held while a password is hashed.
    hashing: tokio::sync::Mutex<()>,
}

/// Whose request it is, from where, and what it does.
#[derive(Debug)]
pub(crate) struct Holder {
    access: Arc<Access>,
    key: Option<Key>,
    /// Whether it is the administrator, by a session.
    is_admin: bool,
    source: String,
    action: String,
    /// Whether the request was counted: one may ask a model several times.
    is_counted: AtomicBool,
}

/// What was set aside for a request; given back when the last of its copies goes, unless it was settled before.
#[derive(Debug)]
pub(crate) struct Reservation {
    store: Arc<Store>,
    grant: Mutex<Option<Grant>>,
}

impl Access {
    /// Access by the keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            is_guarded: AtomicBool::new(false),
            several_keys: Mutex::default(),
            refusals: Refusals::default(),
            guesses: Guesses::default(),
            hashing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether other machines may reach the server: there is a key that works, and a password of the administrator.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn may_be_public(&self) -> Result<bool, StoreError> {
        Ok(self.store.has_usable_key().await? && self.store.has_admin_password().await?)
    }

    /// Who asks, if they may use this route at all. `route` is its pattern.
    pub(crate) async fn identify(
        self: &Arc<Self>,
        id: RequestId,
        method: &Method,
        headers: &HeaderMap,
        route: Option<&str>,
        source: Option<IpAddr>,
    ) -> Result<Caller, ApiError> {
        let Some(scopes) = scopes(route) else { return Ok(Caller::anonymous(id)) };
        if self.store.backlog() > MOST_WAITING {
            return Err(ApiError::records_unavailable());
        }
        let source = source.map_or_else(|| "unknown".to_owned(), |source| source.to_string());
        let action = format!("{method} {}", route.unwrap_or("other"));
        let mut holder = Holder::new(self, source, action);
        // Pages of other origins may call apps, so whoever calls one shows a key, wherever the server listens.
        let is_app = route == Some(run::PATH);
        if is_app || self.needs_key().await? {
            match self.credentials(method, headers, is_app).await {
                Ok(key) => (holder.is_admin, holder.key) = (key.is_none(), key),
                // That the records cannot be reached is no refusal, and cannot be noted in them.
                Err(error) if error.code == "records_unavailable" => return Err(error),
                Err(error) => return Err(holder.refused("", error)),
            }
            let may = holder.key.as_ref().is_none_or(|key| scopes.iter().any(|scope| key.allows(*scope)));
            if !may {
                let scope = scopes.first().map(|scope| scope.name()).unwrap_or_default();
                let message = format!("This key does not have the scope `{scope}`");
                return Err(holder.refused("", ApiError::forbidden("scope_missing", message)));
            }
        }
        let app = holder.key.as_ref().and_then(|key| key.made.app.clone());
        let tenant = holder.key.as_ref().map_or(0, |key| tenant_number(&key.made.tenant));
        Ok(Caller { tenant, app: app.map(Into::into), holder: Some(Arc::new(holder)), ..Caller::anonymous(id) })
    }

    /// The key that a request shows; none where it shows the administrator's session instead.
    async fn credentials(&self, method: &Method, headers: &HeaderMap, is_app: bool) -> Result<Option<Key>, ApiError> {
        if let Some(text) = presented(headers) {
            return self.store.authenticate(text).await.map_err(failed)?.map_err(denied).map(Some);
        }
        if !is_app && self.is_signed_in(headers).await? {
            return cookie::check_origin(method, headers).map(|()| None);
        }
        Err(ApiError::unauthorized("You did not provide an API key: send the header Authorization: Bearer <key>"))
    }

    /// Whether more than one key works. What was found holds for some seconds: this is asked at every request.
    pub(crate) async fn has_several_keys(&self) -> Result<bool, ApiError> {
        let known = *self.several_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, several)) = known
            && at.elapsed() < COUNTED_FOR
        {
            return Ok(several);
        }
        let several = self.store.has_several_usable_keys().await.map_err(failed)?;
        *self.several_keys.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), several));
        Ok(several)
    }

    /// The one who started a batch, for one of its rows, if the key still works.
    ///
    /// # Errors
    /// 401 where it does not, 503.
    pub(crate) async fn behalf(self: &Arc<Self>, key: &str, batch: &str) -> Result<Caller, ApiError> {
        let key = match key {
            "" => None,
            id => match self.store.key(id).await {
                Ok(key) if matches!(key.state(jiff::Timestamp::now()), State::Active | State::Replaced) => Some(key),
                Ok(_) | Err(StoreError::NotFound { .. }) => {
                    return Err(ApiError::unauthorized("The key that started the batch does not work any more"));
                }
                Err(error) => return Err(failed(error)),
            },
        };
        let tenant = key.as_ref().map_or(0, |key| tenant_number(&key.made.tenant));
        let (source, action) = ("local".to_owned(), "batch".to_owned());
        let holder = Holder { key, ..Holder::new(self, source, action) };
        let line = Some(tenant_number(&format!("batch {batch}")));
        Ok(Caller { tenant, line, holder: Some(Arc::new(holder)), ..Caller::anonymous(RequestId::fresh()) })
    }

    /// Where keys, projects and records are.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    async fn needs_key(&self) -> Result<bool, ApiError> {
        if self.is_guarded.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let is_guarded = self.store.is_guarded().await.map_err(failed)?;
        self.is_guarded.store(is_guarded, Ordering::Relaxed);
        Ok(is_guarded)
    }
}

impl Holder {
    /// Somebody of whom no more is known than where they are and what they do.
    fn new(access: &Arc<Access>, source: String, action: String) -> Self {
        let is_counted = AtomicBool::new(false);
        Self { access: Arc::clone(access), key: None, is_admin: false, source, action, is_counted }
    }

    /// A number for the key, and for those that it was rotated from.
    pub(crate) fn line(&self) -> Option<u64> {
        self.key.as_ref().map(|key| tenant_number(&key.lineage))
    }

    /// Whether the key may use this model.
    pub(crate) fn allows_model(&self, model: &str) -> bool {
        self.key.as_ref().is_none_or(|key| key.allows_model(model))
    }

    /// Lets a request to this model begin that may take so many tokens, or tells when to come back.
    pub(crate) async fn admit(&self, model: &str, tokens: usize) -> Result<Option<Arc<Reservation>>, ApiError> {
        if !self.allows_model(model) {
            return Err(self.refused(model, ApiError::model_not_allowed(model)));
        }
        let Some(key) = &self.key else { return Ok(None) };
        let requests = u32::from(!self.is_counted.swap(true, Ordering::Relaxed));
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let store = &self.access.store;
        match store.admit(key, requests, tokens).await.map_err(failed)? {
            Ok(grant) => Ok(Some(Arc::new(Reservation { store: Arc::clone(store), grant: Mutex::new(Some(grant)) }))),
            Err(refusal) => Err(self.refused(model, limited(&refusal))),
        }
    }

    /// Notes a refusal in the audit log and hands it on.
    pub(crate) fn refused(&self, model: &str, error: ApiError) -> ApiError {
        if let Some(unnoted) = self.access.refusals.next() {
            let more = if unnoted > 0 { format!(" ({unnoted} more before)") } else { String::new() };
            self.record(model, &format!("{} {}{more}", error.status.as_u16(), error.code));
        }
        error
    }

    /// The key's organisation.
    pub(crate) fn tenant_name(&self) -> &str {
        self.key.as_ref().map_or(DEFAULT_TENANT, |key| &key.made.tenant)
    }

    /// The key's id; empty where none was needed.
    pub(crate) fn key_id(&self) -> &str {
        self.key.as_ref().map_or("", |key| &key.id)
    }

    /// Whether the key may use this app.
    pub(crate) fn allows_app(&self, app: &str) -> bool {
        self.key.as_ref().is_none_or(|key| key.allows_app(app))
    }

    /// Who acts, and from where.
    pub(crate) fn origin(&self) -> Origin {
        let who = match &self.key {
            Some(key) => format!("key:{}", key.id),
            None if self.is_admin => "admin".to_owned(),
            None => "anonymous".to_owned(),
        };
        Origin::new(who, &*self.source)
    }

    fn record(&self, model: &str, result: &str) {
        let entry = self.origin().entry(self.tenant_name(), &self.action, model);
        self.access.store.record_audit(entry.with_result(result));
    }
}

impl Reservation {
    fn settle(&self, used: u64) {
        let grant = self.grant.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(grant) = grant {
            self.store.settle(grant, used);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl Recorder for Access {
    fn finished(&self, finished: &Finished<'_>) {
        let Some(holder) = &finished.caller.holder else { return };
        let count = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
        let (prompt_tokens, completion_tokens) =
            (count(finished.usage.prompt_tokens), count(finished.usage.completion_tokens));
        if let Some(reservation) = &finished.caller.reservation {
            reservation.settle(prompt_tokens.saturating_add(completion_tokens));
        }
        let key = holder.key.as_ref();
        let by = UsedBy {
            tenant: holder.tenant_name().to_owned(),
            key: key.map(|key| key.id.clone()).unwrap_or_default(),
            app: finished.caller.app.as_deref().unwrap_or_default().to_owned(),
            model: finished.model.to_owned(),
        };
        let cached_tokens = count(finished.usage.cached_tokens);
        self.store.record_usage(by, Used { requests: 1, prompt_tokens, cached_tokens, completion_tokens });
        holder.record(finished.model, finished.outcome.as_str());
    }
}

/// What a route asks of a key, one of these; nothing where everybody may know.
fn scopes(route: Option<&str>) -> Option<&'static [Scope]> {
    match route {
        Some("/openapi.json" | "/health/live" | "/health/ready") => None,
        Some(route) if pages::is_page(route) => None,
        // Who has not signed in yet comes here to do so.
        Some("/api/studio/session" | "/api/studio/password") => None,
        Some("/metrics") => Some(&[Scope::Admin]),
        Some(run::PATH) => Some(&[Scope::App, Scope::Infer]),
        Some(route) if route.starts_with("/api/studio/apps") => Some(&[Scope::Admin]),
        Some("/api/studio/engines/load") => Some(&[Scope::Admin]),
        Some(route) if route.starts_with("/api/studio/datasets") || route.starts_with("/api/studio/tunings") => {
            Some(&[Scope::Tune])
        }
        Some("/api/studio/plan") => Some(&[Scope::Tune, Scope::Infer]),
        Some(route) if route.contains("embedding") => Some(&[Scope::Embed]),
        // Also where there is no route: strangers are not told what there is.
        _ => Some(&[Scope::Infer]),
    }
}

/// The key in `Authorization: Bearer`, or in the header that CLOVA Studio's older clients use.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (kind, key) = value.trim().split_once(' ')?;
        kind.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-ncp-clovastudio-api-key").and_then(|value| value.to_str().ok()))
}

fn denied(denied: Denied) -> ApiError {
    ApiError::unauthorized(match denied {
        Denied::Unknown => "Incorrect API key provided",
        Denied::Expired => "This API key has expired",
        Denied::Revoked => "This API key was revoked",
    })
}

fn limited(refusal: &Refusal) -> ApiError {
    // A whole second more at most: who waits as long as told gets in.
    let seconds = u32::try_from(refusal.retry_after.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
    let message = format!(
        "Rate limit reached for this key: {} {} per minute. Please try again in {seconds}s",
        refusal.per_minute,
        refusal.limit.name(),
    );
    ApiError::rate_limited("rate_limit_exceeded", message, seconds)
}

/// The records cannot be reached. Clients learn no more; the log does, without the database's password.
pub(crate) fn failed(error: StoreError) -> ApiError {
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(error = %error, reason, "the records cannot be reached");
    ApiError::records_unavailable()
}
