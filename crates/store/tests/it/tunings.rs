//! Tunings and whose turn it is.

use saem_store::{NewTuning, Store, StoreError, Tuning, TuningState};
use serde_json::json;

use crate::world::{World, me};

async fn make(store: &Store, tenant: &str, name: &str) -> Tuning {
    let id = store.fresh_id().unwrap();
    let new = NewTuning { id, name: name.into(), task: json!({ "base": "m" }), key: "k".into() };
    store.create_tuning(tenant, new, &me()).await.unwrap()
}

#[tokio::test]
async fn one_tuning_runs_at_a_time_in_the_order_in_which_they_came() {
    let world = World::new().await;
    let store = world.open().await;
    assert!(store.claim_tuning("s", true).await.unwrap().is_none());
    let (a, b) = (make(&store, "t", " 하나 ").await, make(&store, "u", "둘").await);
    assert_eq!((&*a.name, a.state, &*a.key, a.started_at), ("하나", TuningState::Queued, "k", None));
    let claimed = store.claim_tuning("s", false).await.unwrap().unwrap();
    assert_eq!((&claimed.id, claimed.state, claimed.started_at.is_some()), (&a.id, TuningState::Running, true));
    assert!(store.claim_tuning("s", false).await.unwrap().is_none(), "one runs");
    assert!(store.claim_tuning("other", false).await.unwrap().is_none(), "for all servers");
    assert_eq!(store.renew_tuning(&a.id, "s").await.unwrap(), Some(TuningState::Running));
    assert_eq!(store.renew_tuning(&a.id, "other").await.unwrap(), None);
    assert!(!store.queue_tuning(&a.id, "", &me()).await.unwrap(), "it runs");
    // Stopping takes until the process has written down where it is.
    assert!(store.stop_tuning(&a.id, &me()).await.unwrap());
    assert_eq!(store.renew_tuning(&a.id, "s").await.unwrap(), Some(TuningState::Stopping));
    assert!(store.claim_tuning("s", false).await.unwrap().is_none());
    assert!(!store.end_tuning(&a.id, "other", TuningState::Done, "").await.unwrap());
    assert!(store.end_tuning(&a.id, "s", TuningState::Stopped, "").await.unwrap());
    assert_eq!(store.claim_tuning("s", false).await.unwrap().unwrap().id, b.id);
    assert!(store.end_tuning(&b.id, "s", TuningState::Failed, "why\n").await.unwrap());
    let failed = store.tuning(&b.id).await.unwrap();
    assert_eq!((failed.state, &*failed.reason), (TuningState::Failed, "why\u{fffd}"));
    // Both may go on; who asks first is first.
    assert!(store.queue_tuning(&b.id, "k2", &me()).await.unwrap());
    assert!(store.queue_tuning(&a.id, "k2", &me()).await.unwrap());
    let again = store.claim_tuning("s", false).await.unwrap().unwrap();
    assert_eq!((again.id, &*again.reason, &*again.key, again.ended_at), (b.id.clone(), "", "k2", None));
    // One that waits is stopped at once.
    assert!(store.stop_tuning(&a.id, &me()).await.unwrap());
    assert_eq!(store.tuning(&a.id).await.unwrap().state, TuningState::Stopped);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_ran_when_the_server_died_goes_on_and_what_was_to_stop_is_stopped() {
    let world = World::new().await;
    let store = world.open().await;
    let a = make(&store, "t", "a").await;
    store.claim_tuning("s", true).await.unwrap();
    store.close().await.unwrap();
    let store = world.open().await;
    if world.is_postgres() {
        assert!(store.claim_tuning("s2", true).await.unwrap().is_none(), "another server may still have it");
        world.tamper(&["UPDATE tunings SET seen_at = 0"]).await;
    }
    assert_eq!(store.claim_tuning("s2", true).await.unwrap().unwrap().id, a.id);
    assert_eq!(store.renew_tuning(&a.id, "s").await.unwrap(), None, "it is the new one's");
    store.stop_tuning(&a.id, &me()).await.unwrap();
    world.tamper(&["UPDATE tunings SET seen_at = 0"]).await;
    assert!(store.claim_tuning("s3", true).await.unwrap().is_none());
    assert_eq!(store.tuning(&a.id).await.unwrap().state, TuningState::Stopped);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_is_served_is_found_again() {
    let world = World::new().await;
    let store = world.open().await;
    let (a, b) = (make(&store, "t", "a").await, make(&store, "t", "b").await);
    assert!(store.serve_tuning(&b.id, "m:shop", "p", &me()).await.unwrap());
    assert!(!store.serve_tuning(&b.id, "m:other", "q", &me()).await.unwrap());
    let served = store.served_tunings().await.unwrap();
    assert_eq!(
        (served.len(), served[0].served_as.as_deref(), served[0].project.as_deref()),
        (1, Some("m:shop"), Some("p"))
    );
    assert!(store.serve_tuning(&b.id, "", "p", &me()).await.unwrap());
    assert!(!store.serve_tuning(&b.id, "", "p", &me()).await.unwrap());
    assert!(store.served_tunings().await.unwrap().is_empty());
    assert!(matches!(store.remove_tuning("u", &a.id, &me()).await, Err(StoreError::NotFound { .. })));
    store.remove_tuning("t", &a.id, &me()).await.unwrap();
    let left: Vec<String> = store.tunings("t").await.unwrap().into_iter().map(|tuning| tuning.id).collect();
    assert_eq!(left, [b.id]);
    store.close().await.unwrap();
    world.remove().await;
}
