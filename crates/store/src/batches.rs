//! Batches: tables whose rows go through a prompt one after the other, for as long as it takes.
//!
//! Every row has its state here, so a server that is stopped or killed goes on where it was: what was answered is
//! answered, and what was at work is asked again. A batch that runs belongs to one server at a time. On SQLite that is
//! the one that has the file; on Postgres it is a lease, which the others may take when it is not renewed.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::{Location, Store, StoreError, clock, secret, text};

/// Batches of one organisation.
pub const MOST_BATCHES: i64 = 200;
/// How long a server may be silent before another one takes over its batches.
const LEASE: Duration = Duration::from_secs(30);
/// Rows that one statement inserts.
const AT_ONCE: usize = 100;

/// How a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Its table is here, and nobody has said what to do with it.
    Draft,
    /// Its rows are being asked, or wait to be.
    Running,
    /// Every row is done or failed.
    Done,
    /// Somebody stopped it.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl BatchState {
    const ALL: [Self; 5] = [Self::Draft, Self::Running, Self::Done, Self::Cancelled, Self::Failed];

    /// `draft`, `running`, `done`, `cancelled`, `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// 12 letters and digits.
    pub id: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// The key that it counts for; empty where none was needed.
    pub key: String,
    /// How it stands.
    pub state: BatchState,
    /// Why it failed; empty where it did not.
    pub reason: String,
    /// What is known of its table; the caller's business.
    pub about: Value,
    /// What is done with each row; the caller's business. Null for a draft.
    pub task: Value,
    /// Rows.
    pub rows: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started first.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that wait or are at work.
    pub waiting: i64,
    /// Rows that have an answer.
    pub done: i64,
    /// Rows that have an error.
    pub failed: i64,
    /// Tokens of prompts.
    pub prompt_tokens: i64,
    /// Tokens of answers.
    pub completion_tokens: i64,
}

/// A row of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchRow {
    /// Its number, from 1.
    pub number: i64,
    /// The line of the table where it begins.
    pub line: i64,
    /// What it holds.
    pub input: Value,
    /// `waiting`, `done`, `failed`.
    pub state: String,
    /// The answer.
    pub output: String,
    /// Why the answer ended.
    pub finish_reason: String,
    /// What went wrong.
    pub error: String,
    /// The label that the table says is right.
    pub gold: Option<String>,
    /// The label that was answered.
    pub answer: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: i64,
    /// Tokens of the answer.
    pub completion_tokens: i64,
}

/// What a new batch holds.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBatch {
    /// Its name.
    pub name: String,
    /// What is known of its table.
    pub about: Value,
    /// Line and content of each row.
    pub rows: Vec<(i64, Value)>,
}

impl Store {
    /// Makes a draft of a table. Drafts of more than a day ago go.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::TooMany`], and what the database reports.
    pub async fn create_batch(&self, tenant: &str, new: NewBatch, origin: &Origin) -> Result<Batch> {
        let (tenant, name) = (text::line(tenant), text::name(&new.name)?);
        let database = &self.database;
        let failed = database.failed();
        let (id, now) = (secret::new_id()?, clock::now());
        let mut write = database.write().await?;
        sqlx::query("DELETE FROM batches WHERE state = 'draft' AND created_at < $1")
            .bind(now.saturating_sub(86_400_000_000))
            .execute(&mut *write.transaction)
            .await
            .map_err(&failed)?;
        let count = "SELECT COUNT(*) AS count FROM batches WHERE tenant = $1";
        self.has_room(&mut *write.transaction, count, "batches", &tenant, MOST_BATCHES).await?;
        sqlx::query(
            "INSERT INTO batches
                (id, tenant, name, key_id, state, reason, about, task, row_count, created_at, runner, seen_at)
            VALUES ($1, $2, $3, '', 'draft', '', $4, 'null', $5, $6, '', 0)",
        )
        .bind(&id)
        .bind(&tenant)
        .bind(&name)
        .bind(new.about.to_string())
        .bind(i64::try_from(new.rows.len()).unwrap_or(i64::MAX))
        .bind(now)
        .execute(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        insert_rows(database, &mut write.transaction, &id, &new.rows).await?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "batch.create", &id)]).await?;
        database.commit(write).await?;
        self.batch(&id).await
    }

    /// The batch with this id, whosever it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn batch(&self, id: &str) -> Result<Batch> {
        read(&self.database, &self.row("SELECT * FROM batches WHERE id = $1", "batch", id).await?)
    }

    /// Batches of an organisation, the newest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batches(&self, tenant: &str) -> Result<Vec<Batch>> {
        let rows =
            self.rows("SELECT * FROM batches WHERE tenant = $1 ORDER BY created_at DESC, id DESC", tenant).await?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// How far a batch is.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batch_progress(&self, id: &str) -> Result<Progress> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS count, CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens,
                CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens
            FROM batch_rows WHERE batch = $1 GROUP BY state",
        )
        .bind(text::line(id))
        .fetch_all(&self.database.pool)
        .await
        .map_err(&failed)?;
        let mut progress = Progress::default();
        for row in &rows {
            let count = row.try_get::<i64, _>("count").map_err(&failed)?;
            match &*row.try_get::<String, _>("state").map_err(&failed)? {
                "done" => progress.done = count,
                "failed" => progress.failed = count,
                _ => progress.waiting = count,
            }
            progress.prompt_tokens += row.try_get::<i64, _>("prompt_tokens").map_err(&failed)?;
            progress.completion_tokens += row.try_get::<i64, _>("completion_tokens").map_err(&failed)?;
        }
        Ok(progress)
    }

    /// Starts a batch that does not run: with a task, or with the one that it has. Rows that failed are tried again.
    /// A draft's rows are asked `ways` times each: row `r` of the table becomes the rows from `(r - 1) * ways + 1` on,
    /// one for each way. False where it runs already.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn start_batch(
        &self,
        id: &str,
        task: Option<&Value>,
        ways: i64,
        key: &str,
        origin: &Origin,
    ) -> Result<bool> {
        let batch = self.batch(id).await?;
        let database = &self.database;
        let mut write = database.write().await?;
        let now = clock::now();
        let started = sqlx::query(
            "UPDATE batches SET state = 'running', reason = '', task = $1, key_id = $2, runner = '', seen_at = 0,
                started_at = COALESCE(started_at, $3), ended_at = NULL WHERE id = $4 AND state <> 'running'",
        )
        .bind(task.unwrap_or(&batch.task).to_string())
        .bind(key)
        .bind(now)
        .bind(&batch.id)
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        if started.rows_affected() == 0 {
            return Ok(false);
        }
        if batch.state == BatchState::Draft && ways > 1 {
            multiply_rows(database, &mut write.transaction, &batch.id, ways).await?;
        }
        sqlx::query("UPDATE batch_rows SET state = 'waiting', error = '' WHERE batch = $1 AND state = 'failed'")
            .bind(&batch.id)
            .execute(&mut *write.transaction)
            .await
            .map_err(database.failed())?;
        let entry = origin.entry(&batch.tenant, "batch.start", &batch.id);
        audit::append(database, &mut write.transaction, &[entry]).await?;
        database.commit(write).await?;
        Ok(true)
    }

    /// Ends a batch that runs. False where it does not.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn end_batch(&self, id: &str, state: BatchState, reason: &str) -> Result<bool> {
        let mut write = self.database.write().await?;
        let ended = sqlx::query(
            "UPDATE batches SET state = $1, reason = $2, ended_at = $3, runner = '' WHERE id = $4 AND state = 'running'",
        )
        .bind(state.name())
        .bind(text::line(reason))
        .bind(clock::now())
        .bind(text::line(id))
        .execute(&mut *write.transaction)
        .await
        .map_err(self.database.failed())?;
        self.database.commit(write).await?;
        Ok(ended.rows_affected() > 0)
    }

    /// Removes a batch with its rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], also where it is another organisation's, and what the database reports.
    pub async fn remove_batch(&self, tenant: &str, id: &str, origin: &Origin) -> Result<()> {
        let removal = "DELETE FROM batches WHERE id = $1 AND tenant = $2";
        self.remove(removal, "batch", "batch.remove", tenant, id, origin).await
    }

    /// Takes the batches that run and that no other server works on, for the server of this name, and says again that
    /// it works on those that it has. All that are this server's are in the answer. A server that has just begun on a
    /// SQLite file takes all: whoever had it before is gone.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn claim_batches(&self, runner: &str, first: bool) -> Result<Vec<Batch>> {
        let database = &self.database;
        let failed = database.failed();
        // Asked often and mostly in vain: only what there is to take makes a transaction that writes.
        let rows = sqlx::query("SELECT id FROM batches WHERE state = 'running' LIMIT 1")
            .fetch_all(&database.pool)
            .await
            .map_err(&failed)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let now = clock::now();
        let silent = match database.location() {
            Location::Sqlite(_) if first => i64::MAX,
            _ => now.saturating_sub(i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX)),
        };
        let mut write = database.write().await?;
        let rows = sqlx::query(
            "UPDATE batches SET runner = $1, seen_at = $2
            WHERE state = 'running' AND (runner = $1 OR runner = '' OR seen_at < $3) RETURNING *",
        )
        .bind(runner)
        .bind(now)
        .bind(silent)
        .fetch_all(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        database.commit(write).await?;
        let mut batches: Vec<Batch> = rows.iter().map(|row| read(database, row)).collect::<Result<_>>()?;
        batches.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        Ok(batches)
    }

    /// Whether a batch runs, and for the server of this name.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn is_running(&self, id: &str, runner: &str) -> Result<bool> {
        let found = sqlx::query("SELECT id FROM batches WHERE id = $1 AND state = 'running' AND runner = $2")
            .bind(id)
            .bind(runner)
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        Ok(found.is_some())
    }

    /// Rows of a batch's table, each with all the ways that it is asked, in their order: `limit` after `offset` of those
    /// of which one is in this state, or of all.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batch_rows(
        &self,
        id: &str,
        ways: i64,
        state: Option<&str>,
        offset: i64,
        limit: u32,
    ) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "SELECT * FROM batch_rows WHERE batch = $1 AND (number - 1) / $6 IN (
                SELECT DISTINCT (number - 1) / $6 FROM batch_rows WHERE batch = $1 AND (state = $2 OR $3 = 1)
                ORDER BY 1 LIMIT $4 OFFSET $5) ORDER BY number",
        )
        .bind(text::line(id))
        .bind(state.unwrap_or_default())
        .bind(i64::from(state.is_none()))
        .bind(i64::from(limit))
        .bind(offset)
        .bind(ways.max(1))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        rows.iter().map(|row| read_row(&self.database, row)).collect()
    }

    /// How many rows of a batch's table [`Store::batch_rows`] has in this state.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batch_rows_in(&self, id: &str, ways: i64, state: &str) -> Result<i64> {
        let failed = self.database.failed();
        let row = sqlx::query(
            "SELECT COUNT(DISTINCT (number - 1) / $3) AS count FROM batch_rows WHERE batch = $1 AND state = $2",
        )
        .bind(text::line(id))
        .bind(state)
        .bind(ways.max(1))
        .fetch_one(&self.database.pool)
        .await
        .map_err(&failed)?;
        row.try_get("count").map_err(failed)
    }

    /// Rows of a batch above this number, in any state or waiting, in their order.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batch_rows_after(&self, id: &str, number: i64, waiting: bool, limit: u32) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "SELECT * FROM batch_rows WHERE batch = $1 AND number > $2 AND (state = 'waiting' OR $3 = 0)
            ORDER BY number LIMIT $4",
        )
        .bind(text::line(id))
        .bind(number)
        .bind(i64::from(waiting))
        .bind(i64::from(limit))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        rows.iter().map(|row| read_row(&self.database, row)).collect()
    }

    /// Writes what became of a row that waited.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn finish_row(&self, id: &str, row: &BatchRow) -> Result<()> {
        // Postgres stores no NUL.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let mut write = self.database.write().await?;
        sqlx::query(
            "UPDATE batch_rows SET state = $1, output = $2, finish_reason = $3, error = $4, gold = $5, answer = $6,
                prompt_tokens = $7, completion_tokens = $8 WHERE batch = $9 AND number = $10 AND state = 'waiting'",
        )
        .bind(&row.state)
        .bind(clean(&row.output))
        .bind(&row.finish_reason)
        .bind(text::line(&row.error))
        .bind(row.gold.as_deref().map(clean))
        .bind(row.answer.as_deref().map(clean))
        .bind(row.prompt_tokens)
        .bind(row.completion_tokens)
        .bind(id)
        .bind(row.number)
        .execute(&mut *write.transaction)
        .await
        .map_err(self.database.failed())?;
        self.database.commit(write).await
    }

    /// How often each label was answered where each was right, over the rows that are done: the way, counted from 0, the
    /// right label, the answer, and how often.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn batch_labels(&self, id: &str, ways: i64) -> Result<Vec<(i64, String, String, i64)>> {
        let failed = self.database.failed();
        let rows = sqlx::query(
            "SELECT (number - 1) % $2 AS way, gold, COALESCE(answer, '') AS answer, COUNT(*) AS count FROM batch_rows
            WHERE batch = $1 AND state = 'done' AND gold IS NOT NULL GROUP BY 1, 2, 3",
        )
        .bind(text::line(id))
        .bind(ways.max(1))
        .fetch_all(&self.database.pool)
        .await
        .map_err(&failed)?;
        let of = |row: &AnyRow| {
            Ok((row.try_get("way")?, row.try_get("gold")?, row.try_get("answer")?, row.try_get("count")?))
        };
        rows.iter().map(of).collect::<std::result::Result<_, sqlx::Error>>().map_err(failed)
    }
}

/// Makes each row of a draft so many, one after the other.
async fn multiply_rows(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    ways: i64,
) -> Result<()> {
    // By way of negative numbers, so that none is taken twice meanwhile.
    let spread = "UPDATE batch_rows SET number = -((number - 1) * $2 + 1) WHERE batch = $1";
    let spread = sqlx::query(spread).bind(id).bind(ways).execute(&mut **transaction).await;
    spread.map_err(database.failed())?;
    for way in 1..ways {
        sqlx::query(
            "INSERT INTO batch_rows (batch, number, line, input, state, output, finish_reason, error, prompt_tokens,
                completion_tokens)
            SELECT batch, $2 - number, line, input, 'waiting', '', '', '', 0, 0 FROM batch_rows
            WHERE batch = $1 AND number < 0",
        )
        .bind(id)
        .bind(way)
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    }
    let back = sqlx::query("UPDATE batch_rows SET number = -number WHERE batch = $1 AND number < 0");
    back.bind(id).execute(&mut **transaction).await.map_err(database.failed())?;
    Ok(())
}

async fn insert_rows(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    rows: &[(i64, Value)],
) -> Result<()> {
    let mut number = 0_i64;
    for part in rows.chunks(AT_ONCE) {
        let mut sql = String::from(
            "INSERT INTO batch_rows (batch, number, line, input, state, output, finish_reason, error, prompt_tokens,
                completion_tokens) VALUES ",
        );
        for place in 0..part.len() {
            let first = 2 + 3 * place;
            let comma = if place > 0 { ", " } else { "" };
            sql += &format!("{comma}($1, ${first}, ${}, ${}, 'waiting', '', '', '', 0, 0)", first + 1, first + 2);
        }
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(id);
        for (line, input) in part {
            number += 1;
            query = query.bind(number).bind(*line).bind(input.to_string());
        }
        query.execute(&mut **transaction).await.map_err(database.failed())?;
    }
    Ok(())
}

fn read(database: &Database, row: &AnyRow) -> Result<Batch> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let optional = |column| row.try_get::<Option<i64>, _>(column).map_err(&failed);
    let id = text("id")?;
    let damaged = |reason: String| StoreError::Damaged { what: format!("batch {id}"), reason };
    let json = |text: String| serde_json::from_str(&text).map_err(|error| damaged(error.to_string()));
    let state = text("state")?;
    let known = BatchState::ALL.into_iter().find(|known| known.name() == state);
    Ok(Batch {
        tenant: text("tenant")?,
        name: text("name")?,
        key: text("key_id")?,
        state: known.ok_or_else(|| damaged(format!("its state is `{state}`")))?,
        reason: text("reason")?,
        about: json(text("about")?)?,
        task: json(text("task")?)?,
        rows: row.try_get("row_count").map_err(&failed)?,
        created_at: clock::instant(row.try_get("created_at").map_err(&failed)?)?,
        started_at: clock::optional(optional("started_at")?)?,
        ended_at: clock::optional(optional("ended_at")?)?,
        id,
    })
}

fn read_row(database: &Database, row: &AnyRow) -> Result<BatchRow> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let optional = |column| row.try_get::<Option<String>, _>(column).map_err(&failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(&failed);
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: "a row of a batch".to_owned(),
        reason: error.to_string(),
    };
    Ok(BatchRow {
        number: number("number")?,
        line: number("line")?,
        input: serde_json::from_str(&text("input")?).map_err(damaged)?,
        state: text("state")?,
        output: text("output")?,
        finish_reason: text("finish_reason")?,
        error: text("error")?,
        gold: optional("gold")?,
        answer: optional("answer")?,
        prompt_tokens: number("prompt_tokens")?,
        completion_tokens: number("completion_tokens")?,
    })
}
