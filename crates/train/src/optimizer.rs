//! The optimizers, and their states in memory and on disk.
//!
//! | `optimizer` | states of a matrix | of anything else |
//! |---|---|---|
//! | `adamw` | two means, 8 bytes for each number | the same |
//! | `adamw8bit` | two means in codes, 2.03 bytes; the embedding has them in 32 bits, as Dettmers et al. 2022 advise | in 32 bits |
//! | `muon` | a momentum, 4 bytes, in layers; embedding and output have AdamW's | AdamW's |

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use saem_formats::safetensors;
use saem_kernels::gemm::Precision;
use saem_kernels::gradient::{AdamW, BLOCK, Muon, MuonRoom, Quantised};
use saem_kernels::{Arena, Block, DataType, ThreadPool};
use saem_model::Role;
use serde::{Deserialize, Serialize};

use crate::layout::{Layout, Trained};
use crate::master::Master;
use crate::{TrainError, checkpoint};

/// States in 32 bits, by name.
const STATES: &str = "optimizer.safetensors";
/// Codes, one parameter after the other: of the means, then of the squares.
const CODES: &str = "optimizer.codes";
/// Matrices with fewer numbers keep their means in 32 bits, as in bitsandbytes.
const LEAST_QUANTISED: usize = 4096;
/// Decay of Muon's momentum (Jordan et al. 2024).
const MOMENTUM: f32 = 0.95;
/// Numbers that are written at a time.
const PIECE: usize = 1 << 18;

/// How weights follow from gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// AdamW, its means in 32 bits.
    #[default]
    AdamW,
    /// AdamW, the means of matrices in 8 bits.
    AdamW8bit,
    /// Muon for matrices of layers, AdamW for the rest.
    Muon,
}

impl Algorithm {
    /// As recipes name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::AdamW8bit => "adamw8bit",
            Self::Muon => "muon",
        }
    }
}

/// What a parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    None,
    Means,
    Codes,
    Momentum,
}

impl Form {
    fn of(algorithm: Algorithm, trained: &Trained) -> Self {
        let role = trained.own().filter(|own| !own.is_bias).map(|own| own.role);
        let is_matrix = trained.shape.len() == 2;
        let numbers: usize = trained.shape.iter().product();
        let is_in_layer = role.is_some_and(|role| {
            !role.is_norm() && !matches!(role, Role::TokenEmbedding | Role::PositionEmbedding | Role::Output)
        });
        match algorithm {
            _ if role == Some(Role::RouterCorrection) => Self::None,
            Algorithm::AdamW8bit if is_matrix && numbers >= LEAST_QUANTISED && role != Some(Role::TokenEmbedding) => {
                Self::Codes
            }
            Algorithm::Muon if is_matrix && is_in_layer => Self::Momentum,
            _ => Self::Means,
        }
    }
}

/// The states of a parameter.
#[derive(Debug)]
enum States {
    /// Of a router's correction, which goes a fixed step against what its expert got too many or too few tokens.
    None,
    Means {
        mean: Block<f32>,
        square: Block<f32>,
    },
    Codes {
        mean: Block<u8>,
        mean_scales: Block<f32>,
        square: Block<u8>,
        square_scales: Block<f32>,
    },
    Momentum {
        momentum: Block<f32>,
    },
}

/// All states.
#[derive(Debug)]
pub(crate) struct Optimizer {
    states: Vec<States>,
    room: MuonRoom,
}

/// What a step goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// AdamW's, its decay that of matrices.
    pub(crate) adam: AdamW,
    pub(crate) precision: Precision,
    /// The step of routers' corrections.
    pub(crate) correction: f32,
    /// What decides how weights are rounded that are rounded by chance.
    pub(crate) rounding: u32,
}

impl Optimizer {
    pub(crate) fn new(arena: &mut Arena, algorithm: Algorithm, layout: &Layout) -> Self {
        let codes = |arena: &mut Arena, len: usize, is_signed: bool| {
            let mut codes = arena.take(len);
            codes.fill(Quantised::zero(is_signed));
            codes
        };
        let states = layout.parameters().map(|(trained, slot)| {
            let (len, blocks) = (slot.len(), slot.len().div_ceil(BLOCK));
            match Form::of(algorithm, trained) {
                Form::None => States::None,
                Form::Means => States::Means { mean: arena.take(len), square: arena.take(len) },
                Form::Momentum => States::Momentum { momentum: arena.take(len) },
                Form::Codes => States::Codes {
                    mean: codes(arena, len, true),
                    mean_scales: arena.take(blocks),
                    square: codes(arena, len, false),
                    square_scales: arena.take(blocks),
                },
            }
        });
        Self { states: states.collect(), room: MuonRoom::new(arena, &momenta(algorithm, layout)) }
    }

    /// Bytes that [`Optimizer::new`] takes.
    pub(crate) fn bytes(algorithm: Algorithm, layout: &Layout) -> u64 {
        Arena::count(|arena| Self::new(arena, algorithm, layout)) as u64
    }

    /// Changes all weights.
    pub(crate) fn step(
        &mut self,
        pool: &ThreadPool,
        layout: &Layout,
        rates: &Rates,
        weights: &mut Master,
        gradients: &[f32],
    ) {
        let Self { states, room } = self;
        for ((trained, slot), states) in layout.parameters().zip(states) {
            let adam =
                AdamW { weight_decay: if trained.is_matrix() { rates.adam.weight_decay } else { 0.0 }, ..rates.adam };
            weights.change(pool, &slot, rates.rounding, &mut |part, weights| {
                let gradients = &gradients[slot.start + part.start..slot.start + part.end];
                match states {
                    States::None => {
                        let steps = weights.iter_mut().zip(gradients);
                        steps.for_each(|(weight, excess)| {
                            if *excess != 0.0 {
                                *weight -= rates.correction * excess.signum();
                            }
                        });
                    }
                    States::Means { mean, square } => {
                        adam.step(pool, weights, gradients, &mut mean[part.clone()], &mut square[part]);
                    }
                    States::Codes { mean, mean_scales, square, square_scales } => {
                        let blocks = part.start / BLOCK..part.end.div_ceil(BLOCK);
                        let mean =
                            Quantised { codes: &mut mean[part.clone()], scales: &mut mean_scales[blocks.clone()] };
                        let square = Quantised { codes: &mut square[part], scales: &mut square_scales[blocks] };
                        adam.step_quantised(pool, weights, gradients, mean, square);
                    }
                    States::Momentum { momentum } => {
                        let muon = Muon {
                            rate: adam.rate,
                            momentum: MOMENTUM,
                            weight_decay: adam.weight_decay,
                            gradient_scale: adam.gradient_scale,
                            precision: rates.precision,
                        };
                        let size = [trained.shape[0], trained.shape[1]];
                        muon.step(pool, size, weights, gradients, momentum, room);
                    }
                }
            });
        }
    }

    /// Writes all states into a folder.
    pub(crate) fn write(&self, folder: &Path, layout: &Layout) -> Result<(), TrainError> {
        let path = folder.join(STATES);
        let failed = |source| TrainError::Write { path: path.clone(), source };
        let io = |source| TrainError::Io { path: path.clone(), source };
        let mut writer = safetensors::Writer::new();
        writer.add_metadata("format", "pt").map_err(failed)?;
        let floats: Vec<_> =
            layout.parameters().zip(&self.states).flat_map(|((trained, _), states)| floats(trained, states)).collect();
        for (name, shape, _) in &floats {
            writer.add_tensor(name, shape, DataType::F32).map_err(failed)?;
        }
        let out = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
        let mut out = writer.start(out).map_err(failed)?;
        let mut bytes = Vec::new();
        for piece in floats.iter().flat_map(|(_, _, values)| values.chunks(PIECE)) {
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
            out.write_piece(&bytes).map_err(failed)?;
        }
        out.finish().map_err(failed)?.flush().map_err(io)?;
        if self.states.iter().any(|states| matches!(states, States::Codes { .. })) {
            let path = folder.join(CODES);
            let io = |source| TrainError::Io { path: path.clone(), source };
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
            for states in &self.states {
                if let States::Codes { mean, square, .. } = states {
                    out.write_all(mean).and_then(|()| out.write_all(square)).map_err(io)?;
                }
            }
            out.flush().map_err(io)?;
        }
        Ok(())
    }

    /// Reads what [`Optimizer::write`] wrote.
    pub(crate) fn read(&mut self, folder: &Path, layout: &Layout) -> Result<(), TrainError> {
        let tensors = safetensors::SafeTensors::open(folder.join(STATES))?;
        for ((trained, _), states) in layout.parameters().zip(&mut self.states) {
            for (name, shape, values) in floats_mut(trained, states) {
                checkpoint::read_tensor(&tensors, (&name, &shape), DataType::F32, values)?;
            }
        }
        let path = folder.join(CODES);
        let io = |source| TrainError::Io { path: path.clone(), source };
        let mut codes = None;
        for states in &mut self.states {
            if let States::Codes { mean, square, .. } = states {
                let file = match &mut codes {
                    Some(file) => file,
                    None => codes.insert(File::open(&path).map_err(io)?),
                };
                file.read_exact(mean).and_then(|()| file.read_exact(square)).map_err(io)?;
            }
        }
        Ok(())
    }
}

/// The most numbers of a matrix that is changed as a whole.
pub(crate) fn largest_whole(algorithm: Algorithm, layout: &Layout) -> usize {
    momenta(algorithm, layout).iter().map(|[rows, columns]| rows * columns).max().unwrap_or(0)
}

/// Sizes of the matrices that have a momentum.
fn momenta(algorithm: Algorithm, layout: &Layout) -> Vec<[usize; 2]> {
    let matrices = layout.parameters().filter(|(trained, _)| Form::of(algorithm, trained) == Form::Momentum);
    matrices.filter_map(|(trained, _)| trained.shape.as_slice().try_into().ok()).collect()
}

/// Names, shapes and numbers of the states that are in 32 bits.
fn floats<'a>(trained: &Trained, states: &'a States) -> Vec<(String, Vec<usize>, &'a [f32])> {
    let name = |what: &str| format!("{what}.{}", trained.name);
    let shape = || trained.shape.clone();
    match states {
        States::Means { mean, square } => {
            vec![(name("mean"), shape(), &**mean), (name("square"), shape(), &**square)]
        }
        States::None => Vec::new(),
        States::Momentum { momentum } => vec![(name("momentum"), shape(), &**momentum)],
        States::Codes { mean_scales, square_scales, .. } => vec![
            (name("mean_scales"), vec![mean_scales.len()], &**mean_scales),
            (name("square_scales"), vec![square_scales.len()], &**square_scales),
        ],
    }
}

fn floats_mut<'a>(trained: &Trained, states: &'a mut States) -> Vec<(String, Vec<usize>, &'a mut [f32])> {
    let name = |what: &str| format!("{what}.{}", trained.name);
    let shape = || trained.shape.clone();
    match states {
        States::Means { mean, square } => {
            vec![(name("mean"), shape(), &mut **mean), (name("square"), shape(), &mut **square)]
        }
        States::None => Vec::new(),
        States::Momentum { momentum } => vec![(name("momentum"), shape(), &mut **momentum)],
        States::Codes { mean_scales, square_scales, .. } => vec![
            (name("mean_scales"), vec![mean_scales.len()], &mut **mean_scales),
            (name("square_scales"), vec![square_scales.len()], &mut **square_scales),
        ],
    }
}
