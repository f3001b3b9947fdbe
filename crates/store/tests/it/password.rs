//! The administrator's password.

use saem_store::StoreError;

use crate::world::{World, me};

#[tokio::test]
async fn only_the_password_is_the_password_however_it_is_composed() {
    let world = World::new().await;
    let store = world.open().await;
    assert!(!store.has_admin_password().await.unwrap());
    assert!(!store.verify_admin_password("").await.unwrap());
    assert!(!store.verify_admin_password("비밀번호는 길어야 좋다").await.unwrap());
    store.set_admin_password("비밀번호는 길어야 좋다", &me()).await.unwrap();
    assert!(store.has_admin_password().await.unwrap());
    assert!(store.verify_admin_password("비밀번호는 길어야 좋다").await.unwrap());
    // The same letters, taken apart as one system's keyboard does.
    let apart = "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}번호는 길어야 좋다";
    assert!(store.verify_admin_password(apart).await.unwrap());
    for wrong in ["", "비밀번호는 길어야 좋디", "비밀번호는 길어야 좋다 ", &"비밀번호는 길어야 좋다".repeat(1000)]
    {
        assert!(!store.verify_admin_password(wrong).await.unwrap());
    }
    store.set_admin_password("correct horse battery", &me()).await.unwrap();
    assert!(!store.verify_admin_password("비밀번호는 길어야 좋다").await.unwrap());
    assert!(store.verify_admin_password("correct horse battery").await.unwrap());
    assert_eq!(store.audit(10).await.unwrap().len(), 2);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn short_and_endless_passwords_are_refused() {
    let world = World::new().await;
    let store = world.open().await;
    for password in ["", "123456789", "비밀번호비밀번호비", &"x".repeat(1025)] {
        let refused = store.set_admin_password(password, &me()).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "password", .. })), "{password}");
    }
    assert!(!store.has_admin_password().await.unwrap());
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn the_first_password_is_set_once_and_a_session_lasts_until_it_changes() {
    let world = World::new().await;
    let store = world.open().await;
    assert!(store.set_first_admin_password("correct horse", &me()).await.unwrap());
    assert!(!store.set_first_admin_password("another horse", &me()).await.unwrap());
    assert!(store.verify_admin_password("correct horse").await.unwrap());
    let (first, second) = (store.begin_session(&me()).await.unwrap(), store.begin_session(&me()).await.unwrap());
    assert_ne!(first, second);
    for (token, known) in [(&*first, true), (&second, true), (&first.to_lowercase(), false), ("", false)] {
        assert_eq!(store.has_session(token).await.unwrap(), known, "{token}");
    }
    assert!(store.end_session(&first, &me()).await.unwrap());
    assert!(!store.end_session(&first, &me()).await.unwrap());
    assert_eq!((store.has_session(&first).await.unwrap(), store.has_session(&second).await.unwrap()), (false, true));
    store.set_admin_password("another horse", &me()).await.unwrap();
    assert!(!store.has_session(&second).await.unwrap());
    let actions: Vec<String> = store.audit(10).await.unwrap().into_iter().rev().map(|row| row.entry.action).collect();
    assert_eq!(actions, ["admin.password", "admin.sign_in", "admin.sign_in", "admin.sign_out", "admin.password"]);
    store.close().await.unwrap();
    world.remove().await;
}

#[tokio::test]
async fn a_session_ends_by_itself_outlives_a_restart_and_makes_room() {
    let world = World::new().await;
    let store = world.open().await;
    let token = store.begin_session(&me()).await.unwrap();
    store.close().await.unwrap();
    let store = world.open().await;
    assert!(store.has_session(&token).await.unwrap());
    // Of a hundred and one, the oldest is gone.
    for _ in 0..99 {
        store.begin_session(&me()).await.unwrap();
    }
    assert!(store.has_session(&token).await.unwrap());
    let last = store.begin_session(&me()).await.unwrap();
    assert_eq!((store.has_session(&token).await.unwrap(), store.has_session(&last).await.unwrap()), (false, true));
    world.tamper(&["UPDATE sessions SET expires_at = 1"]).await;
    assert!(!store.has_session(&last).await.unwrap());
    store.close().await.unwrap();
    world.remove().await;
}
