//! The administrator's password.
//!
//! A password has few bits, so its hash is made slow and large: argon2id with 19 MiB and two passes, the parameters
//! that OWASP recommends. It is normalised first, since one system composes Hangul where another takes it apart.

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use sqlx::Row as _;
use unicode_normalization::UnicodeNormalization as _;

use crate::audit::{self, Origin};
use crate::error::Result;
use crate::key::DEFAULT_TENANT;
use crate::{Store, StoreError, clock};

/// Fewest letters of a password.
pub const SHORTEST_PASSWORD: usize = 10;
/// Longest password in bytes: hashing one must not become work for free.
const LONGEST: usize = 1024;
const NAME: &str = "admin";

impl Store {
    /// Sets the administrator's password. Whoever was signed in is not any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] where it has fewer than [`SHORTEST_PASSWORD`] letters or more than 1024 bytes, and what
    /// the database reports.
    pub async fn set_admin_password(&self, password: &str, origin: &Origin) -> Result<()> {
        self.write_admin_password(password, true, origin).await.map(drop)
    }

    /// Sets the administrator's password where there is none. False where there is one: it stays.
    ///
    /// # Errors
    ///
    /// As [`Store::set_admin_password`].
    pub async fn set_first_admin_password(&self, password: &str, origin: &Origin) -> Result<bool> {
        self.write_admin_password(password, false, origin).await
    }

    async fn write_admin_password(&self, password: &str, replaces: bool, origin: &Origin) -> Result<bool> {
        let password = normalised(password);
        if password.chars().count() < SHORTEST_PASSWORD || password.len() > LONGEST {
            return Err(StoreError::Invalid { field: "password", expected: "10 letters or more, 1024 bytes at most" });
        }
        let hash = apart(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|error| StoreError::Password { reason: error.to_string() })?;
        let database = &self.database;
        let mut write = database.write().await?;
        let written = sqlx::query(
            "INSERT INTO secrets (name, hash, changed_at) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at WHERE $4 = 1",
        )
        .bind(NAME)
        .bind(hash)
        .bind(clock::now())
        .bind(i64::from(replaces))
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        if written.rows_affected() == 0 {
            return Ok(false);
        }
        let ended = sqlx::query("DELETE FROM sessions").execute(&mut *write.transaction).await;
        ended.map_err(database.failed())?;
        let entry = origin.entry(DEFAULT_TENANT, "admin.password", NAME);
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(true)
    }

    /// Whether this is the administrator's password. Takes as long where none is set.
    ///
    /// # Errors
    ///
    /// [`StoreError::Password`] where the stored hash is damaged, and what the database reports.
    pub async fn verify_admin_password(&self, password: &str) -> Result<bool> {
        let stored = self.admin_hash().await?;
        let password = normalised(password);
        if password.len() > LONGEST {
            return Ok(false);
        }
        apart(move || match stored {
            Some(hash) => match Argon2::default().verify_password(password.as_bytes(), hash.as_str()) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(StoreError::Password { reason: error.to_string() }),
            },
            None => {
                let hashed = Argon2::default().hash_password(password.as_bytes());
                hashed.map(|_| false).map_err(|error| StoreError::Password { reason: error.to_string() })
            }
        })
        .await?
    }

    /// Whether there is an administrator's password.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn has_admin_password(&self) -> Result<bool> {
        Ok(self.admin_hash().await?.is_some())
    }

    async fn admin_hash(&self) -> Result<Option<String>> {
        let row = sqlx::query("SELECT hash FROM secrets WHERE name = $1")
            .bind(NAME)
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        row.map(|row| row.try_get("hash").map_err(self.database.failed())).transpose()
    }
}

/// The one spelling of a password that is typed as composed or as decomposed letters.
fn normalised(password: &str) -> String {
    // More than is ever hashed needs no normalising.
    if password.len() > 4 * LONGEST { password.to_owned() } else { password.nfc().collect() }
}

/// Runs some 20 milliseconds of hashing where it keeps no request waiting.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Password { reason: error.to_string() })
}
