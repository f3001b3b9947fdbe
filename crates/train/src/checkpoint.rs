//! Weights and state on disk: complete under their name, or not there.
//!
//! A checkpoint is a directory that any reader of Hugging Face checkpoints understands (`config.json`,
//! `model.safetensors`, the tokenizer), with the optimizer's means, the state of the run and a manifest beside them. It
//! is written under another name, synchronised, and renamed; what a crash leaves behind is never taken for one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use saem_formats::{Source, safetensors};
use saem_kernels::{DataType, ThreadPool, blocks};
use saem_model::write_companions;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::TrainError;
use crate::layout::Layout;
use crate::master::Master;
use crate::optimizer::Optimizer;
use crate::recipe::WeightFormat;

const MODEL: &str = "model.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";
/// Numbers that are written at a time.
const PIECE: usize = 1 << 18;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Tokens learnt from.
    #[serde(default)]
    pub tokens: u64,
}

/// What is written.
pub(crate) struct Contents<'a> {
    pub(crate) layout: &'a Layout,
    /// Where all weights of a model are trained, its `config.json`, and whose tokenizer goes with it.
    pub(crate) model: Option<(&'a serde_json::Value, &'a Source)>,
    pub(crate) weights: (&'a Master, &'a ThreadPool),
    /// What they are written as; bf16 where they are such numbers.
    pub(crate) format: WeightFormat,
    /// The optimizer and the state, or nothing in a model for others.
    pub(crate) optimizer: Option<(&'a Optimizer, State)>,
}

/// Writes a directory, all of it or none.
pub(crate) fn write(to: &Path, contents: &Contents<'_>) -> Result<(), TrainError> {
    whole(to, &mut |part| {
        let json = |name: &str, value: &serde_json::Value| {
            let path = part.join(name);
            fs::write(&path, format!("{value:#}\n")).map_err(|source| TrainError::Io { path, source })
        };
        if let Some((config, companions)) = contents.model {
            json("config.json", config)?;
            write_companions(companions, part)?;
        }
        tensors(&part.join(MODEL), contents.layout, contents.weights, contents.format)?;
        let Some((optimizer, state)) = contents.optimizer else { return Ok(()) };
        optimizer.write(part, contents.layout)?;
        json(STATE, &serde_json::to_value(state).unwrap_or_default())?;
        let mut manifest = BTreeMap::new();
        for path in files(part)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            manifest.insert(name, digest(&path)?);
        }
        json(MANIFEST, &serde_json::to_value(manifest).unwrap_or_default())
    })
}

/// Makes a directory under another name and renames it once `fill` has written it and the disk has it.
pub(crate) fn whole(to: &Path, fill: &mut dyn FnMut(&Path) -> Result<(), TrainError>) -> Result<(), TrainError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainError::Io { path, source }
    };
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = to.with_file_name(name);
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).map_err(io(&part))?;
    fill(&part)?;
    for path in files(&part)? {
        File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
    }
    // What an earlier run left under this name goes only when the new one is complete.
    if to.exists() {
        fs::remove_dir_all(to).map_err(io(to))?;
    }
    fs::rename(&part, to).map_err(io(to))?;
    let parent = to.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(io(parent))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let io = |source| TrainError::Io { path: folder.to_owned(), source };
    fs::read_dir(folder).map_err(io)?.map(|entry| Ok(entry.map_err(io)?.path())).collect()
}

fn tensors(
    path: &Path,
    layout: &Layout,
    (weights, pool): (&Master, &ThreadPool),
    format: WeightFormat,
) -> Result<(), TrainError> {
    let failed = |source| TrainError::Write { path: path.to_owned(), source };
    let mut writer = safetensors::Writer::new();
    writer.add_metadata("format", "pt").map_err(failed)?;
    for (parameter, _) in layout.parameters() {
        writer.add_tensor(&parameter.name, &parameter.shape, data_type(format)).map_err(failed)?;
    }
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    let mut out = writer.start(out).map_err(failed)?;
    let (mut bytes, mut floats) = (Vec::new(), vec![0.0; PIECE]);
    // In pieces: an embedding as a whole would be memory that no plan has.
    for (_, slot) in layout.parameters() {
        for start in (0..slot.len()).step_by(PIECE) {
            let part = start..slot.len().min(start + PIECE);
            let piece = &mut floats[..part.len()];
            weights.read(pool, &slot, part, piece);
            bytes.clear();
            blocks::quantize(data_type(format), piece, &mut bytes)?;
            out.write_piece(&bytes).map_err(failed)?;
        }
    }
    out.finish().map_err(failed)?.flush().map_err(io)
}

fn data_type(format: WeightFormat) -> DataType {
    match format {
        WeightFormat::F32 | WeightFormat::Halves => DataType::F32,
        WeightFormat::Bf16 => DataType::Bf16,
    }
}

fn digest(path: &Path) -> Result<String, TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hex(&hash.finalize()))
}

/// A hash as it is written.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checkpoints of a run, the oldest first.
pub(crate) fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, path)| path.join(MANIFEST).is_file())
        .collect();
    found.sort_unstable();
    found
}

/// Checks a checkpoint against its manifest and reads it, the weights as floats.
pub(crate) fn read(
    path: &Path,
    layout: &Layout,
    format: WeightFormat,
    weights: &mut [f32],
    optimizer: &mut Optimizer,
) -> Result<State, TrainError> {
    let broken = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let text = |name: &str| {
        let path = path.join(name);
        fs::read_to_string(&path).map_err(|source| TrainError::Io { path, source })
    };
    let manifest: BTreeMap<String, String> =
        serde_json::from_str(&text(MANIFEST)?).map_err(|error| broken(format!("{MANIFEST}: {error}")))?;
    for (name, expected) in &manifest {
        if Path::new(name).components().count() != 1 || digest(&path.join(name))? != *expected {
            return Err(broken(format!("{name} is not what the manifest says: take an earlier checkpoint")));
        }
    }
    let tensors = safetensors::SafeTensors::open(path.join(MODEL))?;
    for (parameter, slot) in layout.parameters() {
        read_tensor(&tensors, (&parameter.name, &parameter.shape), data_type(format), &mut weights[slot])?;
    }
    optimizer.read(path, layout)?;
    serde_json::from_str(&text(STATE)?).map_err(|error| broken(format!("{STATE}: {error}")))
}

/// Reads a tensor, f32 or bf16, and gives the file's pages back as it goes: beside what they become they are memory that
/// no plan has.
pub(crate) fn read_tensor(
    tensors: &safetensors::SafeTensors,
    (name, shape): (&str, &[usize]),
    data_type: DataType,
    values: &mut [f32],
) -> Result<(), TrainError> {
    let info = tensors.required(name)?;
    if info.shape != shape || info.data_type != data_type {
        let problem = format!("{name} has another shape or type than the model");
        return Err(TrainError::Checkpoint { path: tensors.path().to_owned(), problem });
    }
    let stored = tensors.tensor_bytes(info);
    let width = stored.len() / values.len().max(1);
    for (index, (to, from)) in values.chunks_mut(PIECE).zip(stored.chunks(width * PIECE)).enumerate() {
        blocks::dequantize(data_type, from, to)?;
        tensors.release_part(info, index * width * PIECE..index * width * PIECE + from.len());
    }
    Ok(())
}
