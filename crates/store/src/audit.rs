//! The audit log: rows that are only ever added, each bound to the one before it.
//!
//! A row's hash is the SHA-256 of the previous row's hash and of its own fields. Whoever changes, removes, inserts or
//! reorders rows breaks the chain at a row that [`Store::verify_audit`] names. The end of the chain is kept in a row of
//! its own, so that rows cut off the end are missed too. Triggers refuse updates and deletions outright; the chain is
//! for those who can drop triggers. Whoever can rewrite the whole table and its end can make a new chain: to notice
//! that as well, note the hash that `verify` reports somewhere else.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::database::Database;
use crate::error::Result;
use crate::key::DEFAULT_TENANT;
use crate::{Store, clock, secret, text};

/// Rows that are read at once while verifying.
const PAGE: i64 = 1000;

/// Who acts, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `key:<id>`, `admin`, `cli:<user>`, `anonymous`.
    pub who: String,
    /// An address, or `local`.
    pub source: String,
}

impl Origin {
    /// An origin.
    #[must_use]
    pub fn new(who: impl Into<String>, source: impl Into<String>) -> Self {
        Self { who: who.into(), source: source.into() }
    }

    /// A successful action of this origin, now.
    #[must_use]
    pub fn entry(&self, tenant: &str, action: &str, subject: &str) -> Entry {
        Entry {
            at: Timestamp::now(),
            tenant: tenant.to_owned(),
            who: self.who.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            source: self.source.clone(),
            result: "ok".to_owned(),
        }
    }
}

/// What happened. Texts are stored as one line of at most 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Whose it is: an organisation.
    pub tenant: String,
    /// Who did it.
    pub who: String,
    /// What was done: `key.create`, `chat.completions`.
    pub action: String,
    /// What it was done to: a key, an app, a model.
    pub subject: String,
    /// From where.
    pub source: String,
    /// What came of it: `ok`, or a stable code such as `429 rate_limit_exceeded`.
    pub result: String,
}

impl Entry {
    /// The same with another result.
    #[must_use]
    pub fn with_result(self, result: impl Into<String>) -> Self {
        Self { result: result.into(), ..self }
    }

    fn cleaned(&self) -> Self {
        Self {
            at: self.at,
            tenant: if self.tenant.is_empty() { DEFAULT_TENANT.to_owned() } else { text::line(&self.tenant) },
            who: text::line(&self.who),
            action: text::line(&self.action),
            subject: text::line(&self.subject),
            source: text::line(&self.source),
            result: text::line(&self.result),
        }
    }
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its number, from 1 without a gap.
    pub sequence: i64,
    /// What happened.
    pub entry: Entry,
    /// The hash that binds it to the row before.
    pub hash: String,
}

/// What [`Store::verify_audit`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Every row follows from the one before, and the last is the end of the chain.
    Intact {
        /// How many rows there are.
        rows: i64,
        /// The hash of the last one; empty where there is none.
        hash: String,
    },
    /// The chain is broken.
    Broken {
        /// The number of the first row that is wrong.
        sequence: i64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its fields, its hash or the hash before it were changed.
    Altered,
    /// It is not there, although a later row or the end of the chain says so.
    Missing,
    /// It is the last row, but the end of the chain names another hash.
    WrongEnd,
    /// It comes after the end of the chain.
    AfterEnd,
}

impl Store {
    /// Adds rows; once this returns they survive the end of the process.
    ///
    /// # Errors
    ///
    /// What the database reports; then none of the rows was added.
    pub async fn append_audit(&self, entries: &[Entry]) -> Result<()> {
        let mut write = self.database.write().await?;
        append(&self.database, &mut write.transaction, entries).await?;
        self.database.commit(write).await
    }

    /// The last rows, newest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn audit(&self, rows: u32) -> Result<Vec<Logged>> {
        let rows = sqlx::query("SELECT * FROM audit ORDER BY sequence DESC LIMIT $1")
            .bind(i64::from(rows))
            .fetch_all(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Follows the chain from its first row to its end. Rows that are added meanwhile are not looked at.
    ///
    /// # Errors
    ///
    /// What the database reports. A broken chain is an answer, not an error.
    pub async fn verify_audit(&self) -> Result<Verification> {
        let database = &self.database;
        // The end first: rows up to it are committed and do not change, whatever is added meanwhile.
        let head = sqlx::query("SELECT sequence, hash FROM audit_head WHERE id = 1")
            .fetch_optional(&database.pool)
            .await
            .map_err(database.failed())?;
        let Some(head) = head else {
            return Ok(Verification::Broken { sequence: 1, fault: Fault::WrongEnd });
        };
        let end: i64 = head.try_get("sequence").map_err(database.failed())?;
        let end_hash: String = head.try_get("hash").map_err(database.failed())?;
        let (mut sequence, mut hash) = (0, String::new());
        loop {
            let rows =
                sqlx::query("SELECT * FROM audit WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3")
                    .bind(sequence)
                    .bind(end)
                    .bind(PAGE)
                    .fetch_all(&database.pool)
                    .await
                    .map_err(database.failed())?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let number: i64 = row.try_get("sequence").map_err(database.failed())?;
                if number != sequence + 1 {
                    return Ok(Verification::Broken { sequence: sequence + 1, fault: Fault::Missing });
                }
                // A row that cannot be read, such as one with an impossible instant, was altered.
                match read(database, row) {
                    Ok(logged) if secret::equal(&link(&hash, number, &logged.entry), &logged.hash) => {
                        (sequence, hash) = (number, logged.hash);
                    }
                    _ => return Ok(Verification::Broken { sequence: number, fault: Fault::Altered }),
                }
            }
        }
        if sequence < end {
            return Ok(Verification::Broken { sequence: sequence + 1, fault: Fault::Missing });
        }
        if !secret::equal(&hash, &end_hash) {
            return Ok(Verification::Broken { sequence: end, fault: Fault::WrongEnd });
        }
        // Rows beyond an end that was set back. Writers hold the end's row until they commit, so asking both at once
        // in one statement sees no row without its end.
        let beyond = sqlx::query(
            "SELECT MIN(audit.sequence) AS sequence FROM audit
            WHERE audit.sequence > (SELECT sequence FROM audit_head WHERE id = 1)",
        )
        .fetch_one(&database.pool)
        .await
        .map_err(database.failed())?;
        match beyond.try_get::<Option<i64>, _>("sequence").map_err(database.failed())? {
            Some(sequence) => Ok(Verification::Broken { sequence, fault: Fault::AfterEnd }),
            None => Ok(Verification::Intact { rows: end, hash }),
        }
    }
}

/// Adds rows within a transaction. Taking the end of the chain puts writers of all processes in order.
pub(crate) async fn append(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    entries: &[Entry],
) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let failed = database.failed();
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let head = sqlx::query("UPDATE audit_head SET sequence = sequence + $1 WHERE id = 1 RETURNING sequence, hash")
        .bind(count)
        .fetch_one(&mut **transaction)
        .await
        .map_err(&failed)?;
    let end: i64 = head.try_get("sequence").map_err(&failed)?;
    let mut hash: String = head.try_get("hash").map_err(&failed)?;
    for (sequence, entry) in (end - count + 1..).zip(entries) {
        let entry = entry.cleaned();
        hash = link(&hash, sequence, &entry);
        sqlx::query(
            "INSERT INTO audit (sequence, at, tenant, who, action, subject, source, result, hash)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(sequence)
        .bind(entry.at.as_microsecond())
        .bind(entry.tenant)
        .bind(entry.who)
        .bind(entry.action)
        .bind(entry.subject)
        .bind(entry.source)
        .bind(entry.result)
        .bind(hash.clone())
        .execute(&mut **transaction)
        .await
        .map_err(&failed)?;
    }
    sqlx::query("UPDATE audit_head SET hash = $1 WHERE id = 1")
        .bind(hash)
        .execute(&mut **transaction)
        .await
        .map_err(&failed)?;
    Ok(())
}

/// The hash of a row after this hash. Every field goes in with its length, so that no two rows spell the same bytes.
fn link(previous: &str, sequence: i64, entry: &Entry) -> String {
    let mut digest = Sha256::new_with_prefix(b"saem audit 1\0");
    digest.update(sequence.to_le_bytes());
    digest.update(entry.at.as_microsecond().to_le_bytes());
    let fields = [previous, &entry.tenant, &entry.who, &entry.action, &entry.subject, &entry.source, &entry.result];
    for field in fields {
        digest.update((field.len() as u64).to_le_bytes());
        digest.update(field.as_bytes());
    }
    secret::hex(&digest.finalize())
}

fn read(database: &Database, row: &AnyRow) -> Result<Logged> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(&failed);
    let entry = Entry {
        at: clock::instant(number("at")?)?,
        tenant: text("tenant")?,
        who: text("who")?,
        action: text("action")?,
        subject: text("subject")?,
        source: text("source")?,
        result: text("result")?,
    };
    Ok(Logged { sequence: number("sequence")?, entry, hash: text("hash")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_and_every_border_between_fields_counts() {
        let entry = Entry { at: Timestamp::UNIX_EPOCH, ..Origin::new("ab", "c").entry("t", "act", "s") };
        let hash = link("p", 1, &entry);
        assert_eq!(hash, link("p", 1, &entry));
        let mut others = vec![link("q", 1, &entry), link("p", 2, &entry)];
        let change = |change: fn(&mut Entry)| {
            let mut entry = entry.clone();
            change(&mut entry);
            link("p", 1, &entry)
        };
        others.push(change(|entry| entry.at = Timestamp::from_microsecond(1).unwrap()));
        others.push(change(|entry| entry.tenant.push('x')));
        others.push(change(|entry| entry.who.push('x')));
        others.push(change(|entry| entry.action.push('x')));
        others.push(change(|entry| entry.subject.push('x')));
        others.push(change(|entry| entry.source.push('x')));
        others.push(change(|entry| entry.result.push('x')));
        // The same letters, cut elsewhere.
        others.push(change(|entry| (entry.who, entry.action) = ("a".into(), "bact".into())));
        for other in &others {
            assert_ne!(*other, hash);
        }
    }
}
