//! `model.safetensors.index.json`: which file of a sharded checkpoint holds which tensor.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde_json::Value;

use super::problem::{Fault, Problem};
use crate::FormatError;
use crate::error::shown;
use crate::hf::read_json;

/// The name that `transformers` gives to the index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The name that `transformers` gives to an unsharded checkpoint.
pub const MODEL_FILE: &str = "model.safetensors";

/// The largest index that is read; one of 100,000 tensors has 10 MB.
const LARGEST_INDEX: u64 = 64 << 20;
/// Far more files than any checkpoint has.
const MOST_SHARDS: usize = 10_000;

/// Each file of the index with the sorted names of its tensors.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Vec<String>>, FormatError> {
    let wrong =
        |message: &str| FormatError::Json { path: path.to_owned(), line: 0, column: 0, message: message.to_owned() };
    let mut index = read_json(path, LARGEST_INDEX)?;
    let Some(Value::Object(map)) = index.get_mut("weight_map").map(Value::take) else {
        return Err(wrong("the index has no \"weight_map\""));
    };
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file) in map {
        let Value::String(file) = file else {
            return Err(wrong("\"weight_map\" must map tensor names to file names"));
        };
        if !is_plain_file_name(&file) {
            let problem = Problem::BadShardName { file: shown(file.as_bytes()) };
            return Err(Fault::new(0, problem).in_file(path));
        }
        shards.entry(file).or_default().push(name);
        if shards.len() > MOST_SHARDS {
            let problem = Problem::TooMany { what: "files in the index", limit: MOST_SHARDS };
            return Err(Fault::new(0, problem).in_file(path));
        }
    }
    shards.values_mut().for_each(|names| names.sort_unstable());
    Ok(shards)
}

/// Whether a name from the index stays within the model's folder, on every operating system.
fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single =
        matches!((components.next(), components.next()), (Some(Component::Normal(part)), None) if part == name);
    single && !name.contains(['/', '\\', ':', '\0'])
}
