//! How well a model predicts a text, and the logits behind that.

use std::time::{Duration, Instant};

use saem_kernels::attention::Span;

use crate::blocks::blocks_for;
use crate::forward::{Forward, Vocabulary};
use crate::output::{Control, rate};
use crate::sampler::log_sum_exp;
use crate::{EngineError, Limits};

/// Memory for rows of logits while measuring.
const LOGIT_BYTES: usize = 64 << 20;

/// Which tokens of a text are scored, and with what before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// llama.cpp's convention: the text is cut into windows of a context each, which know nothing of one another; the
    /// second half of each is scored. Tokens that fill no whole window are left out.
    Halves,
    /// Windows advance by so many tokens and every token but the first is scored once, with at least a context less the
    /// stride before it (where there is so much).
    Stride(usize),
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerplexityOptions {
    /// Tokens of a window; at most the engine's context.
    pub context: usize,
    /// How windows lie.
    pub windows: Windows,
    /// Put in place of the first token of each window under [`Windows::Halves`], as llama.cpp does where a model
    /// wants a begin token.
    pub begin_token: Option<u32>,
}

/// The measurement so far, or in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    /// Tokens scored.
    pub tokens: usize,
    /// Bytes that these tokens stand for.
    pub bytes: usize,
    /// Mean negative log-likelihood of a token, in nats.
    pub mean_nll: f64,
    /// Standard error of that mean.
    pub standard_error: f64,
    /// Windows done, and windows in all.
    pub windows: (usize, usize),
    /// Tokens computed, those that were not scored included.
    pub computed: usize,
    /// Time taken.
    pub elapsed: Duration,
}

impl Perplexity {
    /// `e` to the mean negative log-likelihood.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.mean_nll.exp()
    }

    /// Bits that the model needs for a byte of the text: comparable between models whatever their tokens.
    #[must_use]
    pub fn bits_per_byte(&self) -> f64 {
        self.mean_nll * self.tokens as f64 / self.bytes as f64 / std::f64::consts::LN_2
    }

    /// Tokens computed in a second.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        rate(self.computed, self.elapsed)
    }
}

/// Scores `tokens`. `progress` is told after every window.
///
/// # Errors
/// Where the text is too short for a window, the windows do not fit the engine, or `progress` cancels.
pub fn perplexity(
    forward: &mut dyn Forward,
    vocabulary: &dyn Vocabulary,
    limits: &Limits,
    tokens: &[u32],
    options: &PerplexityOptions,
    progress: &mut dyn FnMut(&Perplexity) -> Control,
) -> Result<Perplexity, EngineError> {
    let most = limits.context.min(forward.blocks() * crate::blocks::BLOCK_TOKENS);
    if !(4..=most).contains(&options.context) {
        let (value, expected) = (options.context.to_string(), format!("4 to {most}"));
        return Err(EngineError::Parameter { parameter: "context", value, expected });
    }
    let windows = lay(tokens.len(), options)?;
    let started = Instant::now();
    let mut sums = Sums::default();
    let mut result = Perplexity { windows: (0, windows.len()), ..Perplexity::default() };
    for window in &windows {
        let Some(text) = tokens.get(window.start..window.end) else { continue };
        let mut text = text.to_vec();
        if let (Windows::Halves, Some(begin), Some(first)) = (options.windows, options.begin_token, text.first_mut()) {
            *first = begin;
        }
        let first_scored = window.scored - window.start;
        logits_for(forward, &text, first_scored - 1, &mut |position, logits| {
            let Some(next) = text.get(position + 1) else { return Ok(()) };
            let log_sum = log_sum_exp(logits).ok_or(EngineError::NotANumber { position })?;
            let logit = logits.get(*next as usize).copied().unwrap_or(f32::NEG_INFINITY);
            sums.add(log_sum - f64::from(logit));
            result.bytes += vocabulary.bytes(*next).len();
            Ok(())
        })?;
        (result.tokens, result.mean_nll, result.standard_error) = (sums.count, sums.mean(), sums.standard_error());
        result.windows.0 += 1;
        result.computed += text.len();
        result.elapsed = started.elapsed();
        if progress(&result) == Control::Cancel {
            return Err(EngineError::Cancelled);
        }
    }
    Ok(result)
}

/// A stretch of the text, and its first token that is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: usize,
    scored: usize,
    end: usize,
}

fn lay(tokens: usize, options: &PerplexityOptions) -> Result<Vec<Window>, EngineError> {
    let context = options.context;
    match options.windows {
        Windows::Halves => {
            if tokens < context {
                return Err(EngineError::TextTooShort { tokens, needed: context });
            }
            // The token at half is context for the first score, as in llama.cpp.
            let window = |index: usize| Window {
                start: index * context,
                scored: index * context + context / 2 + 1,
                end: (index + 1) * context,
            };
            Ok((0..tokens / context).map(window).collect())
        }
        Windows::Stride(stride) => {
            if !(1..context).contains(&stride) {
                let (value, expected) = (stride.to_string(), format!("1 to {}", context - 1));
                return Err(EngineError::Parameter { parameter: "stride", value, expected });
            }
            if tokens < 2 {
                return Err(EngineError::TextTooShort { tokens, needed: 2 });
            }
            let mut windows = vec![Window { start: 0, scored: 1, end: context.min(tokens) }];
            while let Some(last) = windows.last().filter(|last| last.end < tokens) {
                let end = (last.end + stride).min(tokens);
                windows.push(Window { start: end.saturating_sub(context), scored: last.end, end });
            }
            Ok(windows)
        }
    }
}

/// Mean and variance in one pass (Welford).
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: usize,
    mean: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    fn mean(&self) -> f64 {
        self.mean
    }

    fn standard_error(&self) -> f64 {
        let count = self.count as f64;
        if self.count < 2 { 0.0 } else { (self.squares / (count - 1.0) / count).sqrt() }
    }
}

/// Computes `tokens` as one sequence from the start and shows `visit` the logits of every position from `first` on,
/// in order. Memory is flat however long the text is: prompts go in chunks of rows, and no more rows of logits exist
/// at once than fit 64 MiB.
///
/// # Errors
/// Where the tokens do not fit the cache or are none of the vocabulary, and whatever `visit` returns.
pub fn logits_for(
    forward: &mut dyn Forward,
    tokens: &[u32],
    first: usize,
    visit: &mut dyn FnMut(usize, &[f32]) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let width = forward.vocabulary();
    let needed = blocks_for(tokens.len());
    if needed > forward.blocks() {
        return Err(EngineError::CacheTooSmall { needed, blocks: forward.blocks() });
    }
    if let Some(position) = tokens.iter().position(|token| *token as usize >= width) {
        let token = tokens.get(position).copied().unwrap_or_default();
        return Err(EngineError::UnknownToken { token, position, vocabulary: width });
    }
    let max_rows = forward.max_rows();
    let logit_rows =
        (LOGIT_BYTES / (4 * width.max(1))).clamp(1, max_rows).min(tokens.len().saturating_sub(first).max(1));
    forward.ensure_logit_rows(logit_rows);
    let blocks: Vec<u32> = (0..needed as u32).collect();
    let mut done = 0;
    while done < tokens.len() {
        let silent = first.saturating_sub(done).min(max_rows);
        let rows = if silent > 0 { silent } else { logit_rows.min(tokens.len() - done) };
        let wanted: Vec<usize> = if silent > 0 { Vec::new() } else { (0..rows).collect() };
        let spans = [Span { first_row: 0, rows, first_position: done, blocks: &blocks }];
        let logits = forward.forward(tokens.get(done..done + rows).unwrap_or_default(), &spans, &wanted)?;
        for (position, row) in (done..).zip(logits.chunks_exact(width)) {
            visit(position, row)?;
        }
        done += rows;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(windows: Windows) -> PerplexityOptions {
        PerplexityOptions { context: 8, windows, begin_token: None }
    }

    #[test]
    fn halves_as_llama_cpp_lays_them() {
        let windows = lay(19, &options(Windows::Halves)).unwrap();
        // A window of 8 scores 8 - 8 / 2 - 1 = 3 tokens.
        assert_eq!(windows, [Window { start: 0, scored: 5, end: 8 }, Window { start: 8, scored: 13, end: 16 }]);
        assert!(matches!(lay(7, &options(Windows::Halves)), Err(EngineError::TextTooShort { tokens: 7, needed: 8 })));
    }

    #[test]
    fn strides_score_every_token_once() {
        for tokens in 2..60 {
            for stride in 1..8 {
                let windows = lay(tokens, &options(Windows::Stride(stride))).unwrap();
                let mut next = 1;
                for window in windows {
                    assert_eq!(window.scored, next);
                    assert!(window.end - window.start <= 8 && window.scored > window.start);
                    assert!(window.start == 0 || window.scored - window.start >= 8 - stride);
                    next = window.end;
                }
                assert_eq!(next, tokens);
            }
        }
    }

    #[test]
    fn the_standard_error_by_hand() {
        let mut sums = Sums::default();
        [1.0, 2.0, 4.0].into_iter().for_each(|value| sums.add(value));
        assert!((sums.mean() - 7.0 / 3.0).abs() < 1e-12);
        assert!((sums.standard_error() - (7.0_f64 / 3.0 / 3.0).sqrt()).abs() < 1e-12);
    }
}
