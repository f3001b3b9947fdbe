//! Cutting texts into pieces of bounded size.
//!
//! A token's features depend on few neighbours, so a long text is cut into segments that are summed one by one: memory
//! does not grow with the text. Cuts depend on the text alone, so the same text has the same embedding in any company.

use std::ops::Range;

/// Tokens in a segment at most. The products of a segment use each weight this often; more would not fit the caches.
const SEGMENT: usize = 512;

/// A piece of a text, in places of the tokens of a whole group of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Which text of the group.
    pub(crate) index: usize,
    /// All tokens of the text.
    pub(crate) text: Range<usize>,
    /// Those of this segment.
    pub(crate) tokens: Range<usize>,
}

impl Segment {
    /// The segment with up to `reach` tokens of its text on either side.
    pub(crate) fn with_reach(&self, reach: usize) -> Range<usize> {
        let start = self.tokens.start.saturating_sub(reach).max(self.text.start);
        start..(self.tokens.end + reach).min(self.text.end)
    }
}

/// Cuts texts of these lengths, which lie one after the other.
pub(crate) fn segments(lengths: &[usize]) -> Vec<Segment> {
    let mut found = Vec::new();
    let mut start = 0;
    for (index, &length) in lengths.iter().enumerate() {
        let text = start..start + length;
        while start < text.end {
            let end = text.end.min(start + SEGMENT);
            found.push(Segment { index, text: text.clone(), tokens: start..end });
            start = end;
        }
    }
    found
}

/// Puts neighbouring segments together up to the size of one: short texts share the work.
pub(crate) fn batches(segments: &[Segment]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, segment) in segments.iter().enumerate() {
        tokens += segment.tokens.len();
        match found.last_mut() {
            Some(batch) if tokens <= SEGMENT => batch.end = index + 1,
            _ => {
                found.push(index..index + 1);
                tokens = segment.tokens.len();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_token_once_and_do_not_mix_texts() {
        let lengths = [3, 0, 128, 129, 1000, 5];
        let cut = segments(&lengths);
        let mut next = 0;
        for segment in &cut {
            assert_eq!(segment.tokens.start, next);
            assert!(segment.tokens.len() <= SEGMENT && !segment.tokens.is_empty());
            assert!(segment.text.start <= segment.tokens.start && segment.tokens.end <= segment.text.end);
            assert_eq!(segment.text.len(), lengths[segment.index]);
            next = segment.tokens.end;
        }
        assert_eq!(next, lengths.iter().sum::<usize>());
        let batches = batches(&cut);
        assert_eq!(batches.iter().map(Range::len).sum::<usize>(), cut.len());
        assert!(batches.windows(2).all(|pair| pair[0].end == pair[1].start));
        let size = |batch: &Range<usize>| cut[batch.clone()].iter().map(|segment| segment.tokens.len()).sum::<usize>();
        assert!(batches.iter().all(|batch| size(batch) <= SEGMENT));
    }

    #[test]
    fn a_reach_ends_with_its_text() {
        let segment = Segment { index: 0, text: 10..20, tokens: 11..14 };
        assert_eq!(segment.with_reach(2), 10..16);
        assert_eq!(Segment { tokens: 15..20, ..segment }.with_reach(4), 11..20);
    }
}
