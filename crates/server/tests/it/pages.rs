//! The pages of Studio: anyone may fetch them, browsers hold them to a policy and keep them by their hash.

use saem_store::{Location, NewKey, Origin, Scope};
use serde_json::json;

use crate::world::World;

/// The addresses that a page names.
fn named(page: &str) -> Vec<String> {
    page.split('"').filter(|text| text.starts_with("/assets/")).map(str::to_owned).collect()
}

#[test]
fn pages_are_kept_by_their_hash() {
    let world = World::new();
    let page = world.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("inline"), "{policy}");
    let files = named(page.text());
    assert_eq!(files.len(), 3);
    for file in files {
        let whole = world.get(&file);
        assert_eq!(whole.header("cache-control"), Some("public, max-age=31536000, immutable"), "{file}");
        let (bare, _) = file.split_once('?').unwrap();
        assert_eq!(world.get(bare).header("cache-control"), Some("no-cache"));
        let known = [("if-none-match", whole.header("etag").unwrap())];
        let again = world.request("GET", bare, &known, b"");
        assert_eq!((again.status, again.body.len()), (304, 0));
        let packed = world.request("GET", bare, &[("accept-encoding", "br, gzip")], b"");
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(packed.body.len() < whole.body.len() && packed.body.starts_with(&[0x1f, 0x8b]));
    }
    assert_eq!(world.get("/assets/other.js").error(), (404, "unknown_url".into(), None));
    assert_eq!(world.get("/assets/../studio.js").status, 404);
    assert_eq!(world.post("/", &json!({})).error().1, "method_not_allowed");
}

#[test]
fn pages_need_no_key_where_all_else_does() {
    let home = tempfile::tempdir().unwrap();
    let world = World::guarded(Location::Sqlite(home.path().join("saem.db")));
    let key = NewKey::named("a", &[Scope::Infer]);
    world.ask(async |store| store.create_key(key, &Origin::new("test", "test")).await).unwrap();
    let page = world.get("/");
    assert_eq!(page.status, 200);
    assert!(named(page.text()).iter().all(|file| world.get(file).status == 200));
    assert_eq!(world.get("/v1/models").status, 401);
    assert_eq!(world.get("/assets").status, 401);
}

#[test]
fn a_conversation_is_counted_as_it_is_answered() {
    let world = World::new();
    let messages =
        json!([{"role": "system", "content": "샘"}, {"role": "user", "content": "\u{1109}\u{1162}\u{11b7} a"}]);
    let counted = world.post("/tokenize", &json!({"model": "alphabet", "messages": messages})).json();
    let chat = json!({"model": "alphabet", "messages": messages, "max_tokens": 1});
    let answered = world.post("/v1/chat/completions", &chat).json();
    assert_eq!(counted["count"], answered["usage"]["prompt_tokens"]);
    let bare = json!({"model": "alphabet", "messages": messages, "add_generation_prompt": false});
    assert!(world.post("/tokenize", &bare).json()["count"].as_u64() < counted["count"].as_u64());
    for (field, body) in [
        ("prompt", json!({})),
        ("messages", json!({"prompt": "a", "messages": []})),
        ("add_generation_prompt", json!({"prompt": "a", "add_generation_prompt": true})),
        ("add_special_tokens", json!({"messages": messages, "add_special_tokens": true})),
    ] {
        let mut body = body;
        body["model"] = json!("alphabet");
        let (status, _, param) = world.post("/tokenize", &body).error();
        assert_eq!((status, param.as_deref()), (400, Some(field)));
    }
}
