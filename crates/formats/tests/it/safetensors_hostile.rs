//! Each way in which a safetensors file or its index can be wrong.

use std::fs;

use saem_formats::safetensors::{Problem, SafeTensors};
use saem_formats::{DataType, FormatError};

use crate::raw::safetensors;
use crate::samples;

/// The problem of a file that must be refused.
fn refusal(bytes: Vec<u8>) -> (u64, Problem) {
    match SafeTensors::parse(bytes) {
        Err(FormatError::SafeTensors { offset, problem, .. }) => (offset, *problem),
        other => panic!("{other:?}"),
    }
}

/// The problem of a file with one tensor `w` described by `entry`.
fn entry_refusal(entry: &str, data: usize) -> Problem {
    refusal(safetensors(&format!(r#"{{"w":{entry}}}"#), data)).1
}

fn w() -> String {
    "w".to_owned()
}

#[test]
fn headers_beyond_the_file() {
    assert_eq!(refusal(vec![]), (0, Problem::TooShort { bytes: 0 }));
    assert_eq!(refusal(vec![2, 0, 0, 0, 0, 0, 0]), (0, Problem::TooShort { bytes: 7 }));
    let mut bytes = safetensors("{}", 0);
    assert!(SafeTensors::parse(bytes.clone()).unwrap().tensors().is_empty());
    bytes[0] = 3;
    assert_eq!(refusal(bytes), (0, Problem::HeaderTooLarge { stated: 3, limit: 2 }));
    let huge = [u64::MAX.to_le_bytes().to_vec(), b"{}".to_vec()].concat();
    assert_eq!(refusal(huge), (0, Problem::HeaderTooLarge { stated: u64::MAX, limit: 2 }));
}

#[test]
fn mistakes_in_the_json_are_located() {
    let (offset, problem) = refusal(safetensors("{\n \"w\": {\"dtype\": \"F32\",\n  \"shape\": [1, -1]}}", 0));
    let Problem::Json { message } = problem else { panic!("{problem:?}") };
    assert!(message.contains("invalid value: integer `-1`"), "{message}");
    assert!((8 + 40..8 + 44).contains(&offset), "{offset}");
    for header in
        ["", "[]", "null", "{", "{\"w\":1}", "{\"w\":{}}", "{}{}", "\u{feff}{}", "{\"__metadata__\":{\"a\":1}}"]
    {
        let (_, problem) = refusal(safetensors(header, 0));
        assert!(matches!(problem, Problem::Json { .. }), "{header}: {problem:?}");
    }
    let (_, problem) = refusal([2_u64.to_le_bytes().to_vec(), vec![b'"', 0xff]].concat());
    assert!(matches!(problem, Problem::Json { .. }));
}

#[test]
fn repeated_names() {
    let entry = r#"{"dtype":"F32","shape":[],"data_offsets":[0,4]}"#;
    let (_, problem) = refusal(safetensors(&format!(r#"{{"w":{entry},"\u0077":{entry}}}"#), 4));
    assert_eq!(problem, Problem::DuplicateTensor { name: w() });
    let (_, problem) = refusal(safetensors(r#"{"__metadata__":{"a":"","a":""}}"#, 0));
    assert_eq!(problem, Problem::DuplicateKey { key: "a".to_owned() });
    let (_, problem) = refusal(safetensors(r#"{"__metadata__":{},"__metadata__":{}}"#, 0));
    assert_eq!(problem, Problem::DuplicateKey { key: "__metadata__".to_owned() });
    let problem = entry_refusal(r#"{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}"#, 4);
    assert_eq!(problem, Problem::Json { message: "dtype occurs twice".to_owned() });
}

#[test]
fn places_and_sizes() {
    let entry = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let outside = |begin, end| Problem::OutsideFile { name: w(), begin, end, available: 8 };
    assert_eq!(entry_refusal(&entry("[2]", 1, 9), 8), outside(1, 9));
    assert_eq!(entry_refusal(&entry("[2]", 8, 0), 8), outside(8, 0));
    assert_eq!(entry_refusal(&entry("[2]", u64::MAX - 7, u64::MAX), 8), outside(u64::MAX - 7, u64::MAX));
    let wrong = |expected, stated| Problem::WrongSize { name: w(), stated, expected };
    assert_eq!(entry_refusal(&entry("[3]", 0, 8), 8), wrong(12, 8));
    assert_eq!(entry_refusal(&entry("[]", 0, 8), 8), wrong(4, 8));
    assert_eq!(entry_refusal(&entry("[0]", 0, 8), 8), wrong(0, 8));
    let overflow = Problem::ShapeOverflow { name: w() };
    assert_eq!(entry_refusal(&entry("[4611686018427387904,2]", 0, 8), 8), overflow);
    assert_eq!(entry_refusal(&entry("[9223372036854775807,0,9]", 0, 0), 8), overflow);
    assert_eq!(
        entry_refusal(&entry("[1,1,1,1,1,1,1,1,1]", 0, 4), 8),
        Problem::TooManyDimensions { name: w(), limit: 8 }
    );
}

#[test]
fn overlaps() {
    let entry = |begin: u64| format!(r#"{{"dtype":"F16","shape":[2],"data_offsets":[{begin},{}]}}"#, begin + 4);
    let (_, problem) = refusal(safetensors(&format!(r#"{{"b":{},"a":{}}}"#, entry(2), entry(0)), 8));
    assert_eq!(problem, Problem::Overlap { first: "a".to_owned(), second: "b".to_owned() });
}

#[test]
fn other_types_are_listed_and_named() {
    let model = SafeTensors::parse(samples::odd_safetensors()).unwrap();
    assert_eq!(model.tensors().len(), 1);
    assert_eq!(model.required("w").unwrap().data_type, DataType::F32);
    let types: Vec<_> = model.unsupported().iter().map(|tensor| (tensor.name.as_str(), tensor.type_name)).collect();
    assert_eq!(types, [("ids", "I64"), ("four", "F4")]);
    assert!(model.tensor("ids").is_none());
    let message = model.required("ids").unwrap_err().to_string();
    assert!(message.contains("tensor \"ids\" is stored as I64, which is not supported"), "{message}");
    let message = model.required("none").unwrap_err().to_string();
    assert!(message.ends_with("tensor \"none\" is missing"), "{message}");
    let problem = entry_refusal(r#"{"dtype":"F7","shape":[],"data_offsets":[0,4]}"#, 4);
    assert_eq!(problem, Problem::UnknownType { name: w(), type_name: "F7".to_owned() });
}

#[test]
fn an_index_stays_in_its_folder() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.safetensors"), samples::rich_safetensors()).unwrap();
    let directory = outside.path().join("model");
    fs::create_dir(&directory).unwrap();
    let index = directory.join("model.safetensors.index.json");
    let absolute = outside.path().join("secret.safetensors");
    let names = [
        "../secret.safetensors",
        "..",
        ".",
        "",
        "./a",
        "a/",
        "a/../b",
        "a\\b",
        "C:a",
        "/etc/passwd",
        "a\0b",
        absolute.to_str().unwrap(),
    ];
    for name in names {
        let text = serde_json::json!({ "weight_map": { "scalar": name } }).to_string();
        fs::write(&index, text).unwrap();
        match SafeTensors::open(&directory) {
            Err(FormatError::SafeTensors { path, problem, .. }) => {
                assert_eq!(path, index);
                assert!(matches!(*problem, Problem::BadShardName { .. }), "{name}: {problem}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_index_must_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("model.safetensors.index.json");
    fs::write(directory.path().join("a.safetensors"), samples::rich_safetensors()).unwrap();
    for text in ["", "[]", "{}", r#"{"weight_map":[]}"#, r#"{"weight_map":{"w":1}}"#] {
        fs::write(&index, text).unwrap();
        assert!(matches!(SafeTensors::open(&index), Err(FormatError::Json { .. })), "{text}");
    }
    fs::write(&index, r#"{"weight_map":{"w":"a.safetensors"}}"#).unwrap();
    let message = SafeTensors::open(&index).unwrap_err().to_string();
    assert!(message.ends_with("tensor \"w\" is not in a.safetensors, where the index says it is"), "{message}");
    fs::write(&index, r#"{"weight_map":{"w":"b.safetensors"}}"#).unwrap();
    match SafeTensors::open(&index) {
        Err(FormatError::MissingFile { directory: folder, file }) => {
            assert_eq!((folder.as_path(), file.as_str()), (directory.path(), "b.safetensors"));
        }
        other => panic!("{other:?}"),
    }
}
