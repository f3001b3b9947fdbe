//! LoRA in llama.cpp's GGUF format: `blk.N.attn_q.weight.lora_a`, `[rank, inputs]`, and `.lora_b`, `[outputs, rank]`.
//!
//! The keys are those that `convert_lora_to_gguf.py` of llama.cpp writes and `llama-adapter.cpp` reads.

use std::collections::HashMap;
use std::path::Path;

use saem_formats::gguf::{Gguf, Metadata};
use saem_kernels::ops::RopeStyle;

use super::error::shown;
use super::lora::{Collector, Half, Scaling, Stored, Target};
use super::{Adapter, AdapterError, AdapterOptions};
use crate::config::Config;
use crate::families::names::{fill, gguf_pattern};

pub(super) fn load(path: &Path, config: &Config, options: &AdapterOptions) -> Result<Adapter, AdapterError> {
    read(path, config, |collector, style, scaling| collector.finish(None, style, options, scaling))
}

/// Collects the tensors of the file, for `finish` to make something of.
pub(super) fn read<T>(
    path: &Path,
    config: &Config,
    finish: impl FnOnce(Collector<'_>, RopeStyle, &dyn Fn(usize, Target) -> Scaling) -> Result<T, AdapterError>,
) -> Result<T, AdapterError> {
    let file = Gguf::open(path)?;
    let alpha = check(path, file.metadata(), config)?;
    let mut places = HashMap::new();
    for layer in 0..config.layers.len() {
        for target in Target::ALL {
            places.insert(fill(gguf_pattern(target.role()), &[layer]), (layer, target));
        }
    }
    let mut collector = Collector::new(path, config);
    for tensor in file.tensors() {
        let ends = [(".weight.lora_a", Half::A), (".weight.lora_b", Half::B)];
        let module = ends.iter().find_map(|(end, half)| Some((tensor.name.strip_suffix(end)?, *half)));
        let place = module.and_then(|(module, half)| Some((places.get(module)?, half)));
        let Some(((layer, target), half)) = place else { return Err(collector.unknown(&tensor.name)) };
        let stored = Stored {
            name: &tensor.name,
            shape: tensor.shape.iter().rev().copied().collect(),
            data_type: tensor.data_type,
            bytes: file.tensor_bytes(tensor),
        };
        collector.add(*layer, *target, half, stored)?;
    }
    // Files of a family whose query and key rows are interleaved in GGUF hold a LoRA's in the same order.
    let style = if config.family.spec().interleaved { RopeStyle::Interleaved } else { RopeStyle::Half };
    // llama.cpp takes an alpha of 0 for "no scaling".
    let alpha = alpha.filter(|alpha| *alpha != 0.0);
    finish(collector, style, &|_, _| Scaling { rank: None, alpha, by_root: false, is_dora: false })
}

/// Refuses what is not a LoRA for this family. Returns the alpha.
fn check(path: &Path, metadata: &Metadata, config: &Config) -> Result<Option<f64>, AdapterError> {
    const TYPE: &str = "general.type";
    const KIND: &str = "adapter.type";
    const ALPHA: &str = "adapter.lora.alpha";
    const ACTIVATED: &str = "adapter.alora.invocation_tokens";
    if metadata.str(TYPE) != Some("adapter") {
        return Err(AdapterError::NotAnAdapter { path: path.to_owned(), reason: "its general.type is not adapter" });
    }
    let unsupported =
        |field, value: &str| Err(AdapterError::Unsupported { path: path.to_owned(), field, value: shown(value) });
    if metadata.str(KIND) != Some("lora") {
        return unsupported(KIND, metadata.str(KIND).unwrap_or("(absent)"));
    }
    if metadata.contains(ACTIVATED) {
        return unsupported(ACTIVATED, "(an activated LoRA)");
    }
    let (found, expected) = (metadata.str("general.architecture").unwrap_or_default(), config.family.gguf_name());
    if found != expected {
        return Err(AdapterError::Architecture { path: path.to_owned(), found: shown(found), expected });
    }
    match metadata.get(ALPHA).map(|value| (value, value.as_f64())) {
        None => Ok(None),
        Some((_, Some(alpha))) if (alpha as f32).is_finite() => Ok(Some(alpha)),
        Some((value, _)) => Err(AdapterError::Field {
            path: path.to_owned(),
            field: ALPHA,
            value: shown(value),
            reason: "a finite number is needed",
        }),
    }
}
