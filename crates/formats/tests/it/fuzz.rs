//! Hostile files: no mutation of a valid file may panic, hang or allocate much.
//!
//! The inputs are the same in every run. `SAEM_FUZZ_CASES` asks for more random ones and `SAEM_FUZZ_SEED` for others.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use saem_formats::Source;
use saem_formats::gguf::{self, Array, Gguf, Value};
use saem_formats::safetensors::{self, SafeTensors};

use crate::allocations::peak_of;
use crate::mutate::{Random, breaking_numbers, mutate, overwrite};
use crate::raw::Raw;
use crate::samples;

/// Random mutations of each sample.
const CASES_PER_SAMPLE: usize = 16_000;
/// What a reader may allocate beside a multiple of the file's size.
const BASE_ALLOCATION: usize = 64 << 10;
const ALLOCATION_PER_BYTE: usize = 16;
/// Files of a kilobyte parse in microseconds; this long is a hang even on a busy machine.
const LONGEST_PARSE: Duration = Duration::from_secs(5);

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Reads `bytes` with `read`, and returns whether they were accepted.
fn check(bytes: &[u8], read: fn(Vec<u8>) -> bool) -> bool {
    measure(bytes, read).0
}

/// As [`check`], with the most bytes that were allocated at one time.
fn measure(bytes: &[u8], read: fn(Vec<u8>) -> bool) -> (bool, usize) {
    let start = Instant::now();
    let copy = bytes.to_vec();
    let outcome = catch_unwind(AssertUnwindSafe(|| peak_of(|| read(copy))));
    let Ok((accepted, peak)) = outcome else {
        panic!("the reader panicked on {} bytes: {}", bytes.len(), bytes.escape_ascii());
    };
    let allowed = BASE_ALLOCATION + ALLOCATION_PER_BYTE * bytes.len();
    assert!(peak <= allowed, "{peak} bytes were allocated for a file of {}: {}", bytes.len(), bytes.escape_ascii());
    let elapsed = start.elapsed();
    assert!(elapsed < LONGEST_PARSE, "{elapsed:?} for a file of {}: {}", bytes.len(), bytes.escape_ascii());
    (accepted, peak)
}

/// Opens a GGUF file and touches everything in it.
fn read_gguf(bytes: Vec<u8>) -> bool {
    match Gguf::parse(bytes) {
        Ok(model) => {
            walk_gguf(&model);
            true
        }
        Err(error) => {
            // The message must be one line of bounded length, whatever the file says.
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains('\n'), "{text}");
            false
        }
    }
}

fn walk_gguf(model: &Gguf) {
    for (key, value) in model.metadata().iter() {
        assert_eq!(model.metadata().get(key).map(Value::value_type), Some(value.value_type()));
        assert!(value.to_string().len() < 100_000);
        if let Some(array) = value.as_array() {
            walk_array(array);
        }
    }
    for tensor in model.tensors() {
        let bytes = model.tensor_bytes(tensor);
        assert_eq!(bytes.len(), tensor.byte_len());
        assert_eq!(tensor.data_type.bytes_for(tensor.elements()), Some(bytes.len()));
        assert_eq!(tensor.rows() * tensor.columns(), tensor.elements());
        assert_eq!(model.tensor(&tensor.name), Some(tensor));
    }
    assert!(model.weight_bytes() <= model.files().iter().map(|file| file.bytes().len() as u64).sum());
}

fn walk_array(array: Array<'_>) {
    assert_eq!(array.iter().count(), array.len());
    let _ = (array.f32s(), array.i32s(), array.u32s(), array.u64s(), array.bools(), array.raw_bytes());
    assert!(array.strings().is_none_or(|strings| strings.count() == array.len()));
    array.iter().filter_map(Value::as_array).for_each(walk_array);
}

/// Opens a safetensors file and touches everything in it.
fn read_safetensors(bytes: Vec<u8>) -> bool {
    match SafeTensors::parse(bytes) {
        Ok(model) => {
            for tensor in model.tensors() {
                let bytes = model.tensor_bytes(tensor);
                assert_eq!(bytes.len(), tensor.byte_len());
                assert_eq!(tensor.data_type.bytes_for(tensor.elements()), Some(bytes.len()));
                assert_eq!(model.tensor(&tensor.name), Some(tensor));
            }
            for tensor in model.unsupported() {
                assert!(model.required(&tensor.name).is_err());
            }
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains('\n'), "{text}");
            false
        }
    }
}

/// What came of an attack.
#[derive(Debug, Default)]
struct Report {
    tried: usize,
    accepted: usize,
    most_allocated: usize,
}

impl Report {
    fn attempt(&mut self, bytes: &[u8], read: fn(Vec<u8>) -> bool) {
        let (accepted, peak) = measure(bytes, read);
        self.tried += 1;
        self.accepted += usize::from(accepted);
        self.most_allocated = self.most_allocated.max(peak);
    }
}

/// Every truncation, every byte replaced, every window of 8 bytes replaced by numbers that break counts, and random mutations.
fn attack(samples: &[Vec<u8>], read: fn(Vec<u8>) -> bool) -> Report {
    let mut report = Report::default();
    for sample in samples {
        assert!(check(sample, read), "a sample is not valid");
        (0..sample.len()).for_each(|len| report.attempt(&sample[..len], read));
        for at in 0..sample.len() {
            for byte in [0, 0xff, sample[at] ^ 0x80, sample[at].wrapping_add(1), b'"', b'9'] {
                let mut bytes = sample.clone();
                overwrite(&mut bytes, at, &[byte]);
                report.attempt(&bytes, read);
            }
        }
        for at in 0..sample.len().min(1024) {
            for number in breaking_numbers(sample.len()) {
                let mut bytes = sample.clone();
                overwrite(&mut bytes, at, &number.to_le_bytes());
                report.attempt(&bytes, read);
            }
        }
    }
    let mut random = Random::new(setting("SAEM_FUZZ_SEED", 1) as u64);
    for sample in samples {
        for _ in 0..setting("SAEM_FUZZ_CASES", CASES_PER_SAMPLE) {
            let other = &samples[random.below(samples.len())];
            report.attempt(&mutate(&mut random, sample, other), read);
        }
    }
    // Mutations of weights and values leave a file valid; if nearly none is, the mutations do not reach beyond the magic.
    assert!((report.tried / 50..report.tried).contains(&report.accepted), "{report:?}");
    report
}

#[test]
fn mutated_gguf_files_are_refused_or_read() {
    let samples = [samples::rich_gguf(3), samples::rich_gguf(2), samples::nested_gguf(), samples::empty_gguf()];
    let report = attack(&samples, read_gguf);
    println!("mutated GGUF files: {report:?}");
    assert!(report.tried >= 100_000);
}

#[test]
fn mutated_safetensors_files_are_refused_or_read() {
    let samples = [samples::rich_safetensors(), samples::odd_safetensors()];
    let report = attack(&samples, read_safetensors);
    println!("mutated safetensors files: {report:?}");
    assert!(report.tried >= 50_000);
}

/// Indexes, configurations and templates are read from files, so fewer mutations are tried.
#[test]
fn mutated_folders_are_refused_or_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.safetensors"), samples::rich_safetensors()).unwrap();
    let files = [
        (
            "model.safetensors.index.json",
            r#"{"metadata":{},"weight_map":{"scalar":"a.safetensors","empty":"a.safetensors"}}"#,
        ),
        ("config.json", r#"{"model_type":"llama","eos_token_id":[1,2],"rope_scaling":null,"rope_theta":1e6}"#),
        ("tokenizer_config.json", r#"{"chat_template":[{"name":"default","template":"{{ messages }}"}]}"#),
        ("chat_template.json", r#"{"chat_template":"{{ messages }}"}"#),
    ];
    files.iter().for_each(|(name, text)| fs::write(path(name), text).unwrap());
    let mut random = Random::new(3);
    let mut accepted = 0;
    for (name, text) in files {
        for _ in 0..500 {
            let mutated = mutate(&mut random, text.as_bytes(), files[0].1.as_bytes());
            fs::write(path(name), &mutated).unwrap();
            let opened = catch_unwind(|| peak_of(|| Source::open(directory.path())));
            let Ok((result, peak)) = opened else { panic!("{name}: {}", mutated.escape_ascii()) };
            assert!(peak < BASE_ALLOCATION, "{name}: {peak} bytes for {}", mutated.escape_ascii());
            accepted += usize::from(result.is_ok());
        }
        fs::write(path(name), text).unwrap();
    }
    assert!((100..1900).contains(&accepted), "{accepted}");
}

#[test]
fn a_counted_item_is_never_larger_in_memory_than_allowed() {
    // The densest files: as many of the smallest items as fit.
    let count = 50_000_u64;
    let entries = (0..count).fold(Raw::gguf(0, count), |raw, number| raw.key(&format!("{number:05}"), 0).u8(1));
    assert!(check(&entries.0, read_gguf));

    let tensors =
        (0..count).fold(Raw::gguf(count, 0), |raw, number| raw.tensor(&format!("{number:05}"), &[], 0, 32 * number));
    assert!(check(&tensors.pad(32).zeros(32 * count as usize).0, read_gguf));

    let strings = Raw::gguf(0, 1).key("a", 9).u32(8).u64(count).zeros(8 * count as usize);
    assert!(check(&strings.0, read_gguf));
    let arrays = Raw::gguf(0, 1).key("a", 9).u32(9).u64(count).zeros(12 * count as usize);
    assert!(check(&arrays.0, read_gguf));

    let entry = |number: u64| format!(r#""{number}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let header = format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","));
    assert!(check(&crate::raw::safetensors(&header, 0), read_safetensors));
    let texts = (0..4096).map(|number| format!(r#""{number}":"""#)).collect::<Vec<_>>().join(",");
    assert!(check(&crate::raw::safetensors(&format!(r#"{{"__metadata__":{{{texts}}}}}"#), 0), read_safetensors));
}

#[test]
fn deep_json_is_refused_and_not_recursed_into() {
    for open in ["[", "{\"a\":"] {
        let header = format!("{{\"w\":{}", open.repeat(200_000));
        assert!(!check(&crate::raw::safetensors(&header, 0), read_safetensors));
        let header = format!("{{\"w\":{{\"more\":{}", open.repeat(200_000));
        assert!(!check(&crate::raw::safetensors(&header, 0), read_safetensors));
    }
}

/// A field of a made-up file: a plausible value, or one that breaks.
fn field() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..6, 2 => 0_u64..64, 1 => proptest::sample::select(breaking_numbers(512))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_after_a_valid_start(tail in proptest::collection::vec(any::<u8>(), 0..200), counts in (field(), field())) {
        check(&Raw::gguf(counts.0, counts.1).bytes(&tail).0, read_gguf);
        check(&Raw::default().u64(counts.0).bytes(&tail).0, read_safetensors);
    }

    #[test]
    fn made_up_fields(
        counts in (field(), field()),
        entries in proptest::collection::vec(("[a-c]{0,3}", field(), field(), field(), field()), 0..5),
        tensors in proptest::collection::vec(("[a-c]{0,3}", proptest::collection::vec(field(), 0..6), field(), field()), 0..5),
        data in 0_usize..2048,
    ) {
        let mut raw = Raw::gguf(counts.0, counts.1);
        for (key, value_type, first, second, third) in &entries {
            raw = raw.key(key, *value_type as u32).u32(*first as u32).u64(*second).u64(*third);
        }
        for (name, shape, type_id, offset) in &tensors {
            raw = raw.tensor(name, shape, *type_id as u32, offset.wrapping_mul(32));
        }
        check(&raw.pad(32).zeros(data).0, read_gguf);
    }

    #[test]
    fn made_up_headers(
        entries in proptest::collection::vec(
            ("[a-c]{0,2}", proptest::sample::select(vec!["F32", "BF16", "F4", "I64", "X"]), proptest::collection::vec(field(), 0..10), field(), field()),
            0..5,
        ),
        data in 0_usize..64,
    ) {
        let entry = |(name, data_type, shape, begin, end): &(String, &str, Vec<u64>, u64, u64)| {
            format!(r#""{name}":{{"dtype":"{data_type}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
        };
        let header = format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","));
        check(&crate::raw::safetensors(&header, data), read_safetensors);
    }
}

/// What a reader accepts, the writer can write again, unless a name is longer than llama.cpp takes.
#[test]
fn accepted_mutations_survive_a_copy() {
    let sample = samples::rich_gguf(3);
    let mut random = Random::new(7);
    let mut copied = 0;
    for _ in 0..4_000 {
        let Ok(model) = Gguf::parse(mutate(&mut random, &sample, &sample)) else { continue };
        let Some(copy) = copy_gguf(&model) else { continue };
        let again = Gguf::parse(copy).unwrap();
        assert!(again.metadata().iter().eq(model.metadata().iter()) || has_nan(&model), "metadata differs");
        let tensors = |model: &Gguf| -> Vec<_> {
            let tensor = |tensor: &gguf::TensorInfo| (tensor.name.clone(), tensor.shape.clone(), tensor.data_type);
            model.tensors().iter().map(tensor).collect()
        };
        assert_eq!(tensors(&again), tensors(&model));
        copied += 1;
    }
    assert!(copied > 300, "{copied}");
}

fn has_nan(model: &Gguf) -> bool {
    model.metadata().iter().any(|(_, value)| value.as_f64().is_some_and(f64::is_nan))
}

fn copy_gguf(model: &Gguf) -> Option<Vec<u8>> {
    let mut writer = gguf::Writer::new();
    writer.copy_metadata(model.metadata()).ok()?;
    for tensor in model.tensors() {
        writer.add_tensor(&tensor.name, &tensor.shape, tensor.data_type).ok()?;
    }
    let expected = writer.file_len();
    let mut data = writer.start(Vec::new()).ok()?;
    model.tensors().iter().for_each(|tensor| data.write_tensor(model.tensor_bytes(tensor)).unwrap());
    let bytes = data.finish().unwrap();
    assert_eq!(bytes.len() as u64, expected);
    Some(bytes)
}

#[test]
fn accepted_safetensors_survive_a_copy() {
    let model = SafeTensors::parse(samples::rich_safetensors()).unwrap();
    let mut writer = safetensors::Writer::new();
    model.metadata().iter().for_each(|(key, value)| writer.add_metadata(key, value).unwrap());
    for tensor in model.tensors() {
        writer.add_tensor(&tensor.name, &tensor.shape, tensor.data_type).unwrap();
    }
    let expected = writer.file_len();
    let mut data = writer.start(Vec::new()).unwrap();
    model.tensors().iter().for_each(|tensor| data.write_tensor(model.tensor_bytes(tensor)).unwrap());
    let bytes = data.finish().unwrap();
    assert_eq!(bytes.len() as u64, expected);
    assert_eq!(SafeTensors::parse(bytes).unwrap().tensors().len(), model.tensors().len());
}
