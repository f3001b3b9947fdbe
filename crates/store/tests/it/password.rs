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
