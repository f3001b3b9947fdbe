//! One pool for both databases, the tables, and transactions that write.
//!
//! `sqlx`'s `Any` driver takes the same statements to SQLite and Postgres as long as they keep to what both know:
//! numbered parameters, `TEXT` and `BIGINT`, `ON CONFLICT` and `RETURNING`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor as _, SqlSafeStr as _, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::Result;
use crate::{Location, StoreError};

/// How long a writer waits for others before it gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) pool: AnyPool,
    location: Location,
    /// SQLite has one writer at a time. Queueing for the turn is fair; its own busy handler sleeps and hopes.
    turn: Mutex<()>,
}

/// A transaction that may write.
pub(crate) struct Write<'a> {
    pub(crate) transaction: Transaction<'static, Any>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Database {
    /// Opens the database, makes it where it is missing, and brings its tables up to date.
    pub(crate) async fn open(location: Location) -> Result<Self> {
        install_default_drivers();
        if let Location::Sqlite(path) = &location {
            private_file(path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
        }
        let is_sqlite = matches!(location, Location::Sqlite(_));
        let failed = |source| StoreError::Database { location: location.to_string(), source };
        let url = location.url()?;
        // A pool would try for as long as its patience lasts. What is wrong at the start is most likely wrong for good.
        let mut first = AnyConnection::connect(&url).await.map_err(failed)?;
        first.execute(if is_sqlite { "PRAGMA schema_version" } else { "SELECT 1" }).await.map_err(failed)?;
        first.close().await.map_err(failed)?;
        let pool = AnyPoolOptions::new()
            .max_connections(if is_sqlite { 4 } else { 8 })
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        // A commit is on the disk before it is reported (FULL); readers and the writer do not wait
                        // for each other (WAL).
                        connection.execute("PRAGMA busy_timeout = 15000").await?;
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = FULL").await?;
                        connection.execute("PRAGMA foreign_keys = ON").await?;
                    }
                    Ok(())
                })
            })
            .connect(&url)
            .await
            .map_err(failed)?;
        let database = Self { pool, location, turn: Mutex::new(()) };
        database.migrate(is_sqlite).await?;
        Ok(database)
    }

    async fn migrate(&self, is_sqlite: bool) -> Result<()> {
        let tables = include_str!("../migrations/1-tables.sql").into_sql_str();
        let append_only = if is_sqlite {
            include_str!("../migrations/2-append-only-sqlite.sql").into_sql_str()
        } else {
            include_str!("../migrations/2-append-only-postgres.sql").into_sql_str()
        };
        let migration =
            |version, name: &'static str, sql| Migration::new(version, name.into(), MigrationType::Simple, sql, false);
        let projects = include_str!("../migrations/3-projects.sql").into_sql_str();
        let calls = include_str!("../migrations/4-app-calls.sql").into_sql_str();
        let batches = include_str!("../migrations/5-batches.sql").into_sql_str();
        let datasets = include_str!("../migrations/6-datasets.sql").into_sql_str();
        let tunings = include_str!("../migrations/7-tunings.sql").into_sql_str();
        let sessions = include_str!("../migrations/8-sessions.sql").into_sql_str();
        let migrator = Migrator::with_migrations(vec![
            migration(1, "tables", tables),
            migration(2, "append only", append_only),
            migration(3, "projects", projects),
            migration(4, "app calls", calls),
            migration(5, "batches", batches),
            migration(6, "datasets", datasets),
            migration(7, "tunings", tunings),
            migration(8, "sessions", sessions),
        ]);
        let failed = |source| StoreError::Migration { location: self.location.to_string(), source };
        if is_sqlite {
            // On Postgres the migrator takes a lock; here a transaction around all of it keeps others out.
            let mut write = self.write().await?;
            migrator.run_direct(None, &mut *write.transaction, false).await.map_err(failed)?;
            self.commit(write).await
        } else {
            migrator.run(&self.pool).await.map_err(failed)
        }
    }

    /// Begins a transaction that writes.
    pub(crate) async fn write(&self) -> Result<Write<'_>> {
        match self.location {
            Location::Sqlite(_) => {
                let turn = self.turn.lock().await;
                // Taking the lock at once keeps a transaction that reads first from failing at its first write.
                let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(self.failed())?;
                Ok(Write { transaction, _turn: Some(turn) })
            }
            Location::Postgres(_) => {
                let transaction = self.pool.begin().await.map_err(self.failed())?;
                Ok(Write { transaction, _turn: None })
            }
        }
    }

    /// Makes what was written last.
    pub(crate) async fn commit(&self, write: Write<'_>) -> Result<()> {
        write.transaction.commit().await.map_err(self.failed())
    }

    /// Where it is.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Turns the driver's error into this crate's.
    pub(crate) fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError {
        |source| StoreError::Database { location: self.location.to_string(), source }
    }
}

/// Makes the database's directory and file where they are missing, readable by their owner alone: what SQLite writes
/// beside the file gets the file's permissions.
fn private_file(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    // Only ever a new file: closing a handle of one that SQLite has open in this process would drop SQLite's locks.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        opened => opened.map(drop),
    }
}
