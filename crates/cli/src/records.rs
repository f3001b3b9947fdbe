//! The records of this user's server, opened for one command.

use jiff::Timestamp;
use saem_hub::Settings;
use saem_store::{Location, Origin, Store, StoreError};

/// Where they are: `$DATABASE_URL`, else in Saem's home.
pub(crate) fn location() -> anyhow::Result<Location> {
    Ok(Location::from_env(&Settings::from_env()?.home)?)
}

/// Opens the records, does something with them, and closes them.
pub(crate) fn with_store<T>(work: impl AsyncFnOnce(&Store) -> Result<T, StoreError>) -> anyhow::Result<T> {
    let location = location()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(location).await?;
        let done = work(&store).await;
        store.close().await?;
        Ok(done?)
    })
}

/// Who acts from the command line, for the audit log: the user's name as the system tells it.
pub(crate) fn origin() -> Origin {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    Origin::new(format!("cli:{}", name.filter(|name| !name.is_empty()).unwrap_or_else(|| "?".to_owned())), "local")
}

/// An instant to the second in UTC: `2026-11-22 03:04:05Z`.
pub(crate) fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
