//! Datasets of organisations.

use saem_store::{MOST_DATASETS, NewDataset, Store, StoreError};
use serde_json::json;

use crate::world::{World, me};

fn new(store: &Store, name: &str) -> NewDataset {
    let id = store.fresh_id().unwrap();
    NewDataset { id, name: name.into(), about: json!({ "columns": ["글\0"] }), rows: 3, bytes: 70 }
}

#[tokio::test]
async fn a_dataset_is_its_organisations_and_is_not_the_last_of_too_many() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_dataset("t", new(&store, " 후기\n "), &me()).await.unwrap();
    assert_eq!((&*made.name, made.rows, made.bytes), ("후기", 3, 70));
    assert_eq!(made.about, json!({ "columns": ["글\0"] }));
    let later = store.create_dataset("t", new(&store, "b"), &me()).await.unwrap();
    let listed: Vec<String> = store.datasets("t").await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(listed, [later.id.clone(), made.id.clone()]);
    assert!(store.datasets("u").await.unwrap().is_empty());
    assert!(matches!(store.remove_dataset("u", &made.id, &me()).await, Err(StoreError::NotFound { .. })));
    store.remove_dataset("t", &made.id, &me()).await.unwrap();
    assert!(matches!(store.dataset(&made.id).await, Err(StoreError::NotFound { kind: "dataset", .. })));
    assert!(matches!(store.create_dataset("t", new(&store, " "), &me()).await, Err(StoreError::Invalid { .. })));
    for _ in 1..MOST_DATASETS {
        store.has_room_for_dataset("t").await.unwrap();
        store.create_dataset("t", new(&store, "c"), &me()).await.unwrap();
    }
    let one_more = store.create_dataset("t", new(&store, "d"), &me()).await;
    assert!(matches!(one_more, Err(StoreError::TooMany { kind: "datasets", .. })));
    let room = store.has_room_for_dataset("t").await;
    assert!(matches!(room, Err(StoreError::TooMany { kind: "datasets", .. })));
    store.has_room_for_dataset("u").await.unwrap();
    store.close().await.unwrap();
    world.remove().await;
}
