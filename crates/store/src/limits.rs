//! Requests and tokens per minute, for each line of keys.
//!
//! On Postgres the buckets are rows that are locked while they are looked at, so that replicas share them, and the
//! database's clock counts for all. On SQLite one process serves: its buckets are in memory and written with every
//! batch of records, so that a restart does not hand out a new minute. In both, more tokens than an answer may take are
//! set aside before it begins, and what it did not use is given back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Any, Row as _, Transaction};

use crate::bucket::{Bucket, parts};
use crate::database::Database;
use crate::error::Result;
use crate::key::{Key, Limits};
use crate::{Location, Store, clock};

/// Which limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
}

impl Limit {
    /// `requests` or `tokens`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// A request that was let in, until [`Store::settle`] is told what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    lineage: String,
    limits: Limits,
    tokens: u32,
    /// Requests that may follow at once; none where there is no limit.
    pub requests_left: Option<u32>,
    /// Tokens that may follow at once; none where there is no limit.
    pub tokens_left: Option<u32>,
}

/// A request that came too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The limit that it met.
    pub limit: Limit,
    /// How much that is per minute.
    pub per_minute: u32,
    /// When it would be let in if nothing else came.
    pub retry_after: Duration,
}

/// Buckets of this process, and which of them have changed since they were written.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    held: Mutex<HashMap<(String, Limit), (Bucket, bool)>>,
}

type Answer = std::result::Result<[Option<u32>; 2], Refusal>;

impl Store {
    /// Takes this many requests and tokens from the key's allowance, or nothing and tells how long to wait. `requests`
    /// is 1, or 0 for what belongs to a request that was counted already; `tokens` is the most that may be used: the
    /// prompt and the longest answer.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn admit(&self, key: &Key, requests: u32, tokens: u32) -> Result<std::result::Result<Grant, Refusal>> {
        let limits = key.made.limits;
        let wanted = wanted(limits, requests, tokens);
        let answer = if wanted.is_empty() {
            Ok([None, None])
        } else {
            match self.database.location() {
                Location::Sqlite(_) => self.admit_here(&key.lineage, &wanted).await?,
                Location::Postgres(_) => self.admit_shared(&key.lineage, &wanted).await?,
            }
        };
        Ok(answer.map(|[requests_left, tokens_left]| Grant {
            lineage: key.lineage.clone(),
            limits,
            tokens,
            requests_left,
            tokens_left,
        }))
    }

    /// Gives back the tokens that were set aside and not used, or takes those that were used beyond them.
    pub fn settle(&self, grant: Grant, used: u64) {
        let Some(per_minute) = grant.limits.tokens_per_minute else { return };
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        let more = used.saturating_sub(i64::from(grant.tokens));
        match self.database.location() {
            Location::Sqlite(_) => self.buckets.settle(grant.lineage, per_minute, more),
            Location::Postgres(_) => self.records.settle(grant.lineage, more),
        }
    }

    async fn admit_here(&self, lineage: &str, wanted: &[(Limit, u32, u32)]) -> Result<Answer> {
        if !self.buckets.knows(lineage, wanted) {
            let stored = stored(&self.database, lineage).await?;
            self.buckets.learn(lineage, wanted, &stored);
        }
        Ok(self.buckets.admit(lineage, wanted, clock::now()))
    }

    async fn admit_shared(&self, lineage: &str, wanted: &[(Limit, u32, u32)]) -> Result<Answer> {
        let database = &self.database;
        let failed = database.failed();
        let mut write = database.write().await?;
        let mut held: Vec<(Limit, Bucket)> = Vec::new();
        let mut now = 0;
        // Twice: buckets that are missing are made first.
        for attempt in 0..2 {
            let rows = sqlx::query(
                "SELECT kind, level, filled_at, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now
                FROM buckets WHERE lineage = $1 ORDER BY kind FOR UPDATE",
            )
            .bind(lineage)
            .fetch_all(&mut *write.transaction)
            .await
            .map_err(&failed)?;
            held.clear();
            for row in &rows {
                let (kind, bucket) = (
                    row.try_get::<String, _>("kind").map_err(&failed)?,
                    Bucket {
                        level: row.try_get("level").map_err(&failed)?,
                        filled_at: row.try_get("filled_at").map_err(&failed)?,
                    },
                );
                // The clock may have been read before the lock was had, and another replica have been later.
                now = now.max(row.try_get("now").map_err(&failed)?).max(bucket.filled_at);
                held.extend(limit_named(&kind).map(|limit| (limit, bucket)));
            }
            if attempt == 0 {
                let missing = |limit: Limit| !held.iter().any(|(known, _)| *known == limit);
                let made: Vec<_> = wanted.iter().filter(|(limit, ..)| missing(*limit)).collect();
                if made.is_empty() {
                    break;
                }
                for (limit, _, per_minute) in made {
                    sqlx::query(
                        "INSERT INTO buckets (lineage, kind, level, filled_at)
                        VALUES ($1, $2, $3, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))
                        ON CONFLICT (lineage, kind) DO NOTHING",
                    )
                    .bind(lineage)
                    .bind(limit.name())
                    .bind(parts(i64::from(*per_minute)))
                    .execute(&mut *write.transaction)
                    .await
                    .map_err(&failed)?;
                }
            }
        }
        let answer = take(&mut held, wanted, now);
        for (limit, bucket) in &held {
            sqlx::query("UPDATE buckets SET level = $1, filled_at = $2 WHERE lineage = $3 AND kind = $4")
                .bind(bucket.level)
                .bind(bucket.filled_at)
                .bind(lineage)
                .bind(limit.name())
                .execute(&mut *write.transaction)
                .await
                .map_err(&failed)?;
        }
        database.commit(write).await?;
        Ok(answer)
    }
}

impl Buckets {
    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Limit), (Bucket, bool)>> {
        // Nothing is left half-done by a panic elsewhere.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, lineage: &str, wanted: &[(Limit, u32, u32)]) -> bool {
        let held = self.held();
        wanted.iter().all(|(limit, ..)| held.contains_key(&(lineage.to_owned(), *limit)))
    }

    fn learn(&self, lineage: &str, wanted: &[(Limit, u32, u32)], stored: &[(Limit, Bucket)]) {
        let mut held = self.held();
        for (limit, _, per_minute) in wanted {
            let stored = stored.iter().find(|(known, _)| known == limit).map(|(_, bucket)| *bucket);
            let bucket = stored.unwrap_or_else(|| Bucket::full(*per_minute, clock::now()));
            held.entry((lineage.to_owned(), *limit)).or_insert((bucket, false));
        }
    }

    fn admit(&self, lineage: &str, wanted: &[(Limit, u32, u32)], now: i64) -> Answer {
        let mut held = self.held();
        let mut buckets: Vec<(Limit, Bucket)> = wanted
            .iter()
            .filter_map(|(limit, ..)| held.get(&(lineage.to_owned(), *limit)).map(|(bucket, _)| (*limit, *bucket)))
            .collect();
        let answer = take(&mut buckets, wanted, now);
        for (limit, bucket) in buckets {
            held.insert((lineage.to_owned(), limit), (bucket, true));
        }
        answer
    }

    fn settle(&self, lineage: String, per_minute: u32, more: i64) {
        if let Some((bucket, is_changed)) = self.held().get_mut(&(lineage, Limit::Tokens)) {
            bucket.refill(per_minute, clock::now());
            bucket.take(more);
            *is_changed = true;
        }
    }

    /// Those that have changed since they were last taken, in order.
    pub(crate) fn changed(&self) -> Vec<(String, Limit, Bucket)> {
        let mut held = self.held();
        let changed = held.iter_mut().filter(|(_, (_, is_changed))| *is_changed);
        let mut changed: Vec<_> = changed
            .map(|((lineage, limit), (bucket, is_changed))| {
                *is_changed = false;
                (lineage.clone(), *limit, *bucket)
            })
            .collect();
        changed.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        changed
    }

    /// Marks them again, after they could not be written.
    pub(crate) fn mark(&self, changed: Vec<(String, Limit, Bucket)>) {
        let mut held = self.held();
        for (lineage, limit, _) in changed {
            if let Some((_, is_changed)) = held.get_mut(&(lineage, limit)) {
                *is_changed = true;
            }
        }
    }
}

/// Writes buckets of this process.
pub(crate) async fn write_buckets(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    changed: &[(String, Limit, Bucket)],
) -> Result<()> {
    for (lineage, limit, bucket) in changed {
        sqlx::query(
            "INSERT INTO buckets (lineage, kind, level, filled_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (lineage, kind) DO UPDATE SET level = excluded.level, filled_at = excluded.filled_at",
        )
        .bind(lineage)
        .bind(limit.name())
        .bind(bucket.level)
        .bind(bucket.filled_at)
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    }
    Ok(())
}

/// Applies what requests used beyond what was set aside for them, to shared buckets. The next look caps the level.
pub(crate) async fn write_settled(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    settled: &[(String, i64)],
) -> Result<()> {
    for (lineage, more) in settled {
        sqlx::query("UPDATE buckets SET level = level - $1 WHERE lineage = $2 AND kind = $3")
            .bind(parts(*more))
            .bind(lineage)
            .bind(Limit::Tokens.name())
            .execute(&mut **transaction)
            .await
            .map_err(database.failed())?;
    }
    Ok(())
}

async fn stored(database: &Database, lineage: &str) -> Result<Vec<(Limit, Bucket)>> {
    let failed = database.failed();
    let rows = sqlx::query("SELECT kind, level, filled_at FROM buckets WHERE lineage = $1")
        .bind(lineage)
        .fetch_all(&database.pool)
        .await
        .map_err(&failed)?;
    let mut buckets = Vec::new();
    for row in &rows {
        let kind: String = row.try_get("kind").map_err(&failed)?;
        let bucket = Bucket {
            level: row.try_get("level").map_err(&failed)?,
            filled_at: row.try_get("filled_at").map_err(&failed)?,
        };
        buckets.extend(limit_named(&kind).map(|limit| (limit, bucket)));
    }
    Ok(buckets)
}

fn limit_named(name: &str) -> Option<Limit> {
    [Limit::Requests, Limit::Tokens].into_iter().find(|limit| limit.name() == name)
}

/// Limit, amount, allowance per minute of what a request takes.
fn wanted(limits: Limits, requests: u32, tokens: u32) -> Vec<(Limit, u32, u32)> {
    let requests = limits.requests_per_minute.map(|per_minute| (Limit::Requests, requests, per_minute));
    let tokens = limits.tokens_per_minute.map(|per_minute| (Limit::Tokens, tokens, per_minute));
    requests.into_iter().chain(tokens).collect()
}

/// Takes all of it or nothing. Where several limits refuse, the one that takes longest is told.
fn take(buckets: &mut [(Limit, Bucket)], wanted: &[(Limit, u32, u32)], now: i64) -> Answer {
    let of = |limit: &Limit| wanted.iter().find(|(known, ..)| known == limit).copied();
    let mut refusal: Option<Refusal> = None;
    for (limit, bucket) in buckets.iter_mut() {
        let Some((limit, amount, per_minute)) = of(limit) else { continue };
        bucket.refill(per_minute, now);
        if let Some(retry_after) = bucket.wait(amount, per_minute)
            && refusal.is_none_or(|refusal| refusal.retry_after < retry_after)
        {
            refusal = Some(Refusal { limit, per_minute, retry_after });
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let mut left = [None, None];
    for (limit, bucket) in buckets.iter_mut() {
        let Some((limit, amount, _)) = of(limit) else { continue };
        bucket.take(i64::from(amount));
        match limit {
            Limit::Requests => left[0] = Some(bucket.left()),
            Limit::Tokens => left[1] = Some(bucket.left()),
        }
    }
    Ok(left)
}
