//! Model files from strangers: an error that names the place, never a panic, a hang or a huge allocation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use saem_encoder::{EncoderError, SentenceEncoder};
use zip::CompressionMethod;

use crate::toy::{self, Array, Values};

fn open(directory: &Path) -> Result<SentenceEncoder, EncoderError> {
    SentenceEncoder::open(directory, 1)
}

/// Opens the toy model with some arrays changed.
fn changed(change: impl FnOnce(&mut BTreeMap<String, Array>)) -> Result<SentenceEncoder, EncoderError> {
    let directory = tempfile::tempdir().unwrap();
    let mut arrays = toy::arrays();
    change(&mut arrays);
    toy::write(directory.path(), &arrays);
    open(directory.path())
}

/// Opens the toy model with one array's file replaced.
fn replaced(name: &str, bytes: Vec<u8>, method: CompressionMethod) -> Result<SentenceEncoder, EncoderError> {
    let directory = tempfile::tempdir().unwrap();
    let arrays = toy::arrays();
    let mut files: Vec<(String, Vec<u8>)> =
        arrays.iter().map(|(name, array)| (format!("{name}.npy"), array.npy())).collect();
    files.iter_mut().filter(|(file, _)| *file == format!("{name}.npy")).for_each(|(_, old)| *old = bytes.clone());
    toy::archive(&directory.path().join("weights.npz"), &files, method);
    fs::write(directory.path().join("sp.model"), toy::sentencepiece()).unwrap();
    open(directory.path())
}

#[test]
fn what_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(open(directory.path()), Err(EncoderError::Io { path, .. }) if path.ends_with("sp.model")));
    fs::write(directory.path().join("sp.model"), toy::sentencepiece()).unwrap();
    assert!(matches!(open(directory.path()), Err(EncoderError::Io { path, .. }) if path.ends_with("weights.npz")));
    fs::write(directory.path().join("weights.npz"), b"no archive").unwrap();
    assert!(matches!(open(directory.path()), Err(EncoderError::Archive { .. })));
    let gone = changed(|arrays| drop(arrays.remove("w2_5")));
    assert!(matches!(gone, Err(EncoderError::MissingArray { array, .. }) if array == "w2_5"));
}

#[test]
fn types_and_shapes_must_be_those_of_the_architecture() {
    let shape = changed(|arrays| arrays.get_mut("d1").unwrap().shape = vec![102_400]);
    assert!(matches!(shape, Err(EncoderError::Shape { array, .. }) if array == "d1"));
    let kind = changed(|arrays| {
        arrays.insert("eps".to_owned(), Array { shape: vec![], values: Values::F32(vec![1e-12]) });
    });
    let Err(error @ EncoderError::Shape { .. }) = kind else { panic!("accepted") };
    assert!(error.to_string().ends_with("the array `eps` is <f4 []; <f8 [] is expected"), "{error}");
    let rows = changed(|arrays| {
        let array = arrays.get_mut("q3").unwrap();
        array.shape[0] += 1;
        if let Values::U8(values) = &mut array.values {
            values.extend([0; 512]);
        }
    });
    assert!(matches!(rows, Err(EncoderError::Shape { array, .. }) if array == "q3"));
}

#[test]
fn values_must_be_numbers() {
    for bad in [f32::NAN, f32::INFINITY] {
        let result = changed(|arrays| {
            if let Values::F32(values) = &mut arrays.get_mut("b1_3").unwrap().values {
                values[17] = bad;
            }
        });
        assert!(matches!(result, Err(EncoderError::Array { array, offset: 196, .. }) if array == "b1_3"));
    }
    assert!(changed(|arrays| arrays.get_mut("eps").unwrap().values = Values::F64(f64::NAN)).is_err());
}

#[test]
fn a_claim_of_much_is_not_believed() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }";
    let result = replaced("cnn_W", toy::npy(header, &[0; 64]), CompressionMethod::Stored);
    assert!(matches!(result, Err(EncoderError::Shape { .. })));
    // A gigabyte of zeros in a megabyte: only what the shape asks for is unpacked.
    let mut bomb = toy::npy("{'descr': '<f4', 'fortran_order': False, 'shape': (512, ), }", &[]);
    bomb.resize(200 << 20, 0);
    let result = replaced("cnn_b", bomb, CompressionMethod::Deflated);
    assert!(matches!(result, Err(EncoderError::Array { array, .. }) if array == "cnn_b"));
    let short = toy::npy("{'descr': '<f4', 'fortran_order': False, 'shape': (512, ), }", &[0; 2047]);
    assert!(matches!(replaced("cnn_b", short, CompressionMethod::Stored), Err(EncoderError::Array { .. })));
    for header in
        [b"\x93NUMPY\x01\x00\xff\xff".to_vec(), b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), b"\x93NUM".to_vec()]
    {
        assert!(matches!(replaced("cnn_b", header, CompressionMethod::Stored), Err(EncoderError::Array { .. })));
    }
}

#[test]
fn a_tokenizer_without_the_tokens_it_needs_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    toy::write(directory.path(), &toy::arrays());
    let mut bytes = toy::sentencepiece();
    // The trainer says that there is no end token: field 42, -1.
    bytes.extend([18, 12, 0xd0, 0x02, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    fs::write(directory.path().join("sp.model"), &bytes).unwrap();
    assert!(matches!(open(directory.path()), Err(EncoderError::MissingToken { what: "end", .. })));
    fs::write(directory.path().join("sp.model"), &bytes[..bytes.len() - 3]).unwrap();
    assert!(matches!(open(directory.path()), Err(EncoderError::Tokenizer { .. })));
}

/// A model small enough to open again and again: headers and directory are what is worth breaking.
fn small_archive() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(make_small_archive).clone()
}

fn make_small_archive() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.npz");
    let files: Vec<(String, Vec<u8>)> = toy::arrays()
        .iter()
        .filter(|(name, _)| ["scale", "lo", "q1", "q2"].contains(&name.as_str()))
        .map(|(name, array)| (format!("{name}.npy"), array.npy()))
        .collect();
    toy::archive(&path, &files, CompressionMethod::Deflated);
    fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broken_bytes_are_errors(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..20), cut in any::<u16>()) {
        let mut bytes = small_archive();
        for (at, byte) in changes {
            let at = at as usize % bytes.len();
            // From the end, too, where the directory lies.
            let at = if byte % 2 == 0 { at } else { bytes.len() - 1 - at % 400 };
            bytes[at] = byte;
        }
        if cut % 4 == 0 {
            let length = cut as usize % bytes.len();
            bytes.truncate(length);
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sp.model"), toy::sentencepiece()).unwrap();
        fs::write(directory.path().join("weights.npz"), bytes).unwrap();
        // It lacks most arrays in any case.
        prop_assert!(open(directory.path()).is_err());
    }
}
