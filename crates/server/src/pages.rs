//! The pages of Saem Studio: files that were built beforehand (`studio/dist`) and are part of the binary.
//!
//! Everything that a page needs comes from here, so that it works without a network, and a policy tells the browser to
//! load nothing else and to run nothing that is written into a page. Anyone may fetch them: they hold no data, and who
//! needs a key is told so by the API.
//!
//! Names are fixed, and what they stand for is told by a hash in the query (`/assets/studio.js?v=…`). A browser keeps
//! such a file for good; without the hash it asks again, and the answer is mostly that nothing changed.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::{ApiError, App};

/// What a page may load and do: its own files and this server, nothing inline, no frames, no forms that leave the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = "index.html";
/// Hexadecimal digits of a hash in an address.
const HASH_DIGITS: usize = 16;

/// A file as it is sent.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    made: OnceLock<Made>,
}

/// What is computed of a file when it is first asked for.
struct Made {
    hash: String,
    gzip: Bytes,
}

macro_rules! files {
    ($($name:literal: $kind:literal,)*) => {
        [$(File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studio/dist/", $name)),
            made: OnceLock::new(),
        },)*]
    };
}

static FILES: [File; 4] = files! {
    "index.html": "text/html; charset=utf-8",
    "studio.js": "text/javascript; charset=utf-8",
    "studio.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

impl File {
    fn named(name: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.name == name)
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let hash = digest.iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            // Memory does not fail to be written to.
            let gzip = encoder.write_all(self.bytes).and_then(|()| encoder.finish()).unwrap_or_default();
            Made { hash, gzip: gzip.into() }
        })
    }

    fn response(&self, query: &str, headers: &HeaderMap) -> Response {
        let made = self.made();
        let tag = format!("\"{}\"", made.hash);
        let is_named = query.split('&').any(|part| part.strip_prefix("v=") == Some(made.hash.as_str()));
        let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if !made.gzip.is_empty() && takes_gzip(headers) {
            let mut response = Response::new(Body::from(made.gzip.clone()));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            Response::new(Body::from(self.bytes))
        };
        let cache = if is_named { "public, max-age=31536000, immutable" } else { "no-cache" };
        let fixed: [(HeaderName, &'static str); 7] = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, cache),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
        ];
        let out = response.headers_mut();
        for (name, value) in fixed {
            out.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            out.insert(header::ETAG, tag);
        }
        response
    }
}

/// Whether the client can unpack gzip; a weight of 0 says that it cannot.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

async fn page(request: Request) -> Result<Response, ApiError> {
    send(PAGE, &request)
}

async fn asset(Path(name): Path<String>, request: Request) -> Result<Response, ApiError> {
    send(&name, &request)
}

fn send(name: &str, request: &Request) -> Result<Response, ApiError> {
    let file =
        File::named(name).ok_or_else(|| ApiError::unknown_path(request.method().as_str(), request.uri().path()))?;
    Ok(file.response(request.uri().query().unwrap_or_default(), request.headers()))
}

/// `/` and the files that it names.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/", get(page)).route("/assets/{file}", get(asset))
}

/// Whether a route is one of the pages, which anyone may fetch.
pub(crate) fn is_page(route: &str) -> bool {
    matches!(route, "/" | "/assets/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_files_that_are_here() {
        let page = std::str::from_utf8(File::named(PAGE).unwrap().bytes).unwrap();
        for name in ["studio.js", "studio.css", "icon.svg"] {
            let address = format!("\"/assets/{name}?v={}\"", File::named(name).unwrap().made().hash);
            assert!(page.contains(&address), "{address}: run scripts/check-studio --write");
        }
        assert!(!page.contains("<script>") && !page.contains(" style="), "the policy forbids what is inline");
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(takes("gzip") && takes("br, gzip;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("") && !takes_gzip(&HeaderMap::new()));
    }
}
