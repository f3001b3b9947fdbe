//! Who asks: what is known of a request before its body is read.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use saem_engine::random::fresh_seed;
use saem_store::{DEFAULT_TENANT, Origin};

use crate::ApiError;
use crate::access::{Holder, Reservation};

/// Longest request id that is taken over from a client.
const MAX_ID: usize = 128;

/// Name of the header that carries the id of a request, in both directions.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request: the client's own, or a fresh one. It is in the response, in the log and in the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The client's id if it is harmless, else a new one: an id ends up in logs, so it is short and has no spaces,
    /// quotes or control characters.
    #[must_use]
    pub fn from_header(header: Option<&HeaderValue>) -> Self {
        let harmless = |id: &&str| {
            (1..=MAX_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
        };
        header.and_then(|header| header.to_str().ok()).filter(harmless).map_or_else(Self::fresh, |id| Self(id.into()))
    }

    /// A random id.
    #[must_use]
    pub fn fresh() -> Self {
        Self(format!("req_{:016x}{:016x}", fresh_seed(), fresh_seed()).into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Who asks. A handler takes it as an argument; the middleware that checks keys fills it in before.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request.
    pub request_id: RequestId,
    /// On whose behalf; 0 where there are no keys. Requests of one tenant share cached prompts.
    pub tenant: u64,
    /// The line that its requests stand in, where it is not the key's.
    pub(crate) line: Option<u64>,
    /// The app whose request it is.
    pub(crate) app: Option<Arc<str>>,
    /// The key and where the request comes from, where access is by keys.
    pub(crate) holder: Option<Arc<Holder>>,
    /// What was set aside of the key's allowance.
    pub(crate) reservation: Option<Arc<Reservation>>,
}

impl Caller {
    /// Somebody without a key.
    #[must_use]
    pub fn anonymous(request_id: RequestId) -> Self {
        Self { request_id, tenant: 0, line: None, app: None, holder: None, reservation: None }
    }

    /// The line that its requests stand in: its key's, a batch's own, and nobody's where there are no keys.
    pub(crate) fn line(&self) -> Option<u64> {
        self.line.or_else(|| self.holder.as_ref()?.line())
    }

    /// The organisation on whose behalf it is.
    pub(crate) fn tenant_name(&self) -> &str {
        self.holder.as_ref().map_or(DEFAULT_TENANT, |holder| holder.tenant_name())
    }

    /// The key's id; empty where none was needed.
    pub(crate) fn key_id(&self) -> &str {
        self.holder.as_ref().map_or("", |holder| holder.key_id())
    }

    /// Whether this caller may use an app of its organisation.
    pub(crate) fn allows_app(&self, app: &str) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.allows_app(app))
    }

    /// The caller as a part of this app: what it uses is counted there.
    pub(crate) fn for_app(&self, app: &str) -> Self {
        Self { app: Some(app.into()), ..self.clone() }
    }

    /// Who acts, and from where, for records.
    pub(crate) fn origin(&self) -> Origin {
        self.holder.as_ref().map_or_else(|| Origin::new("anonymous", "unknown"), |holder| holder.origin())
    }

    /// Whether this caller may know of a model and use it.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.allows_model(model))
    }

    /// That this caller may not use a model, noted.
    pub(crate) fn refused(&self, model: &str) -> ApiError {
        let error = ApiError::model_not_allowed(model);
        match &self.holder {
            Some(holder) => holder.refused(model, error),
            None => error,
        }
    }

    /// The caller with what a request to this model may take set aside.
    pub(crate) async fn admitted(&self, model: &str, tokens: usize) -> Result<Self, ApiError> {
        let mut admitted = self.clone();
        if let Some(holder) = &self.holder {
            admitted.reservation = holder.admit(model, tokens).await?;
        }
        Ok(admitted)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Self>().cloned();
        Ok(caller.unwrap_or_else(|| Self::anonymous(RequestId::fresh())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let id = |text: &str| RequestId::from_header(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(id("trace-12:a.b_c").as_str(), "trace-12:a.b_c");
        for bad in ["", "two words", "quo\"te", &"x".repeat(129)] {
            assert!(id(bad).as_str().starts_with("req_"), "{bad}");
        }
        assert_ne!(RequestId::fresh(), RequestId::fresh());
    }
}
