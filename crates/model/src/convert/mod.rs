//! Checkpoints from one format to the other, or to other types.
//!
//! Matrices get the type asked for, by the rules of llama.cpp's plain recipe (see `stored_type`); whatever has one
//! dimension, and routers, are f32. Query and key rows are put in the order of the target format, norm weights get or
//! lose Gemma's 1, experts are put together or taken apart, metadata and the tokenizer are written under the names
//! that the target's readers look for. Files appear under their final names only when they are complete.

mod classifier;
mod config_json;
mod data;
mod keys;
mod plan;
mod pre_tokenizers;
mod tokenizer_json;
mod tokenizer_keys;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use saem_formats::gguf::{self, Value};
use saem_formats::{Source, TensorWriter, WriteError, safetensors};
use saem_kernels::{DataType, ThreadPool};

use crate::ModelError;
use crate::adapter::{self, FloatPair};
use crate::config::Config;
use classifier::Head;
pub use classifier::{Classifier, write_classifier};
pub(crate) use data::RowOrder;
use plan::{Format, Plan};

/// What a conversion wrote.
#[derive(Clone, Debug, Default)]
pub struct Conversion {
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of their data.
    pub bytes: u64,
    /// What could not be carried over.
    pub warnings: Vec<String>,
}

/// Converts a checkpoint to `output`: a GGUF file where the name ends in `.gguf`, else a directory with
/// `config.json`, `model.safetensors` and the tokenizer's files.
///
/// Without a `data_type` matrices keep theirs, except that safetensors cannot hold quantised types: those become f16.
/// `progress` is told the bytes of tensor data written so far and in all.
///
/// # Errors
/// Where the source cannot be read (as [`Config::from_source`]), the target format cannot express the model or the
/// type, or the files cannot be written. Nothing is left under the name `output` then.
pub fn convert(
    source: &Source,
    output: &Path,
    data_type: Option<DataType>,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Conversion, ModelError> {
    convert_with(source, output, data_type, pool, progress, &|_| Ok(Vec::new()), None)
}

/// As [`convert`], with the LoRA at `adapter` added to the weights that it changes.
///
/// # Errors
/// As [`convert`], and [`ModelError::Adapter`] where the adapter cannot be read, is no LoRA or does not fit the model.
pub fn merge(
    source: &Source,
    adapter: &Path,
    output: &Path,
    data_type: Option<DataType>,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Conversion, ModelError> {
    let floats = |config: &Config| adapter::floats(adapter, config).map_err(ModelError::from);
    convert_with(source, output, data_type, pool, progress, &floats, None)
}

fn convert_with(
    source: &Source,
    output: &Path,
    data_type: Option<DataType>,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
    changes: &dyn Fn(&Config) -> Result<Vec<FloatPair>, ModelError>,
    head: Option<&Head<'_>>,
) -> Result<Conversion, ModelError> {
    let is_gguf = output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    let format = if is_gguf { Format::Gguf } else { Format::SafeTensors };
    if format == Format::SafeTensors && data_type.is_some_and(DataType::is_quantized) {
        let name = data_type.map_or("", DataType::name);
        return Err(ModelError::Conversion(format!("safetensors files cannot hold {name}; write a .gguf file")));
    }
    let config = Config::from_source(source)?;
    let changes = changes(&config)?;
    let mut plan = Plan::new(source, &config, format, data_type)?;
    plan.change(&changes)?;
    if let Some(head) = head {
        plan.put_head(head);
    }
    match format {
        Format::Gguf => to_gguf(source, &config, &plan, output, data_type, pool, progress),
        Format::SafeTensors => to_directory(source, &config, &plan, output, head, pool, progress),
    }
}

fn to_gguf(
    source: &Source,
    config: &Config,
    plan: &Plan<'_>,
    output: &Path,
    data_type: Option<DataType>,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Conversion, ModelError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: WriteError| ModelError::Write { path, source }
    };
    let mut writer = gguf::Writer::new();
    let mut warnings = Vec::new();
    let stored = data_type.or_else(|| plan.most_common_type());
    if let Some(number) = stored.and_then(keys::file_type) {
        writer.add_metadata("general.file_type", Value::U32(number)).map_err(failed(output))?;
    }
    if let Source::Gguf(file) = source {
        writer.copy_metadata(file.metadata()).map_err(failed(output))?;
    } else {
        let name = output.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        keys::write(config, &name, &mut writer).map_err(failed(output))?;
        tokenizer_keys::write(source, config, &mut writer, &mut warnings).map_err(failed(output))?;
    }
    for tensor in &plan.tensors {
        let shape: Vec<usize> = tensor.shape.iter().rev().copied().collect();
        writer.add_tensor(&tensor.name, &shape, tensor.data_type).map_err(failed(output))?;
    }
    let part = beside(output);
    let mut guard = Unfinished(Some(part.clone()));
    let out = BufWriter::with_capacity(1 << 20, create(&part)?);
    let data = writer.start(out).map_err(failed(&part))?;
    let bytes = write_tensors(plan, data, &part, pool, progress)?;
    replace(&part, output)?;
    guard.0 = None;
    Ok(Conversion { tensors: plan.tensors.len(), bytes, warnings })
}

fn to_directory(
    source: &Source,
    config: &Config,
    plan: &Plan<'_>,
    output: &Path,
    head: Option<&Head<'_>>,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Conversion, ModelError> {
    let occupied = fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || output.is_file() {
        return Err(ModelError::Conversion(format!("{} exists and is not an empty directory", output.display())));
    }
    let part = beside(output);
    let mut guard = Unfinished(Some(part.clone()));
    // What an earlier, interrupted conversion left.
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(|source| ModelError::Io { path: part.clone(), source })?;
    let put = |name: &str, contents: &[u8]| {
        let path = part.join(name);
        fs::write(&path, contents).map_err(|source| ModelError::Io { path, source })
    };
    let mut json = match source {
        Source::HuggingFace(checkpoint) => {
            let mut json = checkpoint.config.config.clone();
            config_json::set_type(&mut json, plan.most_common_type());
            json
        }
        Source::Gguf(file) => config_json::write(config, file.metadata(), plan.most_common_type())?,
    };
    if let Some(head) = head {
        head.classifier.describe(config.family, &mut json)?;
    }
    put("config.json", &pretty(&json))?;
    let warnings = write_companions(source, &part)?;
    let path = part.join(safetensors::MODEL_FILE);
    let failed = |source: WriteError| ModelError::Write { path: path.clone(), source };
    let mut writer = safetensors::Writer::new();
    writer.add_metadata("format", "pt").map_err(failed)?;
    for tensor in &plan.tensors {
        writer.add_tensor(&tensor.name, &tensor.shape, tensor.data_type).map_err(failed)?;
    }
    let out = BufWriter::with_capacity(1 << 20, create(&path)?);
    let data = writer.start(out).map_err(failed)?;
    let bytes = write_tensors(plan, data, &path, pool, progress)?;
    // An empty directory of that name would be in the way.
    let _ = fs::remove_dir(output);
    replace(&part, output)?;
    guard.0 = None;
    Ok(Conversion { tensors: plan.tensors.len(), bytes, warnings })
}

/// Writes all tensors and flushes; returns the bytes written.
fn write_tensors(
    plan: &Plan<'_>,
    mut data: TensorWriter<BufWriter<File>>,
    path: &Path,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, ModelError> {
    let failed = |source: WriteError| ModelError::Write { path: path.to_owned(), source };
    let io = |source: std::io::Error| ModelError::Io { path: path.to_owned(), source };
    let total = plan.byte_len();
    let mut done = 0;
    progress(0, total);
    for tensor in &plan.tensors {
        let bytes = tensor.bytes(pool)?;
        data.write_tensor(&bytes).map_err(failed)?;
        plan.release(tensor);
        done += bytes.len() as u64;
        progress(done, total);
    }
    let mut out = data.finish().map_err(failed)?;
    out.flush().map_err(io)?;
    out.get_ref().sync_all().map_err(io)?;
    Ok(done)
}

/// Writes what belongs to a checkpoint besides its configuration and its weights (tokenizer, chat template, licence) to
/// the directory `to`; returns what could not be carried over.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn write_companions(source: &Source, to: &Path) -> Result<Vec<String>, ModelError> {
    let mut warnings = Vec::new();
    let put = |name: &str, contents: &[u8]| {
        let path = to.join(name);
        fs::write(&path, contents).map_err(|source| ModelError::Io { path, source })
    };
    match source {
        Source::HuggingFace(checkpoint) => copy_small_files(&checkpoint.config.directory, to)?,
        Source::Gguf(file) => tokenizer_json::write(file.metadata(), &put, &mut warnings)?,
    }
    Ok(warnings)
}

/// The small files of a checkpoint that stay as they are.
fn copy_small_files(from: &Path, to: &Path) -> Result<(), ModelError> {
    const NAMES: [&str; 8] = [
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "chat_template.json",
        "LICENSE",
        "README.md",
    ];
    for name in NAMES {
        let path = from.join(name);
        if path.is_file() {
            fs::copy(&path, to.join(name)).map_err(|source| ModelError::Io { path, source })?;
        }
    }
    Ok(())
}

fn pretty(json: &serde_json::Value) -> Vec<u8> {
    format!("{json:#}\n").into_bytes()
}

fn create(path: &Path) -> Result<File, ModelError> {
    File::create(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

fn replace(from: &Path, to: &Path) -> Result<(), ModelError> {
    fs::rename(from, to).map_err(|source| ModelError::Io { path: to.to_owned(), source })
}

/// The name under which an output is written until it is complete.
fn beside(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    output.with_file_name(name)
}

/// Removes what was written where a conversion fails.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // One of the two applies; neither can do more than leave the part behind.
            let _ = fs::remove_file(path);
            let _ = fs::remove_dir_all(path);
        }
    }
}
