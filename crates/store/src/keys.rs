//! Keys in the database: made, presented, rotated, revoked.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::key::{Denied, Issued, Key, Limits, NewKey, Scope, State};
use crate::{App, Store, StoreError, clock, secret, text};

/// The scopes of a key that opens an app and nothing else, as they are stored.
const APP_ONLY: &str = "app";

impl Store {
    /// Makes a key. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] for a name that is empty, no scope, a limit of nothing or an end in the past,
    /// [`StoreError::NotFound`] for an app of its own that does not exist, and what the database reports.
    pub async fn create_key(&self, new: NewKey, origin: &Origin) -> Result<Issued> {
        let new = checked(new)?;
        let database = &self.database;
        let mut write = database.write().await?;
        if let Some(app) = &new.app {
            let found = sqlx::query("SELECT id FROM apps WHERE id = $1 AND tenant = $2")
                .bind(app)
                .bind(&new.tenant)
                .fetch_optional(&mut *write.transaction)
                .await
                .map_err(database.failed())?;
            if found.is_none() {
                return Err(StoreError::NotFound { kind: "app", id: app.clone() });
            }
        }
        let id = secret::new_id()?;
        let issued = insert(database, &mut write.transaction, id.clone(), id, new).await?;
        let entry = origin.entry(&issued.key.made.tenant, "key.create", &issued.key.id);
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(issued)
    }

    /// The key that a presented text is, if it may be used now. Also notes that it was used.
    ///
    /// Unknown ids and wrong secrets take the same steps, and the comparison does not tell where they differ.
    ///
    /// # Errors
    ///
    /// What the database reports. That a text is not let in is an answer, not an error.
    pub async fn authenticate(&self, presented: &str) -> Result<std::result::Result<Key, Denied>> {
        let Some(id) = secret::id_of(presented) else { return Ok(Err(Denied::Unknown)) };
        let row = find(&self.database, id).await?;
        let stored = match &row {
            Some(row) => row.try_get::<String, _>("hash").map_err(self.database.failed())?,
            None => secret::hash(""),
        };
        let is_equal = secret::equal(&secret::hash(presented), &stored);
        let (Some(row), true) = (row, is_equal) else { return Ok(Err(Denied::Unknown)) };
        let key = read(&self.database, &row)?;
        let now = Timestamp::now();
        match key.state(now) {
            State::Revoked => Ok(Err(Denied::Revoked)),
            State::Expired => Ok(Err(Denied::Expired)),
            State::Active | State::Replaced => {
                self.records.used(&key.id, now.as_microsecond());
                Ok(Ok(key))
            }
        }
    }

    /// Every key, oldest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn keys(&self) -> Result<Vec<Key>> {
        let rows = sqlx::query("SELECT * FROM keys ORDER BY created_at, id")
            .fetch_all(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// The key with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn key(&self, id: &str) -> Result<Key> {
        match find(&self.database, id).await? {
            Some(row) => read(&self.database, &row),
            None => Err(StoreError::NotFound { kind: "key", id: text::line(id) }),
        }
    }

    /// Whether some key can be used now: what a server needs before it listens to other machines. Keys that open an app
    /// and nothing else do not count.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn has_usable_key(&self) -> Result<bool> {
        let found = sqlx::query(
            "SELECT id FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)
                AND scopes <> $2 LIMIT 1",
        )
        .bind(clock::now())
        .bind(APP_ONLY)
        .fetch_optional(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        Ok(found.is_some())
    }

    /// Whether more than one key can be used now. Keys that were rotated from each other count once.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn has_several_usable_keys(&self) -> Result<bool> {
        let lines = sqlx::query(
            "SELECT DISTINCT lineage FROM keys
            WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) LIMIT 2",
        )
        .bind(clock::now())
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        Ok(lines.len() > 1)
    }

    /// Whether a key was ever made, usable or not: from then on requests need one. Keys that open an app and nothing
    /// else do not count: whoever publishes an app on their own machine does not lock themselves out.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn has_any_key(&self) -> Result<bool> {
        let found = sqlx::query("SELECT id FROM keys WHERE scopes <> $1 LIMIT 1")
            .bind(APP_ONLY)
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        Ok(found.is_some())
    }

    /// Whether requests must show who they are from: there is a key, as [`Store::has_any_key`] counts, or an
    /// administrator's password.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn is_guarded(&self) -> Result<bool> {
        Ok(self.has_any_key().await? || self.has_admin_password().await?)
    }

    /// Keys of an app that work, newest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn keys_of_app(&self, app: &str) -> Result<Vec<Key>> {
        let rows = sqlx::query(
            "SELECT * FROM keys WHERE app = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
            ORDER BY created_at DESC, id",
        )
        .bind(text::line(app))
        .bind(clock::now())
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Gives all keys of an app these limits.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn limit_keys_of_app(&self, app: &App, limits: Limits, origin: &Origin) -> Result<()> {
        let database = &self.database;
        let mut write = database.write().await?;
        sqlx::query("UPDATE keys SET requests_per_minute = $1, tokens_per_minute = $2 WHERE app = $3")
            .bind(limits.requests_per_minute.map(i64::from))
            .bind(limits.tokens_per_minute.map(i64::from))
            .bind(&app.id)
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        let entry = origin.entry(&app.tenant, "app.limit", &app.id);
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await
    }

    /// Lets all keys of an app but this one end after `overlap`, where they do not end before.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn end_other_keys_of_app(&self, app: &App, keep: &str, overlap: Duration, origin: &Origin) -> Result<()> {
        let database = &self.database;
        let end = clock::now().saturating_add(i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX));
        let mut write = database.write().await?;
        sqlx::query(
            "UPDATE keys SET expires_at = $1, replaced_by = $2 WHERE app = $3 AND id <> $2 AND revoked_at IS NULL
                AND (expires_at IS NULL OR expires_at > $1)",
        )
        .bind(end)
        .bind(keep)
        .bind(&app.id)
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        let entry = origin.entry(&app.tenant, "app.keys", &format!("{} -> {keep}", app.id));
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await
    }

    /// Ends a key for good, from the next request on. Revoking it again changes nothing and is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn revoke_key(&self, id: &str, origin: &Origin) -> Result<Key> {
        let database = &self.database;
        let id = &text::line(id);
        let mut write = database.write().await?;
        let revoked = sqlx::query("UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
            .bind(clock::now())
            .bind(id)
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        let key = in_transaction(database, &mut write.transaction, id).await?;
        if revoked.rows_affected() > 0 {
            let entry = origin.entry(&key.made.tenant, "key.revoke", id);
            audit::append(database, &mut write.transaction, &[entry]).await?;
        }
        database.commit(write).await?;
        Ok(key)
    }

    /// Makes a key like this one, which itself goes on working for `overlap`, so that its holders can change over.
    /// Both draw on the same limits.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyInactive`] where it does not work any more or was replaced before (of two rotations at once,
    /// one wins), [`StoreError::NotFound`], and what the database reports.
    pub async fn rotate_key(&self, id: &str, overlap: Duration, origin: &Origin) -> Result<Issued> {
        let database = &self.database;
        let id = &text::line(id);
        let now = clock::now();
        let overlap = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let end = now.saturating_add(overlap);
        let successor = secret::new_id()?;
        let mut write = database.write().await?;
        // The condition is the lock: a second rotation finds `replaced_by` set.
        let replaced = sqlx::query(
            "UPDATE keys SET replaced_by = $1,
                expires_at = CASE WHEN expires_at IS NULL OR expires_at > $2 THEN $2 ELSE expires_at END
            WHERE id = $3 AND revoked_at IS NULL AND replaced_by IS NULL AND (expires_at IS NULL OR expires_at > $4)",
        )
        .bind(&successor)
        .bind(end)
        .bind(id)
        .bind(now)
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        let old = in_transaction(database, &mut write.transaction, id).await?;
        if replaced.rows_affected() == 0 {
            return Err(StoreError::KeyInactive { id: id.clone() });
        }
        // The successor's own end is not the predecessor's: whoever rotates wants a key that lasts.
        let new = NewKey { expires_at: None, ..old.made };
        let issued = insert(database, &mut write.transaction, successor, old.lineage, new).await?;
        let entry = origin.entry(&issued.key.made.tenant, "key.rotate", &format!("{id} -> {}", issued.key.id));
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(issued)
    }
}

/// Writes when keys were last used.
pub(crate) async fn write_used(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    used: &[(String, i64)],
) -> Result<()> {
    for (id, at) in used {
        // Replicas write in any order; the latest instant stays.
        sqlx::query("UPDATE keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)")
            .bind(*at)
            .bind(id)
            .execute(&mut **transaction)
            .await
            .map_err(database.failed())?;
    }
    Ok(())
}

/// Revokes every key that belongs to an app.
pub(crate) async fn revoke_of_app(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    app: &str,
) -> Result<()> {
    sqlx::query("UPDATE keys SET revoked_at = $1 WHERE app = $2 AND revoked_at IS NULL")
        .bind(clock::now())
        .bind(app)
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    Ok(())
}

/// A new key's values, held to their ranges.
fn checked(mut new: NewKey) -> Result<NewKey> {
    let invalid = |field, expected| Err(StoreError::Invalid { field, expected });
    new.name = text::line(new.name.trim());
    new.tenant = text::line(new.tenant.trim());
    new.scopes.sort_unstable();
    new.scopes.dedup();
    if new.name.is_empty() {
        return invalid("name", "at least one character");
    }
    if new.tenant.is_empty() {
        return invalid("tenant", "at least one character");
    }
    if new.scopes.is_empty() {
        return invalid("scopes", "at least one of infer, embed, tune, admin");
    }
    if new.limits.requests_per_minute == Some(0) || new.limits.tokens_per_minute == Some(0) {
        return invalid("limits", "at least 1 per minute");
    }
    if new.expires_at.is_some_and(|end| end <= Timestamp::now()) {
        return invalid("expires_at", "an instant in the future");
    }
    let is_line = |text: &String| !text.is_empty() && *text == text::line(text);
    if !new.models.iter().chain(&new.apps).all(is_line) {
        return invalid("models, apps", "names of up to 256 bytes without control characters");
    }
    Ok(new)
}

async fn insert(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: String,
    lineage: String,
    mut new: NewKey,
) -> Result<Issued> {
    let text = secret::new_key(&id)?;
    let created_at = clock::now();
    // What is answered is what will be read: instants have microseconds here.
    new.expires_at = clock::optional(new.expires_at.map(Timestamp::as_microsecond))?;
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.name()).collect();
    sqlx::query(
        "INSERT INTO keys (id, hash, lineage, tenant, name, app, scopes, models, apps, requests_per_minute,
            tokens_per_minute, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(&id)
    .bind(secret::hash(&text))
    .bind(&lineage)
    .bind(&new.tenant)
    .bind(&new.name)
    .bind(new.app.clone())
    .bind(scopes.join(","))
    .bind(list(&new.models))
    .bind(list(&new.apps))
    .bind(new.limits.requests_per_minute.map(i64::from))
    .bind(new.limits.tokens_per_minute.map(i64::from))
    .bind(created_at)
    .bind(new.expires_at.map(Timestamp::as_microsecond))
    .execute(&mut **transaction)
    .await
    .map_err(database.failed())?;
    let key = Key {
        id,
        lineage,
        made: new,
        created_at: clock::instant(created_at)?,
        revoked_at: None,
        last_used_at: None,
        replaced_by: None,
    };
    Ok(Issued { key, text })
}

async fn find(database: &Database, id: &str) -> Result<Option<AnyRow>> {
    sqlx::query("SELECT * FROM keys WHERE id = $1")
        .bind(text::line(id))
        .fetch_optional(&database.pool)
        .await
        .map_err(database.failed())
}

async fn in_transaction(database: &Database, transaction: &mut Transaction<'static, Any>, id: &str) -> Result<Key> {
    let row = sqlx::query("SELECT * FROM keys WHERE id = $1")
        .bind(text::line(id))
        .fetch_optional(&mut **transaction)
        .await
        .map_err(database.failed())?;
    match row {
        Some(row) => read(database, &row),
        None => Err(StoreError::NotFound { kind: "key", id: text::line(id) }),
    }
}

fn read(database: &Database, row: &AnyRow) -> Result<Key> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let optional_text = |column| row.try_get::<Option<String>, _>(column).map_err(&failed);
    let number = |column| row.try_get::<Option<i64>, _>(column).map_err(&failed);
    let id = text("id")?;
    let damaged = |reason: String| StoreError::Damaged { what: format!("key {id}"), reason };
    let limit = |column| -> Result<Option<u32>> {
        number(column)?.map(|limit| u32::try_from(limit).map_err(|error| damaged(error.to_string()))).transpose()
    };
    let names = |column| -> Result<Vec<String>> {
        serde_json::from_str(&text(column)?).map_err(|error| damaged(error.to_string()))
    };
    let made = NewKey {
        name: text("name")?,
        tenant: text("tenant")?,
        app: optional_text("app")?,
        scopes: text("scopes")?.split(',').map(str::parse).collect::<Result<Vec<Scope>>>()?,
        models: names("models")?,
        apps: names("apps")?,
        limits: Limits {
            requests_per_minute: limit("requests_per_minute")?,
            tokens_per_minute: limit("tokens_per_minute")?,
        },
        expires_at: clock::optional(number("expires_at")?)?,
    };
    Ok(Key {
        lineage: text("lineage")?,
        made,
        created_at: clock::instant(number("created_at")?.unwrap_or_default())?,
        revoked_at: clock::optional(number("revoked_at")?)?,
        last_used_at: clock::optional(number("last_used_at")?)?,
        replaced_by: optional_text("replaced_by")?,
        id,
    })
}

/// Names as a JSON array.
pub(crate) fn list(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}
