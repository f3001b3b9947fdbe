//! `saem embed`, its failures, and, where the model is at hand, its vectors.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::saem::{Ran, finish, run, run_korean, saem};

/// `use-multilingual` of `$SAEM_TEST_MODELS`.
fn model() -> Option<PathBuf> {
    let model = std::env::var_os("SAEM_TEST_MODELS").map(|folder| PathBuf::from(folder).join("use-multilingual"));
    let model = model.filter(|path| path.exists());
    if model.is_none() {
        println!("skipped: needs use-multilingual (set SAEM_TEST_MODELS to a folder that has it)");
    }
    model
}

#[test]
fn failures_say_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    let arguments = ["embed", "--model", &empty, "글"];
    insta::assert_snapshot!("embed_no_model_en", run(home.path(), &arguments).shown(home.path()));
    insta::assert_snapshot!("embed_no_model_ko", run_korean(home.path(), &arguments).shown(home.path()));
    fs::write(home.path().join("empty/sp.model"), b"\x0a\xff").unwrap();
    insta::assert_snapshot!("embed_damaged_en", run(home.path(), &arguments).shown(home.path()));
    insta::assert_snapshot!("embed_damaged_ko", run_korean(home.path(), &arguments).shown(home.path()));
    let threads = run(home.path(), &["embed", "--threads", "0", "a"]);
    assert_eq!(threads.code, 2, "{}", threads.stderr);
}

#[test]
fn one_line_for_each_text() {
    let Some(model) = model() else { return };
    let (home, model) = (tempfile::tempdir().unwrap(), model.display().to_string());
    let file = home.path().join("texts.txt");
    fs::write(&file, "고양이가 잔다.\nThe cat sleeps.\n\n주가가 떨어졌다.\n").unwrap();
    let file = file.display().to_string();
    let plain = run(home.path(), &["embed", "--model", &model, "--file", &file]);
    assert_eq!(plain.code, 0, "{}", plain.stderr);
    let vectors: Vec<Vec<f64>> =
        plain.stdout.lines().map(|line| line.split(' ').map(|x| x.parse().unwrap()).collect()).collect();
    assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [512; 4]);
    let dot = |a: usize, b: usize| -> f64 { vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum() };
    assert!(dot(0, 1) > 0.6 && dot(0, 3) < 0.4, "{} {}", dot(0, 1), dot(0, 3));
    assert!(plain.stderr.contains("4 texts"), "{}", plain.stderr);

    let json =
        piped(saem(home.path(), &["embed", "--model", &model, "--json", "--threads", "1"]), &fs::read(&file).unwrap());
    assert_eq!((json.code, json.stderr.as_str()), (0, ""));
    for (index, line) in json.stdout.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["index"], index);
        // Those of SentencePiece and two marks; a text without any has one that says so.
        assert_eq!(line["tokens"], [8, 7, 3, 9][index]);
        let vector: Vec<f64> = line["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert!(vector.iter().zip(&vectors[index]).all(|(a, b)| (a - b).abs() < 1e-7));
    }
    // An argument is one text, whatever is in it.
    let one = run(home.path(), &["embed", "--model", &model, "a\nb"]);
    assert_eq!((one.code, one.stdout.lines().count(), one.stderr.as_str()), (0, 1, ""));
}

fn piped(mut command: std::process::Command, input: &[u8]) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    finish(command.stdin(Stdio::from(file)))
}
