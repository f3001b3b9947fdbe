//! Adapters as Hugging Face's `peft` saves them: `adapter_config.json` beside `adapter_model.safetensors`.
//!
//! A LoRA has `base_model.model.<module>.lora_A.weight`, `[rank, inputs]`, and `.lora_B.weight`, `[outputs, rank]`. A
//! prompt has `prompt_embeddings`, `[virtual tokens, hidden]`; what p-tuning's prompt encoder computes is stored in the
//! same way. What tells labels apart (`SEQ_CLS`) has `base_model.model.score.weight`, `[labels, hidden]`, beside a LoRA or
//! alone. Whatever else a configuration may switch on changes the result, so it is refused rather than left out.

use std::collections::HashMap;
use std::path::Path;

use saem_formats::safetensors::SafeTensors;
use saem_formats::{FormatError, MappedFile};
use saem_kernels::ops::RopeStyle;
use serde_json::Value;

use super::error::shown;
use super::head::{self, Head};
use super::lora::{Collector, FloatPair, Half, Scaling, Stored, Target, reordered, row_order};
use super::{Adapter, AdapterError, AdapterOptions};
use crate::config::Config;
use crate::families::Role;
use crate::families::names::{fill, hf_pattern};
use crate::weights::{WRAPPINGS, Weights};

/// The configuration's name in its folder.
pub(super) const CONFIG: &str = "adapter_config.json";
/// The weights' name in the same folder.
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// Real configurations have a kilobyte or two.
const LARGEST_CONFIG: usize = 1 << 20;
/// The field that says that a LoRA is a DoRA.
const DORA: &str = "use_dora";
/// What the name of a DoRA's magnitudes ends with.
pub(super) const MAGNITUDE: &str = ".lora_magnitude_vector";
/// What every tensor's name begins with.
pub(super) const ROOT: &str = "base_model.model.";

pub(super) fn load(
    folder: &Path,
    config: &Config,
    weights: Option<&Weights>,
    options: &AdapterOptions,
) -> Result<Adapter, AdapterError> {
    open(folder, |fields, tensors, file| match fields.text("peft_type")? {
        Some("LORA") => lora(fields, tensors, file, config, options.max_bytes, |collector, style, scaling| {
            collector.finish(weights, style, options, scaling)
        }),
        Some("PROMPT_TUNING" | "P_TUNING") => prompt(fields, tensors, file, config, options),
        Some("PREFIX_TUNING") => prefix(fields, tensors, file, config, options),
        other => Err(fields.unsupported("peft_type", other.unwrap_or("(absent)"))),
    })
}

/// The LoRA of a folder, in floats.
pub(super) fn floats(folder: &Path, config: &Config) -> Result<Vec<FloatPair>, AdapterError> {
    open(folder, |fields, weights, file| match fields.text("peft_type")? {
        Some("LORA") => {
            if head::is_saved(fields) {
                let reason = "what tells labels apart cannot be merged into a model that writes";
                return Err(fields.wrong("modules_to_save", "a head", reason));
            }
            lora(fields, weights, file, config, 0, |collector, style, scaling| collector.floats(style, scaling))
        }
        Some(other) => Err(fields.wrong("peft_type", other, "only a LoRA changes weights and can be merged")),
        None => Err(fields.unsupported("peft_type", "(absent)")),
    })
}

fn open<T>(
    folder: &Path,
    then: impl FnOnce(&Fields<'_>, &Path, &SafeTensors) -> Result<T, AdapterError>,
) -> Result<T, AdapterError> {
    let path = folder.join(CONFIG);
    if !path.is_file() {
        let reason = "the folder has no adapter_config.json";
        return Err(AdapterError::NotAnAdapter { path: folder.to_owned(), reason });
    }
    let fields = Fields { json: &read(&path)?, path: &path };
    let weights = folder.join(WEIGHTS);
    let file = SafeTensors::open(&weights)?;
    if let Some(other) = file.unsupported().first() {
        // Names the tensor's type.
        file.required(&other.name)?;
    }
    then(&fields, &weights, &file)
}

pub(super) fn read(path: &Path) -> Result<Value, AdapterError> {
    let file = MappedFile::open(path)?;
    let (bytes, limit) = (file.bytes(), LARGEST_CONFIG as u64);
    if bytes.len() > LARGEST_CONFIG {
        let bytes = bytes.len() as u64;
        return Err(FormatError::TooLarge { path: path.to_owned(), bytes, limit }.into());
    }
    let json = serde_json::from_slice(bytes).map_err(|error| FormatError::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        message: shown(&error),
    })?;
    Ok(json)
}

fn lora<T>(
    fields: &Fields<'_>,
    weights: &Path,
    file: &SafeTensors,
    config: &Config,
    max_head: usize,
    finish: impl FnOnce(Collector<'_>, RopeStyle, &dyn Fn(usize, Target) -> Scaling) -> Result<T, AdapterError>,
) -> Result<T, AdapterError> {
    refuse_variants(fields)?;
    let score = head::is_saved(fields).then(head::tensor_name);
    let rank = fields.count("r")?.ok_or_else(|| fields.wrong("r", "(absent)", "a rank is needed"))?;
    let alpha = fields.number("lora_alpha")?.unwrap_or(rank as f64);
    let by_root = fields.flag("use_rslora")?;
    let is_dora = fields.flag(DORA)?;
    let ranks = Pattern::read(fields, "rank_pattern")?;
    let alphas = Pattern::read(fields, "alpha_pattern")?;

    let family = config.family;
    let module = |layer: usize, target: Target| fill(hf_pattern(family, target.role()), &[layer]);
    let mut places = HashMap::new();
    for layer in 0..config.layers.len() {
        for target in Target::ALL {
            places.insert(module(layer, target), (layer, target));
        }
    }
    ranks.expect_modules(fields, "rank_pattern", places.keys())?;
    alphas.expect_modules(fields, "alpha_pattern", places.keys())?;
    let mut collector = Collector::new(weights, config);
    for tensor in file.tensors() {
        let stored = Stored {
            name: &tensor.name,
            shape: tensor.shape.clone(),
            data_type: tensor.data_type,
            bytes: file.tensor_bytes(tensor),
        };
        if score.as_ref() == Some(&tensor.name) {
            let folder = fields.path.parent().unwrap_or(Path::new("."));
            collector.head = Some(Head::read(folder, weights, config, max_head, &stored)?);
            continue;
        }
        let ends = [(".lora_A.weight", Half::A), (".lora_B.weight", Half::B), (MAGNITUDE, Half::Magnitude)];
        let name = tensor.name.strip_prefix(ROOT);
        let name = name.and_then(|name| ends.iter().find_map(|(end, half)| Some((name.strip_suffix(end)?, *half))));
        let place = name.and_then(|(name, half)| {
            let mut spellings = WRAPPINGS.iter().filter_map(|wrapping| wrapping.undo(name));
            Some((spellings.find_map(|name| places.get(&name))?, half))
        });
        let place = place.filter(|(_, half)| *half != Half::Magnitude || is_dora);
        let Some(((layer, target), half)) = place else { return Err(collector.unknown(&tensor.name)) };
        collector.add(*layer, *target, half, stored)?;
    }
    if let Some(tensor) = score.filter(|_| collector.head.is_none()) {
        return Err(AdapterError::MissingTensor { path: weights.to_owned(), tensor });
    }
    // Checkpoints and what is tuned on them rotate the halves of a head.
    finish(collector, RopeStyle::Half, &|layer, target| {
        let module = module(layer, target);
        Scaling {
            rank: Some(ranks.of(&module).map_or(rank, |rank| rank as usize)),
            alpha: Some(alphas.of(&module).unwrap_or(alpha)),
            by_root,
            is_dora,
        }
    })
}

/// Refuses what changes the result and is not known here.
fn refuse_variants(fields: &Fields<'_>) -> Result<(), AdapterError> {
    for field in ["use_qalora", "lora_bias"] {
        if fields.flag(field)? {
            return Err(fields.unsupported(field, true));
        }
    }
    for field in [
        "modules_to_save",
        "layer_replication",
        "target_parameters",
        "trainable_token_indices",
        "alora_invocation_tokens",
        "arrow_config",
        "kasa_config",
        "monteclora_config",
        "use_bdlora",
    ] {
        let value = fields.json.get(field);
        let is_empty = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let is_head = field == "modules_to_save" && head::is_saved(fields);
        if let Some(value) = value.filter(|value| !is_empty(value) && !is_head) {
            return Err(fields.unsupported(field, value));
        }
    }
    if let Some(bias) = fields.text("bias")?.filter(|bias| *bias != "none") {
        return Err(fields.unsupported("bias", bias));
    }
    // Others change the base before the first step (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA), so that the stored matrices
    // fit no base that can be downloaded; `peft` can save them as an ordinary LoRA.
    let start = fields.json.get("init_lora_weights").and_then(Value::as_str);
    if let Some(start) = start.filter(|start| !["gaussian", "orthogonal", "eva"].contains(start)) {
        return Err(fields.unsupported("init_lora_weights", start));
    }
    Ok(())
}

fn prompt(
    fields: &Fields<'_>,
    weights: &Path,
    file: &SafeTensors,
    config: &Config,
    options: &AdapterOptions,
) -> Result<Adapter, AdapterError> {
    let mut values = rows(fields, weights, file, config, config.hidden, options)?;
    values.iter_mut().for_each(|value| *value *= config.prompt_multiplier());
    Ok(Adapter::new(config, Vec::new(), None, values, Vec::new()))
}

/// A prefix: for each virtual token, layer by layer, a key and a value.
fn prefix(
    fields: &Fields<'_>,
    weights: &Path,
    file: &SafeTensors,
    config: &Config,
    options: &AdapterOptions,
) -> Result<Adapter, AdapterError> {
    const STACKS: &str = "num_transformer_submodules";
    if let Some(stacks) = fields.count(STACKS)?.filter(|stacks| *stacks != 1) {
        return Err(fields.unsupported(STACKS, stacks));
    }
    let width = config.kv_width();
    let mut values = rows(fields, weights, file, config, 2 * config.layers.len() * width, options)?;
    // Checkpoints rotate the halves of a head.
    let order = row_order(Role::Key, RopeStyle::Half, config.rope_style, config);
    for both in values.chunks_exact_mut(2 * width) {
        let key = reordered(both[..width].to_vec(), width, 1, order);
        both[..width].copy_from_slice(&key);
    }
    Ok(Adapter::new(config, Vec::new(), None, Vec::new(), values))
}

/// The only tensor of a file: a row of this width for each virtual token.
fn rows(
    fields: &Fields<'_>,
    weights: &Path,
    file: &SafeTensors,
    config: &Config,
    width: usize,
    options: &AdapterOptions,
) -> Result<Vec<f32>, AdapterError> {
    const TENSOR: &str = "prompt_embeddings";
    const ROWS: &str = "num_virtual_tokens";
    let rows = fields.count(ROWS)?.ok_or_else(|| fields.wrong(ROWS, "(absent)", "a number is needed"))?;
    if rows == 0 || rows >= config.context {
        return Err(fields.wrong(ROWS, rows, "at least 1 is needed, and less than the model's context"));
    }
    if let Some(extra) = file.tensors().iter().find(|tensor| tensor.name != TENSOR) {
        return Err(Collector::new(weights, config).unknown(&extra.name));
    }
    let Some(tensor) = file.tensor(TENSOR) else {
        return Err(AdapterError::MissingTensor { path: weights.to_owned(), tensor: TENSOR.to_owned() });
    };
    let (data_type, bytes) = (tensor.data_type, file.tensor_bytes(tensor));
    let stored = Stored { name: TENSOR, shape: tensor.shape.clone(), data_type, bytes };
    stored.expect(weights, &[rows, width])?;
    if size_of::<f32>().saturating_mul(rows).saturating_mul(width) > options.max_bytes {
        return Err(AdapterError::TooLarge { path: weights.to_owned(), limit: options.max_bytes });
    }
    stored.values(weights)
}

/// The fields of a configuration.
pub(super) struct Fields<'a> {
    pub(super) json: &'a Value,
    pub(super) path: &'a Path,
}

impl<'a> Fields<'a> {
    pub(super) fn wrong(&self, field: &'static str, value: impl ToString, reason: &'static str) -> AdapterError {
        AdapterError::Field { path: self.path.to_owned(), field, value: shown(value), reason }
    }

    fn unsupported(&self, field: &'static str, value: impl ToString) -> AdapterError {
        AdapterError::Unsupported { path: self.path.to_owned(), field, value: shown(value) }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.json.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &'static str) -> Result<Option<&'a str>, AdapterError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(field, value, "a word is needed"));
        self.get(field).map(text).transpose()
    }

    fn flag(&self, field: &'static str) -> Result<bool, AdapterError> {
        let flag = |value: &Value| value.as_bool().ok_or_else(|| self.wrong(field, value, "true or false is needed"));
        self.get(field).map_or(Ok(false), flag)
    }

    fn count(&self, field: &'static str) -> Result<Option<usize>, AdapterError> {
        let count = |value: &Value| {
            let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
            count.ok_or_else(|| self.wrong(field, value, "a whole number is needed"))
        };
        self.get(field).map(count).transpose()
    }

    fn number(&self, field: &'static str) -> Result<Option<f64>, AdapterError> {
        let number = |value: &Value| {
            let number = value.as_f64().filter(|number| (*number as f32).is_finite());
            number.ok_or_else(|| self.wrong(field, value, "a finite number is needed"))
        };
        self.get(field).map(number).transpose()
    }
}

/// Numbers for some modules: those whose name is the key or ends in it after a dot.
struct Pattern<'a>(Vec<(&'a str, f64)>);

impl<'a> Pattern<'a> {
    fn read(fields: &Fields<'a>, field: &'static str) -> Result<Self, AdapterError> {
        let Some(value) = fields.get(field) else { return Ok(Self(Vec::new())) };
        let Value::Object(entries) = value else {
            return Err(fields.wrong(field, value, "names and numbers are needed"));
        };
        let entry = |(key, value): (&'a String, &'a Value)| {
            // Keys are regular expressions; names, of which a dot is the only special sign, mean the same either way.
            let is_name = key.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.'));
            if !is_name || key.is_empty() {
                return Err(fields.unsupported(field, key));
            }
            let number = value.as_f64().filter(|number| (*number as f32).is_finite());
            let is_count = |number: &f64| field == "alpha_pattern" || (*number >= 1.0 && number.fract() == 0.0);
            let number = number.filter(is_count);
            Ok((key.as_str(), number.ok_or_else(|| fields.wrong(field, value, "a number is needed"))?))
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses keys that name none of these modules: what they are meant for would get another number.
    fn expect_modules<'m>(
        &self,
        fields: &Fields<'_>,
        field: &'static str,
        modules: impl Iterator<Item = &'m String> + Clone,
    ) -> Result<(), AdapterError> {
        match self.0.iter().find(|(key, _)| !modules.clone().any(|module| names(key, module))) {
            Some((key, _)) => Err(fields.unsupported(field, key)),
            None => Ok(()),
        }
    }

    /// The number for a module; of several the first, as `peft` has it.
    fn of(&self, module: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| names(key, module)).map(|(_, number)| *number)
    }
}

/// Whether a key stands for a module.
fn names(key: &str, module: &str) -> bool {
    module.strip_suffix(key).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
