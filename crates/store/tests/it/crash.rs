//! `kill -9` under load: what a call returned is there afterwards.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use saem_store::{AppVersion, Location, NewKey, Scope, Store, Used, UsedBy, Verification};
use serde_json::json;

use crate::world::{World, me};

/// Names the database to the process that will be killed.
const VARIABLE: &str = "SAEM_STORE_CRASH_TEST";
/// How often a process is started, killed, and its database looked at.
const ROUNDS: usize = 4;
/// Calls that returned before a process is killed.
const CALLS: usize = 60;

/// Writes keys, apps and audit rows from several tasks, and says on standard output what is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the next test kills"]
async fn victim() {
    let location = Location::parse(&std::env::var(VARIABLE).unwrap()).unwrap();
    let store = Arc::new(Store::open(location).await.unwrap());
    let mut tasks = Vec::new();
    for task in 0..3 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for turn in 0.. {
                let name = &format!("{}-{task}-{turn}", std::process::id());
                match task {
                    0 => {
                        let issued =
                            store.create_key(NewKey::named(name.clone(), &[Scope::Infer]), &me()).await.unwrap();
                        println!("\nkey {}", issued.text);
                    }
                    1 => {
                        let does = AppVersion {
                            model: "m".to_owned(),
                            definition: json!({ "prompt": name }),
                            allowed_origins: Vec::new(),
                            store_prompts: false,
                        };
                        println!("\napp {}", store.create_app("t", name, does, &me()).await.unwrap().id);
                    }
                    _ => {
                        let entry = me().entry("t", "chat", name);
                        store.append_audit(&[entry]).await.unwrap();
                        println!("\naudit {name}");
                    }
                }
                let by = UsedBy { key: name.clone(), ..UsedBy::default() };
                store.record_usage(by, Used { requests: 1, ..Used::default() });
                store.record_audit(me().entry("t", "batched", "x"));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_no_key_app_or_audit_row() {
    let world = World::new().await;
    let mut done: Vec<(String, String)> = Vec::new();
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::victim", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, world.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let before = done.len();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let told = |line: &String| {
            let (kind, value) = line.split_once(' ')?;
            ["key", "app", "audit"].contains(&kind).then(|| (kind.to_owned(), value.to_owned()))
        };
        while done.len() < before + CALLS {
            let line = lines.next().unwrap_or_else(|| panic!("the process ended by itself"));
            done.extend(told(&line));
        }
        child.kill().unwrap(); // SIGKILL
        // What it had said by then counts too; the last line may be cut.
        let rest: Vec<String> = lines.collect();
        done.extend(rest.iter().rev().skip(1).rev().filter_map(told));
        child.wait().unwrap();

        let begun = std::time::Instant::now();
        let store = world.open().await;
        assert!(begun.elapsed() < Duration::from_secs(2), "opening took {:?}", begun.elapsed());
        let Verification::Intact { rows, .. } = store.verify_audit().await.unwrap() else { panic!("a broken chain") };
        let logged = store.audit(u32::try_from(rows).unwrap()).await.unwrap();
        for (kind, value) in &done {
            match &**kind {
                "key" => assert!(store.authenticate(value).await.unwrap().is_ok(), "{value}"),
                "app" => assert_eq!(store.app(value, None).await.unwrap().id, *value),
                _ => assert!(logged.iter().any(|row| row.entry.subject == *value), "{value}"),
            }
        }
        // Each key and app with its row in the log, and no row without its key or app.
        let (mut keys, mut apps) = (0, 0);
        for row in &logged {
            match &*row.entry.action {
                "key.create" => {
                    keys += 1;
                    store.key(&row.entry.subject).await.unwrap();
                }
                "app.create" => {
                    apps += 1;
                    store.app(&row.entry.subject, None).await.unwrap();
                }
                _ => {}
            }
        }
        assert_eq!((keys, apps), (store.keys().await.unwrap().len(), store.apps("t").await.unwrap().len()));
        store.close().await.unwrap();
    }
    assert!(done.len() >= ROUNDS * CALLS);
    for kind in ["key", "app", "audit"] {
        assert!(done.iter().any(|(done, _)| done == kind), "no {kind} was made");
    }
    world.remove().await;
}
