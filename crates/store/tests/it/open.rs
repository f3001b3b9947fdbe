//! Opening: anew, again, by several at once, and what cannot be opened.

use saem_store::{Location, NewKey, Scope, Store, StoreError};

use crate::world::{World, me};

#[tokio::test]
async fn what_was_written_is_there_when_opened_again() {
    let world = World::new().await;
    let store = world.open().await;
    assert!(!store.has_any_key().await.unwrap());
    let issued = store.create_key(NewKey::named("a", &[Scope::Infer]), &me()).await.unwrap();
    store.close().await.unwrap();
    let store = world.open().await;
    assert_eq!(store.keys().await.unwrap(), [issued.key]);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_may_open_a_new_database_at_once() {
    for _ in 0..5 {
        let world = World::new().await;
        let opening: Vec<_> = (0..6).map(|_| tokio::spawn(Store::open(world.location.clone()))).collect();
        for opened in opening {
            opened.await.unwrap().unwrap().close().await.unwrap();
        }
        world.remove().await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let world = World::new().await;
    world.open().await.close().await.unwrap();
    world.tamper(&["UPDATE _sqlx_migrations SET version = 9999 WHERE version = 2"]).await;
    let error = Store::open(world.location.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Migration { .. }), "{error}");
    world.remove().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("saem.db");
    let store = Store::open(Location::Sqlite(path.clone())).await.unwrap();
    store.create_key(NewKey::named("a", &[Scope::Infer]), &me()).await.unwrap();
    for name in ["saem.db", "saem.db-wal", "saem.db-shm"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} {mode:o}");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("saem.db");
    std::fs::write(&file, "this is a letter to a friend, not a database").unwrap();
    let error = Store::open(Location::Sqlite(file.clone())).await.unwrap_err();
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    let error = Store::open(Location::Sqlite(file.join("below/saem.db"))).await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    // Nobody listens on port 1.
    let nowhere = Location::parse("postgres://saem:hunter2@127.0.0.1:1/saem").unwrap();
    let error = Store::open(nowhere).await.unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }) && !format!("{error:?}").contains("hunter2"), "{error:?}");
}
