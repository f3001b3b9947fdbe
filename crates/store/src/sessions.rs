//! Sessions: who signed in with the administrator's password, and for how long.
//!
//! A session is a token of 256 random bits in a browser's cookie. Here only its SHA-256 is kept, as of keys, so that a
//! copy of the database opens nothing. A session ends after [`SESSION_TIME`], by signing out, or when the password
//! changes; it outlives a restart and holds on every server that shares the database.

use std::time::Duration;

use crate::audit::{self, Origin};
use crate::error::Result;
use crate::key::DEFAULT_TENANT;
use crate::{Store, clock, secret};

/// How long a session lasts: a working day.
pub const SESSION_TIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; the oldest makes room for one more.
const MOST: i64 = 100;

impl Store {
    /// Begins a session for somebody who knew the password, and says so in the audit log. The token is nowhere else.
    ///
    /// # Errors
    ///
    /// [`StoreError::Random`](crate::StoreError::Random), and what the database reports.
    pub async fn begin_session(&self, origin: &Origin) -> Result<String> {
        let token = secret::new_token()?;
        let database = &self.database;
        let now = clock::now();
        let mut write = database.write().await?;
        sqlx::query(
            "DELETE FROM sessions WHERE expires_at <= $1
            OR hash NOT IN (SELECT hash FROM sessions ORDER BY created_at DESC, hash LIMIT $2)",
        )
        .bind(now)
        .bind(MOST - 1)
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        sqlx::query("INSERT INTO sessions (hash, created_at, expires_at) VALUES ($1, $2, $3)")
            .bind(secret::hash(&token))
            .bind(now)
            .bind(now.saturating_add(i64::try_from(SESSION_TIME.as_micros()).unwrap_or(i64::MAX)))
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        let entry = origin.entry(DEFAULT_TENANT, "admin.sign_in", "session");
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(token)
    }

    /// Whether this token's session goes on.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn has_session(&self, token: &str) -> Result<bool> {
        if !secret::is_token(token) {
            return Ok(false);
        }
        let found = sqlx::query("SELECT hash FROM sessions WHERE hash = $1 AND expires_at > $2")
            .bind(secret::hash(token))
            .bind(clock::now())
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        Ok(found.is_some())
    }

    /// Ends this token's session. False where there is none.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn end_session(&self, token: &str, origin: &Origin) -> Result<bool> {
        if !self.has_session(token).await? {
            return Ok(false);
        }
        let database = &self.database;
        let mut write = database.write().await?;
        sqlx::query("DELETE FROM sessions WHERE hash = $1")
            .bind(secret::hash(token))
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        let entry = origin.entry(DEFAULT_TENANT, "admin.sign_out", "session");
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(true)
    }
}
