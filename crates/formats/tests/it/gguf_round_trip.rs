//! What is written comes back, and the bytes are those that the format's document asks for.

use proptest::prelude::*;
use saem_formats::gguf::{Gguf, Value, ValueType, Writer};
use saem_formats::{DataType, WriteError};

use crate::raw::{self, Raw};
use crate::samples;

#[test]
fn the_bytes_are_those_of_the_format() {
    let mut writer = Writer::new();
    writer.add_metadata("k", Value::from("v")).unwrap();
    writer.add_array("n", &[1_u8, 2]).unwrap();
    writer.add_tensor("t", &[2, 1], DataType::F16).unwrap();
    writer.add_tensor("u", &[1], DataType::F32).unwrap();
    let expected_len = writer.file_len();
    let mut data = writer.start(Vec::new()).unwrap();
    data.write_tensor(&[1, 2, 3, 4]).unwrap();
    data.write_piece(&[5, 6]).unwrap();
    assert_eq!(data.next_tensor(), Some(("u", 2)));
    data.write_piece(&[7, 8]).unwrap();
    let written = data.finish().unwrap();

    let expected = Raw::gguf(2, 2)
        .key("k", raw::STRING)
        .string("v")
        .key("n", raw::ARRAY)
        .u32(raw::U8)
        .u64(2)
        .bytes(&[1, 2])
        .tensor("t", &[2, 1], 1, 0)
        .tensor("u", &[1], 0, 32)
        .pad(32)
        .bytes(&[1, 2, 3, 4])
        .pad(32)
        .bytes(&[5, 6, 7, 8])
        .pad(32);
    assert_eq!(written.escape_ascii().to_string(), expected.0.escape_ascii().to_string());
    assert_eq!(written.len() as u64, expected_len);
}

#[test]
fn every_value_type_comes_back() {
    for version in [2, 3] {
        let model = Gguf::parse(samples::rich_gguf(version)).unwrap();
        let metadata = model.metadata();
        assert_eq!((model.version(), model.alignment(), metadata.len()), (version, 32, 16));
        assert_eq!(metadata.str("general.architecture"), Some("llama"));
        assert_eq!(metadata.get("a.u8"), Some(Value::U8(200)));
        assert_eq!(metadata.get("a.i8"), Some(Value::I8(-100)));
        assert_eq!(metadata.get("a.u16"), Some(Value::U16(60_000)));
        assert_eq!(metadata.get("a.i16"), Some(Value::I16(-30_000)));
        assert_eq!(metadata.u64("a.u32"), Some(4_000_000_000));
        assert_eq!(metadata.get("a.i32").and_then(Value::as_i64), Some(-2_000_000_000));
        assert_eq!(metadata.u64("a.u64"), Some(u64::MAX));
        assert_eq!(metadata.get("a.i64").and_then(Value::as_i64), Some(i64::MIN));
        assert_eq!(metadata.f32("a.f32"), Some(1.5));
        assert_eq!(metadata.f32("a.f64"), Some(-2.25));
        assert_eq!(metadata.bool("a.bool"), Some(true));
        let tokens: Vec<_> = metadata.array("tokenizer.ggml.tokens").unwrap().strings().unwrap().collect();
        assert_eq!(tokens, ["<s>".as_bytes(), b"", "샘".as_bytes(), "쌤".as_bytes()]);
        let scores = metadata.array("tokenizer.ggml.scores").unwrap();
        assert_eq!(scores.f32s().unwrap(), [0.0, -1.0, 2.5, f32::MIN]);
        assert_eq!(metadata.array("tokenizer.ggml.token_type").unwrap().i32s().unwrap(), [3, 1, 1, -1]);
        assert_eq!(metadata.array("a.bools").unwrap().bools().unwrap(), [true, false]);
    }
}

#[test]
fn a_getter_of_another_type_gives_nothing() {
    let model = Gguf::parse(samples::rich_gguf(3)).unwrap();
    let metadata = model.metadata();
    assert_eq!(metadata.str("a.u8"), None);
    assert_eq!(metadata.u64("a.i8"), None, "a negative number is no size");
    assert_eq!(metadata.u32("a.u64"), None, "too large for a token number");
    assert_eq!(metadata.f32("a.u8"), None);
    assert_eq!(metadata.bool("a.u8"), None);
    assert_eq!(metadata.get("missing"), None);
    assert_eq!(metadata.array("tokenizer.ggml.token_type").unwrap().u32s(), None, "one of them is negative");
    assert_eq!(metadata.array("tokenizer.ggml.tokens").unwrap().f32s(), None);
    assert!(metadata.array("tokenizer.ggml.scores").unwrap().strings().is_none());
}

#[test]
fn nested_arrays_and_scalars_are_read() {
    let model = Gguf::parse(samples::nested_gguf()).unwrap();
    let nested = model.metadata().array("nested").unwrap();
    assert_eq!(nested.element_type(), ValueType::Array);
    let inner: Vec<_> = nested.iter().filter_map(Value::as_array).collect();
    assert_eq!(inner[0].strings().unwrap().collect::<Vec<_>>(), ["가".as_bytes(), "나".as_bytes()]);
    assert_eq!(inner[1].raw_bytes(), Some(&[1, 2, 3][..]));
    assert_eq!(nested.to_string_for_test(), "2 × array [2 × string [\"가\", \"나\"], 3 × u8 [1, 2, 3]]");
    assert!(model.metadata().array("empty").unwrap().is_empty());
    assert_eq!(model.alignment(), 8);
    let scalar = model.tensor("scalar").unwrap();
    assert_eq!((scalar.columns(), scalar.rows(), scalar.byte_len()), (1, 1, 4));
}

trait Shown {
    fn to_string_for_test(self) -> String;
}

impl Shown for saem_formats::gguf::Array<'_> {
    fn to_string_for_test(self) -> String {
        Value::Array(self).to_string()
    }
}

#[test]
fn a_writer_refuses_what_readers_would() {
    let mut writer = Writer::new();
    writer.add_metadata("k", Value::U8(1)).unwrap();
    assert!(matches!(writer.add_array("k", &[1.0_f32]), Err(WriteError::DuplicateKey { .. })));
    assert!(matches!(writer.add_metadata("", Value::U8(1)), Err(WriteError::BadName { .. })));
    for value in [Value::U32(3), Value::U32(1 << 20), Value::U64(32), Value::U32(0)] {
        assert!(matches!(writer.add_metadata("general.alignment", value), Err(WriteError::BadAlignment { .. })));
    }
    writer.add_tensor("t", &[1], DataType::F32).unwrap();
    assert!(matches!(writer.add_tensor("t", &[1], DataType::F32), Err(WriteError::DuplicateTensor { .. })));
    assert!(matches!(writer.add_tensor(&"t".repeat(64), &[1], DataType::F32), Err(WriteError::BadName { .. })));
    for shape in [&[1; 5][..], &[0], &[usize::MAX, 2], &[usize::MAX]] {
        assert!(matches!(writer.add_tensor("u", shape, DataType::F32), Err(WriteError::BadShape { .. })), "{shape:?}");
    }
    assert!(matches!(writer.add_tensor("u", &[31], DataType::Q8_0), Err(WriteError::BadShape { .. })));
    assert!(matches!(Writer::with_version(1), Err(WriteError::BadVersion { version: 1 })));
}

#[test]
fn tensor_data_must_be_whole() {
    let mut writer = Writer::new();
    writer.add_tensor("a", &[2], DataType::F32).unwrap();
    writer.add_tensor("b", &[1], DataType::F32).unwrap();
    let mut data = writer.clone().start(Vec::new()).unwrap();
    assert!(matches!(data.write_tensor(&[0; 4]), Err(WriteError::WrongLength { expected: 8, actual: 4, .. })));
    assert!(matches!(data.write_piece(&[0; 9]), Err(WriteError::WrongLength { expected: 8, actual: 9, .. })));
    data.write_piece(&[0; 3]).unwrap();
    assert!(matches!(data.finish(), Err(WriteError::Incomplete { missing: 5, .. })));

    let mut data = writer.start(Vec::new()).unwrap();
    data.write_tensor(&[0; 8]).unwrap();
    data.write_tensor(&[0; 4]).unwrap();
    assert!(matches!(data.write_piece(&[0]), Err(WriteError::TooMuchData { extra: 1 })));
    data.finish().unwrap();
}

#[test]
fn a_full_disk_is_an_error_and_no_panic() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 && !bytes.is_empty() { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Writer::new();
    writer.add_tensor("a", &[2], DataType::F32).unwrap();
    for room in 0..writer.file_len() as usize {
        let result = writer.clone().start(Full(room)).and_then(|mut data| data.write_tensor(&[0; 8]));
        assert!(matches!(result, Err(WriteError::Io(_))), "room for {room} bytes");
    }
}

/// A value to write and to compare with.
#[derive(Clone, Debug)]
enum Item {
    Number(u64),
    Signed(i64),
    Float(f32),
    Truth(bool),
    Text(String),
    Strings(Vec<Vec<u8>>),
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        any::<u64>().prop_map(Item::Number),
        any::<i64>().prop_map(Item::Signed),
        any::<f32>().prop_map(Item::Float),
        any::<bool>().prop_map(Item::Truth),
        ".{0,40}".prop_map(Item::Text),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..20).prop_map(Item::Strings),
        proptest::collection::vec(any::<f32>(), 0..20).prop_map(Item::Floats),
        proptest::collection::vec(any::<i32>(), 0..20).prop_map(Item::Integers),
    ]
}

fn tensor() -> impl Strategy<Value = (DataType, usize, Vec<usize>)> {
    let data_type = proptest::sample::select(DataType::ALL.to_vec());
    (data_type, 1_usize..3, proptest::collection::vec(1_usize..4, 0..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_model_comes_back(
        version in 2_u32..=3,
        alignment in proptest::option::of(0_u32..9),
        items in proptest::collection::btree_map("[a-z가-힣.]{1,20}", item(), 0..12),
        tensors in proptest::collection::btree_map("[a-z0-9.]{1,63}", tensor(), 0..8),
        seed in any::<u8>(),
    ) {
        let mut writer = Writer::with_version(version).unwrap();
        if let Some(power) = alignment {
            writer.add_metadata("general.alignment", Value::U32(1 << power)).unwrap();
        }
        for (key, item) in &items {
            match item {
                Item::Number(value) => writer.add_metadata(key, Value::U64(*value)),
                Item::Signed(value) => writer.add_metadata(key, Value::I64(*value)),
                Item::Float(value) => writer.add_metadata(key, Value::F32(*value)),
                Item::Truth(value) => writer.add_metadata(key, Value::Bool(*value)),
                Item::Text(value) => writer.add_metadata(key, Value::from(value.as_str())),
                Item::Strings(value) => writer.add_strings(key, value),
                Item::Floats(value) => writer.add_array(key, value),
                Item::Integers(value) => writer.add_array(key, value),
            }.unwrap();
        }
        let shape_of = |data_type: DataType, blocks: usize, rest: &[usize]| {
            let mut shape = vec![blocks * data_type.block_len()];
            shape.extend(rest.iter().take(3));
            shape
        };
        for (name, (data_type, blocks, rest)) in &tensors {
            writer.add_tensor(name, &shape_of(*data_type, *blocks, rest), *data_type).unwrap();
        }
        let expected_len = writer.file_len();
        let mut data = writer.start(Vec::new()).unwrap();
        let mut contents = Vec::new();
        while let Some((_, missing)) = data.next_tensor() {
            let bytes: Vec<u8> = (0..missing).map(|index| (index as u8).wrapping_mul(31) ^ seed).collect();
            data.write_tensor(&bytes).unwrap();
            contents.push(bytes);
        }
        let file = data.finish().unwrap();
        prop_assert_eq!(file.len() as u64, expected_len);

        let model = Gguf::parse(file).unwrap();
        prop_assert_eq!(model.version(), version);
        prop_assert_eq!(model.alignment(), alignment.map_or(32, |power| 1 << power));
        for (key, item) in &items {
            let value = model.metadata().get(key).unwrap();
            let same = match item {
                Item::Number(expected) => value == Value::U64(*expected),
                Item::Signed(expected) => value.as_i64() == Some(*expected),
                Item::Float(expected) => value.as_f32().map(f32::to_bits) == Some(expected.to_bits()),
                Item::Truth(expected) => value.as_bool() == Some(*expected),
                Item::Text(expected) => value.as_str() == Some(expected),
                Item::Strings(expected) => value.as_array().unwrap().strings().unwrap().eq(expected.iter()),
                Item::Floats(expected) => {
                    let found = value.as_array().unwrap().f32s().unwrap();
                    found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits()))
                }
                Item::Integers(expected) => value.as_array().unwrap().i32s().as_ref() == Some(expected),
            };
            prop_assert!(same, "{} is {} and should be {:?}", key, value, item);
        }
        prop_assert_eq!(model.tensors().len(), tensors.len());
        for ((name, (data_type, blocks, rest)), expected) in tensors.iter().zip(&contents) {
            let tensor = model.tensor(name).unwrap();
            prop_assert_eq!(&tensor.shape, &shape_of(*data_type, *blocks, rest));
            prop_assert_eq!(tensor.data_type, *data_type);
            prop_assert_eq!(model.tensor_bytes(tensor), expected.as_slice());
        }
    }
}
