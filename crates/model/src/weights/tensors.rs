//! Tensors of a checkpoint by role, in either format.

use saem_formats::{Source, gguf, safetensors};
use saem_kernels::{DataType, blocks};

use crate::ModelError;
use crate::error::in_tensor;
use crate::families::names::{fill, gguf_pattern, hf_pattern};
use crate::families::{Family, Role};

/// Which of a role's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Weight,
    Bias,
}

/// A tensor as it lies in the file.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    /// Outermost dimension first; rows of a matrix are outputs.
    pub(crate) shape: Vec<usize>,
    pub(crate) data_type: DataType,
    pub(crate) bytes: &'a [u8],
    info: Info<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Info<'a> {
    Gguf(&'a gguf::TensorInfo),
    SafeTensors(&'a safetensors::TensorInfo),
}

impl<'a> Tensor<'a> {
    /// The tensor as f32 values, of which there must be `len`.
    pub(crate) fn to_f32(&self, len: usize) -> Result<Vec<f32>, ModelError> {
        self.expect(&[len])?;
        self.to_flat_f32()
    }

    /// The tensor as f32 values, whatever its shape.
    pub(crate) fn to_flat_f32(&self) -> Result<Vec<f32>, ModelError> {
        let mut values = vec![0.0; self.shape.iter().product()];
        self.write_f32(&mut values)?;
        Ok(values)
    }

    /// [`Self::to_flat_f32`] into `values`, as many as there are.
    pub(crate) fn write_f32(&self, values: &mut [f32]) -> Result<(), ModelError> {
        blocks::dequantize(self.data_type, self.bytes, values).map_err(in_tensor(&self.name))
    }

    /// Refuses another shape than this.
    pub(crate) fn expect(&self, shape: &[usize]) -> Result<(), ModelError> {
        if self.shape == shape {
            return Ok(());
        }
        Err(ModelError::Shape { tensor: self.name.clone(), expected: shape.to_vec(), found: self.shape.clone() })
    }

    /// Elements in a row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Rows from `start` on, of a tensor whose outer dimensions do not matter.
    pub(crate) fn rows(&self, start: usize, count: usize) -> Result<&'a [u8], ModelError> {
        let shape_error = || ModelError::Shape {
            tensor: self.name.clone(),
            expected: vec![start + count],
            found: self.shape.clone(),
        };
        let stride = self.data_type.bytes_for(self.columns()).ok_or_else(shape_error)?;
        self.bytes.get(start * stride..(start + count) * stride).ok_or_else(shape_error)
    }
}

/// A checkpoint's tensors under the names that its family gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensors<'a> {
    source: &'a Source,
    family: Family,
    /// How this checkpoint's names differ from the family's.
    wrapping: Wrapping,
}

/// Multimodal checkpoints wrap the decoder; bare ones leave the outermost name off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapping {
    strip: &'static str,
    prefix: &'static str,
}

/// Every way of wrapping; the first changes nothing.
pub(crate) const WRAPPINGS: [Wrapping; 4] = [
    Wrapping { strip: "", prefix: "" },
    Wrapping { strip: "", prefix: "language_model." },
    Wrapping { strip: "model.", prefix: "model.language_model." },
    Wrapping { strip: "model.", prefix: "" },
];

impl Wrapping {
    fn apply(self, name: &str) -> String {
        match name.strip_prefix(self.strip) {
            Some(rest) => format!("{}{rest}", self.prefix),
            None => name.to_owned(),
        }
    }

    /// The family's name for what is called `name` under this wrapping.
    pub(crate) fn undo(self, name: &str) -> Option<String> {
        name.strip_prefix(self.prefix).map(|rest| format!("{}{rest}", self.strip))
    }
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(source: &'a Source, family: Family) -> Self {
        let mut tensors = Self { source, family, wrapping: WRAPPINGS[0] };
        let fits = |wrapping: &&Wrapping| {
            let tensors = Self { wrapping: **wrapping, ..tensors };
            tensors.find(Role::TokenEmbedding, None, Part::Weight).is_some()
        };
        if let Some(wrapping) = WRAPPINGS.iter().find(fits) {
            tensors.wrapping = *wrapping;
        }
        tensors
    }

    pub(crate) fn is_gguf(&self) -> bool {
        matches!(self.source, Source::Gguf(_))
    }

    /// The name of a tensor in this checkpoint.
    pub(crate) fn name(&self, role: Role, layer: Option<usize>, part: Part) -> String {
        let layer: Vec<usize> = layer.into_iter().collect();
        if self.is_gguf() {
            // The correction of a router's choice counts as a bias without a weight there.
            let suffix = if part == Part::Bias || role == Role::RouterCorrection { ".bias" } else { ".weight" };
            return fill(gguf_pattern(role), &layer) + suffix;
        }
        let name = self.wrapping.apply(&fill(hf_pattern(self.family, role), &layer));
        match (role, part) {
            (Role::RouterCorrection, _) => name,
            (_, Part::Weight) => name + ".weight",
            (_, Part::Bias) => name + ".bias",
        }
    }

    /// The tensor of a role, where there is one.
    pub(crate) fn find(&self, role: Role, layer: Option<usize>, part: Part) -> Option<Tensor<'a>> {
        self.by_name(&self.name(role, layer, part)).or_else(|| {
            // Where transformers itself keeps it.
            (role == Role::RouterCorrection && !self.is_gguf())
                .then(|| self.by_name(&self.name(role, layer, part).replace(".mlp.e_score", ".mlp.gate.e_score")))?
        })
    }

    /// The tensor of a role, which must be there.
    pub(crate) fn needed(&self, role: Role, layer: Option<usize>, part: Part) -> Result<Tensor<'a>, ModelError> {
        self.find(role, layer, part).ok_or_else(|| ModelError::MissingTensor { name: self.name(role, layer, part) })
    }

    /// The matrix of one of `experts` experts, `[rows, columns]`, and the tensor that holds it.
    pub(crate) fn expert(
        &self,
        role: Role,
        layer: usize,
        expert: usize,
        experts: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Tensor<'a>, ModelError> {
        if self.is_gguf() {
            let all = self.needed(role, Some(layer), Part::Weight)?;
            all.expect(&[experts, rows, columns])?;
            return Ok(Tensor { bytes: all.rows(expert * rows, rows)?, shape: vec![rows, columns], ..all });
        }
        let pattern = hf_pattern(self.family, role);
        let name = self.wrapping.apply(&fill(pattern, &[layer, expert])) + ".weight";
        if let Some(one) = self.by_name(&name) {
            one.expect(&[rows, columns])?;
            return Ok(one);
        }
        // All experts in one tensor, gate above up.
        let Some((before, _)) = pattern.rsplit_once(".{}.") else { return Err(ModelError::MissingTensor { name }) };
        let (fused, of, part) = match role {
            Role::ExpertGate => ("gate_up_proj", 2, 0),
            Role::ExpertUp => ("gate_up_proj", 2, 1),
            _ => ("down_proj", 1, 0),
        };
        let all = self.wrapping.apply(&fill(before, &[layer])) + "." + fused;
        let all = self.by_name(&all).ok_or(ModelError::MissingTensor { name })?;
        all.expect(&[experts, of * rows, columns])?;
        Ok(Tensor { bytes: all.rows((expert * of + part) * rows, rows)?, shape: vec![rows, columns], ..all })
    }

    /// `rope_freqs.weight` of a GGUF file.
    pub(crate) fn rope_factors(&self) -> Option<Tensor<'a>> {
        self.is_gguf().then(|| self.by_name("rope_freqs.weight"))?
    }

    /// Tokens of a GGUF file's tokenizer; 0 where it has none.
    pub(crate) fn tokens(&self) -> usize {
        match self.source {
            Source::Gguf(file) => file.metadata().array("tokenizer.ggml.tokens").map_or(0, gguf::Array::len),
            Source::HuggingFace(_) => 0,
        }
    }

    /// The tensor of this name, as the file spells it.
    pub(crate) fn by_name(&self, name: &str) -> Option<Tensor<'a>> {
        match self.source {
            Source::Gguf(file) => {
                let info = file.tensor(name)?;
                let shape = info.shape.iter().rev().copied().collect();
                let (data_type, bytes) = (info.data_type, file.tensor_bytes(info));
                Some(Tensor { name: name.to_owned(), shape, data_type, bytes, info: Info::Gguf(info) })
            }
            Source::HuggingFace(checkpoint) => {
                let info = checkpoint.weights.tensor(name)?;
                let (data_type, bytes) = (info.data_type, checkpoint.weights.tensor_bytes(info));
                let shape = info.shape.clone();
                Some(Tensor { name: name.to_owned(), shape, data_type, bytes, info: Info::SafeTensors(info) })
            }
        }
    }

    /// Tells the operating system that all weights will be read now, so that a cold file is read ahead.
    pub(crate) fn prefetch(&self) {
        let files = match self.source {
            Source::Gguf(file) => file.files(),
            Source::HuggingFace(checkpoint) => checkpoint.weights.files(),
        };
        for file in files {
            file.prefetch(0..file.bytes().len());
        }
    }

    /// [`Self::release`] for a part of the tensor's bytes.
    pub(crate) fn release_part(&self, tensor: &Tensor<'_>, part: std::ops::Range<usize>) {
        // An expert's bytes are a part of its tensor's.
        let shifted = |whole: &[u8]| {
            let offset = (tensor.bytes.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
            part.start.saturating_add(offset)..part.end.saturating_add(offset)
        };
        match (self.source, tensor.info) {
            (Source::Gguf(file), Info::Gguf(info)) => file.release_part(info, shifted(file.tensor_bytes(info))),
            (Source::HuggingFace(checkpoint), Info::SafeTensors(info)) => {
                let weights = &checkpoint.weights;
                weights.release_part(info, shifted(weights.tensor_bytes(info)));
            }
            _ => {}
        }
    }

    /// Gives the pages of a tensor's file back, once its data are copied.
    pub(crate) fn release(&self, tensor: &Tensor<'_>) {
        match (self.source, tensor.info) {
            (Source::Gguf(file), Info::Gguf(info)) => file.release(info),
            (Source::HuggingFace(checkpoint), Info::SafeTensors(info)) => checkpoint.weights.release(info),
            _ => {}
        }
    }
}
