//! What was tuned, as others read it: a folder of `peft`, and llama.cpp's file of a LoRA in it.

use std::path::Path;

use saem_model::{LoraPair, write_lora, write_lora_gguf, write_prefix, write_prompt};

use crate::TrainError;
use crate::checkpoint;
use crate::layout::Kind;
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
            Method::Full => {}
            Method::Lora(Lora { rank, alpha, .. }) => {
                let pairs = pairs(decoder, weights);
                write_lora(folder, &decoder.config, base, (*rank, *alpha), &pairs)?;
                write_lora_gguf(&folder.join("adapter.gguf"), &decoder.config, (*rank, *alpha), &pairs)?;
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

/// Each first matrix of the LoRA with its second, which lies behind it.
fn pairs<'a>(decoder: &Decoder, weights: &'a [f32]) -> Vec<LoraPair<'a>> {
    let parameters: Vec<_> = decoder.layout.parameters().collect();
    let pair = |two: &[(&crate::Trained, std::ops::Range<usize>)]| match two {
        [(a, a_slot), (_, b_slot)] => match a.kind {
            Kind::LoraA(role, layer) => {
                Some(LoraPair { layer, role, a: &weights[a_slot.clone()], b: &weights[b_slot.clone()] })
            }
            _ => None,
        },
        _ => None,
    };
    parameters.windows(2).filter_map(pair).collect()
}
