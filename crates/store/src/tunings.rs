//! Tunings: models that learn from datasets, one after the other.
//!
//! A tuning waits until it is its turn, runs in a process of its own, and may be stopped and gone on with. What it
//! learnt is in files; here is how it stands. One that runs belongs to one server at a time, as batches do: a server that
//! has just begun on a SQLite file takes what ran before, on Postgres a lease that was not renewed may be taken over.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::{Location, Store, StoreError, clock, text};

/// Tunings of one organisation.
pub const MOST_TUNINGS: i64 = 500;
/// How long a server may be silent before another one takes over its tuning.
const LEASE: Duration = Duration::from_secs(30);

/// How a tuning stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TuningState {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// Somebody stopped it, and it is writing down where it is.
    Stopping,
    /// Somebody stopped it.
    Stopped,
    /// It came to its end.
    Done,
    /// It could not go on.
    Failed,
}

impl TuningState {
    const ALL: [Self; 6] = [Self::Queued, Self::Running, Self::Stopping, Self::Stopped, Self::Done, Self::Failed];

    /// `queued`, `running`, `stopping`, `stopped`, `done`, `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// 12 letters and digits.
    pub id: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// The key that started it; empty where none was needed.
    pub key: String,
    /// How it stands.
    pub state: TuningState,
    /// Why it failed; empty where it did not.
    pub reason: String,
    /// What is tuned, on what and how; the caller's business.
    pub task: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started first.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// The name under which its result is served, after the base's and a colon.
    pub served_as: Option<String>,
    /// The project that was made to ask it.
    pub project: Option<String>,
}

/// What a new tuning is.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTuning {
    /// Its id, of [`Store::fresh_id`]: its folder is there before the record is.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is tuned, on what and how.
    pub task: Value,
    /// The key that it counts for.
    pub key: String,
}

impl Store {
    /// Writes down a tuning, which waits for its turn.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::TooMany`], and what the database reports.
    pub async fn create_tuning(&self, tenant: &str, new: NewTuning, origin: &Origin) -> Result<Tuning> {
        let (tenant, name) = (text::line(tenant), text::name(&new.name)?);
        let database = &self.database;
        let failed = database.failed();
        let mut write = database.write().await?;
        let count = "SELECT COUNT(*) AS count FROM tunings WHERE tenant = $1";
        self.has_room(&mut *write.transaction, count, "tunings", &tenant, MOST_TUNINGS).await?;
        sqlx::query(
            "INSERT INTO tunings
                (id, tenant, name, key_id, state, reason, task, created_at, queued_at, served_as, project, runner, seen_at)
            VALUES ($1, $2, $3, $4, 'queued', '', $5, $6, $6, '', '', '', 0)",
        )
        .bind(&new.id)
        .bind(&tenant)
        .bind(&name)
        .bind(text::line(&new.key))
        .bind(new.task.to_string())
        .bind(clock::now())
        .execute(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "tuning.create", &new.id)]).await?;
        database.commit(write).await?;
        self.tuning(&new.id).await
    }

    /// The tuning with this id, whosever it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn tuning(&self, id: &str) -> Result<Tuning> {
        read(&self.database, &self.row("SELECT * FROM tunings WHERE id = $1", "tuning", id).await?)
    }

    /// Tunings of an organisation, the newest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn tunings(&self, tenant: &str) -> Result<Vec<Tuning>> {
        let rows =
            self.rows("SELECT * FROM tunings WHERE tenant = $1 ORDER BY created_at DESC, id DESC", tenant).await?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Tunings of all organisations whose results are served, the oldest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn served_tunings(&self) -> Result<Vec<Tuning>> {
        let rows = sqlx::query("SELECT * FROM tunings WHERE served_as <> '' ORDER BY created_at, id")
            .fetch_all(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Puts a tuning that was stopped or failed into the queue again. False where it is neither.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn queue_tuning(&self, id: &str, key: &str, origin: &Origin) -> Result<bool> {
        let statement = "UPDATE tunings SET state = 'queued', reason = '', ended_at = NULL, runner = '', key_id = $1,
                queued_at = $2 WHERE id = $3 AND state IN ('stopped', 'failed')";
        self.change_tuning(statement, key, id, "tuning.start", origin).await
    }

    /// Stops a tuning: one that waits at once, one that runs as soon as it has written down where it is. False where it
    /// does neither.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn stop_tuning(&self, id: &str, origin: &Origin) -> Result<bool> {
        let statement = "UPDATE tunings SET state = CASE state WHEN 'queued' THEN 'stopped' ELSE 'stopping' END,
                reason = $1, ended_at = $2 WHERE id = $3 AND state IN ('queued', 'running')";
        self.change_tuning(statement, "", id, "tuning.stop", origin).await
    }

    /// A change of state by a statement that takes a text, the time and the id.
    async fn change_tuning(
        &self,
        statement: &'static str,
        value: &str,
        id: &str,
        event: &'static str,
        origin: &Origin,
    ) -> Result<bool> {
        let tuning = self.tuning(id).await?;
        let database = &self.database;
        let mut write = database.write().await?;
        let changed = sqlx::query(statement)
            .bind(text::line(value))
            .bind(clock::now())
            .bind(&tuning.id)
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        audit::append(database, &mut write.transaction, &[origin.entry(&tuning.tenant, event, &tuning.id)]).await?;
        database.commit(write).await?;
        Ok(true)
    }

    /// Takes the tuning that is to be worked on now, for the server of this name: one that ran and that nobody works on
    /// any more, else the one that has waited longest. None while one runs elsewhere, so that one runs at a time. A server
    /// that has just begun on a SQLite file takes what ran: whoever had it before is gone.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn claim_tuning(&self, runner: &str, first: bool) -> Result<Option<Tuning>> {
        let database = &self.database;
        let failed = database.failed();
        // Asked often and mostly in vain: only what there is to take makes a transaction that writes.
        let waiting = sqlx::query("SELECT id FROM tunings WHERE state IN ('queued', 'running', 'stopping') LIMIT 1")
            .fetch_optional(&database.pool)
            .await
            .map_err(&failed)?;
        if waiting.is_none() {
            return Ok(None);
        }
        let now = clock::now();
        let silent = match database.location() {
            Location::Sqlite(_) if first => i64::MAX,
            _ => now.saturating_sub(i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX)),
        };
        let mut write = database.write().await?;
        // Whoever was to stop it is gone, and so is its process.
        sqlx::query("UPDATE tunings SET state = 'stopped', runner = '' WHERE state = 'stopping' AND seen_at < $1")
            .bind(silent)
            .execute(&mut *write.transaction)
            .await
            .map_err(&failed)?;
        let running = sqlx::query("SELECT id, seen_at FROM tunings WHERE state IN ('running', 'stopping') LIMIT 1")
            .fetch_optional(&mut *write.transaction)
            .await
            .map_err(&failed)?;
        let id = match &running {
            Some(row) if row.try_get::<i64, _>("seen_at").map_err(&failed)? >= silent => None,
            Some(row) => Some(row.try_get::<String, _>("id").map_err(&failed)?),
            None => sqlx::query("SELECT id FROM tunings WHERE state = 'queued' ORDER BY queued_at, id LIMIT 1")
                .fetch_optional(&mut *write.transaction)
                .await
                .map_err(&failed)?
                .map(|row| row.try_get::<String, _>("id").map_err(&failed))
                .transpose()?,
        };
        let Some(id) = id else {
            database.commit(write).await?;
            return Ok(None);
        };
        let row = sqlx::query(
            "UPDATE tunings SET state = 'running', runner = $1, seen_at = $2, started_at = COALESCE(started_at, $2),
                ended_at = NULL WHERE id = $3 RETURNING *",
        )
        .bind(runner)
        .bind(now)
        .bind(&id)
        .fetch_one(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        database.commit(write).await?;
        read(database, &row).map(Some)
    }

    /// Says that the server of this name still works on a tuning; how it stands, or none where it is another server's or
    /// was removed.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn renew_tuning(&self, id: &str, runner: &str) -> Result<Option<TuningState>> {
        let database = &self.database;
        let mut write = database.write().await?;
        let row = sqlx::query("UPDATE tunings SET seen_at = $1 WHERE id = $2 AND runner = $3 RETURNING *")
            .bind(clock::now())
            .bind(id)
            .bind(runner)
            .fetch_optional(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        database.commit(write).await?;
        row.map(|row| read(database, &row).map(|tuning| tuning.state)).transpose()
    }

    /// Ends a tuning that the server of this name worked on. False where it is not this server's.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn end_tuning(&self, id: &str, runner: &str, state: TuningState, reason: &str) -> Result<bool> {
        let mut write = self.database.write().await?;
        let ended = sqlx::query(
            "UPDATE tunings SET state = $1, reason = $2, ended_at = $3, runner = '' WHERE id = $4 AND runner = $5",
        )
        .bind(state.name())
        .bind(text::line(reason))
        .bind(clock::now())
        .bind(id)
        .bind(runner)
        .execute(&mut *write.transaction)
        .await
        .map_err(self.database.failed())?;
        self.database.commit(write).await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Says under which name the result of a tuning is served, and which project asks it; none where it is no longer. False
    /// where it was served already, or was not: of two who publish at once, one does.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn serve_tuning(&self, id: &str, name: &str, project: &str, origin: &Origin) -> Result<bool> {
        let tuning = self.tuning(id).await?;
        let database = &self.database;
        let mut write = database.write().await?;
        let (event, change) = match name.is_empty() {
            true => {
                ("tuning.withdraw", "UPDATE tunings SET served_as = $1, project = $2 WHERE id = $3 AND served_as <> ''")
            }
            false => {
                ("tuning.publish", "UPDATE tunings SET served_as = $1, project = $2 WHERE id = $3 AND served_as = ''")
            }
        };
        let changed = sqlx::query(change)
            .bind(text::line(name))
            .bind(text::line(project))
            .bind(&tuning.id)
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        audit::append(database, &mut write.transaction, &[origin.entry(&tuning.tenant, event, &tuning.id)]).await?;
        database.commit(write).await?;
        Ok(true)
    }

    /// Forgets a tuning. Its files are the caller's to remove.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], also where it is another organisation's, and what the database reports.
    pub async fn remove_tuning(&self, tenant: &str, id: &str, origin: &Origin) -> Result<()> {
        let removal = "DELETE FROM tunings WHERE id = $1 AND tenant = $2";
        self.remove(removal, "tuning", "tuning.remove", tenant, id, origin).await
    }
}

fn read(database: &Database, row: &AnyRow) -> Result<Tuning> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let optional = |column| row.try_get::<Option<i64>, _>(column).map_err(&failed);
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let id = text("id")?;
    let damaged = |reason: String| StoreError::Damaged { what: format!("tuning {id}"), reason };
    let state = text("state")?;
    let known = TuningState::ALL.into_iter().find(|known| known.name() == state);
    Ok(Tuning {
        tenant: text("tenant")?,
        name: text("name")?,
        key: text("key_id")?,
        state: known.ok_or_else(|| damaged(format!("its state is `{state}`")))?,
        reason: text("reason")?,
        task: serde_json::from_str(&text("task")?).map_err(|error| damaged(error.to_string()))?,
        created_at: clock::instant(row.try_get("created_at").map_err(&failed)?)?,
        started_at: clock::optional(optional("started_at")?)?,
        ended_at: clock::optional(optional("ended_at")?)?,
        served_as: filled(text("served_as")?),
        project: filled(text("project")?),
        id,
    })
}
