//! The weights that are trained, as memory holds them between steps.
//!
//! | `weights` | a matrix | bytes a weight | what products take |
//! |---|---|---|---|
//! | `f32` | floats | 4 | floats, as exactly as `precision` says |
//! | `halves` | floats in two halves of 16 bits | 2 + 2 | the upper half, a bf16 number |
//! | `bf16` | bf16 numbers, to which each step rounds by chance | 2 | these |
//!
//! What is no matrix (norms, biases) is a float everywhere. The optimizer sees floats: of halves one window at a time.

use std::ops::Range;

use saem_kernels::gradient::{BLOCK, from_halves, into_halves, round_by_chance};
use saem_kernels::{Arena, Block, DataType, ThreadPool};

use crate::TrainError;
use crate::layout::Layout;
use crate::optimizer::{Algorithm, largest_whole};
use crate::recipe::WeightFormat;

/// Numbers of the window, where no matrix is changed as a whole.
const WINDOW: usize = 1 << 18;
const _: () = assert!(WINDOW.is_multiple_of(BLOCK), "an optimizer's blocks do not lie in two windows");
/// Bytes of a half.
const HALF: usize = 2;

/// The trained weights of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a>(View<'a>);

#[derive(Clone, Copy, Debug)]
enum View<'a> {
    Floats(&'a [f32]),
    Halves(&'a Halves),
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self(View::Floats(values))
    }
}

impl<'a> From<&'a Vec<f32>> for Values<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self(View::Floats(values))
    }
}

impl<'a> From<&'a Block<f32>> for Values<'a> {
    fn from(values: &'a Block<f32>) -> Self {
        Self(View::Floats(values))
    }
}

impl<'a> From<&'a Master> for Values<'a> {
    fn from(master: &'a Master) -> Self {
        match master {
            Master::Floats(values) => values.into(),
            Master::Halves(halves) => Self(View::Halves(halves)),
        }
    }
}

impl<'a> Values<'a> {
    /// Of a pass without any.
    pub(crate) const NONE: Self = Self(View::Floats(&[]));

    /// The floats of a parameter: of a norm or a bias, or of whatever a method adds.
    pub(crate) fn floats(self, slot: &Range<usize>) -> &'a [f32] {
        match self.0 {
            View::Floats(values) => &values[slot.clone()],
            View::Halves(halves) => halves.vector(slot).map_or(&[], |range| &halves.vectors[range]),
        }
    }

    /// A matrix as floats, or as it is stored.
    pub(crate) fn matrix(self, slot: &Range<usize>) -> Result<&'a [f32], (DataType, &'a [u8])> {
        match self.0 {
            View::Floats(values) => Ok(&values[slot.clone()]),
            View::Halves(halves) => Err((DataType::Bf16, &halves.high[bytes(slot)])),
        }
    }
}

/// The weights between steps.
#[derive(Debug)]
pub(crate) enum Master {
    Floats(Block<f32>),
    Halves(Halves),
}

#[derive(Debug)]
pub(crate) struct Halves {
    /// Upper halves of all numbers; those of matrices count.
    high: Block<u8>,
    /// Lower halves, or nothing where weights are bf16 numbers.
    low: Block<u8>,
    /// What is no matrix, one parameter after the other.
    vectors: Block<f32>,
    /// Where these begin, among all numbers and among themselves, in order.
    starts: Vec<(usize, usize)>,
    /// Floats of a part of a matrix while it is changed.
    window: Block<f32>,
}

impl Master {
    /// Zeros, for this algorithm to change. What is trained beside weights that stay is little, and floats.
    pub(crate) fn new(arena: &mut Arena, layout: &Layout, format: WeightFormat, algorithm: Algorithm) -> Self {
        if format == WeightFormat::F32 || !layout.frozen().is_empty() {
            return Self::Floats(arena.take(layout.len()));
        }
        let (mut starts, mut len) = (Vec::new(), 0);
        for (_, slot) in layout.parameters().filter(|(trained, _)| !trained.is_matrix()) {
            starts.push((slot.start, len));
            len += slot.len();
        }
        let low = if format == WeightFormat::Halves { layout.len() } else { 0 };
        Self::Halves(Halves {
            high: arena.take(HALF * layout.len()),
            low: arena.take(HALF * low),
            vectors: arena.take(len),
            starts,
            window: arena.take(largest_whole(algorithm, layout).next_multiple_of(BLOCK).max(WINDOW)),
        })
    }

    /// Bytes that [`Master::new`] takes.
    pub(crate) fn bytes(layout: &Layout, format: WeightFormat, algorithm: Algorithm) -> u64 {
        Arena::count(|arena| Self::new(arena, layout, format, algorithm)) as u64
    }

    /// All weights, where they are floats; otherwise none.
    pub(crate) fn floats(&self) -> &[f32] {
        if let Self::Floats(values) = self { values } else { &[] }
    }

    /// As [`Master::floats`], to be changed.
    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        if let Self::Floats(values) = self { values } else { &mut [] }
    }

    /// Has all weights filled, as floats: in `room`, which has a number for each of them and is zeros, where they are kept
    /// otherwise. Those that are rounded by chance are so by `key`.
    pub(crate) fn fill(
        &mut self,
        pool: &ThreadPool,
        layout: &Layout,
        key: u32,
        room: &mut [f32],
        fill: &mut dyn FnMut(&mut [f32]) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        if let Self::Floats(values) = self {
            return fill(values);
        }
        fill(room)?;
        for (_, slot) in layout.parameters() {
            let from = &room[slot.clone()];
            self.change(pool, &slot, key, &mut |part, to| to.copy_from_slice(&from[part]));
        }
        Ok(())
    }

    /// Has a parameter changed, as floats, in parts: which of its numbers these are, and the numbers. A matrix that
    /// the algorithm changes as a whole is one part. Those that are rounded by chance are so by `key`.
    pub(crate) fn change(
        &mut self,
        pool: &ThreadPool,
        slot: &Range<usize>,
        key: u32,
        change: &mut dyn FnMut(Range<usize>, &mut [f32]),
    ) {
        let halves = match self {
            Self::Floats(values) => return change(0..slot.len(), &mut values[slot.clone()]),
            Self::Halves(halves) => halves,
        };
        let is_rounded = halves.low.is_empty();
        let change = &mut |part: Range<usize>, numbers: &mut [f32]| {
            let first = slot.start + part.start;
            change(part, numbers);
            if is_rounded {
                round_by_chance(pool, numbers, first, key);
            }
        };
        if let Some(range) = halves.vector(slot) {
            return change(0..slot.len(), &mut halves.vectors[range]);
        }
        let Halves { high, low, window, .. } = halves;
        for start in slot.clone().step_by(window.len()) {
            let part = start..slot.end.min(start + window.len());
            let numbers = &mut window[..part.len()];
            let high = &mut high[bytes(&part)];
            let low = if is_rounded { &mut [] } else { &mut low[bytes(&part)] };
            from_halves(pool, high, low, numbers);
            change(start - slot.start..part.end - slot.start, numbers);
            into_halves(pool, numbers, high, low);
        }
    }

    /// Copies numbers of a parameter, as floats.
    pub(crate) fn read(&self, pool: &ThreadPool, slot: &Range<usize>, part: Range<usize>, to: &mut [f32]) {
        let range = slot.start + part.start..slot.start + part.end;
        match self {
            Self::Halves(halves @ Halves { high, low, .. }) if halves.vector(slot).is_none() => {
                from_halves(pool, &high[bytes(&range)], low.get(bytes(&range)).unwrap_or_default(), to);
            }
            _ => to.copy_from_slice(&Values::from(self).floats(slot)[part]),
        }
    }
}

impl Halves {
    /// Where a parameter is among those that are no matrices, if it is none.
    fn vector(&self, slot: &Range<usize>) -> Option<Range<usize>> {
        let index = self.starts.binary_search_by_key(&slot.start, |(start, _)| *start).ok()?;
        let (_, first) = self.starts[index];
        Some(first..first + slot.len())
    }
}

fn bytes(slot: &Range<usize>) -> Range<usize> {
    HALF * slot.start..HALF * slot.end
}

#[cfg(test)]
mod tests {
    use saem_kernels::gemm::Precision;
    use saem_kernels::gradient::AdamW;
    use saem_model::Config;
    use serde_json::Value;

    use super::*;
    use crate::buffers::{Buffers, Recompute};
    use crate::frozen::Frozen;
    use crate::optimizer::{Optimizer, Rates};
    use crate::pass::{Batch, Decoder, Objective};
    use crate::random::Random;

    /// A decoder with experts and their corrections, whose embedding is larger than a window.
    fn decoder() -> Decoder {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/fixtures/exaone_moe/config.json");
        let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        json["vocab_size"] = (WINDOW / 20).into();
        let config = Config::from_hf(&json).unwrap();
        let layout = Layout::new(&config, true).unwrap();
        Decoder { layout, config, frozen: Frozen::default(), precision: Precision::F32 }
    }

    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed, 99);
        (0..len).map(|_| random.normal() as f32 * 0.05).collect()
    }

    /// Weights of a format, that began as these.
    fn master(decoder: &Decoder, format: WeightFormat, algorithm: Algorithm, first: &[f32]) -> (Master, Optimizer) {
        let pool = ThreadPool::new(2).unwrap();
        let (mut master, optimizer) = Arena::fitting(|arena| {
            (Master::new(arena, &decoder.layout, format, algorithm), Optimizer::new(arena, algorithm, &decoder.layout))
        })
        .unwrap();
        let mut room = vec![0.0; decoder.layout.len()];
        let fill = &mut |to: &mut [f32]| {
            to.copy_from_slice(first);
            Ok(())
        };
        master.fill(&pool, &decoder.layout, 3, &mut room, fill).unwrap();
        (master, optimizer)
    }

    /// All numbers that count, read in pieces.
    fn all(decoder: &Decoder, master: &Master) -> Vec<f32> {
        let pool = ThreadPool::new(1).unwrap();
        let mut values = vec![0.0; decoder.layout.len()];
        for (_, slot) in decoder.layout.parameters() {
            for start in (0..slot.len()).step_by(1000) {
                let part = start..slot.len().min(start + 1000);
                let to = &mut values[slot.start + part.start..slot.start + part.end];
                master.read(&pool, &slot, part, to);
            }
        }
        values
    }

    #[test]
    fn halves_are_changed_as_floats_are_to_the_bit() {
        let decoder = decoder();
        let pool = ThreadPool::new(2).unwrap();
        let len = decoder.layout.len();
        let first = numbers(len, 1);
        for algorithm in [Algorithm::AdamW, Algorithm::AdamW8bit, Algorithm::Muon] {
            let (mut floats, mut of_floats) = master(&decoder, WeightFormat::F32, algorithm, &first);
            let (mut split, mut of_split) = master(&decoder, WeightFormat::Halves, algorithm, &first);
            let (mut half, mut of_half) = master(&decoder, WeightFormat::Bf16, algorithm, &first);
            // What rounding by chance is: of floats, after each step.
            let (mut rounded, mut of_rounded) = master(&decoder, WeightFormat::F32, algorithm, &first);
            round_by_chance(&pool, rounded.floats_mut(), 0, 3);
            for step in 1..=4 {
                let gradients = numbers(len, 10 + step);
                let adam = AdamW {
                    rate: 0.01,
                    beta1: 0.9,
                    beta2: 0.95,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    step,
                    gradient_scale: 1.0,
                };
                let rates = Rates { adam, precision: Precision::F32, correction: 0.01, rounding: step as u32 };
                for (weights, optimizer) in [
                    (&mut floats, &mut of_floats),
                    (&mut split, &mut of_split),
                    (&mut half, &mut of_half),
                    (&mut rounded, &mut of_rounded),
                ] {
                    optimizer.step(&pool, &decoder.layout, &rates, weights, &gradients);
                }
                round_by_chance(&pool, rounded.floats_mut(), 0, step as u32);
            }
            assert!(all(&decoder, &split) == all(&decoder, &floats), "{algorithm:?}");
            assert!(all(&decoder, &half) == all(&decoder, &rounded), "{algorithm:?}");
            assert_ne!(all(&decoder, &floats), all(&decoder, &rounded));
        }
    }

    #[test]
    fn products_take_the_upper_half_and_norms_are_whole() {
        let decoder = decoder();
        let pool = ThreadPool::new(2).unwrap();
        let first = numbers(decoder.layout.len(), 2);
        let (split, _) = master(&decoder, WeightFormat::Halves, Algorithm::AdamW, &first);
        let mut near = first.clone();
        for (_, slot) in decoder.layout.parameters().filter(|(trained, _)| trained.is_matrix()) {
            near[slot].iter_mut().for_each(|weight| {
                *weight = f32::from_bits(weight.to_bits().wrapping_add(0x8000) & 0xffff_0000);
            });
        }
        assert!(decoder.layout.parameters().any(|(_, slot)| slot.len() > WINDOW), "a matrix has several windows");
        let tokens: Vec<u32> = (0..40).map(|index| index * 97 % 13_000).collect();
        let targets = tokens.iter().map(|token| Some((token + 1) % 13_000)).collect();
        let (documents, range) = (Vec::new(), 0..tokens.len());
        let mut batch = Batch { tokens, targets, documents, ..Batch::default() };
        batch.documents.push(range);
        let mut buffers = Buffers::new(&decoder, 40, Recompute::None).unwrap();
        let objective = Objective { factor: 1.0 / 40.0, ..Objective::default() };
        let mut pass = |weights: Values<'_>| {
            let mut gradients = vec![0.0; decoder.layout.len()];
            let loss = decoder.gradients(&pool, weights, &mut gradients, &batch, &objective, &mut buffers).unwrap();
            (loss, gradients)
        };
        let (halves, floats) = (pass((&split).into()), pass((&near).into()));
        assert_eq!(halves.0, floats.0);
        assert!(halves.1 == floats.1);
        assert_ne!(pass((&first).into()).0, floats.0);
    }

    #[test]
    fn halves_take_what_they_should() {
        let decoder = decoder();
        let len = decoder.layout.len() as u64;
        let bytes = |format| Master::bytes(&decoder.layout, format, Algorithm::AdamW);
        let slack = 4 * WINDOW as u64 + len / 20;
        assert!((4 * len..4 * len + 4096).contains(&bytes(WeightFormat::F32)));
        assert!((4 * len..4 * len + slack).contains(&bytes(WeightFormat::Halves)));
        assert!((2 * len..2 * len + slack).contains(&bytes(WeightFormat::Bf16)));
    }
}
