//! How fast the model computes: prompts and single tokens, apart, without sampling and text.

use std::time::{Duration, Instant};

use saem_kernels::attention::Span;

use crate::EngineError;
use crate::blocks::blocks_for;
use crate::forward::Forward;
use crate::output::{Control, rate};
use crate::sampler::largest;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of each prompt.
    pub prefill: usize,
    /// Tokens generated after it, by each sequence.
    pub decode: usize,
    /// Sequences at once.
    pub batch: usize,
    /// Runs of which the median is taken, after one that is dropped.
    pub repetitions: usize,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { prefill: 512, decode: 64, batch: 1, repetitions: 5 }
    }
}

impl BenchOptions {
    /// Blocks of cache that the measurement takes.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.batch.saturating_mul(blocks_for(self.prefill.saturating_add(self.decode)))
    }
}

/// What was measured: each figure a list, one entry for each run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BenchResult {
    /// Prompt tokens of all sequences in a second.
    pub prefill_runs: Vec<f64>,
    /// Generated tokens of all sequences in a second.
    pub decode_runs: Vec<f64>,
}

impl BenchResult {
    /// The median over all runs.
    #[must_use]
    pub fn prefill_tokens_per_second(&self) -> f64 {
        median(&self.prefill_runs)
    }

    /// The median over all runs.
    #[must_use]
    pub fn decode_tokens_per_second(&self) -> f64 {
        median(&self.decode_runs)
    }
}

/// The middle value, or the mean of the two in the middle; 0 for an empty list.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.get((sorted.len().max(1) - 1) / 2..=sorted.len() / 2).unwrap_or(&sorted);
    if middle.is_empty() { 0.0 } else { middle.iter().sum::<f64>() / middle.len() as f64 }
}

/// Runs the measurement. `progress` is told the runs done and in all, the dropped one included.
///
/// # Errors
/// Where the sequences do not fit the cache or the rows of a pass, or `progress` cancels.
pub fn bench(
    forward: &mut dyn Forward,
    options: &BenchOptions,
    progress: &mut dyn FnMut(usize, usize) -> Control,
) -> Result<BenchResult, EngineError> {
    let check = |parameter, value: usize, least: usize, most: usize| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(EngineError::Parameter { parameter, value: value.to_string(), expected: format!("{least} to {most}") })
    };
    check("prefill", options.prefill, 1, usize::MAX)?;
    check("batch", options.batch, 1, forward.max_rows())?;
    check("repetitions", options.repetitions, 1, 1_000)?;
    if options.blocks() > forward.blocks() {
        return Err(EngineError::CacheTooSmall { needed: options.blocks(), blocks: forward.blocks() });
    }
    forward.ensure_logit_rows(options.batch);
    let mut result = BenchResult::default();
    for run in 0..=options.repetitions {
        if progress(run, options.repetitions + 1) == Control::Cancel {
            return Err(EngineError::Cancelled);
        }
        let (prefill, decode) = once(forward, options)?;
        // The first run warms caches, page tables and clocks.
        if run > 0 {
            result.prefill_runs.push(rate(options.batch * options.prefill, prefill));
            result.decode_runs.push(rate(options.batch * options.decode, decode));
        }
    }
    progress(options.repetitions + 1, options.repetitions + 1);
    Ok(result)
}

fn once(forward: &mut dyn Forward, options: &BenchOptions) -> Result<(Duration, Duration), EngineError> {
    let (prompt, each) = (options.prefill, blocks_for(options.prefill + options.decode));
    let blocks: Vec<u32> = (0..options.blocks() as u32).collect();
    let table = |sequence: usize| blocks.get(sequence * each..(sequence + 1) * each).unwrap_or_default();
    let vocabulary = forward.vocabulary();
    let tokens = some_tokens(prompt, vocabulary);
    let mut next = vec![0; options.batch];
    let mut prefill = Duration::ZERO;
    // Rows of all prompts one after the other, cut into passes.
    let all = prompt * options.batch;
    let mut done = 0;
    while done < all {
        let rows = forward.max_rows().min(all - done);
        let (mut spans, mut batch, mut wanted, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        while batch.len() < rows {
            let (sequence, position) = ((done + batch.len()) / prompt, (done + batch.len()) % prompt);
            let count = (prompt - position).min(rows - batch.len());
            spans.push(Span { first_row: batch.len(), rows: count, first_position: position, blocks: table(sequence) });
            batch.extend_from_slice(tokens.get(position..position + count).unwrap_or_default());
            if position + count == prompt {
                wanted.push(batch.len() - 1);
                ends.push(sequence);
            }
        }
        let start = Instant::now();
        let logits = forward.forward(&batch, &spans, &wanted)?;
        prefill += start.elapsed();
        choose(logits, vocabulary, ends.into_iter(), &mut next);
        done += rows;
    }
    let mut decode = Duration::ZERO;
    let wanted: Vec<usize> = (0..options.batch).collect();
    for step in 0..options.decode {
        let span = |row: usize| Span { first_row: row, rows: 1, first_position: prompt + step, blocks: table(row) };
        let spans: Vec<Span<'_>> = (0..options.batch).map(span).collect();
        let start = Instant::now();
        let logits = forward.forward(&next, &spans, &wanted)?;
        decode += start.elapsed();
        choose(logits, vocabulary, 0..options.batch, &mut next);
    }
    Ok((prefill, decode))
}

/// The most probable token of each row becomes the next one of its sequence.
fn choose(logits: &[f32], vocabulary: usize, sequences: impl Iterator<Item = usize>, next: &mut [u32]) {
    for (row, sequence) in logits.chunks_exact(vocabulary).zip(sequences) {
        if let Some(next) = next.get_mut(sequence) {
            *next = largest(row).map_or(0, |best| best.token);
        }
    }
}

/// Ordinary tokens spread over the vocabulary, the same in every run.
fn some_tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    let (first, span) = if vocabulary > 3_000 { (1_000, vocabulary - 2_000) } else { (0, vocabulary.max(1)) };
    (0..count).map(|index| (first + index * 7_919 % span) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
