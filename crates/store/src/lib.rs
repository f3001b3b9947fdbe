//! Who may use a server, how much, and what they did: keys, limits, apps, usage and the audit log.
//!
//! A model needs no database; an office does. This crate keeps what must survive a restart and what several servers
//! must agree on. It knows nothing of HTTP or of models: a server asks it whether a key may do something now, and tells
//! it afterwards what was done.
//!
//! # Where it is kept
//!
//! In `saem.db`, a SQLite file in Saem's home, with nothing to install; or, when `DATABASE_URL` names a Postgres
//! database, there, shared by as many servers as one likes. The same statements run on both, and so do the same tests.
//! The tables are in the binary and are brought up to date when a [`Store`] is opened.
//!
//! # The key decision: what must be there, and what may follow
//!
//! Two kinds of writes are told apart. A key, an app, a password, and the row of the audit log that goes with it are
//! one transaction, and a call that returns has them on the disk: `kill -9` right after loses none of them. What a
//! request leaves behind — tokens used, when a key was last seen, its row in the log — would cost each request a
//! disk's patience, so it is gathered in memory and written beside the requests about once a second, put back where
//! writing fails, and written to the end by [`Store::close`]. A crash loses at most that second, and never a key.
//!
//! Of a key, only a SHA-256 is stored; it has 256 random bits, so nobody guesses it from there. Of the administrator's
//! password, an argon2id hash; of whoever signed in with it, the SHA-256 of a session's token. Of prompts and answers, nothing, unless an app says that its calls may be kept.
//!
//! # Example
//!
//! ```
//! use saem_store::{Location, NewKey, Origin, Scope, Store, Verification};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let home = tempfile::tempdir()?;
//! let store = Store::open(Location::Sqlite(home.path().join("saem.db"))).await?;
//!
//! let me = Origin::new("cli:me", "local");
//! let issued = store.create_key(NewKey::named("shop", &[Scope::Infer]), &me).await?;
//! let key = store.authenticate(&issued.text).await?.expect("it was made a moment ago");
//! assert!(key.allows(Scope::Infer) && !key.allows(Scope::Admin));
//!
//! // The most that the request may take is set aside, and what it did not take is given back.
//! let grant = store.admit(&key, 1, 300).await?.expect("the key has no limits");
//! store.settle(grant, 120);
//!
//! assert!(matches!(store.verify_audit().await?, Verification::Intact { rows: 1, .. }));
//! store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`mask_personal_data`] stands apart: a pure function that takes Korean personal data out of what goes to a log.

#![forbid(unsafe_code)]

mod apps;
mod audit;
mod batches;
mod bucket;
mod calls;
mod clock;
mod database;
mod datasets;
mod error;
mod key;
mod keys;
mod limits;
mod location;
mod mask;
mod password;
mod projects;
mod records;
mod secret;
mod sessions;
mod text;
mod tunings;
mod usage;

use std::sync::{Arc, Mutex};

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row as _};
use tokio::task::JoinHandle;

pub use apps::{App, AppVersion};
pub use audit::{Entry, Fault, Logged, Origin, Verification};
pub use batches::{Batch, BatchRow, BatchState, MOST_BATCHES, NewBatch, Progress};
pub use calls::{AppCall, CALLS_KEPT, KeptCall};
pub use datasets::{Dataset, MOST_DATASETS, NewDataset};
pub use error::StoreError;
pub use key::{DEFAULT_TENANT, Denied, Issued, Key, Limits, NewKey, Scope, State, tenant_number};
pub use limits::{Grant, Limit, Refusal};
pub use location::Location;
pub use mask::mask_personal_data;
pub use password::SHORTEST_PASSWORD;
pub use projects::{AUTOSAVES, LONGEST_DOCUMENT, MOST_PROJECTS, Project, ProjectVersion, Save, Saved};
pub use sessions::SESSION_TIME;
pub use tunings::{MOST_TUNINGS, NewTuning, Tuning, TuningState};
pub use usage::{AppDay, Usage, Used, UsedBy};

/// Everything that is kept, open. Close it by [`Store::close`]; dropping it loses what requests left in the last second.
#[derive(Debug)]
pub struct Store {
    database: Arc<database::Database>,
    records: Arc<records::Records>,
    buckets: Arc<limits::Buckets>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the database, makes it where it is missing, and brings its tables up to date. Must be called within a
    /// tokio runtime, on which it keeps one task.
    ///
    /// # Errors
    ///
    /// [`StoreError::Location`], [`StoreError::Io`], [`StoreError::Database`] where it cannot be reached, and
    /// [`StoreError::Migration`] where a newer Saem has changed it.
    pub async fn open(location: Location) -> Result<Self, StoreError> {
        let database = Arc::new(database::Database::open(location).await?);
        let records = Arc::new(records::Records::default());
        let buckets = Arc::new(limits::Buckets::default());
        let writer = records::write_batches(Arc::downgrade(&database), Arc::clone(&records), Arc::clone(&buckets));
        let writer = Mutex::new(Some(tokio::spawn(writer)));
        Ok(Self { database, records, buckets, writer })
    }

    /// Where it is kept. Shows no password.
    #[must_use]
    pub fn location(&self) -> &Location {
        self.database.location()
    }

    /// The row that a statement finds by an id.
    async fn row(&self, statement: &'static str, kind: &'static str, id: &str) -> Result<AnyRow, StoreError> {
        let id = text::line(id);
        let found = sqlx::query(statement).bind(&id).fetch_optional(&self.database.pool).await;
        found.map_err(self.database.failed())?.ok_or(StoreError::NotFound { kind, id })
    }

    /// The rows that a statement finds by an organisation.
    async fn rows(&self, statement: &'static str, tenant: &str) -> Result<Vec<AnyRow>, StoreError> {
        let found = sqlx::query(statement).bind(text::line(tenant)).fetch_all(&self.database.pool).await;
        found.map_err(self.database.failed())
    }

    /// Sees that an organisation has fewer than `most`, as a statement counts them.
    async fn has_room<'e>(
        &self,
        database: impl Executor<'e, Database = Any>,
        statement: &'static str,
        kind: &'static str,
        tenant: &str,
        most: i64,
    ) -> Result<(), StoreError> {
        let failed = self.database.failed();
        let row = sqlx::query(statement).bind(tenant).fetch_one(database).await.map_err(&failed)?;
        if row.try_get::<i64, _>("count").map_err(&failed)? >= most {
            return Err(StoreError::TooMany { kind, most });
        }
        Ok(())
    }

    /// Removes what an organisation has under an id, by a statement that names the id and the organisation, and writes
    /// it to the audit log.
    async fn remove(
        &self,
        statement: &'static str,
        kind: &'static str,
        event: &'static str,
        tenant: &str,
        id: &str,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let (tenant, id) = (text::line(tenant), text::line(id));
        let database = &self.database;
        let mut write = database.write().await?;
        let removed = sqlx::query(statement).bind(&id).bind(&tenant).execute(&mut *write.transaction).await;
        if removed.map_err(database.failed())?.rows_affected() == 0 {
            return Err(StoreError::NotFound { kind, id });
        }
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, event, &id)]).await?;
        database.commit(write).await
    }
}
