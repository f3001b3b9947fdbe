//! The audit log: its chain, and every way of tampering with it.

use std::sync::Arc;

use saem_store::{Entry, Fault, NewKey, Origin, Scope, Store, Verification};

use crate::world::{World, me};

fn entries(count: usize) -> Vec<Entry> {
    (0..count).map(|number| me().entry("t", "chat.completions", &format!("model {number}"))).collect()
}

async fn broken(store: &Store) -> (i64, Fault) {
    match store.verify_audit().await.unwrap() {
        Verification::Broken { sequence, fault } => (sequence, fault),
        intact => panic!("{intact:?}"),
    }
}

#[tokio::test]
async fn the_chain_holds_over_pages_and_reopening() {
    let world = World::new().await;
    let store = world.open().await;
    assert_eq!(store.verify_audit().await.unwrap(), Verification::Intact { rows: 0, hash: String::new() });
    store.append_audit(&[]).await.unwrap();
    store.append_audit(&entries(1500)).await.unwrap();
    store.close().await.unwrap();
    let store = world.open().await;
    store.append_audit(&entries(700)).await.unwrap();
    let Verification::Intact { rows: 2200, hash } = store.verify_audit().await.unwrap() else { panic!("broken") };
    let last = &store.audit(3).await.unwrap();
    assert_eq!((last.len(), last[0].sequence, &last[0].hash), (3, 2200, &hash));
    assert_eq!(last[0].entry.subject, "model 699");
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn administration_is_logged_with_who_and_from_where() {
    let world = World::new().await;
    let store = world.open().await;
    let origin = Origin::new("admin", "192.0.2.7");
    let key = store.create_key(NewKey::named("a", &[Scope::Admin]), &origin).await.unwrap().key;
    let next = store.rotate_key(&key.id, std::time::Duration::ZERO, &origin).await.unwrap().key;
    store.revoke_key(&next.id, &origin).await.unwrap();
    store.append_audit(&[origin.entry("", "x", "y\n\0z").with_result("403 forbidden")]).await.unwrap();
    let rows = store.audit(10).await.unwrap();
    let told: Vec<String> =
        rows.iter().rev().map(|row| [&*row.entry.action, &row.entry.subject, &row.entry.result].join(" | ")).collect();
    assert_eq!(
        told,
        [
            format!("key.create | {} | ok", key.id),
            format!("key.rotate | {} -> {} | ok", key.id, next.id),
            format!("key.revoke | {} | ok", next.id),
            "x | y\u{fffd}\u{fffd}z | 403 forbidden".to_owned(),
        ]
    );
    assert!(rows.iter().all(|row| row.entry.who == "admin" && row.entry.source == "192.0.2.7"));
    assert!(matches!(store.verify_audit().await.unwrap(), Verification::Intact { rows: 4, .. }));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_write_one_chain() {
    let world = World::new().await;
    let stores = [Arc::new(world.open().await), Arc::new(world.open().await)];
    let writing: Vec<_> = (0..6)
        .map(|task| {
            let store = stores[task % 2].clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    store.append_audit(&entries(2)).await.unwrap();
                    store.record_audit(me().entry("t", "later", "s"));
                }
            })
        })
        .collect();
    for written in writing {
        written.await.unwrap();
    }
    for store in stores {
        store.close().await.unwrap();
    }
    let store = world.open().await;
    assert!(matches!(store.verify_audit().await.unwrap(), Verification::Intact { rows: 360, .. }));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn rows_cannot_be_changed_or_deleted() {
    let world = World::new().await;
    let store = world.open().await;
    store.append_audit(&entries(3)).await.unwrap();
    for statement in ["UPDATE audit SET who = 'x' WHERE sequence = 2", "DELETE FROM audit WHERE sequence = 3"] {
        let refused = world.try_tamper(&[statement]).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    if world.is_postgres() {
        assert!(world.try_tamper(&["TRUNCATE audit"]).await.unwrap_err().to_string().contains("append-only"));
    }
    assert!(matches!(store.verify_audit().await.unwrap(), Verification::Intact { rows: 3, .. }));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn tampering_is_found_and_the_first_broken_row_named() {
    let world = World::new().await;
    let store = world.open().await;
    store.append_audit(&entries(20)).await.unwrap();
    world.unlock_audit().await;
    let intact = store.verify_audit().await.unwrap();
    assert!(matches!(intact, Verification::Intact { rows: 20, .. }));

    // Each field of a row, and back.
    let first = "(SELECT hash FROM audit WHERE sequence = 1)";
    let cases = [
        ("who = 'x'", "who = 'cli:test'"),
        ("action = 'x'", "action = 'chat.completions'"),
        ("subject = 'model 1'", "subject = 'model 11'"),
        ("source = 'x'", "source = 'local'"),
        ("result = 'failed'", "result = 'ok'"),
        ("tenant = 'u'", "tenant = 't'"),
        ("at = at + 1", "at = at - 1"),
        ("at = 9223372036854775807", ""),
    ];
    for (change, back) in cases {
        if back.is_empty() {
            world.tamper(&["CREATE TABLE kept AS SELECT at FROM audit WHERE sequence = 12"]).await;
        }
        world.tamper(&[&format!("UPDATE audit SET {change} WHERE sequence = 12")]).await;
        assert_eq!(broken(&store).await, (12, Fault::Altered), "{change}");
        let back = if back.is_empty() { "at = (SELECT at FROM kept)" } else { back };
        world.tamper(&[&format!("UPDATE audit SET {back} WHERE sequence = 12")]).await;
        assert_eq!(store.verify_audit().await.unwrap(), intact, "{change}");
    }

    // A row with a hash that is not its own; its end set elsewhere; rows beyond the end.
    world
        .tamper(&["CREATE TABLE copy AS SELECT * FROM audit", "CREATE TABLE end_copy AS SELECT * FROM audit_head"])
        .await;
    let restore = [
        "DELETE FROM audit",
        "INSERT INTO audit SELECT * FROM copy",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head SELECT * FROM end_copy",
    ];
    let set_hash = format!("UPDATE audit SET hash = {first} WHERE sequence = 5");
    let cases: [(&[&str], (i64, Fault)); 9] = [
        (&[&set_hash], (5, Fault::Altered)),
        (&["DELETE FROM audit WHERE sequence = 7"], (7, Fault::Missing)),
        (&["DELETE FROM audit WHERE sequence = 1"], (1, Fault::Missing)),
        (&["DELETE FROM audit WHERE sequence > 18"], (19, Fault::Missing)),
        (&["DELETE FROM audit"], (1, Fault::Missing)),
        // Taken out and the rest moved up.
        (
            &[
                "DELETE FROM audit WHERE sequence = 7",
                "UPDATE audit SET sequence = -sequence + 1 WHERE sequence > 7",
                "UPDATE audit SET sequence = -sequence WHERE sequence < 0",
                "UPDATE audit_head SET sequence = 19",
            ],
            (7, Fault::Altered),
        ),
        // Two rows exchanged.
        (
            &[
                "UPDATE audit SET sequence = -3 WHERE sequence = 3",
                "UPDATE audit SET sequence = 3 WHERE sequence = 4",
                "UPDATE audit SET sequence = 4 WHERE sequence = -3",
            ],
            (3, Fault::Altered),
        ),
        (&["UPDATE audit_head SET hash = 'x'"], (20, Fault::WrongEnd)),
        // The end set back to an earlier row, with its hash: the later rows hang in the air.
        (
            &["UPDATE audit_head SET sequence = 15, hash = (SELECT hash FROM audit WHERE sequence = 15)"],
            (16, Fault::AfterEnd),
        ),
    ];
    for (statements, expected) in cases {
        world.tamper(statements).await;
        assert_eq!(broken(&store).await, expected, "{statements:?}");
        world.tamper(&restore).await;
        assert_eq!(store.verify_audit().await.unwrap(), intact, "{statements:?}");
    }
    world.tamper(&["DELETE FROM audit_head"]).await;
    assert_eq!(broken(&store).await, (1, Fault::WrongEnd));
    store.close().await.unwrap();
    world.remove().await;
}
