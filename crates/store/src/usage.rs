//! Who used how much: sums per day, organisation, key, app and model.

use std::ops::AddAssign;

use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::database::Database;
use crate::error::Result;
use crate::{Store, clock};

/// What sums are kept for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsedBy {
    /// The organisation.
    pub tenant: String,
    /// The key's id; empty where no key was needed.
    pub key: String,
    /// The app's id; empty outside of apps.
    pub app: String,
    /// The model.
    pub model: String,
}

/// How much was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Tokens of prompts, those from the cache included.
    pub prompt_tokens: u64,
    /// Tokens of prompts that the prefix cache had.
    pub cached_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
    }
}

/// A day's sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The day in UTC: `2026-11-22`.
    pub day: String,
    /// Whose it is.
    pub by: UsedBy,
    /// How much it is.
    pub used: Used,
}

impl Store {
    /// Counts a request. It returns at once; the sum is written with the next batch, at the latest by
    /// [`Store::close`].
    pub fn record_usage(&self, by: UsedBy, used: Used) {
        self.records.usage(by, used, clock::now());
    }

    /// The sums of the days from this one on (`2026-11-22`, UTC), by day, organisation, key, app and model.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn usage(&self, since: &str) -> Result<Vec<Usage>> {
        let rows = sqlx::query("SELECT * FROM usage WHERE day >= $1 ORDER BY day, tenant, key_id, app, model")
            .bind(since)
            .fetch_all(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }
}

/// What an app used on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppDay {
    /// The day in UTC: `2026-11-22`.
    pub day: String,
    /// How much it is.
    pub used: Used,
}

impl Store {
    /// What an app used on each of the last `days` days on which it was used, oldest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn usage_of_app(&self, app: &str, days: u32) -> Result<Vec<AppDay>> {
        self.flush().await?;
        let since = clock::day(clock::now().saturating_sub(i64::from(days.saturating_sub(1)) * 86_400_000_000))?;
        let rows = sqlx::query(
            "SELECT day, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(prompt_tokens) AS BIGINT) AS prompt_tokens,
                CAST(SUM(cached_tokens) AS BIGINT) AS cached_tokens,
                CAST(SUM(completion_tokens) AS BIGINT) AS completion_tokens
            FROM usage WHERE app = $1 AND day >= $2 GROUP BY day ORDER BY day",
        )
        .bind(app)
        .bind(since)
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        let day = |row: &AnyRow| {
            let failed = self.database.failed();
            Ok(AppDay { day: row.try_get("day").map_err(&failed)?, used: counted(&self.database, row)? })
        };
        rows.iter().map(day).collect()
    }
}

/// Adds sums to those of the database.
pub(crate) async fn write(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    sums: &[((String, UsedBy), Used)],
) -> Result<()> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for ((day, by), used) in sums {
        sqlx::query(
            "INSERT INTO usage (day, tenant, key_id, app, model, requests, prompt_tokens, cached_tokens, completion_tokens)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (day, tenant, key_id, app, model) DO UPDATE SET
                requests = usage.requests + excluded.requests,
                prompt_tokens = usage.prompt_tokens + excluded.prompt_tokens,
                cached_tokens = usage.cached_tokens + excluded.cached_tokens,
                completion_tokens = usage.completion_tokens + excluded.completion_tokens",
        )
        .bind(day)
        .bind(&by.tenant)
        .bind(&by.key)
        .bind(&by.app)
        .bind(&by.model)
        .bind(number(used.requests))
        .bind(number(used.prompt_tokens))
        .bind(number(used.cached_tokens))
        .bind(number(used.completion_tokens))
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    }
    Ok(())
}

fn read(database: &Database, row: &AnyRow) -> Result<Usage> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    Ok(Usage {
        day: text("day")?,
        by: UsedBy { tenant: text("tenant")?, key: text("key_id")?, app: text("app")?, model: text("model")? },
        used: counted(database, row)?,
    })
}

fn counted(database: &Database, row: &AnyRow) -> Result<Used> {
    let count = |column| {
        let count = row.try_get::<i64, _>(column).map(|count| count.max(0) as u64);
        count.map_err(database.failed())
    };
    Ok(Used {
        requests: count("requests")?,
        prompt_tokens: count("prompt_tokens")?,
        cached_tokens: count("cached_tokens")?,
        completion_tokens: count("completion_tokens")?,
    })
}
