//! Signing in with the administrator's password.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use saem_store::{Origin, Scope, StoreError};

use super::{Access, cookie, denied, failed, presented};
use crate::ApiError;

/// Headers by which a proxy says whom it speaks for.
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

impl Access {
    /// Whether there is an administrator's password.
    pub(crate) async fn has_password(&self) -> Result<bool, ApiError> {
        self.store.has_admin_password().await.map_err(failed)
    }

    /// Whether a request would have to show who it is from.
    pub(crate) async fn is_guarded(&self) -> Result<bool, ApiError> {
        self.needs_key().await
    }

    /// Whether a request shows a session that goes on.
    pub(crate) async fn is_signed_in(&self, headers: &HeaderMap) -> Result<bool, ApiError> {
        match cookie::token(headers) {
            Some(token) => self.store.has_session(token).await.map_err(failed),
            None => Ok(false),
        }
    }

    /// Sets the password where there is none, for whoever sits at this machine, and signs them in. Returns the session's
    /// token.
    ///
    /// # Errors
    /// 403 `not_local`, 409 `password_exists`, 400 where it is too short or too long; where there are keys, 401 and 403
    /// without one that has the scope `admin`.
    pub(crate) async fn set_password(
        &self,
        password: &str,
        headers: &HeaderMap,
        source: Option<IpAddr>,
    ) -> Result<String, ApiError> {
        if !is_local(headers, source) {
            let message = "The first password is set on the machine that the server runs on";
            return Err(ApiError::forbidden("not_local", message));
        }
        let mut origin = Origin::new("anonymous", text(source));
        // Whoever has closed the server by a key has not left this door open.
        if self.store.has_any_key().await.map_err(failed)? {
            let Some(key) = presented(headers) else {
                return Err(ApiError::unauthorized("Setting a password needs a key with the scope `admin`"));
            };
            let key = self.store.authenticate(key).await.map_err(failed)?.map_err(denied)?;
            if !key.allows(Scope::Admin) {
                return Err(ApiError::forbidden("scope_missing", "This key does not have the scope `admin`"));
            }
            origin.who = format!("key:{}", key.id);
        }
        let set = self.store.set_first_admin_password(password, &origin).await.map_err(|error| match error {
            StoreError::Invalid { field, expected } => {
                ApiError::invalid_value(field, format!("The password must have {expected}"))
            }
            error => failed(error),
        })?;
        if !set {
            return Err(ApiError::conflict("password_exists", "There is a password already; sign in with it"));
        }
        self.store.begin_session(&Origin::new("admin", text(source))).await.map_err(failed)
    }

    /// Signs in and returns the session's token. A session that the request shows ends.
    ///
    /// # Errors
    /// 401 `wrong_password`, also where there is none; 429 `too_many_attempts`.
    pub(crate) async fn sign_in(
        &self,
        password: &str,
        headers: &HeaderMap,
        source: Option<IpAddr>,
    ) -> Result<String, ApiError> {
        let note = |error: ApiError| {
            if let Some(unnoted) = self.refusals.next() {
                let more = if unnoted > 0 { format!(" ({unnoted} more before)") } else { String::new() };
                let entry = Origin::new("anonymous", text(source)).entry("", "admin.sign_in", "");
                let result = format!("{} {}{more}", error.status.as_u16(), error.code);
                self.store.record_audit(entry.with_result(result));
            }
            error
        };
        if let Err(wait) = self.guesses.begin(source) {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let message = format!("Too many wrong passwords. Please try again in {seconds}s");
            return Err(note(ApiError::rate_limited("too_many_attempts", message, seconds)));
        }
        let right = {
            // Hashing takes time and memory on purpose: one at a time.
            let _turn = self.hashing.lock().await;
            self.store.verify_admin_password(password).await.map_err(failed)?
        };
        if !right {
            return Err(note(ApiError::wrong_password()));
        }
        self.guesses.forget(source);
        let origin = Origin::new("admin", text(source));
        if let Some(token) = cookie::token(headers) {
            self.store.end_session(token, &origin).await.map_err(failed)?;
        }
        self.store.begin_session(&origin).await.map_err(failed)
    }

    /// Ends the session that a request shows.
    ///
    /// # Errors
    /// 503 where the records cannot be reached.
    pub(crate) async fn sign_out(&self, headers: &HeaderMap, source: Option<IpAddr>) -> Result<(), ApiError> {
        if let Some(token) = cookie::token(headers) {
            self.store.end_session(token, &Origin::new("admin", text(source))).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Whether a request comes from this machine and speaks for nobody else: the other end of the connection is here, the
/// name that it uses means here, and no proxy is between.
pub(crate) fn is_local(headers: &HeaderMap, source: Option<IpAddr>) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = crate::http::name_of(host);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_here = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    let is_direct = FORWARDED.iter().all(|name| !headers.contains_key(*name));
    is_here && is_direct && source.is_some_and(|source| source.to_canonical().is_loopback())
}

fn text(source: Option<IpAddr>) -> String {
    source.map_or_else(|| "unknown".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_who_sits_at_the_machine_is_local() {
        let local = |host: &'static str, more: &[&'static str], source: &str| {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            for name in more {
                headers.insert(*name, HeaderValue::from_static("10.0.0.1"));
            }
            is_local(&headers, Some(source.parse().unwrap()))
        };
        for (host, source) in [
            ("localhost:8080", "127.0.0.1"),
            ("127.0.0.1", "::1"),
            ("[::1]:80", "::ffff:127.0.0.1"),
            ("LocalHost", "127.9.9.9"),
        ] {
            assert!(local(host, &[], source), "{host} {source}");
        }
        assert!(!local("localhost", &[], "10.0.0.7"), "another machine");
        for host in ["10.0.0.1:8080", "saem.office", "localhost.evil.example", ""] {
            assert!(!local(host, &[], "127.0.0.1"), "{host}");
        }
        for name in FORWARDED {
            assert!(!local("localhost", &[name], "127.0.0.1"), "{name}: a proxy speaks for somebody else");
        }
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        assert!(!is_local(&headers, None));
    }
}
