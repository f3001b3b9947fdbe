//! Models over several files.

use std::fs;
use std::path::{Path, PathBuf};

use saem_formats::gguf::{Gguf, Problem, Value, Writer, parse_part_name, part_name};
use saem_formats::{DataType, FormatError};

/// Writes five tensors of 64 bytes into three files; returns the path of the first.
fn write_parts(directory: &Path) -> Vec<PathBuf> {
    let mut writer = Writer::new();
    writer.add_metadata("general.architecture", Value::from("llama")).unwrap();
    writer.add_metadata("general.alignment", Value::U32(64)).unwrap();
    for number in 0..5 {
        writer.add_tensor(&format!("t{number}"), &[16], DataType::F32).unwrap();
    }
    let parts = writer.into_parts(128).unwrap();
    assert_eq!(parts.len(), 3);
    let count = parts.len();
    let mut paths = Vec::new();
    let mut value = 0;
    for (number, part) in parts.into_iter().enumerate() {
        let path = directory.join(part_name("model", number, count));
        let mut data = part.start(fs::File::create(&path).unwrap()).unwrap();
        while data.next_tensor().is_some() {
            data.write_tensor(&[value; 64]).unwrap();
            value += 1;
        }
        data.finish().unwrap();
        paths.push(path);
    }
    paths
}

fn problem(result: Result<Gguf, FormatError>) -> Problem {
    match result {
        Err(FormatError::Gguf { problem, .. }) => *problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_part_opens_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    for path in write_parts(directory.path()) {
        let model = Gguf::open(&path).unwrap();
        assert_eq!(model.metadata().str("general.architecture"), Some("llama"));
        assert_eq!(model.files().len(), 3);
        assert_eq!(model.alignment(), 64);
        for (number, tensor) in model.tensors().iter().enumerate() {
            assert_eq!(tensor.name, format!("t{number}"));
            assert_eq!(tensor.location().0, number / 2);
            assert_eq!(model.tensor_bytes(tensor), [number as u8; 64]);
            model.prefetch(tensor);
            model.release(tensor);
            assert_eq!(model.tensor_bytes(tensor), [number as u8; 64], "released pages come back");
        }
    }
}

#[test]
fn a_missing_part_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let paths = write_parts(directory.path());
    fs::remove_file(&paths[1]).unwrap();
    match Gguf::open(&paths[0]) {
        Err(FormatError::MissingFile { directory: folder, file }) => {
            assert_eq!((folder.as_path(), file.as_str()), (directory.path(), "model-00002-of-00003.gguf"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let paths = write_parts(directory.path());
    fs::copy(&paths[2], &paths[1]).unwrap();
    let expected = Problem::SplitMismatch { key: "split.no", found: "2".to_owned(), expected: 1 };
    assert_eq!(problem(Gguf::open(&paths[0])), expected);

    let paths = write_parts(directory.path());
    let renamed = directory.path().join("other.gguf");
    fs::rename(&paths[0], &renamed).unwrap();
    let expected = Problem::SplitName { number: 1, count: 3, expected: "-00001-of-00003.gguf".to_owned() };
    assert_eq!(problem(Gguf::open(&renamed)), expected);
}

/// One part of a split with whatever it says about itself.
fn lone_part(number: Value<'_>, count: Value<'_>, tensors: i32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    writer.add_metadata("split.no", number).unwrap();
    writer.add_metadata("split.count", count).unwrap();
    writer.add_metadata("split.tensors.count", Value::I32(tensors)).unwrap();
    let path = directory.path().join("m-00001-of-00002.gguf");
    fs::write(&path, writer.start(Vec::new()).unwrap().finish().unwrap()).unwrap();
    (directory, path)
}

#[test]
fn impossible_splits_are_refused() {
    let (_directory, path) = lone_part(Value::U16(2), Value::U16(2), 0);
    let expected = Problem::SplitMismatch { key: "split.no", found: "2".to_owned(), expected: 1 };
    assert_eq!(problem(Gguf::open(&path)), expected);

    let (_directory, path) = lone_part(Value::U16(0), Value::U64(1 << 40), 0);
    let expected = Problem::SplitMismatch { key: "split.count", found: (1_u64 << 40).to_string(), expected: 65_535 };
    assert_eq!(problem(Gguf::open(&path)), expected);

    let (_directory, path) = lone_part(Value::from("0"), Value::U16(2), 0);
    let expected = Problem::SplitMismatch { key: "split.no", found: "missing".to_owned(), expected: 0 };
    assert_eq!(problem(Gguf::open(&path)), expected);

    let (_directory, path) = lone_part(Value::U16(0), Value::U16(1), 0);
    assert!(Gguf::open(&path).is_ok(), "a split into one file is no split");
}

#[test]
fn the_number_of_tensors_must_be_the_promised_one() {
    let (directory, path) = lone_part(Value::U16(0), Value::U16(2), 7);
    let mut second = Writer::new();
    second.add_metadata("split.no", Value::U16(1)).unwrap();
    second.add_metadata("split.count", Value::U16(2)).unwrap();
    let file = second.start(Vec::new()).unwrap().finish().unwrap();
    fs::write(directory.path().join("m-00002-of-00002.gguf"), file).unwrap();
    let expected = Problem::SplitMismatch { key: "split.tensors.count", found: "0".to_owned(), expected: 7 };
    assert_eq!(problem(Gguf::open(&path)), expected);
}

#[test]
fn a_small_model_is_not_split_and_a_large_tensor_is_not_cut() {
    let mut writer = Writer::new();
    writer.add_tensor("a", &[16], DataType::F32).unwrap();
    assert_eq!(writer.clone().into_parts(1 << 20).unwrap().len(), 1);
    writer.add_tensor("b", &[1024], DataType::F32).unwrap();
    assert_eq!(writer.into_parts(1).unwrap().len(), 2);
    assert_eq!(Writer::new().into_parts(1).unwrap().len(), 1);
}

#[test]
fn part_names_are_taken_apart() {
    assert_eq!(part_name("a-b", 0, 3), "a-b-00001-of-00003.gguf");
    assert_eq!(parse_part_name("a-b-00003-of-00003.gguf"), Some(("a-b", 2, 3)));
    for no_part in
        ["a.gguf", "a-00000-of-00003.gguf", "a-00004-of-00003.gguf", "a-1-of-3.gguf", "a-+0001-of-00003.gguf"]
    {
        assert_eq!(parse_part_name(no_part), None, "{no_part}");
    }
}
