//! The cookie of whoever signed in with the administrator's password.
//!
//! A browser sends a cookie by itself, whoever's page asks. So the cookie alone never changes anything: beside it must
//! be an `Origin`, which the border has found to be the server's own, and where the browser says who asks
//! (`Sec-Fetch-Site`), that must be the server's page or its user. It is of no use to scripts (`HttpOnly`) and is not
//! sent from elsewhere (`SameSite=Strict`). Browsers share cookies between the ports of a host; the port in the name
//! keeps two servers of one machine from taking each other's.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use saem_store::SESSION_TIME;

use crate::ApiError;

/// The name of the cookie where the server is called by this `Host`.
fn name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("saem_session_{port}")
        }
        _ => "saem_session".to_owned(),
    }
}

/// The token of the session that a request shows.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let name = name(headers);
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, token)| token)
}

/// Whether a page of this server asks, as far as the browser tells.
///
/// # Errors
/// 403 `origin_missing` where a request would change something and has no `Origin`, `origin_not_allowed` where the
/// browser says that another site asks.
pub(super) fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(ApiError::forbidden("origin_not_allowed", "Pages of other origins may not use this server"));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !reads && !headers.contains_key(header::ORIGIN) {
        let message = "With a session the header Origin is needed; programs send a key instead";
        return Err(ApiError::forbidden("origin_missing", message));
    }
    Ok(())
}

/// The header that keeps a token in the browser; without a token, the one that takes it away.
pub(crate) fn set(headers: &HeaderMap, token: Option<&str>) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    // Behind a proxy that encrypts; the server itself does not.
    let secure = if origin.starts_with("https://") { "; Secure" } else { "" };
    let seconds = token.map_or(0, |_| SESSION_TIME.as_secs());
    let (name, token) = (name(headers), token.unwrap_or_default());
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_token_is_found_among_cookies_and_only_that_of_the_port() {
        let cookies = "theme=dark; saem_session_8080=abc ;saem_session=xyz; saem_session_80801=no";
        for (host, token) in [
            ("localhost:8080", Some("abc")),
            ("[::1]:8080", Some("abc")),
            ("localhost", Some("xyz")),
            ("[::1]", Some("xyz")),
            ("127.0.0.1:1", None),
        ] {
            assert_eq!(super::token(&headers(&[("host", host), ("cookie", cookies)])), token, "{host}");
        }
        assert_eq!(super::token(&headers(&[("host", "localhost")])), None);
    }

    #[test]
    fn what_changes_something_needs_an_origin_and_no_other_site_may_ask() {
        let allowed =
            |method: Method, pairs: &[(&'static str, &'static str)]| check_origin(&method, &headers(pairs)).is_ok();
        assert!(allowed(Method::GET, &[]) && allowed(Method::HEAD, &[("sec-fetch-site", "none")]));
        assert!(allowed(Method::POST, &[("origin", "http://localhost")]));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            assert!(!allowed(method, &[("sec-fetch-site", "same-origin")]));
        }
        for site in ["same-site", "cross-site"] {
            assert!(!allowed(Method::GET, &[("sec-fetch-site", site)]));
        }
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_from_other_sites() {
        let set = |pairs, token| set(&headers(pairs), token).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            set(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")], Some("abc")),
            "saem_session_8080=abc; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"
        );
        assert_eq!(
            set(&[("host", "saem.office"), ("origin", "https://saem.office")], None),
            "saem_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"
        );
    }
}
