//! Instants as they are stored: microseconds since 1970.

use jiff::Timestamp;

use crate::StoreError;
use crate::error::Result;

/// Now.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// A stored instant.
pub(crate) fn instant(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros)
        .map_err(|error| StoreError::Damaged { what: format!("instant {micros}"), reason: error.to_string() })
}

/// A stored instant that may be missing.
pub(crate) fn optional(micros: Option<i64>) -> Result<Option<Timestamp>> {
    micros.map(instant).transpose()
}

/// The day of an instant in UTC, as `2026-11-22`: the same on every replica, wherever it runs.
pub(crate) fn day(micros: i64) -> Result<String> {
    Ok(instant(micros)?.strftime("%Y-%m-%d").to_string())
}
