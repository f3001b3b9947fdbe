//! What apps were asked and answered, where an app says that it may be kept: masked, cut, and the last ones only.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::database::Database;
use crate::error::Result;
use crate::mask::mask_personal_data;
use crate::{Store, clock, secret, text};

/// Calls of an app that are kept.
pub const CALLS_KEPT: i64 = 1_000;
/// Longest text of a call, in characters.
const LONGEST: usize = 4_000;

/// A call of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppCall {
    /// The app.
    pub app: String,
    /// The key's id; empty where no key was needed.
    pub key: String,
    /// The app's version.
    pub version: i64,
    /// What was asked; texts inside are masked and cut when it is recorded.
    pub question: Value,
    /// What was answered; as `question`.
    pub output: String,
    /// `done`, `failed`, `cancelled`.
    pub outcome: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// From the request to its end.
    pub millis: u64,
}

/// A call that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptCall {
    /// 12 letters and digits.
    pub id: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it was.
    pub call: AppCall,
}

/// A call on its way into the database.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    id: String,
    at: i64,
    call: AppCall,
}

impl Store {
    /// Keeps a call, without personal data. It returns at once; the row is written with the next batch.
    pub fn record_call(&self, mut call: AppCall) {
        // Without random bytes there is no id, and nothing else works either.
        let Ok(id) = secret::new_id() else { return };
        call.output = cleaned(&call.output);
        clean(&mut call.question);
        self.records.call(Recorded { id, at: clock::now(), call });
    }

    /// Calls of an app, the newest first, from the one after `before` on.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn app_calls(&self, app: &str, before: Option<&str>, limit: u32) -> Result<Vec<KeptCall>> {
        self.flush().await?;
        let database = &self.database;
        let failed = database.failed();
        let border = match before {
            Some(before) => sqlx::query("SELECT at, id FROM app_calls WHERE app = $1 AND id = $2")
                .bind(text::line(app))
                .bind(text::line(before))
                .fetch_optional(&database.pool)
                .await
                .map_err(&failed)?
                .map(|row| Ok((row.try_get::<i64, _>("at")?, row.try_get::<String, _>("id")?)))
                .transpose()
                .map_err(&failed)?
                // It was among the last and is not any more: so are all before it.
                .unwrap_or((i64::MIN, String::new())),
            None => (i64::MAX, "~".to_owned()),
        };
        let rows = sqlx::query(
            "SELECT * FROM app_calls WHERE app = $1 AND (at < $2 OR (at = $2 AND id < $3))
            ORDER BY at DESC, id DESC LIMIT $4",
        )
        .bind(text::line(app))
        .bind(border.0)
        .bind(border.1)
        .bind(i64::from(limit))
        .fetch_all(&database.pool)
        .await
        .map_err(&failed)?;
        rows.iter().map(|row| read(database, row)).collect()
    }

    /// Removes the calls of an app.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn remove_calls(&self, app: &str) -> Result<()> {
        self.flush().await?;
        let mut write = self.database.write().await?;
        remove(&self.database, &mut write.transaction, &text::line(app)).await?;
        self.database.commit(write).await
    }
}

/// Removes the calls of an app.
pub(crate) async fn remove(database: &Database, transaction: &mut Transaction<'static, Any>, app: &str) -> Result<()> {
    let removal = sqlx::query("DELETE FROM app_calls WHERE app = $1").bind(app);
    removal.execute(&mut **transaction).await.map_err(database.failed())?;
    Ok(())
}

/// Writes calls of apps that are still there, and removes those that are too old.
pub(crate) async fn write(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    calls: &[Recorded],
) -> Result<()> {
    let failed = database.failed();
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut apps: Vec<&str> = Vec::new();
    for Recorded { id, at, call } in calls {
        sqlx::query(
            "INSERT INTO app_calls
                (id, app, at, key_id, version, question, output, outcome, prompt_tokens, completion_tokens, millis)
            SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM apps WHERE id = $2",
        )
        .bind(id)
        .bind(text::line(&call.app))
        .bind(*at)
        .bind(text::line(&call.key))
        .bind(call.version)
        .bind(call.question.to_string())
        .bind(&call.output)
        .bind(text::line(&call.outcome))
        .bind(number(call.prompt_tokens))
        .bind(number(call.completion_tokens))
        .bind(number(call.millis))
        .execute(&mut **transaction)
        .await
        .map_err(&failed)?;
        if !apps.contains(&call.app.as_str()) {
            apps.push(&call.app);
        }
    }
    for app in apps {
        sqlx::query(
            "DELETE FROM app_calls WHERE app = $1 AND id NOT IN (
                SELECT id FROM app_calls WHERE app = $1 ORDER BY at DESC, id DESC LIMIT $2)",
        )
        .bind(app)
        .bind(CALLS_KEPT)
        .execute(&mut **transaction)
        .await
        .map_err(&failed)?;
    }
    Ok(())
}

/// Masks and cuts every text.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = cleaned(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text without personal data, of bounded length, that both databases store.
fn cleaned(text: &str) -> String {
    let masked = mask_personal_data(text);
    masked
        .chars()
        .take(LONGEST)
        .map(|letter| if letter == '\0' { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

fn read(database: &Database, row: &AnyRow) -> Result<KeptCall> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let count = |column| row.try_get::<i64, _>(column).map(|count| count.max(0) as u64).map_err(&failed);
    let id = text("id")?;
    let damaged =
        |error: serde_json::Error| crate::StoreError::Damaged { what: format!("call {id}"), reason: error.to_string() };
    Ok(KeptCall {
        at: clock::instant(row.try_get::<i64, _>("at").map_err(&failed)?)?,
        call: AppCall {
            app: text("app")?,
            key: text("key_id")?,
            version: row.try_get::<i64, _>("version").map_err(&failed)?,
            question: serde_json::from_str(&text("question")?).map_err(damaged)?,
            output: text("output")?,
            outcome: text("outcome")?,
            prompt_tokens: count("prompt_tokens")?,
            completion_tokens: count("completion_tokens")?,
            millis: count("millis")?,
        },
        id,
    })
}
