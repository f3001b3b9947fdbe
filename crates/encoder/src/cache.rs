//! What the first layers make of each token, kept for the tokens met lately.
//!
//! Embedding, projection, normalisation and the products of the first convolutions look at one token at a time, so for the same
//! token they are always the same: three fifths of the arithmetic. Words repeat, so a table of some thousand tokens
//! answers most of it. What is kept is exactly what would be computed, so results do not depend on what is in the table.

use crate::weights::{BRANCH, BRANCHES, WIDTH, WINDOWS};

/// Floats that are kept for a token: its embedding, its projection, then its contributions to each branch.
pub(crate) const ROW: usize = WIDTH + BRANCHES + CONTRIBUTIONS;
/// Contributions to all windows of all branches.
const CONTRIBUTIONS: usize = (WINDOWS[0].size + WINDOWS[1].size + WINDOWS[2].size) * BRANCH;

/// No place in the table.
const NONE: u32 = u32::MAX;

/// The rows of tokens, by token.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Place of each token's row, or [`NONE`].
    places: Vec<u32>,
    slots: Vec<Slot>,
    capacity: usize,
    /// The round that is being prepared; rows it needs stay.
    round: u64,
    /// Rows that the round needs.
    needed: usize,
    /// Where to look for the next row to give up.
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    token: u32,
    /// The last round that needed it.
    round: u64,
    row: Vec<f32>,
}

impl Cache {
    /// An empty table for the ids below `tokens`, of at most `capacity` rows.
    pub(crate) fn new(tokens: usize, capacity: usize) -> Self {
        Self { places: vec![NONE; tokens], slots: Vec::new(), capacity, round: 0, needed: 0, hand: 0 }
    }

    /// Begins a round: no row is needed any more.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.needed = 0;
    }

    /// Whether the table has room for another `tokens` rows in this round.
    pub(crate) fn has_room(&self, tokens: usize) -> bool {
        self.needed + tokens <= self.capacity
    }

    /// Keeps a token's row for this round. Returns the row's vector where it has yet to be computed and given back with
    /// [`Cache::put`]. There must be room.
    pub(crate) fn need(&mut self, token: u32) -> Option<Vec<f32>> {
        let place = self.places.get_mut(token as usize)?;
        if let Some(slot) = self.slots.get_mut(*place as usize) {
            if slot.round != self.round {
                slot.round = self.round;
                self.needed += 1;
            }
            return None;
        }
        self.needed += 1;
        if self.slots.len() < self.capacity {
            *place = self.slots.len() as u32;
            self.slots.push(Slot { token, round: self.round, row: Vec::new() });
            return Some(vec![0.0; ROW]);
        }
        // Some row is older than this round, since there is room.
        for _ in 0..self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            if let Some(slot) = self.slots.get_mut(self.hand).filter(|slot| slot.round != self.round) {
                *place = self.hand as u32;
                let given_up = std::mem::replace(&mut slot.token, token);
                slot.round = self.round;
                let row = std::mem::take(&mut slot.row);
                if let Some(place) = self.places.get_mut(given_up as usize) {
                    *place = NONE;
                }
                return Some(row);
            }
        }
        None
    }

    /// Takes a row that [`Cache::need`] gave out.
    pub(crate) fn put(&mut self, token: u32, row: Vec<f32>) {
        let place = self.places.get(token as usize).copied().unwrap_or(NONE);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.row = row;
        }
    }

    /// A token's row; empty unless the round needs it.
    pub(crate) fn row(&self, token: u32) -> &[f32] {
        let place = self.places.get(token as usize).copied().unwrap_or(NONE);
        self.slots.get(place as usize).map_or(&[], |slot| &slot.row)
    }
}

/// The embedding in a row.
pub(crate) fn embedding(row: &[f32]) -> &[f32] {
    row.get(..WIDTH).unwrap_or_default()
}

/// The projection in a row, as wide as a branch.
pub(crate) fn projection(row: &[f32], branch: usize) -> &[f32] {
    row.get(WIDTH + branch * BRANCH..WIDTH + (branch + 1) * BRANCH).unwrap_or_default()
}

/// Where a branch's contributions begin in a row; there are `size` times [`BRANCH`] of them.
pub(crate) fn contributions_start(branch: usize) -> usize {
    WIDTH + BRANCHES + WINDOWS.iter().take(branch).map(|window| window.size * BRANCH).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(cache: &mut Cache, token: u32) -> bool {
        let Some(mut row) = cache.need(token) else { return false };
        row.fill(token as f32);
        cache.put(token, row);
        true
    }

    #[test]
    fn rows_stay_while_a_round_needs_them_and_go_for_others() {
        let mut cache = Cache::new(100, 4);
        cache.begin();
        assert!((0..4).all(|token| fill(&mut cache, token)));
        assert!(!cache.has_room(1));
        cache.begin();
        assert!(!fill(&mut cache, 2), "it is there");
        assert!(cache.has_room(3) && !cache.has_room(4));
        assert!((10..13).all(|token| fill(&mut cache, token)));
        assert!([2, 10, 11, 12].iter().all(|&token| cache.row(token) == [token as f32; ROW]));
        assert!([0, 1, 3].iter().all(|&token| cache.row(token).is_empty()));
        assert_eq!(cache.slots.len(), 4);
        assert!(cache.need(100).is_none(), "no such token");
    }

    #[test]
    fn a_row_holds_embedding_projection_and_contributions() {
        assert_eq!(contributions_start(0), 512 + 768);
        assert_eq!(contributions_start(2) + 5 * BRANCH, ROW);
    }
}
