//! Small valid files of every kind, the starting points of the mutations.

use saem_formats::gguf::{self, Value};
use saem_formats::{DataType, safetensors};

use crate::raw::{self, Raw};

/// A GGUF file with a value of every type, nested arrays, and tensors of several types.
pub(crate) fn rich_gguf(version: u32) -> Vec<u8> {
    let mut writer = gguf::Writer::with_version(version).unwrap();
    writer.add_metadata("general.architecture", Value::from("llama")).unwrap();
    writer.add_metadata("a.u8", Value::U8(200)).unwrap();
    writer.add_metadata("a.i8", Value::I8(-100)).unwrap();
    writer.add_metadata("a.u16", Value::U16(60_000)).unwrap();
    writer.add_metadata("a.i16", Value::I16(-30_000)).unwrap();
    writer.add_metadata("a.u32", Value::U32(4_000_000_000)).unwrap();
    writer.add_metadata("a.i32", Value::I32(-2_000_000_000)).unwrap();
    writer.add_metadata("a.u64", Value::U64(u64::MAX)).unwrap();
    writer.add_metadata("a.i64", Value::I64(i64::MIN)).unwrap();
    writer.add_metadata("a.f32", Value::F32(1.5)).unwrap();
    writer.add_metadata("a.f64", Value::F64(-2.25)).unwrap();
    writer.add_metadata("a.bool", Value::Bool(true)).unwrap();
    writer.add_strings("tokenizer.ggml.tokens", ["<s>", "", "샘", "쌤"]).unwrap();
    writer.add_array("tokenizer.ggml.scores", &[0.0_f32, -1.0, 2.5, f32::MIN]).unwrap();
    writer.add_array("tokenizer.ggml.token_type", &[3_i32, 1, 1, -1]).unwrap();
    writer.add_array("a.bools", &[true, false]).unwrap();
    writer.add_tensor("token_embd.weight", &[32, 4], DataType::Q8_0).unwrap();
    writer.add_tensor("blk.0.norm.weight", &[5], DataType::F32).unwrap();
    writer.add_tensor("blk.0.up.weight", &[256, 1, 2], DataType::Q4K).unwrap();
    let mut data = writer.start(Vec::new()).unwrap();
    while let Some((_, missing)) = data.next_tensor() {
        data.write_piece(&vec![7; missing as usize]).unwrap();
    }
    data.finish().unwrap()
}

/// A GGUF file with arrays in arrays and another alignment, built by hand.
pub(crate) fn nested_gguf() -> Vec<u8> {
    Raw::gguf(2, 3)
        .key("general.alignment", raw::U32)
        .u32(8)
        .key("nested", raw::ARRAY)
        .u32(raw::ARRAY)
        .u64(2)
        .u32(raw::STRING)
        .u64(2)
        .string("가")
        .string("나")
        .u32(raw::U8)
        .u64(3)
        .bytes(&[1, 2, 3])
        .key("empty", raw::ARRAY)
        .u32(raw::STRING)
        .u64(0)
        .tensor("a", &[3], 0, 0)
        .tensor("scalar", &[], 0, 16)
        .pad(8)
        .zeros(20)
        .0
}

/// The smallest file of the format.
pub(crate) fn empty_gguf() -> Vec<u8> {
    Raw::gguf(0, 0).0
}

/// A safetensors file with text and tensors of the supported types.
pub(crate) fn rich_safetensors() -> Vec<u8> {
    let mut writer = safetensors::Writer::new();
    writer.add_metadata("format", "pt").unwrap();
    writer.add_metadata("작성자", "샘\n").unwrap();
    writer.add_tensor("model.embed_tokens.weight", &[2, 3], DataType::Bf16).unwrap();
    writer.add_tensor("model.norm.weight", &[3], DataType::F32).unwrap();
    writer.add_tensor("scalar", &[], DataType::F16).unwrap();
    writer.add_tensor("empty", &[0, 4], DataType::F32).unwrap();
    let mut data = writer.start(Vec::new()).unwrap();
    while let Some((_, missing)) = data.next_tensor() {
        data.write_piece(&vec![7; missing as usize]).unwrap();
    }
    data.finish().unwrap()
}

/// A safetensors file with types that are listed but not read, and keys that nobody knows.
pub(crate) fn odd_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{}, "ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16],"more":[{"x":[1,null]}]},
        "four":{"data_offsets":[16,18],"shape":[2,2],"dtype":"F4"},"w":{"dtype":"F32","shape":[1,1],"data_offsets":[20,24]} }  "#;
    raw::safetensors(header, 24)
}
