//! What is written comes back, from one file and from several.

use std::fs;

use proptest::prelude::*;
use saem_formats::safetensors::{SafeTensors, Writer};
use saem_formats::{DataType, WriteError};

use crate::samples;

#[test]
fn a_file_comes_back() {
    let file = samples::rich_safetensors();
    let header_len = u64::from_le_bytes(*file.first_chunk().unwrap());
    assert_eq!(header_len % 8, 0, "the data is aligned");
    let model = SafeTensors::parse(file).unwrap();
    assert_eq!(model.metadata().get("format").map(String::as_str), Some("pt"));
    assert_eq!(model.metadata().get("작성자").map(String::as_str), Some("샘\n"));
    let tensor = model.tensor("model.embed_tokens.weight").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.data_type), (&[2, 3][..], DataType::Bf16));
    assert_eq!((tensor.rows(), tensor.columns(), tensor.elements(), tensor.byte_len()), (2, 3, 6, 12));
    assert_eq!(model.tensor_bytes(tensor), [7; 12]);
    assert_eq!(model.tensor("scalar").map(|scalar| (scalar.rows(), scalar.columns())), Some((1, 1)));
    assert_eq!(model.tensor("empty").map(|empty| empty.byte_len()), Some(0));
    assert_eq!(model.weight_bytes(), 12 + 12 + 2);
}

#[test]
fn shards_are_joined_by_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let write = |file: &str, names: [&str; 2], value: u8| {
        let mut writer = Writer::new();
        names.iter().for_each(|name| writer.add_tensor(name, &[2, 1], DataType::F16).unwrap());
        let mut data = writer.start(fs::File::create(directory.path().join(file)).unwrap()).unwrap();
        names.iter().for_each(|_| data.write_tensor(&[value; 4]).unwrap());
        data.finish().unwrap();
    };
    write("model-00001-of-00002.safetensors", ["a", "b"], 1);
    write("model-00002-of-00002.safetensors", ["b", "c"], 2);
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let index = serde_json::json!({
        "metadata": { "total_size": 12 },
        "weight_map": { "a": first, "b": second, "c": second },
    });
    let index_path = directory.path().join("model.safetensors.index.json");
    fs::write(&index_path, index.to_string()).unwrap();
    for path in [directory.path(), index_path.as_path()] {
        let model = SafeTensors::open(path).unwrap();
        assert_eq!(model.tensors().len(), 3);
        assert_eq!(model.files().len(), 2);
        let first_byte = |name| model.tensor_bytes(model.tensor(name).unwrap())[0];
        assert_eq!([first_byte("a"), first_byte("b"), first_byte("c")], [1, 2, 2], "the index decides about b");
        model.release(model.tensor("a").unwrap());
        model.prefetch(model.tensor("a").unwrap());
        assert_eq!(first_byte("a"), 1);
    }
    assert_eq!(SafeTensors::open(directory.path().join(first)).unwrap().tensors().len(), 2);
}

#[test]
fn a_writer_refuses_what_readers_would() {
    let mut writer = Writer::new();
    writer.add_metadata("k", "v").unwrap();
    assert!(matches!(writer.add_metadata("k", "w"), Err(WriteError::DuplicateKey { .. })));
    writer.add_tensor("t", &[1], DataType::F32).unwrap();
    assert!(matches!(writer.add_tensor("t", &[1], DataType::F32), Err(WriteError::DuplicateTensor { .. })));
    assert!(matches!(writer.add_tensor("q", &[32], DataType::Q8_0), Err(WriteError::UnsupportedType { .. })));
    assert!(matches!(writer.add_tensor("__metadata__", &[1], DataType::F32), Err(WriteError::BadName { .. })));
    for shape in [&[1; 9][..], &[usize::MAX], &[usize::MAX, 2]] {
        assert!(matches!(writer.add_tensor("u", shape, DataType::F32), Err(WriteError::BadShape { .. })), "{shape:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_checkpoint_comes_back(
        texts in proptest::collection::btree_map(".{0,10}", ".{0,20}", 0..4),
        tensors in proptest::collection::btree_map(
            ".{1,30}",
            (proptest::sample::select(vec![DataType::F32, DataType::F16, DataType::Bf16]), proptest::collection::vec(0_usize..5, 0..5)),
            0..8,
        ),
    ) {
        let mut writer = Writer::new();
        texts.iter().for_each(|(key, value)| writer.add_metadata(key, value).unwrap());
        for (name, (data_type, shape)) in &tensors {
            writer.add_tensor(name, shape, *data_type).unwrap();
        }
        let expected_len = writer.file_len();
        let mut data = writer.start(Vec::new()).unwrap();
        let mut number = 0_u8;
        while let Some((_, missing)) = data.next_tensor() {
            data.write_tensor(&vec![number; missing as usize]).unwrap();
            number += 1;
        }
        let file = data.finish().unwrap();
        prop_assert_eq!(file.len() as u64, expected_len);
        let model = SafeTensors::parse(file).unwrap();
        prop_assert_eq!(model.metadata(), &texts);
        prop_assert_eq!(model.tensors().len(), tensors.len());
        for ((name, (data_type, shape)), number) in tensors.iter().zip(0_u8..) {
            let tensor = model.tensor(name).unwrap();
            prop_assert_eq!((tensor.data_type, &tensor.shape), (*data_type, shape));
            prop_assert!(model.tensor_bytes(tensor).iter().all(|byte| *byte == number));
        }
    }
}
