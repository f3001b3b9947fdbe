//! Each way in which a GGUF file can be wrong: the error names it and points at the right byte.

use saem_formats::gguf::{Gguf, Problem, ValueType};
use saem_formats::{DataType, FormatError, Lookalike};

use crate::raw::{ARRAY, BOOL, Raw, STRING, U8, U32};
use crate::samples;

/// Offset and problem of a file that must be refused.
fn refusal(raw: Raw) -> (u64, Problem) {
    match Gguf::parse(raw.0) {
        Err(FormatError::Gguf { path, offset, problem }) => {
            assert_eq!(path.to_str(), Some("<memory>"));
            (offset, *problem)
        }
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> String {
    text.to_owned()
}

#[test]
fn another_magic() {
    let lookalike = |bytes: &[u8]| match refusal(Raw(bytes.to_vec())) {
        (0, Problem::BadMagic { lookalike }) => lookalike,
        other => panic!("{other:?}"),
    };
    assert_eq!(lookalike(b""), Some(Lookalike::Empty));
    assert_eq!(lookalike(b"GGU"), Some(Lookalike::Text));
    assert_eq!(lookalike(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), Some(Lookalike::GitLfsPointer));
    assert_eq!(lookalike(b"\n<!DOCTYPE html><html>"), Some(Lookalike::WebPage));
    assert_eq!(lookalike(b"PK\x03\x04\x00\x00"), Some(Lookalike::Zip));
    assert_eq!(lookalike(b"\x80\x02}q\x00."), Some(Lookalike::Pickle));
    assert_eq!(lookalike(b"tjgg\x03\x00\x00\x00"), Some(Lookalike::OldGgml));
    assert_eq!(lookalike(&[0, 1, 2, 3]), None);
}

#[test]
fn another_version_or_byte_order() {
    let version = |version: u32| refusal(Raw(b"GGUF".to_vec()).u32(version).zeros(16));
    assert_eq!(version(1), (4, Problem::UnsupportedVersion { version: 1 }));
    assert_eq!(version(4), (4, Problem::UnsupportedVersion { version: 4 }));
    assert_eq!(version(3_u32.swap_bytes()), (4, Problem::BigEndian));
    assert_eq!(refusal(Raw(b"FUGG\x00\x00\x00\x03".to_vec())), (0, Problem::BigEndian));
}

#[test]
fn counts_beyond_the_file() {
    let (offset, problem) = refusal(Raw::gguf(u64::MAX, 0));
    assert_eq!((offset, &problem), (8, &Problem::CountTooLarge { what: "tensors", count: u64::MAX, limit: 0 }));
    let (offset, problem) = refusal(Raw::gguf(0, 3).zeros(28));
    assert_eq!((offset, problem), (16, Problem::CountTooLarge { what: "metadata entries", count: 3, limit: 2 }));
    // The metadata between the count and the table uses up what the tensors would need.
    let raw = Raw::gguf(2, 1).key("a", STRING).string("a long text that hides the end").tensor("t", &[1], 0, 0);
    let table = raw.len() as u64 - 33;
    assert_eq!(refusal(raw), (table, Problem::CountTooLarge { what: "tensors", count: 2, limit: 1 }));
}

#[test]
fn lengths_beyond_the_file() {
    let key = Raw::gguf(0, 1).u64(u64::MAX).zeros(20);
    assert_eq!(refusal(key), (32, Problem::Truncated { what: "a metadata key", needed: u64::MAX, available: 20 }));
    let string = Raw::gguf(0, 1).key("a", STRING).u64(1 << 40).zeros(3);
    assert_eq!(refusal(string), (45, Problem::Truncated { what: "a string", needed: 1 << 40, available: 3 }));
    let array = Raw::gguf(0, 1).key("a", ARRAY).u32(U32).u64(1 << 62).zeros(16);
    assert_eq!(refusal(array), (41, Problem::CountTooLarge { what: "array elements", count: 1 << 62, limit: 4 }));
    let strings = Raw::gguf(0, 1).key("a", ARRAY).u32(STRING).u64(2).u64(9).u64(0);
    assert_eq!(refusal(strings), (57, Problem::Truncated { what: "a string of an array", needed: 9, available: 8 }));
}

#[test]
fn bad_keys_and_names() {
    let empty = Raw::gguf(0, 1).key("", U8).u32(0);
    assert_eq!(refusal(empty), (24, Problem::BadName { what: "a metadata key", name: name(""), limit: 65_535 }));
    let broken = Raw::gguf(0, 1).string([0xea, 0xb0]).u32(U8).u8(0);
    let (24, Problem::BadName { name: shown, .. }) = refusal(broken) else { panic!() };
    assert_eq!(shown, "\u{fffd}");
    let long = Raw::gguf(0, 1).key(&"k".repeat(65_536), U8).u8(0);
    let (24, Problem::BadName { name: shown, .. }) = refusal(long) else { panic!() };
    assert_eq!(shown.chars().count(), 97, "a long name is cut in the message");
    // Escape sequences would move the cursor of the terminal that shows the message.
    let twice = Raw::gguf(0, 2).key("\x1b[2J", U8).u8(0).key("\x1b[2J", U8).u8(0);
    assert_eq!(refusal(twice), (49, Problem::DuplicateKey { key: name("\\u{1b}[2J") }));
    let tensor = Raw::gguf(1, 0).tensor("", &[1], 0, 0).zeros(1);
    assert_eq!(refusal(tensor), (24, Problem::BadName { what: "a tensor name", name: name(""), limit: 1024 }));
}

#[test]
fn bad_values() {
    let unknown = Raw::gguf(0, 1).key("a", 13).zeros(8);
    assert_eq!(refusal(unknown), (33, Problem::UnknownValueType { id: 13 }));
    let truth = Raw::gguf(0, 1).key("a", BOOL).u8(2);
    assert_eq!(refusal(truth), (37, Problem::BadBool { value: 2 }));
    let truths = Raw::gguf(0, 1).key("a", ARRAY).u32(BOOL).u64(3).bytes(&[0, 1, 255]);
    assert_eq!(refusal(truths), (51, Problem::BadBool { value: 255 }));
    let nest = |levels: usize| {
        (0..levels).fold(Raw::gguf(0, 1).key("a", ARRAY), |raw, _| raw.u32(ARRAY).u64(1)).u32(U8).u64(0)
    };
    assert!(Gguf::parse(nest(3).0).is_ok());
    assert_eq!(refusal(nest(4)), (85, Problem::NestedTooDeep { limit: 4 }));
    assert!(matches!(refusal(nest(100_000)), (85, Problem::NestedTooDeep { .. })));
}

#[test]
fn bad_alignments() {
    for (raw, value_type, value) in [
        (Raw::gguf(0, 1).key("general.alignment", U32).u32(0), ValueType::U32, "0"),
        (Raw::gguf(0, 1).key("general.alignment", U32).u32(48), ValueType::U32, "48"),
        (Raw::gguf(0, 1).key("general.alignment", STRING).string("32"), ValueType::String, "\"32\""),
        (Raw::gguf(0, 1).key("general.alignment", 10).u64(32), ValueType::U64, "32"),
    ] {
        assert_eq!(refusal(raw), (53, Problem::BadAlignment { value_type, value: name(value) }));
    }
}

#[test]
fn bad_shapes() {
    let table = |shape: &[u64], type_id| Raw::gguf(1, 0).tensor("t", shape, type_id, 0).pad(32).zeros(512);
    assert_eq!(refusal(table(&[1; 5], 0)), (33, Problem::TooManyDimensions { name: name("t"), dimensions: 5 }));
    assert_eq!(refusal(table(&[4, 0], 0)), (45, Problem::EmptyDimension { name: name("t"), dimension: 1 }));
    for shape in [&[u64::MAX][..], &[1 << 32, 1 << 32], &[1 << 62], &[1 << 16; 4]] {
        assert_eq!(refusal(table(shape, 0)), (24, Problem::ShapeOverflow { name: name("t") }), "{shape:?}");
    }
    let partial = Problem::PartialBlock { name: name("t"), data_type: DataType::Q4K, columns: 128, block: 256 };
    assert_eq!(refusal(table(&[128, 2], 12)), (24, partial));
}

#[test]
fn bad_types() {
    let table = |type_id| Raw::gguf(1, 0).tensor("t", &[256], type_id, 0).pad(32).zeros(1024);
    let (45, Problem::UnsupportedType { type_name: "IQ2_XXS", .. }) = refusal(table(16)) else { panic!() };
    let message = Gguf::parse(table(16).0).unwrap_err().to_string();
    assert_eq!(
        message,
        "<memory>: byte 45: tensor \"t\" is stored as IQ2_XXS, which is not supported; use a file of type Q2_K or Q3_K_M"
    );
    assert_eq!(refusal(table(1000)), (45, Problem::UnknownType { name: name("t"), id: 1000 }));
    // Every number is either read, named, or unknown, and nothing in between.
    let known = [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 30];
    for id in 0..64 {
        assert_eq!(Gguf::parse(table(id).0).is_ok(), known.contains(&id), "type {id}");
        assert_eq!(saem_formats::gguf::data_type(id).is_some(), known.contains(&id), "type {id}");
    }
}

#[test]
fn bad_places() {
    let table = |offset, data| Raw::gguf(1, 0).tensor("t", &[8], 0, offset).pad(32).zeros(data);
    assert!(Gguf::parse(table(32, 64).0).is_ok());
    assert_eq!(refusal(table(33, 96)), (64, Problem::Misaligned { name: name("t"), offset: 33, alignment: 32 }));
    let outside = |offset, available| Problem::OutsideFile { name: name("t"), offset, bytes: 32, available };
    assert_eq!(refusal(table(32, 63)), (64, outside(32, 63)));
    assert_eq!(refusal(table(1 << 40, 64)), (64, outside(1 << 40, 64)));
    // The sum of offset and size overflows, with and without the start of the data.
    assert_eq!(refusal(table(u64::MAX - 31, 64)), (49, outside(u64::MAX - 31, 71)));
    assert_eq!(refusal(table(u64::MAX - 95, 64)), (64, outside(u64::MAX - 95, 64)));

    let two = |second: &str, offset| {
        Raw::gguf(2, 0).tensor("a", &[8, 2], 0, 0).tensor(second, &[8], 0, offset).pad(32).zeros(128)
    };
    assert!(Gguf::parse(two("b", 64).0).is_ok());
    assert_eq!(refusal(two("b", 32)), (128 + 32, Problem::Overlap { first: name("a"), second: name("b") }));
    assert_eq!(refusal(two("a", 64)), (128 + 64, Problem::DuplicateTensor { name: name("a") }));
}

#[test]
fn every_cut_of_a_file_is_refused() {
    for sample in [samples::rich_gguf(3), samples::rich_gguf(2), samples::nested_gguf()] {
        let model = Gguf::parse(sample.clone()).unwrap();
        let last = model.tensors().iter().map(|tensor| tensor.location().1.end).max().unwrap();
        for len in 0..last {
            assert!(Gguf::parse(sample[..len].to_vec()).is_err(), "cut to {len} of {}", sample.len());
        }
        // Only the padding after the last tensor may be missing.
        assert!(Gguf::parse(sample[..last].to_vec()).is_ok());
    }
}

#[test]
fn a_vocabulary_without_weights_needs_no_padding() {
    let model = Gguf::parse(Raw::gguf(0, 1).key("a", U8).u8(1).0).unwrap();
    assert_eq!(model.metadata().u64("a"), Some(1));
    assert!(model.tensors().is_empty());
}
