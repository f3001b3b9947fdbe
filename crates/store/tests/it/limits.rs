//! Limits: nobody gets more than the allowance, however many ask at once and wherever.

use std::sync::Arc;
use std::time::Duration;

use saem_store::{Key, Limit, Limits, NewKey, Scope, Store};

use crate::world::{World, me};

async fn key(store: &Store, requests: Option<u32>, tokens: Option<u32>) -> Key {
    let limits = Limits { requests_per_minute: requests, tokens_per_minute: tokens };
    let new = NewKey { limits, ..NewKey::named("a", &[Scope::Infer]) };
    store.create_key(new, &me()).await.unwrap().key
}

#[tokio::test]
async fn requests_and_tokens_are_limited_together() {
    let world = World::new().await;
    let store = world.open().await;
    let free = key(&store, None, None).await;
    for _ in 0..50 {
        let grant = store.admit(&free, 1, u32::MAX).await.unwrap().unwrap();
        assert_eq!((grant.requests_left, grant.tokens_left), (None, None));
    }
    let limited = key(&store, Some(3), Some(100)).await;
    let grant = store.admit(&limited, 1, 60).await.unwrap().unwrap();
    assert_eq!((grant.requests_left, grant.tokens_left), (Some(2), Some(40)));
    let refusal = store.admit(&limited, 1, 60).await.unwrap().unwrap_err();
    assert_eq!((refusal.limit, refusal.per_minute), (Limit::Tokens, 100));
    // 20 more tokens take 12 seconds at 100 a minute.
    assert!((11.0..=12.0).contains(&refusal.retry_after.as_secs_f64()), "{refusal:?}");
    // A refusal takes nothing: two more requests fit.
    assert!(store.admit(&limited, 1, 10).await.unwrap().is_ok());
    assert!(store.admit(&limited, 1, 10).await.unwrap().is_ok());
    let refusal = store.admit(&limited, 1, 10).await.unwrap().unwrap_err();
    assert_eq!((refusal.limit, refusal.per_minute), (Limit::Requests, 3));
    assert!((18.0..=20.0).contains(&refusal.retry_after.as_secs_f64()), "{refusal:?}");
    // What belongs to a request that was counted needs tokens alone.
    let grant = store.admit(&limited, 0, 10).await.unwrap().unwrap();
    assert_eq!(grant.requests_left, Some(0));
    assert!((10..=15).contains(&grant.tokens_left.unwrap()), "{grant:?}");
    // Another key has an allowance of its own.
    assert!(store.admit(&key(&store, Some(3), Some(100)).await, 1, 60).await.unwrap().is_ok());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_was_not_used_is_given_back_and_what_was_used_beyond_is_owed() {
    let world = World::new().await;
    let store = world.open().await;
    let key = key(&store, None, Some(100)).await;
    let grant = store.admit(&key, 1, 90).await.unwrap().unwrap();
    store.settle(grant, 30);
    store.flush().await.unwrap();
    let grant = store.admit(&key, 1, 60).await.unwrap().unwrap();
    assert!(grant.tokens_left.unwrap() >= 9, "{grant:?}");
    store.settle(grant, 160);
    store.flush().await.unwrap();
    // About 90 are owed, and one more is wanted: 54 seconds and a bit.
    let refusal = store.admit(&key, 1, 1).await.unwrap().unwrap_err();
    assert!((50.0..=55.0).contains(&refusal.retry_after.as_secs_f64()), "{refusal:?}");
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_request_for_more_than_a_minute_holds_is_let_in_alone() {
    let world = World::new().await;
    let store = world.open().await;
    let key = key(&store, None, Some(100)).await;
    assert!(store.admit(&key, 1, 1000).await.unwrap().is_ok());
    let refusal = store.admit(&key, 1, 1).await.unwrap().unwrap_err();
    assert!(refusal.retry_after > Duration::from_secs(500), "{refusal:?}");
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn the_allowance_runs_in_again() {
    let world = World::new().await;
    let store = world.open().await;
    let key = key(&store, Some(600), None).await;
    while store.admit(&key, 1, 0).await.unwrap().is_ok() {}
    let refusal = store.admit(&key, 1, 0).await.unwrap().unwrap_err();
    assert!(refusal.retry_after <= Duration::from_millis(100), "{refusal:?}");
    tokio::time::sleep(refusal.retry_after + Duration::from_millis(5)).await;
    assert!(store.admit(&key, 1, 0).await.unwrap().is_ok());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_restart_hands_out_no_new_minute() {
    let world = World::new().await;
    let store = world.open().await;
    let key = key(&store, Some(4), Some(1000)).await;
    for _ in 0..3 {
        assert!(store.admit(&key, 1, 300).await.unwrap().is_ok());
    }
    store.close().await.unwrap();
    let store = world.open().await;
    let grant = store.admit(&key, 1, 50).await.unwrap().unwrap();
    assert_eq!(grant.requests_left, Some(0));
    assert!(grant.tokens_left.unwrap() < 100, "{grant:?}");
    assert!(store.admit(&key, 1, 1).await.unwrap().is_err());
    store.close().await.unwrap();
    world.remove().await;
}

/// On Postgres two servers share the allowance; on SQLite there is one server, which many ask at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_get_no_more_than_the_allowance() {
    let world = World::new().await;
    let mut stores = vec![Arc::new(world.open().await)];
    if world.is_postgres() {
        stores.push(Arc::new(world.open().await));
    }
    let key = key(&stores[0], Some(10), None).await;
    let asking: Vec<_> = (0..60)
        .map(|turn| {
            let (store, key) = (stores[turn % stores.len()].clone(), key.clone());
            tokio::spawn(async move { store.admit(&key, 1, 1).await.unwrap().is_ok() })
        })
        .collect();
    let begun = std::time::Instant::now();
    let mut let_in = 0;
    for asked in asking {
        let_in += usize::from(asked.await.unwrap());
    }
    // One runs in every six seconds.
    let run_in = begun.elapsed().as_secs() as usize / 6 + 1;
    assert!((10..=10 + run_in).contains(&let_in), "{let_in}");
    for store in stores {
        store.close().await.unwrap();
    }
    world.remove().await;
}
