//! Which tensors a conversion writes, and where their data come from.

use saem_formats::Source;
use saem_kernels::DataType;
use saem_kernels::ops::RopeStyle;

use super::classifier::{Classifier, Head};
use super::data::{Data, RowOrder};
use crate::ModelError;
use crate::adapter::FloatPair;
use crate::config::{Config, LayerConfig};
use crate::families::Role;
use crate::families::names::{fill, gguf_pattern, hf_pattern};
use crate::quantize::stored_type;
use crate::weights::tensors::Tensor;
use crate::weights::{Part, Tensors};

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Gguf,
    SafeTensors,
}

/// The tensors to write, in order.
pub(super) struct Plan<'a> {
    pub(super) tensors: Vec<Planned<'a>>,
    stored: Tensors<'a>,
    config: &'a Config,
    format: Format,
}

/// A tensor to write.
pub(super) struct Planned<'a> {
    pub(super) name: String,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
    pub(super) data_type: DataType,
    pub(super) data: Data<'a>,
    /// What a LoRA adds to it, and the order of query and key rows in which it is written.
    pub(super) change: Option<(&'a FloatPair, RopeStyle, &'a Config)>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        source: &'a Source,
        config: &'a Config,
        format: Format,
        data_type: Option<DataType>,
    ) -> Result<Self, ModelError> {
        let stored = Tensors::new(source, config.family);
        let mut builder = Builder { stored, config, format, data_type, tensors: Vec::new() };
        if stored.is_gguf() == (format == Format::Gguf) {
            builder.same_format(source);
        } else {
            builder.other_format()?;
        }
        Ok(Self { tensors: builder.tensors, stored, config, format })
    }

    /// Adds a LoRA to the tensors that it changes.
    pub(super) fn change(&mut self, pairs: &'a [FloatPair]) -> Result<(), ModelError> {
        let same_format = self.stored.is_gguf() == (self.format == Format::Gguf);
        let spec = self.config.family.spec();
        let style = match self.format {
            _ if same_format => self.config.rope_style,
            Format::Gguf if spec.interleaved => RopeStyle::Interleaved,
            _ => RopeStyle::Half,
        };
        for pair in pairs {
            let layer = [pair.layer];
            let name = match self.format {
                _ if same_format => self.stored.name(pair.role, Some(pair.layer), Part::Weight),
                Format::Gguf => fill(gguf_pattern(pair.role), &layer) + ".weight",
                Format::SafeTensors => fill(hf_pattern(self.config.family, pair.role), &layer) + ".weight",
            };
            let planned = self.tensors.iter_mut().find(|planned| planned.name == name);
            planned.ok_or(ModelError::MissingTensor { name })?.change = Some((pair, style, self.config));
        }
        Ok(())
    }

    /// Puts the matrix of a classifier in the place of the output matrix.
    pub(super) fn put_head(&mut self, head: &Head<'_>) {
        let output = fill(hf_pattern(self.config.family, Role::Output), &[]) + ".weight";
        self.tensors.retain(|planned| planned.name != output);
        self.tensors.push(Planned {
            name: Classifier::SCORE.to_owned(),
            shape: vec![head.classifier.labels.len(), self.config.hidden],
            data_type: DataType::F32,
            data: Data::Values(head.score.to_vec()),
            change: None,
        });
    }

    /// Bytes of all tensors.
    pub(super) fn byte_len(&self) -> u64 {
        let bytes =
            |tensor: &Planned<'_>| tensor.data_type.bytes_for(tensor.shape.iter().product()).unwrap_or(0) as u64;
        self.tensors.iter().map(bytes).sum()
    }

    /// The type of most matrices.
    pub(super) fn most_common_type(&self) -> Option<DataType> {
        let matrices = || self.tensors.iter().filter(|tensor| tensor.shape.len() > 1).map(|tensor| tensor.data_type);
        DataType::ALL.into_iter().max_by_key(|wanted| matrices().filter(|found| found == wanted).count())
    }

    /// Gives the pages of a tensor's sources back.
    pub(super) fn release(&self, tensor: &Planned<'_>) {
        if let Data::Stored { pieces, .. } = &tensor.data {
            pieces.iter().for_each(|piece| self.stored.release(piece));
        }
    }
}

struct Builder<'a, 'c> {
    stored: Tensors<'a>,
    config: &'c Config,
    format: Format,
    data_type: Option<DataType>,
    tensors: Vec<Planned<'a>>,
}

impl<'a> Builder<'a, '_> {
    /// Every tensor under its own name, matrices in the type asked for.
    fn same_format(&mut self, source: &Source) {
        let names: Vec<String> = match source {
            Source::Gguf(file) => file.tensors().iter().map(|tensor| tensor.name.clone()).collect(),
            Source::HuggingFace(files) => files.weights.tensors().iter().map(|tensor| tensor.name.clone()).collect(),
        };
        let outside =
            [Role::TokenEmbedding, Role::Output].map(|role| (self.stored.name(role, None, Part::Weight), role));
        for name in names {
            let Some(tensor) = self.stored.by_name(&name) else { continue };
            let position = self.stored.name(Role::PositionEmbedding, None, Part::Weight);
            let kept = tensor.shape.len() < 2
                || name.contains("norm")
                || name.contains("ffn_gate_inp")
                || (self.config.learned_positions.is_some() && name == position);
            let router = name.ends_with(".mlp.gate.weight");
            let data_type = match self.data_type {
                Some(asked) if !kept && !router => {
                    let role =
                        outside.iter().find(|(outside, _)| *outside == name).map_or(Role::Query, |(_, role)| *role);
                    stored_type(asked, role, self.config.tied, tensor.columns())
                }
                _ => tensor.data_type,
            };
            let shape = tensor.shape.clone();
            let data = Data::Stored { pieces: vec![tensor], order: RowOrder::Kept, offset: 0.0 };
            self.tensors.push(Planned { name, shape, data_type, data, change: None });
        }
    }

    /// Every tensor that the configuration asks for, under the other format's name.
    fn other_format(&mut self) -> Result<(), ModelError> {
        let tied = self.config.tied;
        let has_positions = self.config.learned_positions.is_some();
        let has = |role: &Role| match role {
            Role::Output => !tied,
            Role::PositionEmbedding => has_positions,
            _ => true,
        };
        for role in Role::OUTSIDE.into_iter().filter(has) {
            self.add(role, None)?;
        }
        let factors = self.config.ropes.first().and_then(crate::config::Rope::llama3_factors);
        if let Some(factors) = factors.filter(|_| self.format == Format::Gguf) {
            let (name, shape) = ("rope_freqs.weight".to_owned(), vec![factors.len()]);
            self.tensors.push(Planned {
                name,
                shape,
                data_type: DataType::F32,
                data: Data::Values(factors),
                change: None,
            });
        }
        for (index, layer) in self.config.layers.iter().enumerate() {
            for role in Role::LAYER.into_iter().filter(|role| wanted(self.config, *layer, *role)) {
                if role.is_expert() { self.add_experts(role, index)? } else { self.add(role, Some(index))? }
            }
        }
        Ok(())
    }

    fn add(&mut self, role: Role, layer: Option<usize>) -> Result<(), ModelError> {
        let weight = self.stored.needed(role, layer, Part::Weight)?;
        let shape = shape(self.config, role);
        weight.expect(&shape)?;
        self.push(role, layer, Part::Weight, weight);
        if role != Role::RouterCorrection
            && let Some(bias) = self.stored.find(role, layer, Part::Bias)
        {
            bias.expect(shape.get(..1).unwrap_or_default())?;
            self.push(role, layer, Part::Bias, bias);
        }
        Ok(())
    }

    fn push(&mut self, role: Role, layer: Option<usize>, part: Part, tensor: Tensor<'a>) {
        let name = self.target_name(role, layer, part);
        let data_type = self.target_type(role, &tensor);
        let offset = if role.is_norm() && part == Part::Weight { self.norm_shift() } else { 0.0 };
        let (shape, order) = (tensor.shape.clone(), self.row_order(role));
        self.tensors.push(Planned {
            name,
            shape,
            data_type,
            data: Data::Stored { pieces: vec![tensor], order, offset },
            change: None,
        });
    }

    fn add_experts(&mut self, role: Role, layer: usize) -> Result<(), ModelError> {
        let Some(moe) = &self.config.moe else { return Ok(()) };
        let (inner, hidden) = (moe.intermediate, self.config.hidden);
        let (rows, columns) = if role == Role::ExpertDown { (hidden, inner) } else { (inner, hidden) };
        let pieces = (0..moe.experts)
            .map(|expert| self.stored.expert(role, layer, expert, moe.experts, rows, columns))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(data_type) = pieces.first().map(|first| self.target_type(role, first)) else { return Ok(()) };
        let (order, offset) = (RowOrder::Kept, 0.0);
        if self.format == Format::Gguf {
            let name = fill(gguf_pattern(role), &[layer]) + ".weight";
            let shape = vec![moe.experts, rows, columns];
            self.tensors.push(Planned {
                name,
                shape,
                data_type,
                data: Data::Stored { pieces, order, offset },
                change: None,
            });
            return Ok(());
        }
        for (expert, piece) in pieces.into_iter().enumerate() {
            let name = fill(hf_pattern(self.config.family, role), &[layer, expert]) + ".weight";
            let data = Data::Stored { pieces: vec![piece], order, offset };
            self.tensors.push(Planned { name, shape: vec![rows, columns], data_type, data, change: None });
        }
        Ok(())
    }

    fn target_name(&self, role: Role, layer: Option<usize>, part: Part) -> String {
        let layer: Vec<usize> = layer.into_iter().collect();
        let suffix = if part == Part::Bias { ".bias" } else { ".weight" };
        match self.format {
            Format::Gguf if role == Role::RouterCorrection => fill(gguf_pattern(role), &layer) + ".bias",
            Format::Gguf => fill(gguf_pattern(role), &layer) + suffix,
            Format::SafeTensors if role == Role::RouterCorrection => fill(hf_pattern(self.config.family, role), &layer),
            Format::SafeTensors => fill(hf_pattern(self.config.family, role), &layer) + suffix,
        }
    }

    fn target_type(&self, role: Role, tensor: &Tensor<'_>) -> DataType {
        if tensor.shape.len() < 2 || role == Role::Router {
            return DataType::F32;
        }
        match (self.data_type, self.format) {
            _ if role == Role::PositionEmbedding => tensor.data_type,
            (Some(asked), _) => stored_type(asked, role, self.config.tied, tensor.columns()),
            (None, Format::SafeTensors) if tensor.data_type.is_quantized() => DataType::F16,
            (None, _) => tensor.data_type,
        }
    }

    /// What norm weights gain on the way.
    fn norm_shift(&self) -> f32 {
        let left_off = if self.format == Format::SafeTensors { self.config.family.spec().norm_offset } else { 0.0 };
        self.config.norm_offset - left_off
    }

    fn row_order(&self, role: Role) -> RowOrder {
        let heads = match role {
            Role::Query => self.config.heads,
            Role::Key => self.config.kv_heads,
            _ => return RowOrder::Kept,
        };
        match (self.config.rope_style, self.format) {
            (RopeStyle::Half, Format::Gguf) if self.config.family.spec().interleaved => RowOrder::Interleave { heads },
            (RopeStyle::Interleaved, Format::SafeTensors) => RowOrder::Separate { heads },
            _ => RowOrder::Kept,
        }
    }
}

/// Whether a layer has a tensor for this role.
fn wanted(config: &Config, layer: LayerConfig, role: Role) -> bool {
    let moe = config.moe.as_ref().filter(|_| layer.sparse);
    match role {
        Role::TokenEmbedding | Role::PositionEmbedding | Role::Output | Role::OutputNorm => false,
        Role::Query | Role::Key | Role::Value | Role::AttentionOutput => true,
        Role::AttentionNorm | Role::FeedForwardNorm => config.norm_position.before(),
        Role::AttentionPostNorm | Role::FeedForwardPostNorm => config.norm_position.after(),
        Role::QueryNorm | Role::KeyNorm => config.qk_norm,
        Role::Gate => !layer.sparse && config.gated,
        Role::Up | Role::Down => !layer.sparse,
        Role::Router | Role::ExpertGate | Role::ExpertUp | Role::ExpertDown => moe.is_some(),
        Role::RouterCorrection => moe.is_some_and(|moe| moe.correction_bias),
        Role::SharedGate | Role::SharedUp | Role::SharedDown => moe.is_some_and(|moe| moe.shared_intermediate > 0),
    }
}

/// The shape of a role's weight; of one expert's where it is one of many.
fn shape(config: &Config, role: Role) -> Vec<usize> {
    let hidden = config.hidden;
    let moe = |number: fn(&crate::config::Moe) -> usize| config.moe.as_ref().map_or(0, number);
    match role {
        Role::TokenEmbedding | Role::Output => vec![config.vocabulary, hidden],
        Role::PositionEmbedding => vec![config.position_row(config.context).unwrap_or(0), hidden],
        Role::OutputNorm
        | Role::AttentionNorm
        | Role::FeedForwardNorm
        | Role::AttentionPostNorm
        | Role::FeedForwardPostNorm => vec![hidden],
        Role::QueryNorm | Role::KeyNorm => vec![config.head_dim],
        Role::Query => vec![config.query_width(), hidden],
        Role::Key | Role::Value => vec![config.kv_width(), hidden],
        Role::AttentionOutput => vec![hidden, config.query_width()],
        Role::Gate | Role::Up => vec![config.intermediate, hidden],
        Role::Down => vec![hidden, config.intermediate],
        Role::Router => vec![moe(|moe| moe.experts), hidden],
        Role::RouterCorrection => vec![moe(|moe| moe.experts)],
        Role::ExpertGate | Role::ExpertUp => vec![moe(|moe| moe.intermediate), hidden],
        Role::ExpertDown => vec![hidden, moe(|moe| moe.intermediate)],
        Role::SharedGate | Role::SharedUp => vec![moe(|moe| moe.shared_intermediate), hidden],
        Role::SharedDown => vec![hidden, moe(|moe| moe.shared_intermediate)],
    }
}
