//! Usage: nothing is lost, nothing is counted twice.

use std::sync::Arc;

use saem_store::{NewKey, Scope, Used, UsedBy};

use crate::world::{World, me};

fn by(key: &str, model: &str) -> UsedBy {
    UsedBy { tenant: "t".to_owned(), key: key.to_owned(), app: String::new(), model: model.to_owned() }
}

const ONE: Used = Used { requests: 1, prompt_tokens: 10, cached_tokens: 4, completion_tokens: 3 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_of_many_servers_and_tasks_add_up_after_closing() {
    let world = World::new().await;
    let stores = [Arc::new(world.open().await), Arc::new(world.open().await)];
    let counting: Vec<_> = (0..8)
        .map(|task| {
            let store = stores[task % 2].clone();
            tokio::spawn(async move {
                for turn in 0..250 {
                    store.record_usage(by(if turn % 2 == 0 { "a" } else { "b" }, "m\0\u{7}"), ONE);
                    if turn % 50 == 0 {
                        store.flush().await.unwrap();
                    }
                }
            })
        })
        .collect();
    for counted in counting {
        counted.await.unwrap();
    }
    for store in stores {
        store.close().await.unwrap();
    }
    let store = world.open().await;
    let mut sums = store.usage("2000-01-01").await.unwrap();
    // A test that runs over midnight has its sums in two days.
    let total: u64 = sums.iter().map(|sum| sum.used.requests).sum();
    assert_eq!(total, 2000);
    if sums.len() == 2 {
        let sum = sums.remove(0);
        assert_eq!(
            sum.used,
            Used { requests: 1000, prompt_tokens: 10_000, cached_tokens: 4000, completion_tokens: 3000 }
        );
        assert_eq!(sum.by, by("a", "m\u{fffd}\u{fffd}"));
        assert_eq!(sum.day, jiff::Timestamp::now().strftime("%Y-%m-%d").to_string());
    }
    assert!(store.usage("9999-01-01").await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_and_written_later() {
    let world = World::new().await;
    let store = world.open().await;
    let issued = store.create_key(NewKey::named("a", &[Scope::Infer]), &me()).await.unwrap();
    world.tamper(&["ALTER TABLE usage RENAME TO elsewhere"]).await;
    store.record_usage(by("a", "m"), ONE);
    store.authenticate(&issued.text).await.unwrap().unwrap();
    store.record_audit(me().entry("t", "chat", "m"));
    assert!(store.flush().await.is_err());
    assert_eq!(store.backlog(), 1);
    store.record_usage(by("a", "m"), ONE);
    store.record_audit(me().entry("t", "chat", "n"));
    world.tamper(&["ALTER TABLE elsewhere RENAME TO usage"]).await;
    store.close().await.unwrap();
    let store = world.open().await;
    let sums = store.usage("2000-01-01").await.unwrap();
    assert_eq!(sums.iter().map(|sum| sum.used.requests).sum::<u64>(), 2);
    assert!(store.key(&issued.key.id).await.unwrap().last_used_at.is_some());
    // In the order in which they came.
    let subjects: Vec<String> = store.audit(2).await.unwrap().into_iter().map(|row| row.entry.subject).collect();
    assert_eq!(subjects, ["n", "m"]);
    store.close().await.unwrap();
    world.remove().await;
}
