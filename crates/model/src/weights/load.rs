//! Packing a checkpoint's tensors into kernels' layouts.

use saem_formats::Source;
use saem_kernels::{DataType, Matrix, ThreadPool};

use super::tensors::Tensor;
use super::{Dense, Expert, FeedForward, LayerWeights, Linear, Model, NormWeights, Part, Sparse, Tensors, Weights};
use crate::ModelError;
use crate::config::{Config, LayerConfig, Norm};
use crate::error::in_tensor;
use crate::families::Role;
use crate::quantize::{convert, stored_type};

/// How to load a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Compress every matrix to this type while loading. Matrices whose rows do not divide into its blocks get a
    /// similar type, or f16; norms, biases and routers are always f32.
    pub quantize: Option<DataType>,
}

impl Model {
    /// Loads a checkpoint. `progress` is told the bytes read so far and in all.
    ///
    /// Each tensor is packed into the layout that kernels read, and its pages of the file are given back before the
    /// next, so that memory peaks near the size of the packed weights and not at twice that.
    ///
    /// # Errors
    /// Where the architecture is not supported, metadata are missing or absurd, or a tensor is missing or has another
    /// shape than the metadata ask for.
    pub fn load(
        source: &Source,
        pool: &ThreadPool,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, ModelError> {
        let config = Config::from_source(source)?;
        let tensors = Tensors::new(source, config.family);
        tensors.prefetch();
        let total = source.weight_bytes();
        let mut loader = Loader { tensors, pool, options, config: &config, done: 0, total, progress, layer: None };
        let weights = loader.weights()?;
        (loader.progress)(total, total);
        Ok(Self { config, weights })
    }
}

struct Loader<'a> {
    tensors: Tensors<'a>,
    pool: &'a ThreadPool,
    options: &'a LoadOptions,
    config: &'a Config,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    /// The layer being loaded.
    layer: Option<usize>,
}

impl Loader<'_> {
    fn weights(&mut self) -> Result<Weights, ModelError> {
        let Config { vocabulary, hidden, .. } = *self.config;
        let embedding = self.matrix(Role::TokenEmbedding, vocabulary, hidden)?;
        // The largest matrices first: while one is packed, both its copies are in memory.
        let output = if self.config.tied { None } else { Some(self.matrix(Role::Output, vocabulary, hidden)?) };
        let positions = match self.config.position_row(self.config.context) {
            Some(rows) => {
                let stored = self.tensors.needed(Role::PositionEmbedding, None, Part::Weight)?;
                stored.expect(&[rows, hidden])?;
                stored.to_flat_f32()?
            }
            None => Vec::new(),
        };
        let output_norm = self.norm(Role::OutputNorm, hidden)?;
        let mut layers = Vec::with_capacity(self.config.layers.len());
        for (index, layer) in self.config.layers.iter().enumerate() {
            self.layer = Some(index);
            layers.push(self.layer(*layer)?);
        }
        self.layer = None;
        Ok(Weights { embedding, output, positions, output_norm, layers })
    }

    fn layer(&mut self, layer: LayerConfig) -> Result<LayerWeights, ModelError> {
        let config = self.config;
        let (hidden, query, kv) = (config.hidden, config.query_width(), config.kv_width());
        let (before, after) = (config.norm_position.before(), config.norm_position.after());
        Ok(LayerWeights {
            attention_norm: self.norm_where(before, Role::AttentionNorm, hidden)?,
            query: self.linear(Role::Query, query, hidden, config.attention_bias)?,
            key: self.linear(Role::Key, kv, hidden, config.attention_bias)?,
            value: self.linear(Role::Value, kv, hidden, config.attention_bias)?,
            query_norm: self.norm_where(config.qk_norm, Role::QueryNorm, config.head_dim)?.map(|norm| norm.weight),
            key_norm: self.norm_where(config.qk_norm, Role::KeyNorm, config.head_dim)?.map(|norm| norm.weight),
            output: self.linear(Role::AttentionOutput, hidden, query, config.output_bias)?,
            attention_post_norm: self.norm_where(after, Role::AttentionPostNorm, hidden)?,
            feed_forward_norm: self.norm_where(before, Role::FeedForwardNorm, hidden)?,
            feed_forward: if layer.sparse {
                FeedForward::Sparse(self.sparse()?)
            } else {
                FeedForward::Dense(self.dense([Role::Gate, Role::Up, Role::Down], config.intermediate)?)
            },
            feed_forward_post_norm: self.norm_where(after, Role::FeedForwardPostNorm, hidden)?,
        })
    }

    fn dense(&mut self, [gate, up, down]: [Role; 3], width: usize) -> Result<Dense, ModelError> {
        let Config { hidden, gated, feed_forward_bias: bias, .. } = *self.config;
        Ok(Dense {
            gate: if gated { Some(self.linear(gate, width, hidden, bias)?) } else { None },
            up: self.linear(up, width, hidden, bias)?,
            down: self.linear(down, hidden, width, bias)?,
        })
    }

    fn sparse(&mut self) -> Result<Sparse, ModelError> {
        let hidden = self.config.hidden;
        // A layer is sparse only where the configuration has experts.
        let Some(moe) = &self.config.moe else {
            return Err(ModelError::MissingField { field: "num_experts".into() });
        };
        let stored = self.tensors.needed(Role::Router, self.layer, Part::Weight)?;
        stored.expect(&[moe.experts, hidden])?;
        let bytes = convert(self.pool, stored.data_type, stored.bytes, hidden, DataType::F32);
        let bytes = bytes.map_err(in_tensor(&stored.name))?;
        let router = self.pack(&stored.name, DataType::F32, moe.experts, hidden, &bytes)?;
        self.finished(&stored);
        let correction = if moe.correction_bias {
            let stored = self.tensors.needed(Role::RouterCorrection, self.layer, Part::Weight)?;
            Some(stored.to_f32(moe.experts)?)
        } else {
            None
        };
        let experts = (0..moe.experts)
            .map(|expert| {
                Ok(Expert {
                    gate: self.expert(Role::ExpertGate, expert, moe.intermediate, hidden)?,
                    up: self.expert(Role::ExpertUp, expert, moe.intermediate, hidden)?,
                    down: self.expert(Role::ExpertDown, expert, hidden, moe.intermediate)?,
                })
            })
            .collect::<Result<_, ModelError>>()?;
        let shared = match moe.shared_intermediate {
            0 => None,
            width => Some(self.dense([Role::SharedGate, Role::SharedUp, Role::SharedDown], width)?),
        };
        Ok(Sparse { router, correction, experts, shared })
    }

    fn expert(&mut self, role: Role, expert: usize, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        let (layer, experts) = (self.layer.unwrap_or(0), self.config.moe.as_ref().map_or(0, |moe| moe.experts));
        let stored = self.tensors.expert(role, layer, expert, experts, rows, columns)?;
        let matrix = self.pack_as_asked(role, &stored, rows, columns)?;
        self.count(stored.bytes.len());
        // Experts may share a tensor, which is done with after the last of them.
        if expert + 1 == experts {
            self.tensors.release(&stored);
        }
        Ok(matrix)
    }

    fn linear(&mut self, role: Role, rows: usize, columns: usize, bias: bool) -> Result<Linear, ModelError> {
        let bias = if bias { Some(self.tensors.needed(role, self.layer, Part::Bias)?.to_f32(rows)?) } else { None };
        Ok(Linear { matrix: self.matrix(role, rows, columns)?, bias })
    }

    fn matrix(&mut self, role: Role, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        let stored = self.tensors.needed(role, self.layer, Part::Weight)?;
        stored.expect(&[rows, columns])?;
        let matrix = self.pack_as_asked(role, &stored, rows, columns)?;
        self.finished(&stored);
        Ok(matrix)
    }

    /// Packs a matrix in the type that was asked for, or its own.
    fn pack_as_asked(
        &self,
        role: Role,
        stored: &Tensor<'_>,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, ModelError> {
        let asked = self.options.quantize.map(|asked| stored_type(asked, role, self.config.tied, columns));
        match asked.filter(|asked| *asked != stored.data_type) {
            None => {
                let mut release = |part| self.tensors.release_part(stored, part);
                let (name, data_type) = (&stored.name, stored.data_type);
                Matrix::pack_in_steps(self.pool, data_type, rows, columns, stored.bytes, &mut release)
                    .map_err(in_tensor(name))
            }
            Some(asked) => {
                let bytes = convert(self.pool, stored.data_type, stored.bytes, columns, asked);
                self.pack(&stored.name, asked, rows, columns, &bytes.map_err(in_tensor(&stored.name))?)
            }
        }
    }

    fn pack(
        &self,
        name: &str,
        data_type: DataType,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Matrix, ModelError> {
        Matrix::pack(self.pool, data_type, rows, columns, bytes).map_err(in_tensor(name))
    }

    fn norm_where(&mut self, wanted: bool, role: Role, len: usize) -> Result<Option<NormWeights>, ModelError> {
        if wanted { self.norm(role, len).map(Some) } else { Ok(None) }
    }

    fn norm(&mut self, role: Role, len: usize) -> Result<NormWeights, ModelError> {
        let mut weight = self.tensors.needed(role, self.layer, Part::Weight)?.to_f32(len)?;
        weight.iter_mut().for_each(|weight| *weight += self.config.norm_offset);
        let bias = match self.config.norm {
            Norm::Rms => None,
            Norm::Layer => self.tensors.find(role, self.layer, Part::Bias).map(|bias| bias.to_f32(len)).transpose()?,
        };
        Ok(NormWeights { weight, bias })
    }

    fn finished(&mut self, tensor: &Tensor<'_>) {
        self.count(tensor.bytes.len());
        self.tensors.release(tensor);
    }

    fn count(&mut self, bytes: usize) {
        self.done = (self.done + bytes as u64).min(self.total);
        (self.progress)(self.done, self.total);
    }
}
