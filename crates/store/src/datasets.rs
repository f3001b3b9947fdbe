//! Datasets: tables that models are tuned on.
//!
//! Their rows are in files, which the process that tunes reads; here is what is known of them and whose they are.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::{Store, StoreError, clock, secret, text};

/// Datasets of one organisation.
pub const MOST_DATASETS: i64 = 200;
const COUNT: &str = "SELECT COUNT(*) AS count FROM datasets WHERE tenant = $1";

/// A dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// 12 letters and digits.
    pub id: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// What is known of its rows; the caller's business.
    pub about: Value,
    /// Rows.
    pub rows: i64,
    /// Bytes of its file.
    pub bytes: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a new dataset holds.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDataset {
    /// Its id, of [`Store::fresh_id`]: the files are there before the record is.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What is known of its rows.
    pub about: Value,
    /// Rows.
    pub rows: i64,
    /// Bytes of its file.
    pub bytes: i64,
}

impl Store {
    /// An id that nothing has: 12 letters and digits.
    ///
    /// # Errors
    ///
    /// [`StoreError::Random`].
    pub fn fresh_id(&self) -> Result<String> {
        secret::new_id()
    }

    /// Whether an organisation may have one more dataset, for whoever would take a large one in vain.
    /// [`Store::create_dataset`] looks again.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooMany`], and what the database reports.
    pub async fn has_room_for_dataset(&self, tenant: &str) -> Result<()> {
        self.has_room(&self.database.pool, COUNT, "datasets", &text::line(tenant), MOST_DATASETS).await
    }

    /// Writes down a dataset whose files are there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::TooMany`], and what the database reports.
    pub async fn create_dataset(&self, tenant: &str, new: NewDataset, origin: &Origin) -> Result<Dataset> {
        let (tenant, name) = (text::line(tenant), text::name(&new.name)?);
        let database = &self.database;
        let failed = database.failed();
        let mut write = database.write().await?;
        self.has_room(&mut *write.transaction, COUNT, "datasets", &tenant, MOST_DATASETS).await?;
        sqlx::query(
            "INSERT INTO datasets (id, tenant, name, about, row_count, byte_count, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&new.id)
        .bind(&tenant)
        .bind(&name)
        .bind(new.about.to_string())
        .bind(new.rows)
        .bind(new.bytes)
        .bind(clock::now())
        .execute(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "dataset.create", &new.id)]).await?;
        database.commit(write).await?;
        self.dataset(&new.id).await
    }

    /// The dataset with this id, whosever it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn dataset(&self, id: &str) -> Result<Dataset> {
        read(&self.database, &self.row("SELECT * FROM datasets WHERE id = $1", "dataset", id).await?)
    }

    /// Datasets of an organisation, the newest first.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn datasets(&self, tenant: &str) -> Result<Vec<Dataset>> {
        let rows =
            self.rows("SELECT * FROM datasets WHERE tenant = $1 ORDER BY created_at DESC, id DESC", tenant).await?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Forgets a dataset. Its files are the caller's to remove.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], also where it is another organisation's, and what the database reports.
    pub async fn remove_dataset(&self, tenant: &str, id: &str, origin: &Origin) -> Result<()> {
        let removal = "DELETE FROM datasets WHERE id = $1 AND tenant = $2";
        self.remove(removal, "dataset", "dataset.remove", tenant, id, origin).await
    }
}

fn read(database: &Database, row: &AnyRow) -> Result<Dataset> {
    let failed = database.failed();
    let text = |column: &str| row.try_get::<String, _>(column).map_err(&failed);
    let count = |column: &str| row.try_get::<i64, _>(column).map_err(&failed);
    let id = text("id")?;
    let about = serde_json::from_str(&text("about")?)
        .map_err(|error| StoreError::Damaged { what: format!("dataset {id}"), reason: error.to_string() })?;
    Ok(Dataset {
        tenant: text("tenant")?,
        name: text("name")?,
        about,
        rows: count("row_count")?,
        bytes: count("byte_count")?,
        created_at: clock::instant(count("created_at")?)?,
        id,
    })
}
