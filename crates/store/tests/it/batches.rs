//! Batches and their rows.

use saem_store::{BatchRow, BatchState, NewBatch, Store, StoreError};
use serde_json::{Value, json};

use crate::world::{World, me};

fn table(rows: i64) -> NewBatch {
    let rows = (1..=rows).map(|row| (row + 1, json!([format!("글 {row}\0")]))).collect();
    NewBatch { name: " 후기 ".into(), about: json!({ "columns": ["a"] }), rows }
}

async fn finish(store: &Store, id: &str, number: i64, state: &str, gold: Option<&str>, answer: Option<&str>) {
    let row = BatchRow {
        number,
        state: state.into(),
        output: format!("답 {number}\0"),
        gold: gold.map(Into::into),
        answer: answer.map(Into::into),
        prompt_tokens: 2,
        completion_tokens: 3,
        ..BatchRow::default()
    };
    store.finish_row(id, &row).await.unwrap();
}

#[tokio::test]
async fn rows_go_from_waiting_to_an_end_and_failed_ones_wait_again() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_batch("t", table(250), &me()).await.unwrap();
    assert_eq!((&*made.name, made.state, made.rows, &made.task), ("후기", BatchState::Draft, 250, &Value::Null));
    assert!(store.claim_batches("s", true).await.unwrap().is_empty(), "a draft is nobody's work");
    assert!(!store.end_batch(&made.id, BatchState::Cancelled, "").await.unwrap());
    assert!(store.start_batch(&made.id, Some(&json!({ "x": 1 })), 1, "k", &me()).await.unwrap());
    assert!(!store.start_batch(&made.id, None, 1, "k", &me()).await.unwrap(), "it runs");
    let rows = store.batch_rows_after(&made.id, 0, true, 1000).await.unwrap();
    assert_eq!((rows.len(), rows[249].number, rows[249].line), (250, 250, 251));
    assert_eq!(rows[249].input, json!(["글 250\0"]));
    finish(&store, &made.id, 1, "done", Some("a"), Some("a")).await;
    finish(&store, &made.id, 2, "done", Some("a"), Some("b")).await;
    finish(&store, &made.id, 3, "done", Some("a"), Some("b")).await;
    finish(&store, &made.id, 4, "failed", None, None).await;
    // What is answered is not answered again.
    finish(&store, &made.id, 1, "failed", None, None).await;
    let progress = store.batch_progress(&made.id).await.unwrap();
    assert_eq!((progress.waiting, progress.done, progress.failed), (246, 3, 1));
    assert_eq!((progress.prompt_tokens, progress.completion_tokens), (8, 12));
    let mut labels = store.batch_labels(&made.id, 1).await.unwrap();
    labels.sort();
    assert_eq!(labels, [(0, "a".to_owned(), "a".to_owned(), 1), (0, "a".to_owned(), "b".to_owned(), 2)]);
    let failed = store.batch_rows(&made.id, 1, Some("failed"), 0, 9).await.unwrap();
    assert_eq!((failed.len(), failed[0].number, &*failed[0].output), (1, 4, "답 4\u{fffd}"));
    assert!(store.end_batch(&made.id, BatchState::Failed, "why\n").await.unwrap());
    let ended = store.batch(&made.id).await.unwrap();
    assert_eq!((ended.state, &*ended.reason, ended.key.as_str()), (BatchState::Failed, "why\u{fffd}", "k"));
    assert!(store.start_batch(&made.id, None, 1, "", &me()).await.unwrap());
    let again = store.batch(&made.id).await.unwrap();
    assert_eq!((again.task, again.started_at, again.ended_at), (json!({ "x": 1 }), ended.started_at, None));
    assert_eq!(store.batch_progress(&made.id).await.unwrap().waiting, 247);
    assert!(matches!(store.remove_batch("u", &made.id, &me()).await, Err(StoreError::NotFound { .. })));
    store.remove_batch("t", &made.id, &me()).await.unwrap();
    assert!(store.batch_rows(&made.id, 1, None, 0, 9).await.unwrap().is_empty());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_row_goes_several_ways_and_stays_one_row_of_the_table() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_batch("t", table(4), &me()).await.unwrap();
    assert!(store.start_batch(&made.id, Some(&json!({})), 3, "", &me()).await.unwrap());
    let rows = store.batch_rows_after(&made.id, 0, true, 100).await.unwrap();
    let places: Vec<(i64, i64)> = rows.iter().map(|row| (row.number, row.line)).collect();
    let expected: Vec<(i64, i64)> = (0..12).map(|place| (place + 1, place / 3 + 2)).collect();
    assert_eq!(places, expected);
    assert_eq!((&rows[9].input, &rows[11].input), (&json!(["글 4\0"]), &json!(["글 4\0"])));
    finish(&store, &made.id, 4, "done", Some("a"), Some("a")).await;
    finish(&store, &made.id, 5, "done", Some("a"), Some("b")).await;
    finish(&store, &made.id, 12, "failed", None, None).await;
    let mut labels = store.batch_labels(&made.id, 3).await.unwrap();
    labels.sort();
    assert_eq!(labels, [(0, "a".to_owned(), "a".to_owned(), 1), (1, "a".to_owned(), "b".to_owned(), 1)]);
    let numbers = async |state: Option<&str>, offset, limit| -> Vec<i64> {
        let rows = store.batch_rows(&made.id, 3, state, offset, limit).await.unwrap();
        rows.iter().map(|row| row.number).collect()
    };
    assert_eq!(numbers(Some("done"), 0, 9).await, [4, 5, 6]);
    assert_eq!(numbers(Some("failed"), 0, 9).await, [10, 11, 12]);
    assert_eq!(numbers(None, 2, 1).await, [7, 8, 9]);
    assert_eq!(numbers(Some("waiting"), 3, 9).await, [10, 11, 12]);
    for (state, count) in [("done", 1), ("failed", 1), ("waiting", 4)] {
        assert_eq!(store.batch_rows_in(&made.id, 3, state).await.unwrap(), count, "{state}");
    }
    // Going on asks what failed once more, and multiplies nothing again.
    assert!(store.end_batch(&made.id, BatchState::Cancelled, "").await.unwrap());
    assert!(store.start_batch(&made.id, None, 1, "", &me()).await.unwrap());
    assert_eq!(store.batch_progress(&made.id).await.unwrap().waiting, 10);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_batch_is_one_servers_until_that_one_is_silent() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_batch("t", table(1), &me()).await.unwrap();
    store.start_batch(&made.id, Some(&json!({})), 1, "", &me()).await.unwrap();
    let claimed = async |runner: &str, first: bool| store.claim_batches(runner, first).await.unwrap().len();
    assert_eq!(claimed("one", true).await, 1);
    assert_eq!((claimed("two", false).await, claimed("one", false).await), (0, 1), "it is renewed");
    // On one machine whoever starts has the file alone; on Postgres others may be at work.
    assert_eq!(claimed("two", true).await, usize::from(!world.is_postgres()));
    let owner = if world.is_postgres() { "one" } else { "two" };
    assert!(store.is_running(&made.id, owner).await.unwrap() && !store.is_running(&made.id, "x").await.unwrap());
    world.tamper(&["UPDATE batches SET seen_at = seen_at - 31000000"]).await;
    assert_eq!(claimed("three", false).await, 1);
    store.end_batch(&made.id, BatchState::Cancelled, "").await.unwrap();
    assert!(!store.is_running(&made.id, "three").await.unwrap());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn old_drafts_go_and_the_number_of_batches_is_bounded() {
    let world = World::new().await;
    let store = world.open().await;
    let old = store.create_batch("t", table(1), &me()).await.unwrap();
    world.tamper(&["UPDATE batches SET created_at = created_at - 86500000000"]).await;
    for _ in 0..200 {
        store.create_batch("t", table(1), &me()).await.unwrap();
    }
    assert!(store.batch(&old.id).await.is_err());
    assert!(matches!(store.create_batch("t", table(1), &me()).await, Err(StoreError::TooMany { most: 200, .. })));
    assert_eq!(store.batches("t").await.unwrap().len(), 200);
    store.create_batch("u", table(1), &me()).await.unwrap();
    store.close().await.unwrap();
    world.remove().await;
}
