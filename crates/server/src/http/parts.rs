//! What paths and queries say, with errors that name the field.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{ApiError, App};

/// The fields of a query. Types deny unknown fields, as bodies do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(fields)| Self(fields)).map_err(|error| {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let quoted = |prefix: &str| {
                let rest = reason.split(prefix).nth(1)?;
                Some(rest.split('`').next().unwrap_or_default().to_owned())
            };
            match quoted("unknown field `") {
                Some(field) => {
                    let message = format!("Unknown or unsupported parameter: `{field}`");
                    ApiError::invalid("unknown_parameter", field, message)
                }
                None => {
                    let field = reason.split(':').next().filter(|field| !field.contains(' ')).unwrap_or_default();
                    ApiError::invalid_value(field, format!("The query is wrong: {reason}"))
                }
            }
        })
    }
}

/// The `id` of a path.
#[derive(Clone, Debug)]
pub(crate) struct PathId(pub(crate) String);

/// The `id` and the `version` of a path.
#[derive(Clone, Debug)]
pub(crate) struct PathVersion(pub(crate) String, pub(crate) i64);

impl FromRequestParts<App> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        param(parts, app, "id").await.map(Self)
    }
}

impl FromRequestParts<App> for PathVersion {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let version = param(parts, app, "version").await?;
        let number = version.parse().map_err(|_| ApiError::not_found("version", &version))?;
        Ok(Self(param(parts, app, "id").await?, number))
    }
}

async fn param(parts: &mut Parts, app: &App, name: &str) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::not_found(name, ""))?;
    let found = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| ApiError::not_found(name, ""))
}
