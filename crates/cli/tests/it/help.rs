//! Help in both languages, word for word.

use crate::saem::{run, run_korean};

const COMMANDS: [&str; 18] = [
    "pull",
    "list",
    "inspect",
    "run",
    "chat",
    "serve",
    "tokenize",
    "embed",
    "perplexity",
    "bench",
    "pretrain",
    "tune",
    "plan",
    "convert",
    "merge",
    "rm",
    "usage",
    "completions",
];

#[test]
fn help_in_english() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("help_en", run(home.path(), &["--help"]).stdout);
    for command in COMMANDS {
        let ran = run(home.path(), &[command, "--help"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        insta::assert_snapshot!(format!("help_{command}_en"), ran.stdout);
    }
}

#[test]
fn help_in_korean() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("help_ko", run_korean(home.path(), &["--help"]).stdout);
    for command in COMMANDS {
        let ran = run_korean(home.path(), &[command, "--help"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        insta::assert_snapshot!(format!("help_{command}_ko"), ran.stdout);
    }
}

#[test]
fn half_a_command_is_a_question_for_help() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(home.path(), &["key"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("Usage: saem"));
    let korean = run_korean(home.path(), &["key"]);
    assert_eq!(korean.code, 2);
    assert!(korean.stderr.contains("사용법: saem"));
}

#[test]
fn the_version_is_printed() {
    let home = tempfile::tempdir().unwrap();
    for ran in [run(home.path(), &["--version"]), run_korean(home.path(), &["-V"])] {
        assert_eq!(ran.stdout.trim(), concat!("saem ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(home.path(), &["completions", shell]);
        assert_eq!(ran.code, 0);
        for command in COMMANDS {
            assert!(ran.stdout.contains(command), "{shell} completes {command}");
        }
        assert_eq!(run_korean(home.path(), &["completions", shell]).code, 0);
    }
}
