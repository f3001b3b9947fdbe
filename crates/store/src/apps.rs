//! Apps: a prompt with its model and parameters under a name, published for others. Every change is a new version.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::audit::{self, Origin};
use crate::database::Database;
use crate::error::Result;
use crate::{Store, StoreError, calls, clock, keys, secret, text};

/// Longest definition, in bytes of JSON.
const LONGEST_DEFINITION: usize = 1 << 20;

/// What an app does; each change of it is a version.
#[derive(Clone, Debug, PartialEq)]
pub struct AppVersion {
    /// The model that it asks.
    pub model: String,
    /// Prompt template and parameters, as an object.
    pub definition: Value,
    /// Web origins whose pages may call it, such as `https://shop.example`; none by default.
    pub allowed_origins: Vec<String>,
    /// Whether its prompts and answers may be stored. Nothing else ever is.
    pub store_prompts: bool,
}

/// An app in one of its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// 12 letters and digits.
    pub id: String,
    /// The organisation that it belongs to.
    pub tenant: String,
    /// Its name, unique in its organisation.
    pub name: String,
    /// The version that this is, from 1.
    pub version: i64,
    /// What it does.
    pub does: AppVersion,
    /// When the app was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub changed_at: Timestamp,
}

const SELECT: &str = "SELECT apps.id, apps.tenant, apps.name, apps.created_at, app_versions.version, model, definition,
        allowed_origins, store_prompts, app_versions.created_at AS changed_at
    FROM apps JOIN app_versions ON app_versions.app = apps.id
    WHERE apps.id = $1 AND app_versions.version = COALESCE($2, apps.version)";

impl Store {
    /// Makes an app in its first version.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::AppExists`] where the organisation has one of this name, and what the
    /// database reports.
    pub async fn create_app(&self, tenant: &str, name: &str, does: AppVersion, origin: &Origin) -> Result<App> {
        let (tenant, name) = (text::line(tenant.trim()), text::line(name.trim()));
        if tenant.is_empty() || name.is_empty() {
            return Err(StoreError::Invalid { field: "name", expected: "at least one character" });
        }
        check(&does)?;
        let database = &self.database;
        let id = secret::new_id()?;
        let now = clock::now();
        let mut write = database.write().await?;
        let made = sqlx::query(
            "INSERT INTO apps (id, tenant, name, version, created_at) VALUES ($1, $2, $3, 1, $4)
            ON CONFLICT (tenant, name) DO NOTHING",
        )
        .bind(&id)
        .bind(&tenant)
        .bind(&name)
        .bind(now)
        .execute(&mut *write.transaction)
        .await
        .map_err(database.failed())?;
        if made.rows_affected() == 0 {
            return Err(StoreError::AppExists { name });
        }
        insert_version(database, &mut write.transaction, &id, 1, &does, now).await?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "app.create", &id)]).await?;
        database.commit(write).await?;
        let at = clock::instant(now)?;
        Ok(App { id, tenant, name, version: 1, does, created_at: at, changed_at: at })
    }

    /// Makes this the app's next version. Earlier ones stay readable.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`], [`StoreError::NotFound`], and what the database reports.
    pub async fn update_app(&self, id: &str, does: AppVersion, origin: &Origin) -> Result<App> {
        check(&does)?;
        let id = text::line(id);
        let database = &self.database;
        let now = clock::now();
        let mut write = database.write().await?;
        // Raising the number locks the row, so two changes at once become two versions.
        let row = sqlx::query(
            "UPDATE apps SET version = version + 1 WHERE id = $1 RETURNING tenant, name, version, created_at",
        )
        .bind(&id)
        .fetch_optional(&mut *write.transaction)
        .await
        .map_err(database.failed())?
        .ok_or_else(|| StoreError::NotFound { kind: "app", id: id.clone() })?;
        let failed = database.failed();
        let app = App {
            tenant: row.try_get("tenant").map_err(&failed)?,
            name: row.try_get("name").map_err(&failed)?,
            version: row.try_get("version").map_err(&failed)?,
            created_at: clock::instant(row.try_get("created_at").map_err(&failed)?)?,
            changed_at: clock::instant(now)?,
            does,
            id,
        };
        insert_version(database, &mut write.transaction, &app.id, app.version, &app.does, now).await?;
        let subject = format!("{} version {}", app.id, app.version);
        audit::append(database, &mut write.transaction, &[origin.entry(&app.tenant, "app.update", &subject)]).await?;
        database.commit(write).await?;
        Ok(app)
    }

    /// The app in this version, or in its current one.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn app(&self, id: &str, version: Option<i64>) -> Result<App> {
        let id = text::line(id);
        let row = sqlx::query(SELECT)
            .bind(&id)
            .bind(version)
            .fetch_optional(&self.database.pool)
            .await
            .map_err(self.database.failed())?
            .ok_or(StoreError::NotFound { kind: "app", id })?;
        read(&self.database, &row)
    }

    /// Every app of an organisation in its current version, by name.
    ///
    /// # Errors
    ///
    /// What the database reports.
    pub async fn apps(&self, tenant: &str) -> Result<Vec<App>> {
        let rows = sqlx::query(
            "SELECT apps.id, apps.tenant, apps.name, apps.created_at, app_versions.version, model, definition,
                allowed_origins, store_prompts, app_versions.created_at AS changed_at
            FROM apps JOIN app_versions ON app_versions.app = apps.id AND app_versions.version = apps.version
            WHERE apps.tenant = $1 ORDER BY apps.name",
        )
        .bind(text::line(tenant))
        .fetch_all(&self.database.pool)
        .await
        .map_err(self.database.failed())?;
        rows.iter().map(|row| read(&self.database, row)).collect()
    }

    /// Removes an app with all of its versions and revokes the keys that belong to it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], and what the database reports.
    pub async fn remove_app(&self, id: &str, origin: &Origin) -> Result<()> {
        let id = text::line(id);
        let database = &self.database;
        let mut write = database.write().await?;
        let row = sqlx::query("DELETE FROM apps WHERE id = $1 RETURNING tenant")
            .bind(&id)
            .fetch_optional(&mut *write.transaction)
            .await
            .map_err(database.failed())?
            .ok_or_else(|| StoreError::NotFound { kind: "app", id: id.clone() })?;
        let tenant: String = row.try_get("tenant").map_err(database.failed())?;
        keys::revoke_of_app(database, &mut write.transaction, &id).await?;
        calls::remove(database, &mut write.transaction, &id).await?;
        audit::append(database, &mut write.transaction, &[origin.entry(&tenant, "app.remove", &id)]).await?;
        database.commit(write).await
    }
}

fn check(does: &AppVersion) -> Result<()> {
    let invalid = |field, expected| Err(StoreError::Invalid { field, expected });
    if does.model.is_empty() || does.model != text::line(&does.model) {
        return invalid("model", "a name of up to 256 bytes without control characters");
    }
    if !does.definition.is_object() {
        return invalid("definition", "an object");
    }
    let definition = does.definition.to_string();
    // A NUL, which Postgres cannot store, is `\u0000` in JSON text and harmless there.
    if definition.len() > LONGEST_DEFINITION {
        return invalid("definition", "at most 1 MiB of JSON");
    }
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        *origin == text::line(origin)
            && host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']))
    };
    if !does.allowed_origins.iter().all(is_origin) {
        return invalid("allowed_origins", "origins such as https://shop.example, without a path");
    }
    Ok(())
}

async fn insert_version(
    database: &Database,
    transaction: &mut Transaction<'static, Any>,
    id: &str,
    version: i64,
    does: &AppVersion,
    now: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO app_versions (app, version, model, definition, allowed_origins, store_prompts, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(version)
    .bind(&does.model)
    .bind(does.definition.to_string())
    .bind(keys::list(&does.allowed_origins))
    .bind(i64::from(does.store_prompts))
    .bind(now)
    .execute(&mut **transaction)
    .await
    .map_err(database.failed())?;
    Ok(())
}

fn read(database: &Database, row: &AnyRow) -> Result<App> {
    let failed = database.failed();
    let text = |column| row.try_get::<String, _>(column).map_err(&failed);
    let number = |column| row.try_get::<i64, _>(column).map_err(&failed);
    let id = text("id")?;
    let damaged =
        |error: serde_json::Error| StoreError::Damaged { what: format!("app {id}"), reason: error.to_string() };
    let does = AppVersion {
        model: text("model")?,
        definition: serde_json::from_str(&text("definition")?).map_err(damaged)?,
        allowed_origins: serde_json::from_str(&text("allowed_origins")?).map_err(damaged)?,
        store_prompts: number("store_prompts")? != 0,
    };
    Ok(App {
        tenant: text("tenant")?,
        name: text("name")?,
        version: number("version")?,
        created_at: clock::instant(number("created_at")?)?,
        changed_at: clock::instant(number("changed_at")?)?,
        does,
        id,
    })
}
