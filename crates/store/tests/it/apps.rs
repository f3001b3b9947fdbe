//! Apps and their versions.

use std::time::Duration;

use saem_store::{AppCall, AppVersion, CALLS_KEPT, Denied, Limits, NewKey, Scope, StoreError, Used, UsedBy};
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

#[tokio::test]
async fn a_key_that_opens_only_an_app_is_not_the_first_key() {
    let world = World::new().await;
    let store = world.open().await;
    let app = store.create_app("t", "a", review(), &me()).await.unwrap();
    let of = |scopes: &[Scope]| NewKey { tenant: "t".into(), app: Some(app.id.clone()), ..NewKey::named("k", scopes) };
    let first = store.create_key(of(&[Scope::App]), &me()).await.unwrap();
    assert!(!store.has_any_key().await.unwrap() && !store.has_usable_key().await.unwrap());
    let limits = Limits { requests_per_minute: Some(7), tokens_per_minute: None };
    store.limit_keys_of_app(&app, limits, &me()).await.unwrap();
    let second = store.create_key(of(&[Scope::App]), &me()).await.unwrap();
    store.end_other_keys_of_app(&app, &second.key.id, Duration::from_secs(3600), &me()).await.unwrap();
    let keys = store.keys_of_app(&app.id).await.unwrap();
    assert_eq!(keys.iter().map(|key| &*key.id).collect::<Vec<_>>(), [&*second.key.id, &*first.key.id]);
    assert_eq!((keys[1].made.limits, keys[0].made.expires_at), (limits, None));
    assert!(keys[1].made.expires_at.is_some());
    store.end_other_keys_of_app(&app, &second.key.id, Duration::ZERO, &me()).await.unwrap();
    assert_eq!(store.authenticate(&first.text).await.unwrap(), Err(Denied::Expired));
    store.create_key(of(&[Scope::App, Scope::Infer]), &me()).await.unwrap();
    assert!(store.has_any_key().await.unwrap() && store.has_usable_key().await.unwrap());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn calls_are_masked_cut_bounded_and_gone_with_their_app() {
    let world = World::new().await;
    let store = world.open().await;
    let app = store.create_app("t", "a", review(), &me()).await.unwrap();
    let call = |number: u64| AppCall {
        app: app.id.clone(),
        key: "k".into(),
        version: 1,
        question: json!({ "variables": { "who": "010-1234-5678", "n": number } }),
        output: format!("hong@example.com\0{}", "글".repeat(5000)),
        outcome: "done".into(),
        prompt_tokens: 1,
        completion_tokens: 2,
        millis: 3,
    };
    // More than are kept; a batch of records holds as many, so they go in several.
    for number in 0..u64::try_from(CALLS_KEPT).unwrap() + 5 {
        store.record_call(call(number));
        if number % 300 == 0 {
            store.flush().await.unwrap();
        }
    }
    let newest = store.app_calls(&app.id, None, 2).await.unwrap();
    assert_eq!(newest[0].call.question["variables"], json!({ "who": "[phone]", "n": 1004 }));
    let output = &newest[0].call.output;
    assert!(output.starts_with("[email]\u{fffd}글") && output.chars().count() == 4000, "{output}");
    let rest = store.app_calls(&app.id, Some(&newest[1].id), 5000).await.unwrap();
    assert_eq!(i64::try_from(rest.len()).unwrap(), CALLS_KEPT - 2);
    assert_eq!(rest.last().unwrap().call.question["variables"]["n"], 5);
    store.record_usage(UsedBy { app: app.id.clone(), key: "x".into(), ..UsedBy::default() }, used(3));
    store.record_usage(UsedBy { app: app.id.clone(), key: "y".into(), ..UsedBy::default() }, used(4));
    let days = store.usage_of_app(&app.id, 1).await.unwrap();
    assert_eq!((days.len(), days[0].used), (1, used(7)));
    store.remove_app(&app.id, &me()).await.unwrap();
    // A call that was on its way holds nothing up.
    store.record_call(call(0));
    store.flush().await.unwrap();
    assert!(store.app_calls(&app.id, None, 9).await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}

fn used(prompt_tokens: u64) -> Used {
    Used { prompt_tokens, ..Used::default() }
}
