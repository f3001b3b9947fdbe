//! The border: what every request passes before any route sees it, and every response on its way back.
//!
//! Who may talk to the server at all is decided here, before keys are looked at. A web page in the user's browser can reach a
//! server on the same machine; that it may not use it is the work of two checks. The name in `Host` must be one of the
//! server's own, so that a hostile name which resolves to 127.0.0.1 gets nothing (DNS rebinding). And `Origin`, which
//! browsers send and pages cannot forge, must be the server itself. The one exception are apps: pages of the origins that
//! an app allows may call it, and nothing else; only they are ever sent headers of CORS.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::listen::Peer;
use crate::caller::REQUEST_ID;
use crate::studio::run;
use crate::{ApiError, App, Caller, RequestId};

/// The middleware around all routes.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = RequestId::from_header(request.headers().get(REQUEST_ID));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut foreign = None;
    let admitted = match admit(&app, request.uri(), route.as_deref(), request.headers()).await {
        Ok(allowed) => {
            foreign = allowed;
            let peer = request.extensions().get::<Peer>().copied();
            match foreign.is_some() && method == Method::OPTIONS {
                // A browser asks before it sends the key.
                true => Ok(None),
                false => identify(&app, &id, &method, request.headers(), route.as_deref(), peer).await.map(Some),
            }
        }
        Err(error) => Err(error),
    };
    let mut response = match admitted {
        Ok(None) => run::preflight(),
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            caught(next.run(request)).await.unwrap_or_else(|| {
                tracing::error!(id = id.as_str(), "a handler panicked");
                ApiError::internal().into_response()
            })
        }
        Err(error) => error.into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(origin) = foreign {
        run::open_to(origin, response.headers_mut());
    }
    // Answers are data, whatever a browser would like to make of them.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The pattern and not the path: a path can hold anything, and as many labels as there are paths are too many.
    let route = route.as_deref().unwrap_or("other");
    let status = response.status().as_u16();
    app.metrics().answered(route, status);
    tracing::info!(
        id = id.as_str(),
        method = method.as_str(),
        route,
        status,
        millis = begun.elapsed().as_millis() as u64,
        "answered"
    );
    response
}

/// Who asks, by the key that the request shows where one is needed.
async fn identify(
    app: &App,
    id: &RequestId,
    method: &Method,
    headers: &HeaderMap,
    route: Option<&str>,
    peer: Option<Peer>,
) -> Result<Caller, ApiError> {
    let Some(access) = app.access() else { return Ok(Caller::anonymous(id.clone())) };
    access.identify(id.clone(), method, headers, route, peer.map(|peer| peer.0.ip())).await
}

/// Whether a request may be looked at; the origin of the page that sends it, where it is another one that an app allows.
async fn admit(
    app: &App,
    uri: &Uri,
    route: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, ApiError> {
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.authority().map(|a| a.as_str()));
    let Some(host) = host else {
        return Err(ApiError::invalid("host_missing", "", "The header host is missing"));
    };
    if !app.settings().allows_host(name_of(host)) {
        return Err(ApiError::forbidden("host_not_allowed", "This server does not answer under this host name"));
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let same =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(scheme, authority)| {
            matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host)
        });
    if same {
        return Ok(None);
    }
    let text = origin.to_str().unwrap_or_default();
    if route == Some(run::PATH) && run::allows_origin(app, uri.path(), text).await {
        return Ok(Some(origin.clone()));
    }
    Err(ApiError::forbidden("origin_not_allowed", "Pages of other origins may not use this server"))
}

/// The name in `host[:port]`.
pub(crate) fn name_of(host: &str) -> &str {
    match host.rfind(':') {
        // The last colon of an IPv6 address in brackets is inside them.
        Some(colon) if host.get(colon..).is_some_and(|rest| !rest.contains(']')) => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

/// Runs a handler; `None` where it panicked.
async fn caught<T>(handler: impl Future<Output = T>) -> Option<T> {
    let mut handler = pin!(handler);
    let mut panicked = false;
    poll_fn(move |context| {
        if panicked {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => {
                panicked = true;
                Poll::Ready(None)
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_ports() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:8080", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
        ] {
            assert_eq!(name_of(host), name);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_is_an_answer() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let lost: Option<()> = caught(async { std::panic::resume_unwind(Box::new("on purpose")) }).await;
        assert!(lost.is_none());
    }
}
