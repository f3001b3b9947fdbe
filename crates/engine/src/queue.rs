//! Who waits, and whose turn it is.
//!
//! Every line is first come, first served; a line is a tenant's, or whatever a request names
//! ([`Request::line`](crate::Request::line)). Which line moves is decided by what each got: the rows computed for it are
//! counted, and the one that got least is next. So whoever brings a hundred requests at once delays another's single
//! one by a few, not by a hundred (the virtual token counter of "Fairness in Serving Large Language Models", Sheng et
//! al., 2024).
//!
//! Who comes back after a rest has no claim to the rows of that time, so it enters at the *fair level*: what a line
//! got that was there all along and took its even part. The level rises with every row computed, so whoever waits is
//! below all newcomers some day, and nobody starves.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::sequence::Sequence;

/// What one line got.
#[derive(Debug, Default)]
struct Share {
    /// Rows computed for it, or the fair level when it came.
    rows: f64,
    /// Its sequences that wait or run.
    sequences: usize,
}

/// What every line got.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    shares: HashMap<u64, Share>,
    /// Lines with sequences.
    present: usize,
    fair: f64,
}

impl Shares {
    /// A sequence joins a line.
    pub(crate) fn enter(&mut self, line: u64) {
        let share = self.shares.entry(line).or_default();
        if share.sequences == 0 {
            share.rows = share.rows.max(self.fair);
            self.present += 1;
        }
        share.sequences += 1;
    }

    /// A sequence of a line is done.
    pub(crate) fn leave(&mut self, line: u64) {
        let Some(share) = self.shares.get_mut(&line) else { return };
        share.sequences = share.sequences.saturating_sub(1);
        if share.sequences > 0 {
            return;
        }
        self.present -= 1;
        if self.present == 0 {
            (self.shares, self.fair) = (HashMap::new(), 0.0);
        } else if self.shares.len() > 2 * self.present + 64 {
            // Those below the fair level would be lifted to it anyway.
            self.shares.retain(|_, share| share.sequences > 0 || share.rows > self.fair);
        }
    }

    /// Rows are computed for a line that has sequences.
    pub(crate) fn charge(&mut self, line: u64, rows: usize) {
        if let Some(share) = self.shares.get_mut(&line) {
            share.rows += rows as f64;
            self.fair += rows as f64 / self.present.max(1) as f64;
        }
    }

    /// What a line got: less goes first.
    pub(crate) fn of(&self, line: u64) -> f64 {
        self.shares.get(&line).map_or(self.fair, |share| share.rows)
    }
}

/// The requests that wait, each as the sequence it begins with.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: BTreeMap<u64, VecDeque<Sequence>>,
    len: usize,
    /// Sequences that these requests become.
    places: usize,
}

impl Queue {
    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Requests of a line that wait.
    pub(crate) fn line_len(&self, line: u64) -> usize {
        self.lines.get(&line).map_or(0, VecDeque::len)
    }

    /// Sequences (candidates) of the requests that wait.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Puts a request at the end of its line.
    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.len += 1;
        self.places += 1 + sequence.siblings;
        self.lines.entry(sequence.line).or_default().push_back(sequence);
    }

    /// The request whose turn it is: of the line that got least, and among equals the oldest.
    pub(crate) fn next(&mut self, shares: &Shares) -> Option<&mut Sequence> {
        let line = self.turn(shares)?;
        self.lines.get_mut(&line)?.front_mut()
    }

    /// Takes out what [`Self::next`] shows.
    pub(crate) fn pop(&mut self, shares: &Shares) -> Option<Sequence> {
        let line = self.turn(shares)?;
        let waiting = self.lines.get_mut(&line)?;
        let sequence = waiting.pop_front()?;
        if waiting.is_empty() {
            self.lines.remove(&line);
        }
        self.len -= 1;
        self.places -= 1 + sequence.siblings;
        Some(sequence)
    }

    fn turn(&self, shares: &Shares) -> Option<u64> {
        let fronts = self.lines.iter().filter_map(|(line, waiting)| Some((*line, waiting.front()?.request)));
        let turn = fronts.min_by(|a, b| shares.of(a.0).total_cmp(&shares.of(b.0)).then(a.1.cmp(&b.1)));
        turn.map(|(line, _)| line)
    }

    /// All requests, in no particular order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sequence> {
        self.lines.values_mut().flatten()
    }

    /// Takes out the requests that have ended before they began.
    pub(crate) fn retire(&mut self, shares: &mut Shares) {
        for line in self.lines.values_mut() {
            line.retain(|sequence| {
                let stays = sequence.finished.is_none();
                if !stays {
                    self.len -= 1;
                    self.places -= 1 + sequence.siblings;
                    shares.leave(sequence.line);
                }
                stays
            });
        }
        self.lines.retain(|_, line| !line.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_later_begins_at_the_fair_level() {
        let mut shares = Shares::default();
        shares.enter(1);
        shares.charge(1, 100);
        shares.enter(2);
        assert_eq!((shares.of(1), shares.of(2)), (100.0, 100.0));
        shares.charge(1, 40);
        shares.enter(3);
        assert_eq!(shares.of(3), 120.0, "two tenants have shared the last 40 rows");
        // A rest is not saved up, and what one had too much is not forgotten.
        shares.leave(1);
        shares.enter(1);
        assert_eq!(shares.of(1), 140.0);
        for tenant in [1, 2, 3] {
            shares.leave(tenant);
        }
        assert!(shares.shares.is_empty());
    }

    #[test]
    fn tenants_who_left_are_forgotten() {
        let mut shares = Shares::default();
        shares.enter(0);
        for tenant in 1..10_000 {
            shares.enter(tenant);
            shares.charge(tenant, 10);
            shares.leave(tenant);
        }
        assert!(shares.shares.len() < 200, "{}", shares.shares.len());
    }
}
