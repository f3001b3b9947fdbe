//! Keys from their making to their end.

use std::time::Duration;

use jiff::Timestamp;
use saem_store::{Denied, Limits, NewKey, Origin, Scope, State, StoreError};

use crate::world::{World, me};

#[tokio::test]
async fn a_key_is_what_it_was_made_as_and_its_secret_is_not_kept() {
    let world = World::new().await;
    let store = world.open().await;
    let new = NewKey {
        tenant: "연구소".to_owned(),
        models: vec!["smollm2-135m".to_owned(), "exaone".to_owned()],
        apps: vec!["shop".to_owned()],
        limits: Limits { requests_per_minute: Some(60), tokens_per_minute: Some(4_000_000_000) },
        expires_at: Some(Timestamp::from_microsecond(4_000_000_000_123_456).unwrap()),
        ..NewKey::named("상점", &[Scope::Embed, Scope::Infer, Scope::Embed])
    };
    let issued = store.create_key(new.clone(), &me()).await.unwrap();
    assert_eq!(issued.key.made, NewKey { scopes: vec![Scope::Infer, Scope::Embed], ..new });
    let read = store.authenticate(&issued.text).await.unwrap().unwrap();
    assert_eq!(read, issued.key);
    assert_eq!(store.key(&issued.key.id).await.unwrap(), issued.key);
    assert!(store.has_any_key().await.unwrap() && store.has_usable_key().await.unwrap());
    let secret = issued.text.rsplit('_').next().unwrap();
    assert!(!format!("{issued:?}").contains(secret));
    store.close().await.unwrap();
    if let saem_store::Location::Sqlite(path) = &world.location {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        assert!(bytes.windows(12).any(|window| window == issued.key.id.as_bytes()));
    }
    world.remove().await;
}

#[tokio::test]
async fn only_the_right_text_is_let_in() {
    let world = World::new().await;
    let store = world.open().await;
    let one = store.create_key(NewKey::named("one", &[Scope::Infer]), &me()).await.unwrap();
    let two = store.create_key(NewKey::named("two", &[Scope::Infer]), &me()).await.unwrap();
    let (secret_one, secret_two) = (one.text.rsplit('_').next().unwrap(), two.text.rsplit('_').next().unwrap());
    let last = if one.text.ends_with('0') { '1' } else { '0' };
    let wrong = [
        String::new(),
        one.key.id.clone(),
        format!("saem_{}_{secret_two}", one.key.id),
        format!("saem_{}_{secret_one}", two.key.id),
        format!("{}{last}", &one.text[..one.text.len() - 1]),
        format!("{} ", one.text),
        one.text.to_uppercase(),
        format!("saem_AAAAAAAAAAAA_{secret_one}"),
        "saem_' OR 1=1 --_x".to_owned(),
        "\0".to_owned(),
    ];
    for text in &wrong {
        assert_eq!(store.authenticate(text).await.unwrap(), Err(Denied::Unknown), "{text}");
    }
    assert_eq!(store.authenticate(&two.text).await.unwrap().unwrap().id, two.key.id);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_revoked_key_ends_at_once_and_for_every_server() {
    let world = World::new().await;
    let (here, there) = (world.open().await, world.open().await);
    let issued = here.create_key(NewKey::named("a", &[Scope::Infer]), &me()).await.unwrap();
    assert!(there.authenticate(&issued.text).await.unwrap().is_ok());
    let revoked = here.revoke_key(&issued.key.id, &me()).await.unwrap();
    assert_eq!(revoked.state(Timestamp::now()), State::Revoked);
    assert_eq!(there.authenticate(&issued.text).await.unwrap(), Err(Denied::Revoked));
    assert!(here.has_any_key().await.unwrap() && !here.has_usable_key().await.unwrap());
    // Again changes nothing, not even the instant or the log.
    assert_eq!(there.revoke_key(&issued.key.id, &me()).await.unwrap(), revoked);
    assert_eq!(here.audit(10).await.unwrap().len(), 2);
    for id in ["none", "", "'; DROP TABLE keys; --", "\0"] {
        assert!(matches!(here.revoke_key(id, &me()).await, Err(StoreError::NotFound { .. })), "{id}");
    }
    here.close().await.unwrap();
    there.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_key_works_until_its_end() {
    let world = World::new().await;
    let store = world.open().await;
    let end = Timestamp::now() + Duration::from_millis(600);
    let new = NewKey { expires_at: Some(end), ..NewKey::named("a", &[Scope::Infer]) };
    let issued = store.create_key(new, &me()).await.unwrap();
    assert!(store.authenticate(&issued.text).await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(store.authenticate(&issued.text).await.unwrap(), Err(Denied::Expired));
    assert!(!store.has_usable_key().await.unwrap());
    assert!(matches!(
        store.rotate_key(&issued.key.id, Duration::ZERO, &me()).await,
        Err(StoreError::KeyInactive { .. })
    ));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn rotation_overlaps_and_keeps_what_the_key_may_do() {
    let world = World::new().await;
    let store = world.open().await;
    let new = NewKey {
        limits: Limits { requests_per_minute: Some(5), tokens_per_minute: None },
        ..NewKey::named("a", &[Scope::Infer])
    };
    let old = store.create_key(new.clone(), &me()).await.unwrap();
    let successor = store.rotate_key(&old.key.id, Duration::from_millis(600), &me()).await.unwrap();
    assert_eq!(successor.key.made, new);
    assert_eq!(successor.key.lineage, old.key.id);
    assert_ne!(successor.text, old.text);
    // Both work, and both draw on one allowance.
    let first = store.authenticate(&old.text).await.unwrap().unwrap();
    let second = store.authenticate(&successor.text).await.unwrap().unwrap();
    assert_eq!(first.state(Timestamp::now()), State::Replaced);
    assert_eq!(first.replaced_by.as_ref(), Some(&second.id));
    for (turn, key) in [&first, &second, &first, &second, &first].into_iter().enumerate() {
        assert!(store.admit(key, 1, 1).await.unwrap().is_ok(), "{turn}");
    }
    assert!(store.admit(&second, 1, 1).await.unwrap().is_err());
    // Only one successor each.
    assert!(matches!(store.rotate_key(&old.key.id, Duration::ZERO, &me()).await, Err(StoreError::KeyInactive { .. })));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(store.authenticate(&old.text).await.unwrap(), Err(Denied::Expired));
    assert!(store.authenticate(&successor.text).await.unwrap().is_ok());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rotations_at_once_one_wins() {
    let world = World::new().await;
    let store = std::sync::Arc::new(world.open().await);
    let issued = store.create_key(NewKey::named("a", &[Scope::Infer]), &me()).await.unwrap();
    let rotating: Vec<_> = (0..8)
        .map(|_| {
            let (store, id) = (store.clone(), issued.key.id.clone());
            tokio::spawn(async move { store.rotate_key(&id, Duration::from_secs(60), &me()).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for rotated in rotating {
        won += usize::from(rotated.await.unwrap());
    }
    assert_eq!((won, store.keys().await.unwrap().len()), (1, 2));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_field() {
    let world = World::new().await;
    let store = world.open().await;
    let good = NewKey::named("a", &[Scope::Infer]);
    let past = Timestamp::now() - Duration::from_secs(1);
    let zero = Limits { requests_per_minute: Some(0), tokens_per_minute: None };
    let cases = [
        (NewKey { name: "  ".to_owned(), ..good.clone() }, "name"),
        (NewKey { tenant: String::new(), ..good.clone() }, "tenant"),
        (NewKey { scopes: Vec::new(), ..good.clone() }, "scopes"),
        (NewKey { limits: zero, ..good.clone() }, "limits"),
        (NewKey { expires_at: Some(past), ..good.clone() }, "expires_at"),
        (NewKey { models: vec!["a\nb".to_owned()], ..good.clone() }, "models, apps"),
    ];
    for (new, expected) in cases {
        match store.create_key(new, &me()).await {
            Err(StoreError::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let orphan = NewKey { app: Some("none".to_owned()), ..good };
    assert!(matches!(store.create_key(orphan, &me()).await, Err(StoreError::NotFound { kind: "app", .. })));
    assert!(store.keys().await.unwrap().is_empty() && store.audit(10).await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn last_use_is_written_beside_the_requests() {
    let world = World::new().await;
    let store = world.open().await;
    let issued =
        store.create_key(NewKey::named("a", &[Scope::Infer]), &Origin::new("admin", "127.0.0.1")).await.unwrap();
    assert_eq!(store.key(&issued.key.id).await.unwrap().last_used_at, None);
    let before = Timestamp::now();
    store.authenticate(&issued.text).await.unwrap().unwrap();
    // Written by the batch writer on its own.
    let mut last = None;
    for _ in 0..100 {
        last = store.key(&issued.key.id).await.unwrap().last_used_at;
        if last.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(last.unwrap().as_microsecond() >= before.as_microsecond(), "{last:?}");
    store.close().await.unwrap();
    world.remove().await;
}
