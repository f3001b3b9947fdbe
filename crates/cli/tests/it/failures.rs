//! Failures in both languages: what, where, what to do, and the exit code.

use std::fs;
use std::process::Stdio;

use crate::saem::{finish, run, run_korean, saem};

/// Command lines that cannot work in an empty home.
const CASES: [(&str, &[&str]); 13] = [
    ("unknown_command", &["chta"]),
    ("unknown_option", &["run", "--temprature", "1", "x"]),
    ("missing_argument", &["pull"]),
    ("bad_number", &["run", "--temperature", "warm", "x"]),
    ("bad_choice", &["run", "--kv-type", "q9", "x"]),
    ("conflict", &["run", "--repetition-penalty", "1.1", "--clova-repeat-penalty", "5", "x"]),
    ("no_value", &["run", "--model"]),
    ("unknown_model", &["pull", "smolm2"]),
    ("invalid_name", &["pull", "hf:../etc"]),
    ("no_such_path", &["inspect", "./absent.gguf"]),
    ("not_installed", &["rm", "smollm2-135m"]),
    ("all_sources", &["pull", "smollm2-135m"]),
    ("licence", &["pull", "gemma3-270m"]),
];

#[test]
fn failures_in_english() {
    let home = tempfile::tempdir().unwrap();
    for (name, arguments) in CASES {
        insta::assert_snapshot!(format!("failure_{name}_en"), run(home.path(), arguments).shown(home.path()));
    }
}

#[test]
fn failures_in_korean() {
    let home = tempfile::tempdir().unwrap();
    for (name, arguments) in CASES {
        insta::assert_snapshot!(format!("failure_{name}_ko"), run_korean(home.path(), arguments).shown(home.path()));
    }
}

#[test]
fn a_damaged_file_in_the_home_is_named() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("catalogue.json"), "{ nonsense").unwrap();
    let ran = run(home.path(), &["list"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("catalogue.json"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let mut child =
        saem(home.path(), &["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn colours_and_bars_are_for_terminals() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["list"], &["pull", "smollm2-135m"]] {
        let ran = finish(saem(home.path(), arguments).env("TERM", "xterm-256color"));
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains('\x1b'), "{ran:?}");
    }
}
