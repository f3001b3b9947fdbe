//! Apps and their versions.

use saem_store::{AppVersion, Denied, NewKey, Scope, StoreError};
use serde_json::json;

use crate::world::{World, me};

fn review() -> AppVersion {
    AppVersion {
        model: "smollm2-135m".to_owned(),
        definition: json!({ "prompt": "다음 후기를 요약하세요.\n{후기}\0", "parameters": { "temperature": 0.2 } }),
        allowed_origins: vec!["https://shop.example".to_owned()],
        store_prompts: false,
    }
}

#[tokio::test]
async fn every_change_is_a_version_and_earlier_ones_stay() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_app("t", "후기 요약", review(), &me()).await.unwrap();
    assert_eq!((made.version, &made.does), (1, &review()));
    assert_eq!(store.app(&made.id, None).await.unwrap(), made);
    let changed = AppVersion { store_prompts: true, model: "exaone".to_owned(), ..review() };
    let second = store.update_app(&made.id, changed.clone(), &me()).await.unwrap();
    assert_eq!((second.version, &second.does, second.created_at), (2, &changed, made.created_at));
    assert_eq!(store.app(&made.id, None).await.unwrap(), second);
    assert_eq!(store.app(&made.id, Some(1)).await.unwrap(), made);
    assert!(matches!(store.app(&made.id, Some(3)).await, Err(StoreError::NotFound { .. })));
    let other = store.create_app("t", "가나다", review(), &me()).await.unwrap();
    assert_eq!(store.apps("t").await.unwrap(), [other, second]);
    assert!(store.apps("other").await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn names_are_unique_in_an_organisation() {
    let world = World::new().await;
    let store = world.open().await;
    store.create_app("t", "a", review(), &me()).await.unwrap();
    assert!(matches!(store.create_app("t", " a ", review(), &me()).await, Err(StoreError::AppExists { .. })));
    store.create_app("u", "a", review(), &me()).await.unwrap();
    assert_eq!(store.audit(10).await.unwrap().len(), 2);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn removing_an_app_ends_its_keys_and_no_others() {
    let world = World::new().await;
    let store = world.open().await;
    let app = store.create_app("t", "a", review(), &me()).await.unwrap();
    let own = NewKey { tenant: "t".to_owned(), app: Some(app.id.clone()), ..NewKey::named("own", &[Scope::Infer]) };
    // An app of another organisation is none.
    let foreign = NewKey { tenant: "u".to_owned(), ..own.clone() };
    assert!(matches!(store.create_key(foreign, &me()).await, Err(StoreError::NotFound { kind: "app", .. })));
    let own = store.create_key(own, &me()).await.unwrap();
    let other = store.create_key(NewKey::named("other", &[Scope::Infer]), &me()).await.unwrap();
    assert_eq!(store.authenticate(&own.text).await.unwrap().unwrap().made.app, Some(app.id.clone()));
    store.remove_app(&app.id, &me()).await.unwrap();
    assert_eq!(store.authenticate(&own.text).await.unwrap(), Err(Denied::Revoked));
    assert!(store.authenticate(&other.text).await.unwrap().is_ok());
    assert!(matches!(store.app(&app.id, Some(1)).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.remove_app(&app.id, &me()).await, Err(StoreError::NotFound { .. })));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_field() {
    let world = World::new().await;
    let store = world.open().await;
    let origins = |origin: &str| AppVersion { allowed_origins: vec![origin.to_owned()], ..review() };
    let cases = [
        (AppVersion { model: String::new(), ..review() }, "model"),
        (AppVersion { definition: json!([1]), ..review() }, "definition"),
        (AppVersion { definition: json!({ "prompt": "x".repeat(1 << 20) }), ..review() }, "definition"),
        (origins("*"), "allowed_origins"),
        (origins("https://"), "allowed_origins"),
        (origins("https://a.example/path"), "allowed_origins"),
        (origins("https://*.example"), "allowed_origins"),
        (origins("null"), "allowed_origins"),
    ];
    for (does, expected) in cases {
        match store.create_app("t", "a", does, &me()).await {
            Err(StoreError::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(store.apps("t").await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}
