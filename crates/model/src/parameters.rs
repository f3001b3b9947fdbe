//! The parameters of a decoder, one by one: what training keeps, changes and writes.

use saem_formats::Source;
use saem_kernels::DataType;

use crate::ModelError;
use crate::config::{Config, Moe, Norm};
use crate::families::Role;
use crate::families::names::{fill, hf_pattern};
use crate::weights::tensors::Tensor;
use crate::weights::{Part, Tensors};

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a Hugging Face checkpoint of the family.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// In which layer, if in one.
    pub layer: Option<usize>,
    /// Of which of the layer's experts, if of one.
    pub expert: Option<usize>,
    /// A bias rather than a weight.
    pub is_bias: bool,
    /// Outermost dimension first; rows of a matrix are outputs.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Writes the values of this parameter in a checkpoint to `values` (Hugging Face's order of rows, norm weights as stored
    /// there). Pages of the file are given back.
    ///
    /// # Errors
    /// Where the checkpoint lacks it or has another shape. GGUF files order rows differently: convert them first.
    ///
    /// # Panics
    /// If `values` has another length than [`Self::elements`].
    pub fn read(&self, source: &Source, config: &Config, values: &mut [f32]) -> Result<(), ModelError> {
        assert_eq!(values.len(), self.elements(), "a place for each element");
        self.taken(source, config, |tensor| tensor.write_f32(values))?
    }

    /// The parameter as a file of either format holds it, rows in the file's order (which is the one that the file's own
    /// [`Config`] speaks of): its type and a copy of its bytes. Pages of the file are given back.
    ///
    /// # Errors
    /// Where the file lacks it or has another shape.
    pub fn stored(&self, source: &Source, config: &Config) -> Result<(DataType, Vec<u8>), ModelError> {
        self.taken(source, config, |tensor| (tensor.data_type, tensor.bytes.to_vec()))
    }

    /// What `take` makes of the parameter's tensor, whose pages are given back then.
    fn taken<T>(&self, source: &Source, config: &Config, take: impl FnOnce(&Tensor<'_>) -> T) -> Result<T, ModelError> {
        let tensors = Tensors::new(source, config.family);
        let tensor = self.tensor(&tensors, config)?;
        let taken = take(&tensor);
        // Experts may share a tensor, which is done with after the last of them.
        let experts = config.moe.as_ref().map_or(0, |moe| moe.experts);
        if self.expert.is_none_or(|expert| expert + 1 == experts) {
            tensors.release(&tensor);
        }
        Ok(taken)
    }

    fn tensor<'a>(&self, tensors: &Tensors<'a>, config: &Config) -> Result<Tensor<'a>, ModelError> {
        if let (Some(layer), Some(expert), [rows, columns]) = (self.layer, self.expert, self.shape.as_slice()) {
            let experts = config.moe.as_ref().map_or(0, |moe| moe.experts);
            return tensors.expert(self.role, layer, expert, experts, *rows, *columns);
        }
        let part = if self.is_bias { Part::Bias } else { Part::Weight };
        let tensor = tensors.needed(self.role, self.layer, part)?;
        tensor.expect(&self.shape)?;
        Ok(tensor)
    }
}

impl Config {
    /// All parameters: the embedding, layer by layer, the last norm, the output matrix where it is not the embedding.
    /// `norm_biases` says whether layer norms have biases (RMS norms never do).
    #[must_use]
    pub fn parameters(&self, norm_biases: bool) -> Vec<Parameter> {
        let mut list = List {
            config: self,
            layer: None,
            expert: None,
            norm_biases: norm_biases && self.norm == Norm::Layer,
            found: Vec::new(),
        };
        let (hidden, query, kv) = (self.hidden, self.query_width(), self.kv_width());
        let (before, after) = (self.norm_position.before(), self.norm_position.after());
        list.weight(Role::TokenEmbedding, &[self.vocabulary, hidden]);
        if let Some(rows) = self.position_row(self.context) {
            list.weight(Role::PositionEmbedding, &[rows, hidden]);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            list.layer = Some(index);
            list.norm(before, Role::AttentionNorm, hidden);
            list.linear(Role::Query, query, hidden, self.attention_bias);
            list.linear(Role::Key, kv, hidden, self.attention_bias);
            list.linear(Role::Value, kv, hidden, self.attention_bias);
            if self.qk_norm {
                list.weight(Role::QueryNorm, &[self.head_dim]);
                list.weight(Role::KeyNorm, &[self.head_dim]);
            }
            list.linear(Role::AttentionOutput, hidden, query, self.output_bias);
            list.norm(after, Role::AttentionPostNorm, hidden);
            list.norm(before, Role::FeedForwardNorm, hidden);
            match self.moe.as_ref().filter(|_| layer.sparse) {
                Some(moe) => list.sparse(moe),
                None => list.dense([Role::Gate, Role::Up, Role::Down], self.intermediate),
            }
            list.norm(after, Role::FeedForwardPostNorm, hidden);
        }
        list.layer = None;
        list.norm(true, Role::OutputNorm, hidden);
        if !self.tied {
            list.weight(Role::Output, &[self.vocabulary, hidden]);
        }
        list.found
    }

    /// Whether a checkpoint's layer norms have biases.
    #[must_use]
    pub fn has_norm_biases(&self, source: &Source) -> bool {
        Tensors::new(source, self.family).find(Role::OutputNorm, None, Part::Bias).is_some()
    }
}

struct List<'a> {
    config: &'a Config,
    layer: Option<usize>,
    expert: Option<usize>,
    norm_biases: bool,
    found: Vec<Parameter>,
}

impl List<'_> {
    fn push(&mut self, role: Role, is_bias: bool, shape: &[usize]) {
        let numbers: Vec<usize> = self.layer.into_iter().chain(self.expert).collect();
        let suffix = match role {
            Role::RouterCorrection => "",
            _ if is_bias => ".bias",
            _ => ".weight",
        };
        let name = fill(hf_pattern(self.config.family, role), &numbers) + suffix;
        let (layer, expert) = (self.layer, self.expert);
        self.found.push(Parameter { name, role, layer, expert, is_bias, shape: shape.to_vec() });
    }

    /// A feed-forward layer that every token passes.
    fn dense(&mut self, [gate, up, down]: [Role; 3], inner: usize) {
        let Config { hidden, gated, feed_forward_bias: bias, .. } = *self.config;
        if gated {
            self.linear(gate, inner, hidden, bias);
        }
        self.linear(up, inner, hidden, bias);
        self.linear(down, hidden, inner, bias);
    }

    /// A router, its experts, and the one that every token passes.
    fn sparse(&mut self, moe: &Moe) {
        let hidden = self.config.hidden;
        self.weight(Role::Router, &[moe.experts, hidden]);
        if moe.correction_bias {
            self.weight(Role::RouterCorrection, &[moe.experts]);
        }
        for expert in 0..moe.experts {
            self.expert = Some(expert);
            self.weight(Role::ExpertGate, &[moe.intermediate, hidden]);
            self.weight(Role::ExpertUp, &[moe.intermediate, hidden]);
            self.weight(Role::ExpertDown, &[hidden, moe.intermediate]);
        }
        self.expert = None;
        if moe.shared_intermediate > 0 {
            self.dense([Role::SharedGate, Role::SharedUp, Role::SharedDown], moe.shared_intermediate);
        }
    }

    fn weight(&mut self, role: Role, shape: &[usize]) {
        self.push(role, false, shape);
    }

    fn linear(&mut self, role: Role, rows: usize, columns: usize, bias: bool) {
        self.push(role, false, &[rows, columns]);
        if bias {
            self.push(role, true, &[rows]);
        }
    }

    fn norm(&mut self, wanted: bool, role: Role, width: usize) {
        if wanted {
            self.push(role, false, &[width]);
            if self.norm_biases {
                self.push(role, true, &[width]);
            }
        }
    }
}
