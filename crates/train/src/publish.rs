//! What was tuned, as others read it: a folder of `peft`, and llama.cpp's file of a LoRA in it.

use std::fs;
use std::path::Path;

use saem_formats::Source;
use saem_kernels::ThreadPool;
use saem_model::{Classifier, LoraPair, write_classifier, write_lora, write_lora_gguf, write_prefix, write_prompt};

use crate::TrainError;
use crate::checkpoint;
use crate::layout::{Kind, Place};
use crate::method::{Lora, Method};
use crate::pass::Decoder;

/// Writes the adapter's folder, all of it or none. `base` is what the model is called, `rows` is the soft prompt.
pub(crate) fn adapter(
    path: &Path,
    decoder: &Decoder,
    method: &Method,
    base: &str,
    weights: &[f32],
    rows: &[f32],
) -> Result<(), TrainError> {
    checkpoint::whole(path, &mut |folder| {
        match method {
            Method::Full | Method::Head => {}
            Method::Lora(Lora { rank, alpha, magnitudes, .. }) => {
                let pairs = pairs(decoder, weights);
                write_lora(folder, &decoder.config, base, (*rank, *alpha), &pairs, None)?;
                // llama.cpp knows no magnitudes.
                if !magnitudes {
                    write_lora_gguf(&folder.join("adapter.gguf"), &decoder.config, (*rank, *alpha), &pairs)?;
                }
            }
            Method::Prefix(_) => {
                if let Some(prefix) = &decoder.layout.prefix {
                    write_prefix(folder, &decoder.config, base, &weights[prefix.table.clone()])?;
                }
            }
            Method::Prompt(prompt) => write_prompt(folder, &decoder.config, base, prompt.encoder, rows)?,
        }
        Ok(())
    })
}

/// Writes the base with what was tuned in its weights and the matrix that tells labels apart, all of it or none, to
/// `model`, for transformers; and what was tuned alone to `adapter`, for `peft` and to be served beside the base. `base` is
/// what that is called.
pub(crate) fn classifier(
    (model, adapter): (&Path, &Path),
    base: &str,
    source: &Source,
    decoder: &Decoder,
    (method, classifier): (&Method, &Classifier),
    weights: &[f32],
    pool: &ThreadPool,
) -> Result<(), TrainError> {
    let Place::Trained(score) = &decoder.layout.output else { return Ok(()) };
    let pairs = pairs(decoder, weights);
    let size = if let Method::Lora(lora) = method { (lora.rank, lora.alpha) } else { (1, 1.0) };
    let score = &weights[score.clone()];
    checkpoint::whole(model, &mut |folder| {
        write_classifier(source, (&pairs, size), classifier, score, folder, pool)?;
        Ok(())
    })?;
    checkpoint::whole(adapter, &mut |folder| {
        write_lora(folder, &decoder.config, base, size, &pairs, Some(score))?;
        // The names of the labels.
        let (from, path) = (model.join("config.json"), folder.join("config.json"));
        fs::copy(&from, &path).map_err(|source| TrainError::Io { path, source })?;
        Ok(())
    })
}

/// Each first matrix of the LoRA with its second, which lies behind it, and the magnitudes, which may lie behind that.
fn pairs<'a>(decoder: &Decoder, weights: &'a [f32]) -> Vec<LoraPair<'a>> {
    let mut pairs: Vec<LoraPair<'a>> = Vec::new();
    for (trained, slot) in decoder.layout.parameters() {
        let values = &weights[slot];
        match (&trained.kind, pairs.last_mut()) {
            (Kind::LoraA(role, layer), _) => {
                pairs.push(LoraPair { layer: *layer, role: *role, a: values, b: &[], magnitude: None });
            }
            (Kind::LoraB(..), Some(pair)) => pair.b = values,
            (Kind::Magnitude(..), Some(pair)) => pair.magnitude = Some(values),
            _ => {}
        }
    }
    pairs
}
