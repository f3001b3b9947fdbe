//! Projects: documents that people work on, with every version that they saved.
//!
//! What a document holds is the caller's business. Two things are kept here: nobody overwrites what they have not seen,
//! since a save names the version that it is based on and is refused where another came in between; and what was saved
//! by hand stays, while of what a page saves by itself only the last [`AUTOSAVES`] versions do.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::{Store, StoreError, clock, secret, text};

/// Longest document, in bytes of JSON.
pub const LONGEST_DOCUMENT: usize = 256 << 10;
/// Projects of one organisation.
pub const MOST_PROJECTS: i64 = 2_000;
/// Versions that a page saved by itself and that are kept.
pub const AUTOSAVES: i64 = 20;

/// A project in its current version.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// 12 letters and digits.
    pub id: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// Its name; several may have the same.
    pub name: String,
    /// Whether other organisations of the installation may read it by its id.
    pub shared: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed in any way.
    pub changed_at: Timestamp,
    /// The current version.
    pub current: ProjectVersion,
}

/// One version of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectVersion {
    /// Its number; numbers only rise, and have gaps where autosaves went.
    pub version: i64,
    /// What was saved; null in lists.
    pub document: Value,
    /// Who saved it: `key:<id>`, `anonymous`.
    pub saved_by: String,
    /// When.
    pub saved_at: Timestamp,
    /// What its author says of it.
    pub note: String,
    /// Whether a page saved it by itself.
    pub autosave: bool,
    /// The version that was brought back by it.
    pub restored_from: Option<i64>,
}

/// A change of a project's document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Save {
    /// The version that its author has seen.
    pub based_on: i64,
    /// The document.
    pub document: Value,
    /// A new name, where it gets one.
    pub name: Option<String>,
    /// What its author says of it.
    pub note: String,
    /// Whether a page saves by itself.
    pub autosave: bool,
    /// The version that is brought back.
    pub restored_from: Option<i64>,
}

/// What became of a save.
#[derive(Clone, Debug, PartialEq)]
pub enum Saved {
    /// It is the current version now, or was already.
    Done(Project),
    /// Somebody else saved in between; this is what there is now.
    Conflict(Project),
}

const SELECT: &str = "SELECT projects.id, projects.tenant, projects.name, projects.shared, projects.created_at,
        projects.changed_at, project_versions.version, document, saved_by, saved_at, note, autosave, restored_from
    FROM projects JOIN project_versions
        ON project_versions.project = projects.id AND project_versions.version = projects.version";

impl Store {
    /// Makes a project in its first version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::TooMany`], and what the database reports.
    pub async fn create_project(&self, tenant: &str, name: &str, document: &Value, origin: &Origin) -> Result<Project> {
        let (tenant, name) = (text::line(tenant), text::name(name)?);
        let document = written(document)?;
        let database = &self.database;
        let failed = database.failed();
        let id = secret::new_id()?;
        let now = clock::now();
        let mut write = database.write().await?;
        let count = "SELECT COUNT(*) AS count FROM projects WHERE tenant = $1";
        self.has_room(&mut *write.transaction, count, "projects", &tenant, MOST_PROJECTS).await?;
        sqlx::query(
            "INSERT INTO projects (id, tenant, name, version, shared, created_at, changed_at)
            VALUES ($1, $2, $3, 1, 0, $4, $4)",
        )
        .bind(&id)
        .bind(&tenant)
        .bind(&name)
        .bind(now)
        .execute(&mut *write.transaction)
        .await
        .map_err(&failed)?;
        let save = Save::default();
        insert_version(database, &mut write.transaction, &id, 1, &document, &save, &origin.who, now).await?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "project.create", &id)]).await?;
        let project = current(database, &mut write.transaction, &id).await?;
        database.commit(write).await?;
        project.ok_or(StoreError::NotFound { kind: "project", id })
    }

    /// The project with this id, whosever it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn project(&self, id: &str) -> Result<Project> {
        let sql = format!("{SELECT} WHERE projects.id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(text::line(id))
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?
            .ok_or_else(|| StoreError::NotFound { kind: "project", id: text::line(id) })?;
        read(&self.database, &row)
    }

    /// Projects of an organisation whose names hold `query`, the last changed first, from the one after `before` on.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] for `before`, and what the database reports.
    pub async fn projects(&self, tenant: &str, query: &str, before: Option<&str>, limit: u32) -> Result<Vec<Project>> {
        let (at, id) = match before {
            Some(id) => {
                let before = self.project(id).await?;
                (before.changed_at.as_microsecond(), before.id)
            }
            // Above every id.
            None => (i64::MAX, "~".to_owned()),
        };
        let mut pattern = String::from("%");
        for letter in text::line(query).to_lowercase().chars() {
            if matches!(letter, '%' | '_' | '!') {
                pattern.push('!');
            }
            pattern.push(letter);
        }
        pattern.push('%');
        let sql = format!(
            "{SELECT} WHERE projects.tenant = $1 AND LOWER(projects.name) LIKE $2 ESCAPE '!'
                AND (projects.changed_at < $3 OR (projects.changed_at = $3 AND projects.id < $4))
            ORDER BY projects.changed_at DESC, projects.id DESC LIMIT $5"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(text::line(tenant))
            .bind(pattern)
            .bind(at)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&self.database.pool)
            .await
            .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Makes this the project's next version, unless its author has not seen the current one. What equals the current
    /// version makes no new one; saved by hand, it makes an autosave stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::NotFound`], also where the project is another organisation's, and what
    /// the database reports.
    pub async fn save_project(&self, tenant: &str, id: &str, save: &Save, origin: &Origin) -> Result<Saved> {
        let document = written(&save.document)?;
        let name = save.name.as_deref().map(text::name).transpose()?;
        let database = &self.database;
        let failed = database.failed();
        let mut write = database.write().await?;
        let before = locked(database, &mut write.transaction, tenant, id).await?;
        if before.current.version != save.based_on {
            return Ok(Saved::Conflict(before));
        }
        let now = clock::now();
        let id = &before.id;
        if before.current.document == save.document {
            if before.current.autosave && !save.autosave {
                sqlx::query("UPDATE project_versions SET autosave = 0, note = $1 WHERE project = $2 AND version = $3")
                    .bind(text::line(&save.note))
                    .bind(id)
                    .bind(before.current.version)
                    .execute(&mut *write.transaction)
                    .await
                    .map_err(&failed)?;
            }
        } else {
            let next = before.current.version + 1;
            insert_version(database, &mut write.transaction, id, next, &document, save, &origin.who, now).await?;
            sqlx::query("UPDATE projects SET version = $1, changed_at = $2 WHERE id = $3")
                .bind(next)
                .bind(now)
                .bind(id)
                .execute(&mut *write.transaction)
                .await
                .map_err(&failed)?;
            sqlx::query(
                "DELETE FROM project_versions WHERE project = $1 AND autosave = 1 AND version NOT IN (
                    SELECT version FROM project_versions WHERE project = $1 AND autosave = 1
                    ORDER BY version DESC LIMIT $2)",
            )
            .bind(id)
            .bind(AUTOSAVES)
            .execute(&mut *write.transaction)
            .await
            .map_err(&failed)?;
        }
        if let Some(name) = name {
            rename(database, &mut write.transaction, id, &name, now).await?;
        }
        let project = current(database, &mut write.transaction, id).await?;
        database.commit(write).await?;
        project.map(Saved::Done).ok_or_else(|| StoreError::NotFound { kind: "project", id: id.clone() })
    }

    /// Names a project anew, or opens it to other organisations, without a new version.
    ///
    /// # Errors
    ///
    /// As [`Store::save_project`].
    pub async fn change_project(
        &self,
        tenant: &str,
        id: &str,
        name: Option<&str>,
        shared: Option<bool>,
        origin: &Origin,
    ) -> Result<Project> {
        let name = name.map(text::name).transpose()?;
        let database = &self.database;
        let mut write = database.write().await?;
        let before = locked(database, &mut write.transaction, tenant, id).await?;
        let now = clock::now();
        if let Some(name) = name {
            rename(database, &mut write.transaction, &before.id, &name, now).await?;
        }
        if let Some(shared) = shared.filter(|shared| *shared != before.shared) {
            sqlx::query("UPDATE projects SET shared = $1 WHERE id = $2")
                .bind(i64::from(shared))
                .bind(&before.id)
                .execute(&mut *write.transaction)
                .await
                .map_err(database.failed())?;
            let action = if shared { "project.share" } else { "project.unshare" };
            let entry = origin.entry(&before.tenant, action, &before.id);
            audit::append(database, &mut write.transaction, &[entry]).await?;
        }
        let project = current(database, &mut write.transaction, &before.id).await?;
        database.commit(write).await?;
        project.ok_or(StoreError::NotFound { kind: "project", id: before.id })
    }

    /// Removes a project with all of its versions.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], also where it is another organisation's, and what the database reports.
    pub async fn remove_project(&self, tenant: &str, id: &str, origin: &Origin) -> Result<()> {
        let removal = "DELETE FROM projects WHERE id = $1 AND tenant = $2";
        self.remove(removal, "project", "project.remove", tenant, id, origin).await
    }

    /// Versions of a project below this number, the newest first, without their documents.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn project_versions(&self, id: &str, before: Option<i64>, limit: u32) -> Result<Vec<ProjectVersion>> {
        let rows = sqlx::query(
            "SELECT version, 'null' AS document, saved_by, saved_at, note, autosave, restored_from
            FROM project_versions WHERE project = $1 AND version < $2 ORDER BY version DESC LIMIT $3",
        )
        .bind(text::line(id))
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        rows.iter().map(|row| read_version(&self.database, row)).collect()
    }

    /// One version of a project.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn project_version(&self, id: &str, version: i64) -> Result<ProjectVersion> {
        let row = sqlx::query("SELECT * FROM project_versions WHERE project = $1 AND version = $2")
            .bind(text::line(id))
            .bind(version)
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?
            .ok_or_else(|| StoreError::NotFound { kind: "version", id: version.to_string() })?;
        read_version(&self.database, &row)
    }
}

fn written(document: &Value) -> Result<String> {
    let written = document.to_string();
    if !document.is_object() || written.len() > LONGEST_DOCUMENT {
        return Err(StoreError::Invalid { field: "document", expected: "an object of at most 256 KiB of JSON" });
    }
    Ok(written)
}

/// The project, whose row is locked until the transaction ends.
async fn locked(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    tenant: &str,
    id: &str,
) -> Result<Project> {
    let id = text::line(id);
    let found = sqlx::query("UPDATE projects SET version = version WHERE id = $1 AND tenant = $2")
        .bind(&id)
        .bind(text::line(tenant))
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    let project = if found.rows_affected() > 0 { current(database, transaction, &id).await? } else { None };
    project.ok_or(StoreError::NotFound { kind: "project", id })
}

async fn current(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
) -> Result<Option<Project>> {
    let sql = format!("{SELECT} WHERE projects.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(database.failed())?;
    row.map(|row| read(database, &row)).transpose()
}

async fn rename(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    name: &str,
    now: i64,
) -> Result<()> {
    sqlx::query("UPDATE projects SET name = $1, changed_at = $2 WHERE id = $3 AND name <> $1")
        .bind(name)
        .bind(now)
        .bind(id)
        .execute(&mut **transaction)
        .await
        .map_err(database.failed())?;
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the columns of a row")]
async fn insert_version(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    version: i64,
    document: &str,
    save: &Save,
    who: &str,
    now: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO project_versions (project, version, document, saved_by, saved_at, note, autosave, restored_from)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(version)
    .bind(document)
    .bind(text::line(who))
    .bind(now)
    .bind(text::line(&save.note))
    .bind(i64::from(save.autosave))
    .bind(save.restored_from)
    .execute(&mut **transaction)
    .await
    .map_err(database.failed())?;
    Ok(())
}

fn read(database: &Database, row: &AnyRow) -> Result<Project> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(&failed);
    Ok(Project {
        id: text("id")?,
        tenant: text("tenant")?,
        name: text("name")?,
        shared: number("shared")? != 0,
        created_at: clock::instant(number("created_at")?)?,
        changed_at: clock::instant(number("changed_at")?)?,
        current: read_version(database, row)?,
    })
}

fn read_version(database: &Database, row: &AnyRow) -> Result<ProjectVersion> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(&failed);
    let version = number("version")?;
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: format!("version {version} of a project"),
        reason: error.to_string(),
    };
    Ok(ProjectVersion {
        version,
        document: serde_json::from_str(&text("document")?).map_err(damaged)?,
        saved_by: text("saved_by")?,
        saved_at: clock::instant(number("saved_at")?)?,
        note: text("note")?,
        autosave: number("autosave")? != 0,
        restored_from: row.try_get::<Option<i64>, _>("restored_from").map_err(&failed)?,
    })
}
