//! Learning from preferences: DPO (Rafailov et al. 2023, arXiv 2305.18290).
//!
//! Of two answers to a prompt one was chosen. Let `l` be the logarithm of an answer's probability, less the same under the
//! model without its adapter. The loss of a pair is `-log sigmoid(beta (l chosen - l rejected))`, and its gradient is that
//! of both answers' own losses, each times a number that follows from both: so the likelihoods are computed first, and
//! then the pass is the one of any other batch, with a share for each row.

use saem_kernels::ThreadPool;

use crate::TrainError;
use crate::buffers::Buffers;
use crate::master::Values;
use crate::pass::{Batch, Decoder, Objective, Wanted};

/// What became of some pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Preferences {
    /// The sum of their losses.
    pub loss: f64,
    /// How many there were.
    pub pairs: usize,
    /// In how many the chosen answer gained on the rejected one.
    pub right: usize,
}

impl Decoder {
    /// Losses of pairs of texts, the chosen one before the rejected one; with gradients, adds `factor` times theirs.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn preferences<'w>(
        &self,
        pool: &ThreadPool,
        weights: impl Into<Values<'w>>,
        gradients: Option<&mut [f32]>,
        batch: &Batch,
        (beta, factor): (f64, f64),
        buffers: &mut Buffers,
    ) -> Result<Preferences, TrainError> {
        let weights = weights.into();
        let mut wanted = Wanted::of_targets(batch);
        let texts: Vec<usize> =
            wanted.rows.iter().map(|row| batch.documents.partition_point(|text| text.end <= *row)).collect();
        let mut gains = vec![0.0; batch.documents.len().next_multiple_of(2)];
        // Losses are the opposites of likelihoods.
        for (is_adapted, sign) in [(true, -1.0), (false, 1.0)] {
            wanted.is_adapted = is_adapted;
            let objective = Objective::default();
            let each = &mut |row: usize, loss: f32| gains[texts[row]] += sign * f64::from(loss);
            self.run(pool, weights, None, batch, &wanted, &objective, buffers, each)?;
        }
        let mut found = Preferences::default();
        let mut shares = Vec::with_capacity(gains.len());
        for [chosen, rejected] in gains.as_chunks().0 {
            let margin = beta * (chosen - rejected);
            // log(1 + exp(-margin)), without an overflow.
            found.loss += (-margin.abs()).exp().ln_1p() + (-margin).max(0.0);
            found.pairs += 1;
            found.right += usize::from(margin > 0.0);
            let share = beta * factor / (1.0 + margin.exp());
            shares.extend([share as f32, -share as f32]);
        }
        if gradients.is_some() {
            wanted.is_adapted = true;
            wanted.shares = texts.iter().map(|text| shares[*text]).collect();
            let objective = Objective { factor: 1.0, ..Objective::default() };
            self.run(pool, weights, gradients, batch, &wanted, &objective, buffers, &mut |_, _| {})?;
        }
        Ok(found)
    }
}
