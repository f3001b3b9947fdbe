//! The matrices of a LoRA: collected by name, checked against the model, put in its row order and packed.

use std::path::Path;

use saem_kernels::ops::RopeStyle;
use saem_kernels::{DataType, KernelError, Matrix, ThreadPool, blocks};

use super::gains::Gains;
use super::head::Head;
use super::{Adapter, AdapterError, AdapterOptions, LoraPair};
use crate::config::{Config, LayerConfig};
use crate::convert::RowOrder;
use crate::families::Role;
use crate::weights::Weights;

/// A projection that a LoRA may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Target {
    pub(super) const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The role of the projection's matrix, which tells its name.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Query => Role::Query,
            Self::Key => Role::Key,
            Self::Value => Role::Value,
            Self::Output => Role::AttentionOutput,
            Self::Gate => Role::Gate,
            Self::Up => Role::Up,
            Self::Down => Role::Down,
        }
    }

    /// Outputs and inputs of the projection.
    fn shape(self, config: &Config) -> (usize, usize) {
        match self {
            Self::Query => (config.query_width(), config.hidden),
            Self::Key | Self::Value => (config.kv_width(), config.hidden),
            Self::Output => (config.hidden, config.query_width()),
            Self::Gate | Self::Up => (config.intermediate, config.hidden),
            Self::Down => (config.hidden, config.intermediate),
        }
    }

    /// Whether a layer has the projection. Experts cannot be changed.
    fn exists(self, config: &Config, layer: &LayerConfig) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => true,
            Self::Gate => config.gated && !layer.sparse,
            Self::Up | Self::Down => !layer.sparse,
        }
    }
}

/// What a LoRA adds to one projection: `scale * B (A x)`.
#[derive(Debug)]
pub(crate) struct Pair {
    /// `[rank, inputs]`, of a float type.
    pub(super) a: Matrix,
    /// `[outputs, rank]`, of a float type.
    pub(super) b: Matrix,
    pub(super) scale: f32,
    /// What the rows of the sum are multiplied by (DoRA).
    pub(super) gains: Option<Gains>,
}

impl Pair {
    pub(super) fn rank(&self) -> usize {
        self.a.rows()
    }

    pub(super) fn byte_len(&self) -> usize {
        self.a.byte_len() + self.b.byte_len() + self.gains.as_ref().map_or(0, Gains::byte_len)
    }
}

/// What a LoRA adds to one projection, in floats.
#[derive(Debug)]
pub(crate) struct FloatPair {
    pub(crate) layer: usize,
    pub(crate) role: Role,
    /// The order of query and key rows.
    style: RopeStyle,
    rank: usize,
    /// `[rank, inputs]`.
    a: Vec<f32>,
    /// `[outputs, rank]`.
    b: Vec<f32>,
    scale: f32,
    /// The lengths of the rows of the sum (DoRA), `[outputs]`.
    magnitude: Option<Vec<f32>>,
}

impl FloatPair {
    /// A pair that was tuned on a model of this configuration.
    pub(crate) fn of(pair: &LoraPair<'_>, rank: usize, scale: f32, config: &Config) -> Self {
        let LoraPair { layer, role, a, b, magnitude } = *pair;
        let (a, b, magnitude) = (a.to_vec(), b.to_vec(), magnitude.map(<[f32]>::to_vec));
        Self { layer, role, style: config.rope_style, rank, a, b, scale, magnitude }
    }

    /// Adds `scale * B A` to a projection's matrix, whose rows are in the order of `style`, and gives each row its length
    /// where it has one of its own.
    pub(crate) fn add_to(&self, matrix: &mut [f32], style: RopeStyle, config: &Config) {
        let (columns, rows) = (self.a.len() / self.rank, self.b.len() / self.rank);
        let order = row_order(self.role, self.style, style, config);
        for (row, values) in matrix.chunks_exact_mut(columns).enumerate() {
            let from = order.source(row, rows);
            let factors = self.b.get(from * self.rank..(from + 1) * self.rank).unwrap_or_default();
            for (factor, a) in factors.iter().zip(self.a.chunks_exact(columns)) {
                values.iter_mut().zip(a).for_each(|(value, a)| *value += self.scale * factor * a);
            }
            if let Some(magnitude) = self.magnitude.as_ref().and_then(|magnitude| magnitude.get(from)) {
                let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
                let factor = (f64::from(*magnitude) / length.max(f64::from(f32::MIN_POSITIVE))) as f32;
                values.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }
}

/// What must be done to the rows of queries and keys between two orders.
pub(super) fn row_order(role: Role, from: RopeStyle, to: RopeStyle, config: &Config) -> RowOrder {
    let heads = match role {
        Role::Query => config.heads,
        Role::Key => config.kv_heads,
        _ => return RowOrder::Kept,
    };
    match (from, to) {
        (RopeStyle::Half, RopeStyle::Interleaved) => RowOrder::Interleave { heads },
        (RopeStyle::Interleaved, RopeStyle::Half) => RowOrder::Separate { heads },
        _ => RowOrder::Kept,
    }
}

/// What a LoRA adds in one layer.
#[derive(Debug, Default)]
pub(crate) struct LayerAdapter([Option<Pair>; 7]);

impl LayerAdapter {
    pub(crate) fn pair(&self, target: Target) -> Option<&Pair> {
        self.0.get(target as usize)?.as_ref()
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.0.iter().flatten()
    }
}

/// A tensor of an adapter as it lies in the file.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
    pub(super) data_type: DataType,
    pub(super) bytes: &'a [u8],
}

impl Stored<'_> {
    pub(super) fn expect(&self, path: &Path, shape: &[usize]) -> Result<(), AdapterError> {
        if self.shape == shape {
            return Ok(());
        }
        Err(AdapterError::Shape {
            path: path.to_owned(),
            tensor: self.name.to_owned(),
            expected: shape.to_vec(),
            found: self.shape.clone(),
        })
    }

    /// All values, which must be finite. The shape was checked before: it bounds what is allocated.
    pub(super) fn values(&self, path: &Path) -> Result<Vec<f32>, AdapterError> {
        let mut values = vec![0.0; self.shape.iter().product()];
        blocks::dequantize(self.data_type, self.bytes, &mut values).map_err(kernel(path))?;
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(AdapterError::NotFinite { path: path.to_owned(), tensor: self.name.to_owned() })
    }
}

/// Which of a pair's matrices, or the lengths of the sum's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    A,
    B,
    Magnitude,
}

/// What a file says of one projection.
#[derive(Debug, Default)]
struct Found<'a> {
    a: Option<Stored<'a>>,
    b: Option<Stored<'a>>,
    magnitude: Option<Stored<'a>>,
}

/// The tensors of a LoRA file, by the projections that they change.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    path: &'a Path,
    config: &'a Config,
    layers: Vec<[Found<'a>; 7]>,
    /// What tells labels apart, if the adapter does.
    pub(super) head: Option<Head>,
}

/// What is known of a pair beside its tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    /// The rank by the configuration, which the tensors must have.
    pub(super) rank: Option<usize>,
    /// The factor on the product, times the rank or its root; where absent, the factor is 1.
    pub(super) alpha: Option<f64>,
    /// Divide by the root of the rank and not by the rank (Kalajdzievski 2023, arXiv 2312.03732).
    pub(super) by_root: bool,
    /// Whether the rows of the sum have lengths of their own.
    pub(super) is_dora: bool,
}

impl Scaling {
    fn factor(self, rank: usize) -> f32 {
        let divisor = if self.by_root { (rank as f64).sqrt() } else { rank as f64 };
        self.alpha.map_or(1.0, |alpha| (alpha / divisor) as f32)
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(path: &'a Path, config: &'a Config) -> Self {
        Self { path, config, layers: config.layers.iter().map(|_| Default::default()).collect(), head: None }
    }

    /// Takes a tensor. It must be the only one of its place.
    pub(super) fn add(
        &mut self,
        layer: usize,
        target: Target,
        half: Half,
        tensor: Stored<'a>,
    ) -> Result<(), AdapterError> {
        let exists = self.config.layers.get(layer).is_some_and(|layer| target.exists(self.config, layer));
        let found = self.layers.get_mut(layer).and_then(|layer| layer.get_mut(target as usize));
        let place = found.filter(|_| exists).map(|found| match half {
            Half::A => &mut found.a,
            Half::B => &mut found.b,
            Half::Magnitude => &mut found.magnitude,
        });
        match place.filter(|place| place.is_none()) {
            Some(place) => {
                *place = Some(tensor);
                Ok(())
            }
            None => Err(self.unknown(tensor.name)),
        }
    }

    /// The error for a tensor that has no place.
    pub(super) fn unknown(&self, tensor: &str) -> AdapterError {
        AdapterError::UnknownTensor {
            path: self.path.to_owned(),
            tensor: super::error::shown_name(tensor),
            layers: self.config.layers.len(),
        }
    }

    /// Checks what was collected and gives it as floats; parameters as those of [`Collector::finish`].
    pub(super) fn floats(
        self,
        style: RopeStyle,
        scaling: &dyn Fn(usize, Target) -> Scaling,
    ) -> Result<Vec<FloatPair>, AdapterError> {
        let Self { path, config, layers, .. } = self;
        let mut pairs = Vec::new();
        for (layer, found) in layers.into_iter().enumerate() {
            for (target, found) in Target::ALL.into_iter().zip(found) {
                let limit = config.hidden;
                if let Some(Checked { a, b, magnitude, rank, scale }) =
                    check(path, config, limit, target, found, || scaling(layer, target))?
                {
                    let (a, b) = (a.values(path)?, b.values(path)?);
                    let magnitude = magnitude.map(|magnitude| magnitude.values(path)).transpose()?;
                    pairs.push(FloatPair { layer, role: target.role(), style, rank, a, b, scale, magnitude });
                }
            }
        }
        if pairs.is_empty() {
            return Err(no_lora(path));
        }
        Ok(pairs)
    }

    /// Checks and packs what was collected. `weights` are those of the model, without which rows cannot have lengths of
    /// their own; `style` is the order of query and key rows in the file; `scaling` is asked for each projection, by its
    /// layer and kind.
    pub(super) fn finish(
        self,
        weights: Option<&Weights>,
        style: RopeStyle,
        options: &AdapterOptions,
        scaling: &dyn Fn(usize, Target) -> Scaling,
    ) -> Result<Adapter, AdapterError> {
        let Self { path, config, layers, head } = self;
        let pool = ThreadPool::new(1).map_err(kernel(path))?;
        let mut packer = Packer { path, config, weights, options, style, pool, bytes: 0 };
        packer.take(head.as_ref().map_or(0, Head::byte_len))?;
        let mut packed = Vec::with_capacity(layers.len());
        let mut pairs = 0;
        for (index, found) in layers.into_iter().enumerate() {
            let mut layer = LayerAdapter::default();
            for (target, (found, place)) in Target::ALL.into_iter().zip(found.into_iter().zip(&mut layer.0)) {
                *place = packer.pair(index, target, found, || scaling(index, target))?;
                pairs += usize::from(place.is_some());
            }
            packed.push(layer);
        }
        if pairs == 0 {
            if head.is_none() {
                return Err(no_lora(path));
            }
            packed.clear();
        }
        Ok(Adapter::new(config, packed, head, Vec::new(), Vec::new()))
    }
}

struct Packer<'a> {
    path: &'a Path,
    config: &'a Config,
    weights: Option<&'a Weights>,
    options: &'a AdapterOptions,
    style: RopeStyle,
    /// Of one thread: the one that loads. The model's own threads may be busy.
    pool: ThreadPool,
    /// Packed so far.
    bytes: usize,
}

impl Packer<'_> {
    fn pair(
        &mut self,
        layer: usize,
        target: Target,
        found: Found<'_>,
        scaling: impl FnOnce() -> Scaling,
    ) -> Result<Option<Pair>, AdapterError> {
        let limit = self.options.max_rank.min(self.config.hidden);
        let path = self.path;
        let Some(checked) = check(path, self.config, limit, target, found, scaling)? else { return Ok(None) };
        let Checked { a, b, magnitude, rank, scale } = checked;
        let order = row_order(target.role(), self.style, self.config.rope_style, self.config);
        let (packed_a, packed_b) = (self.pack(&a, RowOrder::Kept)?, self.pack(&b, order)?);
        let linear = self.weights.and_then(|weights| weights.layers.get(layer)).and_then(|layer| layer.linear(target));
        let gains = match (magnitude, linear) {
            (Some(magnitude), Some(linear)) => {
                let (rows, columns) = target.shape(self.config);
                self.take((1 + usize::from(linear.bias.is_some())) * rows * size_of::<f32>())?;
                let lengths = reordered(magnitude.values(path)?, rows, 1, order);
                let b = reordered(b.values(path)?, rows, rank, order);
                Some(Gains::new(&self.pool, linear, columns, &a.values(path)?, &b, scale, &lengths))
            }
            (Some(_), None) => return Err(AdapterError::NeedsWeights { path: path.to_owned() }),
            (None, _) => None,
        };
        Ok(Some(Pair { a: packed_a, b: packed_b, scale, gains }))
    }

    /// Counts bytes that are held from now on.
    fn take(&mut self, bytes: usize) -> Result<(), AdapterError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.options.max_bytes {
            return Err(AdapterError::TooLarge { path: self.path.to_owned(), limit: self.options.max_bytes });
        }
        Ok(())
    }

    fn pack(&mut self, stored: &Stored<'_>, order: RowOrder) -> Result<Matrix, AdapterError> {
        let path = self.path;
        let (rows, columns) = match *stored.shape {
            [rows, columns] => (rows, columns),
            _ => (0, 0),
        };
        let values = reordered(stored.values(path)?, rows, columns, order);
        let as_stored = if stored.data_type.is_quantized() { DataType::F32 } else { stored.data_type };
        let data_type = self.options.data_type.unwrap_or(as_stored);
        let mut bytes = Vec::new();
        blocks::quantize(data_type, &values, &mut bytes).map_err(kernel(path))?;
        let matrix = Matrix::pack(&self.pool, data_type, rows, columns, &bytes).map_err(kernel(path))?;
        self.take(matrix.byte_len())?;
        Ok(matrix)
    }
}

/// A projection's matrices, of the shapes that they must have.
struct Checked<'a> {
    a: Stored<'a>,
    b: Stored<'a>,
    magnitude: Option<Stored<'a>>,
    rank: usize,
    scale: f32,
}

fn check<'a>(
    path: &Path,
    config: &Config,
    limit: usize,
    target: Target,
    found: Found<'a>,
    scaling: impl FnOnce() -> Scaling,
) -> Result<Option<Checked<'a>>, AdapterError> {
    let missing = |tensor: String| AdapterError::MissingTensor { path: path.to_owned(), tensor };
    let (a, b) = match (found.a, found.b, &found.magnitude) {
        (None, None, None) => return Ok(None),
        (Some(a), Some(b), _) => (a, b),
        (Some(one), None, _) | (None, Some(one), _) => return Err(missing(other_half(one.name))),
        (None, None, Some(magnitude)) => return Err(missing(other_half(magnitude.name))),
    };
    let scaling = scaling();
    if scaling.is_dora && found.magnitude.is_none() {
        return Err(missing(a.name.replace(".lora_A.weight", super::peft::MAGNITUDE)));
    }
    let (rows, columns) = target.shape(config);
    let rank = scaling.rank.or(a.shape.first().copied()).unwrap_or(0);
    if !(1..=limit).contains(&rank) {
        let (path, tensor) = (path.to_owned(), a.name.to_owned());
        return Err(AdapterError::Rank { path, tensor, rank, limit });
    }
    a.expect(path, &[rank, columns])?;
    b.expect(path, &[rows, rank])?;
    if let Some(magnitude) = &found.magnitude {
        magnitude.expect(path, &[rows])?;
    }
    Ok(Some(Checked { a, b, magnitude: found.magnitude, rank, scale: scaling.factor(rank) }))
}

fn no_lora(path: &Path) -> AdapterError {
    AdapterError::NotAnAdapter { path: path.to_owned(), reason: "it holds no tensor of a LoRA" }
}

/// The rows of `[rows, columns]` in another order.
pub(super) fn reordered(values: Vec<f32>, rows: usize, columns: usize, order: RowOrder) -> Vec<f32> {
    if order == RowOrder::Kept {
        return values;
    }
    let row = |row: usize| values.get(row * columns..(row + 1) * columns).unwrap_or_default();
    (0..rows).flat_map(|to| row(order.source(to, rows))).copied().collect()
}

/// The name of the tensor that must stand beside this one.
fn other_half(name: &str) -> String {
    for (one, other) in [
        ("lora_A", "lora_B"),
        ("lora_B", "lora_A"),
        ("lora_a", "lora_b"),
        ("lora_b", "lora_a"),
        ("lora_magnitude_vector", "lora_A.weight"),
    ] {
        if name.contains(one) {
            return name.replace(one, other);
        }
    }
    name.to_owned()
}

pub(super) fn kernel(path: &Path) -> impl FnOnce(KernelError) -> AdapterError + '_ {
    move |source| AdapterError::Kernel { path: path.to_owned(), source }
}
