//! Guessing the next tokens of a text from the text itself.
//!
//! A pass over one row costs about as much as one over a few, since most of it is reading the weights. So where the end
//! of a text has stood in it before, what followed then is computed along with the next token, as a *draft*; the draft's
//! tokens that turn out to be what the sampler chooses anyway are a gain, and the others are dropped. Summaries,
//! edits, translations of tables and code repeat their prompt and themselves all the time (prompt lookup, Saxena 2023;
//! suffix matching as in Lempel and Ziv 1977). No second model takes part.
//!
//! The text is the same with and without. Every token is chosen by the sequence's own sampler, in order, from the
//! logits after the tokens before it: random numbers, penalties and constraints see nothing of drafts. And a pass with
//! drafts has no more than [`SAME_BITS_ROWS`] rows, for which kernels of quantised weights give each row the same bits
//! as alone.

use crate::blocks::BLOCK_TOKENS;

/// Up to so many rows of a pass, products with quantised weights sum each row in the same order as a single one.
pub(crate) const SAME_BITS_ROWS: usize = 15;

/// Tokens that must agree before what followed them is worth a guess.
const LEAST_MATCH: usize = 2;
/// Agreeing tokens after which no better place is looked for.
const ENOUGH_MATCH: usize = 16;
/// Tokens to look back at most.
const LOOK_BACK: usize = 512 * BLOCK_TOKENS;
/// Tokens of the first draft.
const FIRST_DRAFT: usize = 3;
/// Tokens to wait at most after drafts of which nothing was right.
const LONGEST_PAUSE: usize = 64;

/// How well guessing went in one text, and how far to go next.
#[derive(Clone, Debug)]
pub(crate) struct Drafter {
    /// Tokens of the next draft.
    length: usize,
    /// Passes to sit out.
    pause: usize,
    /// Drafts in a row of which nothing was right.
    misses: u32,
}

impl Default for Drafter {
    fn default() -> Self {
        Self { length: FIRST_DRAFT, pause: 0, misses: 0 }
    }
}

impl Drafter {
    /// Appends to `out` up to `most` tokens that may follow `tokens`, and returns how many.
    pub(crate) fn draft(&mut self, tokens: &[u32], most: usize, out: &mut Vec<u32>) -> usize {
        if self.pause > 0 {
            self.pause -= 1;
            return 0;
        }
        let count = self.length.min(most);
        if count == 0 {
            return 0;
        }
        // What followed may be shorter than what is wanted: then the text repeats itself, and goes on repeating.
        let Some(period) = last_period(tokens) else { return 0 };
        let followed = tokens.get(tokens.len() - period..).unwrap_or_default();
        out.extend(followed.iter().cycle().take(count));
        count
    }

    /// Learns how many tokens of a draft were right.
    pub(crate) fn learn(&mut self, drafted: usize, right: usize) {
        if drafted == 0 {
            return;
        }
        if right == 0 {
            self.misses += 1;
            self.pause = LONGEST_PAUSE.min(1 << self.misses.min(16));
            self.length = FIRST_DRAFT - 1;
            return;
        }
        self.misses = 0;
        self.length = if right == drafted { SAME_BITS_ROWS.min(2 * drafted.max(self.length / 2)) } else { right + 1 };
    }
}

/// How far back the place lies where the text last stood as it stands now: the longest agreement, and of equal ones the
/// latest.
fn last_period(tokens: &[u32]) -> Option<usize> {
    let tokens = tokens.get(tokens.len().saturating_sub(LOOK_BACK)..)?;
    let last = tokens.last()?;
    let mut best = (LEAST_MATCH - 1, None);
    for end in (1..tokens.len()).rev() {
        let earlier = tokens.get(..end)?;
        if earlier.last() != Some(last) {
            continue;
        }
        let pairs = earlier.iter().rev().zip(tokens.iter().rev());
        let matched = pairs.take(ENOUGH_MATCH).take_while(|(a, b)| a == b).count();
        if matched > best.0 {
            best = (matched, Some(tokens.len() - end));
            if matched == ENOUGH_MATCH {
                break;
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(tokens: &[u32], most: usize) -> Vec<u32> {
        let mut drafter = Drafter { length: 8, ..Drafter::default() };
        let mut out = Vec::new();
        assert_eq!(drafter.draft(tokens, most, &mut out), out.len());
        out
    }

    #[test]
    fn what_followed_the_longest_match_is_guessed() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 9, 2, 3], 3), [4, 5, 9]);
        assert_eq!(draft(&[1, 2, 3, 7, 0, 2, 3, 8, 5, 1, 2, 3], 1), [7], "three tokens agree, not only two");
        assert_eq!(draft(&[5, 2, 3, 7, 6, 2, 3, 8, 9, 2, 3], 1), [8], "of equal matches the latest");
        assert_eq!(draft(&[1, 2, 3, 4], 5), [] as [u32; 0]);
        assert_eq!(draft(&[7, 1, 2, 8, 2], 5), [] as [u32; 0], "one token alone says nothing");
        assert_eq!(draft(&[], 5), [] as [u32; 0]);
        assert_eq!(draft(&[1, 2, 1, 2], 0), [] as [u32; 0]);
    }

    #[test]
    fn a_repeating_text_goes_on_repeating() {
        assert_eq!(draft(&[9, 1, 2, 3, 1, 2, 3, 1, 2], 7), [3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(draft(&[4, 4, 4], 4), [4; 4]);
    }

    #[test]
    fn success_lengthens_drafts_and_failure_stops_them() {
        let mut drafter = Drafter::default();
        let mut lengths = Vec::new();
        for _ in 0..5 {
            let count = drafter.draft(&[1; 40], 100, &mut Vec::new());
            drafter.learn(count, count);
            lengths.push(count);
        }
        assert_eq!(lengths, [3, 6, 12, 15, 15]);
        drafter.learn(15, 4);
        assert_eq!(drafter.draft(&[1; 40], 100, &mut Vec::new()), 5);
        // Where nothing is ever right, drafts become rare.
        let mut drafts = 0;
        for _ in 0..300 {
            let count = drafter.draft(&[1; 40], 100, &mut Vec::new());
            drafter.learn(count, 0);
            drafts += count;
        }
        assert!(drafts < 25, "{drafts} tokens were guessed in vain");
    }
}
