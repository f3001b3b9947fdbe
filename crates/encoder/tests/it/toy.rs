//! A small model with random weights: the real architecture over a few dozen tokens.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Pieces of the vocabulary, after the three control tokens.
const PIECES: &[&str] = &[
    "▁",
    "a",
    "b",
    "c",
    "▁a",
    "▁ab",
    "ab",
    "abc",
    "가",
    "나",
    "▁가",
    "가나",
    "다",
    "▁the",
    "the",
    "e",
    "t",
    "h",
    "s",
    ".",
    "▁나",
    "x",
    "y",
    "z",
    "1",
    "2",
    "▁1",
    "한",
    "글",
    "▁한글",
    "0",
    "q",
    "w",
];

/// An array: shape and values.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

#[derive(Clone, Debug)]
pub(crate) enum Values {
    U8(Vec<u8>),
    F32(Vec<f32>),
    F64(f64),
}

impl Array {
    pub(crate) fn floats(&self) -> Vec<f64> {
        match &self.values {
            Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Values::U8(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Values::F64(value) => vec![*value],
        }
    }

    /// As NumPy writes it.
    pub(crate) fn npy(&self) -> Vec<u8> {
        let (descr, bytes): (&str, Vec<u8>) = match &self.values {
            Values::U8(values) => ("|u1", values.clone()),
            Values::F32(values) => ("<f4", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Values::F64(value) => ("<f8", value.to_le_bytes().to_vec()),
        };
        let shape: String = self.shape.iter().map(|size| format!("{size}, ")).collect();
        npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}"), &bytes)
    }
}

pub(crate) fn npy(header: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{header:<117}\n");
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(bytes);
    out
}

/// Random numbers that are the same every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn float(&mut self, scale: f32) -> f32 {
        (self.roll(20_001) as f32 / 10_000.0 - 1.0) * scale
    }
}

pub(crate) fn vocabulary() -> usize {
    3 + PIECES.len()
}

/// The arrays of the model, by name.
pub(crate) fn arrays() -> BTreeMap<String, Array> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut found = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize], middle: f32, scale: f32| {
        let count = shape.iter().product();
        let values = Values::F32((0..count).map(|_| middle + dice.float(scale)).collect());
        found.insert(name.to_owned(), Array { shape: shape.to_vec(), values });
    };
    add("lo", &[17], -1.0, 0.1);
    add("scale", &[17], 0.03, 0.001);
    for size in [2, 3, 5] {
        add(&format!("proj{size}"), &[512, 256], 0.0, 0.1);
        add(&format!("proj_b{size}"), &[256], 0.0, 0.1);
        add(&format!("ln_g{size}"), &[256], 1.0, 0.5);
        add(&format!("ln_b{size}"), &[256], 0.0, 0.5);
        for layer in [1, 2] {
            add(&format!("w{layer}_{size}"), &[size * 256, 256], 0.0, 0.1);
            add(&format!("b{layer}_{size}"), &[256], 0.0, 0.3);
        }
    }
    add("ln_g", &[1280], 1.0, 0.5);
    add("ln_b", &[1280], 0.0, 0.2);
    add("cnn_W", &[1280, 512], 0.0, 0.03);
    add("cnn_b", &[512], 0.0, 0.1);
    for (name, shape) in [
        ("d0", [512, 320]),
        ("p1", [512, 320]),
        ("d1", [320, 320]),
        ("d2", [320, 512]),
        ("p3", [320, 512]),
        ("d3", [512, 512]),
    ] {
        add(name, &shape, 0.0, 0.05);
    }
    let rows = vocabulary().div_ceil(17);
    for block in 1..=17 {
        let values = Values::U8((0..rows * 512).map(|_| dice.roll(64) as u8).collect());
        found.insert(format!("q{block}"), Array { shape: vec![rows, 512], values });
    }
    found.insert("eps".to_owned(), Array { shape: vec![], values: Values::F64(1e-12) });
    found
}

/// The tokenizer's file.
pub(crate) fn sentencepiece() -> Vec<u8> {
    let mut out = Vec::new();
    let control = [("<unk>", 2), ("<s>", 3), ("</s>", 3)];
    for (index, (piece, kind)) in control.into_iter().chain(PIECES.iter().map(|piece| (*piece, 1))).enumerate() {
        let score = if kind == 1 { -(index as f32) / 4.0 } else { 0.0 };
        let mut message = vec![10, piece.len() as u8];
        message.extend(piece.as_bytes());
        message.push(21);
        message.extend(score.to_le_bytes());
        message.extend([24, kind]);
        out.extend([10, message.len() as u8]);
        out.extend(message);
    }
    out
}

/// Puts files into an archive.
pub(crate) fn archive(path: &Path, files: &[(String, Vec<u8>)], method: CompressionMethod) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in files {
        archive.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Writes a model of these arrays.
pub(crate) fn write(directory: &Path, arrays: &BTreeMap<String, Array>) {
    let files: Vec<(String, Vec<u8>)> =
        arrays.iter().map(|(name, array)| (format!("{name}.npy"), array.npy())).collect();
    archive(&directory.join("weights.npz"), &files, CompressionMethod::Stored);
    fs::write(directory.join("sp.model"), sentencepiece()).unwrap();
}
