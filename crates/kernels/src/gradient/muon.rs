//! Muon: the momentum of a matrix, made orthogonal (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>).
//!
//! A step moves a matrix along the nearest orthogonal one of its momentum, so that all of its directions learn alike. Five
//! rounds of a polynomial of odd degree, after Newton and Schulz, bring all singular values near 1 with products alone. The rate
//! is scaled by `0.2 √(larger side)` (Liu et al. 2025, arXiv 2502.16982), with which it is as large as AdamW's and takes
//! the same learning rate. The arithmetic is that of `torch.optim.Muon`, in f32 where PyTorch takes bf16.

use super::optimizer::square_sum;
use crate::gemm::{Factor, Output, Precision, Size, gemm, shared_len};
use crate::{Arena, Block, ThreadPool};

/// Of the polynomial `a x + b x³ + c x⁵`.
const POLYNOMIAL: [f32; 3] = [3.4445, -4.775, 2.0315];
const ROUNDS: usize = 5;
/// The least length that a momentum is divided by.
const LEAST: f64 = 1e-7;
/// Factor on the rate that makes steps as long as AdamW's.
const AS_ADAMW: f64 = 0.2;

/// One step of Muon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Learning rate of this step.
    pub rate: f32,
    /// Decay of the mean of gradients.
    pub momentum: f32,
    /// Share of a weight that a step takes away, times the rate.
    pub weight_decay: f32,
    /// Factor on the gradients: what clipping leaves of them.
    pub gradient_scale: f32,
    /// How exactly matrices are multiplied.
    pub precision: Precision,
}

/// Working memory for matrices up to some size.
#[derive(Debug, Default)]
pub struct MuonRoom {
    x: Block<f32>,
    next: Block<f32>,
    gram: Block<f32>,
    square: Block<f32>,
    shared: Block<f32>,
}

impl MuonRoom {
    /// Room for matrices of these sizes, rows and columns.
    #[must_use]
    pub fn new(arena: &mut Arena, sizes: &[[usize; 2]]) -> Self {
        let most =
            |of: &dyn Fn(usize, usize) -> usize| sizes.iter().map(|[a, b]| of(*a.min(b), *a.max(b))).max().unwrap_or(0);
        let shared = |small: usize, large: usize| {
            let sizes = [
                Size { m: small, n: small, k: large },
                Size { m: small, n: small, k: small },
                Size { m: small, n: large, k: small },
            ];
            sizes.map(shared_len).into_iter().max().unwrap_or(0)
        };
        let mut room = |len: usize| arena.take(len);
        let (whole, small) = (most(&|small, large| small * large), most(&|small, _| small * small));
        Self { x: room(whole), next: room(whole), gram: room(small), square: room(small), shared: room(most(&shared)) }
    }
}

impl Muon {
    /// Changes `weights` `[rows, columns]` by `gradients`, and their momentum with them.
    ///
    /// # Panics
    /// If the lengths do not agree, or the room is too small.
    pub fn step(
        &self,
        pool: &ThreadPool,
        [rows, columns]: [usize; 2],
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        room: &mut MuonRoom,
    ) {
        let len = rows * columns;
        assert!(
            weights.len() == len && gradients.len() == len && momentum.len() == len,
            "buffers of {rows} × {columns}"
        );
        let (small, large) = (rows.min(columns), rows.max(columns));
        let is_tall = rows > columns;
        let MuonRoom { x, next, gram, square, shared } = room;
        let (mut x, mut next) = (&mut x[..len], &mut next[..len]);
        let (gram, square) = (&mut gram[..small * small], &mut square[..small * small]);
        for (index, (momentum, gradient)) in momentum.iter_mut().zip(gradients).enumerate() {
            let gradient = gradient * self.gradient_scale;
            *momentum += (1.0 - self.momentum) * (gradient - *momentum);
            // Nesterov's: where the momentum will be after this gradient.
            let ahead = gradient + self.momentum * (*momentum - gradient);
            let place = if is_tall { index % columns * rows + index / columns } else { index };
            x[place] = ahead;
        }
        let length = square_sum(pool, x).sqrt().max(LEAST);
        let scale = (1.0 / length) as f32;
        x.iter_mut().for_each(|x| *x *= scale);
        let [a, b, c] = POLYNOMIAL;
        for _ in 0..ROUNDS {
            let size = Size { m: small, n: small, k: large };
            let factor = Factor::lines(x, large);
            gemm(pool, self.precision, size, factor, factor, gram, small, Output::Replace, shared);
            let size = Size { m: small, n: small, k: small };
            let factor = Factor::lines(gram, small);
            // It is its own transpose.
            gemm(pool, self.precision, size, factor, factor, square, small, Output::Replace, shared);
            square.iter_mut().zip(&*gram).for_each(|(square, gram)| *square = b * gram + c * *square);
            next.iter_mut().zip(&*x).for_each(|(next, x)| *next = a * x);
            let size = Size { m: small, n: large, k: small };
            let factors = (Factor::lines(square, small), Factor::across(x, large));
            gemm(pool, self.precision, size, factors.0, factors.1, next, large, Output::Add, shared);
            std::mem::swap(&mut x, &mut next);
        }
        let keep = 1.0 - self.rate * self.weight_decay;
        let rate = (f64::from(self.rate) * AS_ADAMW * (large as f64).sqrt()) as f32;
        for (index, weight) in weights.iter_mut().enumerate() {
            let place = if is_tall { index % columns * rows + index / columns } else { index };
            *weight = keep * *weight - rate * x[place];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps of `torch.optim.Muon(lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")` of
    /// PyTorch 2.15, its polynomial computed in double precision, on 3 × 5 and 5 × 3. In bf16, as PyTorch computes it,
    /// its own weights are up to 2e-4 away from these.
    const WIDE: [f32; 15] = [
        -0.497_650_1,
        -0.133_73,
        0.220_536_1,
        -0.408_342_1,
        -0.041_710_4,
        0.341_599_6,
        -0.298_284_7,
        0.065_101_4,
        0.422_177_8,
        -0.207_149_5,
        0.173_008_1,
        -0.466_083_9,
        -0.103_126_8,
        0.264_945_8,
        -0.378_047_9,
    ];
    const TALL: [f32; 15] = [
        -0.499_569,
        -0.134_771_7,
        0.224_772_2,
        -0.409_644_6,
        -0.033_274_7,
        0.341_579_3,
        -0.301_161,
        0.070_521_1,
        0.422_057_7,
        -0.197_821_8,
        0.169_256_2,
        -0.468_239_4,
        -0.102_445_3,
        0.260_448_6,
        -0.381_278_2,
    ];

    #[test]
    fn steps_are_those_of_pytorch() {
        for ([rows, columns], expected) in [([3, 5], WIDE), ([5, 3], TALL)] {
            for threads in [1, 2] {
                let pool = ThreadPool::new(threads).unwrap();
                let mut weights: Vec<f32> = (0..15).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
                let mut momentum = vec![0.0; 15];
                let sizes = [[rows, columns], [2, 2]];
                let mut room = Arena::fitting(|arena| MuonRoom::new(arena, &sizes)).unwrap();
                let muon = Muon {
                    rate: 0.02,
                    momentum: 0.95,
                    weight_decay: 0.1,
                    gradient_scale: 1.0,
                    precision: Precision::F32,
                };
                for step in 1..=3 {
                    let gradients: Vec<f32> =
                        (0..15).map(|i| ((i * 53 + step * 29) % 97) as f32 / 97.0 - 0.5).collect();
                    muon.step(&pool, [rows, columns], &mut weights, &gradients, &mut momentum, &mut room);
                }
                let worst = weights.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-6, "{rows} × {columns}: {worst}");
            }
        }
    }
}
