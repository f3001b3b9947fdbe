//! Paragraphs by topic: a text is parted where the similarity of neighbouring sentences dips.
//!
//! Between any two sentences lies a gap. What is said before it and after it (up to [`WINDOW`] sentences on each side)
//! is compared by the cosine of their embeddings; the *depth* of a gap is how far one must climb from its similarity to
//! the nearest peaks on both sides (Hearst, "TextTiling", 1997). Deep gaps are borders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parameters::within;
use super::sentences::sentences_up_to;
use super::status::{text_empty, too_long};
use crate::ApiError;

/// Sentences on each side of a gap that are compared.
const WINDOW: usize = 2;
/// The most characters of a text.
pub(crate) const MAX_CHARACTERS: usize = 120_000;
/// The most sentences of a text; each one is embedded.
const MAX_SENTENCES: usize = 4096;
/// How many standard deviations above the mean a gap lies, at least, to be a border while `alpha` is 0.
const DEPTH_AT_ZERO: f32 = 0.5;

/// A request.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ClovaSegmentationRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SegmentationRequest {
    /// The text: 1 to 120,000 characters.
    pub(crate) text: String,
    /// -1.5 to 1.5, larger for more paragraphs, or -100 for automatic; 0.
    #[serde(default)]
    pub(crate) alpha: Option<f32>,
    /// The number of paragraphs, or -1 for as many as `alpha` makes; -1.
    #[serde(default)]
    pub(crate) seg_cnt: Option<i64>,
    /// Merge and part paragraphs by length afterwards; false.
    #[serde(default)]
    pub(crate) post_process: Option<bool>,
    /// The most characters of a paragraph then; 1,000.
    #[serde(default)]
    pub(crate) post_process_max_size: Option<i64>,
    /// The fewest characters of a paragraph then, or -1 for no bound; 300.
    #[serde(default)]
    pub(crate) post_process_min_size: Option<i64>,
}

/// The paragraphs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ClovaSegmentationResult)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SegmentationResult {
    /// The sentences of each paragraph.
    pub(crate) topic_seg: Vec<Vec<String>>,
    /// The numbers of these sentences, from 0.
    pub(crate) span: Vec<Vec<usize>>,
    /// Tokens of the text.
    pub(crate) input_tokens: usize,
}

/// How to part a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    /// `None` is automatic.
    pub(crate) alpha: Option<f32>,
    /// Paragraphs, where their number is fixed.
    pub(crate) count: Option<usize>,
    /// The fewest and the most characters of a paragraph, where they matter.
    pub(crate) sizes: Option<(usize, usize)>,
}

impl SegmentationRequest {
    /// Checks all ranges.
    ///
    /// # Errors
    /// [`ApiError`] for the first field that is wrong.
    pub(crate) fn settings(&self) -> Result<Settings, ApiError> {
        check_length("text", self.text.chars().count(), MAX_CHARACTERS)?;
        if self.text.trim().is_empty() {
            return Err(text_empty("text"));
        }
        let alpha = self.alpha.unwrap_or(0.0);
        let alpha = if alpha == -100.0 { None } else { Some(within("alpha", alpha, -1.5, 1.5)?) };
        let sizes = sizes(
            ("postProcessMinSize", self.post_process_min_size),
            ("postProcessMaxSize", self.post_process_max_size),
            MAX_CHARACTERS,
        )?;
        let sizes = (self.post_process == Some(true)).then_some(sizes);
        Ok(Settings { alpha, count: segment_count("segCnt", self.seg_cnt)?, sizes })
    }
}

/// The number of segments: `None` for -1.
pub(crate) fn segment_count(field: &str, count: Option<i64>) -> Result<Option<usize>, ApiError> {
    match count.unwrap_or(-1) {
        -1 => Ok(None),
        count => {
            let count = within(field, count, 1, MAX_CHARACTERS as i64)?;
            Ok(usize::try_from(count).ok())
        }
    }
}

/// The fewest and the most characters of a segment; -1 is no lower bound.
pub(crate) fn sizes(
    (min_field, min): (&str, Option<i64>),
    (max_field, max): (&str, Option<i64>),
    most: usize,
) -> Result<(usize, usize), ApiError> {
    let max = within(max_field, max.unwrap_or(1000), 1, most as i64)?;
    let min = match min {
        // The default gives way to a smaller maximum; a given value does not.
        None => max.min(300),
        Some(-1) => 0,
        Some(min) => within(min_field, min, 0, max)?,
    };
    Ok((usize::try_from(min).unwrap_or(0), usize::try_from(max).unwrap_or(most)))
}

/// Refuses a text that is too long.
pub(crate) fn check_length(field: &str, characters: usize, most: usize) -> Result<(), ApiError> {
    if characters > most {
        let reason = format!("{field} has {characters} characters (allowed: 1 to {most})");
        return Err(too_long(field, reason));
    }
    Ok(())
}

/// The sentences that are to be embedded.
///
/// # Errors
/// `context_length_exceeded` where there are too many.
pub(crate) fn sentences_of<'a>(text: &'a str, settings: &Settings) -> Result<Vec<&'a str>, ApiError> {
    let sentences = sentences_up_to(text, settings.sizes.map_or(MAX_CHARACTERS, |(_, max)| max));
    if sentences.len() > MAX_SENTENCES {
        let reason = format!("the text has {} sentences (allowed: 1 to {MAX_SENTENCES})", sentences.len());
        return Err(too_long("text", reason));
    }
    Ok(sentences)
}

/// Parts sentences into paragraphs. `lengths` holds the characters of each sentence, `embeddings` their vectors, of any
/// length that is the same for all. The result holds the first sentence of every paragraph, beginning with 0.
#[must_use]
pub(crate) fn segment(lengths: &[usize], embeddings: &[Vec<f32>], settings: &Settings) -> Vec<usize> {
    if lengths.is_empty() {
        return Vec::new();
    }
    let similarities = similarities(embeddings);
    let depths = depths(&similarities);
    let mut borders = vec![false; depths.len()];
    match settings.count {
        Some(count) => {
            let mut order: Vec<usize> = (0..depths.len()).collect();
            order.sort_by(|a, b| value(&depths, *b).total_cmp(&value(&depths, *a)));
            for gap in order.into_iter().take(count.saturating_sub(1)) {
                set(&mut borders, gap, true);
            }
        }
        None => {
            let threshold = threshold(&depths, settings.alpha);
            for (border, depth) in borders.iter_mut().zip(&depths) {
                *border = *depth > 0.0 && *depth >= threshold;
            }
        }
    }
    if let Some((min, max)) = settings.sizes {
        fit_sizes(&mut borders, lengths, &similarities, min, max);
    }
    let inner = borders.iter().enumerate().filter(|(_, border)| **border).map(|(gap, _)| gap + 1);
    std::iter::once(0).chain(inner).collect()
}

/// The similarity of both sides of each gap.
fn similarities(embeddings: &[Vec<f32>]) -> Vec<f32> {
    let mean = |sentences: &[Vec<f32>]| {
        let mut sum = vec![0.0_f32; embeddings.first().map_or(0, Vec::len)];
        for sentence in sentences {
            for (total, element) in sum.iter_mut().zip(sentence) {
                *total += element;
            }
        }
        sum
    };
    (1..embeddings.len())
        .map(|gap| {
            let before = embeddings.get(gap.saturating_sub(WINDOW)..gap).unwrap_or_default();
            let after = embeddings.get(gap..(gap + WINDOW).min(embeddings.len())).unwrap_or_default();
            cosine(&mean(before), &mean(after))
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

/// How deep each gap lies below the nearest peaks.
fn depths(similarities: &[f32]) -> Vec<f32> {
    let climb = |gap: usize, path: &mut dyn Iterator<Item = usize>| {
        let mut peak = value(similarities, gap);
        for other in path {
            if value(similarities, other) < peak {
                break;
            }
            peak = value(similarities, other);
        }
        peak
    };
    (0..similarities.len())
        .map(|gap| {
            let left = climb(gap, &mut (0..gap).rev());
            let right = climb(gap, &mut (gap + 1..similarities.len()));
            left + right - 2.0 * value(similarities, gap)
        })
        .collect()
}

/// The least depth of a border.
fn threshold(depths: &[f32], alpha: Option<f32>) -> f32 {
    let count = depths.len().max(1) as f32;
    let mean = depths.iter().sum::<f32>() / count;
    let deviation = (depths.iter().map(|depth| (depth - mean).powi(2)).sum::<f32>() / count).sqrt();
    match alpha {
        Some(alpha) => mean + (DEPTH_AT_ZERO - alpha) * deviation,
        // Between the deep gaps and the others: the two groups that differ most from each other (Otsu's method).
        None => best_parting(depths).unwrap_or(mean),
    }
}

/// The value that parts `values` into two groups with the largest variance between them.
fn best_parting(values: &[f32]) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let total: f32 = sorted.iter().sum();
    let mut below = 0.0;
    let mut best = None;
    for (index, pair) in sorted.windows(2).enumerate() {
        let (&[low, high], count) = (<&[f32; 2]>::try_from(pair).ok()?, (index + 1) as f32);
        below += low;
        let rest = sorted.len() as f32 - count;
        let between = count * rest * (below / count - (total - below) / rest).powi(2);
        if high > low && best.is_none_or(|(most, _)| between > most) {
            best = Some((between, high));
        }
    }
    best.map(|(_, threshold)| threshold)
}

/// Removes borders until paragraphs have at least `min` characters, where that does not make them exceed `max`, then
/// sets borders until none has more than `max`. A single sentence is never parted.
fn fit_sizes(borders: &mut [bool], lengths: &[usize], similarities: &[f32], min: usize, max: usize) {
    let first_of = |borders: &[bool], at: usize| {
        (0..at).rev().find(|gap| borders.get(*gap) == Some(&true)).map_or(0, |gap| gap + 1)
    };
    let end_of = |borders: &[bool], at: usize| {
        (at..borders.len()).find(|gap| borders.get(*gap) == Some(&true)).map_or(lengths.len(), |gap| gap + 1)
    };
    // Sentences of a paragraph are joined by a space.
    let size = |first: usize, end: usize| {
        lengths.get(first..end).unwrap_or_default().iter().sum::<usize>() + (end - first).saturating_sub(1)
    };
    let mut start = 0;
    while start < lengths.len() {
        let end = end_of(borders, start);
        if size(start, end) >= min {
            start = end;
            continue;
        }
        // Too short: join the neighbour that is more similar, if the two fit.
        let left = start.checked_sub(1).map(|gap| (gap, size(first_of(borders, gap), end)));
        let right = (end < lengths.len()).then(|| (end - 1, size(start, end_of(borders, end))));
        let fitting = [left, right].into_iter().flatten().filter(|(_, size)| *size <= max);
        match fitting.max_by(|(a, _), (b, _)| value(similarities, *a).total_cmp(&value(similarities, *b))) {
            Some((gap, _)) => {
                set(borders, gap, false);
                start = first_of(borders, gap);
            }
            None => start = end,
        }
    }
    let mut start = 0;
    while start < lengths.len() {
        let end = end_of(borders, start);
        if size(start, end) <= max || end - start < 2 {
            start = end;
            continue;
        }
        // Too long: part it at the weakest gap that leaves both sides long enough, or the first side as full as may be.
        let weakest = (start..end - 1)
            .filter(|gap| size(start, gap + 1) >= min && size(gap + 1, end) >= min && size(start, gap + 1) <= max)
            .min_by(|a, b| value(similarities, *a).total_cmp(&value(similarities, *b)));
        let fullest = || (start..end - 1).rev().find(|gap| size(start, gap + 1) <= max);
        set(borders, weakest.or_else(fullest).unwrap_or(start), true);
        if size(start, end_of(borders, start)) <= max {
            start = end_of(borders, start);
        }
    }
}

fn value(values: &[f32], index: usize) -> f32 {
    values.get(index).copied().unwrap_or_default()
}

fn set(borders: &mut [bool], gap: usize, border: bool) {
    if let Some(entry) = borders.get_mut(gap) {
        *entry = border;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;
    use proptest::prelude::*;

    /// Three topics of four sentences each: vectors near three axes.
    fn topics() -> Vec<Vec<f32>> {
        let near = |axis: usize, noise: f32| (0..3).map(|i| if i == axis { 1.0 } else { noise }).collect();
        (0..12).map(|i| near(i / 4, 0.1 + 0.02 * (i % 3) as f32)).collect()
    }

    const PLAIN: Settings = Settings { alpha: Some(0.0), count: None, sizes: None };

    #[test]
    fn topics_are_found() {
        let lengths = [10; 12];
        assert_eq!(segment(&lengths, &topics(), &PLAIN), [0, 4, 8]);
        assert_eq!(segment(&lengths, &topics(), &Settings { alpha: None, ..PLAIN }), [0, 4, 8]);
        assert_eq!(segment(&lengths, &topics(), &Settings { count: Some(3), ..PLAIN }), [0, 4, 8]);
        assert_eq!(segment(&lengths, &topics(), &Settings { count: Some(1), ..PLAIN }), [0]);
        assert_eq!(segment(&[5], &[vec![1.0]], &PLAIN), [0]);
        assert_eq!(segment(&[], &[], &PLAIN), Vec::<usize>::new());
    }

    #[test]
    fn a_larger_alpha_parts_more() {
        let counts: Vec<usize> = [-1.5, -0.5, 0.0, 0.5, 1.5]
            .iter()
            .map(|alpha| segment(&[10; 12], &topics(), &Settings { alpha: Some(*alpha), ..PLAIN }).len())
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert!(counts[4] > counts[0], "{counts:?}");
    }

    #[test]
    fn sizes_merge_and_part() {
        let sized = |min, max| segment(&[10; 12], &topics(), &Settings { sizes: Some((min, max)), ..PLAIN });
        // Four sentences of ten characters and three spaces are 43.
        assert_eq!(sized(0, 43), [0, 4, 8]);
        assert_eq!(sized(44, 200).len(), 1);
        assert!(sized(0, 21).len() >= 6);
        // What cannot be merged within the maximum stays short.
        assert_eq!(sized(44, 60), [0, 4, 8]);
    }

    proptest! {
        #[test]
        fn every_paragraph_fits(
            lengths in prop::collection::vec(1_usize..40, 1..30),
            min in 0_usize..60,
            more in 0_usize..60,
            seed in 0_u32..1000,
        ) {
            let embeddings: Vec<Vec<f32>> = (0..lengths.len())
                .map(|i| (0..4).map(|j| ((seed as f32 + 1.3) * (i * 7 + j * 3 + 1) as f32).sin()).collect())
                .collect();
            let max = (min + more).max(40);
            let settings = Settings { sizes: Some((min, max)), ..PLAIN };
            let starts = segment(&lengths, &embeddings, &settings);
            prop_assert_eq!(starts[0], 0);
            prop_assert!(starts.is_sorted() && starts.windows(2).all(|pair| pair[0] < pair[1]));
            let ends = starts.iter().skip(1).copied().chain([lengths.len()]);
            for (start, end) in starts.iter().copied().zip(ends) {
                let size = lengths[start..end].iter().sum::<usize>() + end - start - 1;
                prop_assert!(size <= max, "{} characters, at most {}", size, max);
            }
        }
    }

    #[test]
    fn every_range_has_two_ends() {
        let settings = |change: &str| {
            let body = format!(r#"{{"text":"가. 나."{change}}}"#);
            parse::<SegmentationRequest>(body.as_bytes()).and_then(|request| request.settings())
        };
        assert_eq!(settings("").unwrap(), PLAIN);
        assert_eq!(settings(r#","alpha":-100"#).unwrap().alpha, None);
        let sized = settings(r#","postProcess":true,"postProcessMaxSize":200"#).unwrap();
        assert_eq!(sized.sizes, Some((200, 200)));
        assert_eq!(settings(r#","postProcess":true,"postProcessMinSize":-1"#).unwrap().sizes, Some((0, 1000)));
        for (field, bad) in [
            ("alpha", "1.6"),
            ("alpha", "-99"),
            ("segCnt", "0"),
            ("segCnt", "-2"),
            ("postProcessMaxSize", "0"),
            ("postProcessMinSize", "1001"),
            ("postProcessMinSize", "-2"),
        ] {
            let error = settings(&format!(r#","{field}":{bad}"#)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
        }
        let empty = parse::<SegmentationRequest>(br#"{"text":" "}"#).unwrap().settings().unwrap_err();
        assert_eq!(empty.code, "text_empty");
        let long = SegmentationRequest { text: "가".repeat(120_001), ..parse(br#"{"text":"a"}"#).unwrap() };
        assert_eq!(long.settings().unwrap_err().code, "context_length_exceeded");
    }
}
