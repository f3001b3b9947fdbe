//! Who sits in front of Studio: signing in with the administrator's password, and setting the first one.
//!
//! A server of one person on the loopback asks for nothing, and a password is offered there and not demanded. Once one
//! is set, whoever comes signs in with it, or shows a key; a session may do what a key with every scope may.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{cookie, is_local};
use crate::http::{JsonBody, Peer, json};
use crate::{Access, ApiError, App, ErrorBody};

/// Who asks, and what is asked of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StudioSession)]
pub(crate) struct Shown {
    /// Whether requests must show a session or a key.
    guarded: bool,
    /// Whether there is an administrator's password to sign in with.
    password: bool,
    /// Whether the one who asks may set the first one: there is none, and they sit at the server's machine.
    may_set_password: bool,
    /// Whether the one who asks has signed in.
    signed_in: bool,
}

/// The administrator's password.
#[derive(Deserialize, ToSchema)]
#[schema(as = StudioPassword)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    /// 10 letters or more, 1024 bytes at most.
    password: String,
}

/// Nobody's log shows it.
impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password")
    }
}

fn access(app: &App) -> Result<&Access, ApiError> {
    app.access().map(AsRef::as_ref).ok_or_else(ApiError::records_unavailable)
}

fn source(peer: Option<Extension<Peer>>) -> Option<std::net::IpAddr> {
    peer.map(|Extension(peer)| peer.0.ip())
}

/// An answer that keeps a session's token in the browser, or takes it away.
fn with_cookie(mut response: Response, headers: &HeaderMap, token: Option<&str>) -> Response {
    if let Some(value) = cookie::set(headers, token) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// Says whether somebody is signed in, and whether they have to be.
#[utoipa::path(get, path = "/api/studio/session", operation_id = "studioReadSession", tag = "studio",
    responses((status = 200, body = Shown), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn read(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let access = access(&app)?;
    let password = access.has_password().await?;
    let shown = Shown {
        guarded: access.is_guarded().await?,
        password,
        may_set_password: !password && is_local(&headers, source(peer)),
        signed_in: access.is_signed_in(&headers).await?,
    };
    let mut response = json(StatusCode::OK, &shown);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Signs in with the administrator's password. The answer's cookie is the session; it lasts twelve hours.
#[utoipa::path(post, path = "/api/studio/session", operation_id = "studioSignIn", tag = "studio",
    request_body = Password, responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn sign_in(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Password>,
) -> Result<Response, ApiError> {
    let token = access(&app)?.sign_in(&body.password, &headers, source(peer)).await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), &headers, Some(&token)))
}

/// Signs out: the session ends everywhere.
#[utoipa::path(delete, path = "/api/studio/session", operation_id = "studioSignOut", tag = "studio",
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn sign_out(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    access(&app)?.sign_out(&headers, source(peer)).await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), &headers, None))
}

/// Sets the first administrator's password, from the server's own machine, and signs in. Another one is set by
/// `saem admin password`.
#[utoipa::path(post, path = "/api/studio/password", operation_id = "studioSetPassword", tag = "studio",
    request_body = Password, responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn set_password(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Password>,
) -> Result<Response, ApiError> {
    let token = access(&app)?.set_password(&body.password, &headers, source(peer)).await?;
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), &headers, Some(&token)))
}
