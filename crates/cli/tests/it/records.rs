//! `saem key`, `saem admin`, `saem audit`, `saem usage`.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use crate::saem::{Ran, finish, run, run_korean, saem};

/// What differs between runs, replaced by marks of the same width.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for line in text.split_inclusive('\n') {
        for word in line.split_inclusive([' ', '\n', ',', ':']) {
            let bare = word.trim_end_matches([' ', '\n', ',', ':']);
            let is_id = bare.len() == 12 && bare.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let is_hash = bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_day = bare.len() == 10 && bare.starts_with("20") && bare.matches('-').count() == 2;
            let is_second = bare.get(2..).is_some_and(|rest| rest.starts_with('Z'));
            let is_time = bare.get(..2).is_some_and(|number| number.parse::<u8>().is_ok())
                && (is_second || bare.len() == 2 && word.ends_with(':'));
            let marked = match () {
                () if is_id => bare.replace(|_: char| true, "I"),
                () if is_hash => bare.replace(|_: char| true, "f"),
                () if is_day => "2026-11-22".to_owned(),
                () if is_time => bare.replace(|letter: char| letter.is_ascii_digit(), "0"),
                () => bare.to_owned(),
            };
            steady.push_str(&marked);
            steady.push_str(&word[bare.len()..]);
        }
    }
    steady
}

fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The id in a key's text.
fn id_of(key: &str) -> String {
    key.trim().split('_').nth(1).unwrap().to_owned()
}

/// Both languages of a command that changes nothing.
fn both(home: &Path, arguments: &[&str]) -> String {
    format!("{}\n{}", steady(&run(home, arguments).shown(home)), steady(&run_korean(home, arguments).shown(home)))
}

#[test]
fn help_of_commands_below_commands() {
    let home = tempfile::tempdir().unwrap();
    for command in [
        "key",
        "key create",
        "key list",
        "key revoke",
        "key rotate",
        "admin",
        "admin password",
        "audit",
        "audit verify",
        "audit list",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (english, korean) = (ok(run(home.path(), &arguments)), ok(run_korean(home.path(), &arguments)));
        let name = format!("help_{}", command.replace(' ', "_"));
        insta::assert_snapshot!(format!("{name}_en"), english.stdout);
        insta::assert_snapshot!(format!("{name}_ko"), korean.stdout);
    }
}

#[test]
fn a_key_from_its_making_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    insta::assert_snapshot!("key_list_empty", both(home, &["key", "list"]));

    let made = ok(run(home, &["key", "create", "shop"]));
    let key = made.stdout.trim().to_owned();
    assert_eq!((key.len(), key.split('_').next(), made.stdout.lines().count()), (61, Some("saem"), 1));
    insta::assert_snapshot!("key_create_en", steady(&made.stderr));
    let korean =
        ok(run_korean(home, &["key", "create", "상점", "--requests", "60", "--tokens", "20000", "--scope", "infer"]));
    insta::assert_snapshot!("key_create_ko", steady(&korean.stderr));
    let limited = ok(run(
        home,
        &[
            "key",
            "create",
            "lab",
            "--json",
            "--model",
            "smollm2-135m",
            "--expires",
            "90d",
            "--tenant",
            "연구소",
            "--scope",
            "embed",
            "--scope",
            "admin",
        ],
    ));
    let limited = json(&limited);
    assert_eq!(limited["id"], id_of(limited["key"].as_str().unwrap()));
    assert_eq!(limited["scopes"], serde_json::json!(["embed", "admin"]));
    assert_eq!(limited["tenant"], "연구소");

    let rotated = ok(run(home, &["key", "rotate", &id_of(&key), "--overlap", "12h"]));
    assert_ne!(rotated.stdout, made.stdout);
    insta::assert_snapshot!("key_rotate_en", steady(&rotated.stderr));
    let last = ok(run_korean(home, &["key", "rotate", &id_of(&rotated.stdout)]));
    insta::assert_snapshot!("key_rotate_ko", steady(&last.stderr));
    insta::assert_snapshot!("key_rotate_twice", both(home, &["key", "rotate", &id_of(&key)]));

    let revoked = ok(run(home, &["key", "revoke", &id_of(&key)]));
    insta::assert_snapshot!("key_revoke_en", steady(&revoked.stderr));
    let revoked = json(&ok(run(home, &["key", "revoke", &id_of(&key), "--json"])));
    assert_eq!((&revoked["state"], &revoked["key"]), (&Value::from("revoked"), &Value::Null));
    insta::assert_snapshot!("key_unknown", both(home, &["key", "revoke", "nosuchkey"]));

    // The order of keys made within a second is that of their making.
    insta::assert_snapshot!("key_list", both(home, &["key", "list"]));
    let listed = json(&ok(run(home, &["key", "list", "--json"])));
    let states: Vec<&Value> = listed["keys"].as_array().unwrap().iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["revoked", "active", "active", "replaced", "active"]);
    assert!(!listed.to_string().contains("saem_"), "no secret is listed");
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for arguments in [
        &["key", "create", "a", "--scope", "root"] as &[&str],
        &["key", "create", "a", "--requests", "0"],
        &["key", "create", "a", "--expires", "soon"],
        &["key", "create", " "],
        &["key", "create"],
        &["key", "delete"],
        &["usage", "--days", "0"],
    ] {
        assert_eq!(run(home, arguments).code, 2, "{arguments:?}");
    }
    insta::assert_snapshot!("key_bad_scope", both(home, &["key", "create", "a", "--scope", "root"]));
    insta::assert_snapshot!("key_no_name", both(home, &["key", "create", " "]));
    assert_eq!(run(home, &["key"]).code, 2);
    let ran = finish(saem(home, &["key", "list"]).env("DATABASE_URL", "mysql://root:hunter2@db/saem"));
    insta::assert_snapshot!("database_unknown", ran.shown(home));
    assert!(!ran.stderr.contains("hunter2"));
}

#[test]
fn the_administrators_password_comes_from_standard_input() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let set = |password: &str, korean: bool| {
        let file = home.join("password");
        fs::write(&file, password).unwrap();
        let mut command = saem(home, &["admin", "password"]);
        if korean {
            command.env("LANG", "ko_KR.UTF-8");
        }
        finish(command.stdin(File::open(file).unwrap()))
    };
    insta::assert_snapshot!("password_short_en", set("short\n", false).shown(home));
    insta::assert_snapshot!("password_short_ko", set("", true).shown(home));
    insta::assert_snapshot!("password_set_en", set("correct horse battery\n", false).shown(home));
    insta::assert_snapshot!("password_set_ko", set("열 글자보다 긴 암호", true).shown(home));
    let rows = json(&ok(run(home, &["audit", "list", "--json"])));
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2);
    assert!(!rows.to_string().contains("horse"));
}

#[test]
fn the_audit_log_tells_who_did_what_and_whether_it_was_touched() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    insta::assert_snapshot!("audit_verify_empty", both(home, &["audit", "verify"]));
    for name in ["kim", "lee", "park"] {
        ok(finish(saem(home, &["key", "create", "a"]).env("USER", name)));
    }
    insta::assert_snapshot!("audit_verify_intact", both(home, &["audit", "verify"]));
    insta::assert_snapshot!("audit_list", both(home, &["audit", "list", "--rows", "2"]));
    let intact = json(&ok(run(home, &["audit", "verify", "--json"])));
    assert_eq!((&intact["intact"], &intact["rows"]), (&Value::Bool(true), &Value::from(3)));

    // Past SQLite and its triggers: other letters in the file itself.
    let file = home.join("saem.db");
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 7).filter(|place| &bytes[*place..*place + 7] == b"cli:lee").collect();
    assert!(!places.is_empty(), "the row is in the file");
    for place in places {
        bytes[place..place + 7].copy_from_slice(b"cli:kim");
    }
    fs::write(&file, bytes).unwrap();
    insta::assert_snapshot!("audit_verify_broken", both(home, &["audit", "verify"]));
    let broken = run(home, &["audit", "verify", "--json"]);
    assert_eq!(broken.code, 1);
    assert_eq!(json(&broken), serde_json::json!({ "intact": false, "first_broken_row": 2, "fault": "altered" }));
}

#[test]
fn usage_is_shown_by_day_key_and_model() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    insta::assert_snapshot!("usage_empty", both(home, &["usage"]));
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        use saem_store::{Location, Store, Used, UsedBy};
        let store = Store::open(Location::Sqlite(home.join("saem.db"))).await.unwrap();
        for (key, model, prompt_tokens) in [("AAAAbbbb1234", "smollm2-135m", 1200), ("", "exaone", 7)] {
            let by = UsedBy {
                tenant: "default".to_owned(),
                key: key.to_owned(),
                app: String::new(),
                model: model.to_owned(),
            };
            store.record_usage(by, Used { requests: 2, prompt_tokens, cached_tokens: 5, completion_tokens: 64 });
        }
        store.close().await.unwrap();
    });
    insta::assert_snapshot!("usage", both(home, &["usage", "--days", "2"]));
    let usage = json(&ok(run(home, &["usage", "--json"])));
    assert_eq!(usage["usage"][1]["prompt_tokens"], 1200);
}
