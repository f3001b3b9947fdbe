//! Adapters as `peft` and llama.cpp read them, written.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use saem_formats::{WriteError, gguf, safetensors};
use saem_kernels::DataType;
use saem_kernels::ops::RopeStyle;
use serde_json::{Value, json};

use super::head;
use super::lora::{reordered, row_order};
use super::peft::{CONFIG, MAGNITUDE, ROOT, WEIGHTS};
use crate::ModelError;
use crate::config::Config;
use crate::families::Role;
use crate::families::names::{fill, gguf_pattern, hf_pattern};

/// One projection of a LoRA to write.
#[derive(Clone, Copy, Debug)]
pub struct LoraPair<'a> {
    /// The layer.
    pub layer: usize,
    /// The role of the projection.
    pub role: Role,
    /// `[rank, inputs]`.
    pub a: &'a [f32],
    /// `[outputs, rank]`, rows in the order of the model's configuration.
    pub b: &'a [f32],
    /// The lengths of the changed weight's rows (DoRA), in the order of the model's configuration.
    pub magnitude: Option<&'a [f32]>,
}

impl LoraPair<'_> {
    /// The second matrix with the rows of queries and keys in this order.
    fn b_in(&self, style: RopeStyle, config: &Config, rank: usize) -> Vec<f32> {
        let order = row_order(self.role, config.rope_style, style, config);
        reordered(self.b.to_vec(), self.b.len() / rank, rank, order)
    }
}

/// Writes a LoRA of one rank to a folder, as `peft` does. `base` is what the model is called. With `score`,
/// `[labels, hidden]`, it tells labels apart, whose names the classifier's `config.json` says when it lies beside; then
/// there may be no pairs.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_lora(
    folder: &Path,
    config: &Config,
    base: &str,
    (rank, alpha): (usize, f64),
    pairs: &[LoraPair<'_>],
    score: Option<&[f32]>,
) -> Result<(), ModelError> {
    let module = |pair: &LoraPair<'_>| fill(hf_pattern(config.family, pair.role), &[pair.layer]);
    let mut modules: Vec<String> = Vec::new();
    let mut tensors = Vec::new();
    for pair in pairs {
        let module = module(pair);
        let last = module.rsplit('.').next().unwrap_or_default().to_owned();
        if !modules.contains(&last) {
            modules.push(last);
        }
        let b = pair.b_in(RopeStyle::Half, config, rank);
        tensors.push((format!("{ROOT}{module}.lora_A.weight"), vec![rank, pair.a.len() / rank], pair.a.to_vec()));
        tensors.push((format!("{ROOT}{module}.lora_B.weight"), vec![b.len() / rank, rank], b));
        if let Some(magnitude) = pair.magnitude {
            let order = row_order(pair.role, config.rope_style, RopeStyle::Half, config);
            let values = reordered(magnitude.to_vec(), magnitude.len(), 1, order);
            tensors.push((format!("{ROOT}{module}{MAGNITUDE}"), vec![values.len()], values));
        }
    }
    if let Some(score) = score {
        tensors.push((head::tensor_name(), vec![score.len() / config.hidden, config.hidden], score.to_vec()));
    }
    // What peft writes where nothing but such a head is trained.
    let targets = if pairs.is_empty() { json!("dummy-target-modules") } else { json!(modules) };
    let layers: BTreeSet<usize> = pairs.iter().map(|pair| pair.layer).collect();
    let fields = json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_to_transform": Some(&layers).filter(|layers| (1..config.layers.len()).contains(&layers.len())),
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": score.map(|_| head::MODULES),
        "peft_type": "LORA",
        "r": rank,
        "target_modules": targets,
        "task_type": if score.is_some() { "SEQ_CLS" } else { "CAUSAL_LM" },
        "use_dora": pairs.iter().any(|pair| pair.magnitude.is_some()),
        "use_rslora": false,
    });
    write(folder, &fields, &tensors)
}

/// Writes a soft prompt to a folder, as `peft` does: its rows, `[virtual tokens, hidden]`. `encoder` is the inner width of
/// the prompt encoder that made them, if one did.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_prompt(
    folder: &Path,
    config: &Config,
    base: &str,
    encoder: Option<usize>,
    rows: &[f32],
) -> Result<(), ModelError> {
    let count = rows.len() / config.hidden;
    let mut fields = json!({
        "base_model_name_or_path": base,
        "inference_mode": true,
        "modules_to_save": null,
        "num_attention_heads": config.heads,
        "num_layers": config.layers.len(),
        "num_transformer_submodules": 1,
        "num_virtual_tokens": count,
        "task_type": "CAUSAL_LM",
        "token_dim": config.hidden,
    });
    match encoder {
        Some(width) => {
            fields["peft_type"] = json!("P_TUNING");
            fields["encoder_hidden_size"] = json!(width);
            fields["encoder_reparameterization_type"] = json!("MLP");
        }
        None => {
            fields["peft_type"] = json!("PROMPT_TUNING");
            fields["prompt_tuning_init"] = json!("RANDOM");
        }
    }
    write(folder, &fields, &[("prompt_embeddings".to_owned(), vec![count, config.hidden], rows.to_vec())])
}

/// Writes a prefix to a folder, as `peft` does: for each virtual token, layer by layer, a key and a value,
/// `[virtual tokens, layers, key and value, kv width]`, keys in the order of the model's configuration.
///
/// # Errors
/// Where a file cannot be written.
pub fn write_prefix(folder: &Path, config: &Config, base: &str, rows: &[f32]) -> Result<(), ModelError> {
    let (layers, width) = (config.layers.len(), config.kv_width());
    let count = rows.len() / (2 * layers * width);
    let fields = json!({
        "base_model_name_or_path": base,
        "encoder_hidden_size": width,
        "inference_mode": true,
        "modules_to_save": null,
        "num_attention_heads": config.kv_heads,
        "num_layers": layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": count,
        "peft_type": "PREFIX_TUNING",
        "prefix_projection": false,
        "task_type": "CAUSAL_LM",
        "token_dim": width,
    });
    let order = row_order(Role::Key, config.rope_style, RopeStyle::Half, config);
    let mut values = rows.to_vec();
    for both in values.chunks_exact_mut(2 * width) {
        let key = reordered(both[..width].to_vec(), width, 1, order);
        both[..width].copy_from_slice(&key);
    }
    write(folder, &fields, &[("prompt_embeddings".to_owned(), vec![count, 2 * layers * width], values)])
}

fn write(folder: &Path, fields: &Value, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<(), ModelError> {
    fs::create_dir_all(folder).map_err(io(folder))?;
    let path = folder.join(CONFIG);
    fs::write(&path, format!("{fields:#}\n")).map_err(io(&path))?;
    let path = folder.join(WEIGHTS);
    let failed = failed(&path);
    let mut writer = safetensors::Writer::new();
    writer.add_metadata("format", "pt").map_err(&failed)?;
    for (name, shape, _) in tensors {
        writer.add_tensor(name, shape, DataType::F32).map_err(&failed)?;
    }
    let mut out = writer.start(BufWriter::new(File::create(&path).map_err(io(&path))?)).map_err(&failed)?;
    for (_, _, values) in tensors {
        out.write_tensor(&bytes(values)).map_err(&failed)?;
    }
    out.finish().map_err(&failed)?.flush().map_err(io(&path))
}

/// Writes a LoRA of one rank as a GGUF file, under the names that llama.cpp reads.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_lora_gguf(
    path: &Path,
    config: &Config,
    (rank, alpha): (usize, f64),
    pairs: &[LoraPair<'_>],
) -> Result<(), ModelError> {
    let failed = failed(path);
    let mut writer = gguf::Writer::new();
    for (key, word) in
        [("general.architecture", config.family.gguf_name()), ("general.type", "adapter"), ("adapter.type", "lora")]
    {
        writer.add_metadata(key, gguf::Value::from(word)).map_err(&failed)?;
    }
    writer.add_metadata("adapter.lora.alpha", gguf::Value::F32(alpha as f32)).map_err(&failed)?;
    let style = if config.family.spec().interleaved { RopeStyle::Interleaved } else { RopeStyle::Half };
    let mut tensors = Vec::new();
    for pair in pairs {
        let module = fill(gguf_pattern(pair.role), &[pair.layer]);
        let b = pair.b_in(style, config, rank);
        // GGML's order: the length of a row first.
        tensors.push((format!("{module}.weight.lora_a"), [pair.a.len() / rank, rank], pair.a.to_vec()));
        tensors.push((format!("{module}.weight.lora_b"), [rank, b.len() / rank], b));
    }
    for (name, shape, _) in &tensors {
        writer.add_tensor(name, shape, DataType::F32).map_err(&failed)?;
    }
    let mut out = writer.start(BufWriter::new(File::create(path).map_err(io(path))?)).map_err(&failed)?;
    for (_, _, values) in &tensors {
        out.write_tensor(&bytes(values)).map_err(&failed)?;
    }
    out.finish().map_err(&failed)?.flush().map_err(io(path))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> ModelError + '_ {
    move |source| ModelError::Io { path: path.to_owned(), source }
}

fn failed(path: &Path) -> impl Fn(WriteError) -> ModelError + '_ {
    move |source| ModelError::Write { path: path.to_owned(), source }
}
