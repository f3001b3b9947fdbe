//! Projects and their versions.

use saem_store::{AUTOSAVES, MOST_PROJECTS, Project, Save, Saved, Store, StoreError};
use serde_json::{Value, json};

use crate::world::{World, me};

fn document(prompt: &str) -> Value {
    json!({ "model": "m", "prompt": prompt })
}

fn save(based_on: i64, prompt: &str) -> Save {
    Save { based_on, document: document(prompt), ..Save::default() }
}

async fn done(store: &Store, id: &str, save: &Save) -> Project {
    match store.save_project("t", id, save, &me()).await.unwrap() {
        Saved::Done(project) => project,
        Saved::Conflict(current) => panic!("a conflict with {current:?}"),
    }
}

#[tokio::test]
async fn a_save_that_has_not_seen_the_current_version_changes_nothing() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_project("t", " 후기 요약 ", &document("a\0"), &me()).await.unwrap();
    assert_eq!((&*made.name, made.current.version, &made.current.document), ("후기 요약", 1, &document("a\0")));
    assert_eq!(store.project(&made.id).await.unwrap(), made);
    let second = done(&store, &made.id, &save(1, "b")).await;
    assert_eq!((second.current.version, second.current.saved_by.as_str()), (2, "cli:test"));
    // The other tab still has version 1.
    let conflict = store.save_project("t", &made.id, &save(1, "c"), &me()).await.unwrap();
    assert_eq!(conflict, Saved::Conflict(second.clone()));
    assert_eq!(store.project(&made.id).await.unwrap(), second);
    // Several at once on the same version: one wins.
    let both = three_at_once(&store, &made.id).await;
    assert_eq!(both.iter().filter(|saved| matches!(saved, Saved::Done(_))).count(), 1);
    assert_eq!(store.project_version(&made.id, 1).await.unwrap().document, document("a\0"));
    let foreign = store.save_project("u", &made.id, &save(3, "x"), &me()).await;
    assert!(matches!(foreign, Err(StoreError::NotFound { kind: "project", .. })));
    store.close().await.unwrap();
    world.remove().await;
}

async fn three_at_once(store: &Store, id: &str) -> Vec<Saved> {
    let (a, b, c) = (save(2, "x"), save(2, "y"), save(2, "z"));
    let run = async |save: &Save| store.save_project("t", id, save, &me()).await.unwrap();
    let (a, b, c) = tokio::join!(run(&a), run(&b), run(&c));
    vec![a, b, c]
}

#[tokio::test]
async fn what_was_saved_by_hand_stays_and_of_autosaves_the_newest() {
    let world = World::new().await;
    let store = world.open().await;
    let made = store.create_project("t", "a", &document("0"), &me()).await.unwrap();
    for version in 1..=40 {
        let autosave = version != 3;
        let changed = Save { autosave, note: format!("n{version}"), ..save(version, &version.to_string()) };
        assert_eq!(done(&store, &made.id, &changed).await.current.version, version + 1);
    }
    let versions = store.project_versions(&made.id, None, 100).await.unwrap();
    let numbers: Vec<i64> = versions.iter().map(|version| version.version).collect();
    let newest: Vec<i64> = (0..AUTOSAVES).map(|back| 41 - back).chain([4, 1]).collect();
    assert_eq!(numbers, newest);
    let before: Vec<i64> =
        store.project_versions(&made.id, Some(5), 1).await.unwrap().iter().map(|version| version.version).collect();
    assert_eq!(before, [4]);
    // The same again makes no version, and by hand it makes the autosave stay.
    let again = Save { note: "kept".into(), ..save(41, "40") };
    let kept = done(&store, &made.id, &again).await;
    assert_eq!((kept.current.version, kept.current.autosave, &*kept.current.note), (41, false, "kept"));
    let restored = Save { restored_from: Some(4), ..save(41, "3") };
    let restored = done(&store, &made.id, &restored).await;
    assert_eq!((restored.current.version, restored.current.restored_from), (42, Some(4)));
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn projects_are_listed_named_shared_and_removed() {
    let world = World::new().await;
    let store = world.open().await;
    let mut ids = Vec::new();
    for name in ["Review 100%", "review_b", "번역"] {
        ids.push(store.create_project("t", name, &document(name), &me()).await.unwrap().id);
    }
    store.create_project("u", "review", &document("u"), &me()).await.unwrap();
    let names = async |query: &str, before: Option<&str>, limit| {
        let found = store.projects("t", query, before, limit).await.unwrap();
        found.into_iter().map(|project| project.name).collect::<Vec<_>>()
    };
    assert_eq!(names("", None, 2).await, ["번역", "review_b"]);
    assert_eq!(names("", Some(&ids[1]), 2).await, ["Review 100%"]);
    assert_eq!(names("REVIEW", None, 9).await, ["review_b", "Review 100%"]);
    assert_eq!(names("%", None, 9).await, ["Review 100%"]);
    assert_eq!(names("_", None, 9).await, ["review_b"]);
    assert_eq!(names("번", None, 9).await, ["번역"]);
    let changed = store.change_project("t", &ids[0], Some("새 이름"), Some(true), &me()).await.unwrap();
    assert_eq!((&*changed.name, changed.shared, changed.current.version), ("새 이름", true, 1));
    assert_eq!(names("", None, 1).await, ["새 이름"]);
    assert!(matches!(
        store.change_project("t", &ids[0], Some(" "), None, &me()).await,
        Err(StoreError::Invalid { field: "name", .. })
    ));
    assert!(store.remove_project("u", &ids[0], &me()).await.is_err());
    store.remove_project("t", &ids[0], &me()).await.unwrap();
    assert!(store.project(&ids[0]).await.is_err() && store.project_version(&ids[0], 1).await.is_err());
    let actions: Vec<String> = store.audit(9).await.unwrap().into_iter().map(|row| row.entry.action).collect();
    assert_eq!(actions[..2], ["project.remove", "project.share"]);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn documents_and_their_number_are_bounded() {
    let world = World::new().await;
    let store = world.open().await;
    for wrong in [json!([1]), json!({ "prompt": "x".repeat(256 << 10) })] {
        let refused = store.create_project("t", "a", &wrong, &me()).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "document", .. })));
    }
    store.create_project("t", "a", &document(""), &me()).await.unwrap();
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) INSERT INTO projects
        (id, tenant, name, version, shared, created_at, changed_at)
        SELECT 'p' || CAST(i AS TEXT), 't', 'n', 1, 0, 0, 0 FROM n",
        MOST_PROJECTS - 1
    );
    world.tamper(&[&many]).await;
    let refused = store.create_project("t", "a", &document(""), &me()).await;
    assert!(matches!(refused, Err(StoreError::TooMany { most: MOST_PROJECTS, .. })));
    store.create_project("u", "a", &document(""), &me()).await.unwrap();
    store.close().await.unwrap();
    world.remove().await;
}
