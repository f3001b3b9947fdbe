//! A database of its own for each test.

use std::path::PathBuf;

use saem_store::{Location, Origin, Store};
use sqlx::{AnyPool, AssertSqlSafe, Executor as _};
use tempfile::TempDir;

/// A new, empty database; removed when the test is done.
pub(crate) struct World {
    pub(crate) location: Location,
    directory: TempDir,
    /// The server and the name of the database on it.
    postgres: Option<(String, String)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        match std::env::var("DATABASE_URL") {
            Ok(url) if url.starts_with("postgres") => {
                sqlx::any::install_default_drivers();
                let name = format!("saem_test_{:x}_{:x}", std::process::id(), fresh());
                let server = AnyPool::connect(&url).await.unwrap();
                server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
                server.close().await;
                let (base, parameters) = url.split_once('?').unwrap_or((&url, ""));
                let base = base.rsplit_once('/').unwrap().0;
                let location = Location::parse(&format!("{base}/{name}?{parameters}")).unwrap();
                Self { location, directory, postgres: Some((url, name)) }
            }
            _ => {
                let path: PathBuf = directory.path().join("샘 home/saem.db");
                Self { location: Location::Sqlite(path), directory, postgres: None }
            }
        }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.location.clone()).await.unwrap()
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// The location as `Location::parse` takes it.
    pub(crate) fn url(&self) -> String {
        match &self.location {
            Location::Sqlite(path) => format!("sqlite:{}", path.display()),
            Location::Postgres(url) => url.clone(),
        }
    }

    /// Changes the database behind the store's back.
    pub(crate) async fn tamper(&self, statements: &[&str]) {
        self.try_tamper(statements).await.unwrap();
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_tamper(&self, statements: &[&str]) -> Result<(), sqlx::Error> {
        sqlx::any::install_default_drivers();
        let url = match &self.location {
            Location::Sqlite(path) => format!("sqlite://{}", path.display().to_string().replace(' ', "%20")),
            Location::Postgres(url) => url.clone(),
        };
        let pool = AnyPool::connect(&url).await?;
        for statement in statements {
            pool.execute(AssertSqlSafe((*statement).to_owned())).await?;
        }
        pool.close().await;
        Ok(())
    }

    /// Takes the triggers away, as someone who owns the database can.
    pub(crate) async fn unlock_audit(&self) {
        if self.is_postgres() {
            self.tamper(&["ALTER TABLE audit DISABLE TRIGGER USER"]).await;
        } else {
            self.tamper(&["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"]).await;
        }
    }

    /// Removes the database.
    pub(crate) async fn remove(self) {
        if let Some((url, name)) = &self.postgres {
            let server = AnyPool::connect(url).await.unwrap();
            server.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
        }
        self.directory.close().unwrap();
    }
}

/// Who acts in tests.
pub(crate) fn me() -> Origin {
    Origin::new("cli:test", "local")
}

fn fresh() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}
