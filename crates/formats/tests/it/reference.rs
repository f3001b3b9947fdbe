//! Files of the reference implementations, written by `tests/fixtures/make.py`.

use std::path::{Path, PathBuf};

use saem_formats::DataType;
use saem_formats::gguf::{Gguf, Value};
use saem_formats::safetensors::SafeTensors;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The numbers 0, 1, 2 .. as f32.
fn ramp(count: u16) -> Vec<u8> {
    (0..count).flat_map(|number| f32::from(number).to_le_bytes()).collect()
}

#[test]
fn a_file_of_gguf_py_is_read() {
    let model = Gguf::open(fixture("reference.gguf")).unwrap();
    let metadata = model.metadata();
    assert_eq!(model.version(), 3);
    assert_eq!(metadata.str("general.architecture"), Some("llama"));
    assert_eq!(metadata.str("general.name"), Some("샘물"));
    assert_eq!(metadata.usize("llama.block_count"), Some(2));
    assert_eq!(metadata.f32("llama.rope.freq_base"), Some(10000.0));
    assert_eq!(metadata.bool("tokenizer.ggml.add_bos_token"), Some(true));
    assert_eq!(metadata.get("a.i8"), Some(Value::I8(-5)));
    assert_eq!(metadata.get("a.u64"), Some(Value::U64(1 << 63)));
    assert_eq!(metadata.get("a.f64"), Some(Value::F64(0.1)));
    let tokens: Vec<_> = metadata.array("tokenizer.ggml.tokens").unwrap().strings().unwrap().collect();
    assert_eq!(tokens, ["<s>".as_bytes(), "가".as_bytes(), "나다".as_bytes()]);
    assert_eq!(metadata.array("tokenizer.ggml.scores").unwrap().f32s().unwrap(), [0.0, -1.5, -2.5]);
    assert_eq!(metadata.array("tokenizer.ggml.token_type").unwrap().i32s().unwrap(), [3, 1, 1]);

    // numpy's shape [2, 32] is GGML's [32, 2].
    let tensor = model.tensor("f32").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.data_type), (&[32, 2][..], DataType::F32));
    assert_eq!(model.tensor_bytes(tensor), ramp(64));
    let half = model.tensor("f16").unwrap();
    assert_eq!((half.shape.as_slice(), half.data_type, half.byte_len()), (&[32][..], DataType::F16, 64));
    let quantised = model.tensor("q8_0").unwrap();
    assert_eq!((quantised.shape.as_slice(), quantised.data_type), (&[32, 2][..], DataType::Q8_0));
    assert_eq!(quantised.byte_len(), 2 * 34);
}

#[test]
fn a_file_of_the_safetensors_library_is_read() {
    let model = SafeTensors::open(fixture("reference.safetensors")).unwrap();
    assert_eq!(model.metadata().get("format").map(String::as_str), Some("np"));
    let tensor = model.required("ramp").unwrap();
    assert_eq!((tensor.shape.as_slice(), tensor.rows(), tensor.columns()), (&[2, 32][..], 2, 32));
    assert_eq!(model.tensor_bytes(tensor), ramp(64));
    assert_eq!(model.required("half").unwrap().data_type, DataType::F16);
    assert_eq!(model.unsupported().first().map(|ids| (ids.name.as_str(), ids.type_name)), Some(("ids", "I64")));
}

/// A copy of a reference file is the same file, byte for byte.
#[test]
fn a_copy_of_a_reference_file_is_the_same_file() {
    let path = fixture("reference.gguf");
    let model = Gguf::open(&path).unwrap();
    let mut writer = saem_formats::gguf::Writer::new();
    writer.copy_metadata(model.metadata()).unwrap();
    for tensor in model.tensors() {
        writer.add_tensor(&tensor.name, &tensor.shape, tensor.data_type).unwrap();
    }
    let mut data = writer.start(Vec::new()).unwrap();
    model.tensors().iter().for_each(|tensor| data.write_tensor(model.tensor_bytes(tensor)).unwrap());
    assert_eq!(data.finish().unwrap(), std::fs::read(&path).unwrap());
}
